//! memory-engine: memories are kept, read back, changed and found again, by their words and by what
//! is near them. Those of low priority are shed in need.

mod embed;
mod file;
mod index;
mod ledger;
mod proposals;
mod search;

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow};
use serde_json::{Value, json};

pub use embed::{Embedder, Purpose, Wanted, configured};
pub use file::{Describe, Manifest, Mismatch, VerifyIndex, describe, verify};
pub use index::{Index, Repair, files, repair};
pub use ledger::{close, mend, restore};
pub use proposals::{Tier, TierOf, tier};

use super::ids;
use super::mutation::{Done, Refused, commit};
use super::service::Service;
use super::time::Timestamp;
use super::web::{Call, Field, Fields, Longest, Refusal, Reply, Row, Shape, handler};
use ledger::New;

const MEMORY: &str = "memory-engine";
const PRIORITIES: &[&str] = &["low", "normal", "high"];
const PRIORITY: Field = Field::word("priority", PRIORITIES);
const CONTENT: Field = Field::new("content", Shape::Text(Longest::Body));
const ONE: &[Field] = &[
    Field::text("id"),
    Field::text("type"),
    Field::text("content"),
    Field::free("metadata"),
    PRIORITY,
    Field::text("created_at"),
];

/// The routes.
pub fn routes() -> Vec<Row> {
    let mutation =
        |line, action, resource, run| Row::mutation(MEMORY, line, "v4.3", (action, resource), run);
    let recall_one = "/recall/{id}";
    let own = vec![
        mutation(("POST", "/store"), "memory.store", "memory", handler(store))
            .about("Keeps a memory.")
            .takes(&[
                Field::id("type"),
                CONTENT,
                Field::free("metadata").optional(),
                PRIORITY.optional(),
            ])
            .gives(201, &[Field::text("id"), Field::text("type"), PRIORITY]),
        Row::get(MEMORY, recall_one, "v4.3", handler(recall))
            .about("A memory.")
            .gives(200, ONE),
        mutation(
            ("PUT", recall_one),
            "memory.update",
            "memory/{id}",
            handler(update),
        )
        .about("Changes what a memory says.")
        .takes(&[
            CONTENT,
            Field::free("metadata").optional(),
            PRIORITY.optional(),
        ])
        .gives(200, ONE),
        mutation(
            ("DELETE", recall_one),
            "memory.delete",
            "memory/{id}",
            handler(delete),
        )
        .about("Forgets a memory.")
        .gives(
            200,
            &[Field::text("id"), Field::word("state", &["deleted"])],
        ),
    ];
    [own, search::routes(), ledger::routes(), proposals::routes()].concat()
}

async fn store(svc: Arc<Service>, call: Call) -> Reply {
    let id = ids::make("mem_");
    // Before the transaction, because it may take a while; what is refused in it wanted none.
    let vector = ledger::embed(&svc, &call, call.body["content"].as_str()).await;
    let (service, request, made) = (svc.clone(), call.clone(), id.clone());
    let reply = commit(&svc, &call, move |tx| {
        let limits = &service.config().limits;
        let fields = request.fields()?;
        let empty = json!({});
        let new = New {
            id: &made,
            kind: fields.text("type", limits.id_chars)?,
            content: fields.text("content", limits.body_bytes)?,
            metadata: fields.optional_object("metadata")?.unwrap_or(&empty),
            priority: priority(&fields, limits.id_chars)?.unwrap_or("normal"),
        };
        if new.priority == "low"
            && let Some(refusal) = service.shed("memory_write_low")
        {
            return Err(refusal.into());
        }
        ledger::insert(tx, &new, vector.as_ref())?;
        let body = json!({"id": made, "type": new.kind, "priority": new.priority});
        Ok::<_, Refused>(Done::new(201, body).on(format!("memory/{made}")))
    });
    let reply = reply.await;
    ledger::refresh(&svc, &id).await;
    reply
}

fn priority<'a>(fields: &Fields<'a>, longest: usize) -> Result<Option<&'a str>, Refusal> {
    let priority = fields.optional_text("priority", longest)?;
    match priority.is_none_or(|priority| PRIORITIES.contains(&priority)) {
        true => Ok(priority),
        false => Err(Refusal::schema("priority: expected low, normal or high")),
    }
}

async fn update(svc: Arc<Service>, call: Call) -> Reply {
    let vector = ledger::embed(&svc, &call, call.body["content"].as_str()).await;
    let (service, request) = (svc.clone(), call.clone());
    let reply = commit(&svc, &call, move |tx| {
        let limits = &service.config().limits;
        let (id, fields) = (request.param("id"), request.fields()?);
        let content = fields.text("content", limits.body_bytes)?;
        let metadata = fields.optional_object("metadata")?;
        let priority = priority(&fields, limits.id_chars)?;
        ledger::change(tx, id, content, (metadata, priority), vector.as_ref())?;
        let memory = find(tx.sql(), id)?.ok_or_else(|| unknown(id))?;
        Ok::<_, Refused>(Done::new(200, memory))
    });
    let reply = reply.await;
    ledger::refresh(&svc, call.param("id")).await;
    reply
}

async fn delete(svc: Arc<Service>, call: Call) -> Reply {
    let request = call.clone();
    let reply = commit(&svc, &call, move |tx| {
        let id = request.param("id");
        let sql = tx.sql();
        let gone = sql
            .prepare_cached("DELETE FROM memories WHERE id = ?1")?
            .execute([id])?;
        match gone {
            1 => Ok(Done::new(200, json!({"id": id, "state": "deleted"}))),
            _ => Err(Refused::from(unknown(id))),
        }
    });
    let reply = reply.await;
    ledger::refresh(&svc, call.param("id")).await;
    reply
}

async fn recall(svc: Arc<Service>, call: Call) -> Reply {
    let id = call.param("id").to_owned();
    let refusal = match svc.store.read(move |sql| find(sql, &id)).await {
        Ok(Some(memory)) => return Reply::ok(&call.correlation_id, memory),
        Ok(None) => unknown(call.param("id")),
        Err(error) => Refusal::store(&error),
    };
    refusal.reply(&call.correlation_id)
}

fn unknown(id: &str) -> Refusal {
    Refusal::not_found("MEMORY_NOT_FOUND", format!("no memory {id}"))
}

/// A memory, as the routes show it.
fn find(sql: &Connection, id: &str) -> rusqlite::Result<Option<Value>> {
    sql.prepare_cached(
        "SELECT id, type, content, metadata, priority, created_at_us FROM memories WHERE id = ?1",
    )?
    .query_row([id], shown)
    .optional()
}

/// From `id, type, content, metadata, priority, created_at_us`.
fn shown(row: &SqlRow<'_>) -> rusqlite::Result<Value> {
    let metadata: String = row.get(3)?;
    Ok(json!({
        "id": row.get::<_, String>(0)?,
        "type": row.get::<_, String>(1)?,
        "content": row.get::<_, String>(2)?,
        "metadata": serde_json::from_str::<Value>(&metadata).unwrap_or(Value::Null),
        "priority": row.get::<_, String>(4)?,
        "created_at": Timestamp(row.get(5)?).to_string(),
    }))
}
