//! memory-engine: memories are stored and read back. Those of low priority are shed in need.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};
use serde_json::{Value, json};

use super::ids;
use super::mutation::{Done, Refused, commit};
use super::service::Service;
use super::time::Timestamp;
use super::web::{Call, Field, Longest, Refusal, Reply, Row, Shape, handler};

const MEMORY: &str = "memory-engine";
const PRIORITIES: &[&str] = &["low", "normal", "high"];

/// The routes.
pub fn routes() -> Vec<Row> {
    vec![
        Row::mutation(
            MEMORY,
            ("POST", "/store"),
            "v4.3",
            ("memory.store", "memory"),
            handler(store),
        )
        .about("Keeps a memory.")
        .takes(&[
            Field::id("type"),
            Field::new("content", Shape::Text(Longest::Body)),
            Field::free("metadata").optional(),
            Field::word("priority", PRIORITIES).optional(),
        ])
        .gives(
            201,
            &[
                Field::text("id"),
                Field::text("type"),
                Field::word("priority", PRIORITIES),
            ],
        ),
        Row::get(MEMORY, "/recall/{id}", "v4.3", handler(recall))
            .about("A memory.")
            .gives(
                200,
                &[
                    Field::text("id"),
                    Field::text("type"),
                    Field::text("content"),
                    Field::free("metadata"),
                    Field::word("priority", PRIORITIES),
                    Field::text("created_at"),
                ],
            ),
    ]
}

async fn store(svc: Arc<Service>, call: Call) -> Reply {
    let id = ids::make("mem_");
    let (service, request) = (svc.clone(), call.clone());
    commit(&svc, &call, move |tx| {
        let limits = &service.config().limits;
        let fields = request.fields()?;
        let kind = fields.text("type", limits.id_chars)?;
        let content = fields.text("content", limits.body_bytes)?;
        let empty = json!({});
        let metadata = fields.optional_object("metadata")?.unwrap_or(&empty);
        let priority = fields
            .optional_text("priority", limits.id_chars)?
            .unwrap_or("normal");
        if !PRIORITIES.contains(&priority) {
            return Err(Refusal::schema("priority: expected low, normal or high").into());
        }
        if priority == "low"
            && let Some(refusal) = service.shed("memory_write_low")
        {
            return Err(refusal.into());
        }
        tx.sql()
            .prepare_cached(
                "INSERT INTO memories (id, type, content, metadata, priority, created_at_us) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                id,
                kind,
                content,
                metadata.to_string(),
                priority,
                tx.now().us()
            ])?;
        let body = json!({"id": id, "type": kind, "priority": priority});
        Ok::<_, Refused>(Done::new(201, body).on(format!("memory/{id}")))
    })
    .await
}

async fn recall(svc: Arc<Service>, call: Call) -> Reply {
    let id = call.param("id").to_owned();
    let read = svc.store.read(move |conn| {
        conn.prepare_cached(
            "SELECT id, type, content, metadata, priority, created_at_us \
             FROM memories WHERE id = ?1",
        )?
        .query_row([id], |row| {
            let metadata: String = row.get(3)?;
            Ok(json!({
                "id": row.get::<_, String>(0)?,
                "type": row.get::<_, String>(1)?,
                "content": row.get::<_, String>(2)?,
                "metadata": serde_json::from_str::<Value>(&metadata).unwrap_or(Value::Null),
                "priority": row.get::<_, String>(4)?,
                "created_at": Timestamp(row.get(5)?).to_string(),
            }))
        })
        .optional()
    });
    let refusal = match read.await {
        Ok(Some(memory)) => return Reply::ok(&call.correlation_id, memory),
        Ok(None) => Refusal::not_found(
            "MEMORY_NOT_FOUND",
            format!("no memory {}", call.param("id")),
        ),
        Err(error) => Refusal::store(&error),
    };
    refusal.reply(&call.correlation_id)
}
