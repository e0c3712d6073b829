//! Answers that nothing is remembered of (RFC 3261 §8.2.7): to what is outside of our dialogs, to
//! what is no message, and at the bounds.

use std::time::Instant;

use tracing::debug;
use transport::{Flow, Message, Method, Name, ParseError, ResponseWriter};

use super::identity::{Answer, may_register};
use super::{LegKey, Signaling, Wire};
use crate::metrics::{Direction, Refusal};

impl<W: Wire> Signaling<W> {
    /// Requests that nothing has to be remembered of are answered without a transaction (RFC 3261
    /// §8.2.7), so that no flood of them takes the place of calls: all outside of our dialogs but
    /// an INVITE or REGISTER whose sender has a right to it, ACK and CANCEL.
    pub(super) fn answer_at_once(&mut self, message: &Message, flow: &Flow, now: Instant) -> bool {
        let is_transactional = matches!(message.method(), Method::Ack | Method::Cancel);
        if !message.is_request() || is_transactional {
            return false;
        }
        let leg = self.legs.find(message);
        let is_taken = leg.is_some_and(|key| !self.is_beyond_bound(key, message.method()));
        if is_taken || self.transactions.has_server(message) {
            return false;
        }
        let is_new_call = *message.method() == Method::Invite;
        let answer = match message.to_tag() {
            Some(_) if leg.is_some() => self.refusal(message, flow, &OVERLOADED),
            Some(_) => self.refusal(message, flow, &dialog::Refusal::UnknownDialog),
            None if is_new_call || may_register(message.method(), &self.shared.users) => {
                match self.screen(message, flow, now) {
                    Some(answer) => answer,
                    None => return false,
                }
            }
            None if *message.method() == Method::Options => self.capabilities(message, flow),
            None => self.refusal(message, flow, &refusal_of(message.method())),
        };
        let (status, response) = answer;
        self.shared.metrics.request(Direction::In, flow.kind, message.method());
        self.shared.metrics.response(Direction::Out, message.method(), status);
        self.answer_without_transaction(message, flow, response);
        true
    }

    /// Whether a call has so many requests going on that another is only refused. BYE always ends it.
    fn is_beyond_bound(&self, key: LegKey, method: &Method) -> bool {
        let is_full = self.transactions.len() >= self.transactions_max;
        let most = if is_full { REQUESTS_AT_BOUND } else { REQUESTS_MAX };
        *method != Method::Bye && self.legs.is_busy(key, most)
    }

    /// The answer to a new INVITE or REGISTER that is not taken.
    fn screen(&mut self, message: &Message, flow: &Flow, now: Instant) -> Option<Answer> {
        self.admitted = None;
        let is_new_call = *message.method() == Method::Invite;
        if self.transactions.len() >= self.transactions_max {
            if is_new_call {
                self.shared.metrics.call_rejected(Refusal::Transactions);
            }
            return Some(self.refusal(message, flow, &OVERLOADED));
        }
        match is_new_call {
            true => self.screen_invite(message, flow, now),
            false => self.screen_register(message, flow, now),
        }
    }

    pub(super) fn refusal(
        &self,
        request: &Message,
        flow: &Flow,
        refusal: &dialog::Refusal,
    ) -> (u16, ResponseWriter) {
        let writer = ResponseWriter::to(request, flow, refusal.status());
        let writer =
            refusal.headers().into_iter().fold(writer, |writer, (name, value)| match name {
                Name::Allow => writer.header(name, self.allow()),
                name => writer.header(name, value),
            });
        (refusal.status(), writer)
    }

    /// What is served outside of dialogs: the methods of a dialog, and REGISTER if anyone may.
    fn allow(&self) -> String {
        let register = if self.shared.users.is_empty() { "" } else { ", REGISTER" };
        format!("{}{register}", dialog::ALLOW)
    }

    /// OPTIONS asks what an INVITE would be answered (RFC 3261 §11): the truth about readiness.
    fn capabilities(&self, request: &Message, flow: &Flow) -> (u16, ResponseWriter) {
        if self.shared.health.readiness().is_err() {
            return self.refusal(request, flow, &OVERLOADED);
        }
        let writer = ResponseWriter::to(request, flow, 200)
            .header(Name::Allow, self.allow())
            .header(Name::Accept, self.legs.settings().accept)
            .header(Name::Supported, dialog::SUPPORTED);
        (200, writer)
    }

    pub(super) fn on_unparsable(&mut self, flow: &Flow, error: &ParseError, is_last: bool) {
        self.shared.metrics.parse_error(flow.kind, error.reason());
        debug!(reason = error.reason(), remote = %flow.remote, "not a sip message");
        if let Some(request) = error.answerable() {
            let response = ResponseWriter::to(request, flow, error.status());
            self.answer_without_transaction(request, flow, response);
        }
        if is_last {
            self.wire.close(flow.id);
        }
    }

    /// A stateless answer (RFC 3261 §8.2.7): what comes again is answered in the same way.
    pub(super) fn answer_without_transaction(
        &self,
        request: &Message,
        flow: &Flow,
        response: ResponseWriter,
    ) {
        let bytes = response
            .to_tag(&self.stateless_tag)
            .header(Name::Server, &self.legs.settings().server)
            .finish();
        let back = transport::routing::response_flow(request, flow);
        self.send(&back, bytes);
    }

    pub(super) fn on_overflow(&self, request: &Message, flow: &Flow) {
        let metrics = &self.shared.metrics;
        metrics.request(Direction::In, flow.kind, request.method());
        if *request.method() == Method::Ack {
            return;
        }
        let (status, response) = self.refusal(request, flow, &OVERLOADED);
        metrics.response(Direction::Out, request.method(), status);
        self.answer_without_transaction(request, flow, response);
    }
}

/// How a request without a dialog is refused: one that belongs into a dialog has lost it, others
/// are of methods that are not served.
fn refusal_of(method: &Method) -> dialog::Refusal {
    match method {
        Method::Bye | Method::Update | Method::Info | Method::Prack | Method::Cancel => {
            dialog::Refusal::UnknownDialog
        }
        other => dialog::Refusal::of_method(other),
    }
}

/// What a caller is told at a bound; it is asked to wait for some seconds.
pub(super) const OVERLOADED: dialog::Refusal = dialog::Refusal::Overloaded { retry_after_s: 5 };

/// Requests of one call whose transactions may be there at once; over UDP each is for half a minute,
/// and a digit is one.
const REQUESTS_MAX: u16 = 256;
/// The same when no new call is taken any more.
const REQUESTS_AT_BOUND: u16 = 8;
