//! Gate cross-service-trace: the entries of one correlation id reassemble from all services into
//! one complete, causally ordered trace.
//!
//! The target runs in several processes whose clocks are minutes apart, so that the order of times
//! contradicts the order of causes. Conversations are held at once: each is a turn with a safe and
//! a guarded tool call, an approval of the second, a tool call that eva-os lets through, and a
//! memory, all under one id. Then every chain is exported, and the trace of every id is asked for
//! and compared with what the harness makes of the exports: complete, nothing foreign, parents
//! before children, ties by chain and number. That the chains themselves hold, other gates ask.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checks::Sent;

mod drive;
mod judge;
mod order;

pub use drive::drive;
pub use judge::judge;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The processes of the target.
    pub processes: Vec<Process>,
    /// What was said, and its traces.
    pub conversations: Vec<Conversation>,
    /// The entries of every chain afterwards, as they were served.
    pub chains: BTreeMap<String, Vec<Value>>,
    /// What could not be done, and why.
    pub trouble: Vec<String>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The services that it says it hosts.
    pub services: Vec<String>,
    /// Its id.
    pub pid: u32,
    /// How far its clock is ahead, as it was configured.
    pub offset_ms: i64,
}

/// Requests under one correlation id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// The id.
    pub id: String,
    /// The requests, in their order.
    pub sent: Vec<Sent>,
    /// The calls that the tools got with its arguments.
    pub calls: Vec<ToolCall>,
    /// The trace, when it was asked for.
    pub traced: Option<Sent>,
}

/// A call that the tools got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The correlation id that it carried.
    pub id: String,
    /// The causal parent that it carried.
    pub parent: String,
}

#[cfg(test)]
mod tests;
