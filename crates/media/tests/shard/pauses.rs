//! Forwarding that pauses and goes on: one stream, in which nothing seems lost.

use std::time::Duration;

use media::{
    codec::Codec,
    sdp::Direction,
    shard::{Command, LegId, LegKey, LegParameters, Path, Repeat, Update},
};

use crate::common::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";
const C: &str = "192.0.2.3:4000";

/// A talks to B; C is a leg without a bridge. All that B hears is PCMU.
struct Talk {
    world: World,
    a: (LegKey, LegId),
    b: (LegKey, LegId),
    c: (LegKey, LegId),
    number: u64,
}

impl Talk {
    fn new() -> Self {
        let mut world = World::new();
        let mut open = |at: &str| {
            let mut agreed = plain(at);
            agreed.local_others = vec![(Codec::Pcma, 8), (Codec::G722, 9)];
            let mut parameters = LegParameters::answering(agreed);
            parameters.signalling_remote = Some(address(at).ip());
            world.open(parameters, None)
        };
        let [a, b, c] = [A, B, C].map(&mut open);
        world.command(a.0, Command::Bridge { peer: b.1 });
        world.command(b.0, Command::Bridge { peer: a.1 });
        Self { world, a, b, c, number: 65_000 }
    }

    /// A says something of a codec; its numbers and its clock go on whoever hears it.
    fn say(&mut self, payload_type: u8, packets: u64) {
        for _ in 0..packets {
            self.number += 1;
            let payload_type = media::rtp::PayloadType(payload_type);
            let timestamp = 160 * self.number as u32;
            let bytes = rtp(payload_type, 9, self.number, timestamp, &[200; 160]);
            self.world.packet(Path::Rtp(self.a.0), address(A), &bytes);
            self.world.advance_ms(20);
        }
    }

    fn agree(&mut self, leg: (LegKey, LegId), at: &str, direction: Direction) {
        let mut negotiated = plain(at);
        negotiated.direction = direction;
        negotiated.local_others = vec![(Codec::Pcma, 8), (Codec::G722, 9)];
        let update = Update { negotiated, ice: None, signalling_remote: None };
        self.world.command(leg.0, Command::Update(Box::new(update)));
    }
}

fn check(name: &str, heard: &[Rtp], pauses: usize) {
    for pair in heard.windows(2) {
        let step = pair[1].number.wrapping_sub(pair[0].number);
        assert_eq!(step, 1, "{name}: a number for each packet sent");
        let time = (pair[1].at - pair[0].at).as_millis() as i64 * 8;
        let ticks = i64::from(pair[1].timestamp.wrapping_sub(pair[0].timestamp).cast_signed());
        assert!((ticks - time).abs() <= 200, "{name}: {ticks} ticks in the time of {time}");
        if time > 400 {
            assert!(pair[1].marker, "{name}: a talk-spurt begins after {time}");
        }
    }
    let silent =
        heard.windows(2).filter(|pair| pair[1].at - pair[0].at > Duration::from_millis(50));
    assert_eq!(silent.count(), pauses, "{name}");
    let talks = heard.windows(2).filter(|pair| pair[1].marker && pair[0].marker);
    assert_eq!(talks.count(), 0, "{name}: two marked in a row");
}

type Change = fn(&mut Talk);

const NOTHING: Change = |_| ();
const MUSIC_TO_A: Change = |talk| {
    let leg = talk.a.0;
    talk.world.play(leg, &track(50), Repeat::Forever, 1);
};
const MUSIC_TO_B: Change = |talk| {
    let leg = talk.b.0;
    talk.world.play(leg, &track(50), Repeat::Forever, 1);
};
const A_TO_B: Change = |talk| {
    let (leg, peer) = (talk.a.0, talk.b.1);
    talk.world.command(leg, Command::Bridge { peer });
};
const B_TO_A: Change = |talk| {
    let (leg, peer) = (talk.b.0, talk.a.1);
    talk.world.command(leg, Command::Bridge { peer });
};
const B_HOLDS: Change = |talk| talk.agree(talk.b, B, Direction::RecvOnly);
const B_RESUMES: Change = |talk| talk.agree(talk.b, B, Direction::SendRecv);

#[test]
fn rfc3550_5_1_whatever_pauses_forwarding_leaves_no_hole_in_the_numbers() {
    let pauses: [(&str, [Change; 2], [Change; 2], usize); 9] = [
        ("B holds", [B_HOLDS, MUSIC_TO_A], [B_RESUMES, A_TO_B], 1),
        ("B holds, resumed the other way round", [MUSIC_TO_A, B_HOLDS], [A_TO_B, B_RESUMES], 1),
        ("B holds, without music", [B_HOLDS, NOTHING], [B_RESUMES, NOTHING], 1),
        ("A holds", [MUSIC_TO_B, NOTHING], [B_TO_A, NOTHING], 0),
        ("both hear music", [MUSIC_TO_B, MUSIC_TO_A], [A_TO_B, B_TO_A], 0),
        ("music that B does not hear", [MUSIC_TO_B, B_HOLDS], [B_TO_A, B_RESUMES], 1),
        (
            "nothing for A",
            [|talk| talk.world.command(talk.a.0, Command::Stop), NOTHING],
            [A_TO_B, NOTHING],
            1,
        ),
        (
            "B speaks to another",
            [
                |talk| {
                    let peer = talk.c.1;
                    talk.world.command(talk.b.0, Command::Bridge { peer });
                },
                NOTHING,
            ],
            [B_TO_A, NOTHING],
            1,
        ),
        (
            "a digit to B, while it holds",
            [
                |talk| {
                    let duration = Duration::from_millis(100);
                    talk.world.command(talk.b.0, Command::Dtmf { digit: '5', duration });
                },
                B_HOLDS,
            ],
            [B_RESUMES, NOTHING],
            1,
        ),
    ];
    for (name, pause, resume, silences) in pauses {
        for packets in [100, 34_505] {
            let mut talk = Talk::new();
            talk.say(0, 50);
            for change in pause {
                change(&mut talk);
            }
            talk.say(0, packets);
            for change in resume {
                change(&mut talk);
            }
            talk.say(0, 50);
            let heard = talk.world.take_rtp(Path::Rtp(talk.b.0));
            check(name, &heard, silences);
        }
    }
}

#[test]
fn a_transcoder_that_comes_and_goes_while_nothing_is_sent_leaves_no_hole() {
    let mut talk = Talk::new();
    talk.say(0, 50);
    B_HOLDS(&mut talk);
    talk.say(0, 20);
    talk.say(9, 100);
    talk.say(0, 20);
    B_RESUMES(&mut talk);
    talk.say(0, 50);
    check("transcoder", &talk.world.take_rtp(Path::Rtp(talk.b.0)), 1);
}

#[test]
fn rfc3550_5_1_a_pause_on_another_shard_leaves_no_hole_in_the_numbers() {
    let mut here = World::numbered(0);
    let mut there = World::numbered(1);
    let (a, a_id) = here.open_plain(A, "192.0.2.1");
    let (b, b_id) = there.open_plain(B, "192.0.2.2");
    there.command(b, Command::Bridge { peer: a_id });
    let mut number = 0;
    for _ in 0..2 {
        here.command(a, Command::Bridge { peer: b_id });
        for is_heard in [true, false] {
            if !is_heard {
                here.play(a, &track(50), Repeat::Forever, 1);
            }
            for _ in 0..100 {
                number += 1;
                let bytes = rtp(PCMU, 9, number, 160 * number as u32, &[200; 160]);
                here.packet(Path::Rtp(a), address(A), &bytes);
                here.hand_over(&mut there);
                here.advance_ms(20);
                there.advance_ms(20);
            }
        }
    }
    let heard = there.take_rtp(Path::Rtp(b));
    assert_eq!(heard.len(), 200);
    check("two shards", &heard, 1);
}

#[test]
fn rfc3550_5_1_an_echo_that_may_not_be_sent_leaves_no_hole_in_the_numbers() {
    for delay in [None, Some(Duration::from_millis(100))] {
        let mut talk = Talk::new();
        talk.world.command(talk.a.0, Command::Echo { delay });
        for direction in [Direction::SendRecv, Direction::RecvOnly, Direction::SendRecv] {
            talk.agree(talk.a, A, direction);
            talk.say(0, 100);
        }
        check("echo", &talk.world.take_rtp(Path::Rtp(talk.a.0)), 1);
    }
}
