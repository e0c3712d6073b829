//! RTCP packets protected and unprotected in place (RFC 3711 §3.4, RFC 7714 §9).

use super::{
    SrtpError,
    cipher::{Cipher, Streams},
    counter_mode, gcm,
    keys::{MasterKey, RTCP},
};
use crate::rtp::ExtendedSequenceNumber;

/// Protects what we send.
pub struct OutboundSrtcp {
    cipher: Cipher,
    index: u32,
}

impl OutboundSrtcp {
    /// Derives the session keys.
    pub fn new(master: &MasterKey) -> Self {
        Self { cipher: Cipher::new(master, &RTCP), index: 0 }
    }

    /// Another key for the same stream: its index goes on (RFC 3711 §3.4).
    pub fn rekeyed(&self, master: &MasterKey) -> Self {
        Self { index: self.index, ..Self::new(master) }
    }

    /// Protects the compound packet in the first `len` bytes of `buffer`, which needs room for
    /// [`super::RTCP_TRAILER_BYTES_MAX`] more, and returns its new length. `None` when it is too
    /// short, there is no room, or the key is used up.
    pub fn protect(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let ssrc = sender(buffer.get(..len)?)?;
        if self.index > INDEX_MAX {
            return None;
        }
        let index = self.index;
        self.index += 1;
        let word = (ENCRYPTED | index).to_be_bytes();
        match &self.cipher {
            Cipher::CounterMode(cipher) => {
                let end = len + INDEX_BYTES + counter_mode::TAG_BYTES;
                let bytes = buffer.get_mut(..end)?;
                cipher.apply(ssrc, u64::from(index), bytes.get_mut(HEADER_BYTES..len)?);
                bytes.get_mut(len..len + INDEX_BYTES)?.copy_from_slice(&word);
                let (covered, tag) = bytes.split_at_mut(len + INDEX_BYTES);
                tag.copy_from_slice(&cipher.tag(covered, &[]));
                Some(end)
            }
            Cipher::Gcm(cipher) => {
                let end = len + gcm::TAG_BYTES + INDEX_BYTES;
                let (header, rest) = buffer.get_mut(..end)?.split_at_mut(HEADER_BYTES);
                let (body, trailer) = rest.split_at_mut(len - HEADER_BYTES);
                let tag = cipher.seal(ssrc, u64::from(index), &associated(header, word)?, body)?;
                let (tag_bytes, index_bytes) = trailer.split_at_mut(gcm::TAG_BYTES);
                tag_bytes.copy_from_slice(&tag);
                index_bytes.copy_from_slice(&word);
                Some(end)
            }
        }
    }
}

/// Unprotects what the peer sends.
pub struct InboundSrtcp {
    cipher: Cipher,
    streams: Streams,
}

impl InboundSrtcp {
    /// Derives the session keys.
    pub fn new(master: &MasterKey) -> Self {
        Self { cipher: Cipher::new(master, &RTCP), streams: Streams::default() }
    }

    /// Checks and decrypts `packet` in place and returns its length without what protection added.
    /// After an error the bytes are of no use.
    ///
    /// # Errors
    ///
    /// The packet is too short, is not authentic, or was seen before.
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = sender(packet).ok_or(SrtpError::Malformed)?;
        match &self.cipher {
            Cipher::CounterMode(cipher) => {
                let covered = packet.len().checked_sub(counter_mode::TAG_BYTES);
                let covered = covered.ok_or(SrtpError::Malformed)?;
                let len = covered.checked_sub(INDEX_BYTES).filter(|len| *len >= HEADER_BYTES);
                let len = len.ok_or(SrtpError::Malformed)?;
                let (bytes, tag) = packet.split_at_mut(covered);
                let word = last_word(bytes).ok_or(SrtpError::Malformed)?;
                let index = new_index(&self.streams, ssrc, word)?;
                if !cipher.is_authentic(bytes, &[], tag) {
                    return Err(SrtpError::Authentication);
                }
                if word & ENCRYPTED != 0 {
                    let body = bytes.get_mut(HEADER_BYTES..len).unwrap_or_default();
                    cipher.apply(ssrc, index.0, body);
                }
                self.streams.mark(ssrc, index);
                Ok(len)
            }
            Cipher::Gcm(cipher) => {
                let end = packet.len().checked_sub(INDEX_BYTES);
                let end = end.filter(|end| *end >= HEADER_BYTES + gcm::TAG_BYTES);
                let end = end.ok_or(SrtpError::Malformed)?;
                let word = last_word(packet).ok_or(SrtpError::Malformed)?;
                let index = new_index(&self.streams, ssrc, word)?;
                // Authentication without encryption is not offered: no browser sends it.
                if word & ENCRYPTED == 0 {
                    return Err(SrtpError::Malformed);
                }
                let bytes = packet.get_mut(..end).unwrap_or_default();
                let (header, body) = bytes.split_at_mut(HEADER_BYTES);
                let associated = associated(header, word.to_be_bytes());
                let associated = associated.ok_or(SrtpError::Malformed)?;
                if !cipher.open(ssrc, index.0, &associated, body) {
                    return Err(SrtpError::Authentication);
                }
                self.streams.mark(ssrc, index);
                Ok(end - gcm::TAG_BYTES)
            }
        }
    }
}

fn sender(packet: &[u8]) -> Option<u32> {
    let [_, _, _, _, a, b, c, d, ..] = *packet else { return None };
    Some(u32::from_be_bytes([a, b, c, d]))
}

fn last_word(bytes: &[u8]) -> Option<u32> {
    bytes.last_chunk().map(|word| u32::from_be_bytes(*word))
}

fn new_index(streams: &Streams, ssrc: u32, word: u32) -> Result<ExtendedSequenceNumber, SrtpError> {
    let index = ExtendedSequenceNumber(u64::from(word & INDEX_MAX));
    if streams.seen(ssrc).is_new(index) { Ok(index) } else { Err(SrtpError::Replay) }
}

/// What the tag covers beside the ciphertext: the header and the word of flag and index
/// (RFC 7714 §9.2).
fn associated(header: &[u8], word: [u8; INDEX_BYTES]) -> Option<[u8; HEADER_BYTES + INDEX_BYTES]> {
    let mut associated = [0; HEADER_BYTES + INDEX_BYTES];
    let (first, last) = associated.split_at_mut(HEADER_BYTES);
    first.copy_from_slice(header.get(..HEADER_BYTES)?);
    last.copy_from_slice(&word);
    Some(associated)
}

/// The header with the sender's SSRC stays in the clear.
const HEADER_BYTES: usize = 8;
const INDEX_BYTES: usize = 4;
const ENCRYPTED: u32 = 1 << 31;
const INDEX_MAX: u32 = ENCRYPTED - 1;
