//! Writes our answers and offers.

use std::fmt::{Display, Write as _};
use std::net::{IpAddr, SocketAddr};

use super::candidate::host_candidate;
use super::crypto::{self, Crypto, Security};
use super::format::{COMFORT_NOISE, Offered};
use super::negotiate::{MappedFormat, OfferedSection};
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
        self.describe(local, self.setup(), |text, section| self.accepted(text, section, local))
    }

    /// Writes an offer of ours within this session: every section in its place (RFC 3264 §8), all
    /// but one switched off, with the codecs of `capabilities` and the payload types that the session
    /// has. Keys in the description are offered if the session has them.
    pub fn offer(&self, local: &LocalDescription, capabilities: &Capabilities) -> String {
        let offered = Offered::new(Some(self), capabilities);
        self.describe(local, "actpass", |text, section| {
            let formats = Formats { codecs: &offered.codecs, events: &offered.dtmf, others: &[] };
            text.audio(local, &section.protos, &formats);
            text.flag(local.direction.as_str());
            text.mid(section);
            self.transport(text, local, "actpass", local.direction);
            let own = |crypto: &Crypto| {
                self.crypto.as_ref().is_some_and(|c| c.key.profile() == crypto.key.profile())
            };
            text.crypto(crypto::offered(local).filter(own));
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
        accepted: impl Fn(&mut Text, &OfferedSection),
    ) -> String {
        let mut text = Text::session(local);
        if let RemoteMedia::WebRtc(_) = self.remote {
            text.flag("ice-lite");
            let lives = |s: &&OfferedSection| s.is_accepted && s.is_bundled || s.carries.is_some();
            let mids =
                self.sections.iter().filter(lives).filter_map(|section| section.mid.as_deref());
            let mids: Vec<&str> = mids.collect();
            if !mids.is_empty() {
                text.value("group", format_args!("BUNDLE {}", mids.join(" ")));
            }
        }
        for section in &self.sections {
            match &section.carries {
                _ if section.is_accepted => accepted(&mut text, section),
                Some(format) => self.carrying(&mut text, section, format, local, setup),
                None => text.without_media(section, 0, &section.formats),
            }
        }
        text.finish()
    }

    /// The direction that [`Negotiated::answer`] writes for `local`.
    pub fn answered_direction(&self, local: Direction) -> Direction {
        local.narrowed(self.direction)
    }

    fn accepted(&self, text: &mut Text, section: &OfferedSection, local: &LocalDescription) {
        let formats = Formats {
            codecs: &[(self.codec, self.local_payload_type)],
            events: self.local_dtmf.as_slice(),
            others: if self.comfort_noise { &[COMFORT_NOISE] } else { &[] },
        };
        text.audio(local, &section.protos, &formats);
        let direction = self.answered_direction(local.direction);
        text.flag(direction.as_str());
        text.mid(section);
        self.transport(text, local, self.setup(), direction);
        if let Some(Crypto { tag, key, .. }) = &self.crypto {
            let own = |own: &&SdesKey| own.profile() == key.profile();
            let own = local.sdes.iter().find(own).cloned();
            text.crypto(own.map(|key| Crypto { tag: *tag, key, local_key: None }));
        }
    }

    /// A section without media whose transport is that of the bundle.
    fn carrying(
        &self,
        text: &mut Text,
        section: &OfferedSection,
        MappedFormat { format, rtpmap }: &MappedFormat,
        local: &LocalDescription,
        setup: &str,
    ) {
        text.without_media(section, local.rtp_port, std::slice::from_ref(format));
        if let Some(rtpmap) = rtpmap {
            text.value("rtpmap", rtpmap);
        }
        self.transport(text, local, setup, Direction::Inactive);
    }

    fn transport(
        &self,
        text: &mut Text,
        local: &LocalDescription,
        setup: &str,
        direction: Direction,
    ) {
        match &self.remote {
            RemoteMedia::Plain { rtcp_mux: true, .. } => text.flag("rtcp-mux"),
            RemoteMedia::Plain { rtcp_mux: false, .. } => text.rtcp(local),
            RemoteMedia::WebRtc(_) => text.webrtc(local, setup, direction),
        }
    }
}

/// Writes the first offer of one audio stream: WebRTC if `local.ice` is given, plain RTP otherwise,
/// with keys as `capabilities.security` says.
pub fn offer(local: &LocalDescription, capabilities: &Capabilities) -> String {
    let mut text = Text::session(local);
    let offered = Offered::new(None, capabilities);
    let formats = Formats { codecs: &offered.codecs, events: &offered.dtmf, others: &[] };
    let is_webrtc = local.ice.is_some();
    let proto = match capabilities.security {
        _ if is_webrtc => "UDP/TLS/RTP/SAVPF",
        Security::None | Security::Optional => "RTP/AVP",
        Security::Required => "RTP/SAVP",
    };
    if is_webrtc {
        text.flag("ice-lite");
        text.value("group", "BUNDLE 0");
    }
    text.audio(local, &[proto], &formats);
    text.flag(local.direction.as_str());
    if is_webrtc {
        text.value("mid", "0");
        text.webrtc(local, "actpass", local.direction);
    } else {
        text.rtcp(local);
        if capabilities.has_keys() {
            text.crypto(crypto::offered(local));
        }
    }
    text.finish()
}

/// What an audio section lists, the preferred first.
struct Formats<'a> {
    codecs: &'a [(Codec, u8)],
    events: &'a [DtmfFormat],
    /// Static payload types that need no `a=rtpmap`.
    others: &'a [u8],
}

/// A description as it grows, line by line (RFC 8866 §9).
struct Text(String);

impl Text {
    /// The lines before the first attribute of the session.
    fn session(local: &LocalDescription) -> Self {
        let mut text = Text(String::with_capacity(TEXT_BYTES));
        let LocalDescription { session_id, session_version, .. } = local;
        let address = local.address.to_canonical();
        let kind = match address {
            IpAddr::V4(_) => "IP4",
            IpAddr::V6(_) => "IP6",
        };
        text.line("v=0");
        text.write(format_args!(
            "o=sidetone {session_id} {session_version} IN {kind} {address}\r\n"
        ));
        text.line("s=-");
        text.write(format_args!("c=IN {kind} {address}\r\n"));
        text.line("t=0 0");
        text
    }

    /// An audio section with its formats, and without what depends on the transport.
    fn audio(
        &mut self,
        local: &LocalDescription,
        protos: &[impl AsRef<str>],
        Formats { codecs, events, others }: &Formats<'_>,
    ) {
        let codec_types = codecs.iter().map(|(_, payload_type)| payload_type);
        let event_types = events.iter().map(|event| &event.payload_type);
        self.media("audio", local.rtp_port, protos, codec_types.chain(event_types).chain(*others));
        for (codec, payload_type) in *codecs {
            self.value("rtpmap", format_args!("{payload_type} {codec}"));
            let Some(fmtp) = codec.descriptor().fmtp else { continue };
            match (codec, local.opus_rate_hz_max) {
                (Codec::Opus, Some(rate_hz)) => {
                    let rate = format_args!("{payload_type} {fmtp};maxplaybackrate={rate_hz}");
                    self.value("fmtp", rate);
                }
                _ => self.value("fmtp", format_args!("{payload_type} {fmtp}")),
            }
        }
        for DtmfFormat { payload_type, clock_rate_hz } in *events {
            let event = format_args!("{payload_type} telephone-event/{clock_rate_hz}");
            self.value("rtpmap", event);
            self.value("fmtp", format_args!("{payload_type} 0-15"));
        }
        self.value("ptime", FRAME_MS);
    }

    /// A section without media, which port 0 refuses: nothing but its name is left of it then
    /// (RFC 3264 §6, RFC 8829 §5.3.1).
    fn without_media(&mut self, section: &OfferedSection, port: u16, formats: &[String]) {
        self.media(&section.media, port, &section.protos, formats);
        self.mid(section);
        self.flag(Direction::Inactive.as_str());
    }

    fn media(
        &mut self,
        media: &str,
        port: u16,
        protos: &[impl AsRef<str>],
        formats: impl IntoIterator<Item = impl Display>,
    ) {
        self.write(format_args!("m={media} {port} "));
        for (index, proto) in protos.iter().enumerate() {
            let separator = if index == 0 { "" } else { "/" };
            self.0.push_str(separator);
            self.0.push_str(proto.as_ref());
        }
        for format in formats {
            self.write(format_args!(" {format}"));
        }
        self.line("");
    }

    fn mid(&mut self, section: &OfferedSection) {
        if let Some(mid) = &section.mid {
            self.value("mid", mid);
        }
    }

    fn webrtc(&mut self, local: &LocalDescription, setup: &str, direction: Direction) {
        self.flag("rtcp-mux");
        if let Some(ice) = &local.ice {
            self.ice(ice, SocketAddr::new(local.address.to_canonical(), local.rtp_port));
        }
        if let Some(fingerprint) = &local.fingerprint {
            self.value("fingerprint", fingerprint);
        }
        self.value("setup", setup);
        if direction.sends() {
            let (ssrc, cname) = (local.ssrc, &local.cname);
            self.value("msid", format_args!("{MEDIA_STREAM} {MEDIA_TRACK}"));
            self.value("ssrc", format_args!("{ssrc} cname:{cname}"));
            self.value("ssrc", format_args!("{ssrc} msid:{MEDIA_STREAM} {MEDIA_TRACK}"));
        }
    }

    fn crypto(&mut self, keys: impl IntoIterator<Item = Crypto>) {
        for crypto in keys {
            self.value("crypto", crypto);
        }
    }

    /// Our ICE attributes; without a candidate `default` is the one.
    fn ice(&mut self, ice: &LocalIce, default: SocketAddr) {
        self.value("ice-ufrag", &ice.ufrag);
        self.value("ice-pwd", &ice.pwd);
        let candidates: &[SocketAddr] = match ice.candidates.as_slice() {
            [] => &[default],
            candidates => candidates,
        };
        for (index, address) in candidates.iter().enumerate() {
            self.value("candidate", host_candidate(*address, index));
        }
        self.flag("end-of-candidates");
    }

    /// `a=rtcp` where the port of RTCP cannot be guessed (RFC 3605).
    fn rtcp(&mut self, local: &LocalDescription) {
        let is_next = local.rtp_port.checked_add(1) == Some(local.rtcp_port);
        if !is_next && local.rtcp_port != 0 {
            self.value("rtcp", local.rtcp_port);
        }
    }

    fn flag(&mut self, name: &str) {
        self.0.push_str("a=");
        self.line(name);
    }

    fn value(&mut self, name: &str, value: impl Display) {
        self.0.push_str("a=");
        self.0.push_str(name);
        self.write(format_args!(":{value}\r\n"));
    }

    fn line(&mut self, rest: &str) {
        self.0.push_str(rest);
        self.0.push_str("\r\n");
    }

    fn write(&mut self, part: std::fmt::Arguments<'_>) {
        // A string refuses nothing.
        let _ = self.0.write_fmt(part);
    }

    fn finish(mut self) -> String {
        self.0.shrink_to_fit();
        self.0
    }
}

/// The stream that a browser hands to its page; one per leg (RFC 8830).
const MEDIA_STREAM: &str = "sidetone";
/// The audio track of [`MEDIA_STREAM`].
const MEDIA_TRACK: &str = "audio";
/// More than a description takes as a rule, so that it is not moved while it grows.
const TEXT_BYTES: usize = 2048;
