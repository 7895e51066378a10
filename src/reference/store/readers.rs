//! Read-only connections to one database, opened when needed and kept for the next read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;

/// Idle connections that are kept; more may be open while many read at once.
const KEPT: usize = 4;

/// A small pool.
#[derive(Clone)]
pub struct Readers {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    busy_timeout: Duration,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Opens nothing yet.
    pub fn new(path: &Path, busy_timeout: Duration) -> Self {
        let idle = Mutex::new(Vec::new());
        Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                busy_timeout,
                idle,
            }),
        }
    }

    /// Runs `job` in one read transaction on a blocking thread.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.inner.clone();
        let task = tokio::task::spawn_blocking(move || inner.read(job));
        task.await
            .map_err(|error| StoreError::Refused(format!("a read panicked: {error}")))?
    }
}

impl Inner {
    fn read<T>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
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
