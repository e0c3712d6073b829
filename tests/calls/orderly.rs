//! Calls over a link that loses nothing.

use std::time::Duration;

use transport::Name;

use crate::link::PERFECT;
use crate::media;
use crate::simulation::{self, Simulation};

#[test]
fn a_tone_is_heard_at_50_packets_a_second_until_the_caller_hangs_up() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let mut phone = simulation.phone();
        assert_eq!(phone.call("9197").await, 200);
        phone.stay(Duration::from_secs(2)).await;
        let heard = phone.packets().await;
        assert_eq!(phone.hang_up().await, Some(200));

        assert!((99..=101).contains(&heard.len()), "{} packets", heard.len());
        assert!(media::share_at(1004.0, &heard) > 0.99, "{}", media::share_at(1004.0, &heard));
        phone.stay(Duration::from_secs(1)).await;
        assert!(simulation.is_idle());
    });
}

#[test]
fn the_guides_extension_plays_its_prompt_and_hangs_up_with_a_reason() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let mut phone = simulation.phone();
        assert_eq!(phone.call("07010002000").await, 200);
        phone.stay(Duration::from_secs(30)).await;

        let bye = phone.bye.take().expect("the server hangs up");
        let reason = bye.header(Name::Reason).unwrap().into_owned();
        assert_eq!(reason, "Q.850;cause=16;text=\"NORMAL_CLEARING\"");
        let heard = phone.packets().await;
        let expected = sidetone::plan::load(&Default::default())
            .unwrap()
            .1
            .prompt("common/logged_in_status.wav")
            .unwrap()
            .track(::media::codec::Codec::Pcmu)
            .unwrap();
        let payloads: Vec<_> = heard.iter().map(|packet| packet[12..].to_vec()).collect();
        let frames: Vec<_> = expected.frames.iter().map(|frame| frame.to_vec()).collect();
        assert_eq!(payloads, frames, "every frame of the prompt, from the first");
        phone.stay(Duration::from_secs(1)).await;
        assert!(simulation.is_idle());
    });
}

#[test]
fn a_stopped_server_ends_its_calls_with_bye() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let mut phone = simulation.phone();
        assert_eq!(phone.call("9196").await, 200);
        simulation.stop.send_replace(true);
        phone.stay(Duration::from_secs(10)).await;
        assert!(phone.bye.is_some());
        tokio::time::timeout(Duration::from_secs(5), &mut simulation.signaling)
            .await
            .expect("the loop ends once its calls have")
            .unwrap();
    });
}

#[test]
fn an_unknown_number_leaves_nothing_behind() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let mut phone = simulation.phone();
        assert_eq!(phone.call("12345").await, 404);
        phone.stay(Duration::from_secs(40)).await;
        assert!(simulation.is_idle());
    });
}
