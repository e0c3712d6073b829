//! Calls over a link that loses, repeats and reorders.

use std::time::Duration;

use crate::link::{Faults, PERFECT};
use crate::media;
use crate::simulation::{self, Simulation, seeds};

const FAULTS: Faults =
    Faults { lost_per_mille: 150, repeated_per_mille: 50, delay_max: Duration::from_millis(60) };

#[test]
fn every_call_gets_one_answer_its_audio_and_an_end() {
    for seed in seeds(40) {
        simulation::run(seed, |seed| async move {
            let mut simulation = Simulation::new(seed, FAULTS);
            let mut phone = simulation.phone();
            assert_eq!(phone.call("9197").await, 200);
            // Until the ACK has come, at the first or the seventh try, little is sent.
            phone.stay(Duration::from_secs(20)).await;
            phone.packets().await;
            phone.stay(Duration::from_secs(3)).await;
            let heard = phone.packets().await;
            assert_eq!(phone.hang_up().await, Some(200));

            let played = media::reassembled(&heard);
            let sent = media::span(&played);
            assert!(sent >= 145, "{sent} packets in 3 s");
            assert!(played.len() * 10 > sent * 7, "{} packets of {sent}", played.len());
            let share = media::share_at(1004.0, &played);
            assert!(share > 0.99, "{share}");
            phone.stay(Duration::from_secs(40)).await;
            assert!(simulation.is_idle());
        });
    }
}

#[test]
fn calls_beside_each_other_hear_only_themselves() {
    for seed in seeds(10) {
        simulation::run(seed, |seed| async move {
            let mut simulation = Simulation::new(seed, FAULTS);
            let mut one = simulation.phone();
            let mut two = simulation.phone();
            assert_eq!(one.call("9196").await, 200);
            assert_eq!(two.call("9196").await, 200);
            media::say_in_turn(&mut one, 500.0, &mut two, 900.0, Duration::from_secs(2)).await;
            let (first, second) = (one.packets().await, two.packets().await);
            for (heard, said) in [(first, 500.0), (second, 900.0)] {
                let share = media::share_at(said, &media::reassembled(&heard));
                assert!(share > 0.99, "{share} of {said} Hz");
            }
            assert_eq!(one.hang_up().await, Some(200));
            assert_eq!(two.hang_up().await, Some(200));
            one.stay(Duration::from_secs(40)).await;
            assert!(simulation.is_idle());
        });
    }
}

#[test]
fn a_caller_that_vanishes_before_its_ack_is_given_up() {
    for seed in seeds(5) {
        simulation::run(seed, |seed| async move {
            let mut simulation = Simulation::new(seed, PERFECT);
            let mut phone = simulation.phone();
            phone.invite("9197");
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!simulation.is_idle());
            // The phone takes nothing that arrives: no ACK, and no answer to the BYE.
            tokio::time::sleep(Duration::from_secs(80)).await;
            assert!(simulation.is_idle(), "the 200 without ACK ends the call");
            // Its INVITE may have had another's address in it.
            assert_eq!(phone.packets().await.len(), 25);
        });
    }
}
