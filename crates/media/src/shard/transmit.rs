//! The shape of what goes into a shard and out of it.

use std::net::SocketAddr;

use crate::{
    codec::Codec,
    rtp::{ExtendedSequenceNumber, RtpTimestamp},
    shard::LegId,
};

/// A leg's place in its shard's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl LegKey {
    /// The place itself, from 0, used again once the leg is gone.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// The socket that a datagram came to or leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// One of the shard's sockets for WebRTC legs.
    Shared(u8),
    /// The RTP socket of a plain leg.
    Rtp(LegKey),
    /// The RTCP socket of a plain leg.
    Rtcp(LegKey),
}

impl Path {
    /// The leg whose own socket it is.
    pub(crate) fn leg(self) -> Option<LegKey> {
        match self {
            Self::Shared(_) => None,
            Self::Rtp(key) | Self::Rtcp(key) => Some(key),
        }
    }
}

/// Where a shard sends. Implementations neither block nor allocate per packet.
pub trait Transmits {
    /// Queues `head` and `payload` as one datagram, of which nothing is needed once it returns.
    fn send(&mut self, path: Path, to: SocketAddr, head: &[u8], payload: &[u8]);

    /// A buffer of [`PACKET_BYTES_MAX`] for the next datagram to be queued.
    fn buffer(&mut self) -> &mut [u8];

    /// Queues the first `len` bytes of the last [`Self::buffer`]. What is queued leaves in this order,
    /// and before the shard's thread waits again.
    fn queue(&mut self, path: Path, to: SocketAddr, len: usize);

    /// Asks for what will be touched when something is sent by the sockets of a leg.
    fn expect(&self, _key: LegKey) {}

    /// Hands a packet to a leg of another shard; `false` when the ring to it is full.
    fn forward(&mut self, peer: LegId, media: &Media<'_>) -> bool;
}

/// The media of one packet on its way from one leg to another.
#[derive(Clone, Copy, Debug)]
pub struct Media<'a> {
    /// What the payload holds.
    pub kind: MediaKind,
    /// The stream it came in.
    pub stream: StreamId,
    /// Its place in that stream.
    pub number: ExtendedSequenceNumber,
    /// Its time in that stream.
    pub timestamp: RtpTimestamp,
    /// The marker bit.
    pub marker: bool,
    /// The codec's bytes.
    pub payload: &'a [u8],
}

impl Media<'_> {
    /// The same, audio said to be of `codec`: a payload that was translated to it.
    pub(crate) fn of(self, codec: Option<Codec>) -> Self {
        let kind = match (self.kind, codec) {
            (MediaKind::Audio(_), Some(codec)) => MediaKind::Audio(codec),
            (kind, _) => kind,
        };
        Self { kind, ..self }
    }
}

/// One of the streams that a leg hears in its life: a peer that changes its SSRC, or jumps in its
/// numbers, begins another, and so does what is passed on after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// The leg, by its number among all legs of the process.
    pub leg: u64,
    /// Which of the leg's streams.
    pub ordinal: u32,
}

/// What a payload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// A frame of a codec.
    Audio(Codec),
    /// A DTMF event, with its clock rate (RFC 4733). Another leg only learns that it used a number.
    Dtmf(u32),
    /// Comfort noise (RFC 3389), for legs that agreed on it.
    ComfortNoise,
}

/// A datagram in a buffer with room for what protection adds.
#[derive(Clone)]
pub struct PacketBuffer {
    pub(crate) bytes: [u8; PACKET_BYTES_MAX],
    pub(crate) len: usize,
}

impl PacketBuffer {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self { bytes: [0; PACKET_BYTES_MAX], len: 0 }
    }

    /// A buffer with a copy of `datagram`, as far as it fits.
    pub fn from_datagram(datagram: &[u8]) -> Self {
        let mut buffer = Self::new();
        buffer.len = datagram.len().min(RECEIVE_BYTES_MAX);
        buffer.bytes[..buffer.len].copy_from_slice(&datagram[..buffer.len]);
        buffer
    }

    /// Where a datagram may be received into.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[..RECEIVE_BYTES_MAX]
    }

    /// Says how many bytes of [`Self::space`] a datagram filled.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(RECEIVE_BYTES_MAX);
    }

    /// The datagram.
    pub fn datagram(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn datagram_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Default for PacketBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes of a buffer; no datagram of ours is longer.
pub const PACKET_BYTES_MAX: usize = 2048;
/// Bytes of a datagram that is received; longer ones are cut and then fail their checks.
pub const RECEIVE_BYTES_MAX: usize = PACKET_BYTES_MAX - 64;
