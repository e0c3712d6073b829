//! Legs of different codecs hear each other: the tone that is said is the tone that is heard.

use std::{f64::consts::TAU, time::Duration};

use media::{
    codec::{Codec, Decoder, Encoder},
    rtp::PayloadType,
    sdp::Negotiated,
    shard::{Command, Discard, LegId, LegKey, LegParameters, Path, Update},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::common::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";
const CODECS: [Codec; 4] = [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722];

mod unlike;

/// A phone that says a tone and listens.
pub struct Talker {
    pub key: LegKey,
    codec: Codec,
    address: &'static str,
    encoder: Encoder,
    rate_hz: u32,
    frame_ms: u32,
    /// Samples said so far.
    said: u64,
    number: u64,
    payload_type: PayloadType,
    frequency_hz: f64,
}

impl Talker {
    pub fn new(key: LegKey, codec: Codec, address: &'static str, frequency_hz: f64) -> Self {
        let rate_hz = if codec == Codec::Opus { 16_000 } else { codec.descriptor().pcm_rate_hz };
        let encoder = Encoder::new(codec, rate_hz).unwrap();
        let (said, number, frame_ms) = (0, 1000, 20);
        let payload_type = FORMAT;
        Self {
            key,
            codec,
            address,
            encoder,
            rate_hz,
            frame_ms,
            said,
            number,
            payload_type,
            frequency_hz,
        }
    }

    /// Goes on with another codec and payload type.
    fn switch(&mut self, codec: Codec, payload_type: u8) {
        let switched = Talker::new(self.key, codec, self.address, self.frequency_hz);
        let number = self.number;
        *self = Self { number, payload_type: PayloadType(payload_type), ..switched };
    }

    /// The next packet of the tone.
    fn next(&mut self) -> Vec<u8> {
        let len = u64::from(self.rate_hz / 1000 * self.frame_ms);
        let step = TAU * self.frequency_hz / f64::from(self.rate_hz);
        let sample = |n: u64| (8_000.0 * (step * n as f64).sin()) as i16;
        let pcm: Vec<i16> = (self.said..self.said + len).map(sample).collect();
        let mut payload = [0; 1700];
        let len = self.encoder.encode(&pcm, &mut payload).unwrap();
        let ticks = self.said * u64::from(self.codec.clock_rate_hz()) / u64::from(self.rate_hz);
        let bytes = rtp(self.payload_type, 9, self.number, ticks as u32, &payload[..len]);
        self.said += pcm.len() as u64;
        self.number += 1;
        bytes
    }

    pub fn say(&mut self, world: &mut World) {
        let bytes = self.next();
        world.packet(Path::Rtp(self.key), address(self.address), &bytes);
    }

    /// What it heard, as PCM on one timeline.
    fn hear(&self, heard: &[Rtp]) -> Vec<i16> {
        let mut decoder = Decoder::new(self.codec, self.rate_hz).unwrap();
        let mut frame = [0; 4000];
        let mut pcm = Vec::new();
        for packet in heard {
            assert_eq!(packet.payload_type, FORMAT);
            let len = decoder.decode(&packet.payload, &mut frame).unwrap();
            pcm.extend_from_slice(&frame[..len]);
        }
        pcm
    }
}

const FORMAT: media::rtp::PayloadType = media::rtp::PayloadType(96);

fn pair(world: &mut World, from: Codec, to: Codec) -> [(LegKey, LegId); 2] {
    let a = open(world, speaking(from, A), A);
    let b = open(world, speaking(to, B), B);
    join(world, a, b);
    [a, b]
}

/// A leg whose peer signals from where it is.
fn open(world: &mut World, negotiated: Negotiated, at: &str) -> (LegKey, LegId) {
    let mut parameters = LegParameters::answering(negotiated);
    parameters.signalling_remote = Some(address(at).ip());
    world.open(parameters, None)
}

fn join(world: &mut World, a: (LegKey, LegId), b: (LegKey, LegId)) {
    world.command(a.0, Command::Bridge { peer: b.1 });
    world.command(b.0, Command::Bridge { peer: a.1 });
}

/// How much of what was heard is the tone, in dB over all else. Codecs and drift move the phase, so
/// each 100 ms are looked at alone; the median counts.
pub fn tone_to_rest_db(pcm: &[i16], rate_hz: u32, frequency_hz: f64) -> f64 {
    let window = rate_hz as usize / 10;
    let step = TAU * frequency_hz / f64::from(rate_hz);
    let mut ratios: Vec<f64> = pcm
        .chunks_exact(window)
        .map(|pcm| {
            let (mut re, mut im, mut energy) = (0.0, 0.0, 1.0);
            for (n, sample) in pcm.iter().enumerate() {
                let (sample, angle) = (f64::from(*sample), step * n as f64);
                re += sample * angle.cos();
                im += sample * angle.sin();
                energy += sample * sample;
            }
            let tone = 2.0 * (re * re + im * im) / pcm.len() as f64;
            10.0 * (tone / (energy - tone).max(1.0)).log10()
        })
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

#[test]
fn every_pair_of_codecs_hears_the_tone_of_the_other() {
    for from in CODECS {
        for to in CODECS {
            let mut world = World::new();
            let [(a, _), (b, _)] = pair(&mut world, from, to);
            let mut alice = Talker::new(a, from, A, 440.0);
            let mut bob = Talker::new(b, to, B, 1000.0);
            for _ in 0..150 {
                alice.say(&mut world);
                world.advance_ms(7);
                bob.say(&mut world);
                world.advance_ms(13);
            }
            let sent = world.take_sent();
            for (ear, key, frequency_hz) in [(&alice, a, 1000.0), (&bob, b, 440.0)] {
                let heard = rtp_of(&sent, Path::Rtp(key));
                assert!((140..=155).contains(&heard.len()), "{from}, {to}: {}", heard.len());
                assert_continuous(&heard, ear.codec, from == to);
                let pcm = ear.hear(&heard);
                let ratio = tone_to_rest_db(&pcm, ear.rate_hz, frequency_hz);
                assert!(ratio > 20.0, "{from} to {to}, at {}: {ratio:.1} dB", ear.codec);
            }
        }
    }
}

#[test]
fn rfc3264_6_1_who_answers_may_send_whatever_was_offered_at_any_time() {
    for answered in ["0", "0 8", "0 8 9 111"] {
        let mut world = World::new();
        let mut parameters = LegParameters::offering(media::shard::LegKind::Plain);
        parameters.signalling_remote = Some(address(A).ip());
        let caller = world.open(parameters, None);
        let a = caller.0;
        let answer = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP {answered}\r\na=rtpmap:111 opus/48000/2\r\n"
        );
        let answer = media::sdp::parse(answer.as_bytes()).unwrap();
        let negotiated = media::sdp::negotiate_answer(&answer, &Default::default()).unwrap();
        world.command(
            a,
            Command::Update(Box::new(Update { negotiated, ice: None, signalling_remote: None })),
        );
        let callee = open(&mut world, speaking(Codec::Pcmu, B), B);
        let b = callee.0;
        join(&mut world, caller, callee);
        let mut alice = Talker::new(a, Codec::Pcmu, A, 440.0);
        let bob = Talker::new(b, Codec::Pcmu, B, 440.0);
        for (codec, payload_type) in
            [(Codec::Pcmu, 0), (Codec::Pcma, 8), (Codec::G722, 9), (Codec::Opus, 111)]
        {
            alice.switch(codec, payload_type);
            for _ in 0..100 {
                alice.say(&mut world);
                world.advance_ms(20);
            }
            let heard = rtp_of(&world.take_sent(), Path::Rtp(b));
            assert!((94..=101).contains(&heard.len()), "{answered}, {codec}: {}", heard.len());
            let pcm = bob.hear(&heard);
            let ratio = tone_to_rest_db(&pcm, bob.rate_hz, 440.0);
            assert!(ratio > 20.0, "{answered}, {codec}: {ratio:.1} dB");
        }
    }
}

#[test]
fn a_peer_that_changes_its_codec_with_every_packet_makes_no_transcoder_for_each() {
    let mut world = World::new();
    let mut negotiated = speaking(Codec::Pcmu, A);
    negotiated.local_others = vec![(Codec::Opus, 111)];
    let caller = open(&mut world, negotiated, A);
    let callee = open(&mut world, speaking(Codec::Pcmu, B), B);
    let (a, b) = (caller.0, callee.0);
    join(&mut world, caller, callee);
    let mut alice = Talker::new(a, Codec::Pcmu, A, 440.0);
    for n in 0..100 {
        match n % 2 {
            0 => alice.switch(Codec::Opus, 111),
            _ => alice.switch(Codec::Pcmu, 96),
        }
        alice.say(&mut world);
        world.advance_ms(20);
    }
    let refused = world.shard.counters().discarded(Discard::CodecMismatch);
    assert!((40..=46).contains(&refused), "{refused} of 50");
    assert!(rtp_of(&world.take_sent(), Path::Rtp(b)).len() >= 50);
}

fn rtp_of(sent: &[Sent], path: Path) -> Vec<Rtp> {
    let of_path = sent.iter().filter(|sent| sent.path == path);
    of_path.filter_map(|sent| Rtp::read(&sent.bytes, sent.to, sent.at)).collect()
}

/// One stream without a gap, its timestamps as its clock.
fn assert_continuous(heard: &[Rtp], codec: Codec, is_forwarded: bool) {
    let frame = codec.samples_per_frame();
    for pair in heard.windows(2) {
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        assert_eq!(pair[1].number, pair[0].number.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(frame));
        assert!(!pair[1].marker);
        if !is_forwarded {
            assert_eq!(pair[1].at - pair[0].at, Duration::from_millis(20));
        }
    }
}

/// What the network does to packets, the same for the same seed.
struct Network {
    random: StdRng,
    loss: f64,
    jitter_ms: u64,
    under_way: Vec<(std::time::Instant, Vec<u8>)>,
}

impl Network {
    fn new(seed: u64, loss: f64, jitter_ms: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), loss, jitter_ms, under_way: Vec::new() }
    }

    fn take(&mut self, bytes: Vec<u8>, world: &World) {
        if self.random.random_bool(1.0 - self.loss) {
            let delay = self.random.random_range(0..=self.jitter_ms);
            self.under_way.push((world.now + Duration::from_millis(delay), bytes));
        }
    }

    /// Lets a millisecond pass and delivers what is due.
    fn pass(&mut self, world: &mut World, key: LegKey, from: &str) {
        world.advance_ms(1);
        let now = world.now;
        for (_, bytes) in self.under_way.extract_if(.., |(due, _)| *due <= now) {
            world.packet(Path::Rtp(key), address(from), &bytes);
        }
    }
}

#[test]
fn a_tone_survives_loss_jitter_and_reordering() {
    for (from, to) in [
        (Codec::Opus, Codec::Pcmu),
        (Codec::Pcmu, Codec::Opus),
        (Codec::Pcma, Codec::G722),
        (Codec::G722, Codec::Pcmu),
    ] {
        for seed in 0..2 {
            let mut world = World::new();
            let [(a, _), (b, _)] = pair(&mut world, from, to);
            let mut alice = Talker::new(a, from, A, 440.0);
            let bob = Talker::new(b, to, B, 440.0);
            let mut network = Network::new(seed, 0.05, 50);
            for _ in 0..300 {
                network.take(alice.next(), &world);
                for _ in 0..20 {
                    network.pass(&mut world, a, A);
                }
            }
            let heard = world.take_rtp(Path::Rtp(b));
            let pcm = bob.hear(&heard);
            let ratio = tone_to_rest_db(&pcm, bob.rate_hz, 440.0);
            let what = format!("{from} to {to}, seed {seed}: {ratio:.1} dB, {}", heard.len());
            assert!((295..=305).contains(&heard.len()), "{what}");
            assert_continuous(&heard, to, false);
            assert!(ratio > 12.0, "{what}");
            // What comes late is a share of a few percent, once the delay has adapted.
            assert!(world.shard.counters().discarded(Discard::Late) < 40, "{what}");
        }
    }
}

#[test]
fn packets_of_any_length_are_transcoded() {
    for (from, to, frames) in [
        (Codec::Pcmu, Codec::Opus, &[10, 20, 30, 40, 60, 170, 200][..]),
        (Codec::Pcma, Codec::G722, &[100, 200]),
        (Codec::G722, Codec::Pcma, &[10, 20, 30, 40, 60, 200]),
        (Codec::Opus, Codec::Pcmu, &[5, 10, 20, 40, 60]),
    ] {
        for frame_ms in frames {
            let mut world = World::new();
            let [(a, _), (b, _)] = pair(&mut world, from, to);
            let mut alice = Talker::new(a, from, A, 440.0);
            alice.frame_ms = *frame_ms;
            let bob = Talker::new(b, to, B, 440.0);
            for _ in 0..3000 / frame_ms {
                alice.say(&mut world);
                world.advance_ms(u64::from(*frame_ms));
            }
            let heard = world.take_rtp(Path::Rtp(b));
            let ratio = tone_to_rest_db(&bob.hear(&heard), bob.rate_hz, 440.0);
            let what = format!("{from} of {frame_ms} ms to {to}: {ratio:.1} dB, {}", heard.len());
            assert!((145..=152).contains(&heard.len()), "{what}");
            assert!(ratio > 20.0, "{what}");
        }
    }
}

#[test]
fn a_packet_of_more_than_200_ms_is_counted_and_harms_nothing() {
    let mut world = World::new();
    let [(a, _), (b, _)] = pair(&mut world, Codec::Pcmu, Codec::G722);
    let mut alice = Talker::new(a, Codec::Pcmu, A, 440.0);
    let bob = Talker::new(b, Codec::G722, B, 440.0);
    for n in 0..150 {
        alice.frame_ms = if n == 50 { 210 } else { 20 };
        alice.say(&mut world);
        world.advance_ms(u64::from(alice.frame_ms));
    }
    assert_eq!(world.shard.counters().discarded(Discard::TooLong), 1);
    let heard = world.take_rtp(Path::Rtp(b));
    let last = &heard[heard.len() - 80..];
    assert!(tone_to_rest_db(&bob.hear(last), bob.rate_hz, 440.0) > 20.0);
}

/// How long after it is said a tone is heard, in milliseconds.
fn delay_ms(world: &mut World, alice: &mut Talker, b: LegKey) -> u64 {
    let begin = world.now;
    world.take_sent();
    for _ in 0..40 {
        alice.say(world);
        world.advance_ms(20);
        let loud = |packet: &&Rtp| packet.payload.iter().any(|code| *code & 0x7f < 0x30);
        if let Some(packet) = world.take_rtp(Path::Rtp(b)).iter().find(loud) {
            return (packet.at - begin).as_millis() as u64;
        }
    }
    panic!("nothing was heard");
}

#[test]
fn a_clock_that_drifts_is_absorbed_within_a_bounded_delay() {
    // Half a percent is fifty times what the worst clocks do.
    for drift_us in [-100_i64, 100] {
        let mut world = World::new();
        let [(a, _), (b, _)] = pair(&mut world, Codec::G722, Codec::Pcmu);
        let mut alice = Talker::new(a, Codec::G722, A, 440.0);
        let bob = Talker::new(b, Codec::Pcmu, B, 440.0);
        for _ in 0..1_500 {
            alice.say(&mut world);
            world.advance(Duration::from_micros((20_000 + drift_us) as u64));
        }
        let heard = world.take_rtp(Path::Rtp(b));
        let ratio = tone_to_rest_db(&bob.hear(&heard), 8_000, 440.0);
        assert!(ratio > 20.0, "{drift_us} µs: {ratio:.1} dB");
        assert_continuous(&heard, Codec::Pcmu, false);
        // Silence for a while, and then the tone again: what waits now is the delay.
        alice.frequency_hz = 0.0;
        for _ in 0..50 {
            alice.say(&mut world);
            world.advance_ms(20);
        }
        alice.frequency_hz = 440.0;
        let delay = delay_ms(&mut world, &mut alice, b);
        assert!(delay <= 80, "{drift_us} µs: {delay} ms");
    }
}

#[test]
fn a_stall_is_made_up_for_and_the_delay_is_short_again() {
    let mut world = World::new();
    let [(a, _), (b, _)] = pair(&mut world, Codec::G722, Codec::Pcmu);
    let mut alice = Talker::new(a, Codec::G722, A, 440.0);
    let talk = |world: &mut World, alice: &mut Talker, frames: u64| {
        for _ in 0..frames {
            alice.say(world);
            world.advance_ms(20);
        }
    };
    talk(&mut world, &mut alice, 100);
    world.take_sent();
    // Half a second comes at once.
    let late: Vec<_> = (0..25).map(|_| alice.next()).collect();
    world.advance_ms(500);
    let meanwhile = world.take_rtp(Path::Rtp(b));
    assert_eq!(meanwhile.len(), 25, "what is concealed, then silence");
    let silent = |packet: &Rtp| packet.payload.iter().all(|code| *code == 0xff);
    assert!(meanwhile[10..].iter().all(silent), "no endless concealment");
    for bytes in late {
        world.packet(Path::Rtp(a), address(A), &bytes);
    }
    talk(&mut world, &mut alice, 300);
    alice.frequency_hz = 0.0;
    talk(&mut world, &mut alice, 50);
    alice.frequency_hz = 440.0;
    let delay = delay_ms(&mut world, &mut alice, b);
    assert!(delay <= 80, "{delay} ms");
}

#[test]
fn a_peer_that_stops_is_silence_for_a_while_and_then_nothing() {
    let mut world = World::new();
    let [(a, _), (b, _)] = pair(&mut world, Codec::Opus, Codec::Pcmu);
    let mut alice = Talker::new(a, Codec::Opus, A, 440.0);
    let talk = |world: &mut World, alice: &mut Talker| {
        for _ in 0..50 {
            alice.say(world);
            world.advance_ms(20);
        }
    };
    talk(&mut world, &mut alice);
    world.advance_ms(5_000);
    let heard = world.take_rtp(Path::Rtp(b));
    assert!((148..=152).contains(&heard.len()), "{}", heard.len());
    assert!(heard[60..].iter().all(|packet| packet.payload.iter().all(|code| *code == 0xff)));
    // And when it goes on, its time has gone on.
    alice.said += 5 * 16_000;
    talk(&mut world, &mut alice);
    let again = world.take_rtp(Path::Rtp(b));
    assert!(again[0].marker);
    let last = &heard[heard.len() - 1];
    assert_eq!(again[0].number, last.number.wrapping_add(1));
    let time = (again[0].at - last.at).as_millis() as u32 * 8;
    let ticks = again[0].timestamp.wrapping_sub(last.timestamp);
    assert!(ticks.abs_diff(time) <= 160, "{ticks} ticks in the time of {time}");
    let bob = Talker::new(b, Codec::Pcmu, B, 440.0);
    assert!(tone_to_rest_db(&bob.hear(&again[5..]), 8_000, 440.0) > 20.0);
}

#[test]
fn a_codec_that_changes_while_bridged_rearranges_the_bridge() {
    let mut world = World::new();
    let [(a, _), (b, _)] = pair(&mut world, Codec::Opus, Codec::Pcmu);
    let mut heard = Vec::new();
    for (from, to) in [
        (Codec::Opus, Codec::Pcmu),
        (Codec::Pcmu, Codec::Pcmu),
        (Codec::Pcmu, Codec::Opus),
        (Codec::G722, Codec::Opus),
        (Codec::Opus, Codec::Pcma),
    ] {
        for (key, codec, at) in [(a, from, A), (b, to, B)] {
            let update =
                Update { negotiated: speaking(codec, at), ice: None, signalling_remote: None };
            world.command(key, Command::Update(Box::new(update)));
        }
        let mut alice = Talker::new(a, from, A, 440.0);
        let bob = Talker::new(b, to, B, 440.0);
        alice.number = 1000 + 100 * heard.len() as u64;
        alice.said = alice.number * 320;
        for _ in 0..100 {
            alice.say(&mut world);
            world.advance_ms(20);
        }
        let now = world.take_rtp(Path::Rtp(b));
        assert!(now.len() >= 95, "{from} to {to}: {}", now.len());
        let ratio = tone_to_rest_db(&bob.hear(&now), bob.rate_hz, 440.0);
        assert!(ratio > 20.0, "{from} to {to}: {ratio:.1} dB");
        heard.extend(now);
    }
    for pair in heard.windows(2) {
        assert_eq!(pair[1].number, pair[0].number.wrapping_add(1));
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
    }
}

#[test]
fn legs_on_two_shards_are_transcoded_where_they_are_heard() {
    let (mut here, mut there) = (World::numbered(0), World::numbered(1));
    let open = |world: &mut World, codec, at| {
        let mut parameters = LegParameters::answering(speaking(codec, at));
        parameters.signalling_remote = Some(address(at).ip());
        world.open(parameters, None)
    };
    let (a, a_id) = open(&mut here, Codec::Opus, A);
    let (b, b_id) = open(&mut there, Codec::Pcmu, B);
    here.command(a, Command::Bridge { peer: b_id });
    there.command(b, Command::Bridge { peer: a_id });
    let mut alice = Talker::new(a, Codec::Opus, A, 440.0);
    let bob = Talker::new(b, Codec::Pcmu, B, 440.0);
    for _ in 0..100 {
        alice.say(&mut here);
        here.hand_over(&mut there);
        here.advance_ms(20);
        there.advance_ms(20);
    }
    let heard = there.take_rtp(Path::Rtp(b));
    assert!(tone_to_rest_db(&bob.hear(&heard), 8_000, 440.0) > 20.0);
    // The other leg is gone: nothing is sent for long, and nothing is kept busy.
    there.command(b, Command::Stop);
    alice.say(&mut here);
    here.hand_over(&mut there);
    there.take_sent();
    there.advance_ms(100);
    assert!(there.take_rtp(Path::Rtp(b)).is_empty());
}

#[test]
fn garbage_in_a_codec_is_silence_or_noise_and_no_harm() {
    for (from, to) in [(Codec::Opus, Codec::Pcmu), (Codec::G722, Codec::Opus)] {
        let mut world = World::new();
        let [(a, _), (b, _)] = pair(&mut world, from, to);
        let mut random = StdRng::seed_from_u64(1);
        for number in 0..1_000_u64 {
            let len = random.random_range(0..1_800);
            let payload: Vec<u8> = (0..len).map(|_| random.random()).collect();
            let timestamp = random.random_range(0..400) * number as u32;
            let bytes = rtp(FORMAT, 9, number, timestamp, &payload);
            world.packet(Path::Rtp(a), address(A), &bytes);
            world.advance_ms(random.random_range(0..40));
        }
        let took = (world.now - world.start).as_millis() as usize;
        let sent = world.take_rtp(Path::Rtp(b)).len();
        assert!(sent <= took / 20 + 1, "{sent} packets in {took} ms");
    }
}
