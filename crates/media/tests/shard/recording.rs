//! Recordings: the tone that is said, or sent, is the tone that is recorded.

use std::sync::{Arc, atomic::AtomicU64};

use media::{
    codec::Codec,
    recording::{Layout, Mixdown, RecordingId, Tap, rate_hz, tap},
    rtp::PayloadType,
    shard::{Command, LegId, LegKey, LegParameters, Path, RECORDINGS_MAX},
};

use crate::common::*;
use crate::transcode::{Talker, tone_to_rest_db};

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";
const CODECS: [Codec; 4] = [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722];

fn open(world: &mut World, codec: Codec, at: &str) -> (LegKey, LegId) {
    let mut parameters = LegParameters::answering(speaking(codec, at));
    parameters.signalling_remote = Some(address(at).ip());
    world.open(parameters, None)
}

fn recording(id: u64, layout: Layout, codec: Codec) -> (Tap, Mixdown) {
    let dropped = Arc::new(AtomicU64::new(0));
    tap(RecordingId(id), layout, rate_hz(codec), None, dropped)
}

/// Records a call for two seconds in which a hears `said_hz` from its peer and sends what b says.
fn record(a_codec: Codec, b_codec: Codec, layout: Layout) -> Vec<i16> {
    let mut world = World::new();
    let (a, b) = (open(&mut world, a_codec, A), open(&mut world, b_codec, B));
    world.command(a.0, Command::Bridge { peer: b.1 });
    world.command(b.0, Command::Bridge { peer: a.1 });
    let mut at_a = Talker::new(a.0, a_codec, A, A_HZ);
    let mut at_b = Talker::new(b.0, b_codec, B, B_HZ);
    let (tap, mut mixdown) = recording(1, layout, a_codec);
    world.command(a.0, Command::Record(tap));
    let mut samples = Vec::new();
    for _ in 0..100 {
        at_a.say(&mut world);
        at_b.say(&mut world);
        world.advance_ms(20);
        while let Some(frame) = mixdown.frame(world.now) {
            samples.extend_from_slice(frame);
        }
    }
    world.command(a.0, Command::StopRecord(RecordingId(1)));
    assert!(mixdown.frame(world.now).is_none() && !mixdown.is_open());
    samples
}

const A_HZ: f64 = 700.0;
const B_HZ: f64 = 1_300.0;

/// The second half of a channel.
fn settled(samples: &[i16], at: usize, channels: usize) -> Vec<i16> {
    let channel: Vec<i16> = samples.iter().skip(at).step_by(channels).copied().collect();
    channel[channel.len() / 2..].to_vec()
}

#[test]
fn the_tone_that_is_heard_is_recorded() {
    for codec in CODECS {
        let heard = record(codec, Codec::Pcmu, Layout::Heard);
        let rate_hz = rate_hz(codec);
        let seconds = heard.len() as f64 / f64::from(rate_hz);
        assert!((1.9..=2.0).contains(&seconds), "{codec}: {seconds} s");
        let ratio = tone_to_rest_db(&settled(&heard, 0, 1), rate_hz, A_HZ);
        assert!(ratio > 20.0, "{codec}: {ratio} dB");
    }
}

#[test]
fn both_sides_are_recorded_whether_forwarded_or_transcoded() {
    for a_codec in CODECS {
        for b_codec in [a_codec, Codec::Pcma] {
            let rate_hz = rate_hz(a_codec);
            let stereo = record(a_codec, b_codec, Layout::Stereo);
            for (at, tone_hz) in [(0, A_HZ), (1, B_HZ)] {
                let ratio = tone_to_rest_db(&settled(&stereo, at, 2), rate_hz, tone_hz);
                assert!(ratio > 20.0, "{a_codec} with {b_codec}, {tone_hz} Hz: {ratio} dB");
            }
            let mixed = settled(&record(a_codec, b_codec, Layout::Mixed), 0, 1);
            for tone_hz in [A_HZ, B_HZ] {
                // The other one is all the rest.
                let ratio = tone_to_rest_db(&mixed, rate_hz, tone_hz);
                assert!((-6.0..6.0).contains(&ratio), "{a_codec} with {b_codec}: {ratio} dB");
            }
        }
    }
}

#[test]
fn a_digit_that_is_passed_on_is_silence_in_a_recording() {
    for codec in [Codec::Pcmu, Codec::G722] {
        let mut world = World::new();
        let mut parameters = LegParameters::answering(speaking(codec, A));
        parameters.signalling_remote = Some(address(A).ip());
        parameters.takes_events = true;
        let (a, b) = (world.open(parameters, None), open(&mut world, codec, B));
        world.command(a.0, Command::Bridge { peer: b.1 });
        world.command(b.0, Command::Bridge { peer: a.1 });
        let (tap, mut mixdown) = recording(1, Layout::Stereo, codec);
        world.command(a.0, Command::Record(tap));
        let mut samples = Vec::new();
        let mut at_b = Talker::new(b.0, codec, B, 0.0);
        for number in 0..50_u64 {
            if number < 10 {
                at_b.say(&mut world);
            } else {
                let digit = rtp(PayloadType(101), 9, 1_000 + number, 1_600, &[5, 10, 0, 160]);
                world.packet(Path::Rtp(b.0), address(B), &digit);
            }
            world.advance_ms(20);
            while let Some(frame) = mixdown.frame(world.now) {
                samples.extend_from_slice(frame);
            }
        }
        assert!(!world.take_rtp(Path::Rtp(a.0)).is_empty(), "the digit goes on");
        let loudest = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!(loudest < 64, "{codec}: {loudest}");
    }
}

#[test]
fn what_is_said_to_a_browser_is_recorded_before_it_is_encrypted() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, A);
    let (key, _) = browser.open(&mut world);
    browser.connect(&mut world);
    let (tap, mut mixdown) = recording(1, Layout::Stereo, Codec::Pcmu);
    world.command(key, Command::Record(tap));
    world.command(key, Command::Echo { delay: None });
    let payload = [media::codec::g711::encode_ulaw(4_000); 160];
    let mut samples = Vec::new();
    for _ in 0..50 {
        browser.say(&mut world, &payload);
        world.advance_ms(20);
        while let Some(frame) = mixdown.frame(world.now) {
            samples.extend_from_slice(frame);
        }
    }
    assert!(samples[8_000..].iter().all(|sample| (3_800..4_200).contains(sample)));
}

#[test]
fn a_leg_has_a_bounded_number_of_recordings_and_ends_them_with_itself() {
    let mut world = World::new();
    let (key, _) = open(&mut world, Codec::Pcmu, A);
    let mut talker = Talker::new(key, Codec::Pcmu, A, A_HZ);
    let mut mixdowns = Vec::new();
    for id in 0..=RECORDINGS_MAX as u64 {
        let (tap, mixdown) = recording(id, Layout::Heard, Codec::Pcmu);
        world.command(key, Command::Record(tap));
        mixdowns.push(mixdown);
    }
    for _ in 0..5 {
        talker.say(&mut world);
        world.advance_ms(20);
    }
    let mut is_open = |mixdown: &mut Mixdown| {
        while mixdown.frame(world.now).is_some() {}
        mixdown.is_open()
    };
    let open: Vec<bool> = mixdowns.iter_mut().map(&mut is_open).collect();
    assert_eq!(open, [false, true, true], "the oldest one made room");
    world.command(key, Command::Close);
    for mixdown in &mut mixdowns {
        assert!(mixdown.frame(world.now).is_none() && !mixdown.is_open());
    }
}
