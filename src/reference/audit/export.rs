//! `GET /v3/audit/export`: a verified segment of one chain, with its proof. Other services' chains
//! are read from their databases, read-only.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Break, Checked, Segment, segment};
use crate::reference::service::Service;
use crate::reference::store::{Readers, StoreError};
use crate::reference::web::{Call, Field, Most, Refusal, Reply, Row, Shape, Twin, handler};

/// The route.
pub fn routes() -> Vec<Row> {
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
const ENTRY: &[Field] = &[
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

struct Range {
    from: i64,
    to: i64,
    limit: usize,
}

async fn export(svc: &Arc<Service>, call: &Call) -> Result<Reply, Refusal> {
    let chain = call.query("chain").unwrap_or("api-gateway").to_owned();
    let path = svc
        .shared
        .databases
        .get(&chain)
        .filter(|path| path.exists())
        .ok_or_else(|| Refusal::not_found("CHAIN_NOT_FOUND", format!("no chain {chain}")))?;
    let range = range(svc, call)?;
    let to = range.to;
    let readers = if chain == svc.name {
        svc.store.readers()
    } else {
        let busy_ms = svc.config().store.busy_timeout_ms;
        Readers::new(path, std::time::Duration::from_millis(busy_ms))
    };
    let (rule, name) = (svc.parts.chain.clone(), chain.clone());
    let forensic = call.query("forensic") == Some("true");
    let read = readers.read(move |conn| {
        let (bounds, limit) = ((range.from, range.to), range.limit);
        let checked = segment(conn, &*rule, &name, bounds, limit)?;
        Ok((
            checked,
            if forensic {
                raw(conn, bounds, limit)?
            } else {
                Vec::new()
            },
        ))
    });
    let (checked, raw) = read
        .await
        .map_err(|error| unreadable(svc, &chain, &error))?;
    if let Checked::Broken(broken) = &checked {
        svc.shared.mark_broken(broken);
    }
    match checked {
        _ if forensic => {
            let body = json!({"entries": raw, "proof": null});
            Ok(Reply::ok(&call.correlation_id, body))
        }
        Checked::Broken(broken) => Err(Refusal::chain_broken(&broken)),
        Checked::Clean(found) => {
            let body = body(&chain, &found, to)?;
            Ok(Reply::ok(&call.correlation_id, body))
        }
    }
}

/// A database that is locked is unavailable; one that is no database any more is a broken chain.
fn unreadable(svc: &Arc<Service>, chain: &str, error: &StoreError) -> Refusal {
    if let StoreError::Locked(_) = error {
        return Refusal::store(error);
    }
    let reason = super::Reason::Unreadable;
    let broken = Break {
        chain: chain.to_owned(),
        seq: 0,
        reason,
    };
    svc.shared.mark_broken(&broken);
    Refusal::chain_broken(&broken)
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

fn body(chain: &str, found: &Segment, to: i64) -> Result<Value, Refusal> {
    let (Some(first), Some(last)) = (found.entries.first(), found.entries.last()) else {
        let message = format!("chain {chain} has no entry in this range, which ends at {to}");
        return Err(Refusal::new(400, "BAD_RANGE", message));
    };
    Ok(json!({
        "entries": found.entries,
        "proof": {
            "chain": chain,
            "first_seq": first.seq,
            "last_seq": last.seq,
            "first_hash": first.hash,
            "last_hash": last.hash,
            "prev_hash": first.prev_hash,
            "entry_count": found.entries.len(),
            "algorithm": "sha256",
            "checkpoint": null,
        },
    }))
}

/// Rows as they are, for a person who looks at a broken chain.
fn raw(conn: &Connection, (from, to): (i64, i64), limit: usize) -> rusqlite::Result<Vec<Value>> {
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
