//! Many WebRTC calls: the `webrtc` crate's peer connections over SIP in WebSockets (RFC 7118).

mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::codec::Codec;
use serde::Serialize;
use tokio::sync::watch;

use crate::error::Error;
use crate::plain_calls::quantile_ms;
use crate::speaker::{self, Said};
use crate::stream::{Pacing, Stream, StreamTotals};
pub use client::{opus_only, track};

/// What load to make.
#[derive(Debug, Clone)]
pub struct WebRtcOptions {
    /// Where the WebSocket is, such as `ws://127.0.0.1:8088/`.
    pub url: String,
    /// The number that is called.
    pub number: String,
    /// Calls in all, each with a WebSocket of its own.
    pub calls: usize,
    /// Calls placed in a second.
    pub rate: f64,
    /// Whether callers send audio.
    pub is_talking: bool,
    /// The load ends by itself after this time.
    pub time_max: Duration,
}

/// A load that runs in threads of its own.
pub struct WebRtcLoad {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<WebRtcReport>,
}

/// What came of a load.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WebRtcReport {
    /// Calls placed.
    pub calls: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls whose DTLS handshake was done.
    pub connected: u64,
    /// Calls that were not answered or got no media.
    pub failed: u64,
    /// The first few reasons why.
    pub failures: Vec<String>,
    /// Calls that the server ended.
    pub hung_up: u64,
    /// Our BYEs that were answered.
    pub ended: u64,
    /// Milliseconds from INVITE to 200.
    pub setup_p50_ms: f64,
    /// Milliseconds from INVITE to 200.
    pub setup_p99_ms: f64,
    /// Milliseconds from 200 to connected.
    pub connect_p50_ms: f64,
    /// Milliseconds from 200 to connected.
    pub connect_p99_ms: f64,
    /// Milliseconds from 200 to the first packet.
    pub media_p50_ms: f64,
    /// Milliseconds from 200 to the first packet.
    pub media_p99_ms: f64,
    /// What arrived, deciphered.
    pub streams: StreamTotals,
    /// RTP packets sent.
    pub sent: u64,
    /// Milliseconds between two packets of a call; the delay of the client is in it.
    pub interarrival_p99_ms: f64,
    /// Milliseconds between two packets of a call, the longest.
    pub interarrival_max_ms: f64,
}

/// Where a load stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Calls answered.
    pub answered: u64,
    /// Calls that have received a packet.
    pub heard: u64,
    /// Calls that failed.
    pub failed: u64,
    /// RTP packets received.
    pub packets: u64,
}

/// What the calls of a load say, and what they add to while they run.
#[derive(Default)]
struct Shared {
    /// Frames of Opus; none if nobody talks.
    said: Vec<Bytes>,
    answered: AtomicU64,
    heard: AtomicU64,
    failed: AtomicU64,
    packets: AtomicU64,
}

/// What one call leaves behind.
#[derive(Default)]
struct Outcome {
    setup: Option<Duration>,
    connect: Option<Duration>,
    media: Option<Duration>,
    hung_up: bool,
    ended: bool,
    sent: u64,
    failure: Option<String>,
    media_seen: Heard,
}

/// What one call has received.
struct Heard {
    stream: Stream,
    pacing: Pacing,
    first: Option<Instant>,
}

impl Default for Heard {
    fn default() -> Self {
        Heard { stream: Stream::new(SAMPLES), pacing: Pacing::new(), first: None }
    }
}

impl WebRtcLoad {
    /// Starts placing calls.
    ///
    /// # Errors
    /// [`Error::Io`] when the runtime cannot be started, [`Error::Media`] when there is nothing to
    /// say.
    pub fn start(options: WebRtcOptions) -> Result<WebRtcLoad, Error> {
        // One worker: the clients must not take both cores from the server.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("webrtc-calls")
            .enable_all()
            .build()
            .map_err(Error::io("starting a runtime"))?;
        let said = if options.is_talking { speaker::said(Codec::Opus)? } else { Said::default() };
        let said = said.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
        let shared = Arc::new(Shared { said, ..Shared::default() });
        let (stop, stopped) = watch::channel(false);
        let for_calls = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("webrtc-load".to_owned())
            .spawn(move || {
                let report = runtime.block_on(run(options, for_calls, stopped));
                runtime.shutdown_timeout(Duration::from_secs(1));
                report
            })
            .map_err(Error::io("starting a thread"))?;
        Ok(WebRtcLoad { shared, stop, thread })
    }

    /// Where the load stands.
    pub fn progress(&self) -> Progress {
        let Shared { answered, heard, failed, packets, .. } = &*self.shared;
        Progress {
            answered: answered.load(Ordering::Relaxed),
            heard: heard.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            packets: packets.load(Ordering::Relaxed),
        }
    }

    /// Hangs up what is up, and says what came of it.
    ///
    /// # Errors
    /// [`Error::ThreadLost`] when the thread panicked.
    pub fn finish(self) -> Result<WebRtcReport, Error> {
        // Without receivers every call has ended already.
        self.stop.send_replace(true);
        self.thread.join().map_err(|_| Error::ThreadLost)
    }
}

async fn run(
    options: WebRtcOptions,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) -> WebRtcReport {
    let options = Arc::new(options);
    let deadline = tokio::time::Instant::now() + options.time_max;
    let start = tokio::time::Instant::now();
    let run_id: u32 = rand::random();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..options.calls {
        let due = start + Duration::from_secs_f64(index as f64 / options.rate);
        tokio::time::sleep_until(due).await;
        if *stopped.borrow() {
            break;
        }
        let call_id = format!("{index}.{run_id:08x}");
        let (options, shared) = (Arc::clone(&options), Arc::clone(&shared));
        tasks.spawn(client::call(options, call_id, shared, stopped.clone(), deadline));
    }
    let mut summary = Summary::default();
    while let Some(outcome) = tasks.join_next().await {
        match outcome {
            Ok(outcome) => summary.add(outcome),
            Err(error) => summary.fail(error.to_string()),
        }
    }
    summary.report()
}

#[derive(Default)]
struct Summary {
    report: WebRtcReport,
    setup_ns: Vec<u64>,
    connect_ns: Vec<u64>,
    media_ns: Vec<u64>,
    pacing: Pacing,
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        let Outcome { setup, connect, media, hung_up, ended, sent, failure, media_seen } = outcome;
        self.report.calls += 1;
        self.report.answered += u64::from(setup.is_some());
        self.report.connected += u64::from(connect.is_some());
        self.report.hung_up += u64::from(hung_up);
        self.report.ended += u64::from(ended);
        self.report.sent += sent;
        self.setup_ns.extend(setup.map(nanoseconds));
        self.connect_ns.extend(connect.map(nanoseconds));
        self.media_ns.extend(media.map(nanoseconds));
        media_seen.stream.add_to(&mut self.report.streams);
        self.pacing.merge(&media_seen.pacing);
        if let Some(failure) = failure {
            self.report.calls -= 1;
            self.fail(failure);
        }
    }

    fn fail(&mut self, failure: String) {
        self.report.calls += 1;
        self.report.failed += 1;
        if self.report.failures.len() < FAILURES_MAX {
            self.report.failures.push(failure);
        }
    }

    fn report(mut self) -> WebRtcReport {
        WebRtcReport {
            setup_p50_ms: quantile_ms(&mut self.setup_ns, 0.5),
            setup_p99_ms: quantile_ms(&mut self.setup_ns, 0.99),
            connect_p50_ms: quantile_ms(&mut self.connect_ns, 0.5),
            connect_p99_ms: quantile_ms(&mut self.connect_ns, 0.99),
            media_p50_ms: quantile_ms(&mut self.media_ns, 0.5),
            media_p99_ms: quantile_ms(&mut self.media_ns, 0.99),
            interarrival_p99_ms: self.pacing.interarrival_ms(0.99),
            interarrival_max_ms: self.pacing.interarrival_ms(1.0),
            ..self.report
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 20 ms of Opus (RFC 7587 §4.1).
const SAMPLES: u32 = 960;
const FAILURES_MAX: usize = 5;
