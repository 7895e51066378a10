//! tool-service: hands one operation of openclaw on to the tool backend, once, and says exactly what
//! became of that try. It takes the service token only.
//!
//! It judges nothing, tries nothing twice and keeps nothing: openclaw has decided the operation and
//! written it down, and alone knows whether it may be asked again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::backpressure::Lane;
use super::config::Config;
use super::outbound::{Outbound, Sent};
use super::service::Service;
use super::web::{Call, Field, MinRole, Most, Refusal, Reply, Row, Shape, handler};

const SERVICE: &str = "tool-service";

/// The longest bound that a caller may ask for.
const MAX_TIMEOUT_MS: i64 = 3_600_000;

/// What the backend answered, as it is.
const BACKEND: &[Field] = &[Field::count("status"), Field::new("body", Shape::Any)];

/// The route.
pub fn routes() -> Vec<Row> {
    let timeout = Shape::Integer(1, Most::Number(MAX_TIMEOUT_MS));
    let row = Row::question(SERVICE, "/run", "v4.3", handler(run))
        .about("Hands an operation of openclaw on to the tool backend.")
        .takes(&[
            Field::id("operation_id"),
            Field::id("tool_name"),
            Field::free("args").optional(),
            Field::new("timeout_ms", timeout).optional(),
        ])
        .gives(
            200,
            &[
                Field::text("operation_id"),
                Field::object("backend", BACKEND),
            ],
        )
        .refuses(&[504]);
    vec![Row {
        min_role: MinRole::Service,
        ..row
    }]
}

async fn run(svc: Arc<Service>, call: Call) -> Reply {
    let outbound = match outbound(&svc.config(), &call) {
        Ok(outbound) => outbound,
        Err(refusal) => return refusal.reply(&call.correlation_id),
    };
    let _permit = match svc.queue(Lane::Tool).await {
        Ok(permit) => permit,
        Err(shed) => return shed.refusal().reply(&call.correlation_id),
    };
    let operation_id = &outbound.operation_id;
    let refusal = match outbound.send(&svc.toward("tools"), outbound.timeout).await {
        Sent::Answered(status, body) => {
            let backend = json!({"status": status, "body": body});
            let body = json!({"operation_id": operation_id, "backend": backend});
            return Reply::ok(&call.correlation_id, body);
        }
        Sent::NotSent(why) => {
            let message = format!("the tool backend has not seen the call: {why}");
            Refusal::unavailable("TOOL_UNAVAILABLE", message, 1)
        }
        Sent::InDoubt(why) => Refusal {
            retryable: true,
            ..Refusal::new(
                504,
                "OUTCOME_UNKNOWN",
                format!("the tool backend may have run it: {why}"),
            )
        },
    };
    let details = json!({"operation_id": operation_id});
    refusal.details(details).reply(&call.correlation_id)
}

fn outbound(config: &Config, call: &Call) -> Result<Outbound, Refusal> {
    let (fields, longest) = (call.fields()?, config.limits.id_chars);
    let operation_id = fields.text("operation_id", longest)?.to_owned();
    let tool_name = fields.text("tool_name", longest)?;
    let args = fields.optional_object("args")?.cloned();
    let asked = fields.optional_integer("timeout_ms")?;
    if asked.is_some_and(|asked| !(1..=MAX_TIMEOUT_MS).contains(&asked)) {
        let message = format!("timeout_ms: expected 1 to {MAX_TIMEOUT_MS}");
        return Err(Refusal::new(400, "OUT_OF_RANGE", message));
    }
    let tools = &config.backends.tools;
    let asked = asked.and_then(|asked| u64::try_from(asked).ok());
    let timeout_ms = asked.map_or(tools.timeout_ms, |asked| asked.min(tools.timeout_ms));
    Ok(Outbound {
        url: format!("{}/run", tools.url.trim_end_matches('/')),
        correlation_id: call.correlation_id.clone(),
        causal_parent: call.causal_parent.clone().unwrap_or_default(),
        replay_generation: call.replay_generation,
        on_behalf_of: None,
        body: json!({
            "operation_id": operation_id,
            "tool_name": tool_name,
            "args": args.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        }),
        timeout: Duration::from_millis(timeout_ms),
        operation_id,
    })
}
