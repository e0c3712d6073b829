//! Bindings in an embedded SQLite database.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, params};
use tracing::warn;

use super::store::{Change, LocationStore, StoreError, StoredBinding, unix_now};
use crate::private_file;

/// A database file of bindings.
#[derive(Debug)]
pub struct SqliteStore(Connection);

impl SqliteStore {
    /// Opens the file and loads what it holds. A damaged one is put aside as `FILE.damaged`, in place
    /// of an older one, and a new one is made: phones register again.
    ///
    /// # Errors
    /// When the file cannot be made, read or put aside.
    pub fn open_or_renew(path: &Path) -> Result<(Self, Vec<StoredBinding>), StoreError> {
        SqliteStore::open_and_load(path).or_else(|error| {
            if !error.is_damage() {
                return Err(error);
            }
            put_aside(path)?;
            let file = path.display();
            warn!(%error, "{file} is put aside as {file}.damaged; phones have to register again");
            SqliteStore::open_and_load(path)
        })
    }

    fn open_and_load(path: &Path) -> Result<(Self, Vec<StoredBinding>), StoreError> {
        let mut store = SqliteStore::open(path)?;
        let stored = store.load()?;
        Ok((store, stored))
    }

    /// Opens the file, or makes it, readable by its owner only.
    ///
    /// # Errors
    /// When the file cannot be made or is no database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        private_file::create_if_missing(path)?;
        let connection = Connection::open(path)?;
        // Another process may hold the file for a moment; only the worker waits.
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What a crash of the machine loses is registered again soon.
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS bindings (
                 user TEXT NOT NULL, key TEXT NOT NULL, expires INTEGER NOT NULL,
                 body TEXT NOT NULL, PRIMARY KEY (user, key)
             ) WITHOUT ROWID",
        )?;
        Ok(SqliteStore(connection))
    }
}

/// A database file that could not be opened when the process started, as while another program holds
/// it: each write tries again. What it held before is not loaded any more but forgotten, so that the
/// next process takes up what this one knows.
#[derive(Debug)]
pub struct LateStore {
    path: PathBuf,
    store: Option<SqliteStore>,
}

impl LateStore {
    /// The store in a file that is not open yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        LateStore { path, store: None }
    }
}

impl LocationStore for LateStore {
    fn load(&mut self) -> Result<Vec<StoredBinding>, StoreError> {
        Ok(Vec::new())
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let store = match &mut self.store {
            Some(store) => store,
            none => {
                let store = SqliteStore::open(&self.path)?;
                store.0.execute("DELETE FROM bindings", [])?;
                none.insert(store)
            }
        };
        store.write(changes)
    }
}

impl LocationStore for SqliteStore {
    fn load(&mut self) -> Result<Vec<StoredBinding>, StoreError> {
        let now = i64::try_from(unix_now()).unwrap_or(i64::MAX);
        self.0.execute("DELETE FROM bindings WHERE expires <= ?1", params![now])?;
        let mut statement = self.0.prepare("SELECT body FROM bindings")?;
        let mut rows = statement.query([])?;
        let (mut bindings, mut unreadable) = (Vec::new(), 0_usize);
        while let Some(row) = rows.next()? {
            // One row is no reason to forget the others.
            let body = row.get_ref(0)?.as_bytes().unwrap_or_default();
            match serde_json::from_slice(body) {
                Ok(binding) => bindings.push(binding),
                Err(_) => unreadable += 1,
            }
        }
        if unreadable > 0 {
            warn!(unreadable, "some registrations of before cannot be read");
        }
        Ok(bindings)
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let transaction = self.0.transaction()?;
        for change in changes {
            match change {
                Change::Save(binding) => {
                    let expires = i64::try_from(binding.expires_unix_s).unwrap_or(i64::MAX);
                    let body = serde_json::to_string(binding)?;
                    transaction
                        .prepare_cached(
                            "INSERT OR REPLACE INTO bindings (user, key, expires, body)
                             VALUES (?1, ?2, ?3, ?4)",
                        )?
                        .execute(params![binding.user, binding.key, expires, body])?;
                }
                Change::Remove { user, key } => {
                    transaction
                        .prepare_cached("DELETE FROM bindings WHERE user = ?1 AND key = ?2")?
                        .execute(params![user, key])?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Moves a database away with its log, which SQLite would read into a new one of the same name.
fn put_aside(path: &Path) -> io::Result<()> {
    let with = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    for part in ["", "-wal", "-shm"] {
        let aside = with(&format!(".damaged{part}"));
        // An older log does not fit; what else stands in the way is told by the next line.
        let _ = std::fs::remove_file(&aside);
        match std::fs::rename(with(part), aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
    }
    Ok(())
}

const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
