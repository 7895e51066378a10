//! Audit rows as the database has them, and statements that it should refuse. Everything here
//! works on a copy made through SQLite's backup from a read-only connection.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::json::{canonical, sha256_hex};
use crate::chaos::database::select;
use crate::chaos::tampering::{COLUMNS, insert, literal};
use crate::contract::audit::hash_of;

/// How often a copy is tried again while the database is locked for a moment.
const COPY_ATTEMPTS: u32 = 2000;
/// How long a read waits for a lock.
const READ_BOUND: Duration = Duration::from_secs(2);

/// A statement that was tried on a copy, and what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The chain whose database was copied.
    pub chain: String,
    /// What the statement is about.
    pub name: String,
    /// The statement.
    pub sql: String,
    /// What the database said against it.
    pub error: Option<String>,
    /// Digest of all audit rows before.
    pub before: String,
    /// Digest of all audit rows after.
    pub after: String,
}

/// The name of the one statement that has to be accepted: the right next entry.
pub const CONTROL: &str = "the right next entry";

/// Copies the database of a running target to `to`.
///
/// # Errors
/// What SQLite said, or that the database stayed locked.
pub fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let wrong = |error: rusqlite::Error| format!("cannot copy {}: {error}", from.display());
    let source = Connection::open_with_flags(from, flags).map_err(wrong)?;
    let mut copy = Connection::open(to).map_err(wrong)?;
    // A copy that is lost with the power is made again.
    copy.pragma_update(None, "synchronous", "OFF")
        .map_err(wrong)?;
    let backup = Backup::new(&source, &mut copy).map_err(wrong)?;
    for _ in 0..COPY_ATTEMPTS {
        match backup.step(-1).map_err(wrong)? {
            StepResult::Done => return Ok(()),
            _ => std::thread::yield_now(),
        }
    }
    Err(format!("cannot copy {}: locked", from.display()))
}

/// The rows of `chain` in order of `seq`, each as an object of its columns.
///
/// # Errors
/// What SQLite said.
pub fn rows(copy: &Path, chain: &str) -> Result<Vec<Value>, String> {
    let db = Connection::open(copy).map_err(|error| error.to_string())?;
    select(
        &db,
        "SELECT * FROM audit_log WHERE chain = ?1 ORDER BY seq",
        [chain],
    )
    .map_err(|error| error.to_string())
}

/// A digest of the rows of each table of the database of a running target, by table.
///
/// # Errors
/// What SQLite said.
pub fn tables(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let look = || -> rusqlite::Result<BTreeMap<String, String>> {
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(READ_BOUND)?;
        let names = "SELECT name FROM sqlite_master WHERE type = 'table'";
        let names = select(&db, names, [])?;
        let names = names.iter().filter_map(|row| row["name"].as_str());
        names
            .map(|name| {
                let rows = select(&db, &format!("SELECT * FROM \"{name}\""), [])?;
                Ok((name.to_owned(), digest(&Value::Array(rows))))
            })
            .collect()
    };
    look().map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// A short digest of one row or entry: 16 hexadecimal digits of its canonical form's SHA-256.
#[must_use]
pub fn digest(entry: &Value) -> String {
    let mut text = sha256_hex(&canonical(entry));
    text.truncate(16);
    text
}

fn table_digest(db: &Connection) -> rusqlite::Result<String> {
    let rows = select(db, "SELECT * FROM audit_log ORDER BY chain, seq", [])?;
    Ok(digest(&Value::Array(rows)))
}

/// Tries every statement that an append-only table refuses, and the one it accepts, each on the
/// same state of the copy.
///
/// # Errors
/// What SQLite said to anything but the statements themselves.
pub fn try_statements(copy: &PathBuf, chain: &str) -> Result<Vec<Statement>, String> {
    let run = || -> rusqlite::Result<Vec<Statement>> {
        let db = Connection::open(copy)?;
        let sql = "SELECT * FROM audit_log WHERE chain = ?1 ORDER BY seq DESC LIMIT 2";
        let last = select(&db, sql, [chain])?;
        let [last, before_last] = last.as_slice() else {
            return Ok(Vec::new());
        };
        statements(last, before_last)
            .into_iter()
            .map(|(name, sql)| attempt(&db, chain, name, sql))
            .collect()
    };
    run().map_err(|error| error.to_string())
}

fn attempt(db: &Connection, chain: &str, name: &str, sql: String) -> rusqlite::Result<Statement> {
    let before = table_digest(db)?;
    db.execute_batch("BEGIN IMMEDIATE")?;
    let error = db.execute_batch(&sql).err().map(|error| error.to_string());
    let after = table_digest(db)?;
    // A statement that was refused with ROLLBACK has ended the transaction already.
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK")?;
    }
    let (chain, name) = (chain.to_owned(), name.to_owned());
    Ok(Statement {
        chain,
        name,
        sql,
        error,
        before,
        after,
    })
}

/// A statement with its name.
type Named = (&'static str, String);

/// The statements, made from the last two entries of the chain. `recursive_triggers` stays off, as
/// it is by default: the delete of a REPLACE then fires no trigger.
fn statements(last: &Value, before_last: &Value) -> Vec<Named> {
    let mut all = changes(last, before_last);
    all.extend(inserts(last, before_last));
    all
}

/// Of stored entries.
fn changes(last: &Value, before_last: &Value) -> Vec<Named> {
    let place = |entry: &Value| {
        let (chain, seq) = (literal(&entry["chain"]), literal(&entry["seq"]));
        format!("WHERE chain = {chain} AND seq = {seq}")
    };
    let mut forged = last.clone();
    forged["actor_id"] = json!("mallory");
    forged["hash"] = json!(hash_of(&forged));
    let mut forged_earlier = before_last.clone();
    forged_earlier["actor_id"] = json!("mallory");
    let actor = format!(
        "UPDATE audit_log SET actor_id = 'mallory' {}",
        place(before_last)
    );
    let number = literal(&before_last["seq"]);
    let number = format!(
        "UPDATE OR REPLACE audit_log SET seq = {number} {}",
        place(last)
    );
    let delete = format!("DELETE FROM audit_log {}", place(last));
    vec![
        ("UPDATE of an entry", actor),
        ("UPDATE OR REPLACE of a number", number),
        ("DELETE of the last entry", delete),
        ("DELETE of everything", "DELETE FROM audit_log".to_owned()),
        (
            "INSERT OR REPLACE of the last entry",
            insert("INSERT OR REPLACE", &forged),
        ),
        (
            "REPLACE of an earlier entry",
            insert("REPLACE", &forged_earlier),
        ),
    ]
}

/// Of further entries, of which only the last one is right.
fn inserts(last: &Value, before_last: &Value) -> Vec<Named> {
    let next = |step: i64, prev: &Value| {
        let mut entry = last.clone();
        entry["seq"] = json!(last["seq"].as_i64().unwrap_or_default() + step);
        entry["prev_hash"] = prev.clone();
        entry["correlation_id"] = json!("cor_of_nobody");
        entry["hash"] = json!(hash_of(&entry));
        entry
    };
    let gap = next(2, &last["hash"]);
    let fork = next(1, &before_last["hash"]);
    let right = next(1, &last["hash"]);
    let mut early = last.clone();
    early["seq"] = json!(-1);
    let over = insert_over(&right, before_last);
    vec![
        ("INSERT that leaves a gap", insert("INSERT", &gap)),
        ("INSERT with another prev_hash", insert("INSERT", &fork)),
        ("INSERT before the first entry", insert("INSERT", &early)),
        ("INSERT OR REPLACE over another row's rowid", over),
        (CONTROL, insert("INSERT", &right)),
    ]
}

/// The right next entry, under the rowid of a stored one: a trigger that looks at seq and
/// prev_hash alone lets it replace that row.
fn insert_over(entry: &Value, victim: &Value) -> String {
    let values: Vec<String> = COLUMNS.iter().map(|name| literal(&entry[*name])).collect();
    format!(
        "INSERT OR REPLACE INTO audit_log (rowid, {}) \
         SELECT rowid, {} FROM audit_log WHERE chain = {} AND seq = {}",
        COLUMNS.join(", "),
        values.join(", "),
        literal(&victim["chain"]),
        literal(&victim["seq"])
    )
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
