//! One side of a call: its SIP leg, its media leg, and the session that the two carry.
//!
//! The caller and everyone who is called have one each. A leg negotiates alone and ends alone; what
//! its end means for the call is decided by the call.

mod calling;
mod digits;
mod events;
mod session;
mod silence;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dialog::Body;
use dialplan::{Cause, EndedBy};
use media::codec::Codec;
use media::net::CommandError;
use media::recording::Tap;
use media::sdp::Negotiated;
use media::shard::{Command, LegEvent, LegStatistics, PlayEnd, PlayToken};
use rand::RngExt;
use tokio::time::{Instant, timeout};
use transport::{Name, TransportKind};

use super::ourselves::End;
use super::terms::Terms;
use super::{LegPlace, MediaLeg, Shared, SipCommand, SipEvent, SipPort, Standing};
use crate::metrics::{CallResult, Direction, EndCause};

pub(super) use calling::{Callee, LegRefusal};
pub(super) use digits::Digit;
use silence::Silence;

/// One side of a call.
pub(super) struct Leg {
    shared: Arc<Shared>,
    /// Our identifier of the call, for the log.
    call_id: String,
    /// Whom we call, as the dialplan says it; empty for the caller.
    name: String,
    side: Side,
    sip: SipPort,
    peer: Peer,
    terms: Terms,
    media: Option<Box<dyn MediaLeg>>,
    /// A recording that begins with the media.
    tap: Option<Tap>,
    negotiated: Option<Negotiated>,
    /// The session has let us send.
    has_listened: bool,
    /// The session before the peer's last offer, for when that is cancelled before our answer is out.
    before_offer: Option<Box<Negotiated>>,
    /// The offer of the INVITE, until it is answered for good.
    offer: Option<Body>,
    /// The codecs in it that may be used, in its order.
    offered_codecs: Vec<Codec>,
    /// Identifies our session descriptions (RFC 8866 §5.2).
    session_id: u64,
    session_version: u64,
    /// Our answer to the INVITE, once a provisional response has carried it (RFC 6337 §3.1.1).
    early_answer: Option<String>,
    /// Our offer is out and its answer has not come.
    is_offer_open: bool,
    began_at: Instant,
    answered_at: Option<Instant>,
    /// Not if the caller cancelled before our answer was out.
    has_heard_answer: bool,
    is_connected: bool,
    silence: Silence,
    /// The form of INFO in which the peer has sent digits.
    info_digits: Option<digits::InfoForm>,
    plays: u64,
    /// Nothing more can be sent on the SIP leg.
    is_over: bool,
    /// What ended the leg; what came first counts.
    end: Option<EndCause>,
    /// The place that a leg of ours takes.
    place: Option<LegPlace>,
    /// What is known of the other end, should that be us.
    pub ourselves: Option<End>,
}

/// Which side of the call a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Who called us.
    Caller,
    /// Whom we called.
    Callee,
}

impl Side {
    pub(super) fn direction(self) -> Direction {
        match self {
            Side::Caller => Direction::In,
            Side::Callee => Direction::Out,
        }
    }
}

/// Where the peer's signalling comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub kind: TransportKind,
    pub local: Option<IpAddr>,
    pub remote: Option<IpAddr>,
    pub standing: Standing,
}

impl Peer {
    /// Whether an offer of ours is best made as WebRTC: over a WebSocket come browsers.
    pub(super) fn is_browser(self) -> bool {
        matches!(self.kind, TransportKind::Ws | TransportKind::Wss)
    }

    /// Whether nothing but what it says tells where the peer is, until it answers.
    fn is_datagram(self) -> bool {
        self.kind == TransportKind::Udp
    }
}

/// What happened on a leg, before the leg has acted on it.
#[derive(Debug)]
pub(super) enum LegInput {
    Sip(Option<SipEvent>),
    Media(Option<LegEvent>),
    Deadline,
}

/// What a call may want to know of a leg.
#[derive(Debug)]
pub(super) enum Notice {
    /// A provisional response to our INVITE came.
    Progress {
        /// It brought an answer, so that there is something to hear.
        has_media: bool,
    },
    /// Our INVITE was answered, and the session is agreed on.
    Accepted,
    /// Media has keys.
    Connected,
    /// The answer to the offer in our 2xx is in use.
    Agreed,
    PlayDone(PlayToken, PlayEnd),
    Digit(Digit),
    /// The session was changed by the peer: codec, direction or address.
    Renegotiated,
    Other,
}

/// How a leg ended, or why it has to.
#[derive(Debug, Clone)]
pub(super) struct LegEnd {
    pub by: EndedBy,
    /// For the metrics.
    pub end: EndCause,
    pub cause: Cause,
    /// How our INVITE was refused, if that is what ended it.
    pub refusal: Option<LegRefusal>,
    /// The value of Reason that the peer gave (RFC 3326).
    pub reason: Option<String>,
}

impl LegEnd {
    pub(super) fn by_system(end: EndCause, cause: Cause) -> Self {
        LegEnd { by: EndedBy::System, end, cause, refusal: None, reason: None }
    }
}

impl Leg {
    /// A leg without media, whose session may be on these terms.
    pub(super) fn new(
        shared: Arc<Shared>,
        call_id: String,
        side: Side,
        sip: SipPort,
        peer: Peer,
        terms: Terms,
    ) -> Self {
        Leg {
            shared,
            call_id,
            name: String::new(),
            side,
            sip,
            peer,
            terms,
            media: None,
            tap: None,
            negotiated: None,
            has_listened: false,
            before_offer: None,
            offer: None,
            offered_codecs: Vec::new(),
            session_id: random_session_id(),
            session_version: 1,
            early_answer: None,
            is_offer_open: false,
            began_at: Instant::now(),
            answered_at: None,
            has_heard_answer: true,
            is_connected: false,
            silence: Silence::default(),
            info_digits: None,
            plays: 0,
            is_over: false,
            end: None,
            place: None,
            ourselves: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    pub(super) fn answered_at(&self) -> Option<Instant> {
        self.answered_at
    }

    /// Whether the answer has gone out, as far as is known.
    pub(super) fn is_answered(&self) -> bool {
        self.answered_at.is_some() && self.has_heard_answer
    }

    /// What ended the leg, if it has ended.
    pub(super) fn end(&self) -> Option<EndCause> {
        self.end
    }

    /// The shard of its media.
    pub(super) fn shard(&self) -> Option<u16> {
        self.media.as_ref().map(|media| media.id().shard)
    }

    /// Whether the peer does not want to hear anything any more (RFC 3264 §8.4). Who never wanted to
    /// has only something to say.
    pub(super) fn is_held(&self) -> bool {
        let listens = self.negotiated.as_ref().is_none_or(|agreed| agreed.direction.sends());
        self.has_listened && !listens
    }

    /// Sends what is heard on this leg to another one, for as long as nothing else is commanded.
    pub(super) fn join(&self, to: &Leg) -> Result<(), LegEnd> {
        match &to.media {
            Some(media) => self.command_media(Command::Bridge { peer: media.id() }),
            None => Ok(()),
        }
    }

    pub(super) fn codec(&self) -> Option<Codec> {
        self.negotiated.as_ref().map(|negotiated| negotiated.codec)
    }

    /// The next thing that happens; may be dropped at any time without losing anything.
    pub(super) async fn input(&mut self) -> LegInput {
        let deadline = self.deadline();
        tokio::select! {
            biased;
            event = self.sip.event() => LegInput::Sip(event),
            event = next_media_event(self.media.as_mut()) => LegInput::Media(event),
            () = super::sleep_until(deadline) => LegInput::Deadline,
        }
    }

    /// When silence, or keys that do not come, end the leg.
    fn deadline(&self) -> Option<Instant> {
        let silence = [self.silence.deadline(self), self.silence.probe_at(self)];
        let deadlines = silence.into_iter().chain([self.keys_deadline(), self.answer_deadline()]);
        deadlines.flatten().min()
    }

    /// Tells the media leg what to do; without one this does nothing.
    pub(super) fn command_media(&self, command: Command) -> Result<(), LegEnd> {
        match &self.media {
            Some(media) => media.command(command).map_err(|error| self.media_is_gone(&error)),
            None => Ok(()),
        }
    }

    /// Records what is heard and sent on the leg, now or as soon as there is media.
    pub(super) fn record(&mut self, tap: Tap) -> Result<(), LegEnd> {
        if self.media.is_some() {
            return self.command_media(Command::Record(tap));
        }
        self.tap = Some(tap);
        Ok(())
    }

    /// Begins no recording with the media.
    pub(super) fn forget_recording(&mut self) {
        self.tap = None;
    }

    /// A token for the next play on this leg.
    pub(super) fn next_play(&mut self) -> PlayToken {
        self.plays += 1;
        PlayToken(self.plays)
    }

    /// Refuses the INVITE.
    pub(super) async fn reject(&mut self, status: u16, headers: Vec<(Name, String)>) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.sip.command(SipCommand::Reject { status, headers }).await;
        }
    }

    /// Ends the SIP leg with BYE, or with CANCEL if it is ours and was not answered. `reason` is the
    /// Reason of the other side, in place of the cause's own.
    pub(super) async fn hang_up(&mut self, end: EndCause, cause: Cause, reason: Option<String>) {
        self.end.get_or_insert(end);
        if !std::mem::replace(&mut self.is_over, true) {
            self.sip.command(SipCommand::HangUp { cause, reason }).await;
        }
    }

    /// Closes the media leg and waits for what it counted.
    pub(super) async fn close_media(&mut self) -> Option<LegStatistics> {
        let mut media = self.media.take()?;
        media.command(Command::Close).ok()?;
        let closed = async {
            while let Some(event) = media.events().recv().await {
                if let LegEvent::Closed(statistics) = event {
                    return Some(*statistics);
                }
            }
            None
        };
        timeout(CLOSE_TIMEOUT, closed).await.ok().flatten()
    }

    fn media_is_gone(&self, error: &CommandError) -> LegEnd {
        tracing::warn!(call_id = self.call_id, side = ?self.side, %error, "media leg lost");
        LegEnd::by_system(EndCause::Failure, Cause::NORMAL_TEMPORARY_FAILURE)
    }
}

impl Drop for Leg {
    /// However a leg of ours ends, it is counted; the caller's is counted with the call.
    fn drop(&mut self) {
        if self.side == Side::Caller {
            return;
        }
        let end = self.end.unwrap_or(EndCause::Failure);
        let result = match (self.answered_at, end) {
            (Some(_), _) => CallResult::Answered,
            (None, EndCause::Callee) => CallResult::Refused,
            (None, _) => CallResult::Cancelled,
        };
        let answered = self.answered_at.map(|at| at.elapsed());
        self.shared.metrics.call_ended(self.side.direction(), result, end, answered);
    }
}

async fn next_media_event(media: Option<&mut Box<dyn MediaLeg>>) -> Option<LegEvent> {
    match media {
        Some(media) => media.events().recv().await,
        None => std::future::pending().await,
    }
}

/// RFC 8866 §5.2; below 2^63, since some read it as a signed number.
fn random_session_id() -> u64 {
    rand::rng().random::<u64>() >> 1
}

/// How long a shard may take to close a leg before its statistics are given up.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
