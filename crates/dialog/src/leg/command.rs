//! What the call asks of a leg.

use std::time::Instant;

use super::Leg;
use crate::body::Body;
use crate::error::Error;
use crate::event::{Cause, Headers, OfferMethod, OfferNumber, Party};
use crate::offer_answer::{self, OfferAnswer};
use crate::reject::Refusal;
use crate::state::{Input, State};

impl Leg {
    /// 180 (Ringing).
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`] after the final response.
    pub fn ring(&mut self, now: Instant) -> Result<(), Error> {
        self.expect_early()?;
        self.send_provisional(180, None, now);
        Ok(())
    }

    /// 183 (Session Progress). A body is the answer, and the 2xx repeats it (RFC 3261 §13.2.1): the
    /// first one counts. Ignored where the INVITE had no offer, since an offer of ours could not be
    /// answered before the ACK.
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`] after the final response.
    pub fn progress(&mut self, body: Option<&Body>, now: Instant) -> Result<(), Error> {
        self.expect_early()?;
        let has_offer = self.offer_answer == OfferAnswer::AnswerDueInInvite;
        if let Some(body) = body.filter(|_| has_offer && self.early_answer.is_none()) {
            self.early_answer = Some(body.clone());
        }
        let body = body.and_then(|_| self.early_answer.clone());
        self.send_provisional(183, body.as_ref(), now);
        Ok(())
    }

    /// 200 (OK) to the INVITE. `body` is the answer to its offer, or our offer if it had none; then
    /// the answer comes with [`crate::Event::Confirmed`]. An answer that was told in a 183 is
    /// repeated instead (RFC 3261 §13.2.1).
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`] after the final response.
    pub fn accept(&mut self, body: &Body, headers: Headers, now: Instant) -> Result<(), Error> {
        self.expect_early()?;
        let invite = self.invite.take().ok_or(Error::WrongState { state: self.state })?;
        let body = self.early_answer.take().unwrap_or_else(|| body.clone());
        self.prepare_success(&invite, Some(&body), headers);
        self.local_body = Some(body);
        self.start_session(invite.session, now);
        self.step_offer(offer_answer::Input::Accept);
        self.run(Input::Accept, now);
        Ok(())
    }

    /// The final response that is not a 2xx. The leg ends.
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`] after the final response, [`Error::StatusRange`].
    pub fn reject(&mut self, status: u16, headers: Headers, now: Instant) -> Result<(), Error> {
        self.expect_early()?;
        is_refusal(status)?;
        self.refusal = Some((status, headers));
        self.ends(Party::Local, Cause::Rejected { status }, None);
        self.run(Input::Reject, now);
        Ok(())
    }

    /// Ends the leg, whatever its state: BYE, as soon as RFC 3261 §15 allows, before the final
    /// response 480, or CANCEL if the INVITE is ours. `reason` is the value of a Reason header field, such as
    /// `Q.850;cause=16;text="NORMAL_CLEARING"` (RFC 3326). Harmless on a leg that is ending.
    pub fn hang_up(&mut self, reason: Option<&str>, now: Instant) {
        if !self.state.is_open() {
            return;
        }
        // Who has our 2xx but could not say so may come back for it.
        if self.is_out_of_reach() && self.state != State::Answered {
            self.bye_reason = reason.map(Box::from);
            self.leave_farewell();
            return self.abandon(now);
        }
        if self.state == State::Early {
            let status = Refusal::Unavailable.status();
            self.refusal = Some((status, Leg::reason_header(reason)));
            self.ends(Party::Local, Cause::Rejected { status }, None);
            return self.run(Input::Reject, now);
        }
        self.bye_reason = reason.map(Box::from);
        let is_calling = self.state == State::Calling;
        let cause = if is_calling { Cause::Cancelled } else { Cause::HungUp };
        self.ends(Party::Local, cause, None);
        self.run(Input::HangUp, now);
    }

    /// 200 to the re-INVITE or UPDATE that waits: `body` is the answer to its offer, or our offer if
    /// it had none; then the answer comes with [`crate::Event::Answer`]. `number` is that of
    /// [`crate::Event::Offer`].
    ///
    /// # Errors
    ///
    /// [`Error::NoOfferWaits`], also if that offer is gone and another one waits.
    pub fn answer_offer(
        &mut self,
        number: OfferNumber,
        body: &Body,
        now: Instant,
    ) -> Result<(), Error> {
        match self.waiting_offer(number)? {
            OfferMethod::Invite => {
                let invite = self.invite.take().ok_or(Error::NoOfferWaits)?;
                self.refresh_target(&invite.message);
                self.prepare_success(&invite, Some(body), Headers::new());
                self.start_session(invite.session, now);
                self.send_success();
                self.start_repeating(now);
            }
            OfferMethod::Update => {
                let update = self.update.take().ok_or(Error::NoOfferWaits)?;
                self.refresh_target(&update.message);
                self.accept_update(&update, Some(body), now);
            }
        }
        self.local_body = Some(body.clone());
        self.step_offer(offer_answer::Input::Accept);
        self.try_offer(now);
        Ok(())
    }

    /// Refuses the re-INVITE or UPDATE that waits; the session stays as it was (RFC 3261 §14.2).
    ///
    /// # Errors
    ///
    /// [`Error::NoOfferWaits`], [`Error::StatusRange`].
    pub fn reject_offer(
        &mut self,
        number: OfferNumber,
        status: u16,
        headers: Headers,
        now: Instant,
    ) -> Result<(), Error> {
        is_refusal(status)?;
        let pending = match self.waiting_offer(number)? {
            OfferMethod::Invite => self.invite.take(),
            OfferMethod::Update => self.update.take(),
        };
        let pending = pending.ok_or(Error::NoOfferWaits)?;
        self.refuse_with(&pending, status, headers);
        self.step_offer(offer_answer::Input::Refuse);
        self.try_offer(now);
        Ok(())
    }

    fn waiting_offer(&self, number: OfferNumber) -> Result<OfferMethod, Error> {
        if number != self.offers {
            return Err(Error::NoOfferWaits);
        }
        match self.offer_answer {
            OfferAnswer::AnswerDueInUpdate => Ok(OfferMethod::Update),
            OfferAnswer::AnswerDueInInvite | OfferAnswer::OfferDueInInvite
                if self.state != State::Early =>
            {
                Ok(OfferMethod::Invite)
            }
            OfferAnswer::AnswerDueInInvite
            | OfferAnswer::OfferDueInInvite
            | OfferAnswer::Stable
            | OfferAnswer::AnswerDueInAck
            | OfferAnswer::AnswerDueInResponse => Err(Error::NoOfferWaits),
        }
    }

    /// Takes a step that the state of the leg has shown to be possible.
    pub(super) fn step_offer(&mut self, input: offer_answer::Input) {
        if let Ok(next) = offer_answer::step(self.offer_answer, input) {
            self.offer_answer = next;
        }
    }

    fn expect_early(&self) -> Result<(), Error> {
        match self.state {
            State::Early => Ok(()),
            state => Err(Error::WrongState { state }),
        }
    }
}

fn is_refusal(status: u16) -> Result<(), Error> {
    match status {
        300..=699 => Ok(()),
        _ => Err(Error::StatusRange { status }),
    }
}
