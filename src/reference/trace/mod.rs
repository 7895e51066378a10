//! `GET /v3/audit/trace/{correlation_id}`: what all chains say of one conversation, in one order.
//! Every chain is verified as a whole each time it is asked for: a trace of a broken chain would
//! be a story with a page torn out.

mod order;
mod read;

use std::sync::Arc;

use serde_json::{Value, json};

use super::audit::{ENTRY, Entry};
use super::service::Service;
use super::web::{Call, Field, Refusal, Reply, Row, Shape, Twin, handler};
use order::Gap;

/// The route.
pub fn routes() -> Vec<Row> {
    let path = "/v3/audit/trace/{correlation_id}";
    let trace = handler(|svc, call| async move {
        trace(&svc, &call)
            .await
            .unwrap_or_else(|refusal| refusal.reply(&call.correlation_id))
    });
    vec![
        Row::get("api-gateway", path, "v4.7", trace)
            .twin(Twin::Deprecated)
            .about("What all chains say of one conversation, causes before what they caused.")
            .gives(200, TRACE)
            .refuses(&[404, 409]),
    ]
}

const TRACE: &[Field] = &[
    Field::text("trace_id"),
    Field::list("entries", ENTRY),
    Field::count("entry_count"),
    Field::new("chains", Shape::Texts),
    Field::list("gaps", GAP),
];

const GAP: &[Field] = &[
    Field::text("chain"),
    Field::count("seq"),
    Field::text("causal_parent"),
    Field::word("reason", &["missing", "foreign"]),
];

async fn trace(svc: &Arc<Service>, call: &Call) -> Result<Reply, Refusal> {
    let id = call.param("correlation_id");
    let (entries, gaps) = read::conversation(svc, id).await?;
    if entries.is_empty() {
        let message = format!("no entry carries {id}");
        return Err(Refusal::not_found("TRACE_NOT_FOUND", message));
    }
    Ok(Reply::ok(&call.correlation_id, body(id, &entries, &gaps)))
}

fn body(id: &str, entries: &[Entry], gaps: &[Gap]) -> Value {
    let mut chains: Vec<&str> = entries.iter().map(|entry| entry.chain.as_str()).collect();
    chains.sort_unstable();
    chains.dedup();
    json!({
        "trace_id": id,
        "entries": entries,
        "entry_count": entries.len(),
        "chains": chains,
        "gaps": gaps,
    })
}
