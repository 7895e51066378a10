//! Gate durable-state-tables: sessions, confirmations, dead letters and outbox entries are rows in
//! the database with the right fields.
//!
//! With the memory engine down, one of each is caused over HTTP: a session is opened, a turn in it
//! asks for a guarded tool, another one runs a safe tool that fails. Then the harness reads the
//! gateway's database beside the running target, and compares each row with what the answers said.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::written::engine_at;
use crate::chaos::approvals::{GUARDED_TOOL, markers};
use crate::checks::bench::{READ, model};
use crate::checks::{Cx, Judgement, Sent, Undecided, database};
use crate::doubles::{Behaviour, Double, Kind};
use crate::target::{Ask, Client, Credential};
use crate::violation;

const GATEWAY: &str = "api-gateway";
/// The time to live of a session when config says nothing, in microseconds.
const SESSION_TTL_US: i64 = 1_800_000_000;
/// The tables, each with the counter of the gate's row.
const TABLES: [(&str, &str); 4] = [
    ("sessions", "sessions"),
    ("decisions", "confirmations"),
    ("dead_letters", "dead_letters"),
    ("outbox", "outbox_entries"),
];

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The request that opened the session.
    pub session: Option<Sent>,
    /// The turn with a guarded call.
    pub guarded: Option<Sent>,
    /// The turn with a safe call, whose tool fails.
    pub failing: Option<Sent>,
    /// The rows of each table.
    pub rows: BTreeMap<String, Vec<Value>>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for (_, counter) in TABLES {
        judgement.exercised(counter, 0);
    }
    if let (Some(session), Some(guarded), Some(failing)) =
        (&seen.session, &seen.guarded, &seen.failing)
    {
        for sent in [session, guarded, failing] {
            judgement.expect(sent.ok(), || {
                format!("{}: got {}, expected it done", sent.line(), sent.status)
            });
        }
        let wanted = [
            ("sessions", session_row(session)),
            ("decisions", confirmation_row(guarded)),
            ("dead_letters", letter_row(failing)),
            ("outbox", outbox_row(guarded)),
            ("outbox", outbox_row(failing)),
        ];
        for (table, wanted) in wanted {
            find(seen, table, wanted, &mut judgement);
        }
    } else {
        judgement.undecided("not everything was asked for");
    }
    let found = |counter: &str| judgement.exercised[counter];
    judgement.detail = format!(
        "rows with the right fields: {} session, {} confirmation, {} dead letter, {} outbox entries",
        found("sessions"),
        found("confirmations"),
        found("dead_letters"),
        found("outbox_entries")
    );
    judgement
}

/// A row that has to be there: by which field it is found, and what else it holds.
type Wanted = (&'static str, Value, Vec<(&'static str, Value)>);

fn session_row(session: &Sent) -> Wanted {
    let body = session.body.as_ref().unwrap_or(&Value::Null);
    let fields = vec![
        ("user_id", body["user_id"].clone()),
        ("conversation_id", body["conversation_id"].clone()),
        ("metadata", body["metadata"].clone()),
        ("state", json!("active")),
        // One turn with a guarded call, and one with a safe one.
        ("turn_count", json!(2)),
        ("ttl_us", json!(SESSION_TTL_US)),
    ];
    ("id", session.answer["session_id"].clone(), fields)
}

fn call(turn: &Sent) -> &Value {
    &turn.answer["tool_calls"][0]
}

fn confirmation_row(turn: &Sent) -> Wanted {
    let call = call(turn);
    let fields = vec![
        ("kind", json!("confirmation")),
        ("session_id", turn.answer["session_id"].clone()),
        ("tool_name", json!(GUARDED_TOOL)),
        ("args", call["args"].clone()),
        ("state", json!("pending")),
        ("fence", call["fence_token"].clone()),
        ("decided_by", Value::Null),
    ];
    ("id", call["confirmation_id"].clone(), fields)
}

fn letter_row(turn: &Sent) -> Wanted {
    let call = call(turn);
    let fields = vec![
        ("source", json!("turn")),
        ("source_id", turn.answer["turn_id"].clone()),
        ("session_id", turn.answer["session_id"].clone()),
        ("tool_name", call["tool_name"].clone()),
        ("args", call["args"].clone()),
        ("code", call["error"]["code"].clone()),
        ("state", json!("open")),
        ("replay_generation", json!(0)),
        ("correlation_id", json!(turn.id)),
    ];
    ("operation_id", call["operation_id"].clone(), fields)
}

fn outbox_row(turn: &Sent) -> Wanted {
    let body = turn.body.as_ref().unwrap_or(&Value::Null);
    let fields = vec![
        ("session_id", turn.answer["session_id"].clone()),
        ("state", json!("pending")),
        ("correlation_id", json!(turn.id)),
        ("content", body["input_text"].clone()),
    ];
    ("turn_id", turn.answer["turn_id"].clone(), fields)
}

/// Looks for one row, and compares it.
fn find(seen: &Evidence, table: &str, (by, id, fields): Wanted, judgement: &mut Judgement) {
    let counter = TABLES.iter().find(|(name, _)| *name == table);
    let counter = counter.map_or(table, |(_, counter)| counter);
    if !id.is_string() {
        judgement.undecided(format!("no answer names the {by} of a row of {table}"));
        return;
    }
    let rows = seen.rows.get(table).map_or(&[][..], Vec::as_slice);
    let found: Vec<&Value> = rows.iter().filter(|row| row[by] == id).collect();
    let [row] = found.as_slice() else {
        violation!(
            judgement,
            "rows of {table} with {by} {id}: got {}, expected 1",
            found.len()
        );
        return;
    };
    judgement.exercised(counter, 1);
    for (field, expected) in fields {
        let got = column(row, field);
        let holds = match (field, got.as_str(), expected.as_str()) {
            ("content", Some(content), Some(said)) => content.contains(said),
            _ => got == expected,
        };
        judgement.expect(holds, || {
            format!("{table} {id}: got {field} {got}, expected {expected}")
        });
    }
}

/// A field of a row: a column, or what a column says.
fn column(row: &Value, field: &str) -> Value {
    let json = |column: &str| {
        let text = row[column].as_str().unwrap_or_default();
        serde_json::from_str(text).unwrap_or(Value::Null)
    };
    match field {
        "metadata" | "args" => json(field),
        "content" => json("body")["content"].clone(),
        "ttl_us" => {
            let at = |name: &str| row[name].as_i64().unwrap_or_default();
            json!(at("expires_at_us") - at("created_at_us"))
        }
        _ => row[field].clone(),
    }
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or its database cannot be read.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let engine = Double::start(Kind::Memory, cx.clock).await?;
    engine.behave(Behaviour::fail(503));
    cx.models.script(model);
    cx.tools.script(|_| {
        let error = json!({"code": "TOOL_FAILED", "message": "exit code 1"});
        json!({"ok": false, "error": error})
    });
    let instance = cx.start(engine_at(&engine.url())).await?;
    let client = instance.client(Credential::Operator(1));
    let body = json!({
        "user_id": "u-1",
        "conversation_id": "c-1",
        "metadata": {"nested": {"text": "ünï \"quoted\"", "list": [1, null, true]}},
    });
    let session = Sent::by(&client, Ask::post(GATEWAY, "/v3/sessions", body)).await;
    let id = session.answer["session_id"].clone();
    seen.session = Some(session);
    let names = markers(cx.seed, "tables", 2);
    let guarded = format!("guarded:{}", names[0]);
    seen.guarded = Some(turn(&client, &id, &guarded).await);
    seen.failing = Some(turn(&client, &id, &format!("{READ}{}", names[1])).await);
    let conn = database::reader(&database::file(&instance, GATEWAY)?)?;
    for (table, _) in TABLES {
        let rows = database::select(&conn, &format!("SELECT * FROM {table}"), [])?;
        seen.rows.insert(table.to_owned(), rows);
    }
    Ok(())
}

async fn turn(client: &Client, session: &Value, text: &str) -> Sent {
    let body = json!({"session_id": session, "input_text": text});
    Sent::by(client, Ask::post(GATEWAY, "/v3/turn", body)).await
}

#[cfg(test)]
#[path = "durable_state_tables_tests.rs"]
mod tests;
