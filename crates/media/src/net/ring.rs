//! The bounded rings by which legs of different shards exchange packets.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
    mpsc,
};

use super::sys::Waker;
use crate::{
    jitter_buffer::PAYLOAD_BYTES_MAX,
    rtp::{ExtendedSequenceNumber, RtpTimestamp},
    shard::{LegId, Media, MediaKind, StreamId},
};

/// One packet on its way, copied: its slot was allocated when the plane started.
pub(super) struct Forwarded {
    pub(super) serial: u64,
    kind: MediaKind,
    stream: StreamId,
    number: ExtendedSequenceNumber,
    timestamp: RtpTimestamp,
    marker: bool,
    len: usize,
    payload: [u8; PAYLOAD_BYTES_MAX],
}

impl Forwarded {
    fn new(serial: u64, media: &Media<'_>) -> Option<Self> {
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        let len = media.payload.len();
        payload.get_mut(..len)?.copy_from_slice(media.payload);
        let Media { kind, stream, number, timestamp, marker, .. } = *media;
        Some(Self { serial, kind, stream, number, timestamp, marker, len, payload })
    }

    pub(super) fn media(&self) -> Media<'_> {
        Media {
            kind: self.kind,
            stream: self.stream,
            number: self.number,
            timestamp: self.timestamp,
            marker: self.marker,
            payload: self.payload.get(..self.len).unwrap_or_default(),
        }
    }
}

/// The end by which other shards put packets in.
#[derive(Clone)]
pub(super) struct RingSender {
    packets: mpsc::SyncSender<Forwarded>,
    waker: Arc<Waker>,
    is_pending: Arc<AtomicBool>,
}

/// The end by which a shard takes packets out.
pub(super) struct RingReceiver {
    packets: mpsc::Receiver<Forwarded>,
    is_pending: Arc<AtomicBool>,
}

/// A ring with room for `packets_max`; `waker` wakes whoever takes them out.
pub(super) fn ring(packets_max: usize, waker: Arc<Waker>) -> (RingSender, RingReceiver) {
    let (sender, receiver) = mpsc::sync_channel(packets_max.max(1));
    let is_pending = Arc::new(AtomicBool::new(false));
    (
        RingSender { packets: sender, waker, is_pending: Arc::clone(&is_pending) },
        RingReceiver { packets: receiver, is_pending },
    )
}

impl RingSender {
    /// Puts a packet in for a leg; `false` when there is no room. Neither blocks nor allocates, and
    /// wakes the other side once for any number of packets.
    pub(super) fn push(&self, peer: LegId, media: &Media<'_>) -> bool {
        let Some(packet) = Forwarded::new(peer.serial, media) else { return false };
        let is_in = self.packets.try_send(packet).is_ok();
        if is_in && !self.is_pending.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
        is_in
    }
}

impl RingReceiver {
    /// To be called before the packets are taken out: what is put in from now on wakes again.
    pub(super) fn begin(&self) {
        self.is_pending.store(false, Ordering::Release);
    }

    pub(super) fn pop(&self) -> Option<Forwarded> {
        self.packets.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;

    #[test]
    fn packets_come_out_whole_and_the_ring_is_bounded() {
        let (sender, receiver) = ring(4, Arc::new(Waker::new().unwrap()));
        let peer = LegId { shard: 1, serial: 42 };
        let media = |number: u64, payload| Media {
            kind: MediaKind::Audio(Codec::Opus),
            stream: StreamId { leg: 1, ordinal: 1 },
            number: ExtendedSequenceNumber(number),
            timestamp: RtpTimestamp(2),
            marker: true,
            payload,
        };
        let taken = (0..10).filter(|n| sender.push(peer, &media(*n, b"payload"))).count();
        assert_eq!(taken, 4);
        receiver.begin();
        let first = receiver.pop().unwrap();
        assert_eq!(
            (first.serial, first.media().number.0, first.media().payload),
            (42, 0, &b"payload"[..])
        );
        assert!(!sender.push(peer, &media(1, &[0; PAYLOAD_BYTES_MAX + 1])));
    }
}
