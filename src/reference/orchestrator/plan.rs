//! What is done about the model's answer. The agent sorts calls by their form alone: what may run is
//! openclaw's to say.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Act, Failure, outbound, reach, resource};
use crate::reference::audit;
use crate::reference::execution::Execution;
use crate::reference::ids;
use crate::reference::operations;
use crate::reference::outbound::Sent;
use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::tools::{Outcome, Risk};
use crate::reference::turns::proposal::{self, Proposal, ToolCall};
use crate::reference::web::{Field, Shape};

/// A tool call in the answer of an act.
pub(super) const CALL: &[Field] = &[
    Field::text("tool_name").or_null(),
    Field::free("args").or_null(),
    Field::text("status"),
    Field::word("decision", &["approved", "denied", "approval_required"]).or_null(),
    Field::text("operation_id").optional(),
    Field::new("result", Shape::Any).optional(),
    Field::text("approval_id").optional(),
    Field::count("fence_token").optional(),
    Field::object("error", &[Field::text("code"), Field::text("message")]).optional(),
];

/// What an act will do and say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// What the model says.
    pub(super) text: String,
    steps: Vec<Step>,
    /// The committed entry that precedes the tool calls.
    causal_parent: String,
}

/// One tool call of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
enum Step {
    /// Goes to openclaw under this operation, however often the act is resumed.
    Ask {
        tool_name: String,
        args: Value,
        operation_id: String,
    },
    /// Never leaves this service.
    Say { entry: Value },
}

/// Makes a plan of a model's answer, and writes it down if a call follows from it.
pub(super) async fn make(svc: &Arc<Service>, act: &Act, answer: &Value) -> Result<Plan, Failure> {
    let most = svc.config().turns.max_tool_calls;
    let answer = proposal::read(answer, |_| Some(Risk::Safe), most).map_err(|why| Failure {
        code: "MODEL_UNAVAILABLE",
        message: format!("the model is of no use: {why}"),
    })?;
    let step = |proposal: Proposal| match proposal {
        Proposal::Run(call) | Proposal::Confirm(call) => ask(call),
        Proposal::Report(mut entry) => {
            entry["decision"] = Value::Null;
            Step::Say { entry }
        }
    };
    let plan = Plan {
        text: answer.text,
        steps: answer.proposals.into_iter().map(step).collect(),
        causal_parent: act.causal_parent.clone(),
    };
    if plan
        .steps
        .iter()
        .all(|step| matches!(step, Step::Say { .. }))
    {
        return Ok(plan);
    }
    let written = write(svc, act, plan).await;
    written.map_err(|error| Failure::store(&error))
}

fn ask(ToolCall { tool_name, args }: ToolCall) -> Step {
    Step::Ask {
        tool_name,
        args,
        operation_id: ids::make("op_"),
    }
}

async fn write(svc: &Arc<Service>, act: &Act, mut plan: Plan) -> Result<Plan, StoreError> {
    let operation_id = act.operation_id.clone();
    let (mut detail, mut origin) = (act.detail.clone(), act.origin.clone());
    origin.causal_parent = Some(act.causal_parent.clone());
    let job = move |tx: &mut Tx<'_>| {
        let draft = origin.draft("agent.plan", &resource(&detail), audit::Outcome::Ok);
        plan.causal_parent = tx.audit(draft)?.to_string();
        detail.plan = Some(plan.clone());
        operations::set_detail(tx, &operation_id, &json!(detail))?;
        Ok(plan)
    };
    svc.store.write(job).await
}

/// Carries a plan out, in the model's order; the answer's `tool_calls`.
pub(super) async fn carry_out(svc: &Arc<Service>, act: &Act, plan: &Plan) -> Vec<Value> {
    let mut entries = Vec::new();
    for step in &plan.steps {
        entries.push(match step {
            Step::Say { entry } => entry.clone(),
            Step::Ask {
                tool_name,
                args,
                operation_id,
            } => {
                let execution = Execution {
                    operation_id: operation_id.clone(),
                    tool_name: tool_name.clone(),
                    args: args.clone(),
                    decision: None,
                    origin: act.origin.clone(),
                    causal_parent: plan.causal_parent.clone(),
                };
                let tools = svc.parts.agent_tools.clone();
                let outcome = tools.run(svc, &execution, act.resumed).await;
                judged(svc, &execution, outcome).await
            }
        });
    }
    entries
}

/// What openclaw made of a call. One that a person has to decide is put before one, at eva-os.
async fn judged(svc: &Service, execution: &Execution, outcome: Outcome) -> Value {
    let mut entry = json!({
        "tool_name": execution.tool_name,
        "args": execution.args,
        "operation_id": execution.operation_id,
    });
    let (code, message) = match outcome {
        Outcome::Succeeded { result } => {
            (entry["status"], entry["decision"]) = (json!("executed"), json!("approved"));
            entry["result"] = result;
            return entry;
        }
        Outcome::Failed { code, message } => (code, message),
    };
    let (status, decision) = match code.as_str() {
        "DECISION_REQUIRED" => return waiting(svc, execution, entry).await,
        "TOOL_BLOCKED" | "TOOL_UNKNOWN" => ("denied", "denied"),
        _ => ("failed", "approved"),
    };
    (entry["status"], entry["decision"]) = (json!(status), json!(decision));
    entry["error"] = json!({"code": code, "message": message});
    entry
}

/// Asks eva-os for an approval; a won one runs the call, through openclaw, without us.
async fn waiting(svc: &Service, execution: &Execution, mut entry: Value) -> Value {
    let body = json!({"tool_name": execution.tool_name, "args": execution.args});
    let whose = (&execution.origin, execution.causal_parent.as_str());
    let to = ("eva-os", "/gate-tool-call");
    let call = outbound(svc, to, &execution.operation_id, whose, body);
    entry["decision"] = json!("approval_required");
    let why = match call.send(&svc.http, call.timeout).await {
        Sent::Answered(200, gated) if gated["approval_id"].is_string() => {
            entry["status"] = json!("approval_required");
            for field in ["approval_id", "fence_token"] {
                entry[field] = gated[field].clone();
            }
            return entry;
        }
        Sent::Answered(status, answer) => reach::said(status, &answer),
        Sent::NotSent(why) | Sent::InDoubt(why) => why,
    };
    entry["status"] = json!("failed");
    let message = format!("nobody could be asked: {why}");
    entry["error"] = json!({"code": "APPROVAL_UNAVAILABLE", "message": message});
    entry
}
