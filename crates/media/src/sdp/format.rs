//! The formats of an audio section: `m=`, `a=rtpmap` and the static payload types (RFC 3551 §6).

use std::fmt;

use super::negotiate::Capabilities;
use super::{DtmfFormat, Negotiated};
use crate::codec::Codec;
use crate::srtp::SrtpProfile;

/// A set of payload types, 0 to 127.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PayloadTypes(u128);

impl PayloadTypes {
    /// Adds a number; `false` if it is in the set already, or none that RTP has.
    pub(super) fn insert(&mut self, payload_type: u8) -> bool {
        let Some(bit) = 1_u128.checked_shl(u32::from(payload_type)) else { return false };
        let is_new = self.0 & bit == 0;
        self.0 |= bit;
        is_new
    }
}

/// One format of an audio section over RTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) payload_type: u8,
    pub(super) encoding_name: String,
    pub(super) clock_rate_hz: u32,
    pub(super) channels: u8,
}

impl Format {
    /// Reads the value of `a=rtpmap`.
    pub(super) fn parse(rtpmap: &str) -> Option<Self> {
        let (payload_type, encoding) = rtpmap.trim().split_once([' ', '\t'])?;
        let mut fields = encoding.trim().split('/');
        let encoding_name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let clock_rate_hz = fields.next()?.parse().ok()?;
        let channels = match fields.next() {
            Some(channels) => channels.parse().ok()?,
            None => 1,
        };
        let payload_type = payload_type.parse().ok()?;
        Some(Format { payload_type, encoding_name, clock_rate_hz, channels })
    }

    /// The format that a payload type has without `a=rtpmap`.
    pub(super) fn of_static_payload_type(payload_type: u8) -> Option<Self> {
        let (_, name, clock_rate_hz) =
            STATIC_PAYLOAD_TYPES.into_iter().find(|(number, ..)| *number == payload_type)?;
        Some(Format { payload_type, encoding_name: name.to_owned(), clock_rate_hz, channels: 1 })
    }

    /// Whether this is `codec`: name, clock rate and channels are those of its descriptor; what
    /// `a=fmtp` says never matters (RFC 7587 §7.1 for Opus).
    pub(super) fn is(&self, codec: Codec) -> bool {
        self.encoding_name.eq_ignore_ascii_case(codec.name())
            && self.clock_rate_hz == codec.clock_rate_hz()
            && self.channels == codec.channels()
    }

    /// Whether this carries DTMF events (RFC 4733 §2.4.1).
    pub(super) fn is_telephone_event(&self) -> bool {
        self.encoding_name.eq_ignore_ascii_case("telephone-event") && self.channels == 1
    }

    /// Whether this carries comfort noise, under the only number that it has (RFC 3389 §4).
    pub(super) fn is_comfort_noise(&self) -> bool {
        self.payload_type == COMFORT_NOISE && self.encoding_name.eq_ignore_ascii_case("CN")
    }

    /// Whether this carries sound of its own, so that it can be the codec of a stream.
    pub(super) fn is_codec(&self) -> bool {
        !NOT_CODECS.iter().any(|name| self.encoding_name.eq_ignore_ascii_case(name))
    }
}

/// The format as `a=rtpmap` writes it after the payload type.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.encoding_name, self.clock_rate_hz)?;
        match self.channels {
            1 => Ok(()),
            channels => write!(f, "/{channels}"),
        }
    }
}

/// What an offer of ours has to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) codecs: Vec<(Codec, u8)>,
    pub(super) dtmf: Vec<DtmfFormat>,
    /// The key of the session, as our last answer named it: an offer that repeats that answer, to
    /// refresh the session, names it so again.
    pub(super) key_in_use: Option<(u32, SrtpProfile)>,
}

impl Offered {
    /// Every codec that is allowed, and DTMF events at each of their clock rates (RFC 4733 §2.1). A
    /// payload type that means something in the session keeps its meaning (RFC 3264 §8.3.2).
    pub(super) fn new(current: Option<&Negotiated>, capabilities: &Capabilities) -> Self {
        let crypto = current.and_then(|current| current.crypto.as_ref());
        let key_in_use = crypto.map(|crypto| (crypto.tag, crypto.key.profile()));
        let mut offered = Offered { codecs: Vec::new(), dtmf: Vec::new(), key_in_use };
        let mut used: Vec<u8> = current.map(Negotiated::payload_types).unwrap_or_default();
        for codec in capabilities.ordered() {
            let kept = current.and_then(|current| current.local_payload_type_of(codec));
            let payload_type =
                kept.unwrap_or_else(|| free(&mut used, codec.descriptor().offered_payload_type));
            offered.codecs.push((codec, payload_type));
        }
        for (clock_rate_hz, payload_type) in DTMF_OFFERED {
            if !capabilities.telephone_events {
                break;
            }
            if !offered.codecs.iter().any(|(codec, _)| codec.clock_rate_hz() == clock_rate_hz) {
                continue;
            }
            let kept = current.and_then(|current| {
                let events = [current.local_dtmf, current.local_dtmf_other];
                events.into_iter().flatten().find(|kept| kept.clock_rate_hz == clock_rate_hz)
            });
            offered.dtmf.push(kept.unwrap_or_else(|| {
                let payload_type = free(&mut used, payload_type);
                DtmfFormat { payload_type, clock_rate_hz }
            }));
        }
        offered
    }

    pub(super) fn payload_type(&self, codec: Codec) -> Option<u8> {
        self.codecs.iter().find(|(offered, _)| *offered == codec).map(|(_, number)| *number)
    }

    pub(super) fn dtmf(&self, clock_rate_hz: u32) -> Option<DtmfFormat> {
        self.dtmf.iter().find(|format| format.clock_rate_hz == clock_rate_hz).copied()
    }
}

/// The wanted payload type, or else a dynamic one that is not used yet.
fn free(used: &mut Vec<u8>, wanted: u8) -> u8 {
    let free = |number: &u8| !used.contains(number);
    let number = Some(wanted).filter(free).or_else(|| DYNAMIC.into_iter().find(free));
    // At most nine formats are offered, and there are 32 numbers.
    let number = number.unwrap_or(wanted);
    used.push(number);
    number
}

/// DTMF events as we offer them: clock rate and payload type.
const DTMF_OFFERED: [(u32, u8); 2] = [(48_000, 110), (8000, 101)];
// RFC 3551 §3.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
// RFC 3389 §4.
pub(super) const COMFORT_NOISE: u8 = 13;
/// Mono audio of RFC 3551 §6, table 4: payload type, encoding name, clock rate.
const STATIC_PAYLOAD_TYPES: [(u8, &str, u32); 12] = [
    (0, "PCMU", 8000),
    (3, "GSM", 8000),
    (4, "G723", 8000),
    (5, "DVI4", 8000),
    (6, "DVI4", 16000),
    (7, "LPC", 8000),
    (8, "PCMA", 8000),
    (9, "G722", 8000),
    (12, "QCELP", 8000),
    (13, "CN", 8000),
    (15, "G728", 8000),
    (18, "G729", 8000),
];

/// Formats that accompany a codec: events, comfort noise (RFC 3389), redundancy (RFC 2198).
const NOT_CODECS: [&str; 4] = ["telephone-event", "CN", "red", "ulpfec"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn rtpmaps_are_read_as_they_are_written() {
        for rtpmap in ["0 PCMU/8000", "111 opus/48000/2", "101 telephone-event/8000"] {
            let format = Format::parse(rtpmap).unwrap();
            assert_eq!(format!("{} {format}", format.payload_type), rtpmap);
        }
    }

    #[test]
    fn malformed_rtpmaps_are_no_formats() {
        for rtpmap in ["", "0", "0 PCMU", "0 /8000", "300 PCMU/8000", "0 PCMU/x", "0 PCMU/8000/x"] {
            assert_eq!(Format::parse(rtpmap), None, "{rtpmap}");
        }
    }

    #[test]
    fn rfc7587_7_opus_is_always_48000_with_two_channels() {
        let is_opus = |rtpmap: &str| Format::parse(rtpmap).unwrap().is(Codec::Opus);
        assert!(is_opus("96 OPUS/48000/2"));
        assert!(!is_opus("96 opus/48000"));
        assert!(!is_opus("96 opus/16000/2"));
    }

    #[test]
    fn rfc3551_6_static_payload_types_need_no_rtpmap() {
        assert!(Format::of_static_payload_type(0).unwrap().is(Codec::Pcmu));
        assert!(Format::of_static_payload_type(8).unwrap().is(Codec::Pcma));
        assert_eq!(Format::of_static_payload_type(96), None);
    }
}
