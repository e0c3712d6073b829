//! The session of a leg: offers and answers, and the media leg they describe.

use std::net::{IpAddr, SocketAddr};

use dialog::{Body, OfferNumber};
use dialplan::Cause;
use media::codec::Codec;
use media::net::OpenError;
use media::sdp::{self, Capabilities, Direction, Negotiated, RemoteMedia};
use media::shard::{Command, LegKind, LegParameters};
use tokio::time::Instant;
use tracing::info;

use super::{Leg, LegEnd, Notice};
use crate::calls::offer::{self, Refused};
use crate::calls::{MediaLeg, SipCommand, Standing};
use crate::metrics::EndCause;
use crate::users::DtmfMode;

impl Leg {
    /// Agrees on the offer of the INVITE.
    pub(in crate::calls) fn agree(&mut self, offer: Body) -> Result<(), Refused> {
        let description = offer::read(&offer)?;
        let agreed = offer::agree(&description, &self.terms.capabilities, None)?;
        let agreed = self.within_reach(agreed)?;
        self.has_agreed(agreed);
        self.offered_codecs = sdp::offered_codecs(&description, &self.terms.capabilities);
        self.offer = Some(offer);
        Ok(())
    }

    /// The codecs that the peer offered and may use, in its order, but first the one in use: what it
    /// would have liked no longer counts once it was answered.
    pub(in crate::calls) fn preferred_codecs(&self) -> Vec<Codec> {
        let in_use = self.codec().filter(|_| self.is_heard());
        let others = self.offered_codecs.iter().copied().filter(|codec| Some(*codec) != in_use);
        in_use.into_iter().chain(others).collect()
    }

    /// Agrees on another codec of the offer, if it has it and no answer has been given yet. An offer
    /// of ours begins with it.
    pub(in crate::calls) fn prefer(&mut self, codec: Codec) -> Result<(), LegEnd> {
        if self.negotiated.is_none() {
            self.terms.capabilities.preferred = Some(codec);
        }
        let is_open = self.early_answer.is_none()
            && self.codec() != Some(codec)
            && self.offered_codecs.contains(&codec);
        let Some(offer) = self.offer.as_ref().filter(|_| is_open) else { return Ok(()) };
        let agree = |offer| offer::agree(&offer, &self.terms.capabilities, Some(codec));
        let agreed =
            offer::read(offer).and_then(agree).and_then(|agreed| self.within_reach(agreed));
        match agreed {
            Ok(negotiated) if negotiated.codec == codec => self.update_media(negotiated),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether the peer hears what we send: it was answered, at least with a provisional response.
    pub(in crate::calls) fn is_heard(&self) -> bool {
        self.answered_at.is_some() || self.early_answer.is_some()
    }

    /// Tells the caller that it rings.
    pub(in crate::calls) async fn ring(&mut self) {
        self.sip.command(SipCommand::Ring).await;
    }

    /// Lets the caller hear us before the answer; `false` if it cannot, since the offer is ours to
    /// make.
    pub(in crate::calls) async fn progress(&mut self, shard: Option<u16>) -> Result<bool, Refused> {
        if self.is_heard() {
            return Ok(true);
        }
        if self.negotiated.is_none() {
            return Ok(false);
        }
        self.open_media(shard, true)?;
        let answer = self.describe();
        self.early_answer = Some(answer.clone());
        self.sip.command(SipCommand::Progress { description: Some(answer) }).await;
        Ok(true)
    }

    pub(super) fn take_media(&mut self, media: Box<dyn MediaLeg>) {
        if let Some(end) = &self.ourselves {
            let local = media.local();
            end.is_at(SocketAddr::new(local.address, local.rtp_port));
        }
        self.media = Some(media);
    }

    /// Opens the media leg if it is not open, for early media or for an answer.
    fn open_media(&mut self, shard: Option<u16>, is_early: bool) -> Result<(), Refused> {
        if self.media.is_some() {
            return Ok(());
        }
        let mut parameters = match &self.negotiated {
            // What it names may have become a port of ours since it was agreed on.
            Some(negotiated) => LegParameters::answering(self.within_reach(negotiated.clone())?),
            None => LegParameters::offering(self.kind()),
        };
        parameters.signalling_local = self.peer.local;
        parameters.signalling_remote = self.peer.remote;
        parameters.quiet_after = self.quiet_after();
        parameters.shard = shard;
        let most = if is_early { EARLY_PACKETS } else { ANSWERED_PACKETS };
        parameters.allowance = self.packets_before_ack(most);
        parameters.trusts_media = is_early;
        parameters.takes_events = self.terms.dtmf != DtmfMode::Info;
        let media = self.shared.media.open(parameters)?;
        if let Some(tap) = self.tap.take() {
            media.command(Command::Record(tap)).map_err(OpenError::from)?;
        }
        self.take_media(media);
        Ok(())
    }

    /// Opens the media leg, on `shard` if it matters, and answers the INVITE, or says how to refuse it.
    pub(in crate::calls) async fn accept(&mut self, shard: Option<u16>) -> Result<(), Refused> {
        if self.negotiated.is_none() && !self.capabilities().can_offer() {
            return Err(Refused::without_keys());
        }
        self.open_media(shard, false)?;
        self.is_offer_open = self.negotiated.is_none();
        self.offer = None;
        let description = match self.early_answer.take() {
            Some(answer) => answer,
            None => self.describe(),
        };
        self.sip.command(SipCommand::Accept { description }).await;
        self.answered(Instant::now());
        Ok(())
    }

    /// The source of a datagram may be forged: until media from there or the ACK shows that our answer
    /// was read, no more than `most` is sent, and nothing to a host that is not even said to be the
    /// one that calls.
    fn packets_before_ack(&self, most: u16) -> Option<u16> {
        match self.peer.standing {
            Standing::Proven => return None,
            Standing::Doubted => return Some(0),
            Standing::Claimed => {}
        }
        let is_elsewhere = match self.negotiated.as_ref().map(|negotiated| &negotiated.remote) {
            Some(RemoteMedia::Plain { rtp, .. }) => {
                self.peer.remote.is_some_and(|peer| peer.to_canonical() != rtp.ip().to_canonical())
            }
            Some(RemoteMedia::WebRtc(_)) | None => false,
        };
        Some(if is_elsewhere { 0 } else { most })
    }

    pub(super) fn answered(&mut self, now: Instant) {
        self.answered_at = Some(now);
        self.silence.counts_from(now);
    }

    /// Whether the peer can be sent to: a plain leg can once it is answered, a WebRTC leg once it
    /// has keys.
    pub(in crate::calls) fn is_ready(&self) -> bool {
        self.answered_at.is_some() && !self.is_offer_open && !self.awaits_keys()
    }

    fn awaits_keys(&self) -> bool {
        let is_webrtc = |n: &Negotiated| matches!(n.remote, RemoteMedia::WebRtc(_));
        !self.is_connected && self.negotiated.as_ref().is_some_and(is_webrtc)
    }

    /// Until when a WebRTC leg that was answered must have keys.
    pub(super) fn keys_deadline(&self) -> Option<Instant> {
        let answered_at = self.answered_at.filter(|_| self.awaits_keys())?;
        Some(answered_at + self.shared.policy.connect_timeout)
    }

    /// Until when the answer to the offer in our 2xx must have come.
    pub(super) fn answer_deadline(&self) -> Option<Instant> {
        let answered_at = self.answered_at.filter(|_| self.is_offer_open)?;
        Some(answered_at + self.shared.policy.connect_timeout)
    }

    /// How its media travels: as was agreed or, before that, as the peer is likely to want it.
    pub(super) fn kind(&self) -> LegKind {
        let is_webrtc = match (&self.media, &self.negotiated) {
            (Some(media), _) => media.local().ice.is_some(),
            (None, Some(negotiated)) => matches!(negotiated.remote, RemoteMedia::WebRtc(_)),
            (None, None) => self.peer.is_browser(),
        };
        if is_webrtc { LegKind::WebRtc } else { LegKind::Plain }
    }

    /// The ACK of our 2xx came: it has the answer if the 2xx had our offer.
    pub(super) fn on_confirmed(&mut self, answer: Option<&Body>) -> Result<Notice, LegEnd> {
        if self.peer.is_datagram() {
            self.command_media(Command::Trust)?;
        }
        if !std::mem::take(&mut self.is_offer_open) {
            return Ok(Notice::Other);
        }
        match answer.and_then(|answer| self.agree_on_answer(answer, None).ok()) {
            Some(negotiated) => self.update_media(negotiated).map(|()| Notice::Agreed),
            None => {
                let cause = Cause::INCOMPATIBLE_DESTINATION;
                Err(LegEnd::by_system(EndCause::Failure, cause))
            }
        }
    }

    /// The answer to an offer that followed a re-INVITE without one. One that cannot be used leaves
    /// the session as it was.
    pub(super) fn on_answer(&mut self, answer: &Body) -> Result<Notice, LegEnd> {
        match self.agree_on_answer(answer, self.negotiated.as_ref()) {
            Ok(negotiated) => self.update_media(negotiated).map(|()| Notice::Renegotiated),
            Err(_) => Ok(Notice::Other),
        }
    }

    /// A re-INVITE or UPDATE changes the session, or is refused and leaves it as it was.
    pub(super) async fn on_offer(
        &mut self,
        number: OfferNumber,
        offer: Option<Body>,
        source: IpAddr,
    ) -> Result<Notice, LegEnd> {
        self.before_offer = None;
        let Some(offer) = offer else {
            self.offer_again(number).await;
            return Ok(Notice::Other);
        };
        let agree = |offer| offer::agree(&offer, &self.capabilities(), self.codec());
        match offer::read(&offer).and_then(agree).and_then(|agreed| self.within_reach(agreed)) {
            Ok(negotiated) => {
                let before = self.negotiated.clone();
                self.peer.remote = Some(source);
                self.update_media(negotiated)?;
                self.before_offer = before.map(Box::new);
                self.session_version += 1;
                let description = self.describe();
                self.sip.command(SipCommand::AnswerOffer { number, description }).await;
                Ok(Notice::Renegotiated)
            }
            Err(Refused { status, headers, reason }) => {
                info!(call_id = self.call_id, side = ?self.side, reason, "offer refused");
                self.sip.command(SipCommand::RejectOffer { number, status, headers }).await;
                Ok(Notice::Other)
            }
        }
    }

    /// The peer has taken its last offer back, or gave it up. If we took it over already, our answer
    /// came too late: the session is as it was.
    pub(super) fn on_offer_cancelled(&mut self) -> Result<Notice, LegEnd> {
        match self.before_offer.take() {
            Some(before) => {
                self.session_version -= 1;
                self.update_media(*before).map(|()| Notice::Renegotiated)
            }
            None => Ok(Notice::Other),
        }
    }

    /// A re-INVITE without an offer asks for ours (RFC 3261 §14.2): all that we have, since who
    /// answers may be somebody else by now, and the codec in use first.
    async fn offer_again(&mut self, number: OfferNumber) {
        self.session_version += 1;
        let description = match (&self.media, &self.negotiated) {
            (Some(leg), Some(negotiated)) => {
                let preferred = Some(negotiated.codec);
                let capabilities = Capabilities { preferred, ..self.capabilities() };
                negotiated.offer(&self.local_description(leg.as_ref()), &capabilities)
            }
            _ => {
                let refusal = dialog::Refusal::NotAcceptableHere { warning: None };
                let (status, headers) = (refusal.status(), refusal.headers());
                return self.sip.command(SipCommand::RejectOffer { number, status, headers }).await;
            }
        };
        self.sip.command(SipCommand::AnswerOffer { number, description }).await;
    }

    pub(super) fn update_media(&mut self, negotiated: Negotiated) -> Result<(), LegEnd> {
        let negotiated = negotiated.continuing(self.negotiated.as_ref());
        if let Some(media) = &mut self.media
            && let Err(error) = media.update(negotiated.clone(), self.peer.remote)
        {
            return Err(self.media_is_gone(&error));
        }
        self.has_agreed(negotiated);
        self.silence.counts_from(Instant::now());
        Ok(())
    }

    fn has_agreed(&mut self, agreed: Negotiated) {
        self.has_listened |= agreed.direction.sends();
        self.negotiated = Some(agreed);
    }

    /// Agrees on the answer to an offer of ours: the first one of the leg, or one made within the
    /// `session` that is agreed on.
    pub(super) fn agree_on_answer(
        &self,
        answer: &Body,
        session: Option<&Negotiated>,
    ) -> Result<Negotiated, Refused> {
        let agreed = offer::agree_on_answer(answer, &self.capabilities(), session);
        let agreed = agreed.and_then(|agreed| self.within_reach(agreed));
        if let Err(Refused { reason, .. }) = &agreed {
            info!(call_id = self.call_id, side = ?self.side, reason, "answer refused");
        }
        agreed
    }

    /// A plain leg keeps the sockets that it was opened with, and reaches nothing of the other
    /// address family; before, it reaches what we have sockets for. Nobody but us has media at our
    /// own ports: two calls that were aimed at each other would keep each other up for ever.
    fn within_reach(&self, agreed: Negotiated) -> Result<Negotiated, Refused> {
        let RemoteMedia::Plain { rtp, rtcp, .. } = &agreed.remote else { return Ok(agreed) };
        let is_other_end = || {
            let beside = SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
            let is_with = self.ourselves.as_ref().is_some_and(|end| end.is_with(*rtp));
            is_with && (rtcp == rtp || *rtcp == beside)
        };
        let is_own = |address| self.shared.is_own(address, self.peer.local);
        if (is_own(*rtp) || is_own(*rtcp)) && !is_other_end() {
            return Err(Refused::own_media());
        }
        let is_within = match &self.media {
            Some(media) => rtp.is_ipv4() == media.local().address.is_ipv4(),
            None => self.shared.media.reaches(rtp.ip()),
        };
        // An unspecified address holds the call, and is not sent to.
        match is_within || rtp.ip().is_unspecified() {
            true => Ok(agreed),
            false => Err(OpenError::NoAddress(rtp.ip()).into()),
        }
    }

    /// A leg stays plain or WebRTC, as it was opened.
    fn capabilities(&self) -> Capabilities {
        let is_webrtc = self.kind() == LegKind::WebRtc;
        let (allow_plain, allow_webrtc) = (!is_webrtc, is_webrtc);
        Capabilities { allow_plain, allow_webrtc, ..self.terms.capabilities.clone() }
    }

    /// Our answer, or our offer where the peer made none.
    fn describe(&self) -> String {
        let Some(media) = &self.media else { return String::new() };
        let local = self.local_description(media.as_ref());
        match &self.negotiated {
            Some(negotiated) => negotiated.answer(&local),
            None => sdp::offer(&local, &self.capabilities()),
        }
    }

    fn local_description(&self, media: &dyn MediaLeg) -> sdp::LocalDescription {
        media.local().describe(self.session_id, self.session_version, Direction::SendRecv)
    }
}

/// Half a second of media: an ACK takes no longer, or is lost (T1, RFC 3261 §17.1.1.1).
const ANSWERED_PACKETS: u16 = 25;
/// Ten seconds of it: a phone that may ring for longer sends media of its own, as a rule.
const EARLY_PACKETS: u16 = 500;
