//! Three legs to which anything may happen in any order: time always goes on, and what each hears is
//! what it may hear.

use std::time::Duration;

use media::{
    codec::Codec,
    sdp::Direction,
    shard::{Command, LegEvent, LegId, LegKey, LegParameters, Path, Repeat, Update},
};
use proptest::prelude::*;

use crate::common::*;

/// Where the peers may say they are; the last one is where nobody says so, and one means hold.
const PLACES: [&str; 5] =
    ["192.0.2.1:4000", "192.0.2.2:4000", "203.0.113.3:5000", "0.0.0.0:9", "198.51.100.4:6000"];
const CODECS: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
/// The clock ticks once a millisecond, and what is due then is done within a few calls.
const CALLS_A_MILLISECOND_MAX: u32 = 50;

#[derive(Clone, Debug)]
enum Step {
    Update { place: usize, codec: usize, direction: Direction },
    Play { forever: bool },
    Stop,
    Echo { delay_ms: Option<u64> },
    Bridge { peer: usize },
    Dtmf,
    Trust,
    Packet { from: usize, payload_type: u8, jump: u64 },
    Rtcp { from: usize, ssrc: u32 },
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let direction = prop_oneof![
        5 => Just(Direction::SendRecv),
        1 => Just(Direction::SendOnly),
        1 => Just(Direction::RecvOnly),
        1 => Just(Direction::Inactive),
    ];
    prop_oneof![
        (0..4usize, 0..4usize, direction).prop_map(|(place, codec, direction)| Step::Update {
            place,
            codec,
            direction
        }),
        any::<bool>().prop_map(|forever| Step::Play { forever }),
        Just(Step::Stop),
        proptest::option::of(0..6_000u64).prop_map(|delay_ms| Step::Echo { delay_ms }),
        (0..3usize).prop_map(|peer| Step::Bridge { peer }),
        Just(Step::Dtmf),
        Just(Step::Trust),
        (0..5usize, prop_oneof![Just(96u8), Just(101), Just(13), 0..128u8], 0..4u64)
            .prop_map(|(from, payload_type, jump)| Step::Packet { from, payload_type, jump }),
        (0..5usize, 0..3u32).prop_map(|(from, ssrc)| Step::Rtcp { from, ssrc }),
        prop_oneof![0..30u64, 190..260u64, 0..9_000u64].prop_map(|ms| Step::Pass { ms }),
    ]
}

/// What may happen to a leg whose peer loses nothing.
#[derive(Clone, Debug)]
enum Talk {
    Agree { codec: usize, direction: Direction },
    Play,
    Stop,
    Echo { delay_ms: Option<u64> },
    Bridge { peer: usize },
    Dtmf,
    Packets { payload_type: u8, count: u64 },
    Pass { ms: u64 },
}

fn talk() -> impl Strategy<Value = Talk> {
    let direction = prop_oneof![Just(Direction::SendRecv), Just(Direction::RecvOnly)];
    let payload_type = prop_oneof![4 => Just(96_u8), 1 => Just(101), 1 => Just(13)];
    prop_oneof![
        2 => (prop_oneof![4 => Just(0usize), 1 => 1..4usize], direction)
            .prop_map(|(codec, direction)| Talk::Agree { codec, direction }),
        1 => Just(Talk::Play),
        1 => Just(Talk::Stop),
        1 => proptest::option::of(0..500u64).prop_map(|delay_ms| Talk::Echo { delay_ms }),
        2 => (0..3usize).prop_map(|peer| Talk::Bridge { peer }),
        1 => Just(Talk::Dtmf),
        6 => (payload_type, 1..10u64)
            .prop_map(|(payload_type, count)| Talk::Packets { payload_type, count }),
        1 => prop_oneof![0..30u64, 0..900u64].prop_map(|ms| Talk::Pass { ms }),
    ]
}

fn negotiated(place: usize, codec: usize, direction: Direction) -> media::sdp::Negotiated {
    let mut negotiated = speaking(CODECS[codec], PLACES[place]);
    negotiated.direction = direction;
    negotiated.local_others = vec![(Codec::Pcma, 8)];
    negotiated
}

/// Lets time pass; fails where the shard wants to be called without end.
fn pass(world: &mut World, ms: u64) {
    for _ in 0..ms {
        let end = world.now + Duration::from_millis(1);
        let mut calls = 0;
        while world.step(end) {
            calls += 1;
            assert!(calls <= CALLS_A_MILLISECOND_MAX, "time stands still");
        }
        world.advance(end - world.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn time_goes_on_whatever_comes_in_whatever_order(
        opened in proptest::collection::vec((0..4usize, 0..4usize, 0..5usize), 3),
        steps in proptest::collection::vec((0..3usize, step()), 1..60),
    ) {
        let mut world = World::new();
        let mut legs: Vec<(LegKey, LegId)> = Vec::new();
        for (place, codec, signalling) in opened {
            let agreed = negotiated(place, codec, Direction::SendRecv);
            let mut parameters = LegParameters::answering(agreed);
            parameters.signalling_remote = Some(address(PLACES[signalling]).ip());
            legs.push(world.open(parameters, None));
        }
        let mut number = 1_000;
        for (index, step) in steps {
            let (key, _) = legs[index];
            match step {
                Step::Update { place, codec, direction } => {
                    let negotiated = negotiated(place, codec, direction);
                    let update = Update { negotiated, ice: None, signalling_remote: None };
                    world.command(key, Command::Update(Box::new(update)));
                }
                Step::Play { forever } => {
                    let repeat = if forever { Repeat::Forever } else { Repeat::Once };
                    world.play(key, &track(20), repeat, 1);
                }
                Step::Stop => world.command(key, Command::Stop),
                Step::Echo { delay_ms } => {
                    let delay = delay_ms.map(Duration::from_millis);
                    world.command(key, Command::Echo { delay });
                }
                Step::Bridge { peer } => {
                    world.command(key, Command::Bridge { peer: legs[peer].1 });
                }
                Step::Dtmf => {
                    let duration = Duration::from_millis(100);
                    world.command(key, Command::Dtmf { digit: '5', duration });
                }
                Step::Trust => world.command(key, Command::Trust),
                Step::Packet { from, payload_type, jump } => {
                    number += jump;
                    let bytes = rtp(
                        media::rtp::PayloadType(payload_type),
                        from as u32,
                        number,
                        160 * number as u32,
                        &[5, 0x80, 0, 160],
                    );
                    world.packet(Path::Rtp(key), address(PLACES[from]), &bytes);
                }
                Step::Rtcp { from, ssrc } => {
                    let ssrc = media::rtp::Ssrc(ssrc);
                    let report = media::rtcp::Report {
                        ssrc,
                        sender: None,
                        block: None,
                        cname: "peer",
                        bye: false,
                    };
                    let mut buffer = [0; 200];
                    let len = report.write(&mut buffer).unwrap();
                    world.packet(Path::Rtcp(key), address(PLACES[from]), &buffer[..len]);
                }
                Step::Pass { ms } => pass(&mut world, ms),
            }
        }
        pass(&mut world, 500);
        for (key, _) in &legs {
            world.command(*key, Command::Close);
            prop_assert!(matches!(world.events_of(*key).last(), Some(LegEvent::Closed(_))));
        }
        world.take_sent();
        pass(&mut world, 2_000);
        prop_assert!(world.take_sent().is_empty(), "nothing is left behind");
        prop_assert_eq!(world.shard.poll_timeout(), None);
    }

    #[test]
    fn rfc3550_5_1_numbers_go_up_by_one_for_each_packet_sent(
        steps in proptest::collection::vec((0..3usize, talk()), 1..60),
    ) {
        let mut world = World::new();
        let open = |index: usize| LegParameters {
            signalling_remote: Some(address(PLACES[index]).ip()),
            takes_events: true,
            ..LegParameters::answering(negotiated(index, 0, Direction::SendRecv))
        };
        let legs: Vec<(LegKey, LegId)> =
            (0..3).map(|index| world.open(open(index), None)).collect();
        for (index, (key, _)) in legs.iter().enumerate() {
            world.command(*key, Command::Bridge { peer: legs[(index + 1) % 3].1 });
        }
        let mut numbers = [65_400_u64; 3];
        for (index, step) in steps {
            let (key, _) = legs[index];
            match step {
                Talk::Agree { codec, direction } => {
                    let negotiated = negotiated(index, codec, direction);
                    let update = Update { negotiated, ice: None, signalling_remote: None };
                    world.command(key, Command::Update(Box::new(update)));
                }
                Talk::Play => world.play(key, &track(20), Repeat::Forever, 1),
                Talk::Stop => world.command(key, Command::Stop),
                Talk::Echo { delay_ms } => {
                    let delay = delay_ms.map(Duration::from_millis);
                    world.command(key, Command::Echo { delay });
                }
                Talk::Bridge { peer } => {
                    world.command(key, Command::Bridge { peer: legs[peer].1 });
                    world.command(legs[peer].0, Command::Bridge { peer: legs[index].1 });
                }
                Talk::Dtmf => {
                    let duration = Duration::from_millis(100);
                    world.command(key, Command::Dtmf { digit: '5', duration });
                }
                Talk::Packets { payload_type, count } => for _ in 0..count {
                    let number = numbers[index];
                    numbers[index] += 1;
                    let payload_type = media::rtp::PayloadType(payload_type);
                    let ticks = 160 * number as u32;
                    let bytes = rtp(payload_type, 9, number, ticks, &[5, 0x80, 0, 160]);
                    world.packet(Path::Rtp(key), address(PLACES[index]), &bytes);
                    pass(&mut world, 20);
                }
                Talk::Pass { ms } => pass(&mut world, ms),
            }
        }
        let sent = world.take_sent();
        for (key, _) in &legs {
            let sent = sent.iter().filter(|sent| sent.path == Path::Rtp(*key));
            let heard: Vec<_> = sent.filter_map(|s| Rtp::read(&s.bytes, s.to, s.at)).collect();
            for pair in heard.windows(2) {
                prop_assert_eq!(pair[1].number, pair[0].number.wrapping_add(1));
            }
        }
    }
}
