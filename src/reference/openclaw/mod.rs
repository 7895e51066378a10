//! openclaw: every tool execution passes here. A safe tool runs, a guarded one runs once for a won
//! decision, a blocked or unknown one never; one operation is one call of the backend.

mod backend;
mod permit;

use std::sync::Arc;

use serde_json::{Value, json};

pub use permit::{Ask, DecisionRef, ISSUERS, IssuersWord, Permit, Ruling};

use crate::reference::audit::Origin;
use crate::reference::backpressure::Lane;
use crate::reference::ids;
use crate::reference::mutation::{self, Done, Refused};
use crate::reference::operations::{self, NewOperation, Operation, Resumer};
use crate::reference::service::Service;
use crate::reference::tools::{self, Outcome, Risk};
use crate::reference::web::{Call, Field, Most, Refusal, Reply, Row, Shape, handler};

const SERVICE: &str = "openclaw";

/// The kind of its operations.
const KIND: &str = "tool.execute";

/// The longest bound that a caller may ask for.
const MAX_TIMEOUT_MS: i64 = 3_600_000;

/// The route of tool execution.
pub fn routes() -> Vec<Row> {
    let about = (KIND, "tool");
    vec![
        Row::mutation(
            SERVICE,
            ("POST", "/execute"),
            "v4.3",
            about,
            handler(execute),
        )
        .about("Runs a tool: a safe one at once, a guarded one only for an approved decision.")
        .takes(&[
            Field::id("tool_name"),
            Field::free("args").optional(),
            Field::new(
                "timeout_ms",
                Shape::Integer(1, Most::Number(MAX_TIMEOUT_MS)),
            )
            .optional(),
            Field::object("decision", DECISION).optional(),
        ])
        .gives(
            200,
            &[
                Field::text("operation_id"),
                Field::text("tool_name"),
                Field::word("risk", &["safe", "guarded"]),
                Field::word("status", &["succeeded"]),
                Field::new("result", Shape::Any),
            ],
        )
        .refuses(&[404, 502]),
    ]
}

const DECISION: &[Field] = &[
    Field::id("issuer"),
    Field::id("id"),
    Field::new("fence_token", Shape::Integer(i64::MIN, Most::Open)),
];

/// What resumes interrupted tool calls.
pub fn resumers() -> Vec<Resumer> {
    vec![Resumer {
        service: SERVICE,
        kind: KIND,
        resume: Arc::new(|svc, operation| {
            Box::pin(async move {
                let parent = operation.link.clone().unwrap_or_default();
                let Operation {
                    id, detail, origin, ..
                } = operation;
                run(&svc, &id, &detail, &origin, &parent, true).await;
            })
        }),
    }]
}

/// What is asked for.
#[derive(Clone)]
struct Asked {
    tool_name: String,
    args: Value,
    timeout_ms: Option<i64>,
    decision: Option<DecisionRef>,
}

impl Asked {
    fn read(svc: &Service, call: &Call) -> Result<Self, Refusal> {
        let longest = svc.config().limits.id_chars;
        let fields = call.fields()?;
        let timeout_ms = fields.optional_integer("timeout_ms")?;
        if timeout_ms.is_some_and(|asked| !(1..=MAX_TIMEOUT_MS).contains(&asked)) {
            let message = format!("timeout_ms: expected 1 to {MAX_TIMEOUT_MS}");
            return Err(Refusal::new(400, "OUT_OF_RANGE", message));
        }
        let decision = match fields.optional_object("decision")? {
            None => None,
            Some(decision) => {
                let fields = crate::reference::web::Fields::of(decision)?;
                let wrong = || Refusal::schema("decision.fence_token: expected a whole number");
                Some(DecisionRef {
                    issuer: fields.text("issuer", longest)?.to_owned(),
                    id: fields.text("id", longest)?.to_owned(),
                    fence_token: fields.optional_integer("fence_token")?.ok_or_else(wrong)?,
                })
            }
        };
        Ok(Self {
            tool_name: fields.text("tool_name", longest)?.to_owned(),
            args: fields
                .optional_object("args")?
                .cloned()
                .unwrap_or_else(|| json!({})),
            timeout_ms,
            decision,
        })
    }

    /// What the operation keeps: all that a repeated call needs.
    fn detail(&self, risk: Risk) -> Value {
        json!({
            "tool_name": self.tool_name,
            "args": self.args,
            "risk": risk.name(),
            "timeout_ms": self.timeout_ms,
        })
    }
}

async fn execute(svc: Arc<Service>, mut call: Call) -> Reply {
    let asked = Asked::read(&svc, &call);
    if let Ok(asked) = &asked {
        call.resource = about(&asked.tool_name);
    }
    let operation_id = operation_id(&call);
    if let Some(reply) = earlier(&svc, &call, &operation_id, asked.as_ref().ok()).await {
        return reply;
    }
    // Nothing is decided yet: who is shed may ask again.
    let _permit = match svc.queue(Lane::Tool).await {
        Ok(permit) => permit,
        Err(shed) => return shed.refusal().reply(&call.correlation_id),
    };
    let admitted = match asked {
        Ok(asked) => admit(&svc, &call, &operation_id, asked).await,
        Err(refusal) => Err(refusal.into()),
    };
    let (service, id) = (svc.clone(), operation_id.clone());
    let begun = mutation::begin(&svc, &call, move |tx| {
        let Admitted { asked, risk, ask } = admitted?;
        if let Some(ask) = &ask
            && !service.parts.permit.consume(tx, ask)?
        {
            return Err(consumed(ask).into());
        }
        let detail = asked.detail(risk);
        let operation = NewOperation {
            id,
            kind: KIND,
            decision_id: asked.decision.as_ref().map(|decision| decision.id.clone()),
            fence_token: asked.decision.as_ref().map(|decision| decision.fence_token),
            detail: detail.clone(),
        };
        Ok(mutation::Decision {
            operation,
            origin: None,
            action: None,
            resource: None,
            value: detail,
        })
    });
    match begun.await {
        Err(reply) => reply,
        Ok(begun) => {
            let parent = begun.link.to_string();
            run(
                &svc,
                &operation_id,
                &begun.value,
                &call.origin(),
                &parent,
                false,
            )
            .await
        }
    }
}

/// A service names its own operation, so that both sides and the backend know it by one id.
fn operation_id(call: &Call) -> String {
    match &call.key {
        Some(key) if call.from_service && key.0.starts_with("op_") => key.0.clone(),
        _ => ids::make("op_"),
    }
}

/// The answer of an operation that was begun before: keys are forgotten after a while, operations
/// are not.
async fn earlier(
    svc: &Arc<Service>,
    call: &Call,
    operation_id: &str,
    asked: Option<&Asked>,
) -> Option<Reply> {
    let id = operation_id.to_owned();
    let found: Operation = match svc.store.read(move |sql| operations::get(sql, &id)).await {
        Ok(found) => found?,
        Err(error) => return Some(Refusal::store(&error).reply(&call.correlation_id)),
    };
    let detail = &found.detail;
    let same = asked.is_some_and(|asked| {
        detail["tool_name"] == asked.tool_name.as_str() && detail["args"] == asked.args
    });
    let refusal = match found.answer {
        _ if !same => Refusal::new(422, "KEY_REUSED", "this key belongs to another request"),
        Some((status, body)) => return Some(Reply::replayed(status, body)),
        None => Refusal {
            retryable: true,
            retry_after: Some(1),
            ..Refusal::conflict(
                "KEY_IN_PROGRESS",
                "the first request with this key is still running",
            )
        },
    };
    Some(mutation::refuse(svc, call, refusal).await)
}

/// A call that may run, guarded ones once their decision is used up.
struct Admitted {
    asked: Asked,
    risk: Risk,
    ask: Option<Ask>,
}

async fn admit(
    svc: &Service,
    call: &Call,
    operation_id: &str,
    asked: Asked,
) -> Result<Admitted, Refused> {
    let tool = &asked.tool_name;
    match tools::risk(&svc.config(), tool) {
        None => Err(Refusal::not_found("TOOL_UNKNOWN", format!("no tool {tool}")).into()),
        Some(Risk::Blocked) => {
            Err(Refusal::new(403, "TOOL_BLOCKED", format!("{tool} never runs")).into())
        }
        Some(Risk::Safe) => Ok(Admitted {
            asked,
            risk: Risk::Safe,
            ask: None,
        }),
        Some(Risk::Guarded) => {
            let ask = permit_ask(svc, call, operation_id, &asked).await?;
            match svc.parts.permit.rule(&ask).await? {
                Ruling::Granted => Ok(Admitted {
                    asked,
                    risk: Risk::Guarded,
                    ask: Some(ask),
                }),
                Ruling::Consumed => Err(consumed(&ask).into()),
                Ruling::Required => {
                    let message =
                        format!("{tool} is guarded: it runs only with an approved decision");
                    Err(Refusal::new(403, "DECISION_REQUIRED", message).into())
                }
                Ruling::Invalid => {
                    let (issuer, id) = named(&ask);
                    let message = format!("no approved decision {id} of {issuer} for this call");
                    Err(Refusal::new(403, "DECISION_INVALID", message).into())
                }
            }
        }
    }
}

async fn permit_ask(
    svc: &Service,
    call: &Call,
    operation_id: &str,
    asked: &Asked,
) -> Result<Ask, Refused> {
    let decision = asked.decision.clone();
    let replay_generation = call.replay_generation;
    let consumed = match decision.clone() {
        None => false,
        Some(DecisionRef { issuer, id, .. }) => {
            svc.store
                .read(move |sql| permit::consumed(sql, &issuer, &id, replay_generation))
                .await?
        }
    };
    let issuer = decision
        .as_ref()
        .map_or("", |decision| decision.issuer.as_str());
    let known = ISSUERS.contains(&issuer);
    Ok(Ask {
        from_service: call.from_service,
        operation_id: operation_id.to_owned(),
        replay_generation,
        tool_name: asked.tool_name.clone(),
        args: asked.args.clone(),
        issuer_database: svc.shared.databases.get(issuer).filter(|_| known).cloned(),
        consumed,
        decision,
    })
}

fn named(ask: &Ask) -> (&str, &str) {
    ask.decision
        .as_ref()
        .map_or(("", ""), |decision| (&decision.issuer, &decision.id))
}

fn consumed(ask: &Ask) -> Refusal {
    Refusal::conflict(
        "DECISION_CONSUMED",
        format!("{} has run already", named(ask).1),
    )
}

/// Calls the backend and stores what became of it. Who comes with a request has waited before it was
/// decided; what is resumed waits now.
async fn run(
    svc: &Arc<Service>,
    operation_id: &str,
    detail: &Value,
    origin: &Origin,
    causal_parent: &str,
    resumed: bool,
) -> Reply {
    let correlation_id = &origin.correlation_id;
    let call = backend::Run {
        operation_id,
        tool_name: detail["tool_name"].as_str().unwrap_or_default(),
        args: &detail["args"],
        timeout_ms: detail["timeout_ms"].as_u64(),
        correlation_id,
        causal_parent,
        replay_generation: origin.replay_generation,
    };
    let outcome = if resumed {
        // It may have run before the crash: shed is no reason to say that it has not.
        match svc.insist_on(Lane::Tool).await {
            Ok(_permit) => backend::run(&svc.toward("tools"), &svc.config(), &call, true).await,
            Err(shed) => Outcome::unknown(shed.message()),
        }
    } else {
        backend::run(&svc.toward("tools"), &svc.config(), &call, false).await
    };
    let reply = mutation::finish(svc, operation_id, correlation_id, move |_, operation| {
        Ok(conclude(operation, &outcome))
    });
    let reply = reply.await;
    if reply.status == 503 {
        reply.header("retry-after", "1")
    } else {
        reply
    }
}

fn conclude(operation: &Operation, outcome: &Outcome) -> Done {
    let tool_name = &operation.detail["tool_name"];
    let done = match outcome {
        Outcome::Succeeded { result } => Done::new(
            200,
            json!({
                "operation_id": operation.id,
                "tool_name": tool_name,
                "risk": operation.detail["risk"],
                "status": "succeeded",
                "result": result,
            }),
        ),
        Outcome::Failed { code, message } => {
            // Nothing has run, so nothing is to be remembered under the key: 503.
            let unavailable = code == "TOOL_UNAVAILABLE";
            let error = json!({
                "code": code, "message": message, "retryable": unavailable,
                "details": {"operation_id": operation.id},
            });
            let status = if unavailable { 503 } else { 502 };
            Done::new(status, json!({"ok": false, "error": error})).failed()
        }
    };
    done.action("tool.result")
        .on(about(tool_name.as_str().unwrap_or_default()))
}

fn about(tool_name: &str) -> String {
    format!("tool/{tool_name}")
}
