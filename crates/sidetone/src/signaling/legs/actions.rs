//! Carries out what legs want: requests, responses, and what they tell their calls.

use std::time::Instant;

use bytes::Bytes;
use dialog::{Action, Event, Failure, Purpose};
use tracing::debug;
use transaction::{ClientId, TransactionLayer};
use transport::routing::NextHop;
use transport::{Flow, Method, TransportKind};

use super::{Entry, LegKey, Legs};
use crate::calls::SipEvent;
use crate::metrics::{Direction, Metrics};

/// A request that has no flow yet.
#[derive(Debug)]
pub struct Unsent {
    key: LegKey,
    purpose: Purpose,
    bytes: Bytes,
}

impl Legs {
    /// Carries out what the legs want; `false` if none wanted anything.
    pub(in crate::signaling) fn run_actions(
        &mut self,
        transactions: &mut TransactionLayer,
        metrics: &Metrics,
        now: Instant,
    ) -> bool {
        let mut is_any = false;
        while let Some(key) = self.changed.pop() {
            is_any = true;
            self.run_leg(key, transactions, metrics, now);
        }
        is_any
    }

    fn run_leg(
        &mut self,
        key: LegKey,
        transactions: &mut TransactionLayer,
        metrics: &Metrics,
        now: Instant,
    ) {
        // Telling the call may make the leg act again.
        loop {
            let Some(entry) = self.table.get_mut(&key) else { return };
            if let Some(action) = entry.leg.poll_action() {
                self.act(key, action, transactions, metrics, now);
            } else if let Some(event) = entry.leg.poll_event() {
                let is_over = matches!(event, Event::Ended { .. });
                entry.tell(SipEvent::Leg(Box::new(event)), now);
                if is_over && entry.events.take().is_some() {
                    self.live -= 1;
                }
            } else {
                break;
            }
        }
        if self.table.get(&key).is_some_and(|entry| entry.leg.is_finished()) {
            self.remove(key);
        } else {
            self.index(key, now);
        }
    }

    fn act(
        &mut self,
        key: LegKey,
        action: Action,
        transactions: &mut TransactionLayer,
        metrics: &Metrics,
        now: Instant,
    ) {
        match action {
            Action::Respond { id, status, bytes } => {
                let is_invite = |(_, method): &(LegKey, Method)| *method == Method::Invite;
                let is_success =
                    status / 100 == 2 && self.by_server.get(&id).is_some_and(is_invite);
                if is_success && !self.may_repeat(key) {
                    return;
                }
                if let Some((_, method)) = self.by_server.get(&id) {
                    metrics.response(Direction::Out, method, status);
                }
                if let Err(error) = transactions.respond(id, status, bytes, now) {
                    debug!(%error, "response not sent");
                }
            }
            Action::Request { purpose, .. } if !self.may_repeat(key) => {
                self.not_sent(key, purpose, now);
            }
            Action::Request { purpose, bytes, flow } => {
                let unsent = Unsent { key, purpose, bytes };
                // What answers another fork goes where that was heard.
                let leg = self.table.get(&key).map(|entry| &entry.leg);
                let leg = leg.filter(|leg| leg.flow().id == flow.id);
                match leg.and_then(|leg| leg.way_back()) {
                    Some(hop) => self.unrouted.push_back((unsent, hop)),
                    None => self.send(unsent, flow, transactions, metrics, now),
                }
            }
            Action::Cancel { purpose, reason } => {
                let invite = self.table.get(&key).and_then(|entry| entry.invite);
                let Some((_, id)) = invite.filter(|(invite, _)| *invite == purpose) else { return };
                match transactions.cancel(id, reason.as_deref(), now) {
                    Ok(()) => {
                        let kind = self.table.get(&key).map(|entry| entry.leg.flow().kind);
                        let kind = kind.unwrap_or(TransportKind::Udp);
                        metrics.request(Direction::Out, kind, &Method::Cancel);
                    }
                    Err(error) => debug!(%error, "nothing to cancel"),
                }
            }
            Action::Farewell { bytes } => {
                if let Some(Entry { leg, user: Some(user), .. }) =
                    self.table.get(&key).map(|e| &**e)
                {
                    let (target, kind) = (leg.remote_target(), leg.flow().kind);
                    self.farewells.add(user, target, kind, bytes, now);
                }
            }
            Action::Acknowledge { bytes, flow } => {
                metrics.request(Direction::Out, flow.kind, &Method::Ack);
                self.acks.push_back((flow, bytes));
            }
        }
    }

    fn send(
        &mut self,
        Unsent { key, purpose, bytes }: Unsent,
        flow: Flow,
        transactions: &mut TransactionLayer,
        metrics: &Metrics,
        now: Instant,
    ) {
        metrics.request(Direction::Out, flow.kind, &purpose.method());
        match transactions.request(bytes, flow, now) {
            Ok(id) => self.note_client(key, purpose, id),
            Err(error) => {
                debug!(%error, "request not sent");
                self.not_sent(key, purpose, now);
            }
        }
    }

    fn not_sent(&mut self, key: LegKey, purpose: Purpose, now: Instant) {
        self.with(Some(key), |leg| {
            leg.handle_failure(purpose, Failure::Transport, now);
            leg.handle_client_ended(purpose);
        });
    }

    /// The next request that a connection is to be made for.
    pub(in crate::signaling) fn poll_unrouted(&mut self) -> Option<(Unsent, NextHop)> {
        self.unrouted.pop_front()
    }

    /// Sends what waited for a connection to its peer, or tells the leg that there is none.
    pub(in crate::signaling) fn handle_routed(
        &mut self,
        unsent: Unsent,
        found: Option<Flow>,
        transactions: &mut TransactionLayer,
        metrics: &Metrics,
        now: Instant,
    ) {
        let key = unsent.key;
        let Some(entry) = self.table.get_mut(&key) else { return };
        let Some(flow) = found else { return self.not_sent(key, unsent.purpose, now) };
        if entry.leg.is_flow_lost() {
            entry.leg.handle_flow_moved(flow);
        }
        self.send(unsent, flow, transactions, metrics, now);
        self.changed.push(key);
    }

    fn note_client(&mut self, key: LegKey, purpose: Purpose, id: ClientId) {
        self.by_client.insert(id, (key, purpose));
        if let (Purpose::Invite { .. }, Some(entry)) = (purpose, self.table.get_mut(&key)) {
            entry.invite = Some((purpose, id));
        }
    }

    /// The next ACK to send.
    pub(in crate::signaling) fn poll_ack(&mut self) -> Option<(Flow, Bytes)> {
        self.acks.pop_front()
    }
}
