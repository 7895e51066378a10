//! The bodies of answers, of 2xx and of refusals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decisions::ToolError;

/// What every answer has around its own fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body<T> {
    /// True on 2xx, false on a refusal.
    pub ok: bool,
    /// The fields of the route.
    #[serde(flatten)]
    pub data: T,
    /// The correlation id of the request.
    pub correlation_id: String,
}

/// `error` of a refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// `UPPER_SNAKE`.
    pub code: String,
    /// For a person.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// By code.
    pub details: Value,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub error: Fault,
}

/// `GET /healthz`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// True when ready.
    pub ok: bool,
    /// The service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract_version: Option<String>,
    /// `starting` before it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// `GET /openapi.json`, as far as a client can count on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiDocument {
    /// `3.1.0`.
    pub openapi: String,
    /// Title and version of the service.
    pub info: ApiInfo,
    /// Operations by path template and method in lower case.
    pub paths: BTreeMap<String, BTreeMap<String, ApiOperation>>,
    /// What the operations refer to.
    pub components: Value,
    /// The limits in force, by name.
    #[serde(rename = "x-limits")]
    pub limits: BTreeMap<String, u64>,
}

/// What a document says of its service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiInfo {
    /// The service's name.
    pub title: String,
    /// The release.
    pub version: String,
    /// The pin.
    #[serde(rename = "x-contract-version")]
    pub contract_version: String,
}

/// One operation of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiOperation {
    /// Unlike that of every other operation.
    pub operation_id: String,
    /// One sentence.
    pub summary: String,
    /// True on twins that are to be migrated from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<bool>,
    /// Of path, query and header.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Value>,
    /// The body, if it reads one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body: Option<Value>,
    /// Answers by status.
    pub responses: BTreeMap<String, Value>,
    /// Empty when it is open to anybody.
    pub security: Vec<Value>,
    /// The release that brought it.
    #[serde(rename = "x-since")]
    pub since: String,
    /// `none`, `observer` or `operator`.
    #[serde(rename = "x-min-role")]
    pub min_role: String,
    /// Whether it changes anything.
    #[serde(rename = "x-mutating")]
    pub mutating: bool,
}

/// `POST /chat` of model-router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chat {
    /// Who answered.
    pub provider: String,
    /// What it says.
    pub text: String,
    /// What it wants done, as it came.
    pub tool_calls: Value,
}

/// `POST /select` of model-router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selected {
    /// What was asked for.
    pub task: String,
    /// Who would answer.
    pub provider: String,
    /// Why this one.
    pub reason: String,
}

/// `GET /providers` of model-router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Providers {
    /// Those that are configured.
    pub providers: Vec<Provider>,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provider {
    /// Its name.
    pub provider: String,
    /// Whether it is asked when nobody says whom.
    pub default: bool,
    /// What it can be asked for.
    pub tasks: Vec<String>,
    /// Bound of one call.
    pub timeout_ms: u64,
}

/// `POST /run` of tool-service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandedOn {
    /// The operation of openclaw.
    pub operation_id: String,
    /// What the backend answered.
    pub backend: FromBackend,
}

/// An answer of a backend, as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FromBackend {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Value,
}

/// `POST /agent/act` of orchestrator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acted {
    /// The act.
    pub act_id: String,
    /// What the model said.
    pub assistant_text: String,
    /// What became of each call that it asked for.
    pub tool_calls: Vec<AgentCall>,
    /// Where the goal is remembered.
    pub memory: Remembered,
}

/// A tool call of an act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentCall {
    /// The tool, if it was named.
    pub tool_name: Option<String>,
    /// Its arguments, if they are an object.
    pub args: Option<Value>,
    /// `executed`, `failed`, `denied`, `approval_required`, `malformed` or `over_limit`.
    pub status: String,
    /// `approved`, `denied` or `approval_required`; none for what was never judged.
    pub decision: Option<String>,
    /// The operation at openclaw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<String>,
    /// Of a tool that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The approval at eva-os that waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<String>,
    /// Its fence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence_token: Option<i64>,
    /// Why it did not run, or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// What the agent remembers of an act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// The memory at memory-engine.
    pub memory_id: String,
}

/// `GET /version`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The service's name.
    pub service: String,
    /// The release.
    pub version: String,
    /// The pin.
    pub contract_version: String,
}

/// `GET /status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The service's name.
    pub service: String,
    /// Whether credentials are required.
    pub auth_posture: String,
    /// The effective config, secrets redacted.
    pub config: Value,
    /// The stages of the last start, in order.
    pub restore: Vec<RestoreStage>,
    /// Depths by queue.
    pub queues: BTreeMap<String, u64>,
    /// What stands before each dependency of its process.
    pub breakers: Vec<Standing>,
    /// Counts since the start.
    pub counters: BTreeMap<String, u64>,
}

/// A breaker, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// `models`, `tools`, ... or a service.
    pub dependency: String,
    /// `closed`, `open`, `half_open`.
    pub state: String,
}

/// A stage of the restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreStage {
    /// Its name.
    pub stage: String,
    /// Rows restored.
    pub rows: u64,
    /// How long it took.
    pub duration_ms: f64,
    /// When it began, in milliseconds since the restore did.
    pub begun_ms: f64,
}

/// A session, created or read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionAnswer {
    /// `ses_...`.
    pub session_id: String,
    /// Whose it is.
    pub user_id: String,
    /// The caller's conversation.
    pub conversation_id: String,
    /// The profile.
    pub profile: Option<String>,
    /// The caller's own.
    pub metadata: Value,
    /// `active`, `closed`, `expired`.
    pub state: String,
    /// Turns so far.
    pub turn_count: u64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub expires_at: String,
}

/// `DELETE /v3/sessions/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionClosed {
    /// `ses_...`.
    pub session_id: String,
    /// `closed`.
    pub state: String,
}

/// `POST /v3/turn`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnAnswer {
    /// `trn_...`.
    pub turn_id: String,
    /// `ses_...`.
    pub session_id: String,
    /// What the model said.
    pub assistant_text: String,
    /// What became of the calls it asked for.
    pub tool_calls: Vec<ToolCall>,
    /// What the memory did.
    pub memory: TurnMemory,
    /// Milliseconds by stage.
    pub latency: BTreeMap<String, f64>,
    /// Its class and hash.
    pub decision: TurnDecision,
}

/// A tool call of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// None when the model named none.
    pub tool_name: Option<String>,
    /// None when the model gave none.
    pub args: Option<Value>,
    /// `executed`, `confirmation_required`, `blocked`, `malformed`, `failed`.
    pub status: String,
    /// Of an executed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<String>,
    /// Of an executed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Of a guarded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation_id: Option<String>,
    /// Of a guarded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence_token: Option<i64>,
    /// Of one that did not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ToolError>,
}

/// What a turn's memory did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnMemory {
    /// Memories written.
    pub written: u64,
    /// Memories read.
    pub retrieved_count: u64,
}

/// The decision of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnDecision {
    /// Its class.
    pub class: String,
    /// SHA-256.
    pub hash: String,
}

/// `POST /execute` of openclaw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Executed {
    /// `op_...`.
    pub operation_id: String,
    /// The tool.
    pub tool_name: String,
    /// `safe` or `guarded`.
    pub risk: String,
    /// `succeeded`.
    pub status: String,
    /// What the tool gave.
    pub result: Value,
}

/// `POST /store` of the memory-engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// `mem_...`.
    pub id: String,
    /// The memory's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `low`, `normal`, ...
    pub priority: String,
}

/// `GET /recall/{id}` of the memory-engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// `mem_...`.
    pub id: String,
    /// The memory's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    pub content: String,
    /// The caller's own.
    pub metadata: Value,
    /// `low`, `normal`, ...
    pub priority: String,
    /// RFC 3339.
    pub created_at: String,
}

/// `POST /v1/vision/frames`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// `frm_...`.
    pub frame_id: String,
    /// `ses_...`.
    pub session_id: String,
}

/// A task, created, read or updated; also `current` in the details of a refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// `tsk_...`, or what the client chose.
    pub task_id: String,
    /// The name.
    pub name: String,
    /// The caller's own.
    pub metadata: Value,
    /// The number of its last mutation, from 1.
    pub version: u64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// `GET /tasks` of eva-os.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tasks {
    /// A page in order of creation, without deleted ones.
    pub tasks: Vec<Task>,
    /// `after` of the next page; none on the last one.
    pub next: Option<i64>,
}

/// `DELETE /tasks/{id}` of eva-os.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDeleted {
    /// The task.
    pub task_id: String,
    /// `deleted`.
    pub state: String,
    /// The number of the deletion.
    pub version: u64,
}

/// The details of a 409 about a task that is there: the task as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Current {
    /// The task.
    pub current: Task,
}
