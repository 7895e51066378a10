//! Defects of upgrades. All of them leave a database alone that has no tables yet.

use rusqlite::Connection;

use super::Mutant;
use crate::reference::store::schema::{self, SchemaError};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "migration-creates-only",
        must: &["migration-integrity"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.migrate = creates_only),
    },
    Mutant {
        name: "migration-drops-table",
        must: &["migration-integrity"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.migrate = drops_table),
    },
];

/// CREATE IF NOT EXISTS of everything there is in the newest schema: a table of an older shape stays
/// as it is.
fn creates_only(conn: &mut Connection, service: &str) -> Result<(), SchemaError> {
    let newest = schema::newest(service);
    schema::refuse_newer(conn, newest)?;
    if service != "api-gateway" {
        return schema::up(conn, service);
    }
    let mut model = Connection::open_in_memory()?;
    schema::up(&mut model, service)?;
    for (_, definition) in definitions(&model, "%")? {
        let mut definition = definition;
        for what in [
            "CREATE TABLE ",
            "CREATE UNIQUE INDEX ",
            "CREATE INDEX ",
            "CREATE TRIGGER ",
        ] {
            if let Some(rest) = definition.strip_prefix(what) {
                definition = format!("{what}IF NOT EXISTS {rest}");
            }
        }
        conn.execute_batch(&definition)?;
    }
    Ok(conn.pragma_update(None, "user_version", newest as i64)?)
}

/// An upgrade makes the table of tasks anew.
fn drops_table(conn: &mut Connection, service: &str) -> Result<(), SchemaError> {
    let before: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let raised = before > 0 && before < schema::newest(service) as i64;
    if service == "eva-os" && raised {
        let made = definitions(conn, "tasks")?;
        conn.execute_batch("DROP TABLE tasks")?;
        for (_, definition) in made {
            conn.execute_batch(&definition)?;
        }
    }
    schema::up(conn, service)
}

/// What makes tables of this name and what belongs to them, tables first.
fn definitions(conn: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String)>> {
    conn.prepare(
        "SELECT type, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
         AND tbl_name LIKE ?1 ORDER BY type <> 'table', rowid",
    )?
    .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}
