//! Writes our answers and offers.

use std::fmt::{Display, Write as _};
use std::net::{IpAddr, SocketAddr};

use rtc::sdp::MediaDescription;
use rtc::sdp::SessionDescription as Description;
use rtc::sdp::description::common::{Address, Attribute, ConnectionInformation};
use rtc::sdp::description::media::{MediaName, RangedPort};
use rtc::sdp::description::session::Origin;

use super::candidate::host_candidate;
use super::crypto::{self, Crypto, Security};
use super::format::Offered;
use super::negotiate::{MappedFormat, OfferedSection};
use super::reader::empty;
use super::{
    Capabilities, Direction, DtlsRole, DtmfFormat, LocalDescription, LocalIce, Negotiated,
    RemoteMedia,
};
use crate::codec::{Codec, FRAME_MS};
use crate::srtp::SdesKey;

impl Negotiated {
    /// Writes our answer: every section of the offer in its place, all but one refused.
    ///
    /// A WebRTC leg needs `local.ice` and `local.fingerprint`. The direction is `local.direction`
    /// as far as the offer allows it.
    pub fn answer(&self, local: &LocalDescription) -> String {
        self.describe(local, self.setup(), |section| self.accepted(section, local))
    }

    /// Writes an offer of ours within this session: every section in its place (RFC 3264 §8), all
    /// but one switched off, with the codecs of `capabilities` and the payload types that the session
    /// has. Keys in the description are offered if the session has them.
    pub fn offer(&self, local: &LocalDescription, capabilities: &Capabilities) -> String {
        let offered = Offered::new(Some(self), capabilities);
        self.describe(local, "actpass", |section| {
            let mut media = audio(local, section.protos.clone(), &offered.codecs, &offered.dtmf);
            media.attributes.push(flag(local.direction.as_str()));
            if let Some(mid) = &section.mid {
                media.attributes.push(value("mid", mid));
            }
            self.push_transport(&mut media.attributes, local, "actpass", local.direction);
            let own = |crypto: &Crypto| {
                self.crypto.as_ref().is_some_and(|c| c.key.profile() == crypto.key.profile())
            };
            push_crypto(&mut media.attributes, crypto::offered(local).filter(own));
            media
        })
    }

    /// Our part in the DTLS handshake, as an answer says it.
    fn setup(&self) -> &'static str {
        match &self.remote {
            RemoteMedia::WebRtc(remote) if remote.role == DtlsRole::Active => "active",
            RemoteMedia::WebRtc(_) | RemoteMedia::Plain { .. } => "passive",
        }
    }

    fn describe(
        &self,
        local: &LocalDescription,
        setup: &str,
        accepted: impl Fn(&OfferedSection) -> MediaDescription,
    ) -> String {
        let mut description = session(local);
        if let RemoteMedia::WebRtc(_) = self.remote {
            description.attributes.push(flag("ice-lite"));
            let lives = |s: &&OfferedSection| s.is_accepted && s.is_bundled || s.carries.is_some();
            let mids =
                self.sections.iter().filter(lives).filter_map(|section| section.mid.as_deref());
            let mids: Vec<&str> = mids.collect();
            if !mids.is_empty() {
                let mids = mids.join(" ");
                description.attributes.push(value("group", format_args!("BUNDLE {mids}")));
            }
        }
        let sections = self.sections.iter().map(|section| match &section.carries {
            _ if section.is_accepted => accepted(section),
            Some(format) => self.carrying(section, format, local, setup),
            None => refused(section),
        });
        description.media_descriptions = sections.collect();
        text(&description)
    }

    /// The direction that [`Negotiated::answer`] writes for `local`.
    pub fn answered_direction(&self, local: Direction) -> Direction {
        local.narrowed(self.direction)
    }

    fn accepted(&self, section: &OfferedSection, local: &LocalDescription) -> MediaDescription {
        let formats = [(self.codec, self.local_payload_type)];
        let events: Vec<DtmfFormat> = self.local_dtmf.into_iter().collect();
        let mut media = audio(local, section.protos.clone(), &formats, &events);
        if self.comfort_noise {
            media.media_name.formats.push(COMFORT_NOISE.to_owned());
        }
        let direction = self.answered_direction(local.direction);
        let attributes = &mut media.attributes;
        attributes.push(flag(direction.as_str()));
        if let Some(mid) = &section.mid {
            attributes.push(value("mid", mid));
        }
        self.push_transport(attributes, local, self.setup(), direction);
        if let Some(Crypto { tag, key, .. }) = &self.crypto {
            let own = |own: &&SdesKey| own.profile() == key.profile();
            let own = local.sdes.iter().find(own).cloned();
            let answered = own.map(|key| Crypto { tag: *tag, key, local_key: None });
            push_crypto(attributes, answered);
        }
        media
    }

    /// A section without media whose transport is that of the bundle.
    fn carrying(
        &self,
        section: &OfferedSection,
        MappedFormat { format, rtpmap }: &MappedFormat,
        local: &LocalDescription,
        setup: &str,
    ) -> MediaDescription {
        let mut media = refused(section);
        media.media_name.port.value = local.rtp_port as isize;
        media.media_name.formats = vec![format.clone()];
        media.attributes.extend(rtpmap.as_ref().map(|rtpmap| value("rtpmap", rtpmap)));
        self.push_transport(&mut media.attributes, local, setup, Direction::Inactive);
        media
    }

    fn push_transport(
        &self,
        attributes: &mut Vec<Attribute>,
        local: &LocalDescription,
        setup: &str,
        direction: Direction,
    ) {
        match &self.remote {
            RemoteMedia::Plain { rtcp_mux: true, .. } => attributes.push(flag("rtcp-mux")),
            RemoteMedia::Plain { rtcp_mux: false, .. } => attributes.extend(rtcp(local)),
            RemoteMedia::WebRtc(_) => push_webrtc(attributes, local, setup, direction),
        }
    }
}

/// Writes the first offer of one audio stream: WebRTC if `local.ice` is given, plain RTP otherwise,
/// with keys as `capabilities.security` says.
pub fn offer(local: &LocalDescription, capabilities: &Capabilities) -> String {
    let mut description = session(local);
    let offered = Offered::new(None, capabilities);
    let is_webrtc = local.ice.is_some();
    let proto = match capabilities.security {
        _ if is_webrtc => "UDP/TLS/RTP/SAVPF",
        Security::None | Security::Optional => "RTP/AVP",
        Security::Required => "RTP/SAVP",
    };
    let protos = proto.split('/').map(str::to_owned).collect();
    let mut media = audio(local, protos, &offered.codecs, &offered.dtmf);
    media.attributes.push(flag(local.direction.as_str()));
    if is_webrtc {
        description.attributes.push(flag("ice-lite"));
        description.attributes.push(value("group", "BUNDLE 0"));
        media.attributes.push(value("mid", "0"));
        push_webrtc(&mut media.attributes, local, "actpass", local.direction);
    } else {
        media.attributes.extend(rtcp(local));
        if capabilities.has_keys() {
            push_crypto(&mut media.attributes, crypto::offered(local));
        }
    }
    description.media_descriptions.push(media);
    text(&description)
}

fn text(description: &Description) -> String {
    let mut text = String::with_capacity(TEXT_BYTES);
    // A string refuses nothing.
    let _ = write!(text, "{description}");
    text.shrink_to_fit();
    text
}

fn session(local: &LocalDescription) -> Description {
    let address = local.address.to_canonical();
    Description {
        origin: Origin {
            username: "sidetone".into(),
            session_id: local.session_id,
            session_version: local.session_version,
            network_type: "IN".into(),
            address_type: address_type(address).into(),
            unicast_address: address.to_string(),
        },
        connection_information: Some(ConnectionInformation {
            network_type: "IN".into(),
            address_type: address_type(address).into(),
            address: Some(Address { address: address.to_string(), ttl: None, range: None }),
        }),
        ..empty()
    }
}

fn address_type(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IP4",
        IpAddr::V6(_) => "IP6",
    }
}

/// An audio section with its formats, and without what depends on the transport.
fn audio(
    local: &LocalDescription,
    protos: Vec<String>,
    codecs: &[(Codec, u8)],
    events: &[DtmfFormat],
) -> MediaDescription {
    let mut media = MediaDescription {
        media_name: MediaName {
            media: "audio".into(),
            port: RangedPort { value: local.rtp_port as isize, range: None },
            protos,
            formats: Vec::new(),
        },
        ..MediaDescription::default()
    };
    for (codec, payload_type) in codecs {
        media.media_name.formats.push(payload_type.to_string());
        media.attributes.push(value("rtpmap", format_args!("{payload_type} {codec}")));
        if let Some(fmtp) = codec.descriptor().fmtp {
            let mut fmtp = format!("{payload_type} {fmtp}");
            if let (Codec::Opus, Some(rate_hz)) = (codec, local.opus_rate_hz_max) {
                fmtp += &format!(";maxplaybackrate={rate_hz}");
            }
            media.attributes.push(value("fmtp", fmtp));
        }
    }
    for DtmfFormat { payload_type, clock_rate_hz } in events {
        media.media_name.formats.push(payload_type.to_string());
        let event = format_args!("{payload_type} telephone-event/{clock_rate_hz}");
        media.attributes.push(value("rtpmap", event));
        media.attributes.push(value("fmtp", format_args!("{payload_type} 0-15")));
    }
    media.attributes.push(value("ptime", FRAME_MS));
    media
}

fn push_webrtc(
    attributes: &mut Vec<Attribute>,
    local: &LocalDescription,
    setup: &str,
    direction: Direction,
) {
    attributes.push(flag("rtcp-mux"));
    if let Some(ice) = &local.ice {
        push_ice(attributes, ice, SocketAddr::new(local.address.to_canonical(), local.rtp_port));
    }
    if let Some(fingerprint) = &local.fingerprint {
        attributes.push(value("fingerprint", fingerprint));
    }
    attributes.push(value("setup", setup));
    if direction.sends() {
        let (ssrc, cname) = (local.ssrc, &local.cname);
        attributes.push(value("msid", format_args!("{MEDIA_STREAM} {MEDIA_TRACK}")));
        attributes.push(value("ssrc", format_args!("{ssrc} cname:{cname}")));
        let msid = format_args!("{ssrc} msid:{MEDIA_STREAM} {MEDIA_TRACK}");
        attributes.push(value("ssrc", msid));
    }
}

fn push_crypto(attributes: &mut Vec<Attribute>, keys: impl IntoIterator<Item = Crypto>) {
    attributes.extend(keys.into_iter().map(|crypto| value("crypto", crypto)));
}

/// Our ICE attributes; without a candidate `default` is the one.
fn push_ice(attributes: &mut Vec<Attribute>, ice: &LocalIce, default: SocketAddr) {
    attributes.push(value("ice-ufrag", &ice.ufrag));
    attributes.push(value("ice-pwd", &ice.pwd));
    let candidates: &[SocketAddr] = match ice.candidates.as_slice() {
        [] => &[default],
        candidates => candidates,
    };
    for (index, address) in candidates.iter().enumerate() {
        attributes.push(value("candidate", host_candidate(*address, index)));
    }
    attributes.push(flag("end-of-candidates"));
}

/// `a=rtcp` where the port of RTCP cannot be guessed (RFC 3605).
fn rtcp(local: &LocalDescription) -> Option<Attribute> {
    let is_next = local.rtp_port.checked_add(1) == Some(local.rtcp_port);
    (!is_next && local.rtcp_port != 0).then(|| value("rtcp", local.rtcp_port))
}

/// A refused section: port 0 and nothing else but its name (RFC 3264 §6, RFC 8829 §5.3.1).
fn refused(section: &OfferedSection) -> MediaDescription {
    let mid = section.mid.as_ref().map(|mid| value("mid", mid));
    let inactive = flag(Direction::Inactive.as_str());
    MediaDescription {
        media_name: MediaName {
            media: section.media.clone(),
            port: RangedPort { value: 0, range: None },
            protos: section.protos.clone(),
            formats: section.formats.clone(),
        },
        attributes: mid.into_iter().chain([inactive]).collect(),
        ..MediaDescription::default()
    }
}

fn flag(key: &str) -> Attribute {
    Attribute::new(key.to_owned(), None)
}

fn value(key: &str, value: impl Display) -> Attribute {
    Attribute::new(key.to_owned(), Some(value.to_string()))
}

/// The stream that a browser hands to its page; one per leg (RFC 8830).
const MEDIA_STREAM: &str = "sidetone";
/// The audio track of [`MEDIA_STREAM`].
const MEDIA_TRACK: &str = "audio";
/// More than a description takes as a rule, so that it is not moved while it grows.
const TEXT_BYTES: usize = 2048;
// RFC 3389 §4: a static payload type, which needs no `a=rtpmap`.
const COMFORT_NOISE: &str = "13";
