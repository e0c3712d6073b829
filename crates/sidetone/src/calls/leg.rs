//! One side of a call: its SIP leg, its media leg, and the session that the two carry.
//!
//! The caller and everyone who is called have one each. A leg negotiates alone and ends alone; what
//! its end means for the call is decided by the call.

mod digits;
mod events;
mod session;
mod silence;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dialplan::{Cause, EndedBy};
use media::codec::Codec;
use media::net::CommandError;
use media::sdp::{Capabilities, Negotiated};
use media::shard::{Command, LegEvent, LegStatistics, PlayEnd, PlayToken};
use rand::RngExt;
use tokio::time::{Instant, timeout};
use transport::{Name, TransportKind};

use super::{MediaLeg, Shared, SipCommand, SipEvent, SipPort};
use crate::metrics::{Direction, EndCause};

pub(super) use digits::Digit;
use silence::Silence;

/// One side of a call.
pub(super) struct Leg {
    shared: Arc<Shared>,
    /// Our identifier of the call, for the log.
    call_id: String,
    side: Side,
    sip: SipPort,
    peer: Peer,
    terms: Terms,
    media: Option<Box<dyn MediaLeg>>,
    negotiated: Option<Negotiated>,
    /// Identifies our session descriptions (RFC 8866 §5.2).
    session_id: u64,
    session_version: u64,
    /// Our answer to the INVITE, once a provisional response has carried it (RFC 6337 §3.1.1).
    early_answer: Option<String>,
    /// Our offer is out and its answer has not come.
    is_offer_open: bool,
    answered_at: Option<Instant>,
    is_connected: bool,
    silence: Silence,
    /// The form of INFO in which the peer has sent digits.
    info_digits: Option<digits::InfoForm>,
    plays: u64,
    /// Nothing more can be sent on the SIP leg.
    is_over: bool,
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
}

impl Peer {
    /// Whether an offer of ours is best made as WebRTC: over a WebSocket come browsers.
    pub(super) fn is_browser(self) -> bool {
        matches!(self.kind, TransportKind::Ws | TransportKind::Wss)
    }
}

/// What a leg may use.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub capabilities: Capabilities,
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
}

impl LegEnd {
    pub(super) fn by_system(end: EndCause, cause: Cause) -> Self {
        LegEnd { by: EndedBy::System, end, cause }
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
            side,
            sip,
            peer,
            terms,
            media: None,
            negotiated: None,
            session_id: rand::rng().random::<u64>() >> 1,
            session_version: 1,
            early_answer: None,
            is_offer_open: false,
            answered_at: None,
            is_connected: false,
            silence: Silence::default(),
            info_digits: None,
            plays: 0,
            is_over: false,
        }
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    pub(super) fn answered_at(&self) -> Option<Instant> {
        self.answered_at
    }

    /// Whether the SIP leg has ended, so that nothing can be said on it.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
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
        [self.silence.deadline(self), self.keys_deadline(), self.answer_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Tells the media leg what to do; without one this does nothing.
    pub(super) fn command_media(&self, command: Command) -> Result<(), LegEnd> {
        match &self.media {
            Some(media) => media.command(command).map_err(|error| self.media_is_gone(&error)),
            None => Ok(()),
        }
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

    /// Ends the SIP leg with BYE, or with CANCEL if it is ours and was not answered.
    pub(super) async fn hang_up(&mut self, cause: Cause) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.sip.command(SipCommand::HangUp { cause, reason: None }).await;
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

async fn next_media_event(media: Option<&mut Box<dyn MediaLeg>>) -> Option<LegEvent> {
    match media {
        Some(media) => media.events().recv().await,
        None => std::future::pending().await,
    }
}

/// How long a shard may take to close a leg before its statistics are given up.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
