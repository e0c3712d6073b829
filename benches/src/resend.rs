//! A request over UDP that is sent again until it is answered (RFC 3261 §17.1.1.1).

use std::time::{Duration, Instant};

use bytes::Bytes;

/// A request that waits for its answer.
pub(crate) struct Resend {
    bytes: Bytes,
    at: Instant,
    interval: Duration,
    give_up_at: Instant,
}

/// What a deadline led to.
pub(crate) enum Due {
    /// Nothing yet.
    NotYet,
    /// The request goes out once more.
    Again(Bytes),
    /// Nothing came for 64 times T1.
    GivenUp,
}

impl Resend {
    pub fn new(bytes: Bytes, now: Instant) -> Resend {
        Resend { bytes, at: now + T1, interval: T1, give_up_at: now + T1 * 64 }
    }

    /// The next deadline.
    pub fn at(&self) -> Instant {
        self.at
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Due {
        if now < self.at {
            return Due::NotYet;
        }
        if self.give_up_at <= now {
            return Due::GivenUp;
        }
        self.interval *= 2;
        self.at = (now + self.interval).min(self.give_up_at);
        Due::Again(self.bytes.clone())
    }

    /// RFC 3261 §17.1.1.2: a provisional response ends the retransmissions, not the wait.
    pub fn only_wait(&mut self) {
        self.at = self.give_up_at;
    }

    /// RFC 3261 §17.1.2.1: a provisional response to another request slows them down.
    pub fn slow_down(&mut self, now: Instant) {
        self.at = now + T2;
    }
}

// RFC 3261 §17.1.1.1 and §17.1.2.1.
pub(crate) const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
