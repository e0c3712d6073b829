//! G.722 at 64 kbit/s (ITU-T G.722, mode 1): two ADPCM sub-bands of 4 kHz each, one byte for every
//! two samples at 16 kHz.
//!
//! Blocks and variables are those of clauses 3 to 6 of the Recommendation; a full-scale 16-bit
//! sample is the overload point of its 14-bit scale. Nothing here allocates once it is made.

use super::Descriptor;
use super::half_rate::{Doubler, Halver};
use crate::Error;

/// G.722 on RTP: sampled at 16000 Hz, and yet its clock runs at 8000 (RFC 3551 §4.5.2).
pub static CODEC: Descriptor = Descriptor {
    encoding_name: "G722",
    static_payload_type: Some(9), // RFC 3551 §6, table 4
    offered_payload_type: 9,
    clock_rate_hz: 8000,
    channels: 1,
    fmtp: None,
    pcm_rate_hz: 16000,
    payload_bytes_max: 160,
};

/// Samples at 16 kHz by which what is decoded lags behind what was encoded: both filter banks.
pub const LAG_SAMPLES: usize = 22;

/// A code that keeps a decoder silent for as long as it is repeated.
pub const SILENCE: u8 = 0xff;

fn samples_per_byte(pcm_rate_hz: u32) -> Result<usize, Error> {
    match pcm_rate_hz {
        8000 => Ok(1),
        16000 => Ok(2),
        _ => Err(Error::PcmRate { pcm_rate_hz }),
    }
}

/// A G.722 encoder for mono PCM.
#[derive(Clone, Debug)]
pub struct Encoder {
    samples_per_byte: usize,
    doubler: Doubler,
    filter: FilterBank,
    lower: Band,
    higher: Band,
}

impl Encoder {
    /// An encoder for PCM at 16000 Hz or at 8000 Hz.
    ///
    /// # Errors
    /// Another rate.
    pub fn new(pcm_rate_hz: u32) -> Result<Self, Error> {
        let samples_per_byte = samples_per_byte(pcm_rate_hz)?;
        let (filter, doubler) = (FilterBank::default(), Doubler::new());
        let (lower, higher) = (Band::new(LOWER_STEP), Band::new(HIGHER_STEP));
        Ok(Encoder { samples_per_byte, doubler, filter, lower, higher })
    }

    /// Encodes `pcm` into `payload`, a byte for every sample at 8 kHz or two samples at 16 kHz, and
    /// returns the payload's length. An odd last sample at 16 kHz is left out.
    ///
    /// # Errors
    /// `payload` is too short.
    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Result<usize, Error> {
        let needed = pcm.len() / self.samples_per_byte;
        let payload = payload.get_mut(..needed).ok_or(Error::ShortBuffer { needed })?;
        for (code, samples) in payload.iter_mut().zip(pcm.chunks_exact(self.samples_per_byte)) {
            let (first, second) = match *samples {
                [first, second] => (first, second),
                [sample] => self.doubler.double(sample),
                _ => continue,
            };
            let (low, high) = self.filter.split(first, second);
            *code = self.lower.encode_lower(low) | self.higher.encode_higher(high) << 6;
        }
        Ok(needed)
    }
}

/// A G.722 decoder to mono PCM.
#[derive(Clone, Debug)]
pub struct Decoder {
    samples_per_byte: usize,
    halver: Halver,
    filter: FilterBank,
    lower: Band,
    higher: Band,
}

impl Decoder {
    /// A decoder to PCM at 16000 Hz or at 8000 Hz.
    ///
    /// # Errors
    /// Another rate.
    pub fn new(pcm_rate_hz: u32) -> Result<Self, Error> {
        let samples_per_byte = samples_per_byte(pcm_rate_hz)?;
        let (filter, halver) = (FilterBank::default(), Halver::new());
        let (lower, higher) = (Band::new(LOWER_STEP), Band::new(HIGHER_STEP));
        Ok(Decoder { samples_per_byte, halver, filter, lower, higher })
    }

    /// Decodes one payload into `pcm`, two samples of a byte at 16 kHz and one at 8 kHz, and returns
    /// how many samples it held.
    ///
    /// # Errors
    /// `pcm` is too short.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        let step = self.samples_per_byte;
        let needed = payload.len() * step;
        let pcm = pcm.get_mut(..needed).ok_or(Error::ShortBuffer { needed })?;
        for (samples, code) in pcm.chunks_exact_mut(step).zip(payload) {
            let low = self.lower.decode_lower(code & 0x3f);
            let high = self.higher.decode_higher(code >> 6);
            let (even, odd) = self.filter.join(low, high);
            match samples {
                [first, second] => (*first, *second) = (even, odd),
                [sample] => *sample = self.halver.halve(even, odd),
                _ => {}
            }
        }
        Ok(needed)
    }
}

/// The quadrature mirror filters that split the spectrum in halves (§3.1) and join them (§4.4).
#[derive(Clone, Debug, Default)]
struct FilterBank {
    /// The last twelve values of both phases, the oldest one first.
    phases: [[i32; TAPS]; 2],
}

impl FilterBank {
    fn shift(&mut self, first: i32, second: i32) {
        for (phase, value) in self.phases.iter_mut().zip([first, second]) {
            phase.copy_within(1.., 0);
            phase[TAPS - 1] = value;
        }
    }

    /// What both phases are after filtering; the second one runs the filter backwards.
    fn filtered(&self) -> (i32, i32) {
        let [first, second] = &self.phases;
        let forwards = first.iter().zip(FILTER).map(|(value, factor)| value * factor).sum();
        let backwards = second.iter().rev().zip(FILTER).map(|(value, factor)| value * factor).sum();
        (forwards, backwards)
    }

    /// The lower and the higher sub-band of two samples.
    fn split(&mut self, first: i16, second: i16) -> (i32, i32) {
        self.shift(i32::from(first), i32::from(second));
        let (odd, even) = self.filtered();
        ((even + odd) >> 14, (even - odd) >> 14)
    }

    /// The two samples of a lower and a higher sub-band.
    fn join(&mut self, low: i32, high: i32) -> (i16, i16) {
        self.shift(low + high, low - high);
        let (second, first) = self.filtered();
        (saturated(first >> 11) as i16, saturated(second >> 11) as i16)
    }
}

/// The adaptive quantizer and predictor of one sub-band.
#[derive(Clone, Debug)]
struct Band {
    /// Logarithm of the quantizer's scale, with a fraction of eleven bits.
    log_scale: i32,
    /// The quantizer's scale.
    scale: i32,
    /// What the predictor expects next.
    predicted: i32,
    /// The share of the zeros in it.
    predicted_by_zeros: i32,
    /// Coefficients of the two poles and the six zeros.
    poles: [i32; 2],
    zeros: [i32; 6],
    /// The last two reconstructed values, and the last six differences, the newest one first.
    reconstructed: [i32; 2],
    differences: [i32; 6],
    /// Whether the last two partly reconstructed values were negative, the newest one first.
    signs: [bool; 2],
}

impl Band {
    fn new(scale: i32) -> Self {
        Band {
            log_scale: 0,
            scale,
            predicted: 0,
            predicted_by_zeros: 0,
            poles: [0; 2],
            zeros: [0; 6],
            reconstructed: [0; 2],
            differences: [0; 6],
            signs: [false; 2],
        }
    }

    /// §3.3, QUANTL: 60 levels.
    fn encode_lower(&mut self, value: i32) -> u8 {
        let error = saturated(value - self.predicted);
        let magnitude = if error < 0 { !error } else { error };
        let scale = self.scale;
        let level =
            LOWER_DECISIONS.partition_point(|level| (level * scale) >> 12 <= magnitude) as u8;
        let code = match (error < 0, level) {
            (true, 0..=1) => 63 - level,
            (true, _) => 33 - level,
            (false, _) => 61 - level,
        };
        self.adapt_lower(code);
        code
    }

    /// §4.2: the value of six bits; the scale is adapted by the first four of them alone.
    fn decode_lower(&mut self, code: u8) -> i32 {
        let difference = (self.scale * LOWER_VALUES_60[usize::from(code & 0x3f)]) >> 15;
        let value = limited(self.predicted + difference);
        self.adapt_lower(code);
        value
    }

    fn adapt_lower(&mut self, code: u8) {
        let index = usize::from(code >> 2 & 0x0f);
        let difference = (self.scale * LOWER_VALUES_15[index]) >> 15;
        let magnitude = if index < 8 { (8 - index) & 7 } else { 15 - index };
        self.rescale(LOWER_WEIGHTS[magnitude], LOWER_LOG_MAX, 8);
        self.predict(difference);
    }

    /// §3.3, QUANTH: four levels.
    fn encode_higher(&mut self, value: i32) -> u8 {
        let error = saturated(value - self.predicted);
        let magnitude = if error < 0 { !error } else { error };
        let is_large = magnitude >= (HIGHER_DECISION * self.scale) >> 12;
        let code = u8::from(!is_large) | u8::from(error >= 0) << 1;
        self.adapt_higher(code);
        code
    }

    fn decode_higher(&mut self, code: u8) -> i32 {
        let predicted = self.predicted;
        limited(predicted + self.adapt_higher(code))
    }

    /// Returns the quantized difference.
    fn adapt_higher(&mut self, code: u8) -> i32 {
        let index = usize::from(code & 3);
        let difference = (self.scale * HIGHER_VALUES[index]) >> 15;
        self.rescale(HIGHER_WEIGHTS[index & 1], HIGHER_LOG_MAX, 10);
        self.predict(difference);
        difference
    }

    /// §3.5: LOGSCL and SCALEL, LOGSCH and SCALEH.
    fn rescale(&mut self, weight: i32, log_max: i32, shift: i32) {
        self.log_scale = (((self.log_scale * 127) >> 7) + weight).clamp(0, log_max);
        let fraction = EXPONENTIAL[(self.log_scale >> 6 & 31) as usize];
        // Neither band's logarithm reaches the point where this would be a shift to the left by
        // more than one.
        let shift = shift - (self.log_scale >> 11);
        let scale = if shift < 0 { fraction << -shift } else { fraction >> shift };
        self.scale = scale << 2;
    }

    /// §3.6: the predictor takes in a quantized difference.
    fn predict(&mut self, difference: i32) {
        let reconstructed = saturated(self.predicted + difference);
        let is_negative = self.predicted_by_zeros + difference < 0;
        self.adapt_poles(is_negative);
        self.adapt_zeros(difference);
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.signs = [is_negative, self.signs[0]];
        // FILTEP, FILTEZ and PREDIC.
        let weighted = |(value, factor): (&i32, &i32)| (saturated(value + value) * factor) >> 15;
        let by_poles: i32 = self.reconstructed.iter().zip(&self.poles).map(weighted).sum();
        let by_zeros: i32 = self.differences.iter().zip(&self.zeros).map(weighted).sum();
        self.predicted_by_zeros = saturated(by_zeros);
        self.predicted = saturated(saturated(by_poles) + self.predicted_by_zeros);
    }

    /// UPPOL2 and UPPOL1.
    fn adapt_poles(&mut self, is_negative: bool) {
        let [before, earlier] = self.signs;
        let [first, second] = self.poles;
        let turned = saturated(first << 2);
        let turned = if is_negative == before { saturated(-turned) } else { turned };
        let step = if is_negative == earlier { 128 } else { -128 };
        let second = ((turned >> 7) + step + ((second * 32512) >> 15)).clamp(-12288, 12288);
        let step = if is_negative == before { 192 } else { -192 };
        let limit = 15360 - second;
        let first = saturated(step + ((first * 32640) >> 15)).clamp(-limit, limit);
        self.poles = [first, second];
    }

    /// UPZERO.
    fn adapt_zeros(&mut self, difference: i32) {
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, before) in self.zeros.iter_mut().zip(&self.differences) {
            let step = if (*before < 0) == (difference < 0) { step } else { -step };
            *zero = saturated(step + ((*zero * 32640) >> 15));
        }
    }
}

fn saturated(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

/// LIMIT: a sub-band has 15 bits.
fn limited(value: i32) -> i32 {
    value.clamp(-16384, 16383)
}

const TAPS: usize = 12;
/// Table 11/G.722: every second coefficient of the filter, which is symmetrical.
const FILTER: [i32; TAPS] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
/// The scales at the start (§3.5).
const LOWER_STEP: i32 = 32;
const HIGHER_STEP: i32 = 8;
/// Table 14/G.722, Q6.
const LOWER_DECISIONS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Table 14/G.722, Q2.
const HIGHER_DECISION: i32 = 564;
/// Table 14/G.722, QQ6 by the code of table 17.
const LOWER_VALUES_60: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
/// Table 14/G.722, QQ4 by the code of table 17.
const LOWER_VALUES_15: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
/// Table 14/G.722, QQ2 by the code of table 17.
const HIGHER_VALUES: [i32; 4] = [-7408, -1616, 7408, 1616];
/// Table 14/G.722, WL by magnitude.
const LOWER_WEIGHTS: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
/// Table 14/G.722, WH: of the large magnitude and of the small one.
const HIGHER_WEIGHTS: [i32; 2] = [798, -214];
const LOWER_LOG_MAX: i32 = 18432;
const HIGHER_LOG_MAX: i32 = 22528;
/// Table 15/G.722, ILB: a thirty-second of an octave each.
const EXPONENTIAL: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::f64::consts::TAU;

    use super::*;

    /// Noise whose level steps down and up again every 400 samples.
    fn noise(samples: usize) -> Vec<i16> {
        let mut state = 1_u32;
        let sample = |n: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (((state >> 16) as i32 - 32768) >> (n / 400 % 12 + 1)) as i16
        };
        (0..samples).map(sample).collect()
    }

    fn encode(pcm: &[i16], rate_hz: u32) -> Vec<u8> {
        let mut encoder = Encoder::new(rate_hz).unwrap();
        let mut payload = vec![0; pcm.len()];
        let len = encoder.encode(pcm, &mut payload).unwrap();
        payload.truncate(len);
        payload
    }

    fn decode(payload: &[u8], rate_hz: u32) -> Vec<i16> {
        let mut decoder = Decoder::new(rate_hz).unwrap();
        let mut pcm = vec![0; 2 * payload.len()];
        let len = decoder.decode(payload, &mut pcm).unwrap();
        pcm.truncate(len);
        pcm
    }

    /// FNV-1a over whole values.
    fn digest(values: impl Iterator<Item = u16>) -> u64 {
        values.fold(0xcbf2_9ce4_8422_2325, |digest, value| {
            (digest ^ u64::from(value)).wrapping_mul(0x100_0000_01b3)
        })
    }

    fn digest_of_pcm(pcm: &[i16]) -> u64 {
        digest(pcm.iter().map(|sample| *sample as u16))
    }

    /// The digests are of what an independent implementation (SpanDSP 0.0.6) makes of the same input.
    #[test]
    fn rfc3551_4_5_2_g722_is_bit_exact_with_another_implementation() {
        let encoded = encode(&noise(16_000), 16_000);
        assert_eq!(encoded[..4], [0x2e, 0x84, 0x20, 0x84]);
        assert_eq!(digest(encoded.iter().map(|code| u16::from(*code))), 0x9fcd_cd6c_899c_562e);
        assert_eq!(digest_of_pcm(&decode(&encoded, 16_000)), 0x5ac5_c4ef_530c_5807);
    }

    #[test]
    fn at_8_khz_speech_keeps_its_level_and_nothing_else_is_heard() {
        let level_db = |pcm: &[i16]| {
            let power = pcm[1000..].iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
            10.0 * (power / (pcm.len() - 1000) as f64 / (8000.0_f64.powi(2) / 2.0)).log10()
        };
        let wave = |frequency_hz: f64, rate_hz: f64| -> Vec<i16> {
            let sample = |n: usize| (n as f64 * frequency_hz / rate_hz * TAU).sin() * 8000.0;
            (0..16_000).map(|n| sample(n) as i16).collect()
        };
        for frequency_hz in [300.0, 1004.0, 3000.0] {
            let heard = decode(&encode(&wave(frequency_hz, 16_000.0), 16_000), 8000);
            assert!(level_db(&heard).abs() < 0.5, "{frequency_hz} Hz: {}", level_db(&heard));
            let heard = decode(&encode(&wave(frequency_hz, 8000.0), 8000), 16_000);
            assert!(level_db(&heard).abs() < 0.5, "{frequency_hz} Hz: {}", level_db(&heard));
        }
        for frequency_hz in [4300.0, 4600.0, 5000.0, 6500.0] {
            let heard = decode(&encode(&wave(frequency_hz, 16_000.0), 16_000), 8000);
            // What the quantizers leave of it.
            assert!(level_db(&heard) < -20.0, "{frequency_hz} Hz: {} dB", level_db(&heard));
        }
    }

    #[test]
    fn tones_of_either_band_keep_level_and_purity() {
        for (frequency_hz, snr_db_min) in
            [(300.0, 35.0), (1004.0, 35.0), (3000.0, 30.0), (6000.0, 12.0)]
        {
            let wave = |n: usize| (n as f64 * frequency_hz / 16_000.0 * TAU).sin() * 8000.0;
            let pcm: Vec<i16> = (0..16_000).map(|n| wave(n) as i16).collect();
            let heard = decode(&encode(&pcm, 16_000), 16_000);
            let (signal, noise) = (1000..15_000).fold((0.0, 0.0), |(signal, noise), n| {
                let error = f64::from(heard[n + LAG_SAMPLES]) - wave(n);
                (signal + wave(n).powi(2), noise + error.powi(2))
            });
            let snr_db = 10.0 * f64::log10(signal / noise);
            assert!(snr_db > snr_db_min, "{frequency_hz} Hz: {snr_db} dB");
        }
    }

    #[test]
    fn every_20_ms_at_either_rate_is_a_payload_of_160_bytes() {
        assert_eq!(encode(&[0; 320], 16_000).len(), 160);
        assert_eq!(encode(&[0; 160], 8000).len(), 160);
        assert_eq!(encode(&[0; 321], 16_000).len(), 160);
        assert_eq!(encode(&[1], 16_000).len() + encode(&[], 16_000).len(), 0);
        assert_eq!(decode(&[SILENCE; 160], 16_000).len(), 320);
        assert_eq!(decode(&[SILENCE; 160], 8000).len(), 160);
    }

    #[test]
    fn other_rates_and_short_buffers_are_refused() {
        assert!(Encoder::new(48_000).is_err() && Decoder::new(0).is_err());
        assert!(Encoder::new(16_000).unwrap().encode(&[0; 320], &mut [0; 159]).is_err());
        assert!(Decoder::new(16_000).unwrap().decode(&[0; 160], &mut [0; 319]).is_err());
    }
}
