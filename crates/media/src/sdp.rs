//! Session descriptions (RFC 8866): read, negotiated by offer and answer (RFC 3264), written.
//!
//! An offer of theirs: [`parse`], [`negotiate()`], [`Negotiated::answer`]. An offer of ours: [`offer`],
//! then [`parse`] and [`negotiate_answer`] on what comes back; within a session that is agreed on
//! already: [`Negotiated::offer`], then [`Negotiated::negotiate_answer`].

use std::net::{IpAddr, SocketAddr};

use crate::codec::Codec;
use crate::srtp::SdesKey;

mod candidate;
mod crypto;
mod direction;
mod fingerprint;
mod format;
mod negotiate;
mod opus;
mod reader;
mod refusal;
mod section;
mod writer;

pub use candidate::{Candidate, CandidateKind};
pub use crypto::{Crypto, SDES_PROFILES, Security};
pub use direction::Direction;
pub use fingerprint::{Fingerprint, HashFunction};
pub use negotiate::{Capabilities, negotiate, negotiate_answer, offered_codecs};
pub use opus::OpusParameters;
pub use reader::{BYTES_MAX, LINES_MAX, SECTIONS_MAX, SdpError, SessionDescription, parse};
pub use refusal::{NegotiationError, NegotiationFault};
pub use writer::offer;

/// What both sides of one audio stream agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The codec both ways.
    pub codec: Codec,
    /// The payload type that we send the codec with: the peer's.
    pub payload_type: u8,
    /// The payload type that the peer sends the codec with: that of our own description. The two
    /// differ only where a peer answered our offer with a number of its own (RFC 3264 §6.1).
    pub local_payload_type: u8,
    /// The other codecs of our offer with their payload types in it, none after an offer of the
    /// peer's: who answers may send each of them at any time (RFC 3264 §6.1). Browsers send even those
    /// that their answer left out.
    pub local_others: Vec<(Codec, u8)>,
    /// How we send DTMF events, unless the peer has none.
    pub dtmf: Option<DtmfFormat>,
    /// How the peer sends DTMF events.
    pub local_dtmf: Option<DtmfFormat>,
    /// Events at another clock rate that our offer had and the answer kept: the peer may send
    /// either, and Chromium as the one that answers sends Opus with events at 8000 Hz.
    pub local_dtmf_other: Option<DtmfFormat>,
    /// Whether the peer may send comfort noise as payload type 13 (RFC 3389).
    pub comfort_noise: bool,
    /// What the peer wants of an Opus encoder; of no meaning with another codec.
    pub opus: OpusParameters,
    /// What we may do: our answer's direction at most. A held peer (RFC 3264 §8.4) may have an
    /// unspecified address in `remote`; nothing is sent to one.
    pub direction: Direction,
    /// Where and how the peer's media is reached.
    pub remote: RemoteMedia,
    /// Milliseconds of audio that the peer would like in a packet (`a=ptime`).
    pub packet_time_ms: Option<u32>,
    /// Most milliseconds of audio that the peer takes in a packet (`a=maxptime`).
    pub packet_time_ms_max: Option<u32>,
    /// The peer's SRTP key, where plain RTP is protected by keys in the session description.
    pub crypto: Option<Crypto>,
    /// Whether the peer answered this to an offer of ours.
    pub(crate) is_answer: bool,
    /// The offer's sections, all of which an answer repeats.
    sections: Vec<negotiate::OfferedSection>,
}

impl Negotiated {
    /// As what follows `before` in one session: where the peer leaves the DTLS role to us and goes on
    /// with its association, so do we (RFC 8842 §5.3).
    #[must_use]
    pub fn continuing(mut self, before: Option<&Negotiated>) -> Self {
        if let RemoteMedia::WebRtc(remote) = &mut self.remote
            && let Some(Negotiated { remote: RemoteMedia::WebRtc(before), .. }) = before
            && remote.leaves_role_open
            && remote.fingerprints == before.fingerprints
        {
            remote.role = before.role;
        }
        self
    }

    /// The payload types that mean something in this session, to either side.
    fn payload_types(&self) -> Vec<u8> {
        let dtmf = [self.dtmf, self.local_dtmf, self.local_dtmf_other].into_iter().flatten();
        let codec = [self.payload_type, self.local_payload_type];
        let others = self.local_others.iter().map(|(_, payload_type)| *payload_type);
        codec.into_iter().chain(others).chain(dtmf.map(|dtmf| dtmf.payload_type)).collect()
    }

    /// The payload type that the peer sends a codec with.
    fn local_payload_type_of(&self, codec: Codec) -> Option<u8> {
        let other = || self.local_others.iter().find(|(other, _)| *other == codec);
        if codec == self.codec {
            Some(self.local_payload_type)
        } else {
            other().map(|(_, payload_type)| *payload_type)
        }
    }
}

/// The payload type of `telephone-event` (RFC 4733 §2.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DtmfFormat {
    /// Its payload type.
    pub payload_type: u8,
    /// Ticks per second in which durations are counted.
    pub clock_rate_hz: u32,
}

/// Where and how a peer's media is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteMedia {
    /// RTP and RTCP without ICE and DTLS: in the clear, or protected by [`Negotiated::crypto`].
    Plain {
        /// Where RTP goes.
        rtp: SocketAddr,
        /// Where RTCP goes.
        rtcp: SocketAddr,
        /// Whether RTCP shares the port of RTP (RFC 5761).
        rtcp_mux: bool,
    },
    /// ICE and DTLS-SRTP, RTP and RTCP on one port.
    WebRtc(RemoteWebRtc),
}

/// The peer's side of a WebRTC leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteWebRtc {
    /// ICE user name fragment (RFC 8839 §5.4).
    pub ufrag: String,
    /// ICE password (RFC 8839 §5.4).
    pub pwd: String,
    /// What the certificate of the peer must match one of (RFC 8122 §5); never empty.
    pub fingerprints: Vec<Fingerprint>,
    /// Our role in the DTLS handshake.
    pub role: DtlsRole,
    /// Whether the peer lets us choose it (`a=setup:actpass`).
    pub leaves_role_open: bool,
    /// UDP candidates of component 1 with an address that can be used; often none.
    pub candidates: Vec<Candidate>,
    /// Whether the peer answers ICE checks only (RFC 8445 §2.5), as we do.
    pub is_lite: bool,
}

/// Who begins the DTLS handshake (RFC 4145 §4, RFC 5763 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// We wait for a ClientHello.
    Passive,
    /// We send the ClientHello.
    Active,
}

/// What we say of ourselves in an offer or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalDescription {
    /// The address that the peer's media is sent to.
    pub address: IpAddr,
    /// The port that RTP is sent to; the only port of a WebRTC leg.
    pub rtp_port: u16,
    /// The port that RTCP is sent to, where it has one of its own.
    pub rtcp_port: u16,
    /// ICE parameters; needed by a WebRTC leg.
    pub ice: Option<LocalIce>,
    /// Of our certificate; needed by a WebRTC leg.
    pub fingerprint: Option<Fingerprint>,
    /// The SSRC that we send with.
    pub ssrc: u32,
    /// Our RTCP canonical name (RFC 7022).
    pub cname: String,
    /// Identifies the session in `o=`; the same for all descriptions of a leg. Below 2^63.
    pub session_id: u64,
    /// Version in `o=`; one more for every description that differs from the one before.
    pub session_version: u64,
    /// What we want to do; an answer narrows it to what the offer allows.
    pub direction: Direction,
    /// Our SRTP keys, one for each of [`SDES_PROFILES`]; written only where keys are agreed on or
    /// offered.
    pub sdes: Vec<SdesKey>,
    /// The rate up to which Opus is of use to us (`maxplaybackrate`, RFC 7587 §6.1), as when it is
    /// transcoded to a codec of 8000 Hz; `None`: all it has.
    pub opus_rate_hz_max: Option<u32>,
}

/// Our ICE parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalIce {
    /// User name fragment.
    pub ufrag: String,
    /// Password.
    pub pwd: String,
    /// Addresses that reach us, the best one first.
    pub candidates: Vec<SocketAddr>,
}
