//! What the loop does a few times a second: it shows that it lives, counts, and gives back memory.

use std::time::Duration;

use tracing::{info, warn};
use transport::net::give_back_heap;

use super::{Signaling, now, wire::Wire};
use crate::metrics::Direction;

impl<W: Wire> Signaling<W> {
    pub(super) fn beat(&mut self) {
        let health = &self.shared.health;
        health.beat();
        if !self.shared.media.is_alive() {
            health.media_died();
        }
        let has_no_room = self.transactions.len() >= self.transactions_max;
        health.full(has_no_room || self.shared.media.is_full());
        self.tell_overload();
        if self.shared.dialer.take_left() {
            self.legs.hang_up_left(now());
            self.dialing.retain(|_, dialing| !dialing.is_left());
        }
        let metrics = &self.shared.metrics;
        metrics.transactions(self.transactions.len());
        let have_left = self.connections.has_passed(self.wire.connections());
        // Not `||`: both shrink.
        if self.transactions.shrink() | self.legs.shrink() | have_left {
            tokio::task::spawn_blocking(give_back_heap);
        }
        metrics.registrations(&self.shared.registrar);
        let counters = *self.transactions.counters();
        let before = std::mem::replace(&mut self.counted, counters);
        metrics.retransmissions(
            Direction::In,
            counters.request_retransmissions_received - before.request_retransmissions_received,
        );
        let sent = |counters: &transaction::Counters| {
            counters.request_retransmissions_sent + counters.response_retransmissions_sent
        };
        metrics.retransmissions(Direction::Out, sent(&counters) - sent(&before));
    }

    /// Says once that new calls are refused for want of room, and once that they are not any more.
    fn tell_overload(&mut self) {
        let health = &self.shared.health;
        match (health.readiness(), self.overloaded_since) {
            (Err("overload"), None) => {
                let (calls, calls_max) = (health.calls(), health.calls_max());
                let transactions = self.transactions.len();
                warn!(calls, calls_max, transactions, "new calls are refused: no room for more");
                self.overloaded_since = Some(now());
            }
            // At the edge it comes and goes.
            (Ok(()), Some(since)) if now() >= since + OVERLOAD_TOLD_FOR => {
                info!("new calls are taken again");
                self.overloaded_since = None;
            }
            _ => {}
        }
    }
}

/// Between two sentences about the want of room.
const OVERLOAD_TOLD_FOR: Duration = Duration::from_secs(10);
