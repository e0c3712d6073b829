//! A typed view of one media section.

use std::net::{IpAddr, SocketAddr};

use rtc::sdp::MediaDescription;
use rtc::sdp::description::common::{Attribute, ConnectionInformation};

use super::format::{Format, PayloadTypes};
use super::negotiate::MappedFormat;
use super::{Candidate, Direction, Fingerprint, SessionDescription};

/// One media section, with the session's lines that apply to it.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    session: &'a SessionDescription,
    media: &'a MediaDescription,
}

/// How media is transported (RFC 8866 §5.14, `proto`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// RTP in the clear: `RTP/AVP`, `RTP/AVPF`.
    Plain,
    /// SRTP with keys from DTLS: `UDP/TLS/RTP/SAVP`, `UDP/TLS/RTP/SAVPF`, and without the prefix
    /// where a fingerprint is given (old browsers).
    DtlsSrtp,
    /// SRTP with keys in the description (RFC 4568): `RTP/SAVP`, `RTP/SAVPF`.
    SdesSrtp,
    /// Anything else.
    Unknown,
}

/// `a=setup` (RFC 4145 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    Active,
    Passive,
    ActPass,
}

/// Why a connection address cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressFault {
    Missing,
    HostName,
    Unusable,
}

impl<'a> Section<'a> {
    /// All sections of a description, in order.
    pub(super) fn all(session: &'a SessionDescription) -> impl Iterator<Item = Section<'a>> {
        session.inner.media_descriptions.iter().map(move |media| Section { session, media })
    }

    pub(super) fn media(&self) -> &'a MediaDescription {
        self.media
    }

    /// Whether it is audio that is not switched off; a port of 0 switches it off (RFC 3264 §6), unless
    /// another section of its bundle is to carry it (RFC 9143 §6).
    pub(super) fn is_live_audio(&self) -> bool {
        let is_carried = || self.media.has_attribute("bundle-only") && self.is_bundled();
        self.media.media_name.media.eq_ignore_ascii_case("audio")
            && (self.port() != 0 || is_carried())
    }

    pub(super) fn port(&self) -> u16 {
        u16::try_from(self.media.media_name.port.value).unwrap_or(0)
    }

    /// The `proto` field as it was written.
    pub(super) fn proto(&self) -> String {
        self.media.media_name.protos.join("/")
    }

    pub(super) fn profile(&self) -> Profile {
        match self.proto().to_ascii_uppercase().as_str() {
            "RTP/AVP" | "RTP/AVPF" => Profile::Plain,
            "UDP/TLS/RTP/SAVP" | "UDP/TLS/RTP/SAVPF" => Profile::DtlsSrtp,
            "RTP/SAVP" | "RTP/SAVPF" if self.transport_value("fingerprint").is_some() => {
                Profile::DtlsSrtp
            }
            "RTP/SAVP" | "RTP/SAVPF" => Profile::SdesSrtp,
            _ => Profile::Unknown,
        }
    }

    /// The formats in the order of the `m=` line; those that say nothing are left out, and so is
    /// every second one with the same payload type.
    pub(super) fn formats(&self) -> Vec<Format> {
        // Thousands of numbers and mappings fit a description; each number is looked at once.
        let (mut is_mapped, mut is_known) = (PayloadTypes::default(), PayloadTypes::default());
        let mapped = self.media_values("rtpmap").filter_map(Format::parse);
        let mapped: Vec<Format> =
            mapped.filter(|format| is_mapped.insert(format.payload_type)).collect();
        let has_rtcp_mux = self.has_rtcp_mux();
        let numbers = self.media.media_name.formats.iter().filter_map(|format| number(format));
        let numbers = numbers
            .filter(|number| is_payload_type(*number, has_rtcp_mux) && is_known.insert(*number));
        let format = |number: u8| {
            let explicit = mapped.iter().find(|format| format.payload_type == number);
            explicit.cloned().or_else(|| Format::of_static_payload_type(number))
        };
        numbers.filter_map(format).collect()
    }

    /// The first format; `None` of what is no RTP.
    pub(super) fn first_format(&self) -> Option<MappedFormat> {
        let format =
            self.media.media_name.formats.first().filter(|format| number(format).is_some())?;
        let is_of_it = |rtpmap: &&str| rtpmap.split_ascii_whitespace().next() == Some(format);
        let rtpmap = self.media_values("rtpmap").find(is_of_it).map(str::to_owned);
        Some(MappedFormat { format: format.clone(), rtpmap })
    }

    /// What the section's writer does (RFC 3264 §5.1).
    pub(super) fn direction(&self) -> Direction {
        let of = |attributes: &[Attribute]| {
            attributes.iter().find_map(|attribute| Direction::parse(&attribute.key))
        };
        of(&self.media.attributes)
            .or_else(|| of(&self.session.inner.attributes))
            .unwrap_or_default()
    }

    /// Where the section's `c=` line, or the session's, wants RTP.
    pub(super) fn rtp_address(&self) -> Result<SocketAddr, AddressFault> {
        let connection = self.media.connection_information.as_ref();
        let connection = connection.or(self.session.inner.connection_information.as_ref());
        let ip = connection_address(connection.ok_or(AddressFault::Missing)?)?;
        Ok(SocketAddr::new(ip, self.port()))
    }

    /// Where `a=rtcp` wants RTCP (RFC 3605), or else the port after the one of RTP.
    pub(super) fn rtcp_address(&self, rtp: SocketAddr) -> SocketAddr {
        let next = SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
        self.value("rtcp").and_then(|value| rtcp_attribute(value, rtp.ip())).unwrap_or(next)
    }

    pub(super) fn has_rtcp_mux(&self) -> bool {
        let has = |media: &MediaDescription| media.has_attribute("rtcp-mux");
        has(self.media) || self.carrier().is_some_and(|carrier| has(carrier.media))
    }

    pub(super) fn is_ice_lite(&self) -> bool {
        self.session.inner.has_attribute("ice-lite")
    }

    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let of = |media: &'a MediaDescription| values(&media.attributes, "candidate");
        let carrier = self.carrier().filter(|_| of(self.media).next().is_none());
        let media = carrier.map_or(self.media, |carrier| carrier.media);
        of(media).filter_map(Candidate::parse).take(CANDIDATES_MAX).collect()
    }

    /// The fingerprints that can be compared, of the section or else of the session.
    pub(super) fn fingerprints(&self) -> Vec<Fingerprint> {
        let of = |attributes: &'a [Attribute]| {
            values(attributes, "fingerprint")
                .filter_map(Fingerprint::parse)
                .take(FINGERPRINTS_MAX)
                .collect::<Vec<_>>()
        };
        let media = [Some(self.media), self.carrier().map(|carrier| carrier.media)];
        let own = media.into_iter().flatten().map(|media| of(&media.attributes));
        let found = own.chain([of(&self.session.inner.attributes)]).find(|found| !found.is_empty());
        found.unwrap_or_default()
    }

    pub(super) fn setup(&self) -> Option<Setup> {
        match self.transport_value("setup")? {
            "active" => Some(Setup::Active),
            "passive" => Some(Setup::Passive),
            "actpass" => Some(Setup::ActPass),
            _ => None,
        }
    }

    /// `a=mid` (RFC 5888 §4).
    pub(super) fn mid(&self) -> Option<&'a str> {
        self.media_values("mid").next().filter(|mid| is_token(mid))
    }

    /// Whether the section's `mid` is in a group `BUNDLE` (RFC 9143 §7.1).
    pub(super) fn is_bundled(&self) -> bool {
        self.bundle().is_some()
    }

    /// The members of its bundle.
    fn bundle(&self) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        let mid = self.mid()?;
        let members =
            |group: &'a str| group.strip_prefix("BUNDLE ").map(str::split_ascii_whitespace);
        let mut bundles = values(&self.session.inner.attributes, "group").filter_map(members);
        bundles.find(|members| members.clone().any(|member| member == mid))
    }

    /// Another section, the tagged one of its bundle, whose transport is that of the whole bundle
    /// (RFC 9143 §7.2.1); some say of the transport only there.
    pub(super) fn carrier(&self) -> Option<Section<'a>> {
        let tag = self.bundle()?.next().filter(|tag| self.mid() != Some(tag))?;
        Section::all(self.session).find(|section| section.mid() == Some(tag) && section.port() != 0)
    }

    /// The parameters of a format (RFC 8866 §6.15).
    pub(super) fn fmtp(&self, payload_type: u8) -> Option<&'a str> {
        self.media_values("fmtp").find_map(|fmtp| {
            let (number, parameters) = fmtp.split_once([' ', '\t'])?;
            (number.parse() == Ok(payload_type)).then_some(parameters)
        })
    }

    pub(super) fn has_crypto(&self) -> bool {
        self.media_values("crypto").next().is_some()
    }

    /// A number such as `a=ptime`, of which some write `20.0`.
    pub(super) fn milliseconds(&self, key: &str) -> Option<u32> {
        self.value(key)?.split('.').next()?.parse().ok().filter(|ms| *ms != 0)
    }

    /// The first value of an attribute, of the section or else of the session.
    pub(super) fn value(&self, key: &'a str) -> Option<&'a str> {
        let of_session = || values(&self.session.inner.attributes, key).next();
        self.media_values(key).next().or_else(of_session)
    }

    /// The same of an attribute of the transport, which may stand in the tagged section.
    pub(super) fn transport_value(&self, key: &'a str) -> Option<&'a str> {
        let of_carrier = || self.carrier()?.media_values(key).next();
        self.media_values(key).next().or_else(of_carrier).or_else(|| self.value(key))
    }

    pub(super) fn media_values(&self, key: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        values(&self.media.attributes, key)
    }
}

fn values<'a>(attributes: &'a [Attribute], key: &'a str) -> impl Iterator<Item = &'a str> {
    let of_key = attributes.iter().filter(move |attribute| attribute.key == key);
    of_key.filter_map(|attribute| attribute.value.as_deref())
}

fn connection_address(connection: &ConnectionInformation) -> Result<IpAddr, AddressFault> {
    let address = connection.address.as_ref().ok_or(AddressFault::Missing)?;
    let is_internet = connection.network_type.eq_ignore_ascii_case("IN");
    if !is_internet {
        return Err(AddressFault::Unusable);
    }
    literal(&address.address)
}

/// Reads an address; one for many receivers is not an address of a peer.
fn literal(address: &str) -> Result<IpAddr, AddressFault> {
    let bare = address.split('/').next().unwrap_or_default();
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = bare.parse().map_err(|_| AddressFault::HostName)?;
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if ip.is_multicast() || is_broadcast { Err(AddressFault::Unusable) } else { Ok(ip) }
}

fn rtcp_attribute(value: &str, rtp: IpAddr) -> Option<SocketAddr> {
    let mut fields = value.split_ascii_whitespace();
    let port = fields.next()?.parse().ok().filter(|port| *port != 0)?;
    // What follows is the network type, the address type and the address.
    match fields.nth(2) {
        Some(address) => literal(address).ok().map(|ip| SocketAddr::new(ip, port)),
        None => Some(SocketAddr::new(rtp, port)),
    }
}

/// A payload type as an answer writes it again, and not `009` or `+9`.
fn number(format: &str) -> Option<u8> {
    let is_written_so = format.bytes().all(|digit| digit.is_ascii_digit())
        && (format.len() == 1 || !format.starts_with('0'));
    format.parse().ok().filter(|_| is_written_so)
}

/// Whether a number may be a payload type; with RTP and RTCP on one port, 64 to 95 cannot be told
/// from RTCP (RFC 5761 §4).
fn is_payload_type(number: u8, has_rtcp_mux: bool) -> bool {
    number <= 127 && !(has_rtcp_mux && (64..=95).contains(&number))
}

/// RFC 8866 §9, `token`.
fn is_token(text: &str) -> bool {
    let is_token_char = |c: u8| c.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&c);
    !text.is_empty() && text.bytes().all(is_token_char)
}

/// Most candidates of a peer that are kept; RFC 8445 §5.1.1 leaves it to us.
const CANDIDATES_MAX: usize = 32;
/// Most fingerprints of a peer that are kept.
const FINGERPRINTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;
    use crate::sdp::parse;

    fn with_section<T>(text: &str, check: impl FnOnce(Section<'_>) -> T) -> T {
        let session = parse(format!("v=0\n{text}").as_bytes()).unwrap();
        check(Section::all(&session).next().unwrap())
    }

    #[test]
    fn rfc5761_4_payload_types_that_look_like_rtcp_are_skipped_with_rtcp_mux() {
        let lines = "m=audio 4000 RTP/AVP 72 0 0 128 x\na=rtpmap:72 opus/48000/2";
        let types = |section: Section<'_>| -> Vec<u8> {
            section.formats().iter().map(|format| format.payload_type).collect()
        };
        assert_eq!(with_section(lines, types), [72, 0]);
        assert_eq!(with_section(&format!("{lines}\na=rtcp-mux"), types), [0]);
    }

    #[test]
    fn a_payload_type_that_an_answer_would_write_otherwise_is_skipped() {
        let types = |section: Section<'_>| -> Vec<u8> {
            section.formats().iter().map(|format| format.payload_type).collect()
        };
        assert_eq!(with_section("m=audio 4000 RTP/AVP 009 +9 08 0", types), [0]);
    }

    #[test]
    fn rfc3264_5_1_the_sections_direction_comes_before_the_sessions() {
        let direction = |section: Section<'_>| section.direction();
        assert_eq!(with_section("m=audio 1 RTP/AVP 0", direction), Direction::SendRecv);
        assert_eq!(with_section("a=inactive\nm=audio 1 RTP/AVP 0", direction), Direction::Inactive);
        let both = "a=inactive\nm=audio 1 RTP/AVP 0\na=sendonly";
        assert_eq!(with_section(both, direction), Direction::SendOnly);
    }

    #[test]
    fn connection_addresses_are_literal_and_of_one_receiver() {
        let ip = |line: &str| {
            with_section(&format!("m=audio 4000 RTP/AVP 0\n{line}"), |section| {
                section.rtp_address().map(|address| address.to_string())
            })
        };
        assert_eq!(ip("c=IN IP4 192.0.2.1").unwrap(), "192.0.2.1:4000");
        assert_eq!(ip("c=IN IP6 [2001:db8::1]").unwrap(), "[2001:db8::1]:4000");
        assert_eq!(ip("c=IN IP4 pc33.example.com"), Err(AddressFault::HostName));
        assert_eq!(ip("c=IN IP4 224.2.1.1/127"), Err(AddressFault::Unusable));
        assert_eq!(ip("c=IN IP4 255.255.255.255"), Err(AddressFault::Unusable));
        assert_eq!(ip("c=ATM E164 31415"), Err(AddressFault::Unusable));
        assert_eq!(ip("a=sendrecv"), Err(AddressFault::Missing));
    }

    #[test]
    fn rfc3605_2_1_rtcp_may_have_a_port_and_an_address_of_its_own() {
        let rtcp = |line: &str| {
            let lines = format!("c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n{line}");
            with_section(&lines, |section| {
                section.rtcp_address(section.rtp_address().unwrap()).to_string()
            })
        };
        assert_eq!(rtcp("a=sendrecv"), "192.0.2.1:4001");
        assert_eq!(rtcp("a=rtcp:5000"), "192.0.2.1:5000");
        assert_eq!(rtcp("a=rtcp:5000 IN IP4 192.0.2.9"), "192.0.2.9:5000");
        assert_eq!(rtcp("a=rtcp:0"), "192.0.2.1:4001");
        assert_eq!(rtcp("a=rtcp:5000 IN IP4 host.example"), "192.0.2.1:4001");
    }
}
