//! Digits on their way out: as RTP events (RFC 4733), or as tones where the peer takes no events.

use std::{collections::VecDeque, f64::consts::TAU, time::Duration};

use crate::{
    codec::{Codec, Encoder, FRAME_MS},
    rtp::RtpTimestamp,
};

/// Digits that wait or are being sent; it takes one step every 20 ms.
#[derive(Debug)]
pub(crate) struct DtmfSender {
    waiting: VecDeque<Digit>,
    current: Option<Current>,
    /// For a leg whose peer takes no events.
    tones: Option<Tones>,
}

#[derive(Clone, Copy, Debug)]
struct Digit {
    code: u8,
    duration_ms: u32,
    /// Whether the key is still pressed, and the duration may change.
    is_held: bool,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    digit: Digit,
    elapsed_ms: u32,
    /// Packets that said the event has ended.
    ends: u8,
    /// When the event began, in the stream's time.
    timestamp: Option<RtpTimestamp>,
    pause_ms: u32,
}

/// What is sent instead of the voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: the voice goes on.
    Voice,
    /// A packet about an event.
    Event {
        /// The event begins here: its time is asked of the stream.
        begins: bool,
        /// Its payload (RFC 4733 §2.3).
        payload: [u8; 4],
    },
    /// A frame of tone or of the silence behind it, which [`DtmfSender::tone`] writes.
    Tone,
}

#[derive(Debug)]
struct Tones {
    codec: Codec,
    encoder: Encoder,
    pcm_rate_hz: u32,
    pcm: Box<[i16]>,
    /// Samples of the present tone so far; `None`: silence.
    at: Option<(u8, u32)>,
}

impl DtmfSender {
    pub(crate) fn new() -> Self {
        let waiting = VecDeque::with_capacity(DIGITS_MAX);
        Self { waiting, current: None, tones: None }
    }

    /// Adds a digit; `false` when it is none or too many wait. The duration is brought within
    /// [`DURATION_MIN`] and what one event can say at its clock rate.
    pub(crate) fn push(&mut self, digit: char, duration: Duration) -> bool {
        let code =
            super::DIGITS.iter().position(|known| *known == digit.to_ascii_uppercase() as u8);
        let Some(code) = code.filter(|_| digit.is_ascii()) else { return false };
        if self.waiting.len() >= DIGITS_MAX {
            return false;
        }
        let duration_ms = duration.clamp(DURATION_MIN, DURATION_MAX).as_millis() as u32;
        self.waiting.push_back(Digit { code: code as u8, duration_ms, is_held: false });
        true
    }

    /// Adds a digit whose key is still pressed; `false` as with [`Self::push`]. It ends by itself
    /// when [`Self::pressed`] says nothing more of it.
    pub(crate) fn hold(&mut self, digit: char) -> bool {
        if !self.push(digit, HELD_AFTER) {
            return false;
        }
        if let Some(digit) = self.waiting.back_mut() {
            digit.is_held = true;
        }
        true
    }

    /// For how long the key that is still pressed has been so, or was so when it is let go.
    pub(crate) fn pressed(&mut self, duration: Duration, is_let_go: bool) {
        let waiting = self.waiting.iter_mut().rev().map(|digit| (digit, 0));
        // What has been said to be over is not taken back.
        let current = self.current.iter_mut().filter(|c| c.elapsed_ms < c.digit.duration_ms);
        let current = current.map(|current| (&mut current.digit, current.elapsed_ms));
        let held = waiting.chain(current).find(|(digit, _)| digit.is_held);
        let Some((digit, sent_ms)) = held else { return };
        digit.is_held = !is_let_go;
        let known = if is_let_go { duration } else { duration.saturating_add(HELD_AFTER) };
        digit.duration_ms =
            (known.clamp(DURATION_MIN, DURATION_MAX).as_millis() as u32).max(sent_ms);
    }

    /// Whether steps are to be taken.
    pub(crate) fn is_active(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }

    /// Whether the voice is not to be sent now.
    pub(crate) fn is_muting(&self) -> bool {
        self.current.is_some_and(|current| current.ends < ENDS || self.tones.is_some())
    }

    /// Forgets what waits and what is being sent.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.current = None;
    }

    /// The codec whose tones it can make.
    pub(crate) fn tone_codec(&self) -> Option<Codec> {
        self.tones.as_ref().map(|tones| tones.codec)
    }

    /// Makes tones of a codec from now on, or RTP events again.
    pub(crate) fn set_tones(&mut self, tones: Option<(Codec, Encoder, u32)>) {
        self.tones = tones.map(|(codec, encoder, pcm_rate_hz)| Tones {
            codec,
            encoder,
            pcm_rate_hz,
            pcm: vec![0; (pcm_rate_hz / 1000 * FRAME_MS) as usize].into(),
            at: None,
        });
    }

    /// The next step; an event's durations are in ticks of `clock_rate_hz`.
    pub(crate) fn step(&mut self, clock_rate_hz: u32) -> Step {
        let is_event = self.tones.is_none();
        let current = match &mut self.current {
            Some(current) => current,
            None => {
                let Some(digit) = self.waiting.pop_front() else { return Step::Voice };
                let (timestamp, pause_ms) = (None, PAUSE_MS);
                self.current.insert(Current { digit, elapsed_ms: 0, ends: 0, timestamp, pause_ms })
            }
        };
        let begins = current.elapsed_ms == 0;
        let max_ms = u32::from(u16::MAX) / (clock_rate_hz / 1000).max(1);
        let duration_ms = if is_event {
            current.digit.duration_ms.min(max_ms)
        } else {
            current.digit.duration_ms
        };
        if is_event && current.ends < ENDS {
            current.elapsed_ms = (current.elapsed_ms + FRAME_MS).min(duration_ms);
            let is_end = current.elapsed_ms == duration_ms;
            current.ends += u8::from(is_end);
            let ticks = (current.elapsed_ms * (clock_rate_hz / 1000)) as u16;
            let [d0, d1] = ticks.to_be_bytes();
            let flags = VOLUME | if is_end { super::END_BIT } else { 0 };
            return Step::Event { begins, payload: [current.digit.code, flags, d0, d1] };
        }
        if !is_event && current.elapsed_ms < duration_ms {
            let code = current.digit.code;
            current.elapsed_ms += FRAME_MS;
            self.set_tone(Some(code));
            return Step::Tone;
        }
        let step = if is_event { Step::Voice } else { Step::Tone };
        match current.pause_ms.checked_sub(FRAME_MS) {
            Some(left) => current.pause_ms = left,
            None => {
                self.current = None;
                return self.step(clock_rate_hz);
            }
        }
        self.set_tone(None);
        step
    }

    /// When the event of the present step began, in the stream's time, as was given first.
    pub(crate) fn timestamp(&mut self, begin: impl FnOnce() -> RtpTimestamp) -> RtpTimestamp {
        match &mut self.current {
            Some(current) => *current.timestamp.get_or_insert_with(begin),
            None => begin(),
        }
    }

    /// Encodes the frame of [`Step::Tone`]; `None` if the codec fails.
    pub(crate) fn tone(&mut self, payload: &mut [u8]) -> Option<usize> {
        let tones = self.tones.as_mut()?;
        match &mut tones.at {
            None => tones.pcm.fill(0),
            Some((code, at)) => {
                let (low, high) = FREQUENCIES_HZ.get(usize::from(*code)).copied()?;
                let rate = f64::from(tones.pcm_rate_hz);
                for sample in &mut tones.pcm {
                    let turn = TAU * f64::from(*at) / rate;
                    let wave =
                        (turn * low).sin() * LOW_AMPLITUDE + (turn * high).sin() * HIGH_AMPLITUDE;
                    *sample = wave as i16;
                    *at = at.wrapping_add(1);
                }
            }
        }
        tones.encoder.encode(&tones.pcm, payload).ok()
    }

    fn set_tone(&mut self, code: Option<u8>) {
        let Some(tones) = &mut self.tones else { return };
        tones.at = match (tones.at, code) {
            (Some((known, at)), Some(code)) if known == code => Some((known, at)),
            (_, code) => code.map(|code| (code, 0)),
        };
    }
}

/// Digits that may wait.
pub(crate) const DIGITS_MAX: usize = 32;
/// No digit is shorter: receivers need not recognise less than 40 ms (ITU-T Q.24).
const DURATION_MIN: Duration = Duration::from_millis(40);
const DURATION_MAX: Duration = Duration::from_secs(6);
/// How long a key that nothing more is heard of counts as pressed.
const HELD_AFTER: Duration = super::END_LOST_AFTER;
/// Between two digits: 80 ms together with the repeated ends of an event.
const PAUSE_MS: u32 = 40;
// RFC 4733 §2.5.1.4: the last packet is sent three times.
const ENDS: u8 = 3;
/// -10 dBm0.
const VOLUME: u8 = 10;
/// The higher tone is 2 dB louder, since lines damp it more (ITU-T Q.23).
const LOW_AMPLITUDE: f64 = 5_000.0;
const HIGH_AMPLITUDE: f64 = 6_300.0;
// ITU-T Q.23, in the order of the codes of RFC 4733.
const FREQUENCIES_HZ: [(f64, f64); 16] = [
    (941.0, 1336.0),
    (697.0, 1209.0),
    (697.0, 1336.0),
    (697.0, 1477.0),
    (770.0, 1209.0),
    (770.0, 1336.0),
    (770.0, 1477.0),
    (852.0, 1209.0),
    (852.0, 1336.0),
    (852.0, 1477.0),
    (941.0, 1209.0),
    (941.0, 1477.0),
    (697.0, 1633.0),
    (770.0, 1633.0),
    (852.0, 1633.0),
    (941.0, 1633.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn events(clock_rate_hz: u32, digits: &[(char, u64)]) -> Vec<Option<(bool, [u8; 4])>> {
        let mut sender = DtmfSender::new();
        for (digit, milliseconds) in digits {
            assert!(sender.push(*digit, Duration::from_millis(*milliseconds)));
        }
        let mut steps = Vec::new();
        while sender.is_active() {
            steps.push(match sender.step(clock_rate_hz) {
                Step::Event { begins, payload } => Some((begins, payload)),
                Step::Voice => None,
                Step::Tone => panic!("a tone"),
            });
        }
        steps
    }

    #[test]
    fn rfc4733_2_5_1_an_event_grows_and_ends_three_times() {
        for (clock_rate_hz, ticks) in [(8_000, 160_u16), (48_000, 960)] {
            let steps = events(clock_rate_hz, &[('#', 90)]);
            let payload = |n: u16, end: bool| {
                let duration = if end { ticks / 2 * 9 } else { ticks * n };
                let [d0, d1] = duration.to_be_bytes();
                Some((n == 1, [11, if end { 0x8a } else { 10 }, d0, d1]))
            };
            let growing = (1..=4).map(|n| payload(n, false));
            let ends = (5..=7).map(|n| payload(n, true));
            let expected: Vec<_> = growing.chain(ends).chain([None; 3]).collect();
            assert_eq!(steps, expected);
        }
    }

    #[test]
    fn digits_follow_each_other_with_a_pause_and_a_bound() {
        let steps = events(8_000, &[('1', 40), ('1', 40)]);
        let begins: Vec<bool> = steps.iter().map(|s| s.is_some_and(|(begins, _)| begins)).collect();
        let at: Vec<usize> = (0..begins.len()).filter(|n| begins[*n]).collect();
        // 40 ms, two more ends, 40 ms of voice.
        assert_eq!(at, [0, 6]);
        let mut sender = DtmfSender::new();
        let taken = (0..100).filter(|_| sender.push('5', Duration::ZERO)).count();
        assert_eq!(taken, DIGITS_MAX);
        assert!(!DtmfSender::new().push('x', Duration::ZERO));
        assert!(!DtmfSender::new().push('\u{131}', Duration::ZERO));
    }

    #[test]
    fn an_event_is_no_longer_than_it_can_say() {
        let steps = events(48_000, &[('1', 60_000)]);
        let (_, [.., d0, d1]) = steps.iter().flatten().last().copied().unwrap();
        assert_eq!(u16::from_be_bytes([d0, d1]), 1365 * 48);
    }
}
