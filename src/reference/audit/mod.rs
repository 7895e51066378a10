//! The audit log of one database: a chain of entries, each with the SHA-256 of the one before.
//! Appending happens inside the transaction of the effect (`append`), reading always verifies
//! (`verify`), the database itself refuses everything but an append in order (`schema`). What a chain
//! cannot see by itself, its tail cut off or all of it written again, its signed checkpoints show
//! (`checkpoint`, `ledger`).

mod append;
mod chain;
mod checkpoint;
mod export;
mod ledger;
mod merkle;
mod periodic;
mod signing;
mod source;
mod verify;
mod witness;

use serde::{Deserialize, Serialize};

pub use append::{append, last};
pub use chain::{ChainRule, GENESIS, Sha256Chain};
pub use checkpoint::{Checkpoint, Keeper, KeptFile};
pub(in crate::reference) use export::ENTRY;
pub use export::raw;
pub use ledger::{Ledger, Range, Sealed, leaf};
pub use merkle::{Hash, Tree};
pub use periodic::sign_periodically;
pub use signing::{AuditKey, KeyError};
pub use source::{Found, Source};
pub use verify::{Break, Checked, Place, Reason, Segment, each, segment};

use crate::reference::web::Row;

/// The routes that read the log.
pub fn routes() -> Vec<Row> {
    [export::routes(), witness::routes()].concat()
}

/// How what an entry describes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There is an effect, in the same transaction.
    Ok,
    /// Nothing was done.
    Refused,
    /// It was tried, and what was tried failed.
    Failed,
}

impl Outcome {
    /// The word that is stored.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Who asked, and in which conversation: what all entries of one request share. It is stored with
/// an operation, so that an entry written after a restart names the same actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The acting person or service.
    pub actor_id: String,
    /// Its effective role.
    pub actor_role: String,
    /// The service that acted for it, if one did.
    pub via: Option<String>,
    /// The conversation.
    pub correlation_id: String,
    /// This request.
    pub request_id: String,
    /// `chain/seq/hash` of the entry of another chain that led here.
    pub causal_parent: Option<String>,
    /// 0 for a first run, n for the n-th replay.
    pub replay_generation: i64,
    /// SHA-256 of the RFC 8785 form of the accepted request body.
    pub payload_sha256: String,
}

impl Origin {
    /// A draft of an entry about `action` on `resource`.
    pub fn draft(&self, action: &str, resource: &str, outcome: Outcome) -> Draft {
        let (action, resource) = (action.to_owned(), resource.to_owned());
        Draft {
            origin: self.clone(),
            action,
            resource,
            outcome,
        }
    }
}

/// An entry before it has its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Who and where from.
    pub origin: Origin,
    /// What was done, `session.create`.
    pub action: String,
    /// To what, `session/ses_…`.
    pub resource: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// The place of an entry in a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The chain's name.
    pub chain: String,
    /// The entry's place, from 0.
    pub seq: i64,
    /// The entry's hash.
    pub hash: String,
}

/// The form of `X-Causal-Parent`: `chain/seq/hash`.
impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.chain, self.seq, self.hash)
    }
}

/// One stored entry; the field names are those of the contract and of the table's columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the fields")]
pub struct Entry {
    pub chain: String,
    pub seq: i64,
    pub ts: String,
    pub service: String,
    pub actor_id: String,
    pub actor_role: String,
    pub via: Option<String>,
    pub action: String,
    pub resource: String,
    pub outcome: String,
    pub correlation_id: String,
    pub request_id: String,
    pub replay_generation: i64,
    pub causal_parent: Option<String>,
    pub payload_sha256: String,
    pub prev_hash: String,
    pub hash: String,
}

impl Entry {
    /// The entry's place.
    pub fn link(&self) -> Link {
        Link {
            chain: self.chain.clone(),
            seq: self.seq,
            hash: self.hash.clone(),
        }
    }
}
