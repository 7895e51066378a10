//! The databases of a target, opened by the harness: to read, or to hold them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::{Map, Value, json};

use crate::target::Instance;

/// How long a statement of ours waits for a writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The file of this database, as the target names it.
///
/// # Errors
/// When the target names none.
pub fn file(target: &Instance, name: &str) -> anyhow::Result<PathBuf> {
    let listening = target.listening();
    let path = listening.databases.get(name).cloned();
    path.with_context(|| format!("the target names no database of {name}"))
}

/// A connection that reads and never writes.
///
/// # Errors
/// SQLite's.
pub fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    Ok(conn)
}

/// A connection that writes, to a file that is there.
///
/// # Errors
/// SQLite's.
pub fn writer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    Ok(conn)
}

/// The rows of a query, each as an object of its columns.
///
/// # Errors
/// SQLite's.
pub fn select(
    db: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Value>> {
    let mut statement = db.prepare(sql)?;
    let names: Vec<String> = statement
        .column_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let rows = statement.query_map(parameters, |row| object(row, &names))?;
    rows.collect()
}

fn object(row: &Row<'_>, names: &[String]) -> rusqlite::Result<Value> {
    let mut fields = Map::new();
    for (place, name) in names.iter().enumerate() {
        let value = match row.get_ref(place)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => json!(number),
            ValueRef::Real(number) => json!(number),
            ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
            ValueRef::Blob(bytes) => json!(crate::base::json::hex(bytes)),
        };
        fields.insert(name.clone(), value);
    }
    Ok(Value::Object(fields))
}
