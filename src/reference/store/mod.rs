//! One SQLite database: a writer thread that commits in groups, and connections that read.
//! What was answered is on disk (WAL, `synchronous = FULL`). Nothing here knows what is stored.

mod error;
mod open;
mod readers;
pub mod schema;
#[cfg(test)]
mod store_tests;
mod tx;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

pub use error::{StoreError, is_lock};
pub use open::{
    Migrate, OpenError, Opened, Opening, Verify, inspect, inspect_shared, migrate_down, open,
};
pub use readers::{Pool, Readers};
pub use tx::Tx;
pub use writer::{CommitFirst, GroupEnd};

/// Jobs that wait for the writer; past it a writer's caller waits.
const QUEUE: usize = 1024;

/// A database. Clones share the writer thread, which ends with the last of them.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    jobs: mpsc::Sender<Box<dyn writer::Job>>,
    readers: Readers,
    written: watch::Receiver<u64>,
}

impl Store {
    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The connections that read it.
    pub fn readers(&self) -> Readers {
        self.inner.readers.clone()
    }

    /// How long the chain is, told after each commit that may have made it longer. Whoever relies
    /// on the number reads the chain itself.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.inner.written.clone()
    }

    /// Runs `job` in a transaction of its own (a savepoint of a group); returns after the commit.
    ///
    /// # Errors
    /// What `job` says, and then nothing of it is kept; or the store cannot be written.
    pub async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, done) = oneshot::channel();
        let job = Box::new(writer::Write::new(job, answer));
        let gone = || StoreError::Unavailable("the writer has ended".to_owned());
        self.inner.jobs.send(job).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }

    /// Runs `job` on a read-only connection, in one read transaction.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.readers.read(job).await
    }
}
