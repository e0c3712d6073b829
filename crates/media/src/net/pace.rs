//! When datagrams are read: whether they may gather, and how many a socket is asked for.

use std::time::{Duration, Instant};

use super::rounds::QUARTER;

/// When a leg's RTP was read last.
///
/// Its socket has one datagram as a rule, and asking in vain for a second one costs as much as
/// reading it. A leg whose packets come a frame apart is asked for more only now and then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reads {
    last: Option<Instant>,
    /// Times in a row that it had something a frame after the last.
    regular: u32,
}

impl Reads {
    /// The leg has something now: whether that is one datagram only, as far as can be told.
    pub(super) fn expects_one(&mut self, now: Instant) -> bool {
        let last = self.last.replace(now);
        let is_regular = last.is_some_and(|last| {
            let since = now.saturating_duration_since(last);
            (FRAME * 3 / 4..FRAME * 5 / 4).contains(&since)
        });
        self.regular = if is_regular { self.regular.wrapping_add(1) } else { 0 };
        !self.regular.is_multiple_of(REGULAR_MAX)
    }

    /// Whether its packets have come a frame apart for so long that they can be expected to.
    pub(super) fn is_regular(&self) -> bool {
        self.regular > REGULAR_LONG
    }
}

/// How densely datagrams come, and how long to let them gather.
#[derive(Debug)]
pub(super) struct Pace {
    last: Instant,
    /// Time from one datagram to the next, as an average over some dozens of them.
    interval: Duration,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, interval: SPARSE }
    }

    /// `received` datagrams came since the last call.
    pub(super) fn pause(&mut self, received: usize, now: Instant) -> Duration {
        if received == 0 {
            return Duration::ZERO;
        }
        let since = now.saturating_duration_since(std::mem::replace(&mut self.last, now));
        let interval = (since / received as u32).min(SPARSE);
        // Each datagram weighs one in sixteen, a full batch all.
        let weight = (received as u32).min(16);
        self.interval = (self.interval * (16 - weight) + interval * weight) / 16;
        if self.is_dense() { QUARTER.min(self.interval * 32) } else { Duration::ZERO }
    }

    /// Whether so many datagrams come that they are better read together.
    pub(super) fn is_dense(&self) -> bool {
        self.interval < DENSE
    }
}

/// Times in a row that a leg is not asked for more, and one.
const REGULAR_MAX: u32 = 8;
/// Two thirds of a second.
const REGULAR_LONG: u32 = 33;
/// Datagrams that come less often than this do not wait for one another.
const DENSE: Duration = Duration::from_millis(1);
/// Longer intervals count as this one.
const SPARSE: Duration = Duration::from_millis(20);
/// The time from one frame of a leg to its next.
pub(super) const FRAME: Duration = Duration::from_millis(crate::codec::FRAME_MS as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dense_datagrams_gather() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..100 {
            now += Duration::from_millis(20);
            assert_eq!(pace.pause(1, now), Duration::ZERO, "one call is answered at once");
        }
        for _ in 0..100 {
            now += Duration::from_micros(200);
            pace.pause(1, now);
        }
        assert_eq!(pace.pause(1, now + Duration::from_micros(200)), QUARTER);
        now += Duration::from_secs(1);
        pace.pause(1, now);
        for _ in 0..20 {
            now += Duration::from_millis(20);
            pace.pause(1, now);
        }
        assert_eq!(pace.pause(1, now + Duration::from_millis(20)), Duration::ZERO);
    }

    #[test]
    fn a_leg_is_asked_for_more_unless_its_packets_come_a_frame_apart() {
        let (mut reads, mut now) = (Reads::default(), Instant::now());
        assert!(!reads.expects_one(now));
        for turn in 1..=24_u8 {
            now += FRAME + Duration::from_millis(u64::from(turn % 2)) * 4;
            assert_eq!(reads.expects_one(now), u32::from(turn) % REGULAR_MAX != 0, "turn {turn}");
        }
        for gap in [0, 10, 40] {
            now += Duration::from_millis(gap);
            assert!(!reads.expects_one(now), "{gap} ms");
        }
    }
}
