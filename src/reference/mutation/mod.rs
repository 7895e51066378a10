//! What makes every mutating route idempotent, audited and atomic.
//!
//! [`commit`]: the whole effect is in the database; key, effect, audit entry and answer are one
//! transaction. [`begin`] and [`finish`]: part of it is outside; the first transaction claims the
//! key and holds the decision and the operation, the second one holds result and answer. In both
//! the key comes first, then the schema, then the state: the effect checks its own input.

mod claims;
mod commit;
mod fingerprint;
mod operation;
#[cfg(test)]
mod operation_tests;

use serde_json::Value;

use super::audit::Outcome;
use super::store::StoreError;
use super::web::Refusal;

pub use claims::{Claim, Claimed, Claims, DurableClaims};
pub use commit::{commit, refuse};
pub use fingerprint::fingerprint;
pub use operation::{Begun, Decision, begin, finish};

/// Whether an answer is kept under its key: not when the same request may fare better later, or
/// when it was no request at all.
fn is_stored(status: u16) -> bool {
    !matches!(status, 400 | 401 | 403 | 413 | 415 | 422 | 429 | 503)
}

/// Why an effect did not happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// It was asked for wrongly, or too late: the client is told.
    Refusal(Refusal),
    /// The store failed: nothing at all is kept.
    Store(StoreError),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// An effect that happened, and what is said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// The answer's status.
    pub status: u16,
    /// The answer's body; `ok` and the correlation id are added where they lack.
    pub body: Value,
    /// What the audit entry says it was done to, when that is more than the call knew.
    pub resource: Option<String>,
    /// What the audit entry calls it, when that is not the route's action.
    pub action: Option<String>,
    /// The audit entry's outcome.
    pub outcome: Outcome,
}

impl Done {
    /// An effect that went well.
    pub fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            body,
            resource: None,
            action: None,
            outcome: Outcome::Ok,
        }
    }

    /// Done to this resource.
    #[must_use]
    pub fn on(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Under another name than the route's.
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// It was tried, and it failed.
    #[must_use]
    pub fn failed(mut self) -> Self {
        self.outcome = Outcome::Failed;
        self
    }
}
