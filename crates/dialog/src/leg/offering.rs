//! Re-INVITEs of ours: a new description, or the last one again to refresh the session (RFC 3261
//! §14.1, RFC 4028 §7.4).

use std::time::{Duration, Instant};

use transport::{Message, Method, Name};

use super::outbound::with_headers;
use super::{Leg, SUPPORTED};
use crate::body::Body;
use crate::event::{Action, Event, Purpose};
use crate::offer_answer::{self, OfferAnswer};
use crate::reject::ALLOW;
use crate::state::State;

/// A description of ours on its way to the peer.
pub(super) struct Offering {
    body: Body,
    /// Nobody asked for it: it repeats the last one, to refresh the session.
    is_refresh: bool,
    attempts: u8,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Another exchange goes first, or a 491 asks for patience.
    Waiting { not_before: Option<Instant> },
    /// Out with this number, to be cancelled at some time unless it is answered.
    Sent { cseq: u32, until: Instant },
    /// Out with this number and cancelled.
    Cancelled { cseq: u32 },
}

impl Offering {
    /// The number that it is out with.
    fn cseq(&self) -> Option<u32> {
        match self.stage {
            Stage::Waiting { .. } => None,
            Stage::Sent { cseq, .. } | Stage::Cancelled { cseq } => Some(cseq),
        }
    }

    fn is_cancelled(&self) -> bool {
        matches!(self.stage, Stage::Cancelled { .. })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting { not_before } => not_before,
            Stage::Sent { until, .. } => Some(until),
            Stage::Cancelled { .. } => None,
        }
    }
}

impl Leg {
    /// Offers a new description in a re-INVITE, as soon as no other exchange is under way. What
    /// becomes of it is told by [`Event::OfferAnswered`], once for each offer, or the leg ends.
    pub fn offer(&mut self, body: Body, now: Instant) {
        if !self.state.has_session() || self.offering.is_some() {
            return self.events.push_back(Event::OfferAnswered { status: 491, answer: None });
        }
        if self.is_out_of_reach() {
            return self.events.push_back(Event::OfferAnswered { status: 503, answer: None });
        }
        self.begin_offering(body, false, now);
    }

    /// Refreshes the session with the last description, for a peer that has no UPDATE.
    pub(super) fn refresh_by_invite(&mut self, now: Instant) {
        // An offer that is under way refreshes the session, too.
        if self.offering.is_none()
            && let Some(body) = self.local_body.clone()
        {
            self.begin_offering(body, true, now);
        }
    }

    fn begin_offering(&mut self, body: Body, is_refresh: bool, now: Instant) {
        let stage = Stage::Waiting { not_before: None };
        self.offering = Some(Box::new(Offering { body, is_refresh, attempts: 0, stage }));
        self.try_offer(now);
    }

    /// Sends the offer that waits, if nothing stands in its way (RFC 3261 §14.1).
    pub(super) fn try_offer(&mut self, now: Instant) {
        let is_out_of_reach = self.is_out_of_reach();
        let Some(offering) = &mut self.offering else { return };
        let Stage::Waiting { not_before } = offering.stage else { return };
        let is_free = self.state == State::Confirmed
            && self.offer_answer == OfferAnswer::Stable
            && self.invite.is_none()
            && self.success.is_none();
        if not_before.is_some_and(|at| at > now) {
            return;
        }
        if !is_free {
            // Patience is over, so the end of what is in the way is the next thing to wait for.
            offering.stage = Stage::Waiting { not_before: None };
            return;
        }
        if is_out_of_reach {
            return self.fail_offering(503, now);
        }
        let cseq = self.dialog.local_cseq() + 1;
        // Twice as long as its transaction waits for any response at all.
        let until = now + 2 * self.settings.timers.transaction_timeout();
        offering.stage = Stage::Sent { cseq, until };
        offering.attempts = offering.attempts.saturating_add(1);
        if offering.is_refresh
            && let Some(last) = &self.local_body
        {
            // What was said while it waited.
            offering.body = last.clone();
        }
        let body = offering.body.clone();
        let (contact, session) = (self.contact_value(), self.session_headers());
        let sent = self.send(Purpose::Invite { cseq }, Method::Invite, |writer| {
            let writer = writer
                .header(Name::Contact, contact)
                .header(Name::Allow, ALLOW)
                .header(Name::Supported, SUPPORTED);
            let writer = with_headers(writer, session);
            writer.body(&body.content_type, &body.bytes)
        });
        if sent.is_none() {
            return self.end_offering(503, None);
        }
        self.invites.push(cseq);
        self.step_offer(offer_answer::Input::SendOffer);
    }

    /// Cancels an offer that is out too long: a peer that has said 100 might never say more, and its
    /// transaction has no timer of its own then (RFC 3261 §17.1.1.2).
    pub(super) fn check_offer(&mut self, now: Instant) {
        let Some(offering) = &mut self.offering else { return };
        if let Stage::Sent { cseq, until } = offering.stage
            && until <= now
        {
            offering.stage = Stage::Cancelled { cseq };
            self.cancel_offer(cseq);
        }
    }

    /// Gives up the offer that is out or waits.
    pub(super) fn withdraw_offer(&mut self) {
        let offering = self.offering.take();
        if let Some(Stage::Sent { cseq, .. }) = offering.map(|offering| offering.stage) {
            self.cancel_offer(cseq);
        }
    }

    fn cancel_offer(&mut self, cseq: u32) {
        let purpose = Purpose::Invite { cseq };
        self.actions.push_back(Action::Cancel { purpose, reason: None });
    }

    /// The 2xx to a re-INVITE of ours came and is acknowledged.
    pub(super) fn handle_offer_answered(&mut self, cseq: u32, response: &Message, now: Instant) {
        if !self.is_sent(cseq) {
            return;
        }
        self.step_offer(offer_answer::Input::OfferDone);
        self.note_allow(response);
        self.take_refreshed(response, now);
        let answer = Body::description(response);
        if answer.is_some() {
            self.local_body = self.offering.as_ref().map(|offering| offering.body.clone());
        }
        self.end_offering(response.status().unwrap_or(200), answer);
    }

    pub(super) fn handle_offer_refused(
        &mut self,
        cseq: u32,
        status: u16,
        response: &Message,
        now: Instant,
    ) {
        if status < 200 || !self.is_sent(cseq) {
            return;
        }
        self.step_offer(offer_answer::Input::OfferDone);
        let wait = match status {
            // RFC 3261 §12.2.1.2.
            408 | 481 => return self.lose(status, now),
            491 => Some(self.glare_wait()),
            422 if self.raise_interval(response) => Some(Duration::ZERO),
            _ => None,
        };
        if let (Some(wait), Some(offering)) = (wait, &mut self.offering)
            && offering.attempts < ATTEMPTS_MAX
        {
            offering.stage = Stage::Waiting { not_before: Some(now + wait) };
            return self.try_offer(now);
        }
        self.fail_offering(status, now);
    }

    pub(super) fn handle_offer_failure(&mut self, cseq: u32, status: u16, now: Instant) {
        if !self.is_sent(cseq) {
            return;
        }
        self.step_offer(offer_answer::Input::OfferDone);
        let is_cancelled = self.offering.as_ref().is_some_and(|offering| offering.is_cancelled());
        if status == 408 && !is_cancelled {
            return self.lose(status, now);
        }
        self.fail_offering(status, now);
    }

    fn fail_offering(&mut self, status: u16, now: Instant) {
        // An offer stands for a refresh that became due meanwhile.
        self.retry_missed_refresh(now);
        self.end_offering(status, None);
    }

    fn end_offering(&mut self, status: u16, answer: Option<Body>) {
        let Some(offering) = self.offering.take() else { return };
        match (offering.is_refresh, answer) {
            (false, answer) => self.events.push_back(Event::OfferAnswered { status, answer }),
            (true, answer @ Some(_)) => self.events.push_back(Event::Answer { answer }),
            (true, None) => {}
        }
    }

    fn is_sent(&self, cseq: u32) -> bool {
        self.offering.as_ref().is_some_and(|offering| offering.cseq() == Some(cseq))
    }

    /// RFC 3261 §14.1: 2.1 to 4 seconds for the owner of the Call-ID, 0 to 2 for the other side, in
    /// steps of 10 ms.
    fn glare_wait(&self) -> Duration {
        let random = self.random();
        Duration::from_millis(match self.is_caller {
            true => 2_100 + 10 * (random % 191),
            false => 10 * (random % 201),
        })
    }
}

/// How often one offer is sent, the first time included.
const ATTEMPTS_MAX: u8 = 6;
