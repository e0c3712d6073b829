//! What the call asks of a leg.

use std::time::Instant;

use super::Leg;
use crate::error::Error;
use crate::event::{Body, Cause, Headers, OfferMethod, Party};
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

    /// 183 (Session Progress). A body is the answer that the 2xx will repeat (RFC 3261 §13.2.1).
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`] after the final response.
    pub fn progress(&mut self, body: Option<&Body>, now: Instant) -> Result<(), Error> {
        self.expect_early()?;
        self.send_provisional(183, body, now);
        Ok(())
    }

    /// 200 (OK) to the INVITE. `body` is the answer to its offer, or our offer if it had none; then
    /// the answer comes with [`crate::Event::Confirmed`].
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`] after the final response.
    pub fn accept(&mut self, body: &Body, headers: Headers, now: Instant) -> Result<(), Error> {
        self.expect_early()?;
        let invite = self.invite.take().ok_or(Error::WrongState { state: self.state })?;
        self.prepare_success(&invite, Some(body), headers);
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

    /// Ends the leg, whatever its state: BYE, as soon as RFC 3261 §15 allows, or 480 before the
    /// final response. `reason` is the value of a Reason header field, such as
    /// `Q.850;cause=16;text="NORMAL_CLEARING"` (RFC 3326). Harmless on a leg that is ending.
    pub fn hang_up(&mut self, reason: Option<&str>, now: Instant) {
        if self.is_flow_lost {
            return self.abandon(now);
        }
        if self.state == State::Early {
            let status = Refusal::Unavailable.status();
            self.refusal = Some((status, Leg::reason_header(reason)));
            self.ends(Party::Local, Cause::Rejected { status }, None);
            return self.run(Input::Reject, now);
        }
        if self.state.is_open() {
            self.bye_reason = reason.map(Box::from);
            self.ends(Party::Local, Cause::HungUp, None);
            self.run(Input::HangUp, now);
        }
    }

    /// 200 to the re-INVITE or UPDATE that waits: `body` is the answer to its offer, or our offer if
    /// it had none; then the answer comes with [`crate::Event::Answer`].
    ///
    /// # Errors
    ///
    /// [`Error::NoOfferWaits`].
    pub fn answer_offer(&mut self, body: &Body, now: Instant) -> Result<(), Error> {
        match self.waiting_offer()? {
            OfferMethod::Invite => {
                let invite = self.invite.take().ok_or(Error::NoOfferWaits)?;
                self.prepare_success(&invite, Some(body), Headers::new());
                self.start_session(invite.session, now);
                self.send_success();
                self.start_repeating(now);
            }
            OfferMethod::Update => {
                let update = self.update.take().ok_or(Error::NoOfferWaits)?;
                self.accept_update(&update, Some(body), now);
            }
        }
        self.step_offer(offer_answer::Input::Accept);
        Ok(())
    }

    /// Refuses the re-INVITE or UPDATE that waits; the session stays as it was (RFC 3261 §14.2).
    ///
    /// # Errors
    ///
    /// [`Error::NoOfferWaits`], [`Error::StatusRange`].
    pub fn reject_offer(&mut self, status: u16, headers: Headers) -> Result<(), Error> {
        is_refusal(status)?;
        let pending = match self.waiting_offer()? {
            OfferMethod::Invite => self.invite.take(),
            OfferMethod::Update => self.update.take(),
        };
        let pending = pending.ok_or(Error::NoOfferWaits)?;
        self.refuse_with(&pending, status, headers);
        self.step_offer(offer_answer::Input::Refuse);
        Ok(())
    }

    fn waiting_offer(&self) -> Result<OfferMethod, Error> {
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
