//! The bodies of answers about confirmations and actions: what waits for a person, who decided, and
//! what became of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `GET /v3/confirmations/pending`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingList {
    /// All pending ones.
    pub confirmations: Vec<Pending>,
}

/// A pending confirmation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// `cnf_...`.
    pub confirmation_id: String,
    /// `ses_...`.
    pub session_id: String,
    /// The tool.
    pub tool_name: String,
    /// Its arguments.
    pub args: Value,
    /// The current fence.
    pub fence_token: i64,
    /// Until it expires.
    pub remaining_seconds: f64,
}

/// `GET /approvals` of eva-os.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approvals {
    /// All pending ones.
    pub approvals: Vec<Approval>,
}

/// A pending approval of eva-os.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// `apr_...`.
    pub approval_id: String,
    /// The tool.
    pub tool_name: String,
    /// Its arguments.
    pub args: Value,
    /// The current fence.
    pub fence_token: i64,
    /// Until it expires.
    pub remaining_seconds: f64,
}

/// Who decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The actor.
    pub actor_id: String,
    /// In this role.
    pub actor_role: String,
    /// The service that acted for them.
    pub via: Option<String>,
}

/// What a tool said went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolError {
    /// `UPPER_SNAKE`.
    pub code: String,
    /// For a person.
    pub message: String,
}

/// The one run of an approved tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// `op_...`.
    pub operation_id: String,
    /// `succeeded` or `failed`.
    pub status: String,
    /// What the tool gave.
    pub result: Value,
    /// What went wrong.
    pub error: Option<ToolError>,
}

/// A decision that won, on any of the three approval routes; exactly one id is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// On the confirmations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation_id: Option<String>,
    /// On the actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_id: Option<String>,
    /// On eva-os.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<String>,
    /// `approved` or `denied`.
    pub verdict: String,
    /// Who decided.
    pub decided_by: Actor,
    /// The fence it was decided under.
    pub fence_token: i64,
    /// The run of an approved tool.
    pub execution: Option<Execution>,
    /// The state of an action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl Decided {
    /// The id, whichever route it is of.
    #[must_use]
    pub fn id(&self) -> &str {
        let ids = [&self.confirmation_id, &self.action_id, &self.approval_id];
        ids.into_iter().flatten().next().map_or("", String::as_str)
    }
}

/// `details` of a 409 ALREADY_DECIDED: the winner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Winner {
    /// `approved` or `denied`.
    pub verdict: String,
    /// Who decided.
    pub decided_by: Actor,
    /// The fence it was decided under.
    pub fence_token: i64,
}

/// A reissue, on any of the three approval routes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reissued {
    /// On the confirmations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation_id: Option<String>,
    /// On the actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_id: Option<String>,
    /// On eva-os.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<String>,
    /// The new fence.
    pub fence_token: i64,
    /// Until it expires.
    pub remaining_seconds: f64,
}

/// `POST /v3/actions/plan` and `GET /v3/actions/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionAnswer {
    /// The action.
    pub action: Action,
}

/// `GET /v3/actions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Actions {
    /// All of them.
    pub actions: Vec<Action>,
}

/// An action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// `act_...`.
    pub action_id: String,
    /// The tool.
    pub intent: String,
    /// Its arguments.
    pub params: Value,
    /// `ses_...`.
    pub session_id: String,
    /// `planned` ... `timeout`.
    pub state: String,
    /// `safe`, `guarded`, `blocked`.
    pub risk: String,
    /// Whether it never runs.
    pub dry_run: bool,
    /// The current fence.
    pub fence_token: Option<i64>,
    /// Until it expires.
    pub remaining_seconds: Option<f64>,
    /// `approved` or `denied`.
    pub verdict: Option<String>,
    /// Who decided.
    pub decided_by: Option<Actor>,
    /// Its one run.
    pub execution: Option<Execution>,
    /// RFC 3339.
    pub created_at: String,
}

/// `POST /gate-tool-call` of eva-os.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateDecision {
    /// `approved`, `denied`, `approval_required`.
    pub decision: String,
    /// Of one that needs approval.
    pub approval_id: Option<String>,
    /// Of one that needs approval.
    pub fence_token: Option<i64>,
    /// Of one that needs approval.
    pub remaining_seconds: Option<f64>,
}
