//! The stream that a leg sends: one SSRC for the leg's life, whatever is played or forwarded.

use crate::rtp::{
    ExtendedSequenceNumber, Header, PayloadType, RtpTimestamp, SequenceTracker, Ssrc,
};

/// Numbers and times of what a leg sends.
///
/// What is played counts on from what was forwarded before and the other way round, and timestamps
/// go on with the clock over every gap, so that a receiver sees one stream.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) ssrc: Ssrc,
    /// Every number that was used: protection must not see one twice (RFC 3711 §9.1).
    sent: SequenceTracker,
    next: ExtendedSequenceNumber,
    timestamp: RtpTimestamp,
    /// When `timestamp` was sent, in milliseconds of the shard's clock.
    at_ms: Option<u64>,
    source: Option<Source>,
    /// The next packet begins a talk-spurt (RFC 3551 §4.1).
    starts_talk: bool,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// The inbound stream that is forwarded and how its numbers become ours.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: Ssrc,
    numbers: u64,
    ticks: u32,
}

impl Outbound {
    /// A stream that begins at a random `number` and `timestamp`. Numbers begin in the lower half,
    /// so that no packet lost at the start can hide a wrap (RFC 3711 §3.3.1).
    pub(crate) fn new(ssrc: Ssrc, number: u16, timestamp: u32) -> Self {
        Self {
            ssrc,
            sent: SequenceTracker::default(),
            next: ExtendedSequenceNumber(u64::from(number & 0x7fff)),
            timestamp: RtpTimestamp(timestamp),
            at_ms: None,
            source: None,
            starts_talk: true,
            packets: 0,
            bytes: 0,
        }
    }

    /// The header of the next frame we make ourselves, which leaves at `at_ms` of the shard's clock
    /// and lasts `frame_ticks`. The timestamp moves on by whole frames.
    pub(crate) fn next_frame(
        &mut self,
        payload_type: PayloadType,
        frame_ticks: u32,
        at_ms: u64,
    ) -> (Header, ExtendedSequenceNumber) {
        self.source = None;
        if let Some(before) = self.at_ms {
            let frames = ((at_ms.saturating_sub(before) + FRAME_MS / 2) / FRAME_MS).max(1);
            self.starts_talk |= frames > 1;
            self.timestamp = self.timestamp.plus((frames as u32).wrapping_mul(frame_ticks));
        }
        self.at_ms = Some(at_ms);
        let number = self.next;
        self.use_number(number);
        let header = Header {
            marker: std::mem::take(&mut self.starts_talk),
            payload_type,
            sequence_number: number.sequence_number(),
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        (header, number)
    }

    /// The header of a packet that is forwarded from another stream: its gaps and its order stay,
    /// numbers and times are moved to follow ours. `None` when the number was used before or is too
    /// old to tell.
    pub(crate) fn forward(
        &mut self,
        from: (Ssrc, ExtendedSequenceNumber, RtpTimestamp),
        marker: bool,
        payload_type: PayloadType,
        ticks_per_ms: u32,
        at_ms: u64,
    ) -> Option<(Header, ExtendedSequenceNumber)> {
        let (ssrc, number, timestamp) = from;
        let source = match self.source.filter(|source| source.ssrc == ssrc) {
            Some(source) => source,
            None => self.follow(from, ticks_per_ms, at_ms),
        };
        let number = ExtendedSequenceNumber(number.0.wrapping_add(source.numbers) & INDEX_BITS);
        if !self.sent.is_new(number) {
            return None;
        }
        self.use_number(number);
        self.timestamp = timestamp.plus(source.ticks);
        self.at_ms = Some(at_ms);
        let header = Header {
            marker: marker || std::mem::take(&mut self.starts_talk),
            payload_type,
            sequence_number: number.sequence_number(),
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        Some((header, number))
    }

    fn follow(
        &mut self,
        (ssrc, number, timestamp): (Ssrc, ExtendedSequenceNumber, RtpTimestamp),
        ticks_per_ms: u32,
        at_ms: u64,
    ) -> Source {
        let gap_ms = self.at_ms.map_or(0, |before| at_ms.saturating_sub(before).max(FRAME_MS));
        let begin = self.timestamp.plus((gap_ms as u32).wrapping_mul(ticks_per_ms));
        let source = Source {
            ssrc,
            numbers: self.next.0.wrapping_sub(number.0),
            ticks: begin.0.wrapping_sub(timestamp.0),
        };
        self.source = Some(source);
        self.starts_talk = true;
        source
    }

    fn use_number(&mut self, number: ExtendedSequenceNumber) {
        self.sent.mark(number);
        if number >= self.next {
            self.next = number.next();
        }
    }

    pub(crate) fn count(&mut self, payload_bytes: usize) {
        self.packets += 1;
        self.bytes += payload_bytes as u64;
    }

    /// The next frame begins a talk-spurt.
    pub(crate) fn begin_talk(&mut self) {
        self.starts_talk = true;
    }

    /// The stream's own time at `at_ms`, for a sender report.
    pub(crate) fn timestamp_at(&self, ticks_per_ms: u32, at_ms: u64) -> RtpTimestamp {
        let gap_ms = self.at_ms.map_or(0, |before| at_ms.saturating_sub(before));
        self.timestamp.plus((gap_ms as u32).wrapping_mul(ticks_per_ms))
    }
}

const FRAME_MS: u64 = crate::codec::FRAME_MS as u64;
const INDEX_BITS: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound() -> Outbound {
        Outbound::new(Ssrc(7), 0xfffe, 1000)
    }

    fn frame(outbound: &mut Outbound, at_ms: u64) -> (bool, u64, u32) {
        let (header, number) = outbound.next_frame(PayloadType(0), 160, at_ms);
        outbound.count(160);
        (header.marker, number.0, header.timestamp.0)
    }

    fn forward(
        outbound: &mut Outbound,
        ssrc: u32,
        number: u64,
        timestamp: u32,
        at_ms: u64,
    ) -> Option<(bool, u64, u32)> {
        let from = (Ssrc(ssrc), ExtendedSequenceNumber(number), RtpTimestamp(timestamp));
        let (header, number) = outbound.forward(from, false, PayloadType(0), 8, at_ms)?;
        outbound.count(160);
        Some((header.marker, number.0, header.timestamp.0))
    }

    #[test]
    fn frames_follow_each_other_and_the_clock_goes_on_over_a_gap() {
        let mut outbound = outbound();
        assert_eq!(frame(&mut outbound, 100), (true, 0x7ffe, 1000));
        assert_eq!(frame(&mut outbound, 120), (false, 0x7fff, 1160));
        // A second of silence.
        assert_eq!(frame(&mut outbound, 1120), (true, 0x8000, 1160 + 8000));
        assert_eq!(frame(&mut outbound, 1139), (false, 0x8001, 1320 + 8000));
    }

    #[test]
    fn a_forwarded_stream_keeps_its_gaps_and_its_order() {
        let mut outbound = outbound();
        frame(&mut outbound, 100);
        assert_eq!(forward(&mut outbound, 1, 500, 0, 140), Some((true, 0x7fff, 1320)));
        assert_eq!(forward(&mut outbound, 1, 503, 480, 200), Some((false, 0x8002, 1800)));
        assert_eq!(forward(&mut outbound, 1, 502, 320, 201), Some((false, 0x8001, 1640)));
        assert_eq!(forward(&mut outbound, 1, 502, 320, 202), None);
        assert_eq!(frame(&mut outbound, 221).1, 0x8003);
    }

    #[test]
    fn no_number_is_used_twice_when_the_source_changes() {
        let mut outbound = outbound();
        let mut used = std::collections::HashSet::new();
        let mut numbers = Vec::new();
        for n in 0..50 {
            numbers.extend(forward(&mut outbound, 1, 1000 + n, 0, n * 20));
            numbers.extend(forward(&mut outbound, 2, 9, 0, n * 20));
            numbers.push(frame(&mut outbound, n * 20 + 10));
        }
        assert!(numbers.iter().all(|(_, number, _)| used.insert(*number)));
    }
}
