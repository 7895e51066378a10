//! Dead letters: tool calls that were decided and have failed for good. Each is written with the
//! failed outcome, and can be replayed by an operator: once at a time, as an operation of its own,
//! under the correlation id of the original and with a generation that only rises.

mod replay;
mod table;

use std::sync::Arc;

use serde_json::{Value, json};

use super::decisions::{EXECUTION, FAULT};
use super::service::Service;
use super::web::{Call, Field, Refusal, Reply, Row, Twin, handler};

pub use replay::{Provenance, original, resumers};
pub use table::{Failed, Letter, Source, add};

const SERVICE: &str = "api-gateway";

/// The routes of dead letters.
pub fn routes() -> Vec<Row> {
    let path = "/v3/dead-letters/{id}/replay";
    let about = (replay::REPLAY, "dead_letter/{id}");
    let replay = handler(replay::replay);
    vec![
        Row::get(SERVICE, "/v3/dead-letters", "v4.3", handler(list))
            .twin(Twin::Deprecated)
            .about("What failed for good after it was decided, oldest first.")
            .gives(200, &[Field::list("dead_letters", LETTER)]),
        Row::mutation(SERVICE, ("POST", path), "v4.3", about, replay)
            .twin(Twin::Deprecated)
            .about("Runs it once more under its original id, or says what that would do.")
            .asks(&[Field::word("dry_run", &["true", "false"]).optional()])
            .gives(200, REPLAYED)
            .refuses(&[404]),
    ]
}

const LETTER: &[Field] = &[
    Field::text("dead_letter_id"),
    Field::word("source", &["turn", "confirmation", "action"]),
    Field::text("source_id"),
    Field::text("session_id").or_null(),
    Field::text("tool_name"),
    Field::free("args"),
    Field::object("error", FAULT).or_null(),
    Field::word("state", &["open", "replaying", "resolved"]),
    Field::count("replay_generation"),
    Field::text("correlation_id"),
    Field::text("operation_id"),
    Field::text("created_at"),
    Field::text("updated_at"),
];

const REPLAYED: &[Field] = &[
    Field::flag("dry_run"),
    Field::object("dead_letter", LETTER),
    Field::object("execution", EXECUTION).optional(),
    Field::object("would", WOULD).optional(),
];

const WOULD: &[Field] = &[
    Field::text("tool_name"),
    Field::free("args"),
    Field::object("decision", DECISION).or_null(),
    Field::count("replay_generation"),
    Field::text("correlation_id"),
];

const DECISION: &[Field] = &[Field::text("id"), Field::count("fence_token")];

async fn list(svc: Arc<Service>, call: Call) -> Reply {
    match svc.store.read(table::all).await {
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
        Ok(letters) => {
            let letters: Vec<Value> = letters.iter().map(Letter::view).collect();
            Reply::ok(&call.correlation_id, json!({"dead_letters": letters}))
        }
    }
}
