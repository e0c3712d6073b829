//! Legs of different codecs hear each other: the tone that is said is the tone that is heard.

use std::{f64::consts::TAU, time::Duration};

use media::{
    codec::{Codec, Decoder, Encoder},
    shard::{Command, LegId, LegKey, LegParameters, Path},
};

use crate::common::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";
const CODECS: [Codec; 4] = [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722];

/// A phone that says a tone and listens.
struct Talker {
    key: LegKey,
    codec: Codec,
    address: &'static str,
    encoder: Encoder,
    rate_hz: u32,
    frame_ms: u32,
    /// Samples said so far.
    said: u64,
    number: u64,
    frequency_hz: f64,
}

impl Talker {
    fn new(key: LegKey, codec: Codec, address: &'static str, frequency_hz: f64) -> Self {
        let rate_hz = if codec == Codec::Opus { 16_000 } else { codec.descriptor().pcm_rate_hz };
        let encoder = Encoder::new(codec, rate_hz).unwrap();
        let (said, number, frame_ms) = (0, 1000, 20);
        Self { key, codec, address, encoder, rate_hz, frame_ms, said, number, frequency_hz }
    }

    /// The next packet of the tone.
    fn next(&mut self) -> Vec<u8> {
        let len = u64::from(self.rate_hz / 1000 * self.frame_ms);
        let step = TAU * self.frequency_hz / f64::from(self.rate_hz);
        let sample = |n: u64| (8_000.0 * (step * n as f64).sin()) as i16;
        let pcm: Vec<i16> = (self.said..self.said + len).map(sample).collect();
        let mut payload = [0; 1500];
        let len = self.encoder.encode(&pcm, &mut payload).unwrap();
        let ticks = self.said * u64::from(self.codec.clock_rate_hz()) / u64::from(self.rate_hz);
        let bytes = rtp(FORMAT, 9, self.number, ticks as u32, &payload[..len]);
        self.said += pcm.len() as u64;
        self.number += 1;
        bytes
    }

    fn say(&mut self, world: &mut World) {
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
    let open = |world: &mut World, codec, at: &str| {
        let mut parameters = LegParameters::answering(speaking(codec, at));
        parameters.signalling_remote = Some(address(at).ip());
        world.open(parameters, None)
    };
    let (a, b) = (open(world, from, A), open(world, to, B));
    world.command(a.0, Command::Bridge { peer: b.1 });
    world.command(b.0, Command::Bridge { peer: a.1 });
    [a, b]
}

/// How much of what was heard is the tone, in dB over all else. Codecs and drift move the phase, so
/// each 100 ms are looked at alone; the median counts.
fn tone_to_rest_db(pcm: &[i16], rate_hz: u32, frequency_hz: f64) -> f64 {
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
