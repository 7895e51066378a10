//! Chains as the gateway reads them: its own from its store, those of other services from their
//! databases, read-only. Whatever is read is verified, and a break is remembered so that no
//! mutation follows it.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::{AuditKey, Break, Checked, Entry, Ledger, Range, Reason, Sealed, Segment, segment};
use crate::reference::service::Service;
use crate::reference::store::{Readers, StoreError};
use crate::reference::web::Refusal;

/// A chain that can be read.
pub struct Source {
    svc: Arc<Service>,
    chain: String,
    readers: Readers,
    ledger: Ledger,
}

/// Verified entries of a chain, with its checkpoint when there is a key.
#[derive(Clone, Debug)]
pub struct Found {
    /// The entries.
    pub segment: Segment,
    /// A signed note.
    pub checkpoint: Option<String>,
}

impl Source {
    /// The chain of this name.
    ///
    /// # Errors
    /// 404 when there is none.
    pub fn named(svc: &Arc<Service>, chain: &str) -> Result<Self, Refusal> {
        let path = svc.shared.databases.get(chain);
        let path = path
            .filter(|path| path.exists())
            .ok_or_else(|| Refusal::not_found("CHAIN_NOT_FOUND", format!("no chain {chain}")))?;
        let busy = Duration::from_millis(svc.config().store.busy_timeout_ms);
        let own = chain == svc.name;
        let readers = if own {
            svc.store.readers()
        } else {
            Readers::new(path, busy)
        };
        Ok(Self {
            svc: svc.clone(),
            chain: chain.to_owned(),
            readers,
            ledger: Ledger::new(chain, path, &svc.parts),
        })
    }

    /// Entries of the chain. Where there is a key, or a checkpoint of an earlier one, all of the
    /// chain is verified: the checkpoint beside a segment vouches for every entry.
    ///
    /// # Errors
    /// 409 on a break, 503 when the database or the checkpoint is not to be had just now.
    pub async fn segment(&self, range: Range) -> Result<Found, Refusal> {
        if self.svc.shared.audit_key.is_some() {
            let Sealed { segment, note, .. } = self.seal(range).await?;
            let checkpoint = Some(note);
            return Ok(Found {
                segment,
                checkpoint,
            });
        }
        let (ledger, chain) = (self.ledger.clone(), self.chain.clone());
        let read = self.readers.read(move |conn| {
            if ledger.is_kept() {
                let checked = ledger.verify(conn, None, range)?;
                return Ok(checked.map(|(_, segment)| segment));
            }
            let Range { from, to, limit } = range;
            segment(conn, ledger.rule(), &chain, (from, to), limit)
        });
        let segment = self.clean(read.await)?;
        Ok(Found {
            segment,
            checkpoint: None,
        })
    }

    /// The entries that `wanted` picks, of the whole chain verified. Nothing is signed.
    ///
    /// # Errors
    /// As [`Source::segment`].
    pub async fn select(
        &self,
        wanted: impl Fn(&Entry) -> bool + Send + 'static,
    ) -> Result<Vec<Entry>, Refusal> {
        let (svc, ledger) = (self.svc.clone(), self.ledger.clone());
        let read = self.readers.read(move |conn| {
            let key = svc.shared.audit_key.as_ref();
            ledger.select(conn, key, |entry, _| wanted(entry))
        });
        let (_, segment) = self.clean(read.await)?;
        Ok(segment.entries)
    }

    /// The whole chain verified, with a fresh checkpoint that is kept.
    ///
    /// # Errors
    /// 503 without a key, else as [`Source::segment`].
    pub async fn seal(&self, range: Range) -> Result<Sealed, Refusal> {
        self.key()?;
        let (svc, ledger) = (self.svc.clone(), self.ledger.clone());
        let read = self.readers.read(move |conn| {
            let key = svc.shared.audit_key.as_ref();
            ledger.seal(conn, key.expect("there was a key just now"), range)
        });
        match read.await {
            Ok(Ok(checked)) => self.clean(Ok(checked)),
            Err(error) => self.clean(Err(error)),
            Ok(Err(error)) => {
                tracing::warn!(chain = self.chain, %error, "a checkpoint cannot be kept");
                let error = StoreError::Unavailable(format!("no checkpoint is kept: {error}"));
                Err(Refusal::store(&error))
            }
        }
    }

    /// What signs.
    ///
    /// # Errors
    /// 503 when nothing does.
    pub fn key(&self) -> Result<&AuditKey, Refusal> {
        let key = self.svc.shared.audit_key.as_ref();
        key.ok_or_else(Refusal::no_signing_key)
    }

    /// How long the chain was by its kept checkpoint; 0 when nothing is kept.
    pub fn kept_size(&self) -> u64 {
        self.ledger.kept_size()
    }

    /// Reads rows as they are.
    ///
    /// # Errors
    /// As [`Source::segment`].
    pub async fn raw<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.clean(self.readers.read(job).await.map(Checked::Clean))
    }

    /// A database that is locked is unavailable; one that is no database any more is a broken chain.
    fn clean<T>(&self, read: Result<Checked<T>, StoreError>) -> Result<T, Refusal> {
        let broken = match read {
            Ok(Checked::Clean(value)) => return Ok(value),
            Ok(Checked::Broken(broken)) => broken,
            Err(error @ StoreError::Locked(_)) => return Err(Refusal::store(&error)),
            Err(_) => Break {
                chain: self.chain.clone(),
                seq: 0,
                reason: Reason::Unreadable,
            },
        };
        self.svc.shared.mark_broken(&broken);
        Err(Refusal::chain_broken(&broken))
    }
}
