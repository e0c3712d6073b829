//! A call while it lives: [`dialplan::Call`] over a SIP leg and a media leg.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dialog::Body;
use dialplan::{Call, Cause, Ended, EndedBy, Facts, Level, SoundName, ToneScript, Variables};
use media::codec::Codec;
use media::prompt::Track;
use media::sdp::{self, Capabilities, Direction, Negotiated, RemoteMedia};
use media::shard::{
    Command, LegEvent, LegFailure, LegKind, LegParameters, LegStatistics, PlayEnd, PlayToken,
    Repeat,
};
use rand::RngExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};
use transport::{Flow, Name};

use super::offer::{self, Refused};
use super::report::Report;
use super::{Invitation, MediaLeg, Shared, SipCommand, SipEvent, SipPort};
use crate::metrics::{CallResult, EndCause, MediaStage, Refusal};
use crate::tones;

/// One call from its INVITE to its end.
pub(super) struct LiveCall {
    shared: Arc<Shared>,
    facts: Facts,
    variables: Variables,
    sip: SipPort,
    flow: Flow,
    offer: Bytes,
    invited_at: Instant,
    answered_at: Option<Instant>,
    negotiated: Option<Negotiated>,
    media: Option<Box<dyn MediaLeg>>,
    /// Identifies our session descriptions (RFC 8866 §5.2).
    session_id: u64,
    session_version: u64,
    plays: u64,
    /// When the last packet of the last play was sent.
    played_at: Option<Instant>,
    is_connected: bool,
    is_flow_closed: bool,
    is_quiet: bool,
    /// When a caller that closed its media, and has not said BYE, counts as gone.
    gone_at: Option<Instant>,
    /// What ended the call, when it was not the dialplan.
    end: Option<EndCause>,
    /// Nothing more can be sent on the SIP leg.
    is_leg_over: bool,
}

/// What a wait may be for.
enum Notice {
    Confirmed(Option<Body>),
    Connected,
    PlayDone(PlayToken, PlayEnd),
    Other,
}

impl LiveCall {
    pub(super) fn new(shared: Arc<Shared>, invitation: Invitation, sip: SipPort) -> Self {
        let Invitation { facts, offer, flow, at } = invitation;
        LiveCall {
            shared,
            facts,
            variables: Variables::default(),
            sip,
            flow,
            offer,
            invited_at: at,
            answered_at: None,
            negotiated: None,
            media: None,
            session_id: rand::rng().random::<u64>() >> 1,
            session_version: 1,
            plays: 0,
            played_at: None,
            is_connected: false,
            is_flow_closed: false,
            is_quiet: false,
            gone_at: None,
            end: None,
            is_leg_over: false,
        }
    }

    /// Routes the call, runs its extension, and cleans up after it.
    pub(super) async fn run(&mut self) {
        info!(
            call_id = self.facts.uuid,
            sip_call_id = self.facts.sip_call_id,
            number = self.facts.destination_number,
            transport = self.facts.transport,
            remote = %self.flow.remote,
            "call started"
        );
        self.shared.metrics.call_started(self.flow.kind);
        let (cause, reason) = match self.accept_or_refuse().await {
            Ok((ended, reason)) => (ended, reason),
            Err((refusal, reason)) => {
                self.shared.metrics.call_rejected(refusal);
                (EndCause::Dialplan, reason)
            }
        };
        let statistics = self.close_media().await;
        let result = match (self.answered_at, cause) {
            (Some(_), _) => CallResult::Answered,
            (None, EndCause::Caller | EndCause::Gone) => CallResult::Cancelled,
            (None, _) => CallResult::Refused,
        };
        Report {
            call_id: &self.facts.uuid,
            sip_call_id: &self.facts.sip_call_id,
            number: &self.facts.destination_number,
            result,
            cause,
            reason: &reason,
            answered_at: self.answered_at,
            codec: self.negotiated.as_ref().map_or("none", |negotiated| negotiated.codec.name()),
            statistics,
        }
        .publish(&self.shared);
    }

    async fn accept_or_refuse(&mut self) -> Result<(EndCause, String), (Refusal, String)> {
        let shared = Arc::clone(&self.shared);
        let route = match shared.plan.route(&shared.public_context, &self.facts) {
            Ok(route) => route,
            Err(no_match) => {
                let status = Cause::NO_ROUTE_DESTINATION.sip_status();
                self.reject(status, Vec::new()).await;
                return Err((Refusal::NoRoute, no_match.to_string()));
            }
        };
        if !self.offer.is_empty() {
            match offer::agree(
                &Body::sdp(std::mem::take(&mut self.offer)),
                &shared.capabilities,
                None,
            ) {
                Ok(negotiated) => self.negotiated = Some(negotiated),
                Err(Refused { status, headers, reason }) => {
                    self.reject(status, headers).await;
                    return Err((Refusal::NotAcceptable, reason));
                }
            }
        }
        debug!(call_id = self.facts.uuid, extension = route.extension().name, "extension matches");
        let outcome = dialplan::run(&route, self).await;
        let cause = self.end.unwrap_or(EndCause::Dialplan);
        if outcome.ended.by == EndedBy::System && !self.is_leg_over {
            self.hang_up_leg(outcome.ended.cause).await;
        }
        let reason = match outcome.during {
            Some((application, _)) => {
                format!("{} during {application}", outcome.ended.cause.name())
            }
            None => outcome.ended.cause.name().to_owned(),
        };
        Ok((cause, reason))
    }

    async fn reject(&mut self, status: u16, headers: Vec<(Name, String)>) {
        self.sip.command(SipCommand::Reject { status, headers }).await;
    }

    /// Ends the SIP leg: BYE once it was answered, a final response before.
    async fn hang_up_leg(&mut self, cause: Cause) {
        if self.answered_at.is_some() {
            self.sip.command(SipCommand::HangUp { cause }).await;
            return;
        }
        let status = cause.sip_status();
        let mut headers = vec![(Name::Reason, super::reason(cause))];
        if status == 503 {
            headers.push((Name::RetryAfter, "5".to_owned()));
        }
        self.reject(status, headers).await;
    }

    /// Opens the media leg and answers, or says how to refuse.
    async fn open_and_answer(&mut self) -> Result<(), Refused> {
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
        self.shared.metrics.call_answered(now - self.invited_at);
        Ok(())
    }

    /// A caller that wants our offer gets WebRTC over a WebSocket and plain RTP elsewhere.
    fn offered_kind(&self) -> LegKind {
        match self.flow.kind {
            transport::TransportKind::Ws | transport::TransportKind::Wss => LegKind::WebRtc,
            _ => LegKind::Plain,
        }
    }

    /// The answer to our offer came in the ACK.
    async fn take_answer(&mut self) -> Result<(), Ended> {
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

    fn update_media(&mut self, negotiated: Negotiated) -> Result<(), Ended> {
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
    async fn wait_until_connected(&mut self) -> Result<(), Ended> {
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

    /// Waits until `wanted` finds what it wants in a notice, or the deadline passes (`None`).
    /// Everything else that happens to the call meanwhile is handled here.
    async fn wait<T>(
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

    async fn on_sip(&mut self, event: Option<SipEvent>) -> Result<Notice, Ended> {
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

    async fn on_leg(&mut self, event: dialog::Event) -> Result<Notice, Ended> {
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

    fn on_leg_ended(
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

    /// A re-INVITE or UPDATE changes the session, or is refused and leaves it as it was.
    async fn on_offer(&mut self, offer: Option<Body>) -> Result<(), Ended> {
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
    async fn offer_again(&mut self) {
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

    fn local_description(&self, leg: &dyn MediaLeg) -> sdp::LocalDescription {
        leg.local().describe(self.session_id, self.session_version, Direction::SendRecv)
    }

    /// A leg stays plain or WebRTC, as it was opened.
    fn capabilities_of_leg(&self) -> Capabilities {
        let is_webrtc = self.media.as_ref().is_some_and(|leg| leg.local().ice.is_some());
        let codecs = self.shared.capabilities.codecs.clone();
        Capabilities { codecs, allow_plain: !is_webrtc, allow_webrtc: is_webrtc }
    }

    fn agree_on_answer(&self, answer: &Body) -> Result<Negotiated, Refused> {
        let agreed = offer::agree_on_answer(answer, &self.capabilities_of_leg());
        if let Err(refused) = &agreed {
            warn!(call_id = self.facts.uuid, reason = refused.reason, "answer refused");
        }
        agreed
    }

    fn describe(&self) -> String {
        match (&self.media, &self.negotiated) {
            (Some(leg), Some(negotiated)) => {
                negotiated.answer(&self.local_description(leg.as_ref()))
            }
            _ => String::new(),
        }
    }

    fn on_info(&mut self, body: &Body) {
        if let Some(digit) = info_digit(&body.content_type, &body.bytes) {
            self.on_digit(digit, "info");
        }
    }

    fn on_digit(&mut self, digit: char, method: &'static str) {
        self.shared.metrics.dtmf(method);
        debug!(call_id = self.facts.uuid, %digit, method, "dtmf");
    }

    fn on_media(&mut self, event: Option<LegEvent>) -> Result<Notice, Ended> {
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
    fn end_if_gone(&mut self) -> Result<(), Ended> {
        let is_silent = self.media.is_none() || self.is_quiet;
        if self.is_flow_closed && is_silent {
            return Err(self.gone());
        }
        Ok(())
    }

    fn gone(&mut self) -> Ended {
        self.end_by_system(EndCause::Gone, Cause::RECOVERY_ON_TIMER_EXPIRE)
    }

    fn media_is_gone(&mut self, error: &dyn std::fmt::Display) -> Ended {
        warn!(call_id = self.facts.uuid, %error, "media leg lost");
        self.end_by_system(EndCause::Failure, Cause::NORMAL_TEMPORARY_FAILURE)
    }

    fn end_by_system(&mut self, end: EndCause, cause: Cause) -> Ended {
        self.end.get_or_insert(end);
        Ended::by_system(cause)
    }

    fn command_media(&mut self, command: Command) -> Result<(), Ended> {
        let sent = match &self.media {
            Some(leg) => leg.command(command),
            None => Ok(()),
        };
        sent.map_err(|error| self.media_is_gone(&error))
    }

    /// Plays a track of the leg's codec, again from its start if the codec changes meanwhile.
    async fn play_track(&mut self, playable: Playable<'_>) -> Result<(), Ended> {
        loop {
            let Some(codec) = self.negotiated.as_ref().map(|negotiated| negotiated.codec) else {
                return Ok(());
            };
            let (track, repeat) = match playable.track(&self.shared, codec) {
                Ok(found) => found,
                Err(error) => {
                    warn!(call_id = self.facts.uuid, %error, "sound skipped");
                    return Ok(());
                }
            };
            self.plays += 1;
            let token = PlayToken(self.plays);
            self.command_media(Command::Play { track, repeat, token })?;
            let end = self
                .wait(None, |notice| match notice {
                    Notice::PlayDone(done, end) if done == token => Some(end),
                    _ => None,
                })
                .await?;
            if end != Some(PlayEnd::CodecMismatch) {
                self.played_at = Some(Instant::now());
                return Ok(());
            }
        }
    }

    /// Closes the media leg and waits for what it counted.
    async fn close_media(&mut self) -> Option<LegStatistics> {
        let mut leg = self.media.take()?;
        leg.command(Command::Close).ok()?;
        let closed = async {
            while let Some(event) = leg.events().recv().await {
                if let LegEvent::Closed(statistics) = event {
                    return Some(*statistics);
                }
            }
            None
        };
        timeout(CLOSE_TIMEOUT, closed).await.ok().flatten()
    }
}

enum Playable<'a> {
    Sound(&'a SoundName),
    Tones(&'a ToneScript),
}

impl Playable<'_> {
    /// What was encoded when the plan was loaded, so that this only looks it up.
    fn track(&self, shared: &Shared, codec: Codec) -> Result<(Arc<Track>, Repeat), media::Error> {
        match self {
            Playable::Sound(name) => {
                let track = shared.prompts.prompt(name.as_str())?.track(codec)?;
                Ok((track, Repeat::Once))
            }
            Playable::Tones(script) => {
                let track = shared.prompts.tone(&tones::script(script), codec)?;
                let repeat = tones::repeats(&track, tones::duration(script));
                Ok((track, repeat))
            }
        }
    }
}

#[async_trait]
impl Call for LiveCall {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn variables(&self) -> &Variables {
        &self.variables
    }

    fn variables_mut(&mut self) -> &mut Variables {
        &mut self.variables
    }

    fn action_begins(&mut self, action: &dialplan::Action) {
        self.shared.metrics.application(action.application);
    }

    fn log(&mut self, level: Level, text: &str) {
        let call_id = &self.facts.uuid;
        match level {
            Level::Console | Level::Alert | Level::Crit | Level::Err => {
                tracing::error!(call_id, text, "dialplan");
            }
            Level::Warning => tracing::warn!(call_id, text, "dialplan"),
            Level::Notice | Level::Info => tracing::info!(call_id, text, "dialplan"),
            Level::Debug => tracing::debug!(call_id, text, "dialplan"),
        }
    }

    fn is_answered(&self) -> bool {
        self.answered_at.is_some()
    }

    async fn answer(&mut self) -> Result<(), Ended> {
        if self.answered_at.is_none() {
            let is_ours = self.negotiated.is_none();
            if let Err(Refused { status, headers, reason }) = self.open_and_answer().await {
                warn!(call_id = self.facts.uuid, reason, "call cannot be answered");
                self.shared.metrics.media_setup_failed("no_leg");
                self.reject(status, headers).await;
                self.end = Some(EndCause::Failure);
                return Err(Ended::by_dialplan(Cause::from_sip_status(status)));
            }
            if is_ours {
                self.take_answer().await?;
            }
        }
        self.wait_until_connected().await
    }

    async fn sleep(&mut self, duration: Duration) -> Result<(), Ended> {
        let deadline = Instant::now() + duration;
        self.wait(Some(deadline), |_| None::<()>).await.map(|_| ())
    }

    async fn play(&mut self, sound: &SoundName) -> Result<(), Ended> {
        self.answer().await?;
        self.play_track(Playable::Sound(sound)).await
    }

    async fn tones(&mut self, script: &ToneScript) -> Result<(), Ended> {
        self.answer().await?;
        self.play_track(Playable::Tones(script)).await
    }

    async fn echo(&mut self, delay: Duration) -> Ended {
        if let Err(ended) = self.answer().await {
            return ended;
        }
        let delay = (!delay.is_zero()).then_some(delay);
        if let Err(ended) = self.command_media(Command::Echo { delay }) {
            return ended;
        }
        loop {
            if let Err(ended) = self.wait(None, |_| None::<()>).await {
                return ended;
            }
        }
    }

    async fn hang_up(&mut self, cause: Cause) -> Ended {
        if let Some(played_at) = self.played_at.filter(|_| self.answered_at.is_some())
            && let Err(ended) = self.wait(Some(played_at + TAIL), |_| None::<()>).await
        {
            return ended;
        }
        self.hang_up_leg(cause).await;
        Ended::by_dialplan(cause)
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

/// The digit of an INFO: `application/dtmf-relay` (`Signal=5`) or `application/dtmf` (`5`).
fn info_digit(content_type: &str, body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let signal = if media_type.eq_ignore_ascii_case("application/dtmf-relay") {
        let value = |line: &'_ str| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim().to_owned())
        };
        text.lines().find_map(value)?
    } else if media_type.eq_ignore_ascii_case("application/dtmf") {
        text.trim().to_owned()
    } else {
        return None;
    };
    // Event numbers of RFC 4733 §3.2 are seen in place of the two keys.
    match signal.as_str() {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => {
            let mut characters = signal.chars();
            let digit = characters.next()?.to_ascii_uppercase();
            let is_key = digit.is_ascii_digit() || matches!(digit, '*' | '#' | 'A'..='D');
            (is_key && characters.next().is_none()).then_some(digit)
        }
    }
}

/// A browser closes its media when BYE comes, with what its jitter buffer still holds unheard.
const TAIL: Duration = Duration::from_millis(150);
/// How long a shard may take to close a leg before its statistics are given up.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_from_both_forms_of_info() {
        let relay = "application/dtmf-relay";
        assert_eq!(info_digit(relay, b"Signal=5\r\nDuration=160\r\n"), Some('5'));
        assert_eq!(info_digit(relay, b"signal = #\r\n"), Some('#'));
        assert_eq!(info_digit("Application/DTMF; x=y", b" a \r\n"), Some('A'));
        assert_eq!(info_digit("application/dtmf", b"11"), Some('#'));
    }

    #[test]
    fn other_infos_hold_no_digit() {
        assert_eq!(info_digit("application/dtmf", b"55"), None);
        assert_eq!(info_digit("application/dtmf-relay", b"Duration=160"), None);
        assert_eq!(info_digit("application/dtmf", b"\xff"), None);
        assert_eq!(info_digit("text/plain", b"5"), None);
    }
}
