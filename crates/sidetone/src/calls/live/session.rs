//! The session of a call: offers and answers, and the media leg they describe.

use dialog::Body;
use dialplan::{Cause, Ended};
use media::sdp::{self, Capabilities, Direction, Negotiated, RemoteMedia};
use media::shard::{LegKind, LegParameters};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{LiveCall, Notice};
use crate::calls::offer::{self, Refused};
use crate::calls::{MediaLeg, SipCommand};
use crate::metrics::EndCause;

impl LiveCall {
    /// Opens the media leg and answers, or says how to refuse.
    pub(super) async fn open_and_answer(&mut self) -> Result<(), Refused> {
        let capabilities = &self.shared.capabilities;
        let mut parameters = match &self.negotiated {
            Some(negotiated) => LegParameters::answering(negotiated.clone()),
            None => LegParameters::offering(self.offered_kind()),
        };
        parameters.signalling_local = Some(self.flow.local.ip());
        parameters.signalling_remote = Some(self.flow.remote.ip());
        parameters.quiet_after = self.shared.policy.gone_after;
        let leg = self.shared.media.open(parameters)?;
        let local = self.local_description(leg.as_ref());
        let description = match &self.negotiated {
            Some(negotiated) => negotiated.answer(&local),
            None => sdp::offer(&local, capabilities),
        };
        self.media = Some(leg);
        self.sip.command(SipCommand::Accept { description }).await;
        let now = Instant::now();
        self.answered_at = Some(now);
        info!(
            call_id = self.facts.uuid,
            sip_call_id = self.facts.sip_call_id,
            number = self.facts.destination_number,
            transport = self.facts.transport,
            remote = %self.flow.remote,
            "call answered"
        );
        self.shared.metrics.call_answered(now - self.invited_at);
        Ok(())
    }

    /// A caller that wants our offer gets WebRTC over a WebSocket and plain RTP elsewhere.
    pub(super) fn offered_kind(&self) -> LegKind {
        match self.flow.kind {
            transport::TransportKind::Ws | transport::TransportKind::Wss => LegKind::WebRtc,
            _ => LegKind::Plain,
        }
    }

    /// The answer to our offer came in the ACK.
    pub(super) async fn take_answer(&mut self) -> Result<(), Ended> {
        let deadline = Instant::now() + self.shared.policy.connect_timeout;
        let answer = self
            .wait(Some(deadline), |notice| match notice {
                Notice::Confirmed(answer) => Some(answer),
                _ => None,
            })
            .await?;
        let Some(answer) = answer else {
            return Err(self.end_by_system(EndCause::NoAck, Cause::RECOVERY_ON_TIMER_EXPIRE));
        };
        match answer.and_then(|answer| self.agree_on_answer(&answer).ok()) {
            Some(negotiated) => self.update_media(negotiated),
            None => Err(self.end_by_system(EndCause::Failure, Cause::INCOMPATIBLE_DESTINATION)),
        }
    }

    pub(super) fn update_media(&mut self, negotiated: Negotiated) -> Result<(), Ended> {
        let updated = match &mut self.media {
            Some(leg) => leg.update(negotiated.clone()),
            None => Ok(()),
        };
        match updated {
            Ok(()) => {
                self.negotiated = Some(negotiated);
                Ok(())
            }
            Err(error) => Err(self.media_is_gone(&error)),
        }
    }

    /// Returns once a WebRTC leg has keys; a plain leg can be sent to at once.
    pub(super) async fn wait_until_connected(&mut self) -> Result<(), Ended> {
        let is_webrtc = |n: &Negotiated| matches!(n.remote, RemoteMedia::WebRtc(_));
        if self.is_connected || !self.negotiated.as_ref().is_some_and(is_webrtc) {
            return Ok(());
        }
        let deadline = Instant::now() + self.shared.policy.connect_timeout;
        let connected = self
            .wait(Some(deadline), |notice| matches!(notice, Notice::Connected).then_some(()))
            .await?;
        if connected.is_none() {
            self.shared.metrics.media_setup_failed("timeout");
            return Err(self.end_by_system(EndCause::NoMedia, Cause::MEDIA_TIMEOUT));
        }
        Ok(())
    }

    /// A re-INVITE or UPDATE changes the session, or is refused and leaves it as it was.
    pub(super) async fn on_offer(&mut self, offer: Option<Body>) -> Result<(), Ended> {
        let current = self.negotiated.as_ref().map(|negotiated| negotiated.codec);
        let Some(offer) = offer else {
            self.offer_again().await;
            return Ok(());
        };
        match offer::agree(&offer, &self.capabilities_of_leg(), current) {
            Ok(negotiated) => {
                self.update_media(negotiated)?;
                self.session_version += 1;
                let description = self.describe();
                self.sip.command(SipCommand::AnswerOffer { description }).await;
            }
            Err(Refused { status, headers, reason }) => {
                info!(call_id = self.facts.uuid, reason, "offer refused");
                self.sip.command(SipCommand::RejectOffer { status, headers }).await;
            }
        }
        Ok(())
    }

    /// A re-INVITE without an offer asks for ours (RFC 3261 §14.2): the codec in use, so that the
    /// answer changes nothing that plays.
    pub(super) async fn offer_again(&mut self) {
        self.session_version += 1;
        let description = match (&self.media, &self.negotiated) {
            (Some(leg), Some(negotiated)) => {
                let codecs = vec![negotiated.codec];
                let capabilities = Capabilities { codecs, ..self.capabilities_of_leg() };
                sdp::offer(&self.local_description(leg.as_ref()), &capabilities)
            }
            _ => {
                let refusal = dialog::Refusal::NotAcceptableHere { warning: None };
                let (status, headers) = (refusal.status(), refusal.headers());
                return self.sip.command(SipCommand::RejectOffer { status, headers }).await;
            }
        };
        self.sip.command(SipCommand::AnswerOffer { description }).await;
    }

    pub(super) fn local_description(&self, leg: &dyn MediaLeg) -> sdp::LocalDescription {
        leg.local().describe(self.session_id, self.session_version, Direction::SendRecv)
    }

    /// A leg stays plain or WebRTC, as it was opened.
    pub(super) fn capabilities_of_leg(&self) -> Capabilities {
        let is_webrtc = self.media.as_ref().is_some_and(|leg| leg.local().ice.is_some());
        let codecs = self.shared.capabilities.codecs.clone();
        Capabilities { codecs, allow_plain: !is_webrtc, allow_webrtc: is_webrtc }
    }

    pub(super) fn agree_on_answer(&self, answer: &Body) -> Result<Negotiated, Refused> {
        let agreed = offer::agree_on_answer(answer, &self.capabilities_of_leg());
        if let Err(refused) = &agreed {
            warn!(call_id = self.facts.uuid, reason = refused.reason, "answer refused");
        }
        agreed
    }

    pub(super) fn describe(&self) -> String {
        match (&self.media, &self.negotiated) {
            (Some(leg), Some(negotiated)) => {
                negotiated.answer(&self.local_description(leg.as_ref()))
            }
            _ => String::new(),
        }
    }
}
