//! Many calls over UDP with plain RTP, placed, heard and ended by one thread.
//!
//! The thread sleeps by the clock, one millisecond at a time, and then reads what is there: a
//! datagram that arrives wakes nobody, so the server does not pay for the receiver's sleep. Arrival
//! times are the kernel's, so the receiver's own delay is not taken for the server's.

mod leg;
mod machine;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::stream::StreamTotals;
use machine::Machine;

/// What load to make.
#[derive(Debug, Clone)]
pub struct PlainOptions {
    /// The server's UDP listener.
    pub server: SocketAddr,
    /// The number that is called.
    pub number: String,
    /// Calls in all.
    pub calls: usize,
    /// Calls placed in a second.
    pub rate: f64,
    /// How long a call lasts once answered; `None`: until the load is stopped.
    pub hold: Option<Duration>,
    /// Whether callers send audio; it carries its time of sending, so that an echo is timed.
    pub is_talking: bool,
    /// The load ends by itself after this time.
    pub time_max: Duration,
}

/// A load that runs in a thread of its own.
pub struct PlainLoad {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<PlainReport, Error>>,
}

/// Where a load stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Calls placed.
    pub placed: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls refused or never answered.
    pub failed: u64,
    /// Calls that were answered and have ended.
    pub ended: u64,
    /// RTP packets received.
    pub packets: u64,
}

/// What came of a load.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PlainReport {
    /// Calls placed.
    pub calls: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls refused or never answered.
    pub failed: u64,
    /// Refusals by status; 0 is no answer at all.
    pub failures: BTreeMap<u16, u64>,
    /// Calls that the server ended.
    pub hung_up: u64,
    /// Our BYEs that were answered.
    pub ended: u64,
    /// Our BYEs that were not.
    pub bye_lost: u64,
    /// Requests sent again.
    pub retransmissions: u64,
    /// Milliseconds from INVITE to 200.
    pub setup_p50_ms: f64,
    /// Milliseconds from INVITE to 200.
    pub setup_p99_ms: f64,
    /// Milliseconds from 200 to the first RTP packet.
    pub media_p50_ms: f64,
    /// Milliseconds from 200 to the first RTP packet.
    pub media_p99_ms: f64,
    /// What arrived.
    pub streams: StreamTotals,
    /// RTP packets sent.
    pub sent: u64,
    /// RTCP packets received.
    pub rtcp: u64,
    /// RTP from another address than the answer named.
    pub other_source: u64,
    /// Milliseconds between two packets of a call.
    pub interarrival_p50_ms: f64,
    /// Milliseconds between two packets of a call.
    pub interarrival_p99_ms: f64,
    /// Milliseconds between two packets of a call, the longest.
    pub interarrival_max_ms: f64,
    /// Milliseconds a packet came after its time.
    pub lateness_p99_ms: f64,
    /// Milliseconds from sending a packet to its echo.
    pub echo_p50_ms: f64,
    /// Milliseconds from sending a packet to its echo.
    pub echo_p99_ms: f64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    placed: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    ended: AtomicU64,
    packets: AtomicU64,
}

impl PlainLoad {
    /// Starts placing calls.
    ///
    /// # Errors
    /// [`Error::Io`] when a socket cannot be opened.
    pub fn start(options: PlainOptions) -> Result<PlainLoad, Error> {
        let shared = Arc::new(Shared::default());
        let mut machine = Machine::new(options, Arc::clone(&shared))?;
        let thread = thread::Builder::new()
            .name("plain-calls".to_owned())
            .spawn(move || machine.run())
            .map_err(Error::io("starting a thread"))?;
        Ok(PlainLoad { shared, thread })
    }

    /// Where the load stands.
    pub fn progress(&self) -> Progress {
        let Shared { placed, answered, failed, ended, packets, .. } = &*self.shared;
        Progress {
            placed: placed.load(Ordering::Relaxed),
            answered: answered.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            ended: ended.load(Ordering::Relaxed),
            packets: packets.load(Ordering::Relaxed),
        }
    }

    /// Hangs up what is up, and says what came of it.
    ///
    /// # Errors
    /// [`Error::Io`] when a socket failed, [`Error::ThreadLost`] when the thread panicked.
    pub fn finish(self) -> Result<PlainReport, Error> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Error::ThreadLost)?
    }

    /// Waits until every call has ended by itself or the time of the load is over.
    ///
    /// # Errors
    /// As [`PlainLoad::finish`].
    pub fn wait(self) -> Result<PlainReport, Error> {
        self.thread.join().map_err(|_| Error::ThreadLost)?
    }
}

/// Milliseconds below which `share` of the durations lie; 0 without any.
pub fn quantile_ms(durations_ns: &mut [u64], share: f64) -> f64 {
    durations_ns.sort_unstable();
    let last = durations_ns.len().saturating_sub(1);
    let index = (durations_ns.len() as f64 * share) as usize;
    durations_ns.get(index.min(last)).map_or(0.0, |&ns| ns as f64 / 1e6)
}
