//! Who does not take what the other one sends although their codec may be the same: long packets,
//! descriptions of a pause.

use super::*;

#[test]
fn rfc8866_6_4_who_takes_only_short_packets_gets_no_longer_ones() {
    let ways = [
        (Codec::Pcmu, Codec::Pcmu, 60),
        (Codec::Pcmu, Codec::Pcma, 40),
        (Codec::G722, Codec::G722, 60),
        (Codec::Opus, Codec::Opus, 60),
    ];
    for (from, to, frame_ms) in ways {
        let limits = [(None, frame_ms), (Some(u32::MAX), frame_ms), (Some(20), 20), (Some(10), 20)];
        for (packet_time_ms_max, sent_ms) in limits {
            let mut world = World::new();
            let a = open(&mut world, speaking(from, A), A);
            let mut negotiated = speaking(to, B);
            negotiated.packet_time_ms_max = packet_time_ms_max;
            let b = open(&mut world, negotiated, B);
            join(&mut world, a, b);
            let mut alice = Talker::new(a.0, from, A, 440.0);
            alice.frame_ms = frame_ms;
            let bob = Talker::new(b.0, to, B, 440.0);
            for _ in 0..50 {
                alice.say(&mut world);
                world.advance_ms(u64::from(frame_ms));
            }
            // Packets that it does take go the same way, and nothing is lost between them.
            alice.frame_ms = 20;
            for _ in 0..50 {
                alice.say(&mut world);
                world.advance_ms(20);
            }
            let heard = world.take_rtp(Path::Rtp(b.0));
            let samples = |packet: &Rtp| bob.hear(std::slice::from_ref(packet)).len() as u32;
            let longest = heard.iter().map(samples).max().unwrap();
            assert_eq!(longest, bob.rate_hz / 1000 * sent_ms, "{from:?} {packet_time_ms_max:?}");
            let pcm = bob.hear(&heard);
            let expected_ms = (50 * frame_ms + 1_000) as usize;
            let heard_ms = pcm.len() / (bob.rate_hz as usize / 1000);
            assert!(heard_ms.abs_diff(expected_ms) <= 100, "{heard_ms} of {expected_ms} ms");
            let db = tone_to_rest_db(&pcm[pcm.len() / 10..], bob.rate_hz, 440.0);
            assert!(db > 15.0, "{from:?} {packet_time_ms_max:?}: {db} dB");
        }
    }
}

#[test]
fn rfc3389_4_a_pause_that_is_described_is_heard_as_noise_until_the_voice_is_back() {
    let mut world = World::new();
    let [(a, _), (b, _)] = pair(&mut world, Codec::G722, Codec::Pcmu);
    let mut alice = Talker::new(a, Codec::G722, A, 440.0);
    let bob = Talker::new(b, Codec::Pcmu, B, 440.0);
    let talk = |world: &mut World, alice: &mut Talker| {
        for _ in 0..50 {
            alice.say(world);
            world.advance_ms(20);
        }
    };
    talk(&mut world, &mut alice);
    for _ in 0..4 {
        let ticks = (alice.said / 2) as u32;
        let noise = rtp(PayloadType(13), 9, alice.number, ticks, &[48, 1, 2]);
        world.packet(Path::Rtp(a), address(A), &noise);
        alice.number += 1;
        alice.said += 8_000;
        world.advance_ms(500);
    }
    let heard = world.take_rtp(Path::Rtp(b));
    let level = |heard: &[Rtp]| {
        let pcm = bob.hear(heard);
        let squares: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        20.0 * ((squares / pcm.len() as f64).sqrt() / f64::from(i16::MAX)).log10()
    };
    for (n, frame) in heard[60..145].iter().enumerate() {
        let level = level(std::slice::from_ref(frame));
        assert!((-52.0..-45.0).contains(&level), "frame {n}: {level} dBov");
    }
    talk(&mut world, &mut alice);
    let again = world.take_rtp(Path::Rtp(b));
    assert!(tone_to_rest_db(&bob.hear(&again[10..]), 8_000, 440.0) > 20.0);
}
