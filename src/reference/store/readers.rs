//! Read-only connections to one database, opened when needed and kept for the next read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;

/// Idle connections that are kept; more may be open while many read at once.
const KEPT: usize = 4;

/// A small pool, read from blocking threads.
#[derive(Clone)]
pub struct Readers(Arc<Pool>);

/// A small pool.
pub struct Pool {
    path: PathBuf,
    busy_timeout: Duration,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Opens nothing yet.
    pub fn new(path: &Path, busy_timeout: Duration) -> Self {
        Self(Arc::new(Pool::new(path, busy_timeout)))
    }

    /// Runs `job` in one read transaction on a blocking thread.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let pool = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || pool.read(job));
        let read = task
            .await
            .map_err(|error| StoreError::Refused(format!("a read panicked: {error}")))?;
        Ok(read?)
    }
}

impl Pool {
    /// Opens nothing yet.
    pub fn new(path: &Path, busy_timeout: Duration) -> Self {
        Self {
            path: path.to_owned(),
            busy_timeout,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Runs `job` in one read transaction. What went wrong keeps no connection.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn read<T>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let kept = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let conn = match kept {
            Some(conn) => conn,
            None => self.open()?,
        };
        // One snapshot for all statements of a read. Dropping it ends it.
        let value = {
            let _snapshot = conn.unchecked_transaction()?;
            job(&conn)?
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(conn);
        }
        Ok(value)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.path, flags)?;
        conn.busy_timeout(self.busy_timeout)?;
        Ok(conn)
    }
}
