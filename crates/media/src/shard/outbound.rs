//! The stream that a leg sends: one SSRC for the leg's life, whatever is played or forwarded.

use super::transmit::StreamId;
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
    /// When `timestamp` was sent first, in milliseconds of the shard's clock.
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
    stream: StreamId,
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
        self.step(frame_ticks, at_ms);
        let marker = std::mem::take(&mut self.starts_talk);
        self.numbered(marker, payload_type, self.timestamp)
    }

    /// The stream's time of a DTMF event that begins at `at_ms` (RFC 4733 §2.2.1).
    pub(crate) fn begin_event(&mut self, frame_ticks: u32, at_ms: u64) -> RtpTimestamp {
        self.step(frame_ticks, at_ms);
        // The voice that follows is a talk-spurt of its own.
        self.starts_talk = true;
        self.timestamp
    }

    /// The header of a packet about the DTMF event that began at `timestamp`.
    pub(crate) fn event_packet(
        &mut self,
        marker: bool,
        payload_type: PayloadType,
        timestamp: RtpTimestamp,
    ) -> (Header, ExtendedSequenceNumber) {
        self.numbered(marker, payload_type, timestamp)
    }

    /// Goes on to the frame that leaves at `at_ms`.
    fn step(&mut self, frame_ticks: u32, at_ms: u64) {
        self.source = None;
        if let Some(before) = self.at_ms {
            let frames = ((at_ms.saturating_sub(before) + FRAME_MS / 2) / FRAME_MS).max(1);
            self.starts_talk |= frames > 1;
            self.timestamp = self.timestamp.plus((frames as u32).wrapping_mul(frame_ticks));
        }
        self.at_ms = Some(at_ms);
    }

    fn numbered(
        &mut self,
        marker: bool,
        payload_type: PayloadType,
        timestamp: RtpTimestamp,
    ) -> (Header, ExtendedSequenceNumber) {
        let number = self.next;
        self.use_number(number);
        let sequence_number = number.sequence_number();
        let header = Header { marker, payload_type, sequence_number, timestamp, ssrc: self.ssrc };
        (header, number)
    }

    /// The header of a packet that is forwarded from another stream: its gaps and its order stay,
    /// numbers and times are moved to follow ours. `None` when the number was used before or is too
    /// old to tell.
    pub(crate) fn forward(
        &mut self,
        from: (StreamId, ExtendedSequenceNumber, RtpTimestamp),
        marker: bool,
        payload_type: PayloadType,
        ticks_per_ms: u32,
        at_ms: u64,
    ) -> Option<(Header, ExtendedSequenceNumber)> {
        let (stream, number, timestamp) = from;
        let expected = self.timestamp_at(ticks_per_ms, at_ms);
        let is_near = |source: &Source| {
            let timestamp = timestamp.plus(source.ticks);
            let ahead = timestamp.distance_from(expected);
            // All packets of an event have the time of its begin, however long it lasts.
            ahead.unsigned_abs() <= ticks_per_ms * JUMP_MS || timestamp == self.timestamp
        };
        let source = match self.source.filter(|source| source.stream == stream) {
            Some(source) if is_near(&source) => source,
            Some(source) => self.retime(source, timestamp, ticks_per_ms, at_ms),
            None => self.follow(from, ticks_per_ms, at_ms),
        };
        let number = ExtendedSequenceNumber(number.0.wrapping_add(source.numbers) & INDEX_BITS);
        if !self.sent.is_new(number) {
            return None;
        }
        self.use_number(number);
        let timestamp = timestamp.plus(source.ticks);
        if timestamp != std::mem::replace(&mut self.timestamp, timestamp) || self.at_ms.is_none() {
            self.at_ms = Some(at_ms);
        }
        let header = Header {
            marker: marker || std::mem::take(&mut self.starts_talk),
            payload_type,
            sequence_number: number.sequence_number(),
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        Some((header, number))
    }

    /// Takes note of a packet of the stream that is forwarded which is not: no number is left out
    /// for it, so that the receiver does not take it for lost.
    pub(crate) fn pass_over(&mut self, stream: StreamId, number: ExtendedSequenceNumber) {
        let Some(source) = self.source.as_mut().filter(|source| source.stream == stream) else {
            return;
        };
        if number.0.wrapping_add(source.numbers) & INDEX_BITS >= self.next.0 {
            source.numbers = source.numbers.wrapping_sub(1);
        }
    }

    fn follow(
        &mut self,
        (stream, number, timestamp): (StreamId, ExtendedSequenceNumber, RtpTimestamp),
        ticks_per_ms: u32,
        at_ms: u64,
    ) -> Source {
        let numbers = self.next.0.wrapping_sub(number.0);
        let source = Source { stream, numbers, ticks: 0 };
        self.retime(source, timestamp, ticks_per_ms, at_ms)
    }

    /// Puts `timestamp` of the forwarded stream where ours is at `at_ms`.
    fn retime(
        &mut self,
        source: Source,
        timestamp: RtpTimestamp,
        ticks_per_ms: u32,
        at_ms: u64,
    ) -> Source {
        let gap_ms = self.at_ms.map_or(0, |before| at_ms.saturating_sub(before).max(FRAME_MS));
        let begin = self.timestamp.plus((gap_ms as u32).wrapping_mul(ticks_per_ms));
        let source = Source { ticks: begin.0.wrapping_sub(timestamp.0), ..source };
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

    /// The number of the next frame, with its wraps.
    pub(crate) fn next_number(&self) -> ExtendedSequenceNumber {
        self.next
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
/// A forwarded timestamp this far from the clock is a jump of the sender's, which is not passed on.
const JUMP_MS: u32 = 5_000;
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
        let stream = StreamId { leg: 1, ordinal: ssrc };
        let from = (stream, ExtendedSequenceNumber(number), RtpTimestamp(timestamp));
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
    fn a_jump_of_the_timestamp_is_not_passed_on_and_a_silence_is() {
        let mut outbound = outbound();
        assert_eq!(forward(&mut outbound, 1, 1, 0, 0), Some((true, 0x7ffe, 1000)));
        assert_eq!(forward(&mut outbound, 1, 2, 8 * 60_000, 60_000).unwrap().2, 1000 + 480_000);
        let jumped = forward(&mut outbound, 1, 3, 0x7000_0000, 60_020);
        assert_eq!(jumped, Some((true, 0x8000, 1160 + 480_000)));
        let next = forward(&mut outbound, 1, 4, 0x7000_0000 + 160, 60_040);
        assert_eq!(next, Some((false, 0x8001, 1320 + 480_000)));
    }

    #[test]
    fn what_is_passed_over_leaves_no_gap() {
        let mut outbound = outbound();
        let stream = StreamId { leg: 1, ordinal: 1 };
        assert_eq!(forward(&mut outbound, 1, 10, 0, 0).unwrap().1, 0x7ffe);
        outbound.pass_over(stream, ExtendedSequenceNumber(11));
        outbound.pass_over(stream, ExtendedSequenceNumber(12));
        assert_eq!(forward(&mut outbound, 1, 13, 480, 60).unwrap().1, 0x7fff);
        // One was lost on the way to us, which stays to be seen.
        outbound.pass_over(stream, ExtendedSequenceNumber(15));
        assert_eq!(forward(&mut outbound, 1, 16, 960, 120).unwrap().1, 0x8001);
    }

    #[test]
    fn an_event_has_its_own_time_and_voice_goes_on_behind_it() {
        let mut outbound = outbound();
        frame(&mut outbound, 100);
        let begin = outbound.begin_event(160, 120);
        for n in 0..5 {
            let (header, number) = outbound.event_packet(n == 0, PayloadType(101), begin);
            assert_eq!((header.timestamp, number.0), (RtpTimestamp(1160), 0x7fff + n));
        }
        assert_eq!(frame(&mut outbound, 220), (true, 0x8004, 1160 + 800));
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
