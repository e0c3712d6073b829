//! Legs that we make: our offer, what comes before the answer, and how one is refused.

use std::sync::Arc;

use dialog::{Body, Redirection};
use dialplan::Cause;
use media::sdp::{self, Direction};
use media::shard::{LegKind, LegParameters};
use tokio::time::Instant;

use super::{Leg, LegEnd, Notice, Peer, Side, SipPort};
use crate::calls::offer::Refused;
use crate::calls::ourselves::End;
use crate::calls::terms::Terms;
use crate::calls::{Dial, LegPlace, Shared};
use crate::metrics::EndCause;
use crate::users::DtmfMode;

/// Whom a leg of ours calls.
#[derive(Debug)]
pub(in crate::calls) struct Callee {
    /// As the dialplan says it, for the log.
    pub name: String,
    pub peer: Peer,
    pub terms: Terms,
    /// The shard to open media on.
    pub shard: Option<u16>,
    /// The INVITE, without our offer.
    pub dial: Dial,
    /// What the INVITE is known by if it comes back to us.
    pub ourselves: End,
    pub place: LegPlace,
}

/// The final response that refused a leg of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::calls) struct LegRefusal {
    pub status: u16,
    /// Where a 3xx says to try.
    pub contacts: Vec<Redirection>,
}

impl Leg {
    /// Opens media and sends the INVITE with our offer. Never waits.
    pub(in crate::calls) fn call(
        shared: Arc<Shared>,
        call_id: String,
        callee: Callee,
    ) -> Result<Self, Refused> {
        let Callee { name, peer, terms, shard, mut dial, ourselves, place } = callee;
        if !terms.capabilities.can_offer() {
            return Err(Refused::without_keys());
        }
        let is_webrtc = terms.capabilities.allow_webrtc;
        let kind = if is_webrtc { LegKind::WebRtc } else { LegKind::Plain };
        let mut parameters = LegParameters::offering(kind);
        parameters.signalling_local = peer.local;
        parameters.signalling_remote = peer.remote;
        parameters.quiet_after = shared.policy.webrtc_silence.min(shared.policy.plain_silence);
        parameters.shard = shard;
        parameters.takes_events = terms.dtmf != DtmfMode::Info;
        let media = shared.media.open(parameters)?;
        let session_id = super::random_session_id();
        let local = media.local().describe(session_id, 1, Direction::SendRecv);
        dial.description = sdp::offer(&local, &terms.capabilities);
        let sip = SipPort::dial(&shared.dialer, dial);
        shared.metrics.call_started(Side::Callee.direction(), peer.kind);
        let mut leg = Leg::new(shared, call_id, Side::Callee, sip, peer, terms);
        leg.name = name;
        leg.session_id = session_id;
        leg.ourselves = Some(ourselves);
        leg.take_media(media);
        leg.place = Some(place);
        Ok(leg)
    }

    /// A provisional response, perhaps with the answer that the 2xx will repeat. There is something to
    /// hear if that lets the peer send.
    pub(super) fn on_progress(&mut self, answer: Option<&Body>) -> Result<Notice, LegEnd> {
        let agreed = answer.and_then(|answer| self.agree_on_answer(answer, None).ok());
        let has_media = agreed.as_ref().is_some_and(|agreed| agreed.direction.receives());
        if let Some(negotiated) = agreed {
            self.update_media(negotiated)?;
        }
        Ok(Notice::Progress { has_media })
    }

    /// The first 2xx.
    pub(super) fn on_accepted(&mut self, answer: Option<&Body>) -> Result<Notice, LegEnd> {
        self.answered(Instant::now());
        self.shared.metrics.call_answered(self.side.direction(), self.began_at.elapsed());
        match answer.and_then(|answer| self.agree_on_answer(answer, None).ok()) {
            Some(negotiated) => self.update_media(negotiated).map(|()| Notice::Accepted),
            None => {
                let cause = Cause::INCOMPATIBLE_DESTINATION;
                Err(LegEnd::by_system(EndCause::Failure, cause))
            }
        }
    }
}
