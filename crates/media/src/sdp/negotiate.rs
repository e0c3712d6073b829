//! Offer and answer (RFC 3264): what of a peer's description we can do.

use super::format::Format;
use super::section::{AddressFault, Profile, Section, Setup};
use super::{
    Direction, DtlsRole, DtmfFormat, Negotiated, NegotiationError, NegotiationFault, RemoteMedia,
    RemoteWebRtc, SessionDescription,
};
use crate::codec::{CODECS, Codec};

/// What an endpoint may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The codecs allowed, the preferred one first. An offer's own order wins over ours.
    pub codecs: Vec<Codec>,
    /// Whether RTP in the clear is allowed.
    pub allow_plain: bool,
    /// Whether WebRTC (ICE and DTLS-SRTP) is allowed.
    pub allow_webrtc: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Capabilities { codecs: CODECS.to_vec(), allow_plain: true, allow_webrtc: true }
    }
}

/// Agrees on the first audio section of an offer that we can do; the answer refuses the others.
///
/// # Errors
/// No audio section can be done; the fault is that of the first one.
pub fn negotiate(
    offer: &SessionDescription,
    capabilities: &Capabilities,
) -> Result<Negotiated, NegotiationError> {
    let mut first_fault = None;
    for (index, section) in Section::all(offer).enumerate() {
        if !section.is_live_audio() {
            continue;
        }
        match negotiate_section(&section, capabilities) {
            Ok(agreed) => return Ok(Negotiated { sections: refusals(offer, index), ..agreed }),
            Err(fault) => {
                first_fault.get_or_insert(fault);
            }
        }
    }
    let fault = first_fault.unwrap_or(NegotiationFault::NoAudio);
    Err(NegotiationError::new(fault, offer, capabilities))
}

/// Agrees on what a peer answered to an offer made by [`offer`](super::offer), given again as
/// `capabilities`.
///
/// # Errors
/// The peer refused the audio section, or answered with what was not offered.
pub fn negotiate_answer(
    answer: &SessionDescription,
    capabilities: &Capabilities,
) -> Result<Negotiated, NegotiationError> {
    // Our offers have one section, so an answer's first one is the answer to it.
    let section = Section::all(answer).next().filter(Section::is_live_audio);
    section
        .ok_or(NegotiationFault::NoAudio)
        .and_then(|section| negotiate_section(&section, capabilities))
        .map(|agreed| Negotiated { sections: refusals(answer, 0), ..agreed })
        .map_err(|fault| NegotiationError::new(fault, answer, capabilities))
}

/// What became of one section of an offer, in the order of the offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfferedSection {
    pub(super) media: String,
    pub(super) protos: Vec<String>,
    pub(super) formats: Vec<String>,
    pub(super) mid: Option<String>,
    pub(super) is_bundled: bool,
    pub(super) is_accepted: bool,
}

fn refusals(offer: &SessionDescription, accepted: usize) -> Vec<OfferedSection> {
    let offered = |(index, section): (usize, Section<'_>)| {
        let name = &section.media().media_name;
        OfferedSection {
            media: name.media.clone(),
            protos: name.protos.clone(),
            formats: name.formats.clone(),
            mid: section.mid().map(str::to_owned),
            is_bundled: section.is_bundled(),
            is_accepted: index == accepted,
        }
    };
    Section::all(offer).enumerate().map(offered).collect()
}

fn negotiate_section(
    section: &Section<'_>,
    capabilities: &Capabilities,
) -> Result<Negotiated, NegotiationFault> {
    let remote = remote_media(section, capabilities)?;
    let formats = section.formats();
    let (codec, payload_type) =
        choose_codec(&formats, capabilities).ok_or(NegotiationFault::NoCodec)?;
    Ok(Negotiated {
        codec,
        payload_type,
        dtmf: choose_dtmf(&formats, codec),
        direction: remote_direction(section, &remote).reversed(),
        remote,
        packet_time_ms: section.milliseconds("ptime"),
        packet_time_ms_max: section.milliseconds("maxptime"),
        sections: Vec::new(),
    })
}

/// The offerer's first codec that is allowed.
fn choose_codec(formats: &[Format], capabilities: &Capabilities) -> Option<(Codec, u8)> {
    formats.iter().find_map(|format| {
        let codec = capabilities.codecs.iter().find(|codec| format.is(**codec))?;
        Some((*codec, format.payload_type))
    })
}

/// The events at the clock rate of the codec (RFC 4733 §2.1), or else the first ones: some offer
/// Opus with events at 8000 Hz only.
fn choose_dtmf(formats: &[Format], codec: Codec) -> Option<DtmfFormat> {
    let events = || formats.iter().filter(|format| format.is_telephone_event());
    events()
        .find(|format| format.clock_rate_hz == codec.clock_rate_hz())
        .or_else(|| events().find(|format| DTMF_CLOCK_RATES_HZ.contains(&format.clock_rate_hz)))
        .map(|format| DtmfFormat {
            payload_type: format.payload_type,
            clock_rate_hz: format.clock_rate_hz,
        })
}

/// What the peer does; an unspecified address is a hold of old (RFC 3264 §8.4).
fn remote_direction(section: &Section<'_>, remote: &RemoteMedia) -> Direction {
    let is_held = matches!(remote, RemoteMedia::Plain { rtp, .. } if rtp.ip().is_unspecified());
    let direction = section.direction();
    if is_held { direction.narrowed(Direction::SendOnly) } else { direction }
}

fn remote_media(
    section: &Section<'_>,
    capabilities: &Capabilities,
) -> Result<RemoteMedia, NegotiationFault> {
    match section.profile() {
        Profile::Plain if capabilities.allow_plain => plain(section),
        Profile::DtlsSrtp if capabilities.allow_webrtc => webrtc(section).map(RemoteMedia::WebRtc),
        Profile::Plain => Err(NegotiationFault::PlainNotAllowed),
        Profile::DtlsSrtp => Err(NegotiationFault::WebRtcNotAllowed),
        Profile::SdesSrtp if section.value("crypto").is_some() => Err(NegotiationFault::SdesOnly),
        Profile::SdesSrtp => Err(NegotiationFault::Missing("fingerprint")),
        Profile::Unknown => Err(NegotiationFault::UnknownProfile { profile: section.proto() }),
    }
}

fn plain(section: &Section<'_>) -> Result<RemoteMedia, NegotiationFault> {
    let rtp = section.rtp_address().map_err(|fault| match fault {
        AddressFault::Missing => NegotiationFault::Missing("c="),
        AddressFault::HostName => NegotiationFault::HostName,
        AddressFault::Unusable => NegotiationFault::NetworkAddress,
    })?;
    let rtcp_mux = section.has_rtcp_mux();
    let rtcp = if rtcp_mux { rtp } else { section.rtcp_address(rtp) };
    Ok(RemoteMedia::Plain { rtp, rtcp, rtcp_mux })
}

fn webrtc(section: &Section<'_>) -> Result<RemoteWebRtc, NegotiationFault> {
    let ice = |key, lengths: std::ops::RangeInclusive<usize>| {
        let is_ice_char = |c: u8| c.is_ascii_alphanumeric() || c == b'+' || c == b'/';
        let is_valid = |text: &&str| {
            // Some peers write `-` and `_`, which harm no one.
            lengths.contains(&text.len())
                && text.bytes().all(|c| is_ice_char(c) || c == b'-' || c == b'_' || c == b'=')
        };
        let value = section.value(key).filter(is_valid);
        value.map(str::to_owned).ok_or(NegotiationFault::Missing(key))
    };
    let ufrag = ice("ice-ufrag", 4..=256)?; // RFC 8839 §5.4
    let pwd = ice("ice-pwd", 22..=256)?; // RFC 8839 §5.4
    let fingerprints = section.fingerprints();
    if fingerprints.is_empty() {
        return Err(NegotiationFault::Missing("fingerprint"));
    }
    if !section.has_rtcp_mux() {
        return Err(NegotiationFault::Missing("rtcp-mux"));
    }
    let role = match section.setup() {
        Some(Setup::Passive) => DtlsRole::Active,
        // RFC 4145 §4: without the attribute an offerer is active.
        Some(Setup::Active | Setup::ActPass) | None => DtlsRole::Passive,
    };
    let (candidates, is_lite) = (section.candidates(), section.is_ice_lite());
    Ok(RemoteWebRtc { ufrag, pwd, fingerprints, role, candidates, is_lite })
}

/// Clock rates of DTMF events that we read and write.
const DTMF_CLOCK_RATES_HZ: [u32; 2] = [8000, 48000];
