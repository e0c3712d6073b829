//! What known work costs while a load runs: the unit of what is measured in the same seconds.
//!
//! Where a machine is shared with others, the same system call costs half as much again a few
//! seconds later, and more while the caches serve a load than when nothing else runs. So a thread
//! does a burst of the known work ten times a second beside the load, and counts its own CPU time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use media::codec::opus::{Encoder, Settings};
use media::codec::{Codec, Decoder};
use media::net::MediaConfig;
use media::sdp::OpusParameters;

use crate::baseline::Target;
use crate::error::Error;
use crate::net;
use crate::speaker::{self, Said};
use crate::worker::Worker;

/// A thread that does the same known work again and again, until this is dropped.
pub struct Yardstick {
    done: Arc<Mutex<Mark>>,
    work: Worker<()>,
}

/// What a yardstick had done at some time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    used: Duration,
    count: u64,
}

impl Yardstick {
    /// Datagrams by `sendto`, one after the other, as in [`crate::baseline`].
    ///
    /// # Errors
    /// [`Error::Io`] when a socket or a thread cannot be had.
    pub fn sendto() -> Result<Yardstick, Error> {
        let target = Target::open(0)?;
        let sender = target.sender()?;
        let burst = move || target.burst(&sender, DATAGRAMS).map(|used| (used, DATAGRAMS as u64));
        Yardstick::start("yard-sendto", burst)
    }

    /// What libopus does for a pair of legs and a frame both ways, of which one has Opus: a frame
    /// is decoded and another encoded, at `pcm_rate_hz`.
    ///
    /// # Errors
    /// libopus fails, or a thread cannot be had.
    pub fn libopus(pcm_rate_hz: u32) -> Result<Yardstick, Error> {
        let mut libopus = Libopus::new(pcm_rate_hz)?;
        let burst = move || {
            let before = net::thread_cpu();
            (0..FRAMES).try_for_each(|_| libopus.frame())?;
            Ok((net::thread_cpu() - before, FRAMES))
        };
        Yardstick::start("yard-libopus", burst)
    }

    fn start(
        name: &str,
        mut burst: impl FnMut() -> Result<(Duration, u64), Error> + Send + 'static,
    ) -> Result<Yardstick, Error> {
        let done = Arc::new(Mutex::new(Mark::default()));
        let tally = Arc::clone(&done);
        let work = Worker::start(name, move |stop| {
            while !stop.load(Ordering::Relaxed) {
                let (used, count) = burst()?;
                let mut done = tally.lock().unwrap_or_else(PoisonError::into_inner);
                *done = Mark { used: done.used + used, count: done.count + count };
                drop(done);
                thread::sleep(PERIOD);
            }
            Ok(())
        })?;
        Ok(Yardstick { done, work })
    }

    /// What has been done so far.
    #[must_use]
    pub fn mark(&self) -> Mark {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds of CPU for each since then; NaN without any.
    #[must_use]
    pub fn since(&self, mark: Mark) -> f64 {
        let now = self.mark();
        (now.used - mark.used).as_nanos() as f64 / (now.count - mark.count) as f64
    }

    /// Ends it.
    ///
    /// # Errors
    /// What ended it before.
    pub fn stop(self) -> Result<(), Error> {
        self.work.stop()
    }
}

/// An encoder, a decoder, and what they are given.
struct Libopus {
    encoder: Encoder,
    decoder: Decoder,
    frames: Vec<Vec<i16>>,
    said: Said,
    at: usize,
    pcm: Vec<i16>,
    payload: [u8; 1275],
}

impl Libopus {
    fn new(pcm_rate_hz: u32) -> Result<Libopus, Error> {
        let complexity = MediaConfig::default().opus_complexity;
        let settings = Settings::for_peer(&OpusParameters::default(), complexity, pcm_rate_hz);
        let frames = speaker::frames(pcm_rate_hz);
        Ok(Libopus {
            encoder: Encoder::new(pcm_rate_hz, settings).map_err(Error::media)?,
            decoder: Decoder::new(Codec::Opus, pcm_rate_hz).map_err(Error::media)?,
            pcm: vec![0; frames[0].len()],
            frames,
            said: speaker::said(Codec::Opus)?,
            at: 0,
            payload: [0; 1275],
        })
    }

    fn frame(&mut self) -> Result<(), Error> {
        let at = self.at % self.frames.len().min(self.said.len());
        self.at = at + 1;
        self.encoder.encode(&self.frames[at], &mut self.payload).map_err(Error::media)?;
        self.decoder.decode(&self.said[at], &mut self.pcm).map_err(Error::media)?;
        Ok(())
    }
}

/// Between two bursts.
const PERIOD: Duration = Duration::from_millis(100);
/// Of a burst: two to each receiver.
const DATAGRAMS: usize = 1_000;
/// Of a burst.
const FRAMES: u64 = 50;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn each_yardstick_shows_what_its_work_costs() {
        for yardstick in [Yardstick::sendto().unwrap(), Yardstick::libopus(8_000).unwrap()] {
            let start = yardstick.mark();
            while yardstick.mark().count == start.count {
                thread::yield_now();
            }
            let cost_ns = yardstick.since(start);
            assert!((200.0..1e7).contains(&cost_ns), "{cost_ns} ns");
            yardstick.stop().unwrap();
        }
    }
}
