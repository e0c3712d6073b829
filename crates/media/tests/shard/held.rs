//! Keys that are pressed on one leg of a bridge and reach the other with another clock, while they
//! are held.

use std::time::{Duration, Instant};

use media::{
    codec::Codec,
    sdp::Direction,
    shard::{Command, LegEvent, LegKey, LegParameters, Path, Update},
};
use proptest::prelude::*;

use crate::common::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";

/// Two legs of two codecs, both with events of their codec's clock.
struct Call {
    world: World,
    keys: [LegKey; 2],
    from: Codec,
    number: u64,
    timestamp: u32,
    spoke: Instant,
}

/// An event that one side got.
#[derive(Debug, PartialEq)]
struct Got {
    key: u8,
    ticks: u16,
    began: Instant,
    ended: Instant,
}

impl Call {
    fn new(from: Codec, to: Codec) -> Self {
        let mut world = World::new();
        let mut open = |codec, at| {
            let mut parameters = LegParameters::answering(speaking(codec, at));
            parameters.signalling_remote = Some(address(at).ip());
            parameters.takes_events = true;
            world.open(parameters, None)
        };
        let ((a, a_id), (b, b_id)) = (open(from, A), open(to, B));
        world.command(a, Command::Bridge { peer: b_id });
        world.command(b, Command::Bridge { peer: a_id });
        let spoke = world.now;
        Self { world, keys: [a, b], from, number: 1, timestamp: 0, spoke }
    }

    /// A packet of an event that has lasted for some time.
    fn event(&mut self, key: u8, milliseconds: u32, is_end: bool) {
        let ticks = (milliseconds * (self.from.clock_rate_hz() / 1000)) as u16;
        let [high, low] = ticks.to_be_bytes();
        let payload = [key, if is_end { 0x8a } else { 10 }, high, low];
        let packet = rtp(DTMF, 9, self.number, self.timestamp, &payload);
        self.number += 1;
        self.world.packet(Path::Rtp(self.keys[0]), address(A), &packet);
    }

    /// Holds a key for some time; of its packets, three of which say that it is let go, those come
    /// that are to.
    fn hold(&mut self, key: u8, milliseconds: u32, mut comes: impl FnMut(bool) -> bool) {
        self.spoke = self.world.now;
        let growing = (20..milliseconds).step_by(20).map(|at| (at, false));
        for (at, is_end) in growing.chain([(milliseconds, true); 3]) {
            if comes(is_end) {
                self.event(key, at, is_end);
            }
            self.world.advance_ms(20);
        }
        self.timestamp += self.from.clock_rate_hz() * 10;
    }

    /// What B got, each event once.
    fn got(&mut self) -> Vec<Got> {
        self.world.advance_ms(400);
        let mut got: Vec<(u32, Got)> = Vec::new();
        for packet in self.world.take_rtp(Path::Rtp(self.keys[1])) {
            if packet.payload_type != DTMF {
                continue;
            }
            let [key, flags, d0, d1] = packet.payload[..] else { panic!("not an event") };
            let (ticks, at) = (u16::from_be_bytes([d0, d1]), packet.at);
            let is_end = flags & 0x80 != 0;
            match got.last_mut().filter(|(timestamp, _)| *timestamp == packet.timestamp) {
                Some((_, last)) => {
                    assert!(ticks >= last.ticks, "it shrinks");
                    // Its end is said three times.
                    last.ended = if is_end && last.ended != last.began { last.ended } else { at };
                    last.ticks = ticks;
                }
                None => {
                    let event = Got { key, ticks, began: at, ended: at };
                    got.push((packet.timestamp, event));
                }
            }
        }
        got.into_iter().map(|(_, event)| event).collect()
    }

    fn reported(&self) -> Vec<(char, u128, bool)> {
        let digit = |event| match event {
            LegEvent::Dtmf { digit, duration, is_passed_on } => {
                Some((digit, duration.as_millis(), is_passed_on))
            }
            _ => None,
        };
        self.world.events_of(self.keys[0]).into_iter().filter_map(digit).collect()
    }
}

const PAIRS: [(Codec, Codec); 4] = [
    (Codec::Opus, Codec::Pcmu),
    (Codec::Pcmu, Codec::Opus),
    (Codec::Opus, Codec::G722),
    (Codec::G722, Codec::Pcma),
];

#[test]
fn a_key_is_pressed_at_the_other_end_for_as_long_as_it_is_held() {
    for (from, to) in PAIRS {
        for milliseconds in [40, 100, 1_000, 1_300] {
            let mut call = Call::new(from, to);
            // Events of one clock would pass as they come as long as nothing is transcoded.
            let voice = rtp(media::rtp::PayloadType(96), 9, 0, 0, &[1; 160]);
            if from != Codec::Opus {
                call.world.packet(Path::Rtp(call.keys[0]), address(A), &voice);
                call.world.advance_ms(20);
            }
            call.hold(5, milliseconds, |_| true);
            let began = call.spoke;
            let got = call.got();
            assert_eq!(call.reported(), [('5', u128::from(milliseconds), true)]);
            let [event] = &got[..] else { panic!("{from} to {to}: {got:?}") };
            let ms = u32::from(event.ticks) / (to.clock_rate_hz() / 1000);
            assert!(ms.abs_diff(milliseconds) <= 20, "{from} to {to}: {ms} of {milliseconds}");
            assert!(event.began - began <= Duration::from_millis(20), "{from} to {to}: late");
            let ended = event.ended - began;
            let latest = Duration::from_millis(u64::from(milliseconds) + 80);
            assert!(ended <= latest, "{from} to {to}: ended after {ended:?}");
        }
    }
}

#[test]
fn a_key_whose_end_is_lost_or_whose_sender_is_gone_is_let_go() {
    for hangs_up in [false, true] {
        let mut call = Call::new(Codec::Opus, Codec::Pcmu);
        call.hold(5, 400, |is_end| !is_end);
        if hangs_up {
            call.world.command(call.keys[0], Command::Close);
        }
        let got = call.got();
        let [event] = &got[..] else { panic!("{got:?}") };
        // The last that was heard of it is 380 ms; END_LOST_AFTER later it is over.
        assert_eq!((event.key, event.ticks), (5, (380 + 200) * 8));
        if !hangs_up {
            assert_eq!(call.reported(), [('5', 380, true)]);
        }
    }
}

#[test]
fn a_key_whose_duration_does_not_grow_is_let_go_and_not_pressed_again() {
    let mut call = Call::new(Codec::Opus, Codec::Pcmu);
    for _ in 0..500 {
        call.event(5, 1_000, false);
        call.world.advance_ms(20);
    }
    let got = call.got();
    let [event] = &got[..] else { panic!("{got:?}") };
    assert_eq!(event.ticks, 1_200 * 8);
}

#[test]
fn a_key_for_who_is_on_hold_or_takes_no_events_is_reported_and_not_sent() {
    let mut call = Call::new(Codec::Opus, Codec::Pcmu);
    let mut negotiated = speaking(Codec::Pcmu, B);
    negotiated.direction = Direction::RecvOnly;
    let update = Update { negotiated, ice: None, signalling_remote: None };
    call.world.command(call.keys[1], Command::Update(Box::new(update)));
    call.hold(5, 100, |_| true);
    assert_eq!((call.got(), call.reported()), (vec![], vec![('5', 100, false)]));
}

#[test]
fn a_key_that_is_heard_of_when_it_is_let_go_is_left_to_who_is_told() {
    let mut call = Call::new(Codec::Opus, Codec::Pcmu);
    call.hold(5, 1_000, |is_end| is_end);
    assert_eq!((call.got(), call.reported()), (vec![], vec![('5', 1_000, false)]));
}

#[test]
fn keys_in_a_hurry_all_arrive_in_their_order() {
    let mut call = Call::new(Codec::Opus, Codec::Pcmu);
    for key in 0..16 {
        call.hold(key, 40, |_| true);
    }
    call.world.advance_ms(1_000);
    let keys: Vec<u8> = call.got().iter().map(|event| event.key).collect();
    assert_eq!(keys, (0..16).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_lost_a_key_is_said_to_be_passed_on_just_if_it_was(
        lost in prop::collection::vec(any::<u8>(), 200),
        presses in prop::collection::vec((0_u8..16, 2_u32..40), 1..8),
        pair in 0..PAIRS.len(),
        share in 0_u8..200,
    ) {
        let (from, to) = PAIRS[pair];
        let mut call = Call::new(from, to);
        let mut lost = lost.into_iter().cycle();
        for (key, packets) in presses {
            call.hold(key, 20 * packets, |_| lost.next().unwrap() >= share);
            call.world.advance_ms(300);
        }
        let got: Vec<u8> = call.got().iter().map(|event| event.key).collect();
        let reported = call.reported().into_iter().filter(|(_, _, is_passed_on)| *is_passed_on);
        let keys = "0123456789*#ABCD";
        let passed: Vec<u8> =
            reported.map(|(digit, _, _)| keys.find(digit).unwrap() as u8).collect();
        prop_assert_eq!(got, passed);
    }
}
