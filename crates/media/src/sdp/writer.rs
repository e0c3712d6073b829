//! Writes our answers and offers.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use rtc::sdp::MediaDescription;
use rtc::sdp::SessionDescription as Description;
use rtc::sdp::description::common::{Address, Attribute, ConnectionInformation};
use rtc::sdp::description::media::{MediaName, RangedPort};
use rtc::sdp::description::session::Origin;

use super::candidate::host_candidate;
use super::negotiate::OfferedSection;
use super::reader::empty;
use super::{
    Capabilities, Direction, DtlsRole, DtmfFormat, LocalDescription, LocalIce, Negotiated,
    RemoteMedia,
};
use crate::codec::{Codec, FRAME_MS};

impl Negotiated {
    /// Writes our answer: every section of the offer in its place, all but one refused.
    ///
    /// A WebRTC leg needs `local.ice` and `local.fingerprint`. The direction is `local.direction`
    /// as far as the offer allows it.
    pub fn answer(&self, local: &LocalDescription) -> String {
        let mut description = session(local);
        let accepted = self.sections.iter().find(|section| section.is_accepted);
        if let RemoteMedia::WebRtc(_) = self.remote {
            description.attributes.push(flag("ice-lite"));
            let bundled = accepted.filter(|section| section.is_bundled);
            if let Some(mid) = bundled.and_then(|section| section.mid.as_ref()) {
                description.attributes.push(value("group", format_args!("BUNDLE {mid}")));
            }
        }
        let sections = self.sections.iter().map(|section| match section.is_accepted {
            true => self.accepted(section, local),
            false => refused(section),
        });
        description.media_descriptions = sections.collect();
        description.marshal()
    }

    /// The direction that [`Negotiated::answer`] writes for `local`.
    pub fn answered_direction(&self, local: Direction) -> Direction {
        local.narrowed(self.direction)
    }

    fn accepted(&self, section: &OfferedSection, local: &LocalDescription) -> MediaDescription {
        let formats = [(self.codec, self.payload_type)];
        let events: Vec<DtmfFormat> = self.dtmf.into_iter().collect();
        let mut media = audio(local, section.protos.clone(), &formats, &events);
        let direction = self.answered_direction(local.direction);
        let attributes = &mut media.attributes;
        attributes.push(flag(direction.as_str()));
        if let Some(mid) = &section.mid {
            attributes.push(value("mid", mid));
        }
        match &self.remote {
            RemoteMedia::Plain { rtcp_mux: true, .. } => attributes.push(flag("rtcp-mux")),
            RemoteMedia::Plain { rtcp_mux: false, .. } => attributes.extend(rtcp(local)),
            RemoteMedia::WebRtc(remote) => {
                let setup = match remote.role {
                    DtlsRole::Passive => "passive",
                    DtlsRole::Active => "active",
                };
                push_webrtc(attributes, local, setup, direction);
            }
        }
        media
    }
}

/// Writes an offer of one audio stream, for an INVITE without one or a re-INVITE of ours: WebRTC if
/// `local.ice` is given, plain RTP otherwise.
pub fn offer(local: &LocalDescription, capabilities: &Capabilities) -> String {
    let mut description = session(local);
    let formats: Vec<(Codec, u8)> = capabilities
        .codecs
        .iter()
        .map(|codec| (*codec, codec.descriptor().offered_payload_type))
        .collect();
    let is_webrtc = local.ice.is_some();
    let proto = if is_webrtc { "UDP/TLS/RTP/SAVPF" } else { "RTP/AVP" };
    let protos = proto.split('/').map(str::to_owned).collect();
    let mut media = audio(local, protos, &formats, &offered_events(&capabilities.codecs));
    media.attributes.push(flag(local.direction.as_str()));
    if is_webrtc {
        description.attributes.push(flag("ice-lite"));
        description.attributes.push(value("group", "BUNDLE 0"));
        media.attributes.push(value("mid", "0"));
        push_webrtc(&mut media.attributes, local, "actpass", local.direction);
    } else {
        media.attributes.extend(rtcp(local));
    }
    description.media_descriptions.push(media);
    description.marshal()
}

/// DTMF events at every clock rate of the codecs offered (RFC 4733 §2.1).
fn offered_events(codecs: &[Codec]) -> Vec<DtmfFormat> {
    DTMF_OFFERED
        .into_iter()
        .filter(|format| codecs.iter().any(|codec| codec.clock_rate_hz() == format.clock_rate_hz))
        .collect()
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
            media.attributes.push(value("fmtp", format_args!("{payload_type} {fmtp}")));
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
/// DTMF events as we offer them.
const DTMF_OFFERED: [DtmfFormat; 2] = [
    DtmfFormat { payload_type: 110, clock_rate_hz: 48000 },
    DtmfFormat { payload_type: 101, clock_rate_hz: 8000 },
];
