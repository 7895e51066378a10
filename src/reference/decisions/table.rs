//! The table of decisions and the statements on it.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde_json::{Value, json};

use crate::reference::audit::Origin;
use crate::reference::store::{StoreError, Tx};
use crate::reference::time::Timestamp;

/// When a decision may be taken: undecided, in time, and with the fence of its last issue. One that
/// comes without a fence, as v4.6 clients send it, carries the fence of the first issue.
pub const OPEN: &str = "state = 'pending' AND expires_at_us > :now
  AND ((:fence IS NULL AND issues = 1) OR fence = :fence)";

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The call runs once.
    Approved,
    /// The call never runs.
    Denied,
}

impl Verdict {
    /// `approved` or `denied`, in the table and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A decision that is asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The kind's name: an id of another kind is unknown.
    pub kind: &'static str,
    /// Id of the decision.
    pub id: String,
    /// What the caller says.
    pub verdict: Verdict,
    /// The fence that the caller holds.
    pub fence: Option<i64>,
    /// Who says it.
    pub origin: Origin,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// `cnf_`, `act_` or `apr_` and 12 hex digits.
    pub id: String,
    /// The session that asked, if one did.
    pub session_id: Option<String>,
    /// The tool that is to run.
    pub tool_name: String,
    /// Its arguments, a JSON object.
    pub args: Value,
    /// `None` while pending, expired or not.
    pub verdict: Option<Verdict>,
    /// `{actor_id, actor_role, via}` of the winner, null while pending.
    pub decided_by: Value,
    /// The fence of the last issue.
    pub fence: i64,
    /// How often it was issued; 1 until the first reissue.
    pub issues: i64,
    /// When it stops being open.
    pub expires_at: Timestamp,
}

impl Decision {
    /// Seconds until it expires, never negative.
    pub fn remaining_seconds(&self, now: Timestamp) -> f64 {
        self.expires_at.seconds_after(now)
    }

    /// Undecided and in time.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.verdict.is_none() && self.expires_at > now
    }
}

/// A decision that is not yet in the table.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Its id, made by the caller.
    pub id: String,
    /// The kind's name.
    pub kind: &'static str,
    /// The session that asks.
    pub session_id: Option<String>,
    /// The tool that is to run.
    pub tool_name: String,
    /// Its arguments, a JSON object.
    pub args: Value,
    /// How long it stays open.
    pub ttl_ms: u64,
}

/// Writes a pending decision under that fence.
pub fn mint(tx: &Tx<'_>, draft: &Draft, fence: i64) -> Result<Decision, StoreError> {
    let now = tx.now();
    let expires_at = now.plus_ms(draft.ttl_ms);
    tx.sql().execute(
        "INSERT INTO decisions (id, kind, session_id, tool_name, args, fence, created_at_us, expires_at_us)
         VALUES (:id, :kind, :session, :tool, :args, :fence, :now, :expires)",
        named_params! {
            ":id": draft.id, ":kind": draft.kind, ":session": draft.session_id,
            ":tool": draft.tool_name, ":args": draft.args.to_string(), ":fence": fence,
            ":now": now.us(), ":expires": expires_at.us(),
        },
    )?;
    Ok(Decision {
        id: draft.id.clone(),
        session_id: draft.session_id.clone(),
        tool_name: draft.tool_name.clone(),
        args: draft.args.clone(),
        verdict: None,
        decided_by: Value::Null,
        fence,
        issues: 1,
        expires_at,
    })
}

/// Decides the asked row if `guard` holds of it: true iff this call changed it. `guard` is a
/// condition over the columns, `:now` and `:fence`.
pub fn mark(tx: &Tx<'_>, ask: &Ask, guard: &str) -> Result<bool, StoreError> {
    let changed = tx.sql().execute(
        &format!(
            "UPDATE decisions SET state = :verdict, decided_by = :actor, decided_role = :role,
               decided_via = :via, decided_at_us = :now
             WHERE id = :id AND kind = :kind AND (:fence IS NULL OR :fence = :fence) AND {guard}"
        ),
        named_params! {
            ":verdict": ask.verdict.name(), ":actor": ask.origin.actor_id,
            ":role": ask.origin.actor_role, ":via": ask.origin.via, ":now": tx.now().us(), ":id": ask.id, ":kind": ask.kind,
            ":fence": ask.fence,
        },
    )?;
    Ok(changed == 1)
}

/// Gives a pending row (expired or not) a new fence and a new TTL: true iff it was pending.
pub(super) fn renew(
    tx: &Tx<'_>,
    kind: &str,
    id: &str,
    fence: i64,
    ttl_ms: u64,
) -> Result<bool, StoreError> {
    let changed = tx.sql().execute(
        "UPDATE decisions SET fence = :fence, issues = issues + 1, expires_at_us = :expires
         WHERE id = :id AND kind = :kind AND state = 'pending'",
        named_params! {
            ":fence": fence, ":expires": tx.now().plus_ms(ttl_ms).us(), ":id": id, ":kind": kind,
        },
    )?;
    Ok(changed == 1)
}

const COLUMNS: &str = "id, session_id, tool_name, args, state, fence, issues, expires_at_us,
  decided_by, decided_role, decided_via";

/// The decision of that kind and id.
pub fn find(sql: &Connection, kind: &str, id: &str) -> rusqlite::Result<Option<Decision>> {
    sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM decisions WHERE id = ? AND kind = ?"
    ))?
    .query_row([id, kind], read)
    .optional()
}

/// The open decisions of that kind, oldest first; of one session if one is named.
pub fn pending(
    sql: &Connection,
    kind: &str,
    session_id: Option<&str>,
    now: Timestamp,
    limit: u64,
) -> rusqlite::Result<Vec<Decision>> {
    sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM decisions
         WHERE kind = :kind AND state = 'pending' AND expires_at_us > :now
           AND (:session IS NULL OR session_id = :session)
         ORDER BY rowid LIMIT :limit"
    ))?
    .query_map(
        named_params! {":kind": kind, ":now": now.us(), ":session": session_id, ":limit": i64::try_from(limit).unwrap_or(i64::MAX)},
        read,
    )?
    .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Decision> {
    let args: String = row.get("args")?;
    let state: String = row.get("state")?;
    let decided_by: Option<String> = row.get("decided_by")?;
    Ok(Decision {
        id: row.get("id")?,
        session_id: row.get("session_id")?,
        tool_name: row.get("tool_name")?,
        args: serde_json::from_str(&args).map_err(|broken| {
            rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, broken.into())
        })?,
        verdict: match state.as_str() {
            "approved" => Some(Verdict::Approved),
            "denied" => Some(Verdict::Denied),
            _ => None,
        },
        decided_by: match decided_by {
            Some(actor_id) => json!({
                "actor_id": actor_id,
                "actor_role": row.get::<_, Option<String>>("decided_role")?,
                "via": row.get::<_, Option<String>>("decided_via")?,
            }),
            None => Value::Null,
        },
        fence: row.get("fence")?,
        issues: row.get("issues")?,
        expires_at: Timestamp(row.get("expires_at_us")?),
    })
}
