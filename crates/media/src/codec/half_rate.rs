//! Between PCM at 16 kHz and at 8 kHz: a linear-phase filter that passes telephone speech and keeps out
//! what would fold over 4 kHz. Nothing here allocates once it is made.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// From 16 kHz to 8 kHz.
#[derive(Clone, Debug)]
pub(crate) struct Halver {
    filter: &'static Filter,
    /// The last samples of both phases, the oldest one first.
    phases: [[i16; PHASE]; 2],
}

impl Halver {
    pub(crate) fn new() -> Self {
        Halver { filter: &FILTER, phases: [[0; PHASE]; 2] }
    }

    /// The sample at 8 kHz of two at 16 kHz.
    pub(crate) fn halve(&mut self, first: i16, second: i16) -> i16 {
        let mut sum = 0;
        for ((phase, value), taps) in
            self.phases.iter_mut().zip([first, second]).zip(self.filter.phases.iter().rev())
        {
            shift(phase, value);
            sum += product(phase, taps);
        }
        rounded(sum, BITS)
    }
}

/// From 8 kHz to 16 kHz.
#[derive(Clone, Debug)]
pub(crate) struct Doubler {
    filter: &'static Filter,
    /// The last samples, the oldest one first.
    past: [i16; PHASE],
}

impl Doubler {
    pub(crate) fn new() -> Self {
        Doubler { filter: &FILTER, past: [0; PHASE] }
    }

    /// The two samples at 16 kHz of one at 8 kHz.
    pub(crate) fn double(&mut self, sample: i16) -> (i16, i16) {
        shift(&mut self.past, sample);
        let [first, second] = &self.filter.phases;
        let of = |taps| rounded(product(&self.past, taps), BITS - 1);
        (of(first), of(second))
    }
}

fn shift(past: &mut [i16; PHASE], value: i16) {
    past.copy_within(1.., 0);
    past[PHASE - 1] = value;
}

fn product(past: &[i16; PHASE], taps: &[i16; PHASE]) -> i32 {
    past.iter().zip(taps).map(|(value, tap)| i32::from(*value) * i32::from(*tap)).sum()
}

fn rounded(sum: i32, bits: u32) -> i16 {
    let value = (sum + (1 << (bits - 1))) >> bits;
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// The taps of both phases of the filter, each in the order of the samples they are for.
#[derive(Debug)]
struct Filter {
    phases: [[i16; PHASE]; 2],
}

static FILTER: LazyLock<Filter> = LazyLock::new(Filter::new);

impl Filter {
    /// A sinc under a Kaiser window: flat up to 3.4 kHz, 50 dB down from 4 kHz on.
    fn new() -> Self {
        let middle = (TAPS - 1) as f64 / 2.0;
        let tap = |n: usize| {
            let at = n as f64 - middle;
            let turn = 2.0 * PI * CUT_OFF_HZ / 16_000.0;
            let window = bessel(KAISER_BETA * (1.0 - (at / middle).powi(2)).max(0.0).sqrt());
            (turn * at).sin() / (PI * at) * window / bessel(KAISER_BETA)
        };
        let sum: f64 = (0..TAPS).map(tap).sum();
        let scaled = |n: usize| (tap(n) / sum * f64::from(1 << BITS)).round() as i16;
        // The newest sample meets the first tap.
        let phase = |of: usize| std::array::from_fn(|n| scaled(2 * (PHASE - 1 - n) + of));
        Filter { phases: [phase(0), phase(1)] }
    }
}

/// The modified Bessel function of the first kind and order zero.
fn bessel(x: f64) -> f64 {
    let terms = (1..30).scan(1.0, |term, k| {
        *term *= (x / 2.0 / f64::from(k)).powi(2);
        Some(*term)
    });
    1.0 + terms.sum::<f64>()
}

/// An even number: no tap is at the middle, where the sinc is not to be computed.
const TAPS: usize = 2 * PHASE;
const PHASE: usize = 40;
/// Half way between what is passed and what is kept out.
const CUT_OFF_HZ: f64 = 3_700.0;
const KAISER_BETA: f64 = 4.55;
/// The fraction of a tap.
const BITS: u32 = 14;

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn wave(frequency_hz: f64, rate_hz: f64) -> Vec<i16> {
        let sample = |n: usize| (n as f64 * frequency_hz / rate_hz * TAU).sin() * 16_000.0;
        (0..8_000).map(|n| sample(n) as i16).collect()
    }

    /// The level of a frequency beside that of the wave, in dB.
    fn level_db(pcm: &[i16], frequency_hz: f64, rate_hz: f64) -> f64 {
        let pcm = &pcm[200..];
        let part = |turn: fn(f64) -> f64| {
            let of = |(n, sample): (usize, &i16)| {
                f64::from(*sample) * turn(n as f64 * frequency_hz / rate_hz * TAU)
            };
            pcm.iter().enumerate().map(of).sum::<f64>()
        };
        let amplitude = 2.0 * part(f64::sin).hypot(part(f64::cos)) / pcm.len() as f64;
        20.0 * (amplitude / 16_000.0).max(1e-9).log10()
    }

    #[test]
    fn speech_passes_and_nothing_folds_over_4_khz() {
        for (frequency_hz, heard_hz, most_db) in [
            (200.0, 200.0, 0.0),
            (1_000.0, 1_000.0, 0.0),
            (3_300.0, 3_300.0, 0.0),
            (4_100.0, 3_900.0, -45.0),
            (4_300.0, 3_700.0, -45.0),
            (5_000.0, 3_000.0, -45.0),
            (7_000.0, 1_000.0, -45.0),
        ] {
            let mut halver = Halver::new();
            let pcm = wave(frequency_hz, 16_000.0);
            let halved: Vec<i16> = pcm.chunks(2).map(|two| halver.halve(two[0], two[1])).collect();
            let level = level_db(&halved, heard_hz, 8_000.0);
            let is_right = if most_db == 0.0 { level.abs() < 0.2 } else { level < most_db };
            assert!(is_right, "{frequency_hz} Hz is heard at {heard_hz} with {level} dB");
        }
    }

    #[test]
    fn what_is_doubled_has_no_image_over_4_khz() {
        for frequency_hz in [300.0, 1_000.0, 3_000.0, 3_300.0] {
            let mut doubler = Doubler::new();
            let pcm = wave(frequency_hz, 8_000.0);
            let doubled = pcm.iter().map(|sample| doubler.double(*sample));
            let doubled: Vec<i16> = doubled.flat_map(|(first, second)| [first, second]).collect();
            let level = |hz| level_db(&doubled, hz, 16_000.0);
            assert!(level(frequency_hz).abs() < 0.2, "{frequency_hz} Hz: {}", level(frequency_hz));
            let image = level(8_000.0 - frequency_hz);
            assert!(image < -45.0, "image of {frequency_hz} Hz: {image} dB");
        }
    }

    #[test]
    fn full_scale_stays_full_scale_and_no_sum_overflows() {
        let taps = FILTER.phases.as_flattened();
        let largest: i64 = taps.iter().map(|tap| i64::from(tap.abs()) * 32_768).sum();
        assert!(largest + (1 << BITS) < i64::from(i32::MAX));
        let (mut halver, mut doubler) = (Halver::new(), Doubler::new());
        let halved = (0..2 * PHASE).map(|_| {
            let (first, second) = doubler.double(i16::MAX);
            halver.halve(first, second)
        });
        assert!(halved.last().is_some_and(|sample| sample > 32_700));
    }
}
