//! Gate audit-export-endpoint: an exported segment carries the first hash, the last hash and the
//! count of exactly its entries, and nobody gets it without credentials.
//!
//! Two operators write to every chain. Then each chain is exported whole, under both paths, and in
//! segments: consecutive ones that have to join, single entries, one that is cut by its limit and
//! one that reaches past the end. Every proof is recomputed, the checkpoint in it too. Ranges that
//! are empty, inverted or no numbers are refused. At last every route of v4.7 is asked without
//! credentials, with open decisions under the ones that change something, and then with them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::audit_chain_present::ToolRun;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::contract::Export;

mod drive;
mod judge;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The public key that the harness has pinned, in hexadecimal digits.
    pub pinned: String,
    /// The chains that the target lists.
    pub chains: Vec<String>,
    /// Every mutation that was sent before the exports.
    pub sent: Vec<Sent>,
    /// What the tools did until then.
    pub effects: Vec<ToolRun>,
    /// The exports.
    pub segments: Vec<Segment>,
    /// Ranges that are none.
    pub bad_ranges: Vec<BadRange>,
    /// Routes, asked without credentials and with them.
    pub guarded: Vec<Guarded>,
    /// What stood before the requests without credentials; none when it could not be read.
    pub before: Option<Standing>,
    /// What stood after them.
    pub after: Option<Standing>,
    /// What could not be done, and why.
    pub trouble: Vec<String>,
}

/// One export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// The chain.
    pub chain: String,
    /// Path and query.
    pub path: String,
    /// What was asked for.
    pub range: Range,
    /// When, on the clock of the run.
    pub at_us: u64,
    /// The status and code.
    pub answer: String,
    /// Whether the answer called the path deprecated.
    pub deprecated: bool,
    /// The export, if it is one.
    pub export: Option<Export>,
}

/// Which entries of a chain were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// All.
    Whole,
    /// From one seq to another.
    Between(i64, i64),
    /// From a seq, at most so many.
    AtMost(i64, usize),
}

/// A range that has to be refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BadRange {
    /// What is wrong with it: `empty`, `inverted`.
    pub what: String,
    /// The request and its answer.
    pub sent: Sent,
}

/// A route of v4.7 under one of its paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guarded {
    /// The service.
    pub service: String,
    /// The method.
    pub method: String,
    /// The path with braces.
    pub template: String,
    /// Without credentials.
    pub without: Sent,
    /// With them, afterwards; none when nobody got that far.
    pub with: Option<Sent>,
}

/// What requests without credentials must not change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// A digest of each table that a gate may read, by database and name.
    pub tables: std::collections::BTreeMap<String, String>,
    /// The lists of what is open, by route.
    pub open: std::collections::BTreeMap<String, Value>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    judge::judge(seen)
}

/// Drives it.
///
/// # Errors
/// When there is no target to drive.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(crate::chaos::approvals::guarded_calls);
    let instance = cx.start(serde_json::json!({})).await?;
    drive::write(cx, &instance, seen).await?;
    drive::export(cx, &instance, seen).await;
    drive::guard(cx, &instance, seen).await
}
