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

    /// The same of calls that are not answered yet.
    pub(in crate::signaling) fn unanswered(&self, from: IpAddr) -> (usize, usize) {
        (self.unanswered.of(from), self.unanswered.total())
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
        // Our BYE is repeated, too.
        let is_proven = !is_so && entry.leg.state() != State::Terminating;
        if let Some(from) = entry.repeated.take_if(|_| is_proven) {
            self.repeated.remove(from);
        }
    }

    /// Whether a 2xx that nobody acknowledged is sent again, or a BYE in its place. Who called in
    /// datagrams without a password may not be where they say they come from, and of an owner of
    /// that address who knows of no call, only so many are called upon.
    pub(super) fn may_repeat(&mut self, key: LegKey) -> bool {
        let Some(entry) = self.table.get_mut(&key) else { return true };
        let Some(from) = entry.unacknowledged else { return true };
        if entry.repeated.is_some() || entry.leg.flow().kind.is_reliable() {
            return true;
        }
        let is_full = self.repeated.of(from) >= REPEATED_MAX
            || self.repeated.total() >= REPEATED_ADDRESSES * REPEATED_MAX;
        if !is_full {
            entry.repeated = Some(from);
            self.repeated.add(from);
        }
        !is_full
    }

    /// Follows the leg to another connection and to its next deadline.
    pub(super) fn index(&mut self, key: LegKey, now: Instant) {
        let Some(entry) = self.table.get(&key) else { return };
        let is_answered = entry.leg.state() != State::Early;
        let waits = matches!(entry.leg.state(), State::Answered | State::AnsweredToEnd);
        self.count_unacknowledged(key, waits && entry.user.is_none());
        let Some(entry) = self.table.get_mut(&key) else { return };
        if let Some(from) = entry.unanswered.take_if(|_| is_answered) {
            self.unanswered.remove(from);
        }
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
        if let Some(from) = entry.repeated {
            self.repeated.remove(from);
        }
        if let Some(from) = entry.unanswered {
            self.unanswered.remove(from);
        }
        self.by_tag.remove(&entry.leg.id().local_tag);
        self.by_flow.remove(&(entry.flow, key));
        self.lost.remove(&key);
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, key));
        }
    }
}

/// Calls from one address whose 2xx is repeated at the same time.
const REPEATED_MAX: usize = 50;
/// How many addresses may have as many.
const REPEATED_ADDRESSES: usize = 20;
