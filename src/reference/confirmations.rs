//! Gateway confirmations: guarded tool calls of a turn that wait for a person.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::reference::config::Config;
use crate::reference::decisions::{self, Decision, Kind, Verb};
use crate::reference::operations::Resumer;
use crate::reference::service::Service;
use crate::reference::time::Timestamp;
use crate::reference::web::{Call, Field, Refusal, Reply, Row, Twin, handler};

const SERVICE: &str = "api-gateway";

/// The routes of confirmations.
pub fn routes() -> Vec<Row> {
    let post = |path, since, action, verb, run| {
        let about = (action, "confirmation/{id}");
        let row = Row::mutation(SERVICE, ("POST", path), since, about, run);
        let told = &[Field::text("confirmation_id")];
        decisions::says(row.twin(Twin::Deprecated), verb, &[], told)
    };
    vec![
        Row::get(
            SERVICE,
            "/v3/confirmations/pending",
            "v4.3",
            handler(pending),
        )
        .twin(Twin::Deprecated)
        .about("Guarded tool calls that wait for a person.")
        .asks(&[Field::text("session_id").optional()])
        .gives(200, &[Field::list("confirmations", PENDING)]),
        post(
            "/v3/confirmations/{id}/approve",
            "v4.3",
            "confirmation.approve",
            Verb::Approve,
            handler(|svc, call: Call| {
                let id = Ok(call.param("id").to_owned());
                decisions::approve(svc, call, Kind::Confirmation, id)
            }),
        ),
        post(
            "/v3/confirmations/{id}/deny",
            "v4.3",
            "confirmation.deny",
            Verb::Deny,
            handler(|svc, call: Call| {
                let id = Ok(call.param("id").to_owned());
                decisions::deny(svc, call, Kind::Confirmation, id)
            }),
        ),
        post(
            "/v3/confirmations/{id}/reissue",
            "v4.7",
            "confirmation.reissue",
            Verb::Reissue,
            handler(|svc, call: Call| {
                let id = Ok(call.param("id").to_owned());
                decisions::reissue(svc, call, Kind::Confirmation, id)
            }),
        ),
    ]
}

const PENDING: &[Field] = &[
    Field::text("confirmation_id"),
    Field::text("session_id"),
    Field::text("tool_name"),
    Field::free("args"),
    Field::count("fence_token"),
    Field::number("remaining_seconds"),
];

/// What resumes interrupted approvals.
pub fn resumers() -> Vec<Resumer> {
    vec![decisions::resumer(SERVICE, Kind::Confirmation)]
}

async fn pending(svc: Arc<Service>, call: Call) -> Reply {
    let (session, now) = (call.query("session_id").map(str::to_owned), svc.now());
    let limit = svc.config().limits.page_size;
    let read = svc
        .store
        .read(move |sql| open(sql, session.as_deref(), now, limit));
    match read.await {
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
        Ok(open) => {
            let confirmations: Vec<Value> = open
                .iter()
                .map(|decision| {
                    json!({
                        "confirmation_id": decision.id,
                        "session_id": decision.session_id,
                        "tool_name": decision.tool_name,
                        "args": decision.args,
                        "fence_token": decision.fence,
                        "remaining_seconds": decision.remaining_seconds(now),
                    })
                })
                .collect();
            Reply::ok(
                &call.correlation_id,
                json!({"confirmations": confirmations}),
            )
        }
    }
}

/// The open confirmations whose session's row is there, oldest first.
fn open(
    sql: &Connection,
    session: Option<&str>,
    now: Timestamp,
    limit: u64,
) -> rusqlite::Result<Vec<Decision>> {
    let name = Kind::Confirmation.name();
    let mut open = decisions::pending(sql, name, session, now, limit)?;
    let mut known = sql.prepare_cached("SELECT 1 FROM sessions WHERE id = ?")?;
    let mut orphans = Vec::new();
    for decision in &open {
        if !known.exists([decision.session_id.as_deref().unwrap_or_default()])? {
            orphans.push(decision.id.clone());
        }
    }
    open.retain(|decision| !orphans.contains(&decision.id));
    Ok(open)
}

/// How many of them there are: the restore stage `confirmations`.
///
/// # Errors
/// SQLite's.
pub fn count(sql: &Connection, _: &Config, now: Timestamp) -> rusqlite::Result<i64> {
    sql.query_row(
        "SELECT count(*) FROM decisions WHERE kind = 'confirmation' AND state = 'pending'
           AND expires_at_us > ? AND session_id IN (SELECT id FROM sessions)",
        [now.us()],
        |row| row.get(0),
    )
}
