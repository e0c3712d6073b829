//! DTMF heard as tones in the audio (ITU-T Q.23, received as ITU-T Q.24 wants).
//!
//! The audio is cut into blocks of 12.75 ms, whose bins are as far apart as the two nearest tones,
//! each half over the one before, and every block is measured at the eight frequencies (Goertzel's
//! algorithm). It holds a digit if one tone of either group stands out of its group, the two are
//! about equally strong, and nearly all of the block's energy is theirs, which is seldom so in
//! speech or music. Four such blocks in a row begin a digit, and four others end it: a tone of 40 ms
//! is always heard, one of 23 ms never, and a break of 10 ms is none.

use std::f32::consts::TAU;
use std::time::Duration;

use super::DtmfEvent;

/// Listens to one direction of a leg. Holds one digit, whatever comes; allocates nothing.
#[derive(Clone, Debug)]
pub struct DtmfDetector {
    waves: Waves,
    half: Half,
    half_samples: u32,
    /// What the half before this one came to.
    before: Spectrum,
    /// The digit that is being heard, or may be.
    heard: Option<Heard>,
}

/// The turn of each frequency's pointer: by a sample, and by half a block.
#[derive(Clone, Copy, Debug)]
struct Waves {
    twice_cosine: [f32; 8],
    cosine: [f32; 8],
    sine: [f32; 8],
    half_cosine: [f32; 8],
    half_sine: [f32; 8],
}

/// Half a block so far: the two last values of each frequency's filter.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    last: [f32; 8],
    before: [f32; 8],
    energy: f32,
    samples: u32,
}

/// The pointer of each frequency at the end of some samples, and their energy.
#[derive(Clone, Copy, Debug, Default)]
struct Spectrum {
    real: [f32; 8],
    imaginary: [f32; 8],
    energy: f32,
}

/// What a block holds.
#[derive(Clone, Copy, Debug)]
struct Tones {
    digit: char,
    /// Of the lower and of the higher one.
    powers: [f32; 2],
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    tones: Tones,
    blocks: u32,
    /// Blocks in a row since the digit was heard last.
    missed: u32,
}

impl DtmfDetector {
    /// A detector for mono PCM at `pcm_rate_hz`, which is 8000 to 48000.
    pub fn new(pcm_rate_hz: u32) -> Self {
        let half_samples = (pcm_rate_hz / 1000 * HALF_BLOCK_US).div_ceil(1000).max(1);
        Self {
            waves: Waves::new(pcm_rate_hz, half_samples),
            half: Half::default(),
            half_samples,
            before: Spectrum::default(),
            heard: None,
        }
    }

    /// Takes in what follows, of any length, and reports each digit when it has ended.
    pub fn listen(&mut self, pcm: &[i16], mut report: impl FnMut(DtmfEvent)) {
        let mut rest = pcm;
        while !rest.is_empty() {
            let missing = (self.half_samples - self.half.samples) as usize;
            let (samples, later) = rest.split_at(missing.min(rest.len()));
            self.half.take(samples, &self.waves);
            if self.half.samples == self.half_samples {
                let after = std::mem::take(&mut self.half).spectrum(&self.waves);
                let before = std::mem::replace(&mut self.before, after);
                let tones = before.followed_by(&after, &self.waves).tones(2 * self.half_samples);
                if let Some(event) = self.follow(tones) {
                    report(event);
                }
            }
            rest = later;
        }
    }

    /// Whether a digit has begun and not ended.
    pub fn is_hearing(&self) -> bool {
        self.heard.is_some_and(|heard| heard.blocks >= BLOCKS_MIN)
    }

    /// The audio has stopped or is another one: what was heard so far has ended.
    pub fn finish(&mut self) -> Option<DtmfEvent> {
        self.half = Half::default();
        self.before = Spectrum::default();
        self.heard.take().and_then(Heard::event)
    }

    /// Returns the digit that ends with this block.
    fn follow(&mut self, tones: Option<Tones>) -> Option<DtmfEvent> {
        match (&mut self.heard, tones) {
            (Some(heard), Some(tones)) if heard.goes_on_with(&tones) => {
                // A short gap was a disturbance.
                heard.blocks += 1 + std::mem::take(&mut heard.missed);
                heard.tones = tones;
                None
            }
            (Some(heard), None) if heard.blocks >= BLOCKS_MIN && heard.missed + 1 < MISSED_MAX => {
                heard.missed += 1;
                None
            }
            (_, tones) => {
                let begins = tones.map(|tones| Heard { tones, blocks: 1, missed: 0 });
                std::mem::replace(&mut self.heard, begins).and_then(Heard::event)
            }
        }
    }
}

impl Waves {
    fn new(pcm_rate_hz: u32, half_samples: u32) -> Self {
        let turns = FREQUENCIES_HZ.map(|frequency| TAU * frequency / pcm_rate_hz as f32);
        Self {
            twice_cosine: turns.map(|turn| 2.0 * turn.cos()),
            cosine: turns.map(f32::cos),
            sine: turns.map(f32::sin),
            half_cosine: turns.map(|turn| (turn * half_samples as f32).cos()),
            half_sine: turns.map(|turn| (turn * half_samples as f32).sin()),
        }
    }
}

impl Half {
    /// What every sample costs: kept free of branches, so that all frequencies go at once.
    fn take(&mut self, samples: &[i16], waves: &Waves) {
        for sample in samples {
            let sample = f32::from(*sample);
            self.energy += sample * sample;
            let next: [f32; 8] = std::array::from_fn(|at| {
                (sample - self.before[at]) + waves.twice_cosine[at] * self.last[at]
            });
            (self.before, self.last) = (self.last, next);
        }
        self.samples += samples.len() as u32;
    }

    fn spectrum(&self, waves: &Waves) -> Spectrum {
        let Self { last, before, energy, .. } = self;
        Spectrum {
            real: std::array::from_fn(|at| last[at] - before[at] * waves.cosine[at]),
            imaginary: std::array::from_fn(|at| before[at] * waves.sine[at]),
            energy: *energy,
        }
    }
}

impl Spectrum {
    /// That of both halves together: the first one's pointers have turned on meanwhile.
    fn followed_by(&self, after: &Spectrum, waves: &Waves) -> Spectrum {
        let (cosine, sine) = (&waves.half_cosine, &waves.half_sine);
        let real = |at: usize| self.real[at] * cosine[at] - self.imaginary[at] * sine[at];
        let imaginary = |at: usize| self.real[at] * sine[at] + self.imaginary[at] * cosine[at];
        Spectrum {
            real: std::array::from_fn(|at| real(at) + after.real[at]),
            imaginary: std::array::from_fn(|at| imaginary(at) + after.imaginary[at]),
            energy: self.energy + after.energy,
        }
    }

    /// The digit in a block of `samples`, if there is one.
    fn tones(&self, samples: u32) -> Option<Tones> {
        let length = samples as f32;
        let powers: [f32; 8] =
            std::array::from_fn(|at| self.real[at].powi(2) + self.imaginary[at].powi(2));
        let (rows, columns) = powers.split_at(4);
        let (row, row_power) = outstanding(rows)?;
        let (column, column_power) = outstanding(columns)?;
        // A sine of amplitude A has the power (A n / 2)² and the energy n A² / 2.
        let amplitude_min = AMPLITUDE_MIN * length / 2.0;
        let is_loud = row_power.min(column_power) >= amplitude_min * amplitude_min;
        let is_balanced = column_power <= row_power * COLUMN_EXCESS_MAX
            && row_power <= column_power * ROW_EXCESS_MAX;
        let is_alone = row_power + column_power >= SHARE_MIN * self.energy * length / 2.0;
        let tones = Tones { digit: KEYS[row][column], powers: [row_power, column_power] };
        (is_loud && is_balanced && is_alone).then_some(tones)
    }
}

impl Heard {
    /// The same digit; and as long as it may still be a voice, tones as strong as before.
    fn goes_on_with(&self, tones: &Tones) -> bool {
        let pairs = self.tones.powers.iter().zip(&tones.powers);
        let is_steady = |(a, b): (&f32, &f32)| a.max(*b) <= STEADY_WITHIN * a.min(*b);
        self.tones.digit == tones.digit
            && (self.blocks >= BLOCKS_MIN || pairs.into_iter().all(is_steady))
    }

    fn event(self) -> Option<DtmfEvent> {
        let lasted = Duration::from_micros(u64::from(self.blocks) * u64::from(HALF_BLOCK_US));
        let is_digit = self.blocks >= BLOCKS_MIN;
        // As many halves of blocks as there were blocks: those at its ends hold a part of it.
        is_digit
            .then_some(DtmfEvent { digit: self.tones.digit, duration: lasted.max(DURATION_MIN) })
    }
}

/// The strongest of a group, if it stands out.
fn outstanding(powers: &[f32]) -> Option<(usize, f32)> {
    let strongest = powers.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let others = powers.iter().enumerate().filter(|(index, _)| *index != strongest.0);
    let stands_out = others.map(|(_, power)| power * ABOVE_GROUP_MIN).all(|p| p <= strongest.1);
    stands_out.then_some(strongest)
}

// ITU-T Q.23: the lower group, then the higher one.
const FREQUENCIES_HZ: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];
/// By row and column.
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// Half the length of a block in microseconds: 51 samples at 8 kHz.
const HALF_BLOCK_US: u32 = 6375;
/// Blocks in a row that make a digit.
const BLOCKS_MIN: u32 = 4;
/// Blocks in a row without it that end it.
const MISSED_MAX: u32 = 4;
/// What every receiver takes for a digit (ITU-T Q.24).
const DURATION_MIN: Duration = Duration::from_millis(40);
/// Weakest tone that is heard, -36 dBm0; ITU-T Q.24 wants -25 dBm of a receiver on a line.
const AMPLITUDE_MIN: f32 = 355.0;
/// How far a tone stands out of its group: 6 dB.
const ABOVE_GROUP_MIN: f32 = 4.0;
/// How much a tone changes from block to block at most while a digit begins: 4 dB.
const STEADY_WITHIN: f32 = 2.5;
/// Twist (ITU-T Q.24 annex A): the higher tone is at most 6 dB above the lower one, which is at most
/// 11 dB above the higher one. Administrations demand 4 and 8; a short block measures the weaker tone
/// to 2 dB or so.
const COLUMN_EXCESS_MAX: f32 = 4.0;
const ROW_EXCESS_MAX: f32 = 12.6;
/// Share of the block's energy that is the two tones'.
const SHARE_MIN: f32 = 0.72;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::f64::consts::TAU;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    const DIGITS: [char; 16] =
        ['1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '0', '#', 'A', 'B', 'C', 'D'];
    const RATES_HZ: [u32; 3] = [8000, 16_000, 48_000];

    /// How a digit is sent.
    #[derive(Clone, Copy)]
    struct Sent {
        milliseconds: u32,
        amplitude: f64,
        /// The higher tone against the lower one, in dB.
        twist_db: f64,
        /// How far off both frequencies are.
        deviation: f64,
    }

    const GOOD: Sent = Sent { milliseconds: 80, amplitude: 4000.0, twist_db: 0.0, deviation: 0.0 };

    fn tones(digit: char) -> (f64, f64) {
        let key = KEYS.iter().flatten().position(|key| *key == digit).unwrap();
        (f64::from(FREQUENCIES_HZ[key / 4]), f64::from(FREQUENCIES_HZ[4 + key % 4]))
    }

    fn tone(digit: char, sent: Sent, rate_hz: u32) -> Vec<i16> {
        let (row, column) = tones(digit);
        let high = 10f64.powf(sent.twist_db / 40.0);
        let sample = |n: u32| {
            let at = f64::from(n) / f64::from(rate_hz) * TAU * (1.0 + sent.deviation);
            (((at * row).sin() / high + (at * column).sin() * high) * sent.amplitude) as i16
        };
        (0..rate_hz / 1000 * sent.milliseconds).map(sample).collect()
    }

    fn silence(milliseconds: u32, rate_hz: u32) -> Vec<i16> {
        vec![0; (rate_hz / 1000 * milliseconds) as usize]
    }

    /// The digits in `pcm`, given in frames of 20 ms.
    fn heard(pcm: &[i16], rate_hz: u32) -> Vec<(char, u64)> {
        let mut detector = DtmfDetector::new(rate_hz);
        let mut events = Vec::new();
        for frame in pcm.chunks(rate_hz as usize / 50) {
            detector.listen(frame, |event| events.push(event));
        }
        events.extend(detector.finish());
        events.iter().map(|event| (event.digit, event.duration.as_millis() as u64)).collect()
    }

    fn digits(pcm: &[i16], rate_hz: u32) -> String {
        heard(pcm, rate_hz).into_iter().map(|(digit, _)| digit).collect()
    }

    /// Whether a digit that begins anywhere within a block is heard once and as itself.
    fn is_always_heard(sent: Sent) -> bool {
        DIGITS.iter().all(|digit| {
            (0..13).all(|late_ms| {
                let pcm = [silence(late_ms, 8000), tone(*digit, sent, 8000), silence(60, 8000)];
                digits(&pcm.concat(), 8000) == digit.to_string()
            })
        })
    }

    #[test]
    fn every_digit_is_heard_at_every_rate_with_its_duration() {
        for rate_hz in RATES_HZ {
            for milliseconds in [50, 80, 200, 1000] {
                let sent = Sent { milliseconds, ..GOOD };
                let pcm: Vec<i16> = DIGITS
                    .iter()
                    .flat_map(|digit| [tone(*digit, sent, rate_hz), silence(50, rate_hz)].concat())
                    .collect();
                let heard = heard(&pcm, rate_hz);
                let found: Vec<char> = heard.iter().map(|(digit, _)| *digit).collect();
                assert_eq!(found, DIGITS, "{milliseconds} ms at {rate_hz} Hz");
                let is_near = |lasted: u64| lasted.abs_diff(u64::from(milliseconds)) <= 26;
                assert!(heard.iter().all(|(_, lasted)| is_near(*lasted)), "{heard:?}");
            }
        }
    }

    #[test]
    fn forty_milliseconds_are_a_digit_and_twenty_three_are_none() {
        assert!(is_always_heard(Sent { milliseconds: 40, ..GOOD }));
        for digit in DIGITS {
            for late_ms in 0..13 {
                let sent = Sent { milliseconds: 23, ..GOOD };
                let pcm = [silence(late_ms, 8000), tone(digit, sent, 8000), silence(60, 8000)];
                assert_eq!(digits(&pcm.concat(), 8000), "", "{digit} after {late_ms} ms");
            }
        }
    }

    #[test]
    fn the_same_digit_twice_is_two_digits_and_a_short_break_is_none() {
        let press = tone('5', GOOD, 8000);
        let twice = |pause_ms| [press.clone(), silence(pause_ms, 8000), press.clone()].concat();
        assert_eq!(digits(&twice(40), 8000), "55");
        assert_eq!(digits(&twice(10), 8000), "5");
    }

    #[test]
    fn levels_twist_and_deviation_within_their_limits_are_accepted() {
        for amplitude in [500.0, 1000.0, 16_000.0] {
            assert!(is_always_heard(Sent { amplitude, ..GOOD }), "amplitude {amplitude}");
        }
        for twist_db in [-8.0, -4.0, 4.0] {
            assert!(is_always_heard(Sent { twist_db, ..GOOD }), "twist {twist_db} dB");
        }
        for deviation in [-0.015, 0.015] {
            assert!(is_always_heard(Sent { deviation, ..GOOD }), "off by {deviation}");
        }
    }

    #[test]
    fn what_is_too_weak_too_twisted_or_off_its_frequency_is_no_digit() {
        for sent in [
            Sent { amplitude: 100.0, ..GOOD },
            Sent { twist_db: 12.0, ..GOOD },
            Sent { twist_db: -15.0, ..GOOD },
            Sent { deviation: 0.05, ..GOOD },
            Sent { deviation: -0.05, ..GOOD },
        ] {
            for digit in DIGITS {
                assert_eq!(digits(&tone(digit, sent, 8000), 8000), "", "{digit}");
            }
        }
    }

    #[test]
    fn digits_are_heard_through_noise_and_codecs() {
        let mut random = StdRng::seed_from_u64(3);
        // 15 dB below the digit's two tones.
        let mut noise = || (random.random::<f64>() - 0.5) * 2.0 * 4000.0 * 0.178 * 3f64.sqrt();
        for digit in DIGITS {
            let pcm = [tone(digit, GOOD, 8000), silence(60, 8000)].concat();
            let noisy: Vec<i16> = pcm.iter().map(|s| (f64::from(*s) + noise()) as i16).collect();
            let law = |sample: &i16| {
                crate::codec::g711::decode_ulaw(crate::codec::g711::encode_ulaw(*sample))
            };
            let coded: Vec<i16> = noisy.iter().map(law).collect();
            assert_eq!(digits(&coded, 8000), digit.to_string());
        }
    }

    #[test]
    fn noise_music_and_voices_are_no_digits() {
        let mut random = StdRng::seed_from_u64(4);
        let noise: Vec<i16> = (0..8000 * 60).map(|_| random.random_range(-8000..8000)).collect();
        assert_eq!(digits(&noise, 8000), "");
        assert_eq!(digits(&voice(120), 8000), "");
        for frequency_hz in (300..3400).step_by(7) {
            let wave = |n: usize| (n as f64 / 8000.0 * TAU * f64::from(frequency_hz)).sin();
            let pcm: Vec<i16> = (0..1600).map(|n| (wave(n) * 9000.0) as i16).collect();
            assert_eq!(digits(&pcm, 8000), "", "{frequency_hz} Hz");
        }
    }

    /// Speech-like sound: a pulse train whose pitch glides, through three resonances that move from
    /// vowel to vowel.
    fn voice(seconds: usize) -> Vec<i16> {
        let mut random = StdRng::seed_from_u64(5);
        let mut state = [[0.0_f64; 2]; 3];
        let (mut phase, mut pitch_hz) = (0.0, 120.0);
        let mut formants_hz = [500.0, 1200.0, 2400.0];
        let mut target = formants_hz;
        let mut sample = |n: usize| {
            if n.is_multiple_of(1200) {
                target = [
                    random.random_range(300.0..900.0),
                    random.random_range(900.0..2300.0),
                    random.random_range(2300.0..3200.0),
                ];
                pitch_hz = random.random_range(80.0..300.0);
            }
            phase += pitch_hz / 8000.0;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase -= pulse;
            let mut sum = 0.0;
            for ((at, to), [last, before]) in formants_hz.iter_mut().zip(target).zip(&mut state) {
                *at += (to - *at) * 0.002;
                // A bandwidth of 90 Hz, as vowels have.
                let radius = 0.965_f64;
                let next = pulse + 2.0 * radius * (TAU * *at / 8000.0).cos() * *last
                    - radius * radius * *before;
                (*before, *last) = (*last, next);
                sum += next;
            }
            (sum * 2500.0).clamp(-32_000.0, 32_000.0) as i16
        };
        (0..8000 * seconds).map(&mut sample).collect()
    }
}
