//! Digits that a leg hears as tones, since its peer sends no events.

use std::time::Duration;

use media::{
    codec::Codec,
    sdp::RemoteMedia,
    shard::{Command, LegEvent, LegKey, LegParameters, Path},
};

use crate::common::*;

const PEER: &str = "192.0.2.1:4000";
const CODECS: [(Codec, u8, &str); 4] = [
    (Codec::Pcmu, 0, ""),
    (Codec::Pcma, 8, ""),
    (Codec::G722, 9, ""),
    (Codec::Opus, 96, "a=rtpmap:96 opus/48000/2\r\n"),
];

fn open(world: &mut World, payload_type: u8, attributes: &str) -> LegKey {
    let rtp = address(PEER);
    let remote = RemoteMedia::Plain { rtp, rtcp: rtp, rtcp_mux: false };
    let negotiated = described(attributes, &payload_type.to_string(), remote);
    let mut parameters = LegParameters::answering(negotiated);
    parameters.signalling_remote = Some(rtp.ip());
    world.open(parameters, None).0
}

/// The packets of a leg that presses keys for 80 ms each.
fn pressed(digits: &str, payload_type: u8, attributes: &str) -> Vec<Rtp> {
    let mut world = World::new();
    let key = open(&mut world, payload_type, attributes);
    for digit in digits.chars() {
        world.command(key, Command::Dtmf { digit, duration: Duration::from_millis(80) });
    }
    world.advance(Duration::from_secs(4));
    world.take_rtp(Path::Rtp(key))
}

fn hear(world: &mut World, key: LegKey, packets: &[Rtp]) {
    for packet in packets {
        let bytes = rtp(
            packet.payload_type,
            5,
            u64::from(packet.number),
            packet.timestamp,
            &packet.payload,
        );
        world.packet(Path::Rtp(key), address(PEER), &bytes);
        world.advance_ms(20);
    }
}

fn digits(world: &World, key: LegKey) -> String {
    let digit = |event| match event {
        LegEvent::Dtmf { digit, .. } => Some(digit),
        _ => None,
    };
    world.events_of(key).into_iter().filter_map(digit).collect()
}

#[test]
fn digits_are_heard_in_every_codec() {
    for (codec, payload_type, attributes) in CODECS {
        let packets = pressed("0123456789*#ABCD", payload_type, attributes);
        let mut world = World::new();
        let key = open(&mut world, payload_type, attributes);
        hear(&mut world, key, &packets);
        world.advance(Duration::from_secs(1));
        assert_eq!(digits(&world, key), "0123456789*#ABCD", "{codec}");
    }
}

#[test]
fn a_digit_ends_when_the_audio_does() {
    let packets = pressed("5", 0, "");
    let mut world = World::new();
    let key = open(&mut world, 0, "");
    // Nothing of the pause behind it.
    hear(&mut world, key, &packets[..4]);
    assert_eq!(digits(&world, key), "");
    world.advance_ms(300);
    assert_eq!(digits(&world, key), "5");
}

#[test]
fn a_leg_with_events_takes_no_tone_for_a_digit() {
    let packets = pressed("123", 0, "");
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    hear(&mut world, key, &packets);
    world.advance(Duration::from_secs(1));
    assert_eq!(digits(&world, key), "");
}

#[test]
fn packets_of_any_content_do_no_harm() {
    for (_, payload_type, attributes) in CODECS {
        let mut world = World::new();
        let key = open(&mut world, payload_type, attributes);
        for n in 0..200_usize {
            let payload: Vec<u8> = (0..n * 7).map(|at| (at * n * 31) as u8).collect();
            let payload_type = media::rtp::PayloadType(payload_type);
            let bytes = rtp(payload_type, 5, n as u64, 160 * n as u32, &payload);
            world.packet(Path::Rtp(key), address(PEER), &bytes);
            world.advance_ms(20);
        }
        assert_eq!(digits(&world, key), "");
    }
}
