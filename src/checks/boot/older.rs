//! Databases of older releases, put in the place of a stopped target's, and what became of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::json::{canonical, sha256_hex};
use crate::checks::database;
use crate::target::Instance;

/// The databases, each with the statements that make it.
const DATABASES: [(&str, &str); 2] = [
    (
        "api-gateway",
        include_str!("../../../fixtures/contract/databases/api-gateway.sql"),
    ),
    (
        "eva-os",
        include_str!("../../../fixtures/contract/databases/eva-os.sql"),
    ),
];

/// The names of the databases.
pub(super) const NAMES: [&str; 2] = [DATABASES[0].0, DATABASES[1].0];

/// Rows by table.
pub(super) type Rows = BTreeMap<String, Vec<Value>>;

/// One database at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// `PRAGMA user_version`.
    pub version: i64,
    /// A digest of each table, its definition and its rows, by name.
    pub tables: BTreeMap<String, String>,
}

/// Takes the databases of the target away, with everything that is kept beside them, and puts those
/// of the older release in their place.
pub(super) fn install(target: &Instance) -> anyhow::Result<()> {
    for (name, sql) in DATABASES {
        let path = database::file(target, name)?;
        for beside in beside(&path) {
            if beside.exists() {
                std::fs::remove_file(beside)?;
            }
        }
        let conn = Connection::open(&path)?;
        // A database that is lost with the power is made again.
        conn.pragma_update(None, "synchronous", "OFF")?;
        conn.execute_batch(sql)?;
    }
    Ok(())
}

/// The files of one database, its checkpoint included.
fn beside(path: &Path) -> Vec<PathBuf> {
    let with = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    vec![
        path.to_owned(),
        with("-wal"),
        with("-shm"),
        with("-journal"),
        path.with_extension("checkpoint"),
    ]
}

/// The rows of each table of the older release.
pub(super) fn rows(target: &Instance, name: &str) -> anyhow::Result<Rows> {
    let conn = database::reader(&database::file(target, name)?)?;
    let select = |table: String| {
        let rows = database::select(&conn, &format!("SELECT * FROM \"{table}\""), [])?;
        Ok((table, rows))
    };
    names(&conn)?.into_iter().map(select).collect()
}

/// The shape of a database.
pub(super) fn shape(target: &Instance, name: &str) -> anyhow::Result<Shape> {
    let conn = database::reader(&database::file(target, name)?)?;
    let mut tables = BTreeMap::new();
    for table in names(&conn)? {
        let definition =
            "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = ?1 ORDER BY 1, 2";
        let definition = database::select(&conn, definition, [&table])?;
        let rows = database::select(&conn, &format!("SELECT * FROM \"{table}\""), [])?;
        let all = Value::Array([definition, rows].concat());
        let mut digest = sha256_hex(&canonical(&all));
        digest.truncate(16);
        tables.insert(table, digest);
    }
    Ok(Shape {
        version: version(&conn)?,
        tables,
    })
}

fn names(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
               ORDER BY name";
    let mut statement = conn.prepare(sql)?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The number of its schema.
pub(super) fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}
