//! What is done about a model's answer: ids are made, confirmations minted and everything written in
//! one transaction; only then does the first tool run.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::proposal::{self, Proposal, ToolCall};
use super::{Failure, Turn, model, resource};
use crate::reference::audit;
use crate::reference::decisions::{self, Draft, Kind};
use crate::reference::execution::{self, Execution};
use crate::reference::ids;
use crate::reference::operations;
use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::tools::{self, Outcome};

/// What a turn will do and say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// What the model says to the user.
    pub(super) text: String,
    /// `{class, hash}`.
    pub(super) decision: Value,
    steps: Vec<Step>,
    /// The committed entry that precedes the tool calls.
    pub(super) causal_parent: String,
}

/// One tool call of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
enum Step {
    /// Runs under this operation, however often the turn is resumed.
    Run {
        tool_name: String,
        args: Value,
        operation_id: String,
    },
    /// Says something and does nothing: a confirmation that was minted, or a call that never runs.
    Say { entry: Value },
}

impl Plan {
    /// Whether a tool runs.
    pub(super) fn runs_tools(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Run { .. }))
    }
}

/// Makes a plan of a model's answer. It is written only if something follows from it.
pub(super) async fn make(svc: &Arc<Service>, turn: &Turn, answer: &Value) -> Result<Plan, Failure> {
    let config = svc.config();
    let risk = |tool: &str| tools::risk(&config, tool);
    let answer = proposal::read(answer, risk, config.turns.max_tool_calls)
        .map_err(|why| model::unavailable(format!("the model backend is of no use: {why}")))?;
    let detail = &turn.detail;
    let decision = proposal::decision(&detail.input_text, &detail.envelope, &answer.proposals);
    let plan = Plan {
        text: answer.text,
        decision,
        steps: Vec::new(),
        causal_parent: turn.causal_parent.clone(),
    };
    let says_only = |proposal: &Proposal| match proposal {
        Proposal::Report(entry) => Some(Step::Say {
            entry: entry.clone(),
        }),
        Proposal::Run(_) | Proposal::Confirm(_) => None,
    };
    if let Some(steps) = answer.proposals.iter().map(says_only).collect() {
        return Ok(Plan { steps, ..plan });
    }
    write(svc, turn, plan, answer.proposals)
        .await
        .map_err(|error| Failure {
            code: "STORE_UNAVAILABLE",
            message: format!("the store cannot be written: {error}"),
        })
}

async fn write(
    svc: &Arc<Service>,
    turn: &Turn,
    mut plan: Plan,
    proposals: Vec<Proposal>,
) -> Result<Plan, StoreError> {
    let (service, operation_id) = (svc.clone(), turn.operation_id.clone());
    let (mut detail, mut origin) = (turn.detail.clone(), turn.origin.clone());
    origin.causal_parent = Some(turn.causal_parent.clone());
    let job = move |tx: &mut Tx<'_>| {
        for proposal in proposals {
            let step = match proposal {
                Proposal::Report(entry) => Step::Say { entry },
                Proposal::Run(ToolCall { tool_name, args }) => Step::Run {
                    tool_name,
                    args,
                    operation_id: ids::make("op_"),
                },
                Proposal::Confirm(call) => {
                    let (session, correlation) = (&detail.session_id, &origin.correlation_id);
                    Step::Say {
                        entry: mint(&service, tx, session, correlation, call)?,
                    }
                }
            };
            plan.steps.push(step);
        }
        let draft = origin.draft("turn.plan", &resource(&detail), audit::Outcome::Ok);
        plan.causal_parent = tx.audit(draft)?.to_string();
        detail.plan = Some(plan.clone());
        operations::set_detail(tx, &operation_id, &json!(detail))?;
        Ok(plan)
    };
    svc.store.write(job).await
}

/// Asks a person about a guarded call.
fn mint(
    svc: &Service,
    tx: &mut Tx<'_>,
    session_id: &str,
    correlation_id: &str,
    call: ToolCall,
) -> Result<Value, StoreError> {
    let draft = Draft {
        id: ids::make("cnf_"),
        kind: Kind::Confirmation.name(),
        session_id: Some(session_id.to_owned()),
        tool_name: call.tool_name,
        args: call.args,
        ttl_ms: svc.config().confirmations.ttl_ms,
    };
    let fence = svc.parts.decisions.next_fence(tx)?;
    let decision = decisions::mint(tx, &draft, fence)?;
    let event = json!({
        "confirmation_id": decision.id, "tool_name": decision.tool_name, "fence_token": fence,
    });
    tx.event("confirmation.requested", correlation_id, event)?;
    Ok(json!({
        "tool_name": decision.tool_name,
        "args": decision.args,
        "status": "confirmation_required",
        "confirmation_id": decision.id,
        "fence_token": fence,
    }))
}

/// Carries a plan out, in the model's order; the answer's `tool_calls`.
pub(super) async fn carry_out(svc: &Arc<Service>, turn: &Turn, plan: &Plan) -> Vec<Value> {
    let mut entries = Vec::new();
    for step in &plan.steps {
        entries.push(match step {
            Step::Say { entry } => entry.clone(),
            Step::Run {
                tool_name,
                args,
                operation_id,
            } => {
                let execution = Execution {
                    operation_id: operation_id.clone(),
                    tool_name: tool_name.clone(),
                    args: args.clone(),
                    decision: None,
                    origin: turn.origin.clone(),
                    causal_parent: plan.causal_parent.clone(),
                };
                let outcome = execution::execute(svc, &execution, turn.resumed).await;
                executed(&execution, outcome)
            }
        });
    }
    entries
}

fn executed(execution: &Execution, outcome: Outcome) -> Value {
    let mut entry = json!({
        "tool_name": execution.tool_name,
        "args": execution.args,
        "operation_id": execution.operation_id,
    });
    match outcome {
        Outcome::Succeeded { result } => {
            entry["status"] = json!("executed");
            entry["result"] = result;
        }
        Outcome::Failed { code, message } => {
            entry["status"] = json!("failed");
            entry["error"] = json!({"code": code, "message": message});
        }
    }
    entry
}
