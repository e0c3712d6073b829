//! DTMF: received as RTP events (RFC 4733 §2) here and as tones by [`DtmfDetector`], sent as
//! either.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start from some instant"))]

use std::time::{Duration, Instant};

use crate::rtp::{RtpTimestamp, Ssrc};

mod detector;
mod sender;

pub use detector::DtmfDetector;
pub(crate) use sender::{DtmfSender, Step};

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DtmfEvent {
    /// One of `0-9`, `*`, `#`, `A-D`.
    pub digit: char,
    /// How long it was pressed.
    pub duration: Duration,
}

/// What a packet says of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The event before, if this packet ends it.
    pub before: Option<DtmfEvent>,
    /// The event that the packet is about, unless it was over already.
    pub this: Option<Pressed>,
}

/// An event as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// The key, and for how long it has been pressed.
    pub event: DtmfEvent,
    /// Whether nothing was heard of it before.
    pub begins: bool,
    /// Whether it is over.
    pub ends: bool,
}

/// Puts events together out of packets. Holds one event, whatever comes.
///
/// An event is known by its source, its RTP timestamp and its code: it is reported once, at the first
/// packet with the end bit; when those are lost, at the next event or after [`END_LOST_AFTER`] of
/// silence.
#[derive(Clone, Copy, Debug, Default)]
pub struct DtmfReceiver {
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    ssrc: Ssrc,
    timestamp: RtpTimestamp,
    code: u8,
    /// Ticks of the segments before this one (RFC 4733 §2.5.1.3).
    earlier: u32,
    duration: u16,
    clock_rate_hz: u32,
    is_reported: bool,
    last_packet: Instant,
}

impl DtmfReceiver {
    /// Takes a packet in.
    pub fn handle_packet(
        &mut self,
        ssrc: Ssrc,
        timestamp: RtpTimestamp,
        payload: &[u8],
        clock_rate_hz: u32,
        now: Instant,
    ) -> Heard {
        let mut heard = Heard::default();
        let [code, flags, d0, d1, ..] = *payload else { return heard };
        if usize::from(code) >= DIGITS.len() {
            return heard;
        }
        let duration = u16::from_be_bytes([d0, d1]);
        let mut begins = false;
        match self.current.as_mut().filter(|current| current.ssrc == ssrc) {
            Some(current) if current.is_of(timestamp) && current.code == code => {
                current.duration = current.duration.max(duration);
                current.last_packet = now;
            }
            // After its end another key has been pressed, whose sender's time stands still.
            Some(current) if current.is_of(timestamp) && !current.is_reported => return heard,
            Some(current) if current.is_after(timestamp, now) => return heard,
            Some(current) if current.is_continued_by(timestamp, code) => {
                let ticks = timestamp.distance_from(current.timestamp).unsigned_abs();
                current.earlier = current.earlier.saturating_add(ticks);
                current.timestamp = timestamp;
                current.duration = duration;
                current.last_packet = now;
            }
            _ => {
                heard.before = self.report();
                begins = true;
                self.current = Some(Current {
                    ssrc,
                    timestamp,
                    code,
                    earlier: 0,
                    duration,
                    clock_rate_hz: clock_rate_hz.max(1),
                    is_reported: false,
                    last_packet: now,
                });
            }
        }
        let ends = flags & END_BIT != 0;
        heard.this = self.pressed().map(|event| Pressed { event, begins, ends });
        if ends {
            self.report();
        }
        heard
    }

    /// Reports an event whose end never came.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<DtmfEvent> {
        if self.poll_timeout()? <= now { self.report() } else { None }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let current = self.current.filter(|current| !current.is_reported)?;
        Some(current.last_packet + END_LOST_AFTER)
    }

    fn report(&mut self) -> Option<DtmfEvent> {
        let event = self.pressed();
        if let Some(current) = &mut self.current {
            current.is_reported = true;
        }
        event
    }

    /// The event that is not over, as far as it is known.
    fn pressed(&self) -> Option<DtmfEvent> {
        let current = self.current.filter(|current| !current.is_reported)?;
        let ticks = u64::from(current.earlier) + u64::from(current.duration);
        Some(DtmfEvent {
            digit: char::from(DIGITS[usize::from(current.code)]),
            duration: Duration::from_micros(ticks * 1_000_000 / u64::from(current.clock_rate_hz)),
        })
    }
}

impl Current {
    fn is_of(&self, timestamp: RtpTimestamp) -> bool {
        self.timestamp == timestamp
    }

    /// Whether a packet is of an event that is over.
    fn is_after(&self, timestamp: RtpTimestamp, now: Instant) -> bool {
        let is_recent = now.saturating_duration_since(self.last_packet) < LATE_MAX;
        is_recent && timestamp.distance_from(self.timestamp) < 0
    }

    /// Whether a packet is of the segment that follows: it begins when the duration of this one is
    /// full (RFC 4733 §2.5.1.3) or, as Chromium has it, with the packet after that.
    fn is_continued_by(&self, timestamp: RtpTimestamp, code: u8) -> bool {
        let full = self.timestamp.plus(u32::from(u16::MAX));
        let packet = (self.clock_rate_hz / PACKETS_PER_S_MIN).cast_signed();
        let follows = (0..=packet).contains(&timestamp.distance_from(full));
        !self.is_reported && self.code == code && follows
    }
}

/// Silence after which the end of an event counts as lost: senders repeat every 20 to 50 ms.
pub const END_LOST_AFTER: Duration = Duration::from_millis(200);
/// Of the voice that an event takes the place of: a packet lasts for 60 ms at the most.
const PACKETS_PER_S_MIN: u32 = 16;
/// A packet later than this belongs to another timeline.
const LATE_MAX: Duration = Duration::from_secs(2);
// RFC 4733 §3.2, table 3.
const DIGITS: &[u8; 16] = b"0123456789*#ABCD";
const END_BIT: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Fixture {
        receiver: DtmfReceiver,
        ssrc: Ssrc,
        now: Instant,
        events: Vec<(char, u64)>,
    }

    impl Fixture {
        fn new() -> Self {
            let (receiver, now) = (DtmfReceiver::default(), Instant::now());
            Self { receiver, ssrc: Ssrc(1), now, events: Vec::new() }
        }

        fn packet(&mut self, timestamp: u32, code: u8, end: bool, duration: u16, clock: u32) {
            self.now += Duration::from_millis(20);
            let [d0, d1] = duration.to_be_bytes();
            let payload = [code, if end { 0x8a } else { 0x0a }, d0, d1];
            let (ssrc, timestamp) = (self.ssrc, RtpTimestamp(timestamp));
            let heard = self.receiver.handle_packet(ssrc, timestamp, &payload, clock, self.now);
            let this = heard.this.filter(|pressed| pressed.ends).map(|pressed| pressed.event);
            self.take(heard.before.into_iter().chain(this));
        }

        fn take(&mut self, events: impl Iterator<Item = DtmfEvent>) {
            self.events
                .extend(events.map(|event| (event.digit, event.duration.as_millis() as u64)));
        }
    }

    #[test]
    fn rfc4733_2_5_1_4_repeated_ends_are_one_event() {
        for clock in [8_000_u32, 48_000] {
            let mut fixture = Fixture::new();
            let ticks = (clock / 50) as u16;
            for n in 1..=4 {
                fixture.packet(1000, 5, false, n * ticks, clock);
            }
            for _ in 0..3 {
                fixture.packet(1000, 5, true, 5 * ticks, clock);
            }
            assert_eq!(fixture.events, [('5', 100)]);
        }
    }

    #[test]
    fn the_same_key_pressed_twice_is_two_events() {
        let mut fixture = Fixture::new();
        fixture.packet(1000, 11, true, 800, 8000);
        fixture.packet(3000, 11, true, 400, 8000);
        fixture.packet(1000, 11, true, 800, 8000);
        assert_eq!(fixture.events, [('#', 100), ('#', 50)]);
    }

    #[test]
    fn another_source_has_times_of_its_own() {
        let mut fixture = Fixture::new();
        fixture.packet(3000, 5, true, 800, 8000);
        fixture.ssrc = Ssrc(2);
        fixture.packet(1000, 6, false, 160, 8000);
        fixture.packet(1000, 6, true, 800, 8000);
        fixture.packet(1000, 6, true, 800, 8000);
        assert_eq!(fixture.events, [('5', 100), ('6', 100)]);
    }

    #[test]
    fn two_keys_with_one_timestamp_are_two_events() {
        let mut fixture = Fixture::new();
        for code in [1, 2, 1] {
            for n in 1..=4 {
                fixture.packet(99_999, code, false, n * 160, 8000);
            }
            for _ in 0..3 {
                fixture.packet(99_999, code, true, 800, 8000);
            }
        }
        assert_eq!(fixture.events, [('1', 100), ('2', 100), ('1', 100)]);
    }

    #[test]
    fn a_lost_end_is_made_good_by_the_next_event_or_by_time() {
        let mut fixture = Fixture::new();
        fixture.packet(1000, 1, false, 160, 8000);
        fixture.packet(5000, 2, true, 320, 8000);
        assert_eq!(fixture.events, [('1', 20), ('2', 40)]);
        fixture.packet(9000, 3, false, 480, 8000);
        let due = fixture.receiver.poll_timeout().unwrap();
        assert_eq!(fixture.receiver.handle_timeout(due - Duration::from_millis(1)), None);
        let event = fixture.receiver.handle_timeout(due);
        fixture.take(event.into_iter());
        assert_eq!(fixture.events.last(), Some(&('3', 60)));
        assert_eq!(fixture.receiver.poll_timeout(), None);
        fixture.packet(9000, 3, true, 640, 8000);
        assert_eq!(fixture.events.len(), 3);
    }

    #[test]
    fn rfc4733_2_5_1_3_a_long_event_in_segments_is_one() {
        let mut fixture = Fixture::new();
        fixture.packet(0, 9, false, u16::MAX, 8000);
        fixture.packet(65_535, 9, false, 160, 8000);
        fixture.packet(65_535, 9, true, 8000, 8000);
        assert_eq!(fixture.events, [('9', 9191)]);
    }

    #[test]
    fn a_long_event_whose_next_segment_begins_with_the_next_packet_is_one() {
        let mut fixture = Fixture::new();
        let mut begins = 0;
        for at in (960..=6 * 48_000).step_by(960) {
            // The last packet of a full segment says so; one of them is lost.
            let is_full = at - begins > u32::from(u16::MAX);
            if is_full {
                if begins == 0 {
                    fixture.packet(begins, 5, false, u16::MAX, 48_000);
                }
                begins = at;
            }
            fixture.packet(begins, 5, at == 6 * 48_000, (at - begins) as u16, 48_000);
        }
        assert_eq!(fixture.events, [('5', 6_000)]);
        let after = begins + u32::from(u16::MAX) + 480;
        fixture.packet(after, 5, true, 4_800, 48_000);
        assert_eq!(fixture.events.last(), Some(&('5', 100)), "pressed anew");
    }

    #[test]
    fn other_events_and_short_payloads_are_passed_over() {
        let mut fixture = Fixture::new();
        fixture.packet(0, 16, true, 100, 8000);
        fixture.packet(0, 255, true, 100, 8000);
        let now = fixture.now;
        let (ssrc, timestamp) = (fixture.ssrc, RtpTimestamp(1));
        let short = fixture.receiver.handle_packet(ssrc, timestamp, &[1, 0x80, 0], 8000, now);
        assert_eq!((short, fixture.events.len()), (Heard::default(), 0));
    }

    proptest! {
        #[test]
        fn an_event_is_reported_once_in_any_order(order in Just((1..=8_u16).collect::<Vec<_>>()).prop_shuffle()) {
            let mut fixture = Fixture::new();
            for n in order {
                fixture.packet(1000, 7, n > 5, n * 160, 8000);
            }
            prop_assert_eq!(fixture.events.len(), 1);
        }
    }
}
