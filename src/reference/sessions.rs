//! Sessions: created, read, closed; over when their time or their patience has run out.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use super::config::Config;
use super::ids;
use super::mutation::{Done, Refused, commit};
use super::service::Service;
use super::store::{StoreError, Tx};
use super::time::Timestamp;
use super::web::{Call, Field, Refusal, Reply, Row, Twin, handler};

const GATEWAY: &str = "api-gateway";

/// The routes.
pub fn routes() -> Vec<Row> {
    let one = "/v3/sessions/{id}";
    vec![
        Row::mutation(
            GATEWAY,
            ("POST", "/v3/sessions"),
            "v4.3",
            ("session.create", "session"),
            handler(create),
        )
        .about("Opens a session.")
        .takes(&[
            Field::id("user_id"),
            Field::id("conversation_id"),
            Field::id("profile").optional(),
            Field::free("metadata").optional(),
        ])
        .gives(201, SESSION),
        Row::get(GATEWAY, one, "v4.3", handler(read))
            .about("An active session.")
            .gives(200, SESSION),
        Row::mutation(
            GATEWAY,
            ("DELETE", one),
            "v4.3",
            ("session.delete", "session/{id}"),
            handler(delete),
        )
        .about("Closes a session.")
        .gives(
            200,
            &[Field::text("session_id"), Field::word("state", &["closed"])],
        ),
    ]
    .into_iter()
    .map(|row| row.twin(Twin::Deprecated))
    .collect()
}

const SESSION: &[Field] = &[
    Field::text("session_id"),
    Field::text("user_id"),
    Field::text("conversation_id"),
    Field::text("profile"),
    Field::free("metadata"),
    Field::word("state", &["active"]),
    Field::count("turn_count"),
    Field::text("created_at"),
    Field::text("expires_at"),
];

/// An active session.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// `ses_…`.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// In which conversation.
    pub conversation_id: String,
    /// Which profile.
    pub profile: String,
    /// What the client wanted to keep with it.
    pub metadata: Value,
    /// Turns so far.
    pub turn_count: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was used last.
    pub used_at: Timestamp,
    /// When its time is over.
    pub expires_at: Timestamp,
}

impl Session {
    /// As the routes show it.
    pub fn value(&self) -> Value {
        json!({
            "session_id": self.id,
            "user_id": self.user_id,
            "conversation_id": self.conversation_id,
            "profile": self.profile,
            "metadata": self.metadata,
            "state": "active",
            "turn_count": self.turn_count,
            "created_at": self.created_at.to_string(),
            "expires_at": self.expires_at.to_string(),
        })
    }
}

/// An active session, or nothing: closed, expired and idle ones do not come back.
///
/// # Errors
/// SQLite's.
pub fn active(
    conn: &Connection,
    id: &str,
    now: Timestamp,
    idle_ms: u64,
) -> rusqlite::Result<Option<Session>> {
    conn.prepare_cached(
        "SELECT id, user_id, conversation_id, profile, metadata, turn_count, created_at_us, \
         used_at_us, expires_at_us FROM sessions \
         WHERE id = ?1 AND state = 'active' AND expires_at_us > ?2 AND used_at_us > ?3",
    )?
    .query_row(params![id, now.us(), idle_since(now, idle_ms)], |row| {
        let metadata: String = row.get(4)?;
        Ok(Session {
            id: row.get(0)?,
            user_id: row.get(1)?,
            conversation_id: row.get(2)?,
            profile: row.get(3)?,
            metadata: serde_json::from_str(&metadata).unwrap_or(Value::Null),
            turn_count: row.get(5)?,
            created_at: Timestamp(row.get(6)?),
            used_at: Timestamp(row.get(7)?),
            expires_at: Timestamp(row.get(8)?),
        })
    })
    .optional()
}

/// 404 for a session that is not active.
pub fn unknown(id: &str) -> Refusal {
    Refusal::not_found("SESSION_NOT_FOUND", format!("no active session {id}"))
}

/// Counts a turn and the time of use.
///
/// # Errors
/// The store's.
pub fn count_turn(tx: &mut Tx<'_>, id: &str) -> Result<(), StoreError> {
    tx.sql()
        .prepare_cached(
            "UPDATE sessions SET turn_count = turn_count + 1, used_at_us = ?2 WHERE id = ?1",
        )?
        .execute(params![id, tx.now().us()])?;
    Ok(())
}

/// How many are active: the restore stage `sessions`.
///
/// # Errors
/// SQLite's.
pub fn count(conn: &Connection, config: &Config, now: Timestamp) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "SELECT count(*) FROM sessions \
         WHERE state = 'active' AND expires_at_us > ?1 AND used_at_us > ?2",
    )?
    .query_row(
        [now.us(), idle_since(now, config.sessions.idle_ms)],
        |row| row.get(0),
    )
}

fn idle_since(now: Timestamp, idle_ms: u64) -> i64 {
    let idle_us = i64::try_from(idle_ms)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    now.us().saturating_sub(idle_us)
}

async fn create(svc: Arc<Service>, call: Call) -> Reply {
    let id = ids::make("ses_");
    let (config, request) = (svc.config(), call.clone());
    commit(&svc, &call, move |tx| {
        let fields = request.fields()?;
        let longest = config.limits.id_chars;
        let session = Session {
            id,
            user_id: fields.text("user_id", longest)?.to_owned(),
            conversation_id: fields.text("conversation_id", longest)?.to_owned(),
            profile: fields
                .optional_text("profile", longest)?
                .unwrap_or("default")
                .to_owned(),
            metadata: fields
                .optional_object("metadata")?
                .cloned()
                .unwrap_or_else(|| json!({})),
            turn_count: 0,
            created_at: tx.now(),
            used_at: tx.now(),
            expires_at: tx.now().plus_ms(config.sessions.ttl_ms),
        };
        if count(tx.sql(), &config, tx.now())? >= config.sessions.max_active as i64 {
            let message = format!("{} sessions are active", config.sessions.max_active);
            let full = Refusal::unavailable("TOO_MANY_SESSIONS", message, 1);
            return Err(Refusal {
                status: 429,
                ..full
            }
            .into());
        }
        insert(tx, &session)?;
        let data = json!({"session_id": session.id, "user_id": session.user_id});
        tx.event("session.created", &request.correlation_id, data)?;
        Ok(Done::new(201, session.value()).on(format!("session/{}", session.id)))
    })
    .await
}

fn insert(tx: &Tx<'_>, session: &Session) -> Result<(), StoreError> {
    tx.sql()
        .prepare_cached(
            "INSERT INTO sessions (id, user_id, conversation_id, profile, metadata, state, \
             turn_count, created_at_us, used_at_us, expires_at_us) \
             VALUES (?1, ?2, ?3, ?4, ?5, 'active', 0, ?6, ?6, ?7)",
        )?
        .execute(params![
            session.id,
            session.user_id,
            session.conversation_id,
            session.profile,
            session.metadata.to_string(),
            session.created_at.us(),
            session.expires_at.us(),
        ])?;
    Ok(())
}

async fn read(svc: Arc<Service>, call: Call) -> Reply {
    let (id, now, idle_ms) = (
        call.param("id").to_owned(),
        svc.now(),
        svc.config().sessions.idle_ms,
    );
    match svc
        .store
        .read(move |conn| active(conn, &id, now, idle_ms))
        .await
    {
        Ok(Some(session)) => Reply::ok(&call.correlation_id, session.value()),
        Ok(None) => unknown(call.param("id")).reply(&call.correlation_id),
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
    }
}

async fn delete(svc: Arc<Service>, call: Call) -> Reply {
    let (request, idle_ms) = (call.clone(), svc.config().sessions.idle_ms);
    commit(&svc, &call, move |tx| {
        let id = request.param("id");
        let closed = tx
            .sql()
            .prepare_cached(
                "UPDATE sessions SET state = 'closed' WHERE id = ?1 AND state = 'active' \
                 AND expires_at_us > ?2 AND used_at_us > ?3",
            )?
            .execute(params![id, tx.now().us(), idle_since(tx.now(), idle_ms)])?;
        if closed == 0 {
            return Err(Refused::from(unknown(id)));
        }
        tx.event(
            "session.closed",
            &request.correlation_id,
            json!({"session_id": id}),
        )?;
        Ok(Done::new(200, json!({"session_id": id, "state": "closed"})))
    })
    .await
}
