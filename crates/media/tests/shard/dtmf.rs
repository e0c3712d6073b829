//! Digits that a leg sends: as RTP events where the peer takes them, else as tones.

use std::{f64::consts::TAU, time::Duration};

use media::{
    codec::{Codec, Decoder},
    rtp::PayloadType,
    sdp::{Direction, RemoteMedia},
    shard::{Command, LegKey, LegParameters, Path, Repeat, Update},
};

use crate::common::*;

const PEER: &str = "192.0.2.1:4000";

fn press(world: &mut World, key: LegKey, digits: &str, milliseconds: u64) {
    for digit in digits.chars() {
        let duration = Duration::from_millis(milliseconds);
        world.command(key, Command::Dtmf { digit, duration });
    }
}

fn open(world: &mut World, codec: Codec) -> LegKey {
    let mut parameters = LegParameters::answering(speaking(codec, PEER));
    parameters.signalling_remote = Some(address(PEER).ip());
    world.open(parameters, None).0
}

#[test]
fn a_digit_for_who_is_on_hold_does_not_come_when_the_hold_ends() {
    let mut world = World::new();
    let key = open(&mut world, Codec::Pcmu);
    let update = |at: &str, direction| {
        let mut negotiated = speaking(Codec::Pcmu, at);
        negotiated.direction = direction;
        Command::Update(Box::new(Update { negotiated, ice: None, signalling_remote: None }))
    };
    press(&mut world, key, "1", 100);
    world.command(key, update("0.0.0.0:4000", Direction::RecvOnly));
    press(&mut world, key, "23", 100);
    world.advance_ms(1_000);
    world.command(key, update(PEER, Direction::SendRecv));
    world.advance_ms(1_000);
    let sent = world.take_rtp(Path::Rtp(key));
    assert!(sent.iter().all(|packet| packet.payload_type != DTMF));
    press(&mut world, key, "4", 100);
    world.advance_ms(1_000);
    let sent = world.take_rtp(Path::Rtp(key));
    assert!(sent.iter().any(|packet| packet.payload_type == DTMF && packet.payload[0] == 4));
}

#[test]
fn rfc4733_2_5_1_a_digit_is_an_event_in_the_stream_of_the_voice() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        let mut world = World::new();
        let key = open(&mut world, codec);
        let mut frames = track(200);
        std::sync::Arc::get_mut(&mut frames).unwrap().codec = codec;
        world.play(key, &frames, Repeat::Forever, 1);
        world.advance_ms(200);
        press(&mut world, key, "7", 100);
        world.advance_ms(400);
        let sent = world.take_rtp(Path::Rtp(key));
        for pair in sent.windows(2) {
            assert_eq!(pair[1].number, pair[0].number.wrapping_add(1));
            assert_eq!(pair[1].ssrc, pair[0].ssrc);
        }
        let events: Vec<&Rtp> = sent.iter().filter(|p| p.payload_type == DTMF).collect();
        let ticks = codec.samples_per_frame() as u16;
        let said: Vec<(u8, u8, u16)> = events
            .iter()
            .map(|p| {
                let [code, flags, d0, d1] = p.payload[..] else { panic!("not an event") };
                (code, flags, u16::from_be_bytes([d0, d1]))
            })
            .collect();
        let growing = (1..=4).map(|n| (7, 10, n * ticks));
        let expected: Vec<_> = growing.chain([(7, 0x8a, 5 * ticks); 3]).collect();
        assert_eq!(said, expected, "{codec}");
        let marked: Vec<bool> = events.iter().map(|p| p.marker).collect();
        assert_eq!(marked, [true, false, false, false, false, false, false]);
        // All packets of an event have its time, which is that of the voice it replaces.
        let first = sent.iter().position(|p| p.payload_type == DTMF).unwrap();
        let before = &sent[first - 1];
        assert!(events.iter().all(|p| p.timestamp == events[0].timestamp));
        let frame = codec.samples_per_frame();
        assert_eq!(events[0].timestamp, before.timestamp.wrapping_add(frame));
        let after = &sent[first + 7];
        assert_eq!(after.timestamp, events[0].timestamp.wrapping_add(7 * frame));
        assert!(after.marker);
    }
}

#[test]
fn a_leg_that_is_silent_sends_digits_and_reads_them_itself() {
    let mut world = World::new();
    let key = open(&mut world, Codec::Pcmu);
    press(&mut world, key, "0123456789*#ABCD", 60);
    world.advance(Duration::from_secs(4));
    let sent = world.take_rtp(Path::Rtp(key));
    assert!(sent.iter().all(|packet| packet.payload_type == DTMF));
    // A leg hears what another one sent.
    let mut other = World::new();
    let ear = open(&mut other, Codec::Pcmu);
    for packet in &sent {
        let bytes = rtp(DTMF, 5, u64::from(packet.number), packet.timestamp, &packet.payload);
        other.packet(Path::Rtp(ear), address(PEER), &bytes);
        other.advance_ms(20);
    }
    let heard: String = digits(&other, ear);
    assert_eq!(heard, "0123456789*#ABCD");
    let unmarked = sent.windows(2).filter(|pair| pair[0].timestamp == pair[1].timestamp);
    assert!(unmarked.into_iter().all(|pair| !pair[1].marker));
}

fn digits(world: &World, key: LegKey) -> String {
    let digit = |event| match event {
        media::shard::LegEvent::Dtmf { digit, .. } => Some(digit),
        _ => None,
    };
    world.events_of(key).into_iter().filter_map(digit).collect()
}

#[test]
fn without_events_a_digit_is_two_tones_in_the_codec_of_the_leg() {
    let formats = [
        ("0", "", Codec::Pcmu),
        ("8", "", Codec::Pcma),
        ("9", "", Codec::G722),
        ("96", "a=rtpmap:96 opus/48000/2\r\n", Codec::Opus),
    ];
    for (format, attributes, codec) in formats {
        let mut world = World::new();
        let rtp = address(PEER);
        let remote = RemoteMedia::Plain { rtp, rtcp: rtp, rtcp_mux: false };
        let mut parameters = LegParameters::answering(described(attributes, format, remote));
        parameters.signalling_remote = Some(rtp.ip());
        let (key, _) = world.open(parameters, None);
        press(&mut world, key, "55", 100);
        world.advance_ms(500);
        let sent = world.take_rtp(Path::Rtp(key));
        assert!(sent.iter().all(|p| p.payload_type == PayloadType(format.parse().unwrap())));
        let mut decoder = Decoder::new(codec, 8_000).unwrap();
        let mut frame = [0; 960];
        let levels: Vec<[f64; 3]> = sent
            .iter()
            .map(|packet| {
                let len = decoder.decode(&packet.payload, &mut frame).unwrap();
                [770.0, 1336.0, 941.0].map(|frequency_hz| level(&frame[..len], frequency_hz))
            })
            .collect();
        // Each 100 ms of tone has a pause of 40 ms behind it.
        let is_tone =
            |[low, high, other]: &[f64; 3]| *low > 2_500.0 && *high > 2_500.0 && *other < 1_500.0;
        let tones: String =
            levels.iter().map(|level| if is_tone(level) { '#' } else { '.' }).collect();
        let runs: Vec<usize> = tones.split('.').map(str::len).filter(|run| *run > 0).collect();
        assert_eq!(runs.len(), 2, "{codec}: {tones}");
        assert!(runs.iter().all(|run| (4..=5).contains(run)), "{codec}: {tones}");
    }
}

/// The amplitude at a frequency.
fn level(pcm: &[i16], frequency_hz: f64) -> f64 {
    let step = TAU * frequency_hz / 8_000.0;
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        re += f64::from(*sample) * (step * n as f64).cos();
        im += f64::from(*sample) * (step * n as f64).sin();
    }
    2.0 * re.hypot(im) / pcm.len() as f64
}

#[test]
fn a_leg_on_hold_drops_its_digits_and_too_many_are_counted() {
    let mut world = World::new();
    let key = open(&mut world, Codec::Pcmu);
    press(&mut world, key, &"1".repeat(100), 40);
    press(&mut world, key, "x", 40);
    assert_eq!(world.shard.counters().dtmf_dropped, 69);
    let mut hold = speaking(Codec::Pcmu, PEER);
    hold.direction = media::sdp::Direction::RecvOnly;
    let update = media::shard::Update { negotiated: hold, ice: None, signalling_remote: None };
    world.command(key, Command::Update(Box::new(update)));
    world.take_sent();
    world.advance_ms(1000);
    assert!(world.take_rtp(Path::Rtp(key)).is_empty());
}
