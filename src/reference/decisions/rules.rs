//! How a decision is claimed: the part that a deployment or a test may swap.

use std::future::ready;

use futures_util::future::BoxFuture;

use super::table::{self, Ask, Decision};
use crate::reference::store::{Store, StoreError, Tx};

/// Who wins a decision and which fence it carries.
pub trait Decisions: Send + Sync {
    /// Runs before the transaction that decides; what it returns is handed to [`claim`](Self::claim).
    /// The default looks at nothing: what is read before a transaction may be old inside it.
    fn look<'a>(
        &'a self,
        _store: &'a Store,
        _ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Option<Decision>, StoreError>> {
        Box::pin(ready(Ok(None)))
    }

    /// Decides, inside the transaction that also writes the operation, the audit entry and the
    /// answer's key: true iff this caller won.
    fn claim(
        &self,
        tx: &mut Tx<'_>,
        ask: &Ask,
        seen: Option<&Decision>,
    ) -> Result<bool, StoreError>;

    /// The next fence.
    fn next_fence(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError>;
}

/// One conditional UPDATE decides, one durable counter gives the fences.
#[derive(Debug, Clone, Copy, Default)]
pub struct Durable;

impl Decisions for Durable {
    fn claim(
        &self,
        tx: &mut Tx<'_>,
        ask: &Ask,
        _seen: Option<&Decision>,
    ) -> Result<bool, StoreError> {
        table::mark(tx, ask, table::OPEN)
    }

    fn next_fence(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        tx.counter("fence")
    }
}
