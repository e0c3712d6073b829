//! RTP packets protected and unprotected in place.

use super::{
    SrtpError,
    cipher::{Cipher, Streams},
    gcm,
    keys::{MasterKey, RTP},
};
use crate::rtp::{ExtendedSequenceNumber, SequenceNumber, header_len};

/// Protects what we send.
pub struct OutboundSrtp {
    cipher: Cipher,
    /// Packets of the stream before its rollover counter began.
    before: u64,
}

impl OutboundSrtp {
    /// Derives the session keys.
    pub fn new(master: &MasterKey) -> Self {
        Self { cipher: Cipher::new(master, &RTP), before: 0 }
    }

    /// For a peer to whom the packet `next` is the first of a new stream: the rollover counter begins
    /// at zero (RFC 3711 §3.3.1, RFC 4568 §7.1.4), while sequence numbers go on.
    pub fn since(self, next: ExtendedSequenceNumber) -> Self {
        Self { before: u64::from(next.rollover_counter()) << 16, ..self }
    }

    /// Another key for the same stream: the rollover counter goes on (RFC 3711 §3.3.1).
    pub fn rekeyed(&self, master: &MasterKey) -> Self {
        Self { before: self.before, ..Self::new(master) }
    }

    /// Asks for the keys before they are needed.
    pub(crate) fn prefetch(&self) {
        self.cipher.prefetch();
    }

    /// Protects the packet in the first `len` bytes of `buffer`, which needs room for
    /// [`super::TAG_BYTES_MAX`] more, and returns its new length.
    ///
    /// `index` is the packet's sequence number with its wraps; the caller uses each once. `None`
    /// when the bytes are not RTP, there is no room, or the packet is older than the key.
    pub fn protect(
        &self,
        buffer: &mut [u8],
        len: usize,
        index: ExtendedSequenceNumber,
    ) -> Option<usize> {
        let start = header_len(buffer.get(..len)?).ok()?;
        let ssrc = ssrc(buffer)?;
        let index = ExtendedSequenceNumber(index.0.checked_sub(self.before)?);
        match &self.cipher {
            Cipher::CounterMode(cipher) => {
                let (packet, rest) = buffer.split_at_mut(len);
                let room = rest.get_mut(..cipher.rtp_tag_bytes())?;
                cipher.apply(ssrc, index.0, packet.get_mut(start..)?);
                let tag = cipher.tag(packet, &index.rollover_counter().to_be_bytes());
                room.copy_from_slice(tag.get(..room.len())?);
                Some(len + room.len())
            }
            Cipher::Gcm(cipher) => {
                let (packet, rest) = buffer.split_at_mut(len);
                let room = rest.get_mut(..gcm::TAG_BYTES)?;
                let (header, payload) = packet.split_at_mut(start);
                let tag = cipher.seal(ssrc, index.0, header, payload)?;
                room.copy_from_slice(&tag);
                Some(len + tag.len())
            }
        }
    }
}

/// Unprotects what the peer sends.
pub struct InboundSrtp {
    cipher: Cipher,
    streams: Streams,
    /// What was seen with the keys before this one.
    kept: Option<Box<Streams>>,
}

impl InboundSrtp {
    /// Derives the session keys.
    pub fn new(master: &MasterKey) -> Self {
        Self { cipher: Cipher::new(master, &RTP), streams: Streams::default(), kept: None }
    }

    /// Asks for the keys before they are needed.
    pub(crate) fn prefetch(&self) {
        self.cipher.prefetch();
    }

    /// Another key. The rollover counter of a stream goes on (RFC 3711 §3.3.1); as there are peers
    /// that begin at zero, that is tried as well until a packet of the stream is authentic.
    pub fn rekeyed(self, master: &MasterKey) -> Self {
        let mut kept = self.kept.unwrap_or_default();
        kept.take_over(&self.streams);
        Self { kept: Some(kept), ..Self::new(master) }
    }

    /// Checks and decrypts `packet` in place; returns the length without the tag and the sequence
    /// number with its wraps. After an error the bytes are of no use.
    ///
    /// # Errors
    ///
    /// The packet is not RTP, is not authentic, or was seen before.
    pub fn unprotect(
        &mut self,
        packet: &mut [u8],
    ) -> Result<(usize, ExtendedSequenceNumber), SrtpError> {
        let start = header_len(packet).map_err(|_| SrtpError::Malformed)?;
        let ssrc = ssrc(packet).ok_or(SrtpError::Malformed)?;
        let [_, _, a, b, ..] = *packet else { return Err(SrtpError::Malformed) };
        let number = SequenceNumber(u16::from_be_bytes([a, b]));
        let seen = self.streams.seen(ssrc);
        let from_zero = ExtendedSequenceNumber(u64::from(number.0));
        let known = seen.highest();
        let kept = || self.kept.as_ref().and_then(|kept| kept.seen(ssrc).highest());
        let guessed = known.or_else(kept).map_or(from_zero, |highest| highest.nearest(number));
        if !seen.is_new(guessed) {
            return Err(SrtpError::Replay);
        }
        let (len, index) = if known.is_none() && guessed != from_zero {
            self.open_either(packet, start, ssrc, [guessed, from_zero])?
        } else {
            (self.open(packet, start, ssrc, guessed)?, guessed)
        };
        self.streams.mark(ssrc, index);
        Ok((len, index))
    }

    /// Tries two indexes, of a packet no longer than [`BYTES_MAX`].
    #[cold]
    fn open_either(
        &self,
        packet: &mut [u8],
        start: usize,
        ssrc: u32,
        [first, second]: [ExtendedSequenceNumber; 2],
    ) -> Result<(usize, ExtendedSequenceNumber), SrtpError> {
        // What fails to decrypt is of no use for another try.
        let mut copy = [0; BYTES_MAX];
        let copy = copy.get_mut(..packet.len()).ok_or(SrtpError::Malformed)?;
        copy.copy_from_slice(packet);
        match self.open(packet, start, ssrc, first) {
            Err(SrtpError::Authentication) => {}
            opened => return opened.map(|len| (len, first)),
        }
        packet.copy_from_slice(copy);
        Ok((self.open(packet, start, ssrc, second)?, second))
    }

    /// Checks and decrypts a packet in place whose header has `start` bytes; returns the length
    /// without the tag.
    fn open(
        &self,
        packet: &mut [u8],
        start: usize,
        ssrc: u32,
        index: ExtendedSequenceNumber,
    ) -> Result<usize, SrtpError> {
        match &self.cipher {
            Cipher::CounterMode(cipher) => {
                let len = without_tag(packet, start, cipher.rtp_tag_bytes())?;
                let (bytes, tag) = packet.split_at_mut(len);
                if !cipher.is_authentic(bytes, &index.rollover_counter().to_be_bytes(), tag) {
                    return Err(SrtpError::Authentication);
                }
                cipher.apply(ssrc, index.0, bytes.get_mut(start..).unwrap_or_default());
                Ok(len)
            }
            Cipher::Gcm(cipher) => {
                let len = without_tag(packet, start, gcm::TAG_BYTES)?;
                let (header, payload) = packet.split_at_mut(start);
                if !cipher.open(ssrc, index.0, header, payload) {
                    return Err(SrtpError::Authentication);
                }
                Ok(len)
            }
        }
    }
}

fn ssrc(packet: &[u8]) -> Option<u32> {
    let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = *packet else { return None };
    Some(u32::from_be_bytes([a, b, c, d]))
}

fn without_tag(packet: &[u8], start: usize, tag_bytes: usize) -> Result<usize, SrtpError> {
    match packet.len().checked_sub(tag_bytes) {
        Some(len) if len >= start => Ok(len),
        _ => Err(SrtpError::Malformed),
    }
}

/// No datagram is longer that is read.
const BYTES_MAX: usize = 2048;
