//! What a leg does about what happens on it.

use dialog::{Cause as LegCause, Event, Party};
use dialplan::{Cause, EndedBy};
use media::shard::{LegEvent, LegFailure};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::digits::{Digit, Form, InfoForm};
use super::{Leg, LegEnd, LegInput, LegRefusal, Notice, Side};
use crate::calls::bridge::q850;
use crate::calls::{SipCommand, SipEvent};
use crate::metrics::EndCause;

impl Leg {
    /// Acts on what happened; tells what the call may want to know, or that the leg is to end.
    pub(in crate::calls) async fn handle(&mut self, input: LegInput) -> Result<Notice, LegEnd> {
        match input {
            LegInput::Sip(event) => self.on_sip(event).await,
            LegInput::Media(event) => self.on_media(event),
            LegInput::Deadline => self.on_deadline(Instant::now()).await,
        }
        .inspect_err(|end| {
            self.end.get_or_insert(end.end);
        })
    }

    async fn on_sip(&mut self, event: Option<SipEvent>) -> Result<Notice, LegEnd> {
        match event {
            Some(SipEvent::Leg(event)) => return self.on_dialog(*event).await,
            Some(SipEvent::FlowClosed) => {
                self.silence.is_flow_closed = true;
                if self.media.is_none() {
                    return Err(self.gone());
                }
            }
            Some(SipEvent::FlowMoved) => self.silence.is_flow_closed = false,
            None => {
                self.is_over = true;
                let cause = Cause::NORMAL_TEMPORARY_FAILURE;
                return Err(LegEnd::by_system(EndCause::Failure, cause));
            }
        }
        Ok(Notice::Other)
    }

    async fn on_dialog(&mut self, event: Event) -> Result<Notice, LegEnd> {
        match event {
            Event::Confirmed { answer } => self.on_confirmed(answer.as_ref()),
            Event::Progress { answer, .. } => self.on_progress(answer.as_ref()),
            Event::Accepted { answer } => self.on_accepted(answer.as_ref()),
            Event::Offer { number, offer, source, .. } => {
                self.on_offer(number, offer, source).await
            }
            Event::Answer { answer: Some(answer) } => self.on_answer(&answer),
            Event::OfferCancelled => self.on_offer_cancelled(),
            Event::Info { body: Some(body) } => Ok(self.on_info(&body)),
            Event::Answer { answer: None }
            | Event::Info { body: None }
            // No offer of ours changes a session.
            | Event::OfferAnswered { .. } => Ok(Notice::Other),
            // The leg says BYE by itself.
            Event::Ending { cause } => {
                self.is_over = true;
                Err(self.end_of(Party::Local, cause, None))
            }
            Event::Ended { by, cause, reason } => {
                self.is_over = true;
                let (call_id, side) = (&self.call_id, self.side);
                debug!(call_id, ?side, ?by, ?cause, reason, "leg ended");
                self.has_heard_answer &= !is_before_answer(&cause);
                Err(self.end_of(by, cause, reason))
            }
        }
    }

    fn end_of(&self, by: Party, cause: LegCause, reason: Option<String>) -> LegEnd {
        let mut refusal = None;
        let peer = match self.side {
            Side::Caller => EndCause::Caller,
            Side::Callee => EndCause::Callee,
        };
        let (by, end, cause) = match cause {
            LegCause::HungUp if by == Party::Remote => {
                let named = reason.as_deref().and_then(q850);
                (EndedBy::Peer, peer, named.unwrap_or(Cause::NORMAL_CLEARING))
            }
            LegCause::Refused { status, contacts } => {
                refusal = Some(LegRefusal { status, contacts });
                let by = if by == Party::Remote { EndedBy::Peer } else { EndedBy::System };
                (by, peer, Cause::from_sip_status(status))
            }
            LegCause::AnswerMissing => {
                (EndedBy::System, EndCause::Failure, Cause::INCOMPATIBLE_DESTINATION)
            }
            LegCause::Cancelled => (EndedBy::Peer, peer, Cause::ORIGINATOR_CANCEL),
            LegCause::HungUp => {
                (EndedBy::System, EndCause::Failure, Cause::NORMAL_TEMPORARY_FAILURE)
            }
            LegCause::Rejected { status } => {
                (EndedBy::System, EndCause::Failure, Cause::from_sip_status(status))
            }
            LegCause::Unacknowledged => {
                (EndedBy::System, EndCause::NoAck, Cause::RECOVERY_ON_TIMER_EXPIRE)
            }
            LegCause::SessionExpired => {
                (EndedBy::System, EndCause::SessionExpired, Cause::RECOVERY_ON_TIMER_EXPIRE)
            }
            LegCause::DialogLost { .. } | LegCause::FlowClosed => {
                (EndedBy::System, EndCause::Gone, Cause::RECOVERY_ON_TIMER_EXPIRE)
            }
            LegCause::Expired | LegCause::Unanswered => {
                (EndedBy::System, EndCause::Failure, Cause::RECOVERY_ON_TIMER_EXPIRE)
            }
        };
        LegEnd { by, end, cause, refusal, reason: reason.filter(|reason| is_passable(reason)) }
    }

    fn on_info(&mut self, body: &dialog::Body) -> Notice {
        match InfoForm::read(body) {
            Some((form, digit)) => {
                self.info_digits = Some(form);
                self.on_digit(digit)
            }
            None => Notice::Other,
        }
    }

    fn on_digit(&self, digit: Digit) -> Notice {
        let method = digit.form.label();
        self.shared.metrics.dtmf(method);
        debug!(call_id = self.call_id, side = ?self.side, method, "dtmf");
        Notice::Digit(digit)
    }

    fn on_media(&mut self, event: Option<LegEvent>) -> Result<Notice, LegEnd> {
        let metrics = &self.shared.metrics;
        match event {
            Some(LegEvent::Connected { ice, dtls, profile }) => {
                let (call_id, side) = (&self.call_id, self.side);
                debug!(call_id, ?side, ?ice, ?dtls, ?profile, "media connected");
                self.is_connected = true;
                self.silence.ended();
                return Ok(Notice::Connected);
            }
            Some(LegEvent::PlayDone { token, end }) => return Ok(Notice::PlayDone(token, end)),
            Some(LegEvent::Dtmf { digit, duration, is_passed_on }) => {
                let has_events = self.negotiated.as_ref().is_some_and(|n| n.dtmf.is_some());
                let form = if has_events { Form::Rtp } else { Form::Inband };
                return Ok(self.on_digit(Digit { digit, duration, form, is_passed_on }));
            }
            Some(LegEvent::Quiet { since }) => {
                let now = Instant::now();
                self.silence.began(now.checked_sub(since).unwrap_or(now));
            }
            Some(LegEvent::Heard) => self.silence.ended(),
            Some(LegEvent::Failed { reason: LegFailure::PeerClosed }) => {
                self.silence.peer_closed(Instant::now());
            }
            Some(LegEvent::Failed { reason }) => {
                metrics.media_setup_failed(reason.label());
                let (call_id, side) = (&self.call_id, self.side);
                info!(call_id, ?side, reason = reason.label(), "media failed");
                return Err(LegEnd::by_system(EndCause::NoMedia, Cause::MEDIA_TIMEOUT));
            }
            Some(LegEvent::Closed(_)) | None => {
                warn!(call_id = self.call_id, side = ?self.side, "the media leg closed by itself");
                let cause = Cause::NORMAL_TEMPORARY_FAILURE;
                return Err(LegEnd::by_system(EndCause::Failure, cause));
            }
            // Reports of later versions of the media plane that no call has a use for.
            Some(_) => {}
        }
        Ok(Notice::Other)
    }

    async fn on_deadline(&mut self, now: Instant) -> Result<Notice, LegEnd> {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_due(self.silence.deadline(self)) {
            return Err(self.gone());
        }
        if is_due(self.keys_deadline()) {
            self.shared.metrics.media_setup_failed("timeout");
            return Err(LegEnd::by_system(EndCause::NoMedia, Cause::MEDIA_TIMEOUT));
        }
        if is_due(self.answer_deadline()) {
            return Err(LegEnd::by_system(EndCause::NoAck, Cause::RECOVERY_ON_TIMER_EXPIRE));
        }
        if is_due(self.silence.probe_at(self)) {
            self.silence.asked(now);
            self.sip.command(SipCommand::Probe).await;
        }
        Ok(Notice::Other)
    }

    fn gone(&self) -> LegEnd {
        LegEnd::by_system(EndCause::Gone, Cause::RECOVERY_ON_TIMER_EXPIRE)
    }
}

/// Whether a Reason of one peer may be told to the other: short, and nothing but what a header
/// field is made of.
fn is_passable(reason: &str) -> bool {
    reason.len() <= REASON_BYTES_MAX && reason.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Longest Reason that is passed on.
const REASON_BYTES_MAX: usize = 256;

/// Whether a caller's leg that ended so has had no 2xx.
fn is_before_answer(cause: &LegCause) -> bool {
    matches!(cause, LegCause::Cancelled | LegCause::Expired | LegCause::Unanswered)
}
