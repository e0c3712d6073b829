//! Calls that are set up and ended at once, at a steady rate, by one thread that takes little of
//! the machine: all of them share one port for SIP and one for media, and each tick of the thread
//! reads and sends what there is in a few system calls.

mod machine;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use machine::Machine;

/// What load to make.
#[derive(Debug, Clone)]
pub struct SetUpOptions {
    /// The server's UDP listener.
    pub server: SocketAddr,
    /// The number that is called.
    pub number: String,
    /// Calls placed in a second.
    pub rate: f64,
    /// How long calls are placed.
    pub time: Duration,
}

/// A load that runs in a thread of its own.
pub struct SetUpLoad {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<SetUpReport, Error>>,
}

/// Where a load stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Calls placed.
    pub placed: u64,
    /// Calls that were answered, and whose BYE was.
    pub ended: u64,
    /// All other ways in which a call came to its end.
    pub failed: u64,
}

/// What came of a load.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SetUpReport {
    /// Calls placed.
    pub calls: u64,
    /// Calls answered.
    pub answered: u64,
    /// Our BYEs that were answered.
    pub ended: u64,
    /// Calls refused or never answered.
    pub failed: u64,
    /// Refusals by status; 0 is no answer at all.
    pub failures: BTreeMap<u16, u64>,
    /// Calls that the server ended.
    pub hung_up: u64,
    /// Our BYEs that were never answered.
    pub bye_lost: u64,
    /// Requests sent again.
    pub retransmissions: u64,
    /// RTP packets that came.
    pub packets: u64,
    /// Milliseconds from INVITE to 200.
    pub setup_p50_ms: f64,
    /// Milliseconds from INVITE to 200.
    pub setup_p99_ms: f64,
    /// Milliseconds from INVITE to 200, the longest.
    pub setup_max_ms: f64,
}

impl SetUpReport {
    /// Calls that did not take their course.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.failed + self.hung_up + self.bye_lost
    }
}

#[derive(Default)]
struct Shared {
    placed: AtomicU64,
    ended: AtomicU64,
    failed: AtomicU64,
}

impl SetUpLoad {
    /// Starts placing calls.
    ///
    /// # Errors
    /// [`Error::Io`] when a socket cannot be opened.
    pub fn start(options: SetUpOptions) -> Result<SetUpLoad, Error> {
        let shared = Arc::new(Shared::default());
        let machine = Machine::new(options, Arc::clone(&shared))?;
        let thread = thread::Builder::new()
            .name("set-ups".to_owned())
            .spawn(move || machine.run())
            .map_err(Error::io("starting a thread"))?;
        Ok(SetUpLoad { shared, thread })
    }

    /// Where the load stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let Shared { placed, ended, failed } = &*self.shared;
        Progress {
            placed: placed.load(Ordering::Relaxed),
            ended: ended.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
        }
    }

    /// Whether every call has come to its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until every call has come to its end.
    ///
    /// # Errors
    /// [`Error::Io`] when a socket failed, [`Error::ThreadLost`] when the thread panicked.
    pub fn wait(self) -> Result<SetUpReport, Error> {
        self.thread.join().map_err(|_| Error::ThreadLost)?
    }
}
