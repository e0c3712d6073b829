//! What a shard is told about a leg, and what it tells.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{
    ice::IceCredentials,
    prompt::Track,
    recording::{RecordingId, Tap},
    sdp::{Direction, Fingerprint, LocalDescription, LocalIce, Negotiated},
    srtp::{SdesKey, SrtpProfile},
};

/// Names a leg for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LegId {
    /// The shard that owns the leg.
    pub shard: u16,
    /// Its number among all legs of the process.
    pub serial: u64,
}

/// How a leg's media travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LegKind {
    /// RTP and RTCP in the clear, on ports of the leg's own.
    Plain,
    /// ICE-lite and DTLS-SRTP on the shard's shared port.
    WebRtc,
}

/// What a leg is opened with.
#[derive(Clone, Debug)]
pub struct LegParameters {
    /// How the media travels.
    pub kind: LegKind,
    /// What both sides agreed on; `None` while an offer of ours is open.
    pub negotiated: Option<Negotiated>,
    /// The address that the signalling came to; preferred as the leg's own address where media is
    /// bound to it.
    pub signalling_local: Option<IpAddr>,
    /// The address that the peer's signalling comes from; a plain leg whose session description
    /// names the same address is sent to at once.
    pub signalling_remote: Option<IpAddr>,
    /// The shard to open the leg on; `None`: the one with the fewest legs.
    pub shard: Option<u16>,
    /// After this long without any packet from the peer, [`LegEvent::Quiet`] is reported.
    pub quiet_after: Duration,
    /// How many packets may be sent before [`Command::Trust`], to a peer that may not be where its
    /// signalling says: whoever is there instead is not flooded. `None`: it is trusted.
    pub allowance: Option<u16>,
    /// Whether media from the signalling's host is trusted as well. It is weaker, since the port that
    /// it must find can be guessed; for early media there is nothing better.
    pub trusts_media: bool,
    /// Whether DTMF events of the other leg of a bridge are passed on, where both agreed on them and
    /// are on one shard: as they come if the clock is the same, else as events of our own that last
    /// for as long. [`LegEvent::Dtmf`] says whether they were.
    pub takes_events: bool,
}

impl LegParameters {
    /// A leg whose offer we are answering, with a silence limit of 60 s for plain RTP and 7 s for
    /// WebRTC.
    pub fn answering(negotiated: Negotiated) -> Self {
        let kind = match &negotiated.remote {
            crate::sdp::RemoteMedia::Plain { .. } => LegKind::Plain,
            crate::sdp::RemoteMedia::WebRtc(_) => LegKind::WebRtc,
        };
        Self { negotiated: Some(negotiated), ..Self::offering(kind) }
    }

    /// A leg that we are about to make an offer for; [`Command::Update`] brings the answer.
    pub fn offering(kind: LegKind) -> Self {
        Self {
            kind,
            negotiated: None,
            signalling_local: None,
            signalling_remote: None,
            shard: None,
            quiet_after: match kind {
                LegKind::Plain => Duration::from_secs(60),
                LegKind::WebRtc => Duration::from_secs(7),
            },
            allowance: None,
            trusts_media: false,
            takes_events: false,
        }
    }
}

/// Our side of a leg, as its session description must say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMedia {
    /// The address that reaches us, after any mapping that was configured.
    pub address: IpAddr,
    /// The port for RTP; the only port of a WebRTC leg.
    pub rtp_port: u16,
    /// The port for RTCP.
    pub rtcp_port: u16,
    /// ICE parameters of a WebRTC leg.
    pub ice: Option<LocalIce>,
    /// Of the certificate of a WebRTC leg.
    pub fingerprint: Option<Fingerprint>,
    /// The SSRC that we send with, for as long as the leg lives.
    pub ssrc: u32,
    /// Our RTCP canonical name (RFC 7022 §4.2): 96 random bits.
    pub cname: String,
    /// Our SRTP keys for a plain leg whose keys travel in the session description (RFC 4568), one of
    /// each profile; all but the one in use are unused.
    pub sdes: Vec<SdesKey>,
}

impl LocalMedia {
    /// The media's part of a session description of ours, with our wish for a direction.
    pub fn describe(
        &self,
        session_id: u64,
        session_version: u64,
        direction: Direction,
    ) -> LocalDescription {
        LocalDescription {
            address: self.address,
            rtp_port: self.rtp_port,
            rtcp_port: self.rtcp_port,
            ice: self.ice.clone(),
            fingerprint: self.fingerprint.clone(),
            ssrc: self.ssrc,
            cname: self.cname.clone(),
            session_id,
            session_version,
            direction,
            sdes: self.sdes.clone(),
            opus_rate_hz_max: None,
        }
    }
}

/// How often a track is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// One time.
    Once,
    /// This many times, at least one.
    Times(u32),
    /// Until something else is commanded.
    Forever,
}

/// Tells one [`Command::Play`] from another; chosen by who commands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlayToken(pub u64);

/// What a leg can be told. The last one of Play, Stop, Echo and Bridge holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Plays a track of the leg's codec. A WebRTC leg starts once it has keys, a plain leg once it
    /// knows where to send; nothing of the track is lost by waiting.
    Play {
        /// What is played.
        track: Arc<Track>,
        /// How often.
        repeat: Repeat,
        /// Comes back in [`LegEvent::PlayDone`].
        token: PlayToken,
    },
    /// Ends playback, echo or bridge.
    Stop,
    /// Sends back what is heard.
    Echo {
        /// How much later, at most [`ECHO_DELAY_MAX`]; `None`: at once.
        delay: Option<Duration>,
    },
    /// Lets another leg hear what this one hears, once both are told to bridge with the other: a leg
    /// sends nothing that comes from anyone but its own peer in a bridge. The same codec is forwarded
    /// as it comes, another one is transcoded; which of the two follows every [`Command::Update`] of
    /// either leg. DTMF events are reported, and passed on to a leg that takes them.
    Bridge {
        /// Where it goes.
        peer: LegId,
    },
    /// Presses a key, after those that still wait: as an RTP event (RFC 4733) if the peer takes
    /// them, else as tones in the leg's codec. Meanwhile the leg sends nothing else.
    Dtmf {
        /// One of `0-9`, `*`, `#`, `A-D`.
        digit: char,
        /// How long, from 40 ms to 6 s, and no longer than one RTP event can say.
        duration: Duration,
    },
    /// Lets a recording begin, beside whatever the leg does. The oldest one makes room if there are
    /// more than [`RECORDINGS_MAX`].
    Record(Tap),
    /// Lets a recording end.
    StopRecord(RecordingId),
    /// What a later offer and answer changed.
    Update(Box<Update>),
    /// The peer has shown that it is where its signalling says; what waited goes on where it
    /// stopped.
    Trust,
    /// Closes the leg; [`LegEvent::Closed`] is its last event.
    Close,
}

/// What a later offer and answer changed.
#[derive(Clone, Debug)]
pub struct Update {
    /// What both sides now agree on.
    pub negotiated: Negotiated,
    /// New ICE parameters of ours, when the peer restarted ICE (RFC 8445 §9); the ones before stay
    /// valid until a pair of the new ones is nominated.
    pub ice: Option<IceCredentials>,
    /// Where the peer's signalling comes from, if the request or response that brought it says so.
    pub signalling_remote: Option<IpAddr>,
}

/// Why a play ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayEnd {
    /// Its last frame was sent.
    Completed,
    /// Another command ended it.
    Interrupted,
    /// The track is not of the leg's codec.
    CodecMismatch,
}

/// What a leg reports.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LegEvent {
    /// A WebRTC leg has keys.
    Connected {
        /// From opening the leg to the first valid ICE check.
        ice: Duration,
        /// From the first DTLS datagram to keys.
        dtls: Duration,
        /// How media is protected.
        profile: SrtpProfile,
    },
    /// A play ended.
    PlayDone {
        /// The play's own.
        token: PlayToken,
        /// Why.
        end: PlayEnd,
    },
    /// A DTMF event ended (RFC 4733).
    Dtmf {
        /// One of `0-9`, `*`, `#`, `A-D`.
        digit: char,
        /// How long it was pressed.
        duration: Duration,
        /// Whether the other leg of the bridge has got it.
        is_passed_on: bool,
    },
    /// Nothing came from the peer for [`LegParameters::quiet_after`].
    Quiet {
        /// How long.
        since: Duration,
    },
    /// The peer is heard again after [`LegEvent::Quiet`] or [`LegFailure::PeerClosed`], or what it was
    /// to send before is over.
    Heard,
    /// The leg cannot carry media; it stays open until it is closed.
    Failed {
        /// Why.
        reason: LegFailure,
    },
    /// The leg is gone. Always the last event, except when the shard itself died: then the events
    /// end without it.
    Closed(Box<LegStatistics>),
}

/// Why a leg cannot carry media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LegFailure {
    /// The peer's certificate does not match the fingerprint it signalled.
    Fingerprint,
    /// The DTLS handshake failed for good.
    Handshake,
    /// The peer ended the DTLS association.
    PeerClosed,
}

impl LegFailure {
    /// A word for metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::Handshake => "handshake",
            Self::PeerClosed => "peer_closed",
        }
    }
}

/// What a leg carried.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LegStatistics {
    /// From opening to closing.
    pub duration: Duration,
    /// RTP packets received and used.
    pub packets_in: u64,
    /// Payload bytes of them.
    pub bytes_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Payload bytes of them.
    pub bytes_out: u64,
    /// Packets that were sent to us and never came.
    pub lost_in: u64,
    /// Packets received and not used.
    pub discarded_in: u64,
    /// Packets of ours that the peer reports as lost.
    pub lost_out: u64,
    /// Interarrival jitter at the end.
    pub jitter_in: Duration,
    /// The jitter that the peer reports.
    pub jitter_out: Duration,
    /// Round trip by RTCP, where the peer reports.
    pub round_trip: Option<Duration>,
}

/// Most recordings of one leg at a time.
pub const RECORDINGS_MAX: usize = 2;
/// The longest delay of [`Command::Echo`].
pub const ECHO_DELAY_MAX: Duration = Duration::from_secs(10);
