//! Operations: calls to the outside world that were decided and are, or were, to be carried out.
//! They are written with the decision, and pending ones are resumed at start under the same id.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::audit::{Link, Origin};
use super::mutation::Begun;
use super::service::Service;
use super::store::{StoreError, Tx};

/// An operation to be written with its decision.
#[derive(Clone, Debug, PartialEq)]
pub struct NewOperation {
    /// `op_…`, made once; the key of every call that it leads to.
    pub id: String,
    /// Which [`Resumer`] knows what to do with it.
    pub kind: &'static str,
    /// The confirmation, action or approval that decided it.
    pub decision_id: Option<String>,
    /// The fence under which it was decided.
    pub fence_token: Option<i64>,
    /// What carrying it out needs; for a tool call `{"tool_name", "args", …}`.
    pub detail: Value,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be carried out, or in doubt.
    Pending,
    /// Carried out.
    Done,
    /// Carried out or given up, without success.
    Failed,
}

impl State {
    /// The word that is stored.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A stored operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Whether it is still to be carried out.
    pub pending: bool,
    /// What decided it.
    pub decision_id: Option<String>,
    /// Under which fence.
    pub fence_token: Option<i64>,
    /// What carrying it out needs.
    pub detail: Value,
    /// Who asked for it.
    pub origin: Origin,
    /// `chain/seq/hash` of the decision's audit entry.
    pub link: Option<String>,
    /// Status and body, once it is concluded.
    pub answer: Option<(u16, String)>,
    /// Microseconds since 1970.
    pub created_at_us: i64,
}

/// An operation that is being carried out, for the first time or again.
pub struct Underway<D> {
    /// Its id.
    pub operation_id: String,
    /// Who asked for it.
    pub origin: Origin,
    /// The committed entry that precedes its first call.
    pub causal_parent: String,
    /// What carrying it out needs.
    pub detail: D,
    /// Whether it was interrupted before.
    pub resumed: bool,
}

impl<D: DeserializeOwned> Underway<D> {
    /// One that was just decided.
    pub fn begun(begun: Begun<D>, origin: Origin) -> Self {
        Self {
            operation_id: begun.operation_id,
            origin,
            causal_parent: begun.link.to_string(),
            detail: begun.value,
            resumed: false,
        }
    }

    /// One that was interrupted. A detail that cannot be read is left as it is, and logged.
    pub fn resumed(operation: Operation) -> Option<Self> {
        match serde_json::from_value(operation.detail) {
            Err(error) => {
                let (id, kind) = (operation.id, operation.kind);
                tracing::error!(operation_id = id, kind, %error, "an operation cannot be resumed");
                None
            }
            Ok(detail) => Some(Self {
                operation_id: operation.id,
                origin: operation.origin,
                causal_parent: operation.link.unwrap_or_default(),
                detail,
                resumed: true,
            }),
        }
    }
}

/// Carries a pending operation out again, to its `finish`.
pub type Resume = Arc<dyn Fn(Arc<Service>, Operation) -> BoxFuture<'static, ()> + Send + Sync>;

/// What is done with pending operations of one kind of one service.
#[derive(Clone)]
pub struct Resumer {
    /// The service.
    pub service: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// What is done.
    pub resume: Resume,
}

const COLUMNS: &str = "id, kind, state, decision_id, fence_token, detail, context, causal_parent, \
                       answer_status, answer_body, created_at_us";

/// Writes a pending operation.
///
/// # Errors
/// The store's.
pub fn insert(
    tx: &mut Tx<'_>,
    new: &NewOperation,
    origin: &Origin,
    link: &Link,
) -> Result<(), StoreError> {
    tx.sql()
        .prepare_cached(
            "INSERT INTO operations (id, kind, state, decision_id, fence_token, detail, context, \
             causal_parent, created_at_us) VALUES (?1, ?2, 'pending', ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            new.id,
            new.kind,
            new.decision_id,
            new.fence_token,
            new.detail.to_string(),
            serde_json::to_string(origin)?,
            link.to_string(),
            tx.now().us(),
        ])?;
    Ok(())
}

/// Replaces what carrying an operation out needs: a plan, before its first step.
///
/// # Errors
/// The store's.
pub fn set_detail(tx: &mut Tx<'_>, id: &str, detail: &Value) -> Result<(), StoreError> {
    tx.sql()
        .prepare_cached("UPDATE operations SET detail = ?2 WHERE id = ?1")?
        .execute(params![id, detail.to_string()])?;
    Ok(())
}

/// Ends an operation.
///
/// # Errors
/// The store's.
pub fn conclude(
    tx: &mut Tx<'_>,
    id: &str,
    state: State,
    (status, body): (u16, &str),
) -> Result<(), StoreError> {
    tx.sql()
        .prepare_cached(
            "UPDATE operations SET state = ?2, answer_status = ?3, answer_body = ?4, \
             finished_at_us = ?5 WHERE id = ?1 AND state = 'pending'",
        )?
        .execute(params![id, state.word(), status, body, tx.now().us()])?;
    Ok(())
}

/// One operation.
///
/// # Errors
/// SQLite's.
pub fn get(conn: &Connection, id: &str) -> rusqlite::Result<Option<Operation>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM operations WHERE id = ?1"))?
        .query_row([id], operation)
        .optional()
}

/// All pending operations, oldest first.
///
/// # Errors
/// SQLite's.
pub fn pending(conn: &Connection) -> rusqlite::Result<Vec<Operation>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM operations WHERE state = 'pending' ORDER BY created_at_us, id"
    ))?
    .query_map([], operation)?
    .collect()
}

fn operation(row: &Row<'_>) -> rusqlite::Result<Operation> {
    let state: String = row.get(2)?;
    let status: Option<u16> = row.get(8)?;
    let body: Option<String> = row.get(9)?;
    Ok(Operation {
        id: row.get(0)?,
        kind: row.get(1)?,
        pending: state == State::Pending.word(),
        decision_id: row.get(3)?,
        fence_token: row.get(4)?,
        detail: json(row, 5)?,
        origin: json(row, 6)?,
        link: row.get(7)?,
        answer: status.zip(body),
        created_at_us: row.get(10)?,
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    serde_json::from_str(&text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(at, kind, Box::new(error))
    })
}

/// Resumes what was pending when the process started, each operation on a task of its own.
///
/// # Errors
/// When they cannot be read.
pub async fn resume(service: &Arc<Service>, resumers: &[Resumer]) -> Result<usize, StoreError> {
    let pending = service.store.read(pending).await?;
    let count = pending.len();
    for operation in pending {
        let known = resumers
            .iter()
            .find(|known| known.service == service.name && known.kind == operation.kind);
        match known {
            Some(known) => {
                tracing::info!(
                    operation_id = operation.id,
                    kind = operation.kind,
                    "resumed"
                );
                tokio::spawn((known.resume)(service.clone(), operation));
            }
            None => tracing::error!(
                operation_id = operation.id,
                kind = operation.kind,
                "nobody knows how to resume this"
            ),
        }
    }
    Ok(count)
}
