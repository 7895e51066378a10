//! What changed in a target's databases: digests of all tables, taken again and again through
//! connections that only read.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};

use crate::base::json::sha256_hex;
use crate::checks::Undecided;
use crate::doubles::Double;
use crate::target::Instance;

/// How long a look waits for a writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a look saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// How many tables there are.
    pub tables: u64,
    /// Tables that are not as they were at the look before, such as `eva-os.tasks`, and doubles that
    /// were called since: what they were and what they are, as short digests or counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changed: BTreeMap<String, (String, String)>,
}

impl Look {
    /// The names of what changed but for the audit logs.
    #[must_use]
    pub fn effects(&self) -> Vec<&str> {
        let names = self.changed.keys().map(String::as_str);
        names.filter(|name| !name.ends_with(".audit_log")).collect()
    }
}

/// One database.
struct Database {
    name: String,
    conn: Connection,
    /// SQLite's own number of what others committed, and what the tables were then: while it does
    /// not move, nothing was written, and nothing has to be read.
    known: Option<(i64, Vec<(String, String)>)>,
}

impl Database {
    fn digests(&mut self) -> rusqlite::Result<&[(String, String)]> {
        let version = |conn: &Connection| {
            conn.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0))
        };
        let now = version(&self.conn)?;
        if self.known.as_ref().is_none_or(|(then, _)| *then != now) {
            // The number first: what is written in between is read again the next time.
            self.known = Some((now, digests(&self.conn)?));
        }
        Ok(self.known.as_ref().map_or(&[], |(_, tables)| tables))
    }
}

/// The databases of a target, and what was last seen of them.
pub struct Tables {
    databases: Vec<Database>,
    doubles: [(&'static str, Double); 2],
    last: BTreeMap<String, String>,
}

impl Tables {
    /// Opens every database that the target lists. What is there now is what the first look
    /// compares with.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn open(target: &Instance, models: &Double, tools: &Double) -> Result<Self, Undecided> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut databases = Vec::new();
        for (name, path) in &target.listening().databases {
            let conn = Connection::open_with_flags(path, flags)?;
            conn.busy_timeout(BUSY_TIMEOUT)?;
            databases.push(Database {
                name: name.clone(),
                conn,
                known: None,
            });
        }
        let doubles = [("models", models.clone()), ("tools", tools.clone())];
        let mut tables = Self {
            databases,
            doubles,
            last: BTreeMap::new(),
        };
        tables.look()?;
        Ok(tables)
    }

    /// What changed since the look before.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn look(&mut self) -> Result<Look, Undecided> {
        let mut now = BTreeMap::new();
        for database in &mut self.databases {
            let name = database.name.clone();
            for (table, digest) in database.digests()? {
                now.insert(format!("{name}.{table}"), digest.clone());
            }
        }
        let tables = now.len() as u64;
        for (name, double) in &self.doubles {
            let calls = double.calls().len();
            now.insert(format!("calls of {name}"), format!("{calls} calls"));
        }
        let names = now.keys().chain(self.last.keys());
        let changed = names
            .filter(|name| now.get(*name) != self.last.get(*name))
            .map(|name| {
                let of = |all: &BTreeMap<String, String>| {
                    all.get(name).cloned().unwrap_or_else(|| "none".to_owned())
                };
                (name.clone(), (of(&self.last), of(&now)))
            })
            .collect();
        self.last = now;
        Ok(Look { tables, changed })
    }

    /// Whether nothing changed since the look before, and nothing is on its way from one service to
    /// another: what waits in an outbox will change the tables of whom it is for.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn still(&mut self) -> Result<bool, Undecided> {
        // In this order: what is delivered between the two was written before the look.
        for database in &self.databases {
            if outstanding(&database.conn)? > 0 {
                return Ok(false);
            }
        }
        Ok(self.look()?.changed.is_empty())
    }
}

/// How much waits in its outbox, if it has one (`fixtures/contract/tables.json`).
fn outstanding(conn: &Connection) -> rusqlite::Result<i64> {
    if !conn.table_exists(None, "outbox")? {
        return Ok(0);
    }
    let pending = "SELECT count(*) FROM outbox WHERE state = 'pending'";
    conn.prepare_cached(pending)?
        .query_row([], |row| row.get(0))
}

/// A digest of each table's rows, all of one moment.
fn digests(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    conn.execute_batch("BEGIN")?;
    let all = read_all(conn);
    conn.execute_batch("COMMIT")?;
    all
}

fn read_all(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' \
                 AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let names: Vec<String> = conn
        .prepare_cached(names)?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let digest = |name: String| {
        let sql = format!("SELECT * FROM \"{name}\"");
        let mut statement = conn.prepare_cached(&sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut text = Vec::new();
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                write(&mut text, row.get_ref(column)?);
            }
            text.push(b'\n');
        }
        let mut digest = sha256_hex(&text);
        digest.truncate(8);
        Ok((name, digest))
    };
    names.into_iter().map(digest).collect()
}

/// A value that no two different rows share: with its type and its length.
fn write(text: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => text.push(b'-'),
        ValueRef::Integer(number) => text.extend(format!("i{number},").bytes()),
        ValueRef::Real(number) => text.extend(format!("r{number},").bytes()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            text.extend(format!("b{},", bytes.len()).bytes());
            text.extend(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_in_an_outbox_is_counted() {
        let conn = Connection::open_in_memory().unwrap();
        assert_eq!(outstanding(&conn).unwrap(), 0);
        conn.execute_batch("CREATE TABLE outbox (state); INSERT INTO outbox VALUES ('delivered');")
            .unwrap();
        assert_eq!(outstanding(&conn).unwrap(), 0);
        conn.execute_batch("INSERT INTO outbox VALUES ('pending'), ('refused'), ('pending')")
            .unwrap();
        assert_eq!(outstanding(&conn).unwrap(), 2);
    }

    #[test]
    fn a_row_that_is_new_or_another_one_changes_its_table_and_no_other() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE a (x, y); CREATE TABLE b (x);")
            .unwrap();
        let mut seen = vec![digests(&conn).unwrap()];
        for sql in [
            "INSERT INTO a VALUES ('1', '23')",
            "UPDATE a SET x = '12', y = '3'",
            "UPDATE a SET x = 12",
            "DELETE FROM a",
        ] {
            conn.execute_batch(sql).unwrap();
            let now = digests(&conn).unwrap();
            assert_eq!(now[1], seen[0][1], "{sql}");
            assert_ne!(now[0], seen.last().unwrap()[0], "{sql}");
            seen.push(now);
        }
        assert_eq!(seen[0], seen[4]);
    }

    #[test]
    fn what_another_connection_commits_is_seen_at_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("CREATE TABLE a (x)").unwrap();
        let mut database = Database {
            name: "a".into(),
            conn: Connection::open(&path).unwrap(),
            known: None,
        };
        let first = database.digests().unwrap().to_vec();
        assert_eq!(database.digests().unwrap(), first);
        writer.execute_batch("INSERT INTO a VALUES (1)").unwrap();
        assert_ne!(database.digests().unwrap(), first);
        writer.execute_batch("DELETE FROM a").unwrap();
        assert_eq!(database.digests().unwrap(), first);
    }

    #[test]
    fn the_audit_log_is_no_effect() {
        let changed = ["eva-os.audit_log", "eva-os.tasks"];
        let changed = changed.map(|name| (name.to_owned(), ("a".to_owned(), "b".to_owned())));
        let look = Look {
            tables: 9,
            changed: changed.into(),
        };
        assert_eq!(look.effects(), ["eva-os.tasks"]);
    }
}
