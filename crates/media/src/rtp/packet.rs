//! A view of an RTP packet over a borrowed buffer (RFC 3550 §5.1).

use super::{PayloadType, RtpTimestamp, SequenceNumber, Ssrc};

/// Bytes of the header without contributing sources and extension.
pub const HEADER_BYTES: usize = 12;

/// The bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// An RTP packet in the buffer `B`, which the caller owns.
///
/// Every length (contributing sources, extension, padding) is checked once by [`Packet::parse`];
/// the accessors then only read and the setters patch in place.
#[derive(Debug)]
pub struct Packet<B> {
    bytes: B,
    payload_start: usize,
    payload_end: usize,
}

impl<B: AsRef<[u8]>> Packet<B> {
    /// Checks every length of the packet that fills `bytes`.
    ///
    /// # Errors
    ///
    /// The version is not 2, or a length leads out of the buffer.
    pub fn parse(bytes: B) -> Result<Self, Malformed> {
        let view = bytes.as_ref();
        let payload_start = header_len(view)?;
        let padding = match view {
            [first, .., last] if first & PADDING_BIT != 0 => usize::from(*last).max(1),
            _ => 0,
        };
        let payload_end = view.len().checked_sub(padding).ok_or(Malformed)?;
        if payload_end < payload_start {
            return Err(Malformed);
        }
        Ok(Self { bytes, payload_start, payload_end })
    }

    fn fixed(&self) -> &[u8; HEADER_BYTES] {
        self.bytes.as_ref().first_chunk().expect("parse checked the length")
    }

    /// The marker bit: for audio, the first packet after silence (RFC 3551 §4.1).
    pub fn is_marked(&self) -> bool {
        self.fixed()[1] & MARKER_BIT != 0
    }

    /// What the payload holds.
    pub fn payload_type(&self) -> PayloadType {
        PayloadType(self.fixed()[1] & !MARKER_BIT)
    }

    /// The number that counts packets.
    pub fn sequence_number(&self) -> SequenceNumber {
        let [_, _, a, b, ..] = *self.fixed();
        SequenceNumber(u16::from_be_bytes([a, b]))
    }

    /// When the first sample was taken, in ticks of the clock rate.
    pub fn timestamp(&self) -> RtpTimestamp {
        let [_, _, _, _, a, b, c, d, ..] = *self.fixed();
        RtpTimestamp(u32::from_be_bytes([a, b, c, d]))
    }

    /// Who sends the stream.
    pub fn ssrc(&self) -> Ssrc {
        let [.., a, b, c, d] = *self.fixed();
        Ssrc(u32::from_be_bytes([a, b, c, d]))
    }

    /// The codec's bytes, without padding.
    pub fn payload(&self) -> &[u8] {
        self.bytes.as_ref().get(self.payload_start..self.payload_end).unwrap_or_default()
    }

    /// Where the payload lies in the buffer.
    pub fn payload_range(&self) -> std::ops::Range<usize> {
        self.payload_start..self.payload_end
    }
}

/// The fixed part of a header, to be written before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The marker bit.
    pub marker: bool,
    /// What the payload holds.
    pub payload_type: PayloadType,
    /// The number that counts packets.
    pub sequence_number: SequenceNumber,
    /// When the first sample was taken.
    pub timestamp: RtpTimestamp,
    /// Who sends the stream.
    pub ssrc: Ssrc,
}

impl Header {
    /// The twelve bytes as they go on the wire: no padding, extension or contributing source.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let marker = if self.marker { MARKER_BIT } else { 0 };
        let [s0, s1] = self.sequence_number.0.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.0.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.0.to_be_bytes();
        let second = marker | (self.payload_type.0 & !MARKER_BIT);
        [VERSION_2, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]
    }
}

/// Bytes of the header, contributing sources and extension of the packet that fills `bytes`.
///
/// What follows may still be encrypted: padding is not looked at.
///
/// # Errors
///
/// The version is not 2, or a length leads out of the buffer.
pub fn header_len(bytes: &[u8]) -> Result<usize, Malformed> {
    let first = *bytes.first().ok_or(Malformed)?;
    if first & VERSION_BITS != VERSION_2 {
        return Err(Malformed);
    }
    let mut len = HEADER_BYTES + usize::from(first & SOURCES_BITS) * 4;
    if first & EXTENSION_BIT != 0 {
        let [_, _, a, b] = *bytes.get(len..).and_then(<[u8]>::first_chunk).ok_or(Malformed)?;
        len += 4 + usize::from(u16::from_be_bytes([a, b])) * 4;
    }
    if len <= bytes.len() { Ok(len) } else { Err(Malformed) }
}

/// Whether a packet that shares a port with RTP is RTCP (RFC 5761 §4).
pub fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|second| (192..=223).contains(second))
}

const VERSION_BITS: u8 = 0xc0;
const VERSION_2: u8 = 0x80;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const SOURCES_BITS: u8 = 0x0f;
const MARKER_BIT: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            marker: true,
            payload_type: PayloadType(111),
            sequence_number: SequenceNumber(0xfffe),
            timestamp: RtpTimestamp(0x0102_0304),
            ssrc: Ssrc(0xdead_beef),
        }
    }

    #[test]
    fn a_written_header_reads_back() {
        let mut bytes = header().to_bytes().to_vec();
        bytes.extend_from_slice(b"abc");
        let packet = Packet::parse(&bytes[..]).unwrap();
        assert!(packet.is_marked());
        assert_eq!(packet.payload_type(), PayloadType(111));
        assert_eq!(packet.sequence_number(), SequenceNumber(0xfffe));
        assert_eq!(packet.timestamp(), RtpTimestamp(0x0102_0304));
        assert_eq!(packet.ssrc(), Ssrc(0xdead_beef));
        assert_eq!(packet.payload(), b"abc");
    }

    #[test]
    fn rfc3550_5_1_sources_extension_and_padding_are_not_payload() {
        let mut bytes = header().to_bytes().to_vec();
        bytes[0] |= 0x20 | 0x10 | 2;
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        bytes.extend_from_slice(&[7, 8, 9, 0, 0, 3]);
        let packet = Packet::parse(&bytes[..]).unwrap();
        assert_eq!(packet.payload(), [7, 8, 9]);
        assert_eq!(packet.payload_range(), 28..31);
    }

    #[test]
    fn a_length_that_leads_out_of_the_buffer_is_refused() {
        let mut bytes = header().to_bytes().to_vec();
        bytes[0] |= 15;
        assert_eq!(Packet::parse(&bytes[..]).err(), Some(Malformed));
        bytes[0] = 0x90;
        assert_eq!(Packet::parse(&bytes[..]).err(), Some(Malformed));
        bytes.extend_from_slice(&[0, 0, 0xff, 0xff]);
        assert_eq!(Packet::parse(&bytes[..]).err(), Some(Malformed));
        bytes[0] = 0xa0;
        assert_eq!(Packet::parse(&bytes[..]).err(), Some(Malformed));
        assert_eq!(Packet::parse(&[][..]).err(), Some(Malformed));
        assert_eq!(Packet::parse(&[0x40; 40][..]).err(), Some(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(packet) = Packet::parse(&bytes[..]) {
                prop_assert!(packet.payload().len() <= bytes.len() - HEADER_BYTES);
                let _ = (packet.ssrc(), packet.timestamp(), packet.sequence_number());
            }
        }
    }
}
