//! `GET /v3/events`: every state change, in the order of its number; the gateway's, and those of
//! eva-os, each under its own numbers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::service::Service;
use super::web::{Call, Field, Most, Refusal, Reply, Row, Shape, Twin, handler};

/// The routes.
pub fn routes() -> Vec<Row> {
    let read = handler(|svc, call| async move {
        read(&svc, &call)
            .await
            .unwrap_or_else(|refusal| refusal.reply(&call.correlation_id))
    });
    let row = |service, since| {
        Row::get(service, "/v3/events", since, read.clone())
            .twin(Twin::Deprecated)
            .about("State changes after a number, in order.")
            .asks(&[
                Field::count("after").optional(),
                Field::new("limit", Shape::Integer(1, Most::Page)).optional(),
            ])
            .gives(
                200,
                &[Field::list("events", EVENT), Field::count("last_seq")],
            )
    };
    vec![row("api-gateway", "v4.3"), row("eva-os", "v4.4")]
}

const EVENT: &[Field] = &[
    Field::count("seq"),
    Field::text("type"),
    Field::text("ts"),
    Field::text("correlation_id"),
    Field::free("data"),
];

async fn read(svc: &Arc<Service>, call: &Call) -> Result<Reply, Refusal> {
    let page = i64::try_from(svc.config().limits.page_size).unwrap_or(i64::MAX);
    let after = call.query_number("after", 0..=i64::MAX)?.unwrap_or(0);
    let limit = call.query_number("limit", 1..=page)?.unwrap_or(page);
    let read = svc.store.read(move |conn| {
        let mut statement = conn.prepare_cached(
            "SELECT seq, type, ts, correlation_id, data FROM events \
             WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let events = statement.query_map([after, limit], |row| {
            let data: String = row.get(4)?;
            Ok(json!({
                "seq": row.get::<_, i64>(0)?,
                "type": row.get::<_, String>(1)?,
                "ts": row.get::<_, String>(2)?,
                "correlation_id": row.get::<_, String>(3)?,
                "data": serde_json::from_str::<Value>(&data).unwrap_or(Value::Null),
            }))
        })?;
        events.collect::<rusqlite::Result<Vec<Value>>>()
    });
    let events = read.await.map_err(|error| Refusal::store(&error))?;
    let last = events
        .last()
        .map_or(json!(after), |event| event["seq"].clone());
    Ok(Reply::ok(
        &call.correlation_id,
        json!({"events": events, "last_seq": last}),
    ))
}
