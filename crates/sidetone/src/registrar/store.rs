//! Where bindings are kept for the next process, and the worker that keeps them there.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::SystemTime;

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
    /// When they could not be made; they are lost then.
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
    /// Our end of the flow.
    pub local: Option<SocketAddr>,
    /// The contact's end of the flow.
    pub remote: Option<SocketAddr>,
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
    failures: Arc<AtomicU64>,
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
        let failures = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&failures);
        std::thread::Builder::new()
            .name("location-store".to_owned())
            .spawn(move || write_all(store, &changes, &counter))?;
        Ok(Writer { queue: Some(queue), failures })
    }

    /// Changes that were lost.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
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
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Said once when it breaks and once when it works again, however often it is tried.
fn write_all(mut store: impl LocationStore, changes: &Receiver<Change>, failures: &AtomicU64) {
    let mut is_broken = false;
    let mut batch = Vec::new();
    while let Ok(first) = changes.recv() {
        batch.clear();
        batch.push(first);
        batch.extend(changes.try_iter().take(BATCH_MAX));
        match store.write(&batch) {
            Ok(()) if is_broken => {
                is_broken = false;
                info!("registrations are kept over a restart again");
            }
            Ok(()) => {}
            Err(error) => {
                failures.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if !is_broken {
                    warn!(%error, "registrations are not kept over a restart; check state_dir");
                }
                is_broken = true;
            }
        }
    }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Changes that may wait for the thread.
const QUEUE_MAX: usize = 16_384;
/// Changes of one transaction.
const BATCH_MAX: usize = 1_024;
