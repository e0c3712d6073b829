//! Responses that are sent again: the 2xx until its ACK, and provisional ones every minute.

use std::time::Instant;

use bytes::Bytes;
use transaction::ServerId;
use transport::Name;

use super::{Leg, PROVISIONAL_INTERVAL, Pending};
use crate::body::Body;
use crate::event::{Action, Cause, Headers, Party};
use crate::state::{Input, State};

/// A 2xx that waits for its ACK (RFC 3261 §13.3.1.4).
pub(super) struct Success {
    pub(super) id: ServerId,
    pub(super) status: u16,
    pub(super) bytes: Bytes,
    /// The CSeq number that the ACK will have.
    pub(super) cseq: u32,
    /// How often it was sent again.
    repeats: u8,
    /// When to send it again, and when to stop waiting; from when it was sent first.
    deadlines: Option<(Instant, Instant)>,
}

impl Success {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.map(|(repeat, end)| repeat.min(end))
    }
}

impl Leg {
    /// Writes the 200 to an INVITE and remembers it until its ACK.
    pub(super) fn prepare_success(&mut self, invite: &Pending, body: Option<&Body>, more: Headers) {
        let status = 200;
        let writer = self.dialog_writer(invite, status);
        let writer =
            more.into_iter().fold(writer, |writer, (name, value)| writer.header(name, value));
        let bytes = match body {
            Some(body) => writer.body(&body.content_type, &body.bytes).finish(),
            None => writer.finish(),
        };
        let cseq = invite.message.cseq().map_or(0, |cseq| cseq.number);
        self.success =
            Some(Success { id: invite.id, status, bytes, cseq, repeats: 0, deadlines: None });
    }

    pub(super) fn send_success(&mut self) {
        if let Some(Success { id, status, bytes, .. }) = &self.success {
            let (id, status, bytes) = (*id, *status, bytes.clone());
            self.actions.push_back(Action::Respond { id, status, bytes });
        }
    }

    pub(super) fn start_repeating(&mut self, now: Instant) {
        let timers = &self.settings.timers;
        let (repeat, end) = (now + timers.doubling_to_t2(0), now + timers.transaction_timeout());
        if let Some(success) = &mut self.success {
            success.deadlines = Some((repeat, end));
        }
    }

    pub(super) fn repeat_success(&mut self, now: Instant) {
        let Some(success) = &mut self.success else { return };
        let Some((repeat, end)) = success.deadlines else { return };
        if end <= now {
            self.ends(Party::Local, Cause::Unacknowledged, None);
            self.run(Input::AckTimeout, now);
        } else if repeat <= now {
            success.repeats = success.repeats.saturating_add(1);
            let next = now + self.settings.timers.doubling_to_t2(success.repeats);
            success.deadlines = Some((next, end));
            self.run(Input::RepeatDue, now);
        }
    }

    /// Sends a provisional response now and, without its body, every minute, so that nobody on the
    /// way takes the call for dead (RFC 3261 §13.3.1.1). Without one there is a 183 every minute.
    pub(super) fn send_provisional(&mut self, status: u16, body: Option<&Body>, now: Instant) {
        let Some(invite) = &self.invite else { return };
        let writer = self.dialog_writer(invite, status);
        let bytes = match body {
            Some(body) => writer.body(&body.content_type, &body.bytes).finish(),
            None => writer.finish(),
        };
        let id = invite.id;
        self.actions.push_back(Action::Respond { id, status, bytes });
        self.provisional = Some((status, now + PROVISIONAL_INTERVAL));
    }

    pub(super) fn repeat_provisional(&mut self, now: Instant) {
        match self.provisional {
            Some((status, deadline)) if deadline <= now && self.state == State::Early => {
                self.send_provisional(status, None, now);
            }
            Some(_) | None => {}
        }
    }

    /// Adds what the user gave to a response.
    pub(super) fn reason_header(reason: Option<&str>) -> Headers {
        reason.map(|reason| (Name::Reason, reason.to_owned())).into_iter().collect()
    }
}
