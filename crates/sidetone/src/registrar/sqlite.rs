//! Bindings in an embedded SQLite database.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::store::{Change, LocationStore, StoreError, StoredBinding, unix_now};
use crate::private_file;

/// A database file of bindings.
#[derive(Debug)]
pub struct SqliteStore(Connection);

impl SqliteStore {
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

impl LocationStore for SqliteStore {
    fn load(&mut self) -> Result<Vec<StoredBinding>, StoreError> {
        let now = i64::try_from(unix_now()).unwrap_or(i64::MAX);
        self.0.execute("DELETE FROM bindings WHERE expires <= ?1", params![now])?;
        let mut statement = self.0.prepare("SELECT body FROM bindings")?;
        let bodies = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut bindings = Vec::new();
        for body in bodies {
            // A row of another version is no reason to forget the others.
            if let Ok(binding) = serde_json::from_str(&body?) {
                bindings.push(binding);
            }
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

const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
