//! Dead letters as the gateway shows them, and what a replay answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decisions::{Execution, ToolError};

/// `GET /v3/dead-letters`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// Oldest first.
    pub dead_letters: Vec<DeadLetter>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id.
    pub dead_letter_id: String,
    /// `turn`, `confirmation`, `action`.
    pub source: String,
    /// The turn, confirmation or action.
    pub source_id: String,
    /// The session, if there is one.
    pub session_id: Option<String>,
    /// The tool that failed.
    pub tool_name: String,
    /// With what.
    pub args: Value,
    /// Of the last try; none once one succeeded.
    pub error: Option<ToolError>,
    /// `open`, `replaying`, `resolved`.
    pub state: String,
    /// How often it was replayed.
    pub replay_generation: i64,
    /// Of the request that decided it.
    pub correlation_id: String,
    /// Of the last try.
    pub operation_id: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// `POST /v3/dead-letters/{id}/replay`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// False.
    pub dry_run: bool,
    /// The letter after it.
    pub dead_letter: DeadLetter,
    /// What became of the call.
    pub execution: Execution,
}

/// `POST /v3/dead-letters/{id}/replay?dry_run=true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rehearsed {
    /// True.
    pub dry_run: bool,
    /// The letter as it is.
    pub dead_letter: DeadLetter,
    /// What a replay would do.
    pub would: Would,
}

/// What a replay would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Would {
    /// The tool.
    pub tool_name: String,
    /// With what.
    pub args: Value,
    /// By which decision; none for a safe tool.
    pub decision: Option<DecisionRef>,
    /// In which generation.
    pub replay_generation: i64,
    /// In which conversation.
    pub correlation_id: String,
}

/// A decision by its id and fence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionRef {
    /// Of the confirmation or action.
    pub id: String,
    /// Under which it was won.
    pub fence_token: i64,
}
