//! The stream that a leg sends: one SSRC for the leg's life, whatever is played or forwarded.

use super::{
    forwarded::Source,
    transmit::{Media, MediaKind},
};
use crate::{
    codec::FRAME_MS,
    rtp::{ExtendedSequenceNumber, Header, PayloadType, RtpTimestamp, SequenceTracker, Ssrc},
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
    /// The furthest timestamp that was sent.
    timestamp: RtpTimestamp,
    /// When `timestamp` was sent first, in milliseconds of the shard's clock.
    at_ms: Option<u64>,
    source: Option<Source>,
    /// The next packet begins a talk-spurt (RFC 3551 §4.1).
    starts_talk: bool,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// A moment of the shard's clock, for a stream of some clock rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at_ms: u64,
    pub(crate) ticks_per_ms: u32,
}

impl Moment {
    /// The ticks since `before_ms`.
    pub(super) fn ticks_since(self, before_ms: u64) -> u32 {
        self.ticks(self.at_ms.saturating_sub(before_ms))
    }

    pub(super) fn ticks(self, milliseconds: u64) -> u32 {
        (milliseconds as u32).wrapping_mul(self.ticks_per_ms)
    }
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
            let frame_ms = u64::from(FRAME_MS);
            let frames = ((at_ms.saturating_sub(before) + frame_ms / 2) / frame_ms).max(1);
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
    /// numbers and times are moved to follow ours. `event` is the code of a DTMF event. `None` when
    /// the number was used before or is too old to tell.
    pub(crate) fn forward(
        &mut self,
        media: &Media<'_>,
        event: Option<u8>,
        payload_type: PayloadType,
        moment: Moment,
    ) -> Option<(Header, ExtendedSequenceNumber)> {
        let known = self.source.filter(|source| source.is_of(media.stream));
        let mut source = known.unwrap_or_else(|| self.follow(media, moment));
        let number = source.number(media.number).filter(|number| self.sent.is_new(*number))?;
        let expected = self.timestamp_at(moment.ticks_per_ms, moment.at_ms);
        let timestamp = match event {
            Some(code) => source.event_time(media, code, expected, moment),
            None => match source.audio_time(media, expected, moment) {
                Some(timestamp) => timestamp,
                None => self.retime(&mut source, media, moment),
            },
        };
        source.forwarded(media, event.is_none(), moment);
        self.source = Some(source);
        self.use_number(number);
        if self.at_ms.is_none() || timestamp.distance_from(self.timestamp) > 0 {
            (self.timestamp, self.at_ms) = (timestamp, Some(moment.at_ms));
        }
        // The marker of an event says that the event begins.
        let starts_talk = event.is_none() && std::mem::take(&mut self.starts_talk);
        let header = Header {
            marker: media.marker || starts_talk,
            payload_type,
            sequence_number: number.sequence_number(),
            timestamp,
            ssrc: self.ssrc,
        };
        Some((header, number))
    }

    /// Takes note of a packet of the stream that is forwarded which is not: no number is left out
    /// for it, so that the receiver does not take it for lost.
    pub(crate) fn pass_over(&mut self, media: &Media<'_>) {
        let next = self.next;
        if let Some(source) = self.source.as_mut().filter(|source| source.is_of(media.stream)) {
            source.pass_over(media.number, next);
        }
        // A pause is heard.
        self.starts_talk |= !matches!(media.kind, MediaKind::Dtmf(_));
    }

    /// Forwarding ends or pauses: whatever is forwarded next follows what was sent last, as long as
    /// the pause may be and however many numbers its sender used meanwhile.
    pub(crate) fn forget_source(&mut self) {
        self.source = None;
    }

    fn follow(&mut self, media: &Media<'_>, moment: Moment) -> Source {
        let mut source = Source::new(media, self.next, moment);
        self.retime(&mut source, media, moment);
        source
    }

    /// Puts a packet of the forwarded stream where ours is by the clock.
    fn retime(&mut self, source: &mut Source, media: &Media<'_>, moment: Moment) -> RtpTimestamp {
        let frame = u64::from(FRAME_MS);
        let gap_ms = self.at_ms.map_or(0, |at| moment.at_ms.saturating_sub(at).max(frame));
        let timestamp = self.timestamp.plus(moment.ticks(gap_ms));
        source.put(media.timestamp, timestamp);
        self.starts_talk = true;
        timestamp
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

    /// The stream's own time at `at_ms`, for a sender report.
    pub(crate) fn timestamp_at(&self, ticks_per_ms: u32, at_ms: u64) -> RtpTimestamp {
        let gap_ms = self.at_ms.map_or(0, |before| at_ms.saturating_sub(before));
        self.timestamp.plus((gap_ms as u32).wrapping_mul(ticks_per_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::Codec, shard::StreamId};

    fn outbound() -> Outbound {
        Outbound::new(Ssrc(7), 0xfffe, 1000)
    }

    fn frame(outbound: &mut Outbound, at_ms: u64) -> (bool, u64, u32) {
        let (header, number) = outbound.next_frame(PayloadType(0), 160, at_ms);
        outbound.count(160);
        (header.marker, number.0, header.timestamp.0)
    }

    fn media(ssrc: u32, number: u64, timestamp: u32) -> Media<'static> {
        Media {
            kind: MediaKind::Audio(Codec::Pcmu),
            stream: StreamId { leg: 1, ordinal: ssrc },
            number: ExtendedSequenceNumber(number),
            timestamp: RtpTimestamp(timestamp),
            marker: false,
            payload: &[],
        }
    }

    fn moment(at_ms: u64) -> Moment {
        Moment { at_ms, ticks_per_ms: 8 }
    }

    fn forward(
        outbound: &mut Outbound,
        ssrc: u32,
        number: u64,
        timestamp: u32,
        at_ms: u64,
    ) -> Option<(bool, u64, u32)> {
        let media = media(ssrc, number, timestamp);
        let (header, number) = outbound.forward(&media, None, PayloadType(0), moment(at_ms))?;
        outbound.count(160);
        Some((header.marker, number.0, header.timestamp.0))
    }

    fn event(outbound: &mut Outbound, number: u64, timestamp: u32, code: u8, at_ms: u64) -> u32 {
        let media = media(1, number, timestamp);
        let moment = moment(at_ms);
        let (header, _) = outbound.forward(&media, Some(code), PayloadType(101), moment).unwrap();
        header.timestamp.0
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
    fn a_packet_from_before_our_first_number_is_left_out_and_the_stream_goes_on() {
        for late_by in [50, 51, 100, 1_000] {
            let mut outbound = Outbound::new(Ssrc(7), 50, 1000);
            assert_eq!(forward(&mut outbound, 1, 9_000, 0, 100), Some((true, 50, 1000)));
            let late = forward(&mut outbound, 1, 9_000 - late_by, 0, 101);
            assert_eq!(late.map(|(_, number, _)| number), (late_by == 50).then_some(0));
            assert_eq!(forward(&mut outbound, 1, 9_001, 160, 120), Some((false, 51, 1160)));
            assert_eq!(outbound.next_number().0, 52);
        }
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
        let jumped = forward(&mut outbound, 1, 3, 0x7000_0000, 60_023);
        assert_eq!(jumped, Some((false, 0x8000, 1160 + 480_000)));
        let next = forward(&mut outbound, 1, 4, 0x7000_0000 + 160, 60_040);
        assert_eq!(next, Some((false, 0x8001, 1320 + 480_000)));
    }

    #[test]
    fn what_is_passed_over_leaves_no_gap() {
        let mut outbound = outbound();
        assert_eq!(forward(&mut outbound, 1, 10, 0, 0).unwrap().1, 0x7ffe);
        outbound.pass_over(&media(1, 11, 160));
        outbound.pass_over(&media(1, 12, 320));
        assert_eq!(forward(&mut outbound, 1, 13, 480, 60), Some((true, 0x7fff, 1480)));
        // One was lost on the way to us, which stays to be seen; another is there twice.
        outbound.pass_over(&media(1, 15, 800));
        outbound.pass_over(&media(1, 15, 800));
        assert_eq!(forward(&mut outbound, 1, 16, 960, 120).unwrap().1, 0x8001);
    }

    #[test]
    fn rfc3550_5_1_a_pause_leaves_no_hole_in_the_numbers_and_the_clock_goes_on() {
        let mut outbound = outbound();
        assert_eq!(forward(&mut outbound, 1, 10, 160, 100), Some((true, 0x7ffe, 1000)));
        outbound.forget_source();
        assert_eq!(forward(&mut outbound, 1, 40_010, 160, 5_100), Some((true, 0x7fff, 41_000)));
        assert_eq!(forward(&mut outbound, 1, 40_011, 320, 5_120), Some((false, 0x8000, 41_160)));
        // What is late is from before the pause.
        assert_eq!(forward(&mut outbound, 1, 40_009, 0, 5_121), None);
    }

    #[test]
    fn rfc3551_4_1_only_the_first_packet_of_a_talk_spurt_is_marked() {
        let mut outbound = outbound();
        let marked = Media { marker: true, ..media(1, 1, 0) };
        let (header, _) = outbound.forward(&marked, None, PayloadType(0), moment(0)).unwrap();
        assert!(header.marker);
        assert!(!forward(&mut outbound, 1, 2, 160, 20).unwrap().0);
        assert!(!frame(&mut outbound, 40).0, "no silence before it");
    }

    #[test]
    fn a_small_jump_of_the_timestamp_is_a_step_like_the_one_before() {
        for jump in [36_000_i32, 4_300, -8_000, i32::MIN] {
            let mut outbound = outbound();
            for n in 0..5 {
                forward(&mut outbound, 1, n, 240 * n as u32, n * 30).unwrap();
            }
            for n in 5..9 {
                let timestamp = (240 * n as u32).wrapping_add_signed(jump);
                // Packets do not come evenly.
                let heard = forward(&mut outbound, 1, n, timestamp, n * 30 + n % 3);
                assert_eq!(heard, Some((false, 0x7ffe + n, 1000 + 240 * n as u32)), "{jump}");
            }
        }
    }

    #[test]
    fn a_pause_and_a_loss_are_passed_on_with_their_time() {
        let mut outbound = outbound();
        forward(&mut outbound, 1, 1, 0, 0);
        // A pause of 3 s that comes 400 ms too soon, as the packet before it was late.
        assert_eq!(forward(&mut outbound, 1, 2, 24_000, 2_600).unwrap().2, 25_000);
        // A stall, and what waited meanwhile.
        for n in 0..50 {
            assert_eq!(
                forward(&mut outbound, 1, 3 + n, 24_160 + 160 * n as u32, 4_000).unwrap().2,
                25_160 + 160 * n as u32
            );
        }
        // A second is lost.
        assert_eq!(forward(&mut outbound, 1, 103, 40_160, 5_020).unwrap().1, 0x7ffe + 102);
        assert_eq!(forward(&mut outbound, 1, 104, 40_320, 5_040).unwrap().2, 41_320);
    }

    #[test]
    fn rfc4733_2_2_1_an_event_has_one_time_whatever_comes_between() {
        let mut outbound = outbound();
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        let mut times = Vec::new();
        for begin in [50_u32, 1_000] {
            let theirs = begin * 160;
            for n in 0..500 {
                let at_ms = u64::from(begin + n) * 20;
                let heard = event(&mut outbound, next(), theirs, 5, at_ms);
                times.push(heard);
                let voice = forward(&mut outbound, 1, next(), theirs + n * 160, at_ms + 1);
                assert_eq!(voice.unwrap().2, heard + n * 160);
            }
        }
        times.dedup();
        assert_eq!(times.len(), 2);
        assert_eq!(times[1] - times[0], 950 * 160);
    }

    #[test]
    fn events_that_follow_each_other_have_times_of_their_own() {
        let mut outbound = outbound();
        forward(&mut outbound, 1, 1, 160, 20);
        let first = event(&mut outbound, 2, 320, 1, 40);
        // A segment of the same key, and one out of order.
        assert_eq!(event(&mut outbound, 4, 320 + 65_535, 1, 8_232), first + 65_535);
        assert_eq!(event(&mut outbound, 3, 320, 1, 8_233), first);
        // Other keys, of a sender whose time stands still, and of one whose time jumps.
        let second = event(&mut outbound, 5, 320 + 65_535, 2, 9_000);
        assert_eq!(event(&mut outbound, 6, 320 + 65_535, 2, 9_020), second);
        let third = event(&mut outbound, 7, 0x7000_0000, 3, 9_500);
        assert_eq!(event(&mut outbound, 8, 0x7000_0000, 3, 9_520), third);
        assert_eq!([second, third].map(|time| time - first), [8_960 * 8 - 1, 9_460 * 8 - 1]);
        assert_eq!(
            forward(&mut outbound, 1, 9, 160 + 9_980 * 8, 10_000).unwrap().2,
            1_000 + 9_980 * 8
        );
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
