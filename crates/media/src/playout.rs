//! Packets as they come made into an even flow of PCM: order, delay, loss, silence, drift.
//!
//! ```text
//!   push ─► jitter buffer ─► decoder or concealment ─► queue of samples ─► frame, every 20 ms
//! ```
//!
//! The delay is that of the samples and packets that wait. It grows when there is nothing to play
//! at a frame's turn, which is then concealed, and shrinks when for a while every packet came long
//! before its turn: a little is then cut out, at a place where the sound repeats itself. So the
//! delay follows the network, and a peer whose clock goes faster or slower than ours.

use std::time::{Duration, Instant};

use crate::{
    codec::{Codec, Decoder, FRAME_MS, opus},
    comfort_noise::{ComfortNoise, DESCRIBED_FOR_MAX},
    concealment::WaveformConcealment,
    error::Error,
    jitter_buffer::{JitterBuffer, PAYLOAD_BYTES_MAX, Pushed, Waiting},
    rtp::RtpTimestamp,
    sample_queue::SampleQueue,
    shard::{Discard, Media, MediaKind, StreamId},
};

/// One stream on its way to PCM.
#[derive(Debug)]
pub(crate) struct Playout {
    codec: Codec,
    decoder: Decoder,
    /// For codecs that cannot conceal by themselves.
    concealment: Option<WaveformConcealment>,
    rate: Rate,
    packets: JitterBuffer,
    /// Samples that were decoded and not played.
    queue: SampleQueue,
    stream: Option<StreamId>,
    /// The time of the sample that follows the last one in the queue.
    queued_until: RtpTimestamp,
    /// Samples concealed while nothing was there, by which the delay has grown. What is then
    /// missing counts against them.
    stretched: usize,
    /// Samples concealed since the last that was heard.
    concealed: usize,
    /// The peer said that it is silent, in the codec's own way.
    is_resting: bool,
    /// What the peer says its pauses sound like.
    noise: ComfortNoise,
    /// Whether something came lately.
    is_awake: bool,
    last_packet: Instant,
    last_turn: Option<Instant>,
    arrivals: Arrivals,
    /// Samples that the delay is too long by.
    surplus: usize,
    turns_since_cut: u32,
}

/// The sampling rate of the PCM and the clock rate of the timestamps.
#[derive(Clone, Copy, Debug)]
struct Rate {
    pcm_hz: u32,
    clock_hz: u32,
}

/// How packets come: how early, and how unevenly.
#[derive(Debug, Default)]
struct Arrivals {
    /// The least time that a packet of this window had until its turn, in samples.
    earliness_min: Option<i64>,
    /// Turns of this window.
    turns: u32,
    last: Option<(RtpTimestamp, Instant)>,
    /// Interarrival jitter in sixteenths of a sample (RFC 3550 §A.8).
    jitter_16ths: u64,
}

impl Playout {
    /// For a stream of `codec`, as PCM at `pcm_rate_hz`.
    ///
    /// # Errors
    /// The codec does not give that rate.
    pub(crate) fn new(codec: Codec, pcm_rate_hz: u32, now: Instant) -> Result<Self, Error> {
        let needs_concealment = codec != Codec::Opus;
        let frame = (pcm_rate_hz / 1000 * FRAME_MS) as usize;
        Ok(Self {
            codec,
            decoder: Decoder::new(codec, pcm_rate_hz)?,
            concealment: needs_concealment.then(|| WaveformConcealment::new(pcm_rate_hz)),
            rate: Rate { pcm_hz: pcm_rate_hz, clock_hz: codec.clock_rate_hz() },
            packets: JitterBuffer::new(),
            queue: SampleQueue::new(frame * QUEUE_FRAMES_MAX),
            stream: None,
            queued_until: RtpTimestamp(0),
            stretched: 0,
            concealed: usize::MAX,
            is_resting: false,
            noise: ComfortNoise::new(),
            is_awake: true,
            last_packet: now,
            last_turn: None,
            arrivals: Arrivals::default(),
            surplus: 0,
            turns_since_cut: 0,
        })
    }

    /// Whether there is or soon may be something to play.
    pub(crate) fn is_awake(&self) -> bool {
        self.is_awake
    }

    /// Takes a packet in; or says why it is of no use.
    pub(crate) fn push(&mut self, media: &Media<'_>, now: Instant) -> Result<(), Discard> {
        if media.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Discard::TooLong);
        }
        self.last_packet = now;
        self.is_awake = true;
        let payload = match media.kind {
            MediaKind::Audio(_) => media.payload,
            MediaKind::ComfortNoise if self.codec != Codec::Opus => {
                media.payload.get(..NOISE_BYTES).unwrap_or_default()
            }
            MediaKind::Dtmf(_) | MediaKind::ComfortNoise => &[],
        };
        let is_new = self.stream != Some(media.stream);
        if is_new {
            self.noise.end();
        }
        if !is_new && media.number < self.packets.next() {
            return Err(Discard::Late);
        }
        if is_new || self.has_run_dry() || self.is_far(media.timestamp) {
            self.stream = Some(media.stream);
            self.restart(media, now);
        }
        // All packets of a digit have the timestamp of its beginning (RFC 4733 §2.2.1).
        let is_timed = !matches!(media.kind, MediaKind::Dtmf(_));
        if is_timed {
            self.arrivals.arrived(media.timestamp, self.rate, now);
        }
        let mut pushed = self.packets.push(media.number, media.timestamp, payload);
        if pushed == Pushed::NoRoom {
            self.restart(media, now);
            pushed = self.packets.push(media.number, media.timestamp, payload);
        }
        if pushed != Pushed::Kept {
            return Err(Discard::Late);
        }
        if is_timed {
            self.note_earliness(media.timestamp, now);
        }
        self.bound_delay(media.timestamp);
        Ok(())
    }

    /// Fills `pcm` with the next frame.
    pub(crate) fn frame(&mut self, pcm: &mut [i16], now: Instant) {
        self.last_turn = Some(now);
        let awake_for = if self.noise.is_on() { DESCRIBED_FOR_MAX } else { SILENT_FOR_MAX };
        self.is_awake = now.saturating_duration_since(self.last_packet) < awake_for;
        while self.queue.len() < pcm.len() {
            self.queue_more(pcm.len());
        }
        self.cut_surplus(pcm.len());
        self.queue.take(pcm);
        if let Some(surplus) = self.arrivals.turn(self.rate) {
            self.surplus = surplus;
        }
    }

    /// Nothing waits, and nothing has come for longer than can be concealed.
    fn has_run_dry(&self) -> bool {
        self.packets.front().is_none() && self.concealed >= self.concealed_max()
    }

    fn concealed_max(&self) -> usize {
        self.rate.ms(if self.is_resting { RESTING_MS_MAX } else { CONCEALED_MS_MAX })
    }

    /// Puts the packet's turn as far ahead as packets lately needed.
    fn restart(&mut self, media: &Media<'_>, now: Instant) {
        self.packets.restart(media.number);
        let ahead = self.arrivals.delay(self.rate).saturating_sub(self.until_turn(now));
        let begin = media.timestamp.0.wrapping_sub(self.rate.ticks(ahead));
        self.queued_until = RtpTimestamp(begin).plus(self.rate.ticks(self.queue.len()));
        self.stretched = 0;
        self.surplus = 0;
        self.concealed = usize::MAX;
        self.is_resting = false;
        self.arrivals.begin_window();
    }

    /// Whether a timestamp has nothing to do with those before it.
    fn is_far(&self, timestamp: RtpTimestamp) -> bool {
        self.rate.distance(timestamp, self.queued_until).unsigned_abs()
            > self.rate.ms(FAR_MS) as u64
    }

    /// How far ahead of what is played next a timestamp is.
    fn ahead(&self, timestamp: RtpTimestamp) -> i64 {
        let distance = self.rate.distance(timestamp, self.queued_until);
        let counted = distance.clamp(0, self.stretched as i64);
        distance - counted + self.queue.len() as i64
    }

    fn until_turn(&self, now: Instant) -> usize {
        let Some(last) = self.last_turn else { return 0 };
        self.rate.of((last + FRAME).saturating_duration_since(now))
    }

    fn note_earliness(&mut self, timestamp: RtpTimestamp, now: Instant) {
        let (ahead, frame) = (self.ahead(timestamp), self.rate.ms(FRAME_MS as usize) as i64);
        let turns = ahead.div_euclid(frame) * frame;
        self.arrivals.was_early(turns + self.until_turn(now) as i64);
    }

    /// After a burst, such as follows a stall, the oldest packets are given up.
    fn bound_delay(&mut self, newest: RtpTimestamp) {
        if self.ahead(newest) <= self.rate.ms(DELAY_MS_MAX) as i64 {
            return;
        }
        let kept = self.rate.ticks(self.arrivals.delay(self.rate));
        let begin = RtpTimestamp(newest.0.wrapping_sub(kept));
        while let Some(front) = self.packets.front()
            && self.rate.distance(front.timestamp, begin) < 0
        {
            self.packets.take(&front);
        }
        self.queued_until = begin;
        self.stretched = 0;
        self.arrivals.begin_window();
    }

    /// Adds at least one sample to the queue, of which `wanted` would do.
    fn queue_more(&mut self, wanted: usize) {
        let Some(front) = self.packets.front() else { return self.queue_stand_in(wanted) };
        let gap = self.rate.distance(front.timestamp, self.queued_until);
        let counted = usize::try_from(gap).unwrap_or(0).min(self.stretched);
        self.queued_until = self.queued_until.plus(self.rate.ticks(counted));
        self.stretched -= counted;
        let gap = gap - counted as i64;
        if gap <= 0 {
            return self.decode(&front, gap.unsigned_abs() as usize);
        }
        let gap = gap as usize;
        let is_lost = front.number > self.packets.next();
        if is_lost && self.concealed < self.concealed_max() {
            self.conceal_before(&front, gap);
        } else {
            let len = gap.min(wanted);
            self.noise.fill(self.queue.room(len));
            self.queue.grow(len);
            self.queued_until = self.queued_until.plus(self.rate.ticks(len));
        }
    }

    /// Nothing is there: it is late, lost, or was never sent.
    fn queue_stand_in(&mut self, wanted: usize) {
        if self.concealed >= self.concealed_max() {
            self.noise.fill(self.queue.room(wanted));
            return self.queue.grow(wanted);
        }
        let len = self.conceal(None, wanted);
        self.stretched += len;
        if self.concealed >= self.concealed_max() {
            self.queue.fade_out(len);
        }
    }

    /// Conceals what was lost before a packet that is there.
    fn conceal_before(&mut self, front: &Waiting, gap: usize) {
        let whole = self.rate.ms(LOST_AT_ONCE_MS);
        if gap > whole {
            let len = self.conceal(None, self.rate.ms(FRAME_MS as usize));
            self.queued_until = self.queued_until.plus(self.rate.ticks(len));
            return;
        }
        // libopus conceals multiples of 2.5 ms.
        let step = self.rate.pcm_hz as usize / 400;
        let len = if self.codec == Codec::Opus { gap - gap % step } else { gap };
        if len > 0 {
            self.conceal(Some(front), len);
        }
        self.queued_until = self.queued_until.plus(self.rate.ticks(gap));
        if len == 0 {
            // Less than can be concealed is left out; the packet is at hand now.
            self.decode(front, 0);
        }
    }

    /// Queues `len` samples that stand in for what is missing, with the help of what follows.
    fn conceal(&mut self, next: Option<&Waiting>, len: usize) -> usize {
        let room = self.queue.room(len);
        match (&mut self.concealment, &mut self.decoder) {
            (Some(concealment), _) => concealment.conceal(room),
            (None, Decoder::Opus(decoder)) => {
                let next = next.map(|next| self.packets.payload(next));
                let filled = decoder.conceal(next, room).unwrap_or(0);
                if let Some(rest) = room.get_mut(filled..) {
                    rest.fill(0);
                }
            }
            (None, _) => room.fill(0),
        }
        self.queue.grow(len);
        self.concealed = self.concealed.saturating_add(len);
        len
    }

    /// Decodes a packet whose turn has come, without its first `late` samples if something was lost
    /// before it and has been concealed for longer than it lasted.
    fn decode(&mut self, front: &Waiting, late: usize) {
        let is_next = front.number == self.packets.next();
        let payload = self.packets.payload(front);
        // Of no codec but Opus this is audio: it would be over before it is heard.
        if let [level] = *payload
            && self.codec != Codec::Opus
        {
            self.noise.begin(level);
            self.concealed = usize::MAX;
            return self.packets.take(front);
        }
        let room = self.queue.all_room();
        let len = match payload.is_empty() {
            true => 0,
            false => self.decoder.decode(payload, room).unwrap_or(0).min(room.len()),
        };
        self.is_resting = self.codec == Codec::Opus && payload.len() <= opus::DTX_BYTES_MAX;
        self.packets.take(front);
        if len == 0 {
            return;
        }
        if let Some(concealment) = &mut self.concealment {
            concealment.heard(&mut room[..len]);
        }
        self.noise.end();
        let late = if is_next { 0 } else { late.min(len) };
        room.copy_within(late..len, 0);
        self.queue.grow(len - late);
        self.queued_until = front.timestamp.plus(self.rate.ticks(len));
        self.stretched = 0;
        self.concealed = 0;
    }

    /// Shortens the delay: by what is silent, or by a part that resembles what follows it.
    fn cut_surplus(&mut self, frame: usize) {
        self.turns_since_cut = self.turns_since_cut.saturating_add(1);
        let least = self.rate.ms(CUT_MS_MIN);
        if self.surplus < least || self.turns_since_cut < TURNS_BETWEEN_CUTS {
            return;
        }
        // What overlaps must be there, beside the frame and what is cut.
        let blend = self.rate.ms(BLEND_MS);
        while self.queue.len() < 2 * frame + blend {
            if self.packets.front().is_none() {
                return;
            }
            self.queue_more(frame);
        }
        let most = self.surplus.min(frame);
        let cut = self.queue.best_cut(least, most, blend);
        self.queue.cut(cut, blend);
        self.surplus -= cut;
        self.turns_since_cut = 0;
        self.arrivals.begin_window();
    }
}

impl Rate {
    fn ms(self, milliseconds: usize) -> usize {
        self.pcm_hz as usize / 1000 * milliseconds
    }

    fn of(self, duration: Duration) -> usize {
        (duration.as_micros() * u128::from(self.pcm_hz) / 1_000_000) as usize
    }

    fn ticks(self, samples: usize) -> u32 {
        (samples as u64 * u64::from(self.clock_hz) / u64::from(self.pcm_hz)) as u32
    }

    /// How far `a` is ahead of `b` in samples.
    fn distance(self, a: RtpTimestamp, b: RtpTimestamp) -> i64 {
        i64::from(a.distance_from(b)) * i64::from(self.pcm_hz) / i64::from(self.clock_hz)
    }
}

impl Arrivals {
    fn arrived(&mut self, timestamp: RtpTimestamp, rate: Rate, now: Instant) {
        if let Some((last_timestamp, last)) = self.last {
            let took = rate.of(now.saturating_duration_since(last)) as i64;
            let difference = (took - rate.distance(timestamp, last_timestamp)).unsigned_abs();
            // More than a second is a silence or a jump.
            if difference < u64::from(rate.pcm_hz) {
                let jitter = self.jitter_16ths;
                self.jitter_16ths = jitter - ((jitter + 8) >> 4) + difference;
            }
        }
        self.last = Some((timestamp, now));
    }

    fn was_early(&mut self, samples: i64) {
        self.earliness_min = Some(self.earliness_min.map_or(samples, |least| least.min(samples)));
    }

    /// The delay to begin a talk-spurt with, in samples.
    fn delay(&self, rate: Rate) -> usize {
        let jitter = (self.jitter_16ths >> 4) as usize;
        (rate.ms(DELAY_MS_MIN) + 3 * jitter).min(rate.ms(DELAY_MS_MAX))
    }

    fn begin_window(&mut self) {
        self.earliness_min = None;
        self.turns = 0;
    }

    /// A turn passed; at the end of a window, how many samples earlier than needed all packets came.
    fn turn(&mut self, rate: Rate) -> Option<usize> {
        self.turns += 1;
        if self.turns < WINDOW_TURNS {
            return None;
        }
        let margin = (rate.ms(MARGIN_MS) + 2 * (self.jitter_16ths >> 4) as usize) as i64;
        let surplus = self.earliness_min.map_or(0, |least| (least - margin).max(0));
        self.begin_window();
        Some(surplus as usize)
    }
}

const FRAME: Duration = Duration::from_millis(FRAME_MS as u64);
/// The delay between the coming of a packet and its turn: at the beginning of a talk-spurt, ...
const DELAY_MS_MIN: usize = 30;
/// ... and at the most. What comes in a burst beyond it is given up.
const DELAY_MS_MAX: usize = 200;
/// What packets may come early, beside their jitter, before the delay is shortened.
const MARGIN_MS: usize = 8;
/// Turns over which it is watched how early packets come: two seconds.
const WINDOW_TURNS: u32 = 100;
/// No more than this is concealed in a row; then there is silence.
const CONCEALED_MS_MAX: usize = 100;
/// Opus fills the pauses of a peer that says it is silent with noise like that before; such a peer
/// sends something every 400 ms.
const RESTING_MS_MAX: usize = 1000;
/// So much of a loss is concealed in one go, together with what follows.
const LOST_AT_ONCE_MS: usize = 60;
/// A timestamp this far from the last one is another timeline.
const FAR_MS: usize = 2000;
/// How long silence is sent after the last packet; then nothing is, until the next one.
const SILENT_FOR_MAX: Duration = Duration::from_secs(2);
/// The level of comfort noise; what follows it is not used.
const NOISE_BYTES: usize = 1;
const CUT_MS_MIN: usize = 4;
const TURNS_BETWEEN_CUTS: u32 = 5;
const BLEND_MS: usize = 4;
/// Room for the frame played, two more, and the longest that a packet holds: 200 ms of G.711.
const QUEUE_FRAMES_MAX: usize = 14;
