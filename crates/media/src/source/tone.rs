//! Tones made from a script, as tracks that are played over and over without a joint to be heard.

use std::f64::consts::{PI, TAU};

use super::{encode_frames, frame_len};
use crate::Error;
use crate::codec::{Codec, Encoder, FRAME_MS, g711, g722, opus};
use crate::prompt::Track;

/// A tone or a cadence of tones, repeated for as long as it is played.
#[derive(Clone, Debug, PartialEq)]
pub struct ToneScript {
    /// The steps of one round. One step without a pause is a continuous tone.
    pub steps: Vec<ToneStep>,
}

/// One step of a [`ToneScript`].
#[derive(Clone, Debug, PartialEq)]
pub struct ToneStep {
    /// Milliseconds that the tone lasts, up to 60000.
    pub on_ms: u32,
    /// Milliseconds of silence after it, up to 60000.
    pub off_ms: u32,
    /// Frequencies that sound together, 20 to 3900 Hz each and at most 8 of them, rounded to whole
    /// hertz; none is silence.
    pub frequencies_hz: Vec<f32>,
    /// Level of each frequency in dBm0: a full-scale sine is 3.14 dBm0 (ITU-T G.711 §5).
    pub level_dbm0: f32,
}

impl ToneScript {
    /// All of it in numbers, which no other script has: to be found by.
    pub(crate) fn bits(&self) -> Vec<u32> {
        let mut bits = Vec::with_capacity(8 * self.steps.len());
        for ToneStep { on_ms, off_ms, frequencies_hz, level_dbm0 } in &self.steps {
            bits.extend([*on_ms, *off_ms, level_dbm0.to_bits(), frequencies_hz.len() as u32]);
            bits.extend(frequencies_hz.iter().map(|frequency| frequency.to_bits()));
        }
        bits
    }

    /// A single frequency without end.
    pub fn continuous(frequency_hz: f32, level_dbm0: f32) -> Self {
        let frequencies_hz = vec![frequency_hz];
        ToneScript { steps: vec![ToneStep { on_ms: 1000, off_ms: 0, frequencies_hz, level_dbm0 }] }
    }

    /// The 1004 Hz test tone at -10 dBm0.
    pub fn milliwatt() -> Self {
        ToneScript::continuous(1004.0, -10.0)
    }

    /// Encodes the script as a track to be repeated; `opus_complexity` is 0 to 10.
    ///
    /// # Errors
    /// The script breaks one of the ranges of [`ToneStep`], has no step or more than 32, lasts
    /// for more than 60 s, or is louder than can be coded.
    pub fn track(&self, codec: Codec, opus_complexity: u8) -> Result<Track, Error> {
        self.check()?;
        let round = self.round(codec.descriptor().pcm_rate_hz);
        let frames = match codec {
            Codec::Pcmu => encode_frames(&mut Encoder::Pcmu, &round, frame_len(8000))?,
            Codec::Pcma => encode_frames(&mut Encoder::Pcma, &round, frame_len(8000))?,
            Codec::Opus => {
                let settings =
                    opus::Settings { complexity: opus_complexity, ..opus::Settings::TONE };
                let encoder = opus::Encoder::new(opus::CODEC.pcm_rate_hz, settings)?;
                encode_settled(Encoder::Opus(encoder), &round, codec)?
            }
            Codec::G722 => encode_settled(Encoder::new(codec, 16000)?, &round, codec)?,
        };
        Ok(Track { codec, frames: frames.into() })
    }

    fn check(&self) -> Result<(), Error> {
        if !(1..=STEPS_MAX).contains(&self.steps.len()) {
            return Err(Error::Tone("a tone has 1 to 32 steps"));
        }
        self.steps.iter().try_for_each(ToneStep::check)?;
        match self.steps.iter().map(ToneStep::duration_ms).sum::<u32>() {
            0 => Err(Error::Tone("a tone lasts for at least 1 ms")),
            1..=DURATION_MS_MAX => Ok(()),
            _ => Err(Error::Tone("a round of a tone lasts for 60 s at most")),
        }
    }

    /// PCM of as many rounds as fill whole frames and, for a continuous tone, whole periods.
    fn round(&self, rate_hz: u32) -> Vec<i16> {
        if let [step] = self.steps.as_slice()
            && step.off_ms == 0
        {
            let frames = step.frequencies().map(frames_of_whole_periods).fold(1, lcm);
            return step.samples((frames * FRAME_MS * (rate_hz / 1000)) as usize, rate_hz);
        }
        let mut round = Vec::new();
        for step in &self.steps {
            let start = round.len();
            round.extend(step.samples((step.on_ms * (rate_hz / 1000)) as usize, rate_hz));
            soften(&mut round[start..], rate_hz);
            round.resize(round.len() + (step.off_ms * (rate_hz / 1000)) as usize, 0);
        }
        let rounds =
            frame_len(rate_hz) / gcd(round.len() as u32, frame_len(rate_hz) as u32) as usize;
        round.repeat(rounds)
    }
}

impl ToneStep {
    fn check(&self) -> Result<(), Error> {
        if self.on_ms > DURATION_MS_MAX || self.off_ms > DURATION_MS_MAX {
            return Err(Error::Tone("a step of a tone lasts for 60 s at most"));
        }
        if self.frequencies_hz.len() > FREQUENCIES_MAX {
            return Err(Error::Tone("at most 8 frequencies sound together"));
        }
        if !self.frequencies_hz.iter().all(|frequency| (20.0..=3900.0).contains(frequency)) {
            return Err(Error::Tone("a frequency is 20 to 3900 Hz"));
        }
        let loudest = self.amplitude() * self.frequencies_hz.len() as f64;
        if loudest.is_finite() && loudest <= FULL_SCALE {
            Ok(())
        } else {
            Err(Error::Tone("the tone is louder than full scale"))
        }
    }

    fn duration_ms(&self) -> u32 {
        self.on_ms + self.off_ms
    }

    fn amplitude(&self) -> f64 {
        FULL_SCALE * 10f64.powf((f64::from(self.level_dbm0) - FULL_SCALE_DBM0) / 20.0)
    }

    fn frequencies(&self) -> impl Iterator<Item = u32> {
        self.frequencies_hz.iter().map(|frequency| frequency.round() as u32)
    }

    fn samples(&self, len: usize, rate_hz: u32) -> Vec<i16> {
        let amplitude = self.amplitude();
        let sample = |n: usize| {
            // Whole periods are taken off first, so that the phase is exact however long it lasts.
            let phase = |frequency| (n as u64 * u64::from(frequency) % u64::from(rate_hz)) as f64;
            let sines = self.frequencies().map(|f| (phase(f) / f64::from(rate_hz) * TAU).sin());
            (sines.sum::<f64>() * amplitude).round() as i16
        };
        (0..len).map(sample).collect()
    }
}

/// A track of silence, of one frame.
pub fn silence(codec: Codec) -> Track {
    let payload = match codec {
        Codec::Pcmu => vec![g711::ULAW_SILENCE; g711::PCMU.payload_bytes_max],
        Codec::Pcma => vec![g711::ALAW_SILENCE; g711::PCMA.payload_bytes_max],
        Codec::Opus => opus::SILENCE.to_vec(),
        Codec::G722 => vec![g722::SILENCE; g722::CODEC.payload_bytes_max],
    };
    Track { codec, frames: [payload.into()].into() }
}

/// Encodes `round` once more after the encoder has settled on it, so that the end leads to the
/// beginning as any frame leads to the next.
fn encode_settled(
    mut encoder: Encoder,
    round: &[i16],
    codec: Codec,
) -> Result<Vec<bytes::Bytes>, Error> {
    let frame_len = frame_len(codec.descriptor().pcm_rate_hz);
    let warm_up_rounds = (WARM_UP_FRAMES * frame_len).div_ceil(round.len());
    for _ in 0..warm_up_rounds {
        encode_frames(&mut encoder, round, frame_len)?;
    }
    encode_frames(&mut encoder, round, frame_len)
}

/// Fades the edges of a sounding step in and out, against clicks.
fn soften(samples: &mut [i16], rate_hz: u32) {
    let len = ((rate_hz / 1000 * EDGE_MS) as usize).min(samples.len() / 2);
    let fade = |n: usize, sample: &mut i16| {
        let gain = (1.0 - (n as f64 / len as f64 * PI).cos()) / 2.0;
        *sample = (f64::from(*sample) * gain) as i16;
    };
    samples.iter_mut().take(len).enumerate().for_each(|(n, sample)| fade(n, sample));
    samples.iter_mut().rev().take(len).enumerate().for_each(|(n, sample)| fade(n, sample));
}

/// The fewest frames that hold whole periods.
fn frames_of_whole_periods(frequency_hz: u32) -> u32 {
    let frames_per_second = 1000 / FRAME_MS;
    frames_per_second / gcd(frequency_hz, frames_per_second)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: u32, b: u32) -> u32 {
    a / gcd(a, b) * b
}

/// Level of a sine that just reaches the largest value (ITU-T G.711 §5, A-law).
#[allow(clippy::approx_constant, reason = "a level, not half a turn")]
const FULL_SCALE_DBM0: f64 = 3.14;
/// Largest value that A-law and µ-law have in common, on the 16-bit scale.
const FULL_SCALE: f64 = 32_124.0;
/// Milliseconds of a fade.
const EDGE_MS: u32 = 5;
/// Frames after which an encoder has forgotten that it just began.
const WARM_UP_FRAMES: usize = 100;
/// Most steps of a script.
const STEPS_MAX: usize = 32;
/// Most frequencies of a step.
const FREQUENCIES_MAX: usize = 8;
/// Longest step and longest round, in milliseconds.
const DURATION_MS_MAX: u32 = 60_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;
    use crate::codec::{CODECS, Decoder};

    const CASES: [(Codec, u8); 6] = [
        (Codec::Pcmu, 0),
        (Codec::Pcma, 0),
        (Codec::G722, 0),
        (Codec::Opus, 0),
        (Codec::Opus, 5),
        (Codec::Opus, 10),
    ];

    /// What is heard when a track is played `times` times.
    fn play(track: &Track, times: usize) -> Vec<f64> {
        let rate_hz = track.codec.descriptor().pcm_rate_hz;
        let mut decoder = Decoder::new(track.codec, rate_hz).unwrap();
        let mut pcm = vec![0; frame_len(rate_hz)];
        let mut heard = Vec::new();
        for payload in track.frames.iter().cycle().take(track.frames.len() * times) {
            let len = decoder.decode(payload, &mut pcm).unwrap();
            heard.extend(pcm[..len].iter().map(|sample| f64::from(*sample)));
        }
        heard
    }

    /// Amplitude of `frequency_hz`, and RMS of all else.
    fn analyse(samples: &[f64], frequency_hz: f64, rate_hz: f64) -> (f64, f64) {
        let turn = |n: usize| n as f64 * frequency_hz / rate_hz * TAU;
        let scale = 2.0 / samples.len() as f64;
        let along = |wave: fn(f64) -> f64| -> f64 {
            samples.iter().enumerate().map(|(n, s)| s * wave(turn(n))).sum::<f64>() * scale
        };
        let (cosine, sine) = (along(f64::cos), along(f64::sin));
        let tone = |n: usize| cosine * turn(n).cos() + sine * turn(n).sin();
        let rest: f64 = samples.iter().enumerate().map(|(n, s)| (s - tone(n)).powi(2)).sum();
        (cosine.hypot(sine), (rest / samples.len() as f64).sqrt())
    }

    #[test]
    fn the_1004_hz_tone_repeats_without_a_joint() {
        for (codec, complexity) in CASES {
            let track = ToneScript::milliwatt().track(codec, complexity).unwrap();
            assert_eq!(track.frames.len(), 25, "502 periods last 25 frames");
            let rate_hz = codec.descriptor().pcm_rate_hz as usize;
            let heard = play(&track, 4);
            let expected = ToneScript::milliwatt().steps[0].amplitude();
            // 250 ms hold 251 periods; the windows lie within a round and across each joint.
            let window = rate_hz / 4;
            // The adaptive quantizer of G.722 has a few bits for a tone, not for what is between.
            let thd_n_max = if codec == Codec::G722 { -28.0 } else { -35.0 };
            for start in (rate_hz / 2..heard.len() - window).step_by(rate_hz / 50) {
                let (amplitude, rest) =
                    analyse(&heard[start..start + window], 1004.0, rate_hz as f64);
                let level = 20.0 * (amplitude / expected).log10();
                let thd_n = 20.0 * (rest * 2f64.sqrt() / amplitude).log10();
                assert!(level.abs() < 0.2, "{codec}: {level} dB off at {start}");
                assert!(thd_n < thd_n_max, "{codec}: THD+N {thd_n} dB at {start}");
            }
        }
    }

    #[test]
    fn a_joint_is_as_smooth_as_any_other_place() {
        for (codec, complexity) in CASES {
            let track = ToneScript::milliwatt().track(codec, complexity).unwrap();
            let rate_hz = codec.descriptor().pcm_rate_hz as usize;
            let (round, heard) = (rate_hz / 2, play(&track, 4));
            // The second difference of a sine is proportional to it; a click stands out.
            let bend = |n: usize| (heard[n - 1] - 2.0 * heard[n] + heard[n + 1]).abs();
            let largest = |range: std::ops::Range<usize>| range.map(bend).fold(0.0, f64::max);
            let usual = largest(round + 2000..2 * round - 1000);
            for joint in [2 * round, 3 * round] {
                let at_joint = largest(joint - 500..joint + 500);
                assert!(at_joint <= usual * 1.25, "{codec}: {at_joint} against {usual}");
            }
        }
    }

    #[test]
    fn a_cadence_sounds_and_pauses_as_it_is_written() {
        let busy = ToneStep {
            on_ms: 250,
            off_ms: 253,
            frequencies_hz: vec![480.0, 620.0],
            level_dbm0: -13.0,
        };
        let track = ToneScript { steps: vec![busy] }.track(Codec::Pcmu, 10).unwrap();
        assert_eq!(track.frames.len(), 503, "20 rounds of 503 ms");
        let heard = play(&track, 1);
        let loudest = |range: std::ops::Range<usize>| {
            heard[range].iter().fold(0.0, |loudest: f64, sample| loudest.max(sample.abs()))
        };
        for round in [0, 4024, 19 * 4024] {
            assert!(loudest(round..round + 2000) > 5000.0);
            assert!(loudest(round + 2000..round + 4024) < 10.0);
        }
    }

    #[test]
    fn silence_is_silent() {
        for codec in CODECS {
            let heard = play(&silence(codec), 5);
            assert!(heard.iter().all(|sample| sample.abs() <= 8.0), "{codec}");
            assert_eq!(heard.len(), 5 * frame_len(codec.descriptor().pcm_rate_hz));
        }
    }

    #[test]
    fn impossible_tones_are_refused() {
        let step = |on_ms, off_ms, frequencies_hz: &[f32], level_dbm0| ToneScript {
            steps: vec![ToneStep {
                on_ms,
                off_ms,
                frequencies_hz: frequencies_hz.into(),
                level_dbm0,
            }],
        };
        for script in [
            ToneScript { steps: vec![] },
            step(0, 0, &[1000.0], -10.0),
            step(u32::MAX, u32::MAX, &[1000.0], -10.0),
            step(60_000, 1, &[1000.0], -10.0),
            step(100, 0, &[4000.0], -10.0),
            step(100, 0, &[f32::NAN], -10.0),
            step(100, 0, &[1000.0; 9], -40.0),
            step(100, 0, &[1000.0, 1100.0], 3.0),
            step(100, 0, &[1000.0], f32::INFINITY),
        ] {
            assert!(script.track(Codec::Pcmu, 10).is_err(), "{script:?}");
        }
    }

    #[test]
    fn odd_frequencies_still_repeat_without_a_joint() {
        let track = ToneScript::continuous(697.4, -10.0).track(Codec::Pcma, 10).unwrap();
        assert_eq!(track.frames.len(), 50);
        let (_, rest) = analyse(&play(&track, 2), 697.0, 8000.0);
        assert!(rest < 200.0, "rest {rest}");
    }
}
