//! Defects of the idempotency store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Mutant;
use super::levers::Levers;
use crate::reference::Parts;
use crate::reference::service::Service;
use crate::reference::web::{Call, Reply};

/// The services whose databases hold keys.
const STORES: &[&str] = &[
    "api-gateway",
    "memory-engine",
    "openclaw",
    "eva-os",
    "vision-capture",
];

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "idempotency-memory-map",
        must: &["idempotency-store-durable"],
        may: &[],
        apply: memory_map,
    },
    Mutant {
        name: "idempotency-ttl-ignored",
        must: &["idempotency-store-durable"],
        may: &[],
        apply: |levers| levers.config(json!({ "idempotency": { "ttl_ms": 315_360_000_000_u64 } })),
    },
    Mutant {
        name: "idempotency-replace-overwrites",
        must: &["idempotency-store-durable"],
        may: &[],
        // The claim of a key becomes an INSERT OR REPLACE.
        apply: |levers| {
            everywhere(
                levers,
                "CREATE TRIGGER IF NOT EXISTS replaces BEFORE INSERT ON idempotency_keys
                 BEGIN
                     DELETE FROM idempotency_keys WHERE endpoint = NEW.endpoint
                     AND idempotency_key = NEW.idempotency_key AND state = 'done';
                 END",
            );
        },
    },
    Mutant {
        name: "idempotency-in-progress-dropped",
        must: &["idempotency-store-durable"],
        may: &[],
        apply: |levers| {
            everywhere(
                levers,
                "DELETE FROM idempotency_keys WHERE state = 'in_progress'",
            );
        },
    },
    Mutant {
        name: "idempotency-executes-when-store-fails",
        must: &["idempotency-store-durable"],
        may: &[],
        apply: |levers| levers.part(executes_anyway),
    },
];

/// A temporary table of the same name hides the durable one from the connection that writes.
pub(super) fn memory_map(levers: &mut Levers) {
    everywhere(
        levers,
        "CREATE TEMP TABLE idempotency_keys AS SELECT * FROM main.idempotency_keys WHERE 0;
         CREATE UNIQUE INDEX temp.one_key ON idempotency_keys (endpoint, idempotency_key)",
    );
}

fn everywhere(levers: &mut Levers, statement: &str) {
    for service in STORES {
        levers.sql(service, statement);
    }
}

fn executes_anyway(parts: &mut Parts) {
    parts.store_failed = Arc::new(|service, call| Box::pin(call_anyway(service, call)));
}

/// The store has failed, and the call is made all the same.
async fn call_anyway(service: Arc<Service>, call: Call) -> Option<Reply> {
    let backends = service.config().backends.clone();
    let url = match call.endpoint.as_str() {
        "POST /execute" => format!("{}/run", backends.tools.url),
        "POST /v3/turn" => format!("{}/chat", backends.models.url),
        _ => return None,
    };
    let answer = service.http.post(url).json(&call.body).send().await.ok()?;
    let body: Value = answer.json().await.ok()?;
    Some(Reply::ok(&call.correlation_id, json!({ "result": body })))
}
