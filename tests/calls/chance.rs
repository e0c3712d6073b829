//! Whatever happens to whatever: random calls of two legs over a bad link.
//!
//! `make simulate` runs thousands of seeds; a test runs some hundreds.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep_until, timeout};

use crate::agent::{self, Part, Script, Seen};
use crate::link::Faults;
use crate::mock::MockMedia;
use crate::simulation::{self, SERVER, Simulation, seeds};

/// Callers, each with a user of its own to call.
const GROUPS: u16 = 4;
/// Numbers of phones of one group: the caller, and the contacts of the user.
const PHONES: u16 = 4;
/// The longest a call may take to end: it rings, is answered by the dead, and falls silent.
const END: Duration = Duration::from_secs(330);

#[test]
fn every_invite_has_one_final_answer_and_nothing_is_left_behind() {
    simulation::run_all(&seeds(200), play);
}

async fn play(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let faults = Faults {
        lost_per_mille: rng.random_range(0..200),
        repeated_per_mille: rng.random_range(0..100),
        delay_max: Duration::from_millis(rng.random_range(1..400)),
    };
    let failing_per_mille = rng.random_range(0..40);
    let mock = MockMedia::new(seed, SERVER.ip(), failing_per_mille);
    let contacts = |group: u16| (group * PHONES + 1..(group + 1) * PHONES).collect::<Vec<u16>>();
    let users: Vec<(String, Vec<u16>)> =
        (0..GROUPS).map(|group| (format!("user{group}"), contacts(group))).collect();
    let mut simulation = Simulation::office(seed, faults, &users, &mock, |_| {});
    let end = Instant::now() + END;
    let mut phones = Vec::new();
    for index in 0..GROUPS * PHONES {
        let part = match index % PHONES {
            0 => caller(index / PHONES, &mut rng),
            _ => callee(&mut rng),
        };
        let script = script(part, &mut rng);
        phones.push(agent::start(&mut simulation, index, script, end));
    }
    sleep_until(end).await;
    let mut seen = Vec::new();
    for phone in phones {
        seen.push(phone.await.unwrap());
    }
    check_ends(&seen, &simulation);
    check_media(&seen, &mock);
    check_nothing_is_left(simulation).await;
}

fn caller(group: u16, rng: &mut StdRng) -> Part {
    Part::Calls {
        number: format!("user{group}"),
        at: milliseconds(rng, 3_000),
        patience: rng.random_bool(0.4).then(|| milliseconds(rng, 8_000)),
    }
}

fn callee(rng: &mut StdRng) -> Part {
    let after = milliseconds(rng, 6_000);
    match rng.random_range(0..10) {
        0..=5 => Part::Answers { after, has_early_media: rng.random_bool(0.3) },
        6..=8 => {
            let status = [486, 480, 404, 503, 500, 408, 302][rng.random_range(0..7)];
            Part::Refuses { after, status, contact: None }
        }
        _ => Part::Rings,
    }
}

fn script(part: Part, rng: &mut StdRng) -> Script {
    let holds = rng.random_bool(0.4);
    let dies = !holds && rng.random_bool(0.15);
    Script {
        part,
        hold: holds.then(|| (milliseconds(rng, 4_000), milliseconds(rng, 4_000))),
        hang_up: Some(milliseconds(rng, 12_000)),
        death: dies.then(|| milliseconds(rng, 12_000)),
        media_at: None,
    }
}

fn milliseconds(rng: &mut StdRng, most: u64) -> Duration {
    Duration::from_millis(rng.random_range(0..most))
}

/// One final answer for each INVITE, and one end for each leg of a phone that lived.
fn check_ends(seen: &[Seen], simulation: &Simulation) {
    for ((call_id, cseq), finals) in simulation.finals() {
        assert_eq!(finals.len(), 1, "{call_id} {cseq} was answered with {finals:?}");
    }
    for (index, phone) in seen.iter().enumerate().filter(|(_, phone)| !phone.is_dead) {
        let is_caller = index % usize::from(PHONES) == 0;
        let legs = usize::from(is_caller || phone.invite.is_some());
        assert_eq!(phone.ended, legs, "phone {index} is left with {phone:?}");
        assert!(phone.answered <= 1, "phone {index}");
    }
}

/// Nobody was joined with anybody of another call, and nobody was sent to the leg of another.
fn check_media(seen: &[Seen], mock: &MockMedia) {
    let groups: HashMap<u16, usize> = seen
        .iter()
        .enumerate()
        .map(|(index, phone)| (phone.rtp_port, index / usize::from(PHONES)))
        .collect();
    for (from, to) in mock.bridges() {
        let group = |port: Option<u16>| port.map(|port| groups[&port]);
        let is_same = group(from) == group(to);
        assert!(is_same || from.is_none() || to.is_none(), "{from:?} was heard by {to:?}");
    }
    for phone in seen {
        for port in &phone.server_ports {
            let speaks_to = mock.phone_of(*port);
            assert!(speaks_to.is_none_or(|other| other == phone.rtp_port), "{phone:?}");
        }
    }
}

/// The loop ends at once when it is stopped only if no leg is left in it.
async fn check_nothing_is_left(mut simulation: Simulation) {
    assert!(simulation.is_idle(), "a call or a media leg is left");
    simulation.stop.send_replace(true);
    let ended = timeout(Duration::from_millis(50), &mut simulation.signaling).await;
    ended.expect("a leg is left").unwrap();
}
