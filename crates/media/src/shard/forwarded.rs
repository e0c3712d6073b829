//! The stream that a leg forwards, and how its numbers and times become the leg's own.

use super::{
    outbound::Moment,
    transmit::{Media, StreamId},
};
use crate::{
    codec::FRAME_MS,
    rtp::{ExtendedSequenceNumber, RtpTimestamp},
};

/// An inbound stream that is forwarded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    stream: StreamId,
    /// What is added to its numbers and to its times, so that they are ours.
    numbers: u64,
    ticks: u32,
    /// The number after the newest that came.
    next: ExtendedSequenceNumber,
    /// The newest packet of audio: its timestamp, when it came, and how far apart such packets are.
    audio: Option<(RtpTimestamp, u64)>,
    step: u32,
    event: Option<Event>,
}

/// A DTMF event that is passed on as it comes.
#[derive(Clone, Copy, Debug)]
struct Event {
    code: u8,
    theirs: RtpTimestamp,
    ours: RtpTimestamp,
}

impl Source {
    /// A stream whose packet gets the number `next`. Its time is yet to be [`Self::put`].
    pub(super) fn new(media: &Media<'_>, next: ExtendedSequenceNumber, moment: Moment) -> Self {
        Self {
            stream: media.stream,
            numbers: next.0.wrapping_sub(media.number.0),
            ticks: 0,
            next: media.number,
            audio: None,
            step: moment.ticks(u64::from(FRAME_MS)),
            event: None,
        }
    }

    pub(super) fn is_of(&self, stream: StreamId) -> bool {
        self.stream == stream
    }

    /// Ours for one of its numbers; `None` for a packet from before what we began with.
    pub(super) fn number(&self, number: ExtendedSequenceNumber) -> Option<ExtendedSequenceNumber> {
        let ours = number.0.wrapping_add(self.numbers);
        (ours <= INDEX_BITS).then_some(ExtendedSequenceNumber(ours))
    }

    /// Makes `ours` of the time `theirs`.
    pub(super) fn put(&mut self, theirs: RtpTimestamp, ours: RtpTimestamp) {
        self.ticks = ours.0.wrapping_sub(theirs.0);
    }

    /// A packet is not forwarded: if ours would have been at least `next`, nothing is left out.
    pub(super) fn pass_over(
        &mut self,
        number: ExtendedSequenceNumber,
        next: ExtendedSequenceNumber,
    ) {
        if number < self.next {
            return;
        }
        if self.number(number).is_some_and(|ours| ours >= next) {
            self.numbers = self.numbers.wrapping_sub(1);
        }
        self.next = number.next();
    }

    /// Takes note of a packet that is forwarded.
    pub(super) fn forwarded(&mut self, media: &Media<'_>, is_audio: bool, moment: Moment) {
        if media.number < self.next {
            return;
        }
        if is_audio {
            let step = self.audio.map_or(0, |(before, _)| media.timestamp.distance_from(before));
            let is_next = media.number == self.next;
            if is_next && (1..=moment.ticks(STEP_MS_MAX) as i32).contains(&step) {
                self.step = step.unsigned_abs();
            }
            self.audio = Some((media.timestamp, moment.at_ms));
        }
        self.next = media.number.next();
    }

    /// The time of a packet of audio where the clock says that it is `expected`; `None` where that
    /// of its sender has jumped by more than it can tell. A jump between two packets that follow
    /// each other is a step like the one before.
    pub(super) fn audio_time(
        &mut self,
        media: &Media<'_>,
        expected: RtpTimestamp,
        moment: Moment,
    ) -> Option<RtpTimestamp> {
        let ours = media.timestamp.plus(self.ticks);
        let ahead = ours.distance_from(expected);
        let is_far = |ms| ahead.unsigned_abs() > moment.ticks(ms);
        let Some((before, at_ms)) = self.audio else {
            return (!is_far(JUMP_MS_MIN)).then_some(ours);
        };
        if media.number < self.next {
            return Some(ours);
        }
        let step = media.timestamp.distance_from(before);
        let gap = moment.ticks_since(at_ms);
        let is_next =
            media.number == self.next && gap <= self.step.saturating_add(moment.ticks(JITTER_MS));
        let is_ahead = i64::from(step) > i64::from(gap) + i64::from(moment.ticks(JUMP_MS_MIN));
        if !is_far(JUMP_MS) && step >= 0 && !(is_next && is_ahead) {
            return Some(ours);
        }
        let ours = before.plus(self.ticks).plus(self.step);
        is_next.then(|| {
            self.put(media.timestamp, ours);
            ours
        })
    }

    /// The time of a packet about a DTMF event: that of its begin, however long it lasts and
    /// whatever comes between (RFC 4733 §2.2.1). It is another one for each event.
    pub(super) fn event_time(
        &mut self,
        media: &Media<'_>,
        code: u8,
        expected: RtpTimestamp,
        moment: Moment,
    ) -> RtpTimestamp {
        let theirs = media.timestamp;
        let is_it = |event: &Event| event.theirs == theirs && event.code == code;
        if let Some(event) = self.event.filter(is_it) {
            return event.ours;
        }
        let mut ours = theirs.plus(self.ticks);
        // What is late is of an event before.
        if media.number < self.next {
            return ours;
        }
        let ahead = ours.distance_from(expected);
        if ahead > moment.ticks(JUMP_MS_MIN) as i32 || ahead < -(moment.ticks(JUMP_MS) as i32) {
            ours = expected;
        }
        if let Some(before) = self.event.map(|event| event.ours)
            && ours.distance_from(before) <= 0
        {
            let is_over = expected.distance_from(before) > 0;
            ours = if is_over { expected } else { before.plus(self.step) };
        }
        self.event = Some(Event { code, theirs, ours });
        ours
    }
}

/// A forwarded timestamp this far from the clock is a jump of the sender's, which is not passed on.
const JUMP_MS: u64 = 5_000;
/// And this far, if neither packets nor time are missing before it.
const JUMP_MS_MIN: u64 = 500;
/// A packet may come so late without being the end of a pause.
const JITTER_MS: u64 = 100;
/// No packet of a voice lasts longer.
const STEP_MS_MAX: u64 = 200;
const INDEX_BITS: u64 = (1 << 48) - 1;
