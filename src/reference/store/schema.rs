//! The numbered steps of each database, oldest first. A step is never edited after its release; the
//! last one leads from v4.6 to v4.7, makes exactly `idempotency_keys`, and is the highest number.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

/// Every database: the audit log with its triggers, operations, events, counters.
const CORE: &str = include_str!("sql/core.sql");
/// v4.6 -> v4.7.
const IDEMPOTENCY: &str = include_str!("sql/idempotency.sql");
const IDEMPOTENCY_DOWN: &str = "DROP TABLE IF EXISTS idempotency_keys;";

/// Steps of one service between [`CORE`] and [`IDEMPOTENCY`].
const SERVICES: &[(&str, &[&str])] = &[
    (
        "api-gateway",
        &[
            include_str!("sql/sessions.sql"),
            include_str!("sql/slo.sql"),
            include_str!("sql/decisions.sql"),
            include_str!("sql/actions.sql"),
            include_str!("sql/dead_letters.sql"),
            include_str!("sql/sessions_profile.sql"),
            include_str!("sql/outbox.sql"),
        ],
    ),
    (
        "memory-engine",
        &[
            include_str!("sql/memories.sql"),
            include_str!("sql/recall.sql"),
            include_str!("sql/proposals.sql"),
        ],
    ),
    ("openclaw", &[include_str!("sql/consumed.sql")]),
    (
        "eva-os",
        &[
            include_str!("sql/decisions.sql"),
            include_str!("sql/tasks.sql"),
            include_str!("sql/supervision.sql"),
        ],
    ),
    (
        "vision-capture",
        &[
            include_str!("sql/frames.sql"),
            include_str!("sql/privacy.sql"),
        ],
    ),
    ("perception", &[include_str!("sql/consents.sql")]),
];

/// Why the schema cannot be brought to a number.
#[derive(Debug)]
pub enum SchemaError {
    /// SQLite refused.
    Sql(rusqlite::Error),
    /// The database has a higher number than this program knows.
    Newer {
        /// Its number.
        found: i64,
        /// The highest known number.
        known: usize,
    },
    /// A step is wrong.
    Other(String),
}

impl From<rusqlite::Error> for SchemaError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<rusqlite_migration::Error> for SchemaError {
    fn from(error: rusqlite_migration::Error) -> Self {
        match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => Self::Sql(err),
            other => Self::Other(other.to_string()),
        }
    }
}

/// Brings a database to the newest schema; all missing steps are one transaction.
///
/// # Errors
/// See [`SchemaError`].
pub fn up(conn: &mut Connection, service: &str) -> Result<(), SchemaError> {
    let texts = texts(service);
    refuse_newer(conn, texts.len())?;
    Ok(migrations(&texts).to_latest(conn)?)
}

/// Takes a database from v4.7 back to v4.6.
///
/// # Errors
/// See [`SchemaError`].
pub fn down(conn: &mut Connection, service: &str) -> Result<(), SchemaError> {
    let texts = texts(service);
    refuse_newer(conn, texts.len())?;
    Ok(migrations(&texts).to_version(conn, texts.len() - 1)?)
}

/// The newest number of a service's database.
pub fn newest(service: &str) -> usize {
    texts(service).len()
}

fn texts(service: &str) -> Vec<String> {
    let own = SERVICES
        .iter()
        .find(|(name, _)| *name == service)
        .map_or(&[][..], |(_, own)| own);
    let all = std::iter::once(&CORE).chain(own).chain([&IDEMPOTENCY]);
    all.map(|sql| sql.replace("{service}", service)).collect()
}

fn migrations(texts: &[String]) -> Migrations<'_> {
    let newest = texts.len() - 1;
    let step = |(at, sql)| {
        let step = M::up(sql);
        if at == newest {
            step.down(IDEMPOTENCY_DOWN)
        } else {
            step
        }
    };
    Migrations::new(
        texts
            .iter()
            .map(String::as_str)
            .enumerate()
            .map(step)
            .collect(),
    )
}

/// Refuses a database with a number above `known`, and changes nothing.
///
/// # Errors
/// See [`SchemaError`].
pub fn refuse_newer(conn: &Connection, known: usize) -> Result<(), SchemaError> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if usize::try_from(found).is_ok_and(|found| found <= known) {
        return Ok(());
    }
    Err(SchemaError::Newer { found, known })
}
