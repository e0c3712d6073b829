//! Why offer and answer did not meet, and how a `Warning` header says so (RFC 3261 §20.43).

use std::fmt;

use super::SessionDescription;
use super::negotiate::Capabilities;
use super::section::Section;
use crate::codec::Codec;

/// Why offer and answer did not meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}{}", codecs_of(.fault, .offered, .allowed))]
pub struct NegotiationError {
    /// The first audio section's fault.
    pub fault: NegotiationFault,
    /// The codecs that the peer listed, such as `G729/8000`; printable, and few.
    pub offered: Vec<String>,
    /// The codecs that were allowed.
    pub allowed: Vec<Codec>,
}

/// What is wrong with an audio section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationFault {
    /// There is none, or each is switched off.
    #[error("no audio stream is offered")]
    NoAudio,
    /// No codec is in common.
    #[error("no codec in common")]
    NoCodec,
    /// RTP in the clear is not allowed to this endpoint.
    #[error("RTP without encryption is not allowed")]
    PlainNotAllowed,
    /// WebRTC is not allowed to this endpoint.
    #[error("WebRTC is not allowed")]
    WebRtcNotAllowed,
    /// SRTP with keys in the description is all that is offered, and not allowed to this endpoint.
    #[error("SRTP with keys in the session description (SDES) is not allowed")]
    SdesNotAllowed,
    /// SRTP with keys in the description is offered where others can read it.
    #[error("SRTP with keys in the session description (SDES) is accepted over TLS only")]
    SdesInClear,
    /// None of the keys offered is for a suite that we know, or each asks for more than we do.
    #[error("no usable a=crypto line is offered")]
    NoCryptoSuite,
    /// A transport that we do not know.
    #[error("the transport {} is not supported", printable(.profile))]
    UnknownProfile {
        /// The `proto` field.
        profile: String,
    },
    /// A line without which the section cannot be used is missing or malformed.
    #[error("{0} is missing or malformed")]
    Missing(&'static str),
    /// The connection address is a name; only literal addresses are used.
    #[error("the connection address is a host name")]
    HostName,
    /// The connection address is not one of an Internet host.
    #[error("the connection address cannot be used")]
    NetworkAddress,
}

impl NegotiationError {
    pub(super) fn new(
        fault: NegotiationFault,
        peer: &SessionDescription,
        capabilities: &Capabilities,
    ) -> Self {
        let audio = Section::all(peer).filter(Section::is_live_audio);
        let codecs = audio.flat_map(|section| section.formats());
        let offered = codecs
            .filter(|format| format.is_codec())
            .take(OFFERED_MAX)
            .map(|format| printable(&format.to_string()))
            .collect();
        NegotiationError { fault, offered, allowed: capabilities.codecs.clone() }
    }

    /// The code of a `Warning` header (RFC 3261 §20.43).
    pub fn warning_code(&self) -> u16 {
        match self.fault {
            NegotiationFault::NetworkAddress | NegotiationFault::HostName => 301,
            NegotiationFault::PlainNotAllowed
            | NegotiationFault::WebRtcNotAllowed
            | NegotiationFault::SdesNotAllowed
            | NegotiationFault::SdesInClear
            | NegotiationFault::NoCryptoSuite
            | NegotiationFault::UnknownProfile { .. } => 302,
            NegotiationFault::NoAudio => 304,
            NegotiationFault::NoCodec => 305,
            NegotiationFault::Missing(_) => 399,
        }
    }

    /// The value of a `Warning` header, such as
    /// `305 sidetone "offered G729/8000; allowed opus/48000/2, PCMU/8000"`.
    pub fn warning_text(&self) -> String {
        let text = match self.fault {
            NegotiationFault::NoCodec => lists(&self.offered, &self.allowed),
            _ => self.fault.to_string(),
        };
        // Nothing a peer wrote reaches here unescaped: see `printable`.
        format!("{} sidetone \"{text}\"", self.warning_code())
    }
}

impl NegotiationFault {
    /// A label for counters.
    pub fn label(&self) -> &'static str {
        match self {
            NegotiationFault::NoAudio => "no_audio",
            NegotiationFault::NoCodec => "no_codec",
            NegotiationFault::PlainNotAllowed => "plain_not_allowed",
            NegotiationFault::WebRtcNotAllowed => "webrtc_not_allowed",
            NegotiationFault::SdesNotAllowed => "sdes_not_allowed",
            NegotiationFault::SdesInClear => "sdes_in_clear",
            NegotiationFault::NoCryptoSuite => "no_crypto_suite",
            NegotiationFault::UnknownProfile { .. } => "unknown_profile",
            NegotiationFault::Missing(_) => "missing_attribute",
            NegotiationFault::HostName => "host_name",
            NegotiationFault::NetworkAddress => "network_address",
        }
    }
}

fn codecs_of(fault: &NegotiationFault, offered: &[String], allowed: &[Codec]) -> String {
    match fault {
        NegotiationFault::NoCodec => format!(": {}", lists(offered, allowed)),
        _ => String::new(),
    }
}

fn lists(offered: &[String], allowed: &[Codec]) -> String {
    format!("offered {}; allowed {}", list(offered), list(allowed))
}

fn list(items: &[impl fmt::Display]) -> String {
    match items {
        [] => "nothing".into(),
        items => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// A peer's text cut short, with what could end a quoted string or a line replaced.
fn printable(text: &str) -> String {
    let is_safe = |c: &char| c.is_ascii_graphic() && *c != '"' && *c != '\\';
    text.chars().take(CHARS_MAX).map(|c| if is_safe(&c) { c } else { '?' }).collect()
}

/// Most codecs of a peer that are listed.
const OFFERED_MAX: usize = 16;
/// Most characters of a peer's text that are repeated.
const CHARS_MAX: usize = 32;
