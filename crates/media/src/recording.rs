//! Recording what a leg hears and sends: copies of its packets, decoded elsewhere.
//!
//! ```text
//!   shard: Tap ──► bounded ring of packets ──► Mixdown: playout of each side ─► frames of 20 ms
//! ```
//!
//! The packet path only copies: decoding, mixing and writing are the work of whoever holds the
//! [`Mixdown`]. A ring that is full loses packets of its own recording and of nothing else.

mod silence;
mod voice;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

pub(crate) use silence::SilenceMeter;
use voice::Voice;

use crate::{
    codec::{Codec, FRAME_MS},
    jitter_buffer::PAYLOAD_BYTES_MAX,
    rtp::{ExtendedSequenceNumber, RtpTimestamp},
    shard::{Media, MediaKind, StreamId},
};

/// What is recorded of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// What it hears from its peer.
    Heard,
    /// What it hears and what it sends, mixed.
    Mixed,
    /// What it hears on the left, what it sends on the right.
    Stereo,
}

impl Layout {
    /// Samples of each instant.
    pub fn channels(self) -> u16 {
        match self {
            Layout::Heard | Layout::Mixed => 1,
            Layout::Stereo => 2,
        }
    }
}

/// Tells one recording from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordingId(pub u64);

/// The end of a recording at a leg: takes copies of packets. The recording ends when all clones of
/// it are dropped, such as with the leg.
#[derive(Clone, Debug)]
pub struct Tap {
    id: RecordingId,
    layout: Layout,
    packets: SyncSender<Tapped>,
    dropped: Arc<AtomicU64>,
}

/// The other end: what was tapped, as PCM.
#[derive(Debug)]
pub struct Mixdown {
    packets: Receiver<Tapped>,
    layout: Layout,
    heard: Voice,
    sent: Voice,
    /// A packet whose time has not come.
    ahead: Option<Tapped>,
    /// The end of the next frame; before the first packet there may be none.
    next_turn: Option<Instant>,
    is_open: bool,
    frame: Box<[i16]>,
}

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// From the peer.
    Heard,
    /// To the peer.
    Sent,
}

/// A packet as it was copied.
#[derive(Debug)]
struct Tapped {
    side: Side,
    at: Instant,
    kind: MediaKind,
    stream: StreamId,
    number: ExtendedSequenceNumber,
    timestamp: RtpTimestamp,
    len: usize,
    payload: [u8; PAYLOAD_BYTES_MAX],
}

/// The two ends of a recording at `rate_hz`, 8000 or 16000. It begins at `begins` or, without it,
/// with the first packet. Lost packets are counted in `dropped`.
pub fn tap(
    id: RecordingId,
    layout: Layout,
    rate_hz: u32,
    begins: Option<Instant>,
    dropped: Arc<AtomicU64>,
) -> (Tap, Mixdown) {
    let (sender, packets) = sync_channel(PACKETS_MAX);
    let frame_len = (rate_hz / 1000 * FRAME_MS) as usize;
    let mixdown = Mixdown {
        packets,
        layout,
        heard: Voice::new(rate_hz),
        sent: Voice::new(rate_hz),
        ahead: None,
        next_turn: begins.map(|begins| begins + FRAME),
        is_open: true,
        frame: vec![0; frame_len * usize::from(layout.channels())].into(),
    };
    (Tap { id, layout, packets: sender, dropped }, mixdown)
}

/// The rate at which nothing of a codec's sound is lost that a telephone call has.
pub fn rate_hz(codec: Codec) -> u32 {
    match codec {
        Codec::Pcmu | Codec::Pcma => 8_000,
        Codec::Opus | Codec::G722 => 16_000,
    }
}

impl Tap {
    /// Names the recording, for [`crate::shard::Command::StopRecord`].
    pub fn id(&self) -> RecordingId {
        self.id
    }

    /// Copies a packet into the ring, if it is to be recorded. Neither blocks nor allocates.
    pub(crate) fn push(&self, side: Side, media: &Media<'_>, at: Instant) {
        if side == Side::Sent && self.layout == Layout::Heard {
            return;
        }
        let Some(tapped) = Tapped::new(side, media, at) else { return };
        // One that has ended by itself takes nothing any more.
        if let Err(TrySendError::Full(_)) = self.packets.try_send(tapped) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Mixdown {
    /// The next frame of 20 ms, its channels interleaved, if its time is over at `until`; all that
    /// came before `until` must have been tapped by now.
    pub fn frame(&mut self, until: Instant) -> Option<&[i16]> {
        while let Some(tapped) = self.next_packet() {
            let turn = *self.next_turn.get_or_insert(tapped.at + FRAME);
            if tapped.at >= turn {
                self.ahead = Some(tapped);
                break;
            }
            let voice = match tapped.side {
                Side::Heard => &mut self.heard,
                Side::Sent => &mut self.sent,
            };
            voice.push(&tapped.media(), tapped.at);
        }
        let turn = self.next_turn.filter(|turn| *turn <= until || self.ahead.is_some())?;
        self.next_turn = Some(turn + FRAME);
        self.mix(turn);
        Some(&self.frame)
    }

    /// Whether more may come.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    fn next_packet(&mut self) -> Option<Tapped> {
        if self.ahead.is_some() {
            return self.ahead.take();
        }
        match self.packets.try_recv() {
            Ok(tapped) => Some(tapped),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.is_open = false;
                None
            }
        }
    }

    fn mix(&mut self, turn: Instant) {
        let heard = self.heard.frame(turn);
        match self.layout {
            Layout::Heard => self.frame.copy_from_slice(heard),
            Layout::Mixed => {
                let both = heard.iter().zip(self.sent.frame(turn));
                for (mixed, (heard, sent)) in self.frame.iter_mut().zip(both) {
                    *mixed = heard.saturating_add(*sent);
                }
            }
            Layout::Stereo => {
                let both = heard.iter().zip(self.sent.frame(turn));
                for (pair, (heard, sent)) in self.frame.chunks_exact_mut(2).zip(both) {
                    pair.copy_from_slice(&[*heard, *sent]);
                }
            }
        }
    }
}

impl Tapped {
    fn new(side: Side, media: &Media<'_>, at: Instant) -> Option<Self> {
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        let len = media.payload.len();
        payload.get_mut(..len)?.copy_from_slice(media.payload);
        let Media { kind, stream, number, timestamp, .. } = *media;
        Some(Self { side, at, kind, stream, number, timestamp, len, payload })
    }

    fn media(&self) -> Media<'_> {
        Media {
            kind: self.kind,
            stream: self.stream,
            number: self.number,
            timestamp: self.timestamp,
            marker: false,
            payload: self.payload.get(..self.len).unwrap_or_default(),
        }
    }
}

const FRAME: Duration = Duration::from_millis(FRAME_MS as u64);
/// Packets that may wait to be decoded: more than a second of both sides.
const PACKETS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "test code")]
    use super::*;
    use crate::codec::g711;

    /// 20 ms of µ-law at one level.
    fn say(tap: &Tap, side: Side, n: u64, level: i16, at: Instant) {
        let payload = [g711::encode_ulaw(level); 160];
        let media = Media {
            kind: MediaKind::Audio(Codec::Pcmu),
            stream: StreamId { leg: 1, ordinal: 1 },
            number: ExtendedSequenceNumber(100 + n),
            timestamp: RtpTimestamp(160 * n as u32),
            marker: false,
            payload: &payload,
        };
        tap.push(side, &media, at);
    }

    fn record(layout: Layout, rate_hz: u32) -> Vec<i16> {
        let start = Instant::now();
        let (tap, mut mixdown) = tap(RecordingId(1), layout, rate_hz, Some(start), Arc::default());
        let mut samples = Vec::new();
        for n in 0..50 {
            let at = start + FRAME * n as u32;
            say(&tap, Side::Heard, n, 1000, at);
            say(&tap, Side::Sent, n, 4000, at);
            while let Some(frame) = mixdown.frame(at) {
                samples.extend_from_slice(frame);
            }
        }
        assert!(mixdown.is_open());
        drop(tap);
        assert!(mixdown.frame(start).is_none() && !mixdown.is_open());
        samples
    }

    fn is_near(sample: i16, level: i16) -> bool {
        (sample - level).abs() < level / 16
    }

    #[test]
    fn each_layout_has_its_sides() {
        for rate_hz in [8_000, 16_000] {
            let second = rate_hz as usize;
            let heard = record(Layout::Heard, rate_hz);
            assert_eq!(heard.len(), second / 50 * 49);
            assert!(heard[second / 2..].iter().all(|sample| is_near(*sample, 1000)));
            let mixed = record(Layout::Mixed, rate_hz);
            assert!(mixed[second / 2..].iter().all(|sample| is_near(*sample, 5000)));
            let stereo = record(Layout::Stereo, rate_hz);
            let mut pairs = stereo[second..].chunks(2);
            assert!(pairs.all(|pair| is_near(pair[0], 1000) && is_near(pair[1], 4000)));
        }
    }

    #[test]
    fn a_full_ring_loses_packets_and_counts_them() {
        let (start, dropped) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let (tap, _mixdown) = tap(RecordingId(1), Layout::Heard, 8_000, None, Arc::clone(&dropped));
        for n in 0..PACKETS_MAX as u64 + 5 {
            say(&tap, Side::Heard, n, 1000, start);
            say(&tap, Side::Sent, n, 1000, start);
        }
        assert_eq!(dropped.load(Relaxed), 5);
    }

    #[test]
    fn a_recording_begins_with_its_first_packet_or_when_it_is_said_to() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        for (begins, frames) in [(None, 1), (Some(start), 51)] {
            let (tap, mut mixdown) =
                tap(RecordingId(1), Layout::Heard, 8_000, begins, Arc::default());
            say(&tap, Side::Heard, 0, 1000, later);
            let mut count = 0;
            while mixdown.frame(later + FRAME).is_some() {
                count += 1;
            }
            assert_eq!(count, frames);
        }
    }
}
