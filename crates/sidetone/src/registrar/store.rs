//! Where bindings are kept for the next process, and the worker that keeps them there.

use std::collections::HashSet;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use rusqlite::ErrorCode;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// Keeps bindings for the next process. It may block: only a [`Writer`]'s thread calls it.
pub trait LocationStore: Send + Debug + 'static {
    /// Everything that is kept and has not run out.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(&mut self) -> Result<Vec<StoredBinding>, StoreError>;

    /// Makes the changes, in their order, as a whole.
    ///
    /// # Errors
    /// When none of them could be made.
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError>;
}

/// Why a store does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database failed.
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
    /// The file cannot be made.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// What is kept cannot be read or written.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
}

impl StoreError {
    /// Whether the file is no database, or one that is broken.
    pub(super) fn is_damage(&self) -> bool {
        let StoreError::Database(error) = self else { return false };
        let code = error.sqlite_error_code();
        matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }
}

/// A binding as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBinding {
    /// Whose it is.
    pub user: String,
    /// What it is called among those of the user.
    pub key: String,
    /// Its end, seconds since 1970.
    pub expires_unix_s: u64,
    /// The contact's URI.
    pub uri: String,
    /// The label of the transport it came over.
    pub transport: String,
    /// Our end of the flow that its REGISTER came on.
    pub local: Option<SocketAddr>,
    /// The sender's end of that flow.
    pub remote: Option<SocketAddr>,
    /// Whether path or URI say where it is called, not that flow.
    #[serde(default)]
    pub is_by_uri: bool,
    /// Values of Path.
    pub path: Vec<String>,
    /// The preference, 0 to 1000.
    pub q_milli: u16,
    /// The instance of RFC 5626.
    pub instance: Option<String>,
    /// The reg-id of RFC 5626.
    pub reg_id: Option<u32>,
    /// Whether the instance is what it is found by.
    pub is_by_instance: bool,
    /// Whether RFC 5626 was agreed on.
    pub is_outbound: bool,
    /// Whether it is kept alive.
    pub is_behind_nat: bool,
    /// Whether a token made it, which nothing outlasts.
    #[serde(default)]
    pub is_by_token: bool,
    /// What the contact calls itself.
    pub user_agent: String,
    /// Call-ID of the REGISTER.
    pub call_id: String,
    /// CSeq of the REGISTER.
    pub cseq: u32,
}

/// A change of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Keeps a binding, in place of the one of the same key.
    Save(Box<StoredBinding>),
    /// Forgets a binding.
    Remove {
        /// Whose it is.
        user: String,
        /// What it is called.
        key: String,
    },
}

impl Change {
    /// The binding that it is about: whose, and what it is called.
    fn key(&self) -> (String, String) {
        match self {
            Change::Save(binding) => (binding.user.clone(), binding.key.clone()),
            Change::Remove { user, key } => (user.clone(), key.clone()),
        }
    }
}

/// Keeps nothing: bindings end with the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryStore;

impl LocationStore for MemoryStore {
    fn load(&mut self) -> Result<Vec<StoredBinding>, StoreError> {
        Ok(Vec::new())
    }

    fn write(&mut self, _: &[Change]) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Hands changes to a thread of its own that writes them, many at a time. Never waits: what does
/// not fit into the queue is counted and lost.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: Option<SyncSender<Change>>,
    failures: Arc<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    /// Changes that are given up.
    lost: AtomicU64,
    /// Changes that the store could not take yet.
    waiting: AtomicU64,
}

impl Writer {
    /// Writes nothing.
    #[must_use]
    pub fn none() -> Self {
        Writer { queue: None, failures: Arc::default() }
    }

    /// Starts the thread, which ends with the last clone of the writer.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(store: impl LocationStore) -> std::io::Result<Self> {
        let (queue, changes) = sync_channel(QUEUE_MAX);
        let failures = Arc::new(Failures::default());
        let counter = Arc::clone(&failures);
        std::thread::Builder::new()
            .name("location-store".to_owned())
            .spawn(move || write_all(store, &changes, &counter))?;
        Ok(Writer { queue: Some(queue), failures })
    }

    /// Changes that were lost, and those that wait for a store that fails.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let Failures { lost, waiting } = &*self.failures;
        lost.load(Ordering::Relaxed) + waiting.load(Ordering::Relaxed)
    }

    pub(super) fn save(&self, binding: impl FnOnce() -> StoredBinding) {
        if self.queue.is_some() {
            self.send(Change::Save(Box::new(binding())));
        }
    }

    pub(super) fn remove(&self, user: String, key: String) {
        self.send(Change::Remove { user, key });
    }

    fn send(&self, change: Change) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(change) {
            self.failures.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes what comes; what could not be written is tried again with what has come meanwhile. Said
/// once when it breaks and once when all is written, however often it is tried.
fn write_all(mut store: impl LocationStore, changes: &Receiver<Change>, failures: &Failures) {
    let mut is_broken = false;
    let mut unwritten = Vec::new();
    while take(changes, &mut unwritten) {
        match store.write(&unwritten) {
            Ok(()) => {
                unwritten.clear();
                failures.waiting.store(0, Ordering::Relaxed);
                if is_broken {
                    is_broken = false;
                    info!("registrations are kept over a restart again");
                }
            }
            Err(error) => {
                if !is_broken {
                    is_broken = true;
                    warn!(%error, "registrations are not kept over a restart; check state_dir");
                }
                let given_up = condense(&mut unwritten, UNWRITTEN_MAX);
                failures.lost.fetch_add(given_up as u64, Ordering::Relaxed);
                failures.waiting.store(unwritten.len() as u64, Ordering::Relaxed);
                std::thread::sleep(RETRY_INTERVAL);
            }
        }
    }
}

/// Adds changes that wait to those that are `unwritten`; waits for one if there is none. `false` if
/// there is nobody any more to make one, and nothing new to try.
fn take(changes: &Receiver<Change>, unwritten: &mut Vec<Change>) -> bool {
    let first = match unwritten.is_empty() {
        true => changes.recv().map_err(|_| TryRecvError::Disconnected),
        false => changes.try_recv(),
    };
    let is_over = first == Err(TryRecvError::Disconnected);
    unwritten.extend(first.into_iter().chain(changes.try_iter()).take(BATCH_MAX));
    !is_over
}

/// Leaves the last change of each binding, and no more than `most` of them: the newest. Returns how
/// many were given up for that.
fn condense(changes: &mut Vec<Change>, most: usize) -> usize {
    let mut seen = HashSet::new();
    changes.reverse();
    changes.retain(|change| seen.insert(change.key()));
    let excess = changes.len().saturating_sub(most);
    changes.truncate(most);
    changes.reverse();
    excess
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Changes that may wait for the thread.
const QUEUE_MAX: usize = 16_384;
/// Changes that are taken from the queue for one transaction.
const BATCH_MAX: usize = 1_024;
/// Changes that wait for a store that fails.
const UNWRITTEN_MAX: usize = 65_536;
/// Between attempts to write to a store that fails.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_changes_that_wait_the_last_of_each_binding_and_the_newest_stay() {
        let remove = |key: &str| Change::Remove { user: "199".to_owned(), key: key.to_owned() };
        let mut changes = ["a", "b", "c", "a", "d", "b"].map(remove).to_vec();
        assert_eq!(condense(&mut changes, 3), 1);
        assert_eq!(changes, ["a", "d", "b"].map(remove));
    }
}
