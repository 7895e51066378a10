//! Gate replay-provenance: a replayed decision keeps its original correlation id and counts its
//! generations durably.
//!
//! A tool of a turn, a confirmation and two actions fail for good. Their dead letters are replayed
//! again and again: one after the other, after a KILL, in races, and with a KILL while the call
//! stands at the tool; the last replay succeeds. Dry runs are asked for in between, with every
//! table of every database looked at before and after. At the end all chains are exported: the
//! entries of each replay, the gateway's and openclaw's, must carry the original id and the
//! generations 1, 2, ... without gap or repeat. Whether the chains themselves hold, other gates ask.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checks::Sent;

mod drive;
mod judge;

pub use drive::drive;
pub use judge::judge;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// What failed for good, and what was made of it.
    pub cases: Vec<Case>,
    /// When the target was killed.
    pub kills_us: Vec<u64>,
    /// Dry runs.
    pub dry_runs: Vec<DryRuns>,
    /// The entries of every chain at the end, as they were served.
    pub chains: BTreeMap<String, Vec<Value>>,
    /// What could not be done, and why.
    pub trouble: Vec<String>,
}

/// A tool call that failed for good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// `turn`, `confirmation` or `action`.
    pub source: String,
    /// The tool.
    pub tool_name: String,
    /// Its arguments, which no other call has.
    pub args: Value,
    /// The request whose call failed.
    pub failed: Option<Sent>,
    /// Its dead letter, right after that request; none when the list had none.
    pub letter: Option<Value>,
    /// Its replays, each round one that runs.
    pub rounds: Vec<Round>,
    /// A replay after the one that succeeded.
    pub late: Option<Sent>,
    /// The calls that the tools got with its arguments; none if nobody looked.
    pub calls: Option<Vec<ToolCall>>,
}

/// How a replay is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// One request, which is answered.
    Alone,
    /// Several requests through one barrier.
    Race,
    /// One request; the target is killed while its call stands at the tool.
    Killed,
}

/// One replay that runs, and everybody who asked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// How it is asked for.
    pub way: Way,
    /// Whether the tool works this time.
    pub works: bool,
    /// The requests.
    pub sent: Vec<Sent>,
    /// The letter afterwards, over the KILL if there was one.
    pub letter: Option<Value>,
}

/// A call that the tools got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The operation id.
    pub key: String,
    /// The correlation id that it carried.
    pub id: String,
    /// Whether its caller was gone before the answer.
    pub abandoned: bool,
}

/// Dry runs, and the state of the world around them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DryRuns {
    /// The case, and its dry run.
    pub sent: Vec<(usize, Sent)>,
    /// How often its letter had been replayed.
    pub generation: i64,
    /// Before a request that reads.
    pub before: State,
    /// After it: what differs already changes by itself.
    pub quiet: State,
    /// After the dry runs.
    pub after: State,
}

/// The state of the world, as far as a dry run could change it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// A digest of each table's rows, by database and table: `openclaw audit_log`.
    pub tables: BTreeMap<String, String>,
    /// Calls that the doubles got.
    pub calls: usize,
}

#[cfg(test)]
mod tests;
