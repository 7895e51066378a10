//! Turns: what a user said goes to the model, what the model wants done is sorted by risk, and what
//! is safe runs once. The plan is on disk before its first step, so that a turn that is interrupted
//! goes on with the same operations instead of asking the model for others.

pub(in crate::reference) mod model;
mod plan;
pub(in crate::reference) mod proposal;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::reference::dead_letters::{self, Failed, Source};
use crate::reference::ids;
use crate::reference::mutation::{self, Done};
use crate::reference::operations::{NewOperation, Operation, Resumer, Underway};
use crate::reference::outbox::{self, Verdict, Write};
use crate::reference::service::Service;
use crate::reference::sessions;
use crate::reference::web::{Call, Field, Longest, Reply, Row, Shape, Twin, handler};

use plan::Plan;

const SERVICE: &str = "api-gateway";

/// The kind of its operations.
const KIND: &str = "turn";

/// The route of turns.
pub fn routes() -> Vec<Row> {
    let about = ("turn.begin", "turn");
    let row = Row::mutation(SERVICE, ("POST", "/v3/turn"), "v4.3", about, handler(turn));
    vec![
        row.twin(Twin::Deprecated)
            .about("One exchange with the model; its safe tool calls run, its guarded ones wait.")
            .takes(&[
                Field::id("session_id"),
                Field::new("input_text", Shape::Text(Longest::Input)),
                Field::free("envelope").optional(),
            ])
            .gives(200, TURN)
            .refuses(&[404]),
    ]
}

const TURN: &[Field] = &[
    Field::text("turn_id"),
    Field::text("session_id"),
    Field::text("assistant_text"),
    Field::list(
        "tool_calls",
        &[
            Field::text("tool_name").or_null(),
            Field::free("args").or_null(),
            Field::text("status"),
            Field::text("operation_id").optional(),
            Field::new("result", Shape::Any).optional(),
            Field::text("confirmation_id").optional(),
            Field::count("fence_token").optional(),
            Field::object("error", &[Field::text("code"), Field::text("message")]).optional(),
        ],
    ),
    Field::object(
        "memory",
        &[Field::count("written"), Field::count("retrieved_count")],
    ),
    Field::free("latency"),
    Field::object("decision", &[Field::text("class"), Field::text("hash")]),
];

/// What resumes interrupted turns.
pub fn resumers() -> Vec<Resumer> {
    vec![Resumer {
        service: SERVICE,
        kind: KIND,
        resume: Arc::new(|svc, operation| Box::pin(resume(svc, operation))),
    }]
}

/// What a turn's operation keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Detail {
    turn_id: String,
    session_id: String,
    input_text: String,
    envelope: Value,
    /// What is to be done, once the model has answered and there is something to do.
    plan: Option<Plan>,
}

/// A turn under way.
type Turn = Underway<Detail>;

/// Why a turn ends without an answer: a code and a sentence.
struct Failure {
    code: &'static str,
    message: String,
}

/// One turn, asked for by a request or by a frame.
pub(in crate::reference) async fn turn(svc: Arc<Service>, call: Call) -> Reply {
    let (service, request) = (svc.clone(), call.clone());
    let begun = mutation::begin(&svc, &call, move |tx| {
        let config = service.config();
        let fields = request.fields()?;
        let session_id = fields.text("session_id", config.limits.id_chars)?;
        let detail = Detail {
            turn_id: ids::make("trn_"),
            session_id: session_id.to_owned(),
            input_text: fields
                .text("input_text", config.limits.input_chars)?
                .to_owned(),
            envelope: fields
                .optional_object("envelope")?
                .cloned()
                .unwrap_or(Value::Null),
            plan: None,
        };
        if sessions::active(tx.sql(), session_id, tx.now(), config.sessions.idle_ms)?.is_none() {
            return Err(sessions::unknown(session_id).into());
        }
        let operation = NewOperation {
            id: ids::make("op_"),
            kind: KIND,
            decision_id: None,
            fence_token: None,
            detail: json!(detail),
        };
        let resource = Some(resource(&detail));
        Ok(mutation::Decision {
            operation,
            origin: None,
            action: None,
            resource,
            value: detail,
        })
    });
    match begun.await {
        Err(reply) => reply,
        Ok(begun) => run(svc, Underway::begun(begun, call.origin())).await,
    }
}

async fn resume(svc: Arc<Service>, operation: Operation) {
    if let Some(turn) = Underway::resumed(operation) {
        run(svc, turn).await;
    }
}

/// Model, plan, tools, answer. Every turn that got this far and has a client is one sample.
async fn run(svc: Arc<Service>, turn: Turn) -> Reply {
    // Nobody waits for a resumed turn, and its crash is no latency.
    let measured = svc.slo().filter(|_| !turn.resumed).map(|slo| slo.begin());
    let begun = Instant::now();
    let note = |stage: &'static str, took: Duration| {
        if !turn.resumed {
            svc.shared.latencies.note(stage, took);
        }
    };
    let mut latency = Latency::default();
    let planned = match turn.detail.plan.clone() {
        Some(plan) => Ok(plan),
        None => {
            let asked = Instant::now();
            let answer = match &measured {
                Some(measured) => measured.measure("model", model::ask(&svc, &turn)).await.0,
                None => model::ask(&svc, &turn).await,
            };
            latency.model = asked.elapsed();
            note("model", latency.model);
            match answer {
                Ok(answer) => plan::make(&svc, &turn, &answer).await,
                Err(failure) => Err(failure),
            }
        }
    };
    let reply = match planned {
        Err(failure) => {
            note("total", begun.elapsed());
            fail(&svc, &turn, failure).await
        }
        Ok(plan) => {
            let started = Instant::now();
            let tool_calls = plan::carry_out(&svc, &turn, &plan).await;
            if plan.runs_tools() {
                latency.tool = started.elapsed();
                note("tool", latency.tool);
                if let Some(measured) = &measured {
                    measured.stage("tool", latency.tool);
                }
            }
            let write = memory_write(&turn, &plan);
            let started = Instant::now();
            let verdict = outbox::try_now(&svc, &write).await;
            latency.memory_write = started.elapsed();
            note("memory_write", latency.memory_write);
            latency.total = begun.elapsed();
            note("total", latency.total);
            complete(&svc, &turn, (plan, tool_calls), (write, verdict), latency).await
        }
    };
    if let Some(measured) = measured {
        measured.end().await;
    }
    reply
}

#[derive(Default)]
struct Latency {
    model: Duration,
    tool: Duration,
    memory_write: Duration,
    total: Duration,
}

impl Latency {
    /// Milliseconds with three decimals.
    fn value(&self) -> Value {
        let ms = |stage: Duration| stage.as_micros() as f64 / 1000.0;
        json!({
            "model": ms(self.model),
            "tool": ms(self.tool),
            "memory_write": ms(self.memory_write),
            "total": ms(self.total),
        })
    }
}

/// What of a turn the memory engine is to keep.
fn memory_write(turn: &Turn, plan: &Plan) -> Write {
    let Detail {
        turn_id,
        session_id,
        input_text,
        ..
    } = &turn.detail;
    let origin = &turn.origin;
    Write {
        id: outbox::id_of(turn_id),
        session_id: session_id.clone(),
        turn_id: turn_id.clone(),
        body: outbox::remembered(input_text, &plan.text, turn_id, session_id),
        correlation_id: origin.correlation_id.clone(),
        causal_parent: plan.causal_parent.clone(),
        actor: format!("{};{}", origin.actor_id, origin.actor_role),
    }
}

async fn complete(
    svc: &Arc<Service>,
    turn: &Turn,
    (plan, tool_calls): (Plan, Vec<Value>),
    (write, verdict): (Write, Verdict),
    latency: Latency,
) -> Reply {
    let Detail {
        turn_id,
        session_id,
        ..
    } = turn.detail.clone();
    let about = resource(&turn.detail);
    let correlation_id = &turn.origin.correlation_id;
    let failed = failed(turn, &plan, &tool_calls);
    let letters = svc.config().dead_letters.max;
    mutation::finish(
        svc,
        &turn.operation_id,
        correlation_id,
        move |tx, operation| {
            sessions::count_turn(tx, &session_id)?;
            outbox::keep(tx, &write, verdict)?;
            for failed in &failed {
                dead_letters::add(tx, failed, letters)?;
            }
            let event = json!({
                "turn_id": turn_id, "session_id": session_id, "tool_calls": tool_calls.len(),
            });
            tx.event("turn.completed", &operation.origin.correlation_id, event)?;
            let body = json!({
                "turn_id": turn_id,
                "session_id": session_id,
                "assistant_text": plan.text,
                "tool_calls": tool_calls,
                "memory": {
                    "written": u64::from(verdict == Verdict::Delivered),
                    "retrieved_count": 0,
                },
                "latency": latency.value(),
                "decision": plan.decision,
            });
            Ok(Done::new(200, body)
                .action("turn.complete")
                .on(about.clone()))
        },
    )
    .await
}

/// The calls of a turn that have failed.
fn failed(turn: &Turn, plan: &Plan, tool_calls: &[Value]) -> Vec<Failed> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let calls = tool_calls.iter().filter(|call| call["status"] == "failed");
    calls
        .map(|call| Failed {
            source: Source::Turn,
            source_id: turn.detail.turn_id.clone(),
            session_id: Some(turn.detail.session_id.clone()),
            tool_name: text(&call["tool_name"]),
            args: call["args"].clone(),
            decision: None,
            code: text(&call["error"]["code"]),
            message: text(&call["error"]["message"]),
            correlation_id: turn.origin.correlation_id.clone(),
            causal_parent: plan.causal_parent.clone(),
            operation_id: text(&call["operation_id"]),
        })
        .collect()
}

async fn fail(svc: &Arc<Service>, turn: &Turn, failure: Failure) -> Reply {
    let Detail {
        turn_id,
        session_id,
        ..
    } = turn.detail.clone();
    let about = resource(&turn.detail);
    let correlation_id = &turn.origin.correlation_id;
    let reply = mutation::finish(
        svc,
        &turn.operation_id,
        correlation_id,
        move |tx, operation| {
            let event = json!({"turn_id": turn_id, "session_id": session_id, "code": failure.code});
            tx.event("turn.failed", &operation.origin.correlation_id, event)?;
            let error = json!({
                "code": failure.code, "message": failure.message, "retryable": true,
                "details": {"turn_id": turn_id},
            });
            let done = Done::new(503, json!({"ok": false, "error": error}));
            Ok(done.failed().action("turn.complete").on(about.clone()))
        },
    );
    reply.await.header("retry-after", "1")
}

fn resource(detail: &Detail) -> String {
    format!("turn/{}", detail.turn_id)
}
