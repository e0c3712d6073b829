//! The rhythm of a load: a thread that sleeps by the clock and then does all that is due.

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

/// Milliseconds since the load began.
pub(crate) struct Ticks {
    start: Instant,
    tick: u64,
}

impl Ticks {
    pub fn new() -> Ticks {
        Ticks { start: Instant::now(), tick: 0 }
    }

    /// Sleeps until the next tick. Who slept too long is given those that were missed as well, as
    /// many as make up a frame of 20 ms.
    pub fn wait(&mut self) -> RangeInclusive<u64> {
        let next = self.tick + 1;
        let at = self.start + Duration::from_millis(next);
        thread::sleep(at.saturating_duration_since(Instant::now()));
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.tick = next.max(elapsed);
        next.max(self.tick.saturating_sub(FRAME_TICKS - 1))..=self.tick
    }

    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Ticks in a frame.
pub(crate) const FRAME_TICKS: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_slept_too_long_is_given_a_frame_at_most() {
        let mut ticks = Ticks::new();
        assert_eq!(ticks.wait().start(), &1);
        ticks.start = ticks.start.checked_sub(Duration::from_millis(300)).unwrap_or(ticks.start);
        let due = ticks.wait();
        assert!(*due.end() >= 301 && due.end() - due.start() == FRAME_TICKS - 1, "{due:?}");
        assert_eq!(*ticks.wait().start(), due.end() + 1);
    }
}
