//! The table of the outbox and the statements on it.

use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use super::Verdict;
use crate::reference::ids;
use crate::reference::store::{StoreError, Tx};

/// A memory write of a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// `out_…`: the key of every try.
    pub id: String,
    /// The session.
    pub session_id: String,
    /// The turn.
    pub turn_id: String,
    /// What is sent.
    pub body: Value,
    /// The conversation.
    pub correlation_id: String,
    /// `chain/seq/hash` of the committed entry that precedes every try.
    pub causal_parent: String,
    /// `actor_id;role` of who took the turn.
    pub actor: String,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Later => "pending",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
        }
    }
}

/// Keeps a write that was not delivered as its turn ended, in the transaction of that end. A turn
/// that is ended a second time keeps nothing more.
///
/// # Errors
/// The store's.
pub(super) fn keep(tx: &mut Tx<'_>, write: &Write, verdict: Verdict) -> Result<(), StoreError> {
    let settled_at_us = (verdict != Verdict::Later).then(|| tx.now().us());
    let kept = tx
        .sql()
        .prepare_cached(
            "INSERT INTO outbox (id, session_id, turn_id, body, state, correlation_id, \
             causal_parent, actor, created_at_us, settled_at_us) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            write.id,
            write.session_id,
            write.turn_id,
            write.body.to_string(),
            verdict.word(),
            write.correlation_id,
            write.causal_parent,
            write.actor,
            tx.now().us(),
            settled_at_us,
        ])?;
    if kept == 1 {
        let data = json!({"outbox_id": write.id, "turn_id": write.turn_id});
        tx.event("outbox.queued", &write.correlation_id, data)?;
    }
    Ok(())
}

/// Settles a pending write, and forgets all settled ones but the last `keep`.
///
/// # Errors
/// The store's.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    write: &Write,
    verdict: Verdict,
    keep: u64,
) -> Result<(), StoreError> {
    let changed = tx
        .sql()
        .prepare_cached(
            "UPDATE outbox SET state = ?2, settled_at_us = ?3 WHERE id = ?1 AND state = 'pending'",
        )?
        .execute(params![write.id, verdict.word(), tx.now().us()])?;
    if changed == 1 {
        let data = json!({
            "outbox_id": write.id, "turn_id": write.turn_id, "state": verdict.word(),
        });
        // Under a correlation id of its own: the conversation is over, and its events are in order.
        tx.event("outbox.settled", &ids::make("dlv_"), data)?;
    }
    tx.sql()
        .prepare_cached(
            "DELETE FROM outbox WHERE state <> 'pending' AND seq <= (SELECT seq FROM outbox \
             WHERE state <> 'pending' ORDER BY seq DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([i64::try_from(keep).unwrap_or(i64::MAX)])?;
    Ok(())
}

/// Whether anything waits.
///
/// # Errors
/// SQLite's.
pub(super) fn waits(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM outbox WHERE state = 'pending'")?
        .exists([])
}

/// What waits, oldest first, at most `limit`.
///
/// # Errors
/// SQLite's.
pub(super) fn pending(conn: &Connection, limit: i64) -> rusqlite::Result<Vec<Write>> {
    conn.prepare_cached(
        "SELECT id, session_id, turn_id, body, correlation_id, causal_parent, actor FROM outbox \
         WHERE state = 'pending' ORDER BY seq LIMIT ?1",
    )?
    .query_map([limit], read)?
    .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Write> {
    let body: String = row.get(3)?;
    Ok(Write {
        id: row.get(0)?,
        session_id: row.get(1)?,
        turn_id: row.get(2)?,
        body: serde_json::from_str(&body).map_err(|broken| {
            rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, broken.into())
        })?,
        correlation_id: row.get(4)?,
        causal_parent: row.get(5)?,
        actor: row.get(6)?,
    })
}
