//! Keeps the ways to a leg true after it has acted: its connection, its deadline, its missing ACK.

use std::net::IpAddr;
use std::time::Instant;

use dialog::state::State;

use super::{LegKey, Legs};
use crate::calls::SipEvent;

impl Legs {
    /// How many answered calls wait for their ACK and showed no password: from an address, and from
    /// all.
    pub(in crate::signaling) fn unacknowledged(&self, from: IpAddr) -> (usize, usize) {
        (self.unacknowledged.of(from), self.unacknowledged.total())
    }

    /// Counts the call of a leg while it is unacknowledged.
    fn count_unacknowledged(&mut self, key: LegKey, is_so: bool) {
        let Some(entry) = self.table.get_mut(&key) else { return };
        let from = entry.leg.flow().remote.ip();
        if is_so && entry.unacknowledged.is_none() {
            entry.unacknowledged = Some(from);
            self.unacknowledged.add(from);
        } else if !is_so && let Some(from) = entry.unacknowledged.take() {
            self.unacknowledged.remove(from);
        }
    }

    /// Follows the leg to another connection and to its next deadline.
    pub(super) fn index(&mut self, key: LegKey, now: Instant) {
        let Some(entry) = self.table.get(&key) else { return };
        let waits = matches!(entry.leg.state(), State::Answered | State::AnsweredToEnd);
        self.count_unacknowledged(key, waits && entry.user.is_none());
        let Some(entry) = self.table.get_mut(&key) else { return };
        let flow = entry.leg.flow().id;
        if flow != entry.flow {
            self.lost.remove(&key);
            self.by_flow.remove(&(entry.flow, key));
            self.by_flow.insert((flow, key));
            entry.flow = flow;
            entry.tell(SipEvent::FlowMoved, now);
            self.changed.push(key);
        }
        let deadline = entry.leg.poll_timeout();
        if deadline != entry.deadline {
            if let Some(before) = entry.deadline {
                self.deadlines.remove(&(before, key));
            }
            if let Some(next) = deadline {
                self.deadlines.insert((next, key));
            }
            entry.deadline = deadline;
        }
    }

    pub(super) fn remove(&mut self, key: LegKey) {
        self.count_unacknowledged(key, false);
        let Some(entry) = self.table.remove(&key) else { return };
        self.by_tag.remove(&entry.leg.id().local_tag);
        self.by_flow.remove(&(entry.flow, key));
        self.lost.remove(&key);
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, key));
        }
    }
}
