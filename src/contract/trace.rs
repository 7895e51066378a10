//! `GET /v3/audit/trace/{correlation_id}`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One conversation from all chains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The correlation id that was asked for.
    pub trace_id: String,
    /// As they were served: parents before children, ties by chain and number.
    pub entries: Vec<Value>,
    /// How many entries.
    pub entry_count: u64,
    /// The chains they are from.
    pub chains: Vec<String>,
    /// Causal parents that are not among them.
    pub gaps: Vec<Gap>,
}

/// A causal parent that is not in the trace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The chain of the entry that names it.
    pub chain: String,
    /// The number of that entry.
    pub seq: i64,
    /// `chain/seq/hash`.
    pub causal_parent: String,
    /// `missing`, `foreign`.
    pub reason: String,
}
