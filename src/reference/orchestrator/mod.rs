//! orchestrator, tier 3 and optional: an agent that is given a goal. It remembers the goal at
//! memory-engine, asks the model by way of model-router, and has every well-formed tool call judged
//! and run by openclaw; what a person has to decide is asked for at eva-os. It has no way of its own
//! to a tool or to a memory.
//!
//! The plan is on disk before its first step, so that an act that is interrupted goes on with the
//! same operations.

mod plan;
mod reach;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use reach::{AgentMemory, AgentTools, AtMemoryEngine, ByOpenclaw, Goal};

use crate::reference::audit::Origin;
use crate::reference::ids;
use crate::reference::mutation::{self, Done};
use crate::reference::operations::{NewOperation, Operation, Resumer, Underway};
use crate::reference::outbound::{OnBehalfOf, Outbound, Sent};
use crate::reference::service::Service;
use crate::reference::web::{Call, Field, Longest, Reply, Row, Shape, handler};
use plan::Plan;

const SERVICE: &str = "orchestrator";

/// The kind of its operations.
const KIND: &str = "agent.act";

/// Whoever is asked gives up first, so that its reason reaches us.
const MARGIN: Duration = Duration::from_secs(5);

/// The route.
pub fn routes() -> Vec<Row> {
    let about = ("agent.begin", "agent");
    let line = ("POST", "/agent/act");
    vec![
        Row::mutation(SERVICE, line, "v4.5", about, handler(act))
            .about("Pursues a goal: what is safe runs, what is guarded waits for a person.")
            .takes(&[Field::new("goal", Shape::Text(Longest::Input))])
            .gives(200, ACT),
    ]
}

const ACT: &[Field] = &[
    Field::text("act_id"),
    Field::text("assistant_text"),
    Field::list("tool_calls", plan::CALL),
    Field::object("memory", &[Field::text("memory_id")]),
];

/// What resumes interrupted acts.
pub fn resumers() -> Vec<Resumer> {
    vec![Resumer {
        service: SERVICE,
        kind: KIND,
        resume: Arc::new(|svc, operation| Box::pin(resume(svc, operation))),
    }]
}

/// What an act's operation keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Detail {
    act_id: String,
    goal: String,
    /// The key of the memory, the same in every repetition.
    memory_key: String,
    /// What is to be done, once the model has answered and there is something to do.
    plan: Option<Plan>,
}

/// An act under way.
type Act = Underway<Detail>;

/// Why an act ends without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `UPPER_SNAKE`.
    pub code: &'static str,
    /// For a person.
    pub message: String,
}

impl Failure {
    fn store(error: &crate::reference::store::StoreError) -> Self {
        Self {
            code: "STORE_UNAVAILABLE",
            message: format!("the store cannot be written: {error}"),
        }
    }
}

async fn act(svc: Arc<Service>, call: Call) -> Reply {
    let (service, request) = (svc.clone(), call.clone());
    let begun = mutation::begin(&svc, &call, move |_| {
        let longest = service.config().limits.input_chars;
        let goal = request.fields()?.text("goal", longest)?.to_owned();
        let detail = Detail {
            act_id: ids::make("act_"),
            goal,
            memory_key: ids::make("op_"),
            plan: None,
        };
        Ok(mutation::Decision {
            operation: NewOperation {
                id: ids::make("op_"),
                kind: KIND,
                decision_id: None,
                fence_token: None,
                detail: json!(detail),
            },
            origin: None,
            action: None,
            resource: Some(resource(&detail)),
            value: detail,
        })
    });
    match begun.await {
        Err(reply) => reply,
        Ok(begun) => run(svc, Underway::begun(begun, call.origin())).await,
    }
}

async fn resume(svc: Arc<Service>, operation: Operation) {
    if let Some(act) = Underway::resumed(operation) {
        run(svc, act).await;
    }
}

async fn run(svc: Arc<Service>, act: Act) -> Reply {
    match pursue(&svc, &act).await {
        Ok(done) => complete(&svc, &act, done).await,
        Err(failure) => fail(&svc, &act, failure).await,
    }
}

/// Memory first: an agent that cannot remember what it was told to do does nothing.
async fn pursue(svc: &Arc<Service>, act: &Act) -> Result<Value, Failure> {
    let goal = Goal {
        key: &act.detail.memory_key,
        act_id: &act.detail.act_id,
        text: &act.detail.goal,
        origin: &act.origin,
        causal_parent: &act.causal_parent,
        resumed: act.resumed,
    };
    let memory_id = svc.parts.agent_memory.remember(svc, goal).await?;
    let plan = match act.detail.plan.clone() {
        Some(plan) => plan,
        None => plan::make(svc, act, &ask(svc, act).await?).await?,
    };
    let tool_calls = plan::carry_out(svc, act, &plan).await;
    Ok(json!({
        "act_id": act.detail.act_id,
        "assistant_text": plan.text,
        "tool_calls": tool_calls,
        "memory": {"memory_id": memory_id},
    }))
}

/// The model's answer, by way of the router. A first try has a client who can ask again; a resumed
/// one is repeated for a while.
async fn ask(svc: &Service, act: &Act) -> Result<Value, Failure> {
    let config = svc.config();
    let body = json!({
        "input_text": act.detail.goal,
        "turn_id": act.detail.act_id,
        "operation_id": act.operation_id,
    });
    let timeout = Duration::from_millis(config.backends.models.timeout_ms) + MARGIN;
    let to = ("model-router", "/chat");
    let outbound = outbound(
        svc,
        to,
        &act.operation_id,
        (&act.origin, &act.causal_parent),
        body,
    );
    let once = || async {
        match outbound.send(&svc.http, timeout).await {
            Sent::Answered(200, answer) => Ok(answer),
            Sent::Answered(status, answer) => Err(reach::said(status, &answer)),
            Sent::NotSent(why) | Sent::InDoubt(why) => Err(why),
        }
    };
    let answer = svc.tries(act.resumed, once).await;
    answer.map_err(|why| Failure {
        code: "MODEL_UNAVAILABLE",
        message: format!("the model router did not answer: {why}"),
    })
}

/// A call of another service, for whoever set the goal.
fn outbound(
    svc: &Service,
    (service, path): (&str, &str),
    operation_id: &str,
    (origin, causal_parent): (&Origin, &str),
    body: Value,
) -> Outbound {
    Outbound {
        url: format!("{}{path}", svc.peer(service)),
        operation_id: operation_id.to_owned(),
        correlation_id: origin.correlation_id.clone(),
        causal_parent: causal_parent.to_owned(),
        replay_generation: origin.replay_generation,
        on_behalf_of: Some(OnBehalfOf {
            service_token: svc.shared.identity.service_token().to_owned(),
            actor: format!("{};{}", origin.actor_id, origin.actor_role),
        }),
        body,
        timeout: MARGIN,
    }
}

async fn complete(svc: &Arc<Service>, act: &Act, body: Value) -> Reply {
    let about = resource(&act.detail);
    let correlation_id = &act.origin.correlation_id;
    mutation::finish(svc, &act.operation_id, correlation_id, move |_, _| {
        Ok(Done::new(200, body.clone())
            .action("agent.complete")
            .on(about.clone()))
    })
    .await
}

async fn fail(svc: &Arc<Service>, act: &Act, failure: Failure) -> Reply {
    let (about, act_id) = (resource(&act.detail), act.detail.act_id.clone());
    let correlation_id = &act.origin.correlation_id;
    let reply = mutation::finish(svc, &act.operation_id, correlation_id, move |_, _| {
        let error = json!({
            "code": failure.code, "message": failure.message, "retryable": true,
            "details": {"act_id": act_id},
        });
        let done = Done::new(503, json!({"ok": false, "error": error}));
        Ok(done.failed().action("agent.complete").on(about.clone()))
    });
    reply.await.header("retry-after", "1")
}

fn resource(detail: &Detail) -> String {
    format!("agent/{}", detail.act_id)
}
