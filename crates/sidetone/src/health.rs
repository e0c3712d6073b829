//! Whether the process lives, and whether it takes new calls: one truth for `/livez`,
//! `/readyz`, the answer to OPTIONS and the metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Shared by the signalling loop, which keeps it true, and all that report it.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    /// Milliseconds after `started` at which the signalling loop last ran.
    signalling_beat_ms: AtomicU64,
    is_media_alive: AtomicBool,
    is_draining: AtomicBool,
    is_full: AtomicBool,
    calls: AtomicUsize,
    calls_max: usize,
}

impl Health {
    /// A process that has just started and may hold `calls_max` calls.
    #[must_use]
    pub fn new(calls_max: usize) -> Self {
        Health {
            started: Instant::now(),
            signalling_beat_ms: AtomicU64::new(0),
            is_media_alive: AtomicBool::new(true),
            is_draining: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            calls_max,
        }
    }

    /// The signalling loop ran.
    pub fn beat(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.signalling_beat_ms.store(elapsed, Ordering::Relaxed);
    }

    /// A media thread has ended although nobody asked it to.
    pub fn media_died(&self) {
        self.is_media_alive.store(false, Ordering::Relaxed);
    }

    /// Whether something else that each call needs is used up: ports, or places for transactions.
    pub fn full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// No new calls from now on.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Takes a place for a call, unless all are taken or the process is ending.
    ///
    /// # Errors
    /// The reason, `draining` or `overload`.
    pub fn admit(&self) -> Result<(), &'static str> {
        if self.is_draining.load(Ordering::Relaxed) {
            return Err("draining");
        }
        self.add_leg()
    }

    /// Takes a place for another leg of a call that is up: it counts as a call of its own.
    ///
    /// # Errors
    /// `overload`: all are taken.
    pub fn add_leg(&self) -> Result<(), &'static str> {
        self.calls
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |calls| {
                (calls < self.calls_max).then_some(calls + 1)
            })
            .map(|_| ())
            .map_err(|_| "overload")
    }

    /// Gives the place of an ended call back.
    pub fn release(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls now in progress.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Calls that may be in progress.
    #[must_use]
    pub fn calls_max(&self) -> usize {
        self.calls_max
    }

    /// Whether the process works at all.
    ///
    /// # Errors
    /// What has stopped.
    pub fn liveness(&self) -> Result<(), &'static str> {
        let beat = Duration::from_millis(self.signalling_beat_ms.load(Ordering::Relaxed));
        if self.started.elapsed().saturating_sub(beat) > BEAT_MAX {
            return Err("the signalling loop has stopped");
        }
        if !self.is_media_alive.load(Ordering::Relaxed) {
            return Err("a media thread has stopped");
        }
        Ok(())
    }

    /// Whether new calls are taken.
    ///
    /// # Errors
    /// Why not.
    pub fn readiness(&self) -> Result<(), &'static str> {
        self.liveness()?;
        if self.is_draining.load(Ordering::Relaxed) {
            return Err("draining");
        }
        if self.calls() >= self.calls_max || self.is_full.load(Ordering::Relaxed) {
            return Err("overload");
        }
        Ok(())
    }
}

/// The signalling loop beats several times a second even when nothing happens.
const BEAT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_is_not_ready_until_a_call_ends() {
        let health = Health::new(1);
        assert_eq!(health.admit(), Ok(()));
        assert_eq!(health.admit(), Err("overload"));
        assert_eq!(health.readiness(), Err("overload"));
        health.release();
        assert_eq!(health.readiness(), Ok(()));
        health.full(true);
        assert_eq!(health.readiness(), Err("overload"), "nothing to make a call of");
        assert_eq!(health.admit(), Ok(()), "what refuses it says why");
    }

    #[test]
    fn draining_takes_no_call_but_lives() {
        let health = Health::new(2);
        assert_eq!(health.admit(), Ok(()));
        health.drain();
        assert_eq!(health.admit(), Err("draining"));
        assert_eq!(health.add_leg(), Ok(()), "a call that is up may still be bridged");
        assert_eq!(health.add_leg(), Err("overload"));
        assert_eq!(health.readiness(), Err("draining"));
        assert_eq!(health.liveness(), Ok(()));
    }
}
