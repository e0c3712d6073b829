//! The memory of a delayed echo, allocated when it is commanded.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::transmit::Media;
use crate::{
    rtp::{ExtendedSequenceNumber, RtpTimestamp},
    shard::{MediaKind, StreamId},
};

/// Packets that wait for their time.
#[derive(Debug)]
pub(crate) struct DelayRing {
    delay: Duration,
    packets: VecDeque<Waiting>,
    bytes: VecDeque<u8>,
    packets_max: usize,
    bytes_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    due: Instant,
    kind: MediaKind,
    stream: StreamId,
    number: ExtendedSequenceNumber,
    timestamp: RtpTimestamp,
    marker: bool,
    len: usize,
}

impl DelayRing {
    /// Room for `delay` of packets of 10 ms and 10 kB a second: G.711, or Opus at 80 kbit/s.
    pub(crate) fn new(delay: Duration) -> Self {
        let milliseconds = delay.as_millis() as usize;
        let packets_max = milliseconds / 10 + 16;
        let bytes_max = milliseconds * 10 + 4096;
        Self {
            delay,
            packets: VecDeque::with_capacity(packets_max),
            bytes: VecDeque::with_capacity(bytes_max),
            packets_max,
            bytes_max,
        }
    }

    /// Keeps a packet; `false` when there is no room.
    pub(crate) fn push(&mut self, media: &Media<'_>, now: Instant) -> bool {
        let has_room = self.packets.len() < self.packets_max
            && self.bytes.len() + media.payload.len() <= self.bytes_max;
        if !has_room {
            return false;
        }
        self.bytes.extend(media.payload);
        self.packets.push_back(Waiting {
            due: now + self.delay,
            kind: media.kind,
            stream: media.stream,
            number: media.number,
            timestamp: media.timestamp,
            marker: media.marker,
            len: media.payload.len(),
        });
        true
    }

    /// Copies the payload of a packet that is due to the front of `buffer`.
    pub(crate) fn pop<'a>(&mut self, buffer: &'a mut [u8], now: Instant) -> Option<Media<'a>> {
        let waiting = *self.packets.front().filter(|waiting| waiting.due <= now)?;
        self.packets.pop_front();
        let payload = buffer.get_mut(..waiting.len)?;
        for (to, from) in payload.iter_mut().zip(self.bytes.drain(..waiting.len)) {
            *to = from;
        }
        Some(Media {
            kind: waiting.kind,
            stream: waiting.stream,
            number: waiting.number,
            timestamp: waiting.timestamp,
            marker: waiting.marker,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;

    fn media(number: u64, payload: &[u8]) -> Media<'_> {
        Media {
            kind: MediaKind::Audio(Codec::Pcmu),
            stream: StreamId { leg: 1, ordinal: 1 },
            number: ExtendedSequenceNumber(number),
            timestamp: RtpTimestamp(0),
            marker: false,
            payload,
        }
    }

    #[test]
    fn packets_come_out_after_the_delay_and_whole() {
        let mut ring = DelayRing::new(Duration::from_secs(1));
        let start = Instant::now();
        let mut buffer = [0; 400];
        let mut popped = 0;
        for n in 0..500_u64 {
            let now = start + Duration::from_millis(n * 20);
            assert!(ring.push(&media(n, &[n as u8; 160]), now));
            while let Some(media) = ring.pop(&mut buffer, now) {
                assert_eq!((media.number.0, media.payload), (popped, &[popped as u8; 160][..]));
                popped += 1;
            }
        }
        assert_eq!(popped, 450);
    }

    #[test]
    fn room_is_bounded() {
        let mut ring = DelayRing::new(Duration::from_secs(1));
        let now = Instant::now();
        let kept = (0..10_000).filter(|n| ring.push(&media(*n, &[0; 160]), now)).count();
        assert!((50..=116).contains(&kept), "{kept}");
    }
}
