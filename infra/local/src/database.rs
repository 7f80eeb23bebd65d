//! The runner's own rows: queues, secrets, and what the scheduler remembers.
//!
//! One SQLite file that syncs at each commit. It is apart from the tables' file, whose schema
//! belongs to `dynoxide`, and whose writers would otherwise wait for these.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::state;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS messages (
        id TEXT PRIMARY KEY,
        queue TEXT NOT NULL,
        body TEXT NOT NULL,
        attributes TEXT NOT NULL,
        sent_ms INTEGER NOT NULL,
        visible_ms INTEGER NOT NULL,
        receives INTEGER NOT NULL DEFAULT 0,
        first_received_ms INTEGER,
        receipt TEXT,
        source TEXT
    );
    CREATE INDEX IF NOT EXISTS messages_by_time ON messages (queue, visible_ms);
    CREATE TABLE IF NOT EXISTS secrets (
        name TEXT PRIMARY KEY,
        description TEXT,
        created_ms INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS secret_versions (
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        stage TEXT,
        sealed BLOB NOT NULL,
        binary INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        PRIMARY KEY (name, version)
    );
    CREATE TABLE IF NOT EXISTS schedules (
        name TEXT PRIMARY KEY,
        expression TEXT NOT NULL,
        start_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS firings (
        name TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (name, at_ms)
    );
";

/// The rows.
#[derive(Clone)]
pub struct Rows(Arc<Mutex<Connection>>);

impl Rows {
    /// Opens the file, or memory without one.
    pub fn open(path: Option<&Path>) -> Result<Self, String> {
        Self::connect(path).map_err(|error| format!("queues and secrets cannot be opened: {error}"))
    }

    fn connect(path: Option<&Path>) -> Result<Self, Box<dyn std::error::Error>> {
        let connection = match path {
            Some(path) => {
                state::create_private(path, b"")?;
                Connection::open(path)?
            }
            None => Connection::open_in_memory()?,
        };
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Runs `work` in one transaction, away from the threads that serve.
    pub async fn run<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<rusqlite::Error> + Send + 'static,
    {
        let rows = self.clone();
        match tokio::task::spawn_blocking(move || rows.run_here(work)).await {
            Ok(done) => done,
            // Only a panic ends a blocking task early; there is none above.
            Err(_) => Err(rusqlite::Error::InvalidQuery.into()),
        }
    }

    /// Runs `work` in one transaction on this thread.
    pub fn run_here<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

/// A duration as the rows have it.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
