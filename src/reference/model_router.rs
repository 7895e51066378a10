//! model-router: which provider answers a chat, and the chat itself. One provider can be configured,
//! `backends.models`; a chat is asked of it once, and what it answers is handed on as it is.
//!
//! Nothing is kept here and nothing runs: what is done about an answer is its caller's business.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::backpressure::Lane;
use super::config::Config;
use super::ids;
use super::outbound::{Outbound, Sent};
use super::service::Service;
use super::web::{Call, Field, Longest, Refusal, Reply, Row, Shape, handler};

const SERVICE: &str = "model-router";

/// The provider that `backends.models` configures.
const PROVIDER: &str = "default";

/// What a provider can be asked for.
const TASKS: &[&str] = &["chat"];

const PROVIDERS: &[Field] = &[
    Field::text("provider"),
    Field::flag("default"),
    Field::new("tasks", Shape::Texts),
    Field::count("timeout_ms"),
];

/// The routes.
pub fn routes() -> Vec<Row> {
    vec![
        Row::question(SERVICE, "/chat", "v4.3", handler(chat))
            .about("Asks the model; the tool calls of its answer are the caller's to judge.")
            .takes(&[
                Field::new("input_text", Shape::Text(Longest::Input)),
                Field::id("turn_id").optional(),
                Field::id("session_id").optional(),
                Field::id("operation_id").optional(),
            ])
            .gives(
                200,
                &[
                    Field::text("provider"),
                    Field::text("text"),
                    Field::new("tool_calls", Shape::Any),
                ],
            )
            .refuses(&[503]),
        Row::question(SERVICE, "/select", "v4.3", handler(select))
            .about("Says which provider a task goes to.")
            .takes(&[Field::word("task", TASKS).optional()])
            .gives(
                200,
                &[
                    Field::word("task", TASKS),
                    Field::text("provider"),
                    Field::text("reason"),
                ],
            ),
        Row::get(SERVICE, "/providers", "v4.3", handler(providers))
            .about("The providers that are configured.")
            .gives(200, &[Field::list("providers", PROVIDERS)]),
    ]
}

async fn chat(svc: Arc<Service>, call: Call) -> Reply {
    let correlation_id = call.correlation_id.clone();
    let outbound = match outbound(&svc.config(), &call) {
        Ok(outbound) => outbound,
        Err(refusal) => return refusal.reply(&correlation_id),
    };
    let _permit = match svc.queue(Lane::Model).await {
        Ok(permit) => permit,
        Err(shed) => return shed.refusal().reply(&correlation_id),
    };
    let why = match outbound.send(&svc.toward("models"), outbound.timeout).await {
        Sent::Answered(200, Value::Object(mut answer)) if answer.contains_key("text") => {
            answer.entry("tool_calls").or_insert_with(|| json!([]));
            answer.insert("provider".to_owned(), json!(PROVIDER));
            return Reply::ok(&correlation_id, Value::Object(answer));
        }
        Sent::Answered(200, _) => "its answer has no text".to_owned(),
        Sent::Answered(status, _) => format!("status {status}"),
        Sent::NotSent(why) | Sent::InDoubt(why) => why,
    };
    let message = format!("the model backend did not answer: {why}");
    Refusal::unavailable("MODEL_UNAVAILABLE", message, 1)
        .details(json!({"provider": PROVIDER}))
        .reply(&correlation_id)
}

/// The call of the backend. Whoever has an operation behind the chat names it, so that a chat that is
/// asked again is the same one to the backend.
fn outbound(config: &Config, call: &Call) -> Result<Outbound, Refusal> {
    let (fields, longest) = (call.fields()?, config.limits.id_chars);
    let id = |name: &str| fields.optional_text(name, longest);
    let input_text = fields.text("input_text", config.limits.input_chars)?;
    let operation_id = id("operation_id")?.map(str::to_owned);
    let turn_id = id("turn_id")?.map(str::to_owned);
    Ok(Outbound {
        url: format!("{}/chat", config.backends.models.url.trim_end_matches('/')),
        operation_id: operation_id.unwrap_or_else(|| ids::make("op_")),
        correlation_id: call.correlation_id.clone(),
        causal_parent: call.causal_parent.clone().unwrap_or_default(),
        replay_generation: call.replay_generation,
        on_behalf_of: None,
        body: json!({
            "turn_id": turn_id.unwrap_or_else(|| ids::make("cht_")),
            "session_id": id("session_id")?,
            "input_text": input_text,
        }),
        timeout: Duration::from_millis(config.backends.models.timeout_ms),
    })
}

async fn select(_: Arc<Service>, call: Call) -> Reply {
    match task(&call) {
        Err(refusal) => refusal.reply(&call.correlation_id),
        Ok(task) => {
            let reason = "the only provider that is configured";
            let body = json!({"task": task, "provider": PROVIDER, "reason": reason});
            Reply::ok(&call.correlation_id, body)
        }
    }
}

fn task(call: &Call) -> Result<&'static str, Refusal> {
    let longest = usize::MAX;
    let asked = call.fields()?.optional_text("task", longest)?;
    let known = TASKS
        .iter()
        .find(|task| asked.is_none_or(|asked| asked == **task));
    known
        .copied()
        .ok_or_else(|| Refusal::schema("task: expected chat"))
}

async fn providers(svc: Arc<Service>, call: Call) -> Reply {
    let timeout_ms = svc.config().backends.models.timeout_ms;
    let one = json!({
        "provider": PROVIDER, "default": true, "tasks": TASKS, "timeout_ms": timeout_ms,
    });
    Reply::ok(&call.correlation_id, json!({"providers": [one]}))
}
