//! `GET /v3/audit/export`: a verified segment of one chain, with its proof.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Found, Range, Source};
use crate::reference::service::Service;
use crate::reference::web::{Call, Field, Most, Refusal, Reply, Row, Shape, Twin, handler};

/// The route.
pub(super) fn routes() -> Vec<Row> {
    let export = handler(|svc, call| async move {
        export(&svc, &call)
            .await
            .unwrap_or_else(|refusal| refusal.reply(&call.correlation_id))
    });
    vec![
        Row::get("api-gateway", "/v3/audit/export", "v4.7", export)
            .twin(Twin::Plain)
            .about("A segment of a chain, checked as it is read, with the proof of its ends.")
            .asks(&[
                Field::text("chain").optional(),
                Field::count("from_seq").optional(),
                Field::count("to_seq").optional(),
                Field::new("limit", Shape::Integer(1, Most::Page)).optional(),
                Field::word("forensic", &["true", "false"]).optional(),
            ])
            .gives(
                200,
                &[
                    Field::list("entries", ENTRY),
                    Field::object("proof", PROOF).or_null(),
                ],
            )
            .refuses(&[404, 409]),
    ]
}

/// An entry of a chain.
pub(in crate::reference) const ENTRY: &[Field] = &[
    Field::text("chain"),
    Field::count("seq"),
    Field::text("ts"),
    Field::text("service"),
    Field::text("actor_id"),
    Field::text("actor_role"),
    Field::text("via").or_null(),
    Field::text("action"),
    Field::text("resource"),
    Field::word("outcome", &["ok", "refused", "failed"]),
    Field::text("correlation_id"),
    Field::text("request_id"),
    Field::count("replay_generation"),
    Field::text("causal_parent").or_null(),
    Field::text("payload_sha256"),
    Field::text("prev_hash"),
    Field::text("hash"),
];

const PROOF: &[Field] = &[
    Field::text("chain"),
    Field::count("first_seq"),
    Field::count("last_seq"),
    Field::text("first_hash"),
    Field::text("last_hash"),
    Field::text("prev_hash"),
    Field::count("entry_count"),
    Field::word("algorithm", &["sha256"]),
    Field::text("checkpoint").or_null(),
];

async fn export(svc: &Arc<Service>, call: &Call) -> Result<Reply, Refusal> {
    let chain = call.query("chain").unwrap_or(svc.name);
    let source = Source::named(svc, chain)?;
    let range = range(svc, call)?;
    let found = source.segment(range).await;
    if call.query("forensic") == Some("true") {
        let rows = source.raw(move |conn| raw(conn, range)).await?;
        let body = json!({"entries": rows, "proof": null});
        return Ok(Reply::ok(&call.correlation_id, body));
    }
    let body = body(chain, &found?, range)?;
    Ok(Reply::ok(&call.correlation_id, body))
}

fn range(svc: &Service, call: &Call) -> Result<Range, Refusal> {
    let page = i64::try_from(svc.config().limits.page_size).unwrap_or(i64::MAX);
    let from = call.query_number("from_seq", 0..=i64::MAX)?.unwrap_or(0);
    let to = call
        .query_number("to_seq", 0..=i64::MAX)?
        .unwrap_or(i64::MAX);
    let limit = call.query_number("limit", 1..=page)?.unwrap_or(page);
    if from > to {
        let message = format!("from_seq {from} is after to_seq {to}");
        return Err(Refusal::new(400, "BAD_RANGE", message));
    }
    Ok(Range {
        from,
        to,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    })
}

fn body(chain: &str, found: &Found, Range { from, to, .. }: Range) -> Result<Value, Refusal> {
    let entries = &found.segment.entries;
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        let message = format!("chain {chain} has no entry from {from} to {to}");
        return Err(Refusal::new(400, "BAD_RANGE", message));
    };
    Ok(json!({
        "entries": entries,
        "proof": {
            "chain": chain,
            "first_seq": first.seq,
            "last_seq": last.seq,
            "first_hash": first.hash,
            "last_hash": last.hash,
            "prev_hash": first.prev_hash,
            "entry_count": entries.len(),
            "algorithm": "sha256",
            "checkpoint": found.checkpoint,
        },
    }))
}

/// Rows as they are, for a person who looks at a broken chain.
///
/// # Errors
/// When they cannot be read as rows of text and numbers.
pub fn raw(conn: &Connection, Range { from, to, limit }: Range) -> rusqlite::Result<Vec<Value>> {
    use rusqlite::types::ValueRef;
    let mut statement = conn
        .prepare("SELECT * FROM audit_log WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3")?;
    let names: Vec<String> = statement
        .column_names()
        .iter()
        .map(|name| (*name).into())
        .collect();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map([from, to, limit], |row| {
        let mut entry = serde_json::Map::new();
        for (at, name) in names.iter().enumerate() {
            let value = match row.get_ref(at)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => number.into(),
                ValueRef::Real(number) => number.into(),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                    String::from_utf8_lossy(bytes).into()
                }
            };
            entry.insert(name.clone(), value);
        }
        Ok(Value::Object(entry))
    })?;
    rows.collect()
}
