//! What the peer sends within the dialog.

use std::time::Instant;

use transaction::ServerId;
use transport::{Flow, Message, Method, Name};

use super::{Leg, Pending, SUPPORTED, reason, session_of};
use crate::body::Body;
use crate::event::{Action, Cause, Event, Headers, OfferMethod, Party};
use crate::offer_answer::{self, Conflict, OfferAnswer};
use crate::reject::{ALLOW, Refusal};
use crate::state::{Input, State};

impl Leg {
    /// A request of the dialog other than ACK and CANCEL arrived. Every one is answered, at once or,
    /// if it carries an offer, once the user has decided.
    pub fn handle_request(&mut self, id: ServerId, message: Message, flow: Flow, now: Instant) {
        let request = Pending { id, message, flow, session: None };
        let method = request.message.method().clone();
        if self.state == State::Terminated || !self.state.is_open() && method != Method::Bye {
            return self.refuse(&request, &Refusal::UnknownDialog);
        }
        let taken = match self.dialog_of(&request.message) {
            Some(dialog) => dialog.take_cseq(&request.message),
            None => Err(Refusal::UnknownDialog),
        };
        if let Err(refusal) = taken {
            return self.refuse(&request, &refusal);
        }
        // Forks may be heard from anywhere; the one that answers decides.
        if self.state.is_answered() || self.state == State::Early {
            self.flow = flow;
            self.is_flow_lost = false;
        }
        let outcome = match method {
            Method::Invite => self.handle_reinvite(&request, now),
            Method::Update => self.handle_update(&request, now),
            Method::Bye => {
                self.handle_bye(&request, now);
                Ok(())
            }
            Method::Info => self.handle_info(&request),
            Method::Options => {
                self.handle_options(&request);
                Ok(())
            }
            other => Err(Refusal::of_method(&other)),
        };
        if let Err(refusal) = outcome {
            self.refuse(&request, &refusal);
        }
        self.try_offer(now);
    }

    /// The INVITE or re-INVITE `invite` was cancelled. Without effect after its final response
    /// (RFC 3261 §9.2).
    pub fn handle_cancel(&mut self, invite: ServerId, cancel: &Message, now: Instant) {
        if self.invite.as_ref().is_none_or(|pending| pending.id != invite) {
            return;
        }
        if self.state == State::Early {
            let reason = reason(cancel);
            self.refusal = Some((Refusal::Terminated.status(), Headers::new()));
            self.ends(Party::Remote, Cause::Cancelled, reason);
            return self.run(Input::Cancel, now);
        }
        if let Some(pending) = self.invite.take() {
            self.refuse(&pending, &Refusal::Terminated);
            self.step_offer(offer_answer::Input::Refuse);
            self.events.push_back(Event::OfferCancelled);
            self.try_offer(now);
        }
    }

    /// An ACK of the dialog arrived. One that belongs to no 2xx of ours is ignored.
    pub fn handle_ack(&mut self, ack: &Message, flow: Flow, now: Instant) {
        let number = ack.cseq().map(|cseq| cseq.number);
        if self.success.as_ref().is_none_or(|success| Some(success.cseq) != number) {
            return;
        }
        self.flow = flow;
        self.is_flow_lost = false;
        let is_answer_due = self.offer_answer == OfferAnswer::AnswerDueInAck;
        self.step_offer(offer_answer::Input::Ack);
        let is_first = matches!(self.state, State::Answered | State::AnsweredToEnd);
        let body = Body::description(ack);
        if is_first {
            self.ack_body = body;
        } else if is_answer_due {
            self.events.push_back(Event::Answer { answer: body });
        }
        self.run(Input::Ack, now);
        self.ack_body = None;
    }

    /// The transaction of a request that we have not answered is gone.
    pub fn handle_unanswered(&mut self, id: ServerId, now: Instant) {
        if self.state == State::Early && self.invite.as_ref().is_some_and(|it| it.id == id) {
            self.invite = None;
            self.ends(Party::Local, Cause::Unanswered, None);
            return self.run(Input::InviteGone, now);
        }
        for pending in [&mut self.invite, &mut self.update] {
            if pending.take_if(|pending| pending.id == id).is_some() {
                self.offer_answer = OfferAnswer::Stable;
                self.events.push_back(Event::OfferCancelled);
            }
        }
        self.try_offer(now);
    }

    /// RFC 3261 §14.2.
    fn handle_reinvite(&mut self, request: &Pending, now: Instant) -> Result<(), Refusal> {
        let session = session_of(&request.message, &self.settings)?;
        let request = Pending { session, ..request.clone() };
        if self.invite.is_some() {
            return Err(Refusal::RequestPending { retry_after_s: self.retry_after_s() });
        }
        let offer = Body::description(&request.message);
        let input = match offer {
            Some(_) => offer_answer::Input::InviteWithOffer,
            None => offer_answer::Input::InviteWithoutOffer,
        };
        self.receive_offer(input)?;
        // Whoever sends a re-INVITE has our 2xx: its ACK was lost (RFC 5407 §3.1.5).
        if self.success.is_some() {
            self.run(Input::Ack, now);
        }
        self.note_allow(&request.message);
        self.invite = Some(request);
        self.tell_offer(OfferMethod::Invite, offer);
        Ok(())
    }

    /// RFC 3311 §5.2.
    fn handle_update(&mut self, request: &Pending, now: Instant) -> Result<(), Refusal> {
        let session = session_of(&request.message, &self.settings)?;
        let request = Pending { session, ..request.clone() };
        let Some(offer) = Body::description(&request.message) else {
            self.refresh_target(&request.message);
            self.accept_update(&request, None, now);
            return Ok(());
        };
        self.receive_offer(offer_answer::Input::UpdateWithOffer)?;
        self.note_allow(&request.message);
        self.update = Some(request);
        self.tell_offer(OfferMethod::Update, Some(offer));
        Ok(())
    }

    /// Takes the Contact of a request that was not refused (RFC 6141 §4.1).
    pub(super) fn refresh_target(&mut self, request: &Message) {
        self.note_allow(request);
        if let Some(dialog) = self.dialog_of(request) {
            dialog.refresh_target(request);
        }
    }

    fn tell_offer(&mut self, method: OfferMethod, offer: Option<Body>) {
        self.offers.0 = self.offers.0.wrapping_add(1);
        let (number, source) = (self.offers, self.flow.remote.ip());
        self.events.push_back(Event::Offer { number, method, offer, source });
    }

    pub(super) fn accept_update(&mut self, update: &Pending, body: Option<&Body>, now: Instant) {
        let writer = self.dialog_writer(update, 200);
        let bytes = match body {
            Some(body) => writer.body(&body.content_type, &body.bytes).finish(),
            None => writer.finish(),
        };
        self.actions.push_back(Action::Respond { id: update.id, status: 200, bytes });
        // Before the 2xx to INVITE no session runs that could be timed.
        if self.state.has_session() {
            self.start_session(update.session, now);
        }
    }

    fn handle_bye(&mut self, request: &Pending, now: Instant) {
        let reason = reason(&request.message);
        if self.state == State::Calling && !self.forget_fork(&request.message) {
            // Another fork goes on.
            return self.respond(request, 200);
        }
        self.ends(Party::Remote, Cause::HungUp, reason);
        self.bye = Some(request.clone());
        self.run(Input::PeerBye, now);
    }

    /// RFC 6086 §4.2.2 and the older use of INFO for digits.
    fn handle_info(&mut self, request: &Pending) -> Result<(), Refusal> {
        if request.message.has(Name::InfoPackage) {
            return Err(Refusal::BadInfoPackage);
        }
        let body = Body::of(&request.message);
        if body.as_ref().is_some_and(|body| !body.is_digit()) {
            return Err(Refusal::UnsupportedMediaType { accept: Body::DIGITS });
        }
        self.respond(request, 200);
        self.events.push_back(Event::Info { body });
        Ok(())
    }

    /// RFC 3261 §11.2.
    fn handle_options(&mut self, request: &Pending) {
        let bytes = self
            .writer(request, 200)
            .header(Name::Allow, ALLOW)
            .header(Name::Accept, self.settings.accept)
            .header(Name::Supported, SUPPORTED)
            .finish();
        self.actions.push_back(Action::Respond { id: request.id, status: 200, bytes });
    }

    fn receive_offer(&mut self, input: offer_answer::Input) -> Result<(), Refusal> {
        match offer_answer::step(self.offer_answer, input) {
            Ok(next) => {
                self.offer_answer = next;
                Ok(())
            }
            Err(Conflict::OurOfferIsOut) => Err(Refusal::Glare),
            Err(Conflict::PeersOfferWaits | Conflict::NothingWaits) => {
                Err(Refusal::RequestPending { retry_after_s: self.retry_after_s() })
            }
        }
    }

    fn refuse(&mut self, request: &Pending, refusal: &Refusal) {
        self.refuse_with(request, refusal.status(), refusal.headers());
    }
}
