//! Conversion of the sample rate, for whole sounds and not for streams.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Resampler, SincInterpolationParameters, WindowFunction};

use super::Pcm;
use crate::Error;

/// The samples of `pcm` at `rate_hz`, as many as there are and up to two more: the filter's delay is
/// taken off, and what is left of it is less than two samples, before the first one.
pub(crate) fn resample(pcm: &Pcm, rate_hz: u32) -> Result<Vec<i16>, Error> {
    if pcm.rate_hz == rate_hz || pcm.samples.is_empty() {
        return Ok(pcm.samples.clone());
    }
    let ratio = f64::from(rate_hz) / f64::from(pcm.rate_hz);
    // The delay that rubato takes off is rounded, and up to a sample too long: silence before the
    // sound keeps the first sample.
    let lead_in = pcm.rate_hz as usize / LEAD_INS_PER_SECOND;
    let lead_out = (lead_in as f64 * ratio) as usize - 1;
    let sound = pcm.samples.iter().map(|sample| f32::from(*sample));
    let input: Vec<f32> = std::iter::repeat_n(0.0, lead_in).chain(sound).collect();
    let converted = convert(&input, ratio).map_err(|reason| Error::Resample { reason })?;
    Ok(converted.into_iter().skip(lead_out).map(|sample| sample.round() as i16).collect())
}

fn convert(input: &[f32], ratio: f64) -> Result<Vec<f32>, String> {
    let parameters = SincInterpolationParameters::new(256, WindowFunction::BlackmanHarris2);
    let fixed = FixedAsync::Input;
    let mut resampler = Async::<f32>::new_sinc(ratio, 1.0, &parameters, 1024, 1, fixed)
        .map_err(|error| error.to_string())?;
    let frames = input.len();
    let input = InterleavedSlice::new(input, 1, frames).map_err(|error| error.to_string())?;
    let output = resampler.process_all(&input, frames, None).map_err(|error| error.to_string())?;
    Ok(output.take_data())
}

/// 40 ms, a whole number of samples at every usual rate.
const LEAD_INS_PER_SECOND: usize = 25;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    fn tone(rate_hz: u32) -> Pcm {
        let phase = |n: u32| f64::from(n) / f64::from(rate_hz) * 1000.0 * std::f64::consts::TAU;
        let samples = (0..rate_hz).map(|n| (phase(n).sin() * 10_000.0) as i16).collect();
        Pcm { samples, rate_hz }
    }

    /// Amplitude and lag in samples of the 1000 Hz in the middle of `samples`.
    fn amplitude_and_lag(samples: &[i16], rate_hz: u32) -> (f64, f64) {
        let turn = |n: usize| n as f64 * 1000.0 / f64::from(rate_hz) * std::f64::consts::TAU;
        let middle = rate_hz as usize / 4..rate_hz as usize * 3 / 4;
        let along = |wave: fn(f64) -> f64| -> f64 {
            middle.clone().map(|n| f64::from(samples[n]) * wave(turn(n))).sum::<f64>()
        };
        let (sine, cosine) = (along(f64::sin), along(f64::cos));
        let amplitude = sine.hypot(cosine) * 2.0 / middle.len() as f64;
        (amplitude, -cosine.atan2(sine) / turn(1))
    }

    #[test]
    fn a_tone_keeps_its_level_its_length_and_its_first_sample() {
        for from in [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000] {
            for to in [8000, 48000] {
                let converted = resample(&tone(from), to).unwrap();
                let (amplitude, lag) = amplitude_and_lag(&converted, to);
                let case = format!("{from} to {to}");
                assert!((9_900.0..10_100.0).contains(&amplitude), "{case}: {amplitude}");
                assert!((-0.1..2.0).contains(&lag), "{case}: lag {lag}");
                assert!((0..=2).contains(&(converted.len() - to as usize)), "{case}");
            }
        }
    }

    #[test]
    fn what_the_new_rate_cannot_hold_is_removed() {
        let phase = |n: u32| f64::from(n) / 48_000.0 * 7000.0 * std::f64::consts::TAU;
        let samples = (0..48_000).map(|n| (phase(n).sin() * 10_000.0) as i16).collect();
        let converted = resample(&Pcm { samples, rate_hz: 48_000 }, 8000).unwrap();
        assert!(converted[400..7600].iter().all(|sample| sample.abs() < 20));
    }

    #[test]
    fn nothing_stays_nothing() {
        assert!(resample(&Pcm { samples: vec![], rate_hz: 44_100 }, 8000).unwrap().is_empty());
    }
}
