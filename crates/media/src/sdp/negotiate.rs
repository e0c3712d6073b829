//! Offer and answer (RFC 3264): what of a peer's description we can do.

use super::crypto::{self, Crypto, Security};
use super::format::{Format, Offered};
use super::section::{AddressFault, Profile, Section, Setup};
use super::{
    Direction, DtlsRole, DtmfFormat, Negotiated, NegotiationError, NegotiationFault,
    OpusParameters, RemoteMedia, RemoteWebRtc, SessionDescription,
};
use crate::codec::{CODECS, Codec};

/// What an endpoint may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The codecs allowed, the preferred one first. An offer's own order wins over ours.
    pub codecs: Vec<Codec>,
    /// The one of `codecs` that wins over any order, where the peer has it: that of the other leg,
    /// so that nothing need be transcoded.
    pub preferred: Option<Codec>,
    /// Whether DTMF may travel as RTP events (RFC 4733); without them it is tones in the audio.
    pub telephone_events: bool,
    /// Whether plain RTP is allowed, in the clear or with keys as `security` says.
    pub allow_plain: bool,
    /// Whether WebRTC (ICE and DTLS-SRTP) is allowed.
    pub allow_webrtc: bool,
    /// Whether plain RTP is protected by keys in the session description.
    pub security: Security,
    /// Whether the session description travels where nobody else reads it (TLS, WSS): keys are
    /// neither written nor accepted otherwise (RFC 4568 §8.1).
    pub is_confidential: bool,
}

impl Default for Capabilities {
    /// Every codec, plain RTP in the clear, and WebRTC.
    fn default() -> Self {
        Capabilities {
            codecs: CODECS.to_vec(),
            preferred: None,
            telephone_events: true,
            allow_plain: true,
            allow_webrtc: true,
            security: Security::None,
            is_confidential: false,
        }
    }
}

impl Capabilities {
    /// The codecs allowed, in the order in which they are offered.
    pub(super) fn ordered(&self) -> impl Iterator<Item = Codec> {
        let preferred = self.preferred.filter(|preferred| self.codecs.contains(preferred));
        let others = self.codecs.iter().copied().filter(move |codec| Some(*codec) != preferred);
        preferred.into_iter().chain(others)
    }

    /// Whether an offer can be made: one of plain RTP with keys only cannot be where others would
    /// read them (RFC 4568 §8.1).
    pub fn can_offer(&self) -> bool {
        self.allow_webrtc || self.security != Security::Required || self.is_confidential
    }

    /// Whether keys may be written and accepted.
    pub(super) fn has_keys(&self) -> bool {
        self.security != Security::None && self.is_confidential
    }
}

/// The codecs of an offer's first live audio section that are allowed, in the order of the offer.
pub fn offered_codecs(offer: &SessionDescription, capabilities: &Capabilities) -> Vec<Codec> {
    let Some(section) = Section::all(offer).find(Section::is_live_audio) else { return Vec::new() };
    let mut codecs = Vec::new();
    for format in section.formats() {
        let codec = capabilities.codecs.iter().find(|codec| format.is(**codec));
        codecs.extend(codec.filter(|codec| !codecs.contains(*codec)));
    }
    codecs
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
        match negotiate_section(&section, capabilities, None) {
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
    agree_on_answer(answer, capabilities, &Offered::new(None, capabilities))
}

impl Negotiated {
    /// Agrees on what a peer answered to an offer made by [`Negotiated::offer`] of this, given again
    /// as `capabilities`.
    ///
    /// # Errors
    /// The peer refused the audio section, or answered with what was not offered.
    pub fn negotiate_answer(
        &self,
        answer: &SessionDescription,
        capabilities: &Capabilities,
    ) -> Result<Negotiated, NegotiationError> {
        agree_on_answer(answer, capabilities, &Offered::new(Some(self), capabilities))
    }
}

/// Our offers have one live section, so the live one of an answer is the answer to it.
fn agree_on_answer(
    answer: &SessionDescription,
    capabilities: &Capabilities,
    offered: &Offered,
) -> Result<Negotiated, NegotiationError> {
    let live = Section::all(answer).enumerate().find(|(_, section)| section.is_live_audio());
    live.ok_or(NegotiationFault::NoAudio)
        .and_then(|(index, section)| {
            let agreed = negotiate_section(&section, capabilities, Some(offered))?;
            Ok(Negotiated { sections: refusals(answer, index), ..agreed })
        })
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
    /// Its first format, if the transport of this section carries the accepted one: who offered that
    /// cannot take its refusal (RFC 9143 §7.3.1).
    pub(super) carries: Option<MappedFormat>,
}

/// A format of a section, and the value of its `a=rtpmap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MappedFormat {
    pub(super) format: String,
    pub(super) rtpmap: Option<String>,
}

fn refusals(offer: &SessionDescription, accepted: usize) -> Vec<OfferedSection> {
    let accepted_section = Section::all(offer).nth(accepted);
    let is_webrtc = |section: &Section<'_>| section.profile() == Profile::DtlsSrtp;
    let carrier = accepted_section.filter(is_webrtc).and_then(|section| section.carrier());
    let carrier = carrier.filter(is_webrtc).and_then(|carrier| {
        let is_it = |section: &Section<'_>| section.mid() == carrier.mid() && section.port() != 0;
        Section::all(offer).position(|section| is_it(&section))
    });
    let offered = |(index, section): (usize, Section<'_>)| {
        let name = &section.media().media_name;
        OfferedSection {
            media: name.media.clone(),
            protos: name.protos.clone(),
            formats: name.formats.clone(),
            mid: section.mid().map(str::to_owned),
            is_bundled: section.is_bundled(),
            is_accepted: index == accepted,
            carries: (carrier == Some(index)).then(|| section.first_format()).flatten(),
        }
    };
    Section::all(offer).enumerate().map(offered).collect()
}

/// Agrees on a section of the peer's: of its offer, or of its answer to what we `offered`.
fn negotiate_section(
    section: &Section<'_>,
    capabilities: &Capabilities,
    offered: Option<&Offered>,
) -> Result<Negotiated, NegotiationFault> {
    let (remote, crypto) = remote_media(section, capabilities, offered)?;
    let formats = section.formats();
    let (codec, payload_type) =
        choose_codec(&formats, capabilities).ok_or(NegotiationFault::NoCodec)?;
    let dtmf = choose_dtmf(&formats, codec).filter(|_| capabilities.telephone_events);
    // What answers an offer has the offer's numbers; an answer to ours may have others.
    let ours = offered.and_then(|offered| offered.payload_type(codec));
    let others = offered.into_iter().flat_map(|offered| &offered.codecs);
    let local_others = others.filter(|(other, _)| *other != codec).copied().collect();
    let local_dtmf = dtmf.map(|theirs| {
        offered.and_then(|offered| offered.dtmf(theirs.clock_rate_hz)).unwrap_or(theirs)
    });
    let local_dtmf_other = dtmf.and_then(|theirs| {
        let is_kept = |format: &&Format| {
            format.is_telephone_event() && format.clock_rate_hz != theirs.clock_rate_hz
        };
        offered?.dtmf(formats.iter().find(is_kept)?.clock_rate_hz)
    });
    let is_comfort_noise = |format: &Format| format.is_comfort_noise();
    Ok(Negotiated {
        codec,
        payload_type,
        local_payload_type: ours.unwrap_or(payload_type),
        local_others,
        dtmf,
        local_dtmf,
        local_dtmf_other,
        comfort_noise: codec.clock_rate_hz() == 8000 && formats.iter().any(is_comfort_noise),
        opus: section.fmtp(payload_type).map(OpusParameters::parse).unwrap_or_default(),
        direction: remote_direction(section, &remote).reversed(),
        remote,
        crypto,
        packet_time_ms: section.milliseconds("ptime"),
        packet_time_ms_max: section.milliseconds("maxptime"),
        is_answer: offered.is_some(),
        sections: Vec::new(),
    })
}

/// The preferred codec, or else the peer's first one that is allowed.
fn choose_codec(formats: &[Format], capabilities: &Capabilities) -> Option<(Codec, u8)> {
    let allowed = |format: &Format| {
        let codec = capabilities.codecs.iter().find(|codec| format.is(**codec))?;
        Some((*codec, format.payload_type))
    };
    let mut codecs = formats.iter().filter_map(allowed);
    let preferred = codecs.clone().find(|(codec, _)| Some(*codec) == capabilities.preferred);
    preferred.or_else(|| codecs.next())
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
    offered: Option<&Offered>,
) -> Result<(RemoteMedia, Option<Crypto>), NegotiationFault> {
    match section.profile() {
        Profile::Plain | Profile::SdesSrtp if !capabilities.allow_plain => {
            Err(NegotiationFault::PlainNotAllowed)
        }
        Profile::Plain => {
            let crypto = usable_crypto(section, capabilities, offered);
            // Keys beside RTP/AVP are an offer of SRTP to those who know of it.
            if crypto.is_none() && capabilities.security == Security::Required {
                return Err(NegotiationFault::PlainNotAllowed);
            }
            // Who answers with a key sends SRTP, and not what we would take it for.
            let is_answer_to_keys = offered.is_some() && capabilities.has_keys();
            if crypto.is_none() && is_answer_to_keys && section.has_crypto() {
                return Err(NegotiationFault::NoCryptoSuite);
            }
            Ok((plain(section)?, crypto))
        }
        Profile::SdesSrtp => {
            let crypto = sdes(section, capabilities, offered)?;
            Ok((plain(section)?, Some(crypto)))
        }
        Profile::DtlsSrtp if capabilities.allow_webrtc => {
            Ok((RemoteMedia::WebRtc(webrtc(section)?), None))
        }
        Profile::DtlsSrtp => Err(NegotiationFault::WebRtcNotAllowed),
        Profile::Unknown => Err(NegotiationFault::UnknownProfile { profile: section.proto() }),
    }
}

fn usable_crypto(
    section: &Section<'_>,
    capabilities: &Capabilities,
    offered: Option<&Offered>,
) -> Option<Crypto> {
    if !capabilities.has_keys() {
        return None;
    }
    match offered {
        Some(offered) => crypto::answered(section, offered),
        None => crypto::first_usable(section),
    }
}

fn sdes(
    section: &Section<'_>,
    capabilities: &Capabilities,
    offered: Option<&Offered>,
) -> Result<Crypto, NegotiationFault> {
    if !section.has_crypto() {
        return Err(NegotiationFault::Missing("fingerprint or crypto"));
    }
    if capabilities.security == Security::None {
        return Err(NegotiationFault::SdesNotAllowed);
    }
    if !capabilities.is_confidential {
        return Err(NegotiationFault::SdesInClear);
    }
    usable_crypto(section, capabilities, offered).ok_or(NegotiationFault::NoCryptoSuite)
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
        let value = section.transport_value(key).filter(is_valid);
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
    let setup = section.setup();
    let leaves_role_open = setup == Some(Setup::ActPass);
    let role = match setup {
        Some(Setup::Passive) => DtlsRole::Active,
        // RFC 4145 §4: without the attribute an offerer is active.
        Some(Setup::Active | Setup::ActPass) | None => DtlsRole::Passive,
    };
    let (candidates, is_lite) = (section.candidates(), section.is_ice_lite());
    Ok(RemoteWebRtc { ufrag, pwd, fingerprints, role, leaves_role_open, candidates, is_lite })
}

/// Clock rates of DTMF events that we read and write.
const DTMF_CLOCK_RATES_HZ: [u32; 2] = [8000, 48000];
