//! The table of dead letters and the statements on it.

use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde_json::{Value, json};

use crate::reference::ids;
use crate::reference::operations::Operation;
use crate::reference::store::{StoreError, Tx};
use crate::reference::time::Timestamp;
use crate::reference::tools::Outcome;

/// What a tool call belonged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A safe call of a turn.
    Turn,
    /// A guarded call of a turn that a person approved.
    Confirmation,
    /// An action.
    Action,
}

impl Source {
    /// The name in the table and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Confirmation => "confirmation",
            Self::Action => "action",
        }
    }
}

/// A tool call that has failed for good, before it is in the table.
#[derive(Debug, Clone)]
pub struct Failed {
    /// What it belonged to.
    pub source: Source,
    /// The id of that.
    pub source_id: String,
    /// The session, if there is one.
    pub session_id: Option<String>,
    /// The tool.
    pub tool_name: String,
    /// Its arguments.
    pub args: Value,
    /// `(id, fence)` of the decision that let a guarded tool run.
    pub decision: Option<(String, i64)>,
    /// What the failure is called.
    pub code: String,
    /// For a person.
    pub message: String,
    /// The conversation in which it was decided.
    pub correlation_id: String,
    /// `chain/seq/hash` of the decision's audit entry.
    pub causal_parent: String,
    /// The operation that failed.
    pub operation_id: String,
}

impl Failed {
    /// The failure of a stored operation whose detail is `{tool_name, args}`; none when it did not
    /// fail.
    pub fn of(
        operation: &Operation,
        outcome: &Outcome,
        (source, source_id): (Source, &str),
        session_id: Option<String>,
    ) -> Option<Self> {
        let Outcome::Failed { code, message } = outcome else {
            return None;
        };
        let detail = &operation.detail;
        Some(Self {
            source,
            source_id: source_id.to_owned(),
            session_id,
            tool_name: detail["tool_name"].as_str().unwrap_or_default().to_owned(),
            args: detail["args"].clone(),
            decision: operation.decision_id.clone().zip(operation.fence_token),
            code: code.clone(),
            message: message.clone(),
            correlation_id: operation.origin.correlation_id.clone(),
            causal_parent: operation.link.clone().unwrap_or_default(),
            operation_id: operation.id.clone(),
        })
    }
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// `dlq_` and 12 hex digits.
    pub id: String,
    /// What the call belonged to, and the id of that.
    pub source: (String, String),
    /// The session, if there is one.
    pub session_id: Option<String>,
    /// The tool.
    pub tool_name: String,
    /// Its arguments.
    pub args: Value,
    /// `(id, fence)` of the decision that lets a guarded tool run.
    pub decision: Option<(String, i64)>,
    /// `{code, message}` of the last try; null once one succeeded.
    pub error: Value,
    /// `open`, `replaying` or `resolved`.
    pub state: String,
    /// How often it was replayed.
    pub replay_generation: i64,
    /// The conversation in which it was decided.
    pub correlation_id: String,
    /// `chain/seq/hash` of the decision's audit entry.
    pub causal_parent: String,
    /// The operation of the last try.
    pub operation_id: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Letter {
    /// As the routes show it.
    pub fn view(&self) -> Value {
        json!({
            "dead_letter_id": self.id,
            "source": self.source.0,
            "source_id": self.source.1,
            "session_id": self.session_id,
            "tool_name": self.tool_name,
            "args": self.args,
            "error": self.error,
            "state": self.state,
            "replay_generation": self.replay_generation,
            "correlation_id": self.correlation_id,
            "operation_id": self.operation_id,
            "created_at": self.created_at.to_string(),
            "updated_at": self.updated_at.to_string(),
        })
    }
}

/// Writes a dead letter, in the transaction of the failed outcome. Past `max` letters the oldest
/// resolved ones go, and when there is none the oldest open one, with an event; one that is being
/// replayed stays.
///
/// # Errors
/// The store's.
pub fn add(tx: &mut Tx<'_>, failed: &Failed, max: u64) -> Result<(), StoreError> {
    make_room(tx, max)?;
    let id = ids::make("dlq_");
    let (decision, fence) = failed.decision.clone().unzip();
    tx.sql()
        .prepare_cached(
            "INSERT INTO dead_letters (id, source, source_id, session_id, tool_name, args,
               decision_id, fence_token, code, message, correlation_id, causal_parent,
               operation_id, created_at_us, updated_at_us)
             VALUES (:id, :source, :source_id, :session, :tool, :args, :decision, :fence, :code,
               :message, :correlation, :parent, :operation, :now, :now)",
        )?
        .execute(named_params! {
            ":id": id, ":source": failed.source.name(), ":source_id": failed.source_id,
            ":session": failed.session_id, ":tool": failed.tool_name,
            ":args": failed.args.to_string(), ":decision": decision, ":fence": fence,
            ":code": failed.code, ":message": failed.message,
            ":correlation": failed.correlation_id, ":parent": failed.causal_parent,
            ":operation": failed.operation_id, ":now": tx.now().us(),
        })?;
    let event = json!({
        "dead_letter_id": id, "source": failed.source.name(), "source_id": failed.source_id,
        "tool_name": failed.tool_name, "code": failed.code,
    });
    tx.event("dead_letter.added", &failed.correlation_id, event)
}

/// Leaves room for one more.
fn make_room(tx: &mut Tx<'_>, max: u64) -> Result<(), StoreError> {
    let count = |tx: &Tx<'_>| -> rusqlite::Result<i64> {
        tx.sql()
            .prepare_cached("SELECT count(*) FROM dead_letters")?
            .query_row([], |row| row.get(0))
    };
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    while count(tx)? >= max {
        let oldest = tx
            .sql()
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM dead_letters WHERE state <> 'replaying'
                 ORDER BY state <> 'resolved', seq LIMIT 1"
            ))?
            .query_row([], read)
            .optional()?;
        // As many as may be replayed at once are more than there may be: the next one makes room.
        let Some(oldest) = oldest else { break };
        tx.sql()
            .prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?
            .execute([&oldest.id])?;
        if oldest.state != "resolved" {
            let data = json!({
                "dead_letter_id": oldest.id, "replay_generation": oldest.replay_generation,
            });
            tx.event("dead_letter.dropped", &oldest.correlation_id, data)?;
        }
    }
    Ok(())
}

/// Begins a replay of an open letter under this operation: its generation rises by one. None when
/// there was nothing to begin.
///
/// # Errors
/// The store's.
pub(super) fn begin(
    tx: &mut Tx<'_>,
    id: &str,
    operation_id: &str,
) -> Result<Option<Letter>, StoreError> {
    let changed = tx
        .sql()
        .prepare_cached(
            "UPDATE dead_letters SET state = 'replaying', operation_id = :operation,
               replay_generation = replay_generation + 1, updated_at_us = :now
             WHERE id = :id AND state = 'open'",
        )?
        .execute(named_params! {":id": id, ":operation": operation_id, ":now": tx.now().us()})?;
    if changed == 0 {
        return Ok(None);
    }
    Ok(find(tx.sql(), id)?)
}

/// Ends a replay: the letter is resolved, or open again.
///
/// # Errors
/// The store's.
pub(super) fn end(tx: &mut Tx<'_>, id: &str, outcome: &Outcome) -> Result<(), StoreError> {
    let (state, error) = match outcome {
        Outcome::Succeeded { .. } => ("resolved", None),
        Outcome::Failed { code, message } => ("open", Some((code, message))),
    };
    let (code, message) = error.unzip();
    tx.sql()
        .prepare_cached(
            "UPDATE dead_letters SET state = :state, code = :code, message = :message,
               updated_at_us = :now WHERE id = :id AND state = 'replaying'",
        )?
        .execute(named_params! {
            ":id": id, ":state": state, ":code": code, ":message": message, ":now": tx.now().us(),
        })?;
    Ok(())
}

const COLUMNS: &str = "id, source, source_id, session_id, tool_name, args, decision_id, \
                       fence_token, code, message, state, replay_generation, correlation_id, \
                       causal_parent, operation_id, created_at_us, updated_at_us";

/// One letter.
///
/// # Errors
/// SQLite's.
pub(super) fn find(sql: &Connection, id: &str) -> rusqlite::Result<Option<Letter>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM dead_letters WHERE id = ?1"))?
        .query_row([id], read)
        .optional()
}

/// All letters, oldest first; their number has a bound.
///
/// # Errors
/// SQLite's.
pub(super) fn all(sql: &Connection) -> rusqlite::Result<Vec<Letter>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM dead_letters ORDER BY seq"))?
        .query_map([], read)?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Letter> {
    let args: String = row.get("args")?;
    let decision: Option<String> = row.get("decision_id")?;
    let code: Option<String> = row.get("code")?;
    let message: Option<String> = row.get("message")?;
    Ok(Letter {
        id: row.get("id")?,
        source: (row.get("source")?, row.get("source_id")?),
        session_id: row.get("session_id")?,
        tool_name: row.get("tool_name")?,
        args: serde_json::from_str(&args).unwrap_or(Value::Null),
        decision: decision.zip(row.get("fence_token")?),
        error: match code {
            Some(code) => json!({"code": code, "message": message}),
            None => Value::Null,
        },
        state: row.get("state")?,
        replay_generation: row.get("replay_generation")?,
        correlation_id: row.get("correlation_id")?,
        causal_parent: row.get("causal_parent")?,
        operation_id: row.get("operation_id")?,
        created_at: Timestamp(row.get("created_at_us")?),
        updated_at: Timestamp(row.get("updated_at_us")?),
    })
}

/// A letter that was replayed twice.
#[cfg(test)]
pub(super) fn sample() -> Letter {
    Letter {
        id: "dlq_1".into(),
        source: ("action".into(), "act_1".into()),
        session_id: None,
        tool_name: "file.write".into(),
        args: json!({}),
        decision: Some(("act_1".into(), 41)),
        error: json!({"code": "TOOL_FAILED", "message": "exit code 1"}),
        state: "open".into(),
        replay_generation: 2,
        correlation_id: "cor_first".into(),
        causal_parent: format!("api-gateway/4/{}", "a".repeat(64)),
        operation_id: "op_3".into(),
        created_at: Timestamp(1),
        updated_at: Timestamp(2),
    }
}
