//! What happens to a call while an application waits.

use dialog::Body;
use dialplan::{Cause, Ended};
use media::shard::{LegEvent, LegFailure};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::digits::info_digit;
use super::{LiveCall, Notice};
use crate::calls::{MediaLeg, SipEvent};
use crate::metrics::{EndCause, MediaStage};

impl LiveCall {
    /// Waits until `wanted` finds what it wants in a notice, or the deadline passes (`None`).
    /// Everything else that happens to the call meanwhile is handled here.
    pub(super) async fn wait<T>(
        &mut self,
        deadline: Option<Instant>,
        mut wanted: impl FnMut(Notice) -> Option<T>,
    ) -> Result<Option<T>, Ended> {
        loop {
            let duration_max = self.shared.policy.duration_max;
            let last = duration_max.and_then(|most| Some(self.answered_at? + most));
            let next = [deadline, last, self.gone_at].into_iter().flatten().min();
            let mut stop = self.shared.stop.clone();
            let notice = tokio::select! {
                biased;
                event = self.sip.event() => self.on_sip(event).await?,
                event = next_media_event(self.media.as_mut()) => self.on_media(event)?,
                () = stopped(&mut stop) => {
                    return Err(self.end_by_system(EndCause::Shutdown, Cause::SYSTEM_SHUTDOWN));
                }
                () = sleep_until(next) => {
                    if self.gone_at.is_some_and(|gone| Instant::now() >= gone) {
                        return Err(self.gone());
                    }
                    if last.is_some_and(|last| Instant::now() >= last) {
                        return Err(self.end_by_system(EndCause::TooLong, Cause::ALLOTTED_TIMEOUT));
                    }
                    return Ok(None);
                }
            };
            if let Some(found) = wanted(notice) {
                return Ok(Some(found));
            }
        }
    }

    pub(super) async fn on_sip(&mut self, event: Option<SipEvent>) -> Result<Notice, Ended> {
        match event {
            Some(SipEvent::Leg(event)) => self.on_leg(event).await,
            Some(SipEvent::FlowClosed) => {
                self.is_flow_closed = true;
                self.end_if_gone()?;
                Ok(Notice::Other)
            }
            Some(SipEvent::FlowMoved) => {
                self.is_flow_closed = false;
                Ok(Notice::Other)
            }
            None => Err(self.end_by_system(EndCause::Failure, Cause::NORMAL_TEMPORARY_FAILURE)),
        }
    }

    pub(super) async fn on_leg(&mut self, event: dialog::Event) -> Result<Notice, Ended> {
        match event {
            dialog::Event::Confirmed { answer } => return Ok(Notice::Confirmed(answer)),
            dialog::Event::Offer { offer, .. } => self.on_offer(offer).await?,
            dialog::Event::Answer { answer: Some(answer) } => {
                // An answer that cannot be used leaves the session as it was.
                if let Ok(negotiated) = self.agree_on_answer(&answer) {
                    self.update_media(negotiated)?;
                }
            }
            dialog::Event::Info { body: Some(body) } => self.on_info(&body),
            dialog::Event::Answer { answer: None }
            | dialog::Event::Info { body: None }
            | dialog::Event::OfferCancelled => {}
            // The leg says BYE by itself.
            dialog::Event::MissingAck => {
                self.is_leg_over = true;
                let cause = Cause::RECOVERY_ON_TIMER_EXPIRE;
                return Err(self.end_by_system(EndCause::NoAck, cause));
            }
            dialog::Event::Ended { by, cause, reason } => {
                return Err(self.on_leg_ended(by, cause, reason.as_deref()));
            }
        }
        Ok(Notice::Other)
    }

    pub(super) fn on_leg_ended(
        &mut self,
        by: dialog::Party,
        cause: dialog::Cause,
        reason: Option<&str>,
    ) -> Ended {
        debug!(call_id = self.facts.uuid, ?by, ?cause, reason, "leg ended");
        self.is_leg_over = true;
        let (end, cause) = match cause {
            dialog::Cause::HungUp if by == dialog::Party::Remote => {
                (EndCause::Caller, Cause::NORMAL_CLEARING)
            }
            dialog::Cause::Cancelled => (EndCause::Caller, Cause::ORIGINATOR_CANCEL),
            dialog::Cause::HungUp => (EndCause::Failure, Cause::NORMAL_TEMPORARY_FAILURE),
            dialog::Cause::Rejected { status } => {
                (EndCause::Failure, Cause::from_sip_status(status))
            }
            dialog::Cause::Unacknowledged => (EndCause::NoAck, Cause::RECOVERY_ON_TIMER_EXPIRE),
            dialog::Cause::SessionExpired => {
                (EndCause::SessionExpired, Cause::RECOVERY_ON_TIMER_EXPIRE)
            }
            dialog::Cause::DialogLost { .. } | dialog::Cause::FlowClosed => {
                (EndCause::Gone, Cause::RECOVERY_ON_TIMER_EXPIRE)
            }
            dialog::Cause::Expired | dialog::Cause::Unanswered => {
                (EndCause::Failure, Cause::RECOVERY_ON_TIMER_EXPIRE)
            }
        };
        self.end.get_or_insert(end);
        match end {
            EndCause::Caller => Ended::by_peer(cause),
            _ => Ended::by_system(cause),
        }
    }

    pub(super) fn on_info(&mut self, body: &Body) {
        if let Some(digit) = info_digit(&body.content_type, &body.bytes) {
            self.on_digit(digit, "info");
        }
    }

    pub(super) fn on_digit(&mut self, digit: char, method: &'static str) {
        self.shared.metrics.dtmf(method);
        debug!(call_id = self.facts.uuid, %digit, method, "dtmf");
    }

    pub(super) fn on_media(&mut self, event: Option<LegEvent>) -> Result<Notice, Ended> {
        let metrics = &self.shared.metrics;
        match event {
            Some(LegEvent::Connected { ice, dtls, profile }) => {
                metrics.media_ready(MediaStage::Ice, ice);
                metrics.media_ready(MediaStage::Dtls, dtls);
                debug!(call_id = self.facts.uuid, ?ice, ?dtls, ?profile, "media connected");
                self.is_connected = true;
                return Ok(Notice::Connected);
            }
            Some(LegEvent::FirstPacketIn { after }) => {
                metrics.media_ready(MediaStage::FirstPacketIn, after);
            }
            Some(LegEvent::FirstPacketOut { after }) => {
                metrics.media_ready(MediaStage::FirstPacketOut, after);
            }
            Some(LegEvent::PlayDone { token, end }) => return Ok(Notice::PlayDone(token, end)),
            Some(LegEvent::Dtmf { digit, .. }) => self.on_digit(digit, "rfc4733"),
            Some(LegEvent::Quiet { .. }) => {
                self.is_quiet = true;
                self.end_if_gone()?;
            }
            Some(LegEvent::Heard) => self.is_quiet = false,
            // A page that hangs up closes its media before its BYE arrives.
            Some(LegEvent::Failed { reason: LegFailure::PeerClosed }) => {
                self.is_quiet = true;
                self.gone_at = Some(Instant::now() + self.shared.policy.gone_after);
                self.end_if_gone()?;
            }
            Some(LegEvent::Failed { reason }) => {
                metrics.media_setup_failed(reason.label());
                info!(call_id = self.facts.uuid, reason = reason.label(), "media failed");
                return Err(self.end_by_system(EndCause::NoMedia, Cause::MEDIA_TIMEOUT));
            }
            Some(LegEvent::Closed(_)) | None => {
                return Err(self.media_is_gone(&"the media leg closed by itself"));
            }
            // Reports of later versions of the media plane that this call has no use for.
            Some(_) => {}
        }
        Ok(Notice::Other)
    }

    /// A caller whose connection is closed and who sends nothing any more has gone away.
    pub(super) fn end_if_gone(&mut self) -> Result<(), Ended> {
        let is_silent = self.media.is_none() || self.is_quiet;
        if self.is_flow_closed && is_silent {
            return Err(self.gone());
        }
        Ok(())
    }

    pub(super) fn gone(&mut self) -> Ended {
        self.end_by_system(EndCause::Gone, Cause::RECOVERY_ON_TIMER_EXPIRE)
    }

    pub(super) fn media_is_gone(&mut self, error: &dyn std::fmt::Display) -> Ended {
        warn!(call_id = self.facts.uuid, %error, "media leg lost");
        self.end_by_system(EndCause::Failure, Cause::NORMAL_TEMPORARY_FAILURE)
    }

    pub(super) fn end_by_system(&mut self, end: EndCause, cause: Cause) -> Ended {
        self.end.get_or_insert(end);
        Ended::by_system(cause)
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the server itself is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn next_media_event(leg: Option<&mut Box<dyn MediaLeg>>) -> Option<LegEvent> {
    match leg {
        Some(leg) => leg.events().recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
