//! Digits that a leg hears as tones, since its peer sends no events.

use std::time::Duration;

use media::{
    codec::Codec,
    sdp::RemoteMedia,
    shard::{Command, LegEvent, LegId, LegKey, LegParameters, Path},
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

/// What is heard of tones by a leg whose peer takes events or not: the length of the tones in it, in
/// milliseconds.
fn tone_heard(from: (Codec, u8, &str), to: (Codec, &str, &str), takes_events: bool) -> usize {
    let mut world = World::new();
    let (from, payload_type, attributes) = from;
    let (codec, formats, described_as) = to;
    let key = open(&mut world, payload_type, attributes);
    let rtp = address("192.0.2.2:4000");
    let remote = RemoteMedia::Plain { rtp, rtcp: rtp, rtcp_mux: false };
    let negotiated = described(described_as, formats, remote);
    let parameters = LegParameters { takes_events, ..LegParameters::answering(negotiated) };
    let (b, b_id) = world.open(parameters, None);
    world.command(key, Command::Bridge { peer: b_id });
    world.command(b, Command::Bridge { peer: LegId { shard: 0, serial: b_id.serial - 1 } });
    world.advance_ms(300);
    let packets = pressed("159#", payload_type, attributes);
    hear(&mut world, key, &packets);
    assert_eq!(digits(&world, key), "159#", "{from}");
    let mut decoder = media::codec::Decoder::new(codec, 8000).unwrap();
    let mut loud_ms = 0;
    let heard = world.take_rtp(Path::Rtp(b));
    for packet in heard.iter().filter(|packet| packet.payload_type.0 == codec_number(codec)) {
        let mut pcm = [0; 1600];
        let len = decoder.decode(&packet.payload, &mut pcm).unwrap();
        let loud = |pcm: &&[i16]| pcm.iter().any(|sample| sample.unsigned_abs() > 2_000);
        loud_ms += pcm[..len].chunks(8).filter(loud).count();
    }
    assert!(heard.windows(2).all(|pair| pair[1].number == pair[0].number.wrapping_add(1)));
    loud_ms
}

fn codec_number(codec: Codec) -> u8 {
    let known = CODECS.iter().find(|(known, ..)| *known == codec);
    known.map(|(_, number, _)| *number).unwrap()
}

#[test]
fn a_tone_that_is_carried_on_as_a_digit_is_silent_once_it_is_recognised() {
    let events = "a=rtpmap:101 telephone-event/8000\r\n";
    let (pcmu, g722, opus) = (CODECS[0], CODECS[2], CODECS[3]);
    for (from, codec, formats) in [
        (pcmu, Codec::Pcmu, "0"),
        (pcmu, Codec::Pcma, "8"),
        (pcmu, Codec::G722, "9"),
        (g722, Codec::Pcmu, "0"),
        (opus, Codec::Pcmu, "0"),
    ] {
        // Four digits of 80 ms, of which no detector needs to take the first 35 ms for one.
        let with_events = format!("{formats} 101");
        for heard in [
            tone_heard(from, (codec, &with_events, events), true),
            tone_heard(from, (codec, formats, ""), false),
        ] {
            assert!(heard <= 4 * 36, "{} to {codec}: {heard} ms", from.0);
        }
        let heard = tone_heard(from, (codec, formats, ""), true);
        assert!((300..380).contains(&heard), "{} to {codec}: {heard} ms of four times 80", from.0);
    }
}
