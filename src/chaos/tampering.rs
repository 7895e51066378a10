//! What somebody with the database file in his hands can do to a chain: attacks on the list of
//! entries, as pure functions, and the connection that writes them past the append-only triggers.

use std::path::Path;

use rand::Rng;
use rand::rngs::ChaCha8Rng;
use rusqlite::{Connection, OpenFlags, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::database::select;
use crate::contract::audit::hash_of;

/// How long a statement waits for a lock of the target.
const BUSY_MS: u64 = 5_000;

/// Columns of an entry, in the order of the contract's table.
pub const COLUMNS: [&str; 17] = [
    "chain",
    "seq",
    "ts",
    "service",
    "actor_id",
    "actor_role",
    "via",
    "action",
    "resource",
    "outcome",
    "correlation_id",
    "request_id",
    "replay_generation",
    "causal_parent",
    "payload_sha256",
    "prev_hash",
    "hash",
];

/// An attack on the list of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// One entry is gone.
    Delete,
    /// Two entries have exchanged their numbers.
    Swap,
    /// A forged entry, its own hash and link right, is pushed in before an entry.
    Insert,
    /// An entry is there twice, under two numbers.
    Duplicate,
    /// The first entry is gone.
    CutHead,
    /// The last two entries are gone.
    CutTail,
    /// An entry is forged, and it and all later ones have right hashes and links.
    RewriteSuffix,
    /// An entry names another actor.
    Forge,
}

impl Attack {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Delete,
        Self::Swap,
        Self::Insert,
        Self::Duplicate,
        Self::CutHead,
        Self::CutTail,
        Self::RewriteSuffix,
        Self::Forge,
    ];

    /// The first place where the entries are others than before.
    #[must_use]
    pub fn first(self, entries: usize, at: usize) -> usize {
        match self {
            Self::Duplicate => at + 1,
            Self::CutHead => 0,
            Self::CutTail => entries - 2,
            _ => at,
        }
    }

    /// The entries after it. `at` is the place of the attacked entry, neither the first nor one of
    /// the last two.
    #[must_use]
    pub fn on(self, entries: &[Value], at: usize) -> Vec<Value> {
        let mut entries = entries.to_vec();
        match self {
            Self::Delete => drop(entries.remove(at)),
            Self::Swap => {
                let (low, high) = (entries[at]["seq"].clone(), entries[at + 1]["seq"].clone());
                (entries[at]["seq"], entries[at + 1]["seq"]) = (high, low);
                entries.swap(at, at + 1);
            }
            Self::Insert => {
                let mut forged = entries[at].clone();
                forged["actor_id"] = json!("mallory");
                forged["hash"] = json!(hash_of(&forged));
                push_in(&mut entries, at, forged);
            }
            Self::Duplicate => {
                let again = entries[at].clone();
                push_in(&mut entries, at, again);
            }
            Self::CutHead => drop(entries.remove(0)),
            Self::CutTail => entries.truncate(entries.len() - 2),
            Self::RewriteSuffix => {
                entries[at]["actor_id"] = json!("mallory");
                for place in at..entries.len() {
                    entries[place]["prev_hash"] = entries[place - 1]["hash"].clone();
                    entries[place]["hash"] = json!(hash_of(&entries[place]));
                }
            }
            Self::Forge => entries[at]["actor_id"] = json!("mallory"),
        }
        entries
    }
}

/// Pushes an entry in at a place; the later ones are numbered anew and nothing else.
fn push_in(entries: &mut Vec<Value>, at: usize, entry: Value) {
    entries.insert(at, entry);
    for (seq, entry) in entries.iter_mut().enumerate().skip(at) {
        entry["seq"] = json!(seq);
    }
}

/// One byte of a stored field, changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteChange {
    /// The column.
    pub column: String,
    /// Which byte of it.
    pub byte: usize,
    /// What it is combined with, by exclusive or.
    pub mask: u8,
    before: Stored,
    after: Stored,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stored {
    Text(Vec<u8>),
    Number(i64),
}

impl Stored {
    /// With one byte changed. Numbers have eight.
    fn changed(&self, byte: usize, mask: u8) -> Self {
        match self {
            Self::Text(text) => {
                let mut text = text.clone();
                text[byte] ^= mask;
                Self::Text(text)
            }
            Self::Number(number) => {
                let mut bytes = number.to_be_bytes();
                bytes[byte] ^= mask;
                Self::Number(i64::from_be_bytes(bytes))
            }
        }
    }
}

/// A change of each byte of each field of an entry; fields that are null have none.
#[must_use]
pub fn byte_changes(entry: &Value, rng: &mut ChaCha8Rng) -> Vec<ByteChange> {
    let mut all = Vec::new();
    for (column, value) in entry.as_object().into_iter().flatten() {
        let before = match value {
            Value::String(text) => Stored::Text(text.clone().into_bytes()),
            Value::Number(number) => Stored::Number(number.as_i64().unwrap_or_default()),
            _ => continue,
        };
        let bytes = match &before {
            Stored::Text(text) => text.len(),
            Stored::Number(_) => 8,
        };
        for byte in 0..bytes {
            let mask = match &before {
                // Text stays text: what is no UTF-8 is noticed without any chain, and bits that
                // make it so are flipped in the file.
                Stored::Text(_) => u8::try_from(rng.next_u32() % 127).unwrap_or(0) + 1,
                // Beyond every number in use, so that the change meets no other entry.
                Stored::Number(_) => 0x40,
            };
            let (column, after) = (column.clone(), before.changed(byte, mask));
            let before = before.clone();
            all.push(ByteChange {
                column,
                byte,
                mask,
                before,
                after,
            });
        }
    }
    all
}

/// A connection that writes what it likes.
pub struct Tampering {
    db: Connection,
    triggers: Vec<String>,
}

impl Tampering {
    /// Opens the database and drops the triggers of the log.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn open(path: &Path) -> Result<Self, String> {
        let open = || -> rusqlite::Result<Self> {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let db = Connection::open_with_flags(path, flags)?;
            db.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
            // What is lost with the power is made again.
            db.pragma_update(None, "synchronous", "OFF")?;
            db.pragma_update(None, "wal_autocheckpoint", 0)?;
            db.pragma_update(None, "ignore_check_constraints", true)?;
            let of_log = "FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit_log'";
            let found = select(&db, &format!("SELECT name, sql {of_log}"), [])?;
            let text = |trigger: &Value, field: &str| {
                trigger[field].as_str().unwrap_or_default().to_owned()
            };
            for trigger in &found {
                let name = text(trigger, "name");
                db.execute_batch(&format!("DROP TRIGGER \"{name}\""))?;
            }
            let triggers = found.iter().map(|trigger| text(trigger, "sql")).collect();
            Ok(Self { db, triggers })
        };
        open().map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Puts the triggers back and closes; what is in the log beside the database goes into it.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn close(self) -> Result<(), String> {
        let close = || -> rusqlite::Result<()> {
            for trigger in &self.triggers {
                self.db.execute_batch(trigger)?;
            }
            fold(&self.db)
        };
        close().map_err(|error| error.to_string())
    }

    /// The stored entries.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn rows(&mut self) -> Result<Vec<Value>, String> {
        rows(&self.db).map_err(|error| error.to_string())
    }

    /// Replaces all entries by these.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn put(&mut self, entries: &[Value]) -> Result<(), String> {
        let mut sql = "BEGIN IMMEDIATE; DELETE FROM audit_log;".to_owned();
        for entry in entries {
            sql.push_str(&insert("INSERT", entry));
            sql.push(';');
        }
        sql.push_str("COMMIT;");
        self.db
            .execute_batch(&sql)
            .map_err(|error| error.to_string())
    }

    /// Changes a byte of the entry with this number.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn change(&mut self, seq: i64, change: &ByteChange) -> Result<(), String> {
        self.set(seq, &change.column, &change.after)
    }

    /// Puts it back.
    ///
    /// # Errors
    /// What SQLite said.
    pub fn put_back(&mut self, seq: i64, change: &ByteChange) -> Result<(), String> {
        let now = match (&change.after, change.column.as_str()) {
            (Stored::Number(number), "seq") => *number,
            _ => seq,
        };
        self.set(now, &change.column, &change.before)
    }

    fn set(&mut self, seq: i64, column: &str, value: &Stored) -> Result<(), String> {
        // Bytes that are no UTF-8 are text all the same, to SQLite.
        let value_of = if matches!(value, Stored::Text(_)) {
            "CAST(?1 AS TEXT)"
        } else {
            "?1"
        };
        let sql = format!("UPDATE audit_log SET {column} = {value_of} WHERE seq = ?2");
        let set = || -> rusqlite::Result<usize> {
            let mut statement = self.db.prepare_cached(&sql)?;
            match value {
                Stored::Text(text) => statement.execute(params![text, seq]),
                Stored::Number(number) => statement.execute(params![number, seq]),
            }
        };
        match set() {
            Ok(1) => Ok(()),
            Ok(n) => Err(format!("{column} of entry {seq}: {n} rows changed")),
            Err(error) => Err(format!("{column} of entry {seq}: {error}")),
        }
    }
}

/// The entries of a database that nobody has open, as far as they can be read; nothing is changed.
///
/// # Errors
/// What SQLite said.
pub fn read_closed(path: &Path) -> Result<Vec<Value>, String> {
    let text = path.to_string_lossy();
    let escaped = text
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let open = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags);
    open.and_then(|db| rows(&db))
        .map_err(|error| error.to_string())
}

/// Writes what is in the log beside a database into it, so that the file alone is all of it.
///
/// # Errors
/// What SQLite said.
pub fn fold_closed(path: &Path) -> Result<(), String> {
    let folded = Connection::open(path).and_then(|db| fold(&db));
    folded.map_err(|error| format!("{}: {error}", path.display()))
}

fn fold(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn rows(db: &Connection) -> rusqlite::Result<Vec<Value>> {
    select(db, "SELECT * FROM audit_log ORDER BY seq", [])
}

/// The statement that puts an entry into the log.
#[must_use]
pub fn insert(verb: &str, entry: &Value) -> String {
    let values: Vec<String> = COLUMNS.iter().map(|name| literal(&entry[*name])).collect();
    format!(
        "{verb} INTO audit_log ({}) VALUES ({})",
        COLUMNS.join(", "),
        values.join(", ")
    )
}

/// A value as SQL has it.
#[must_use]
pub fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "tampering_tests.rs"]
mod tests;
