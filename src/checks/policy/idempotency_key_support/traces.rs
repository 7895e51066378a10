//! What executions leave behind, read once all requests are over: entries of the audit log by the
//! request that they name, rows with a marker, calls of doubles with one. The table of keys itself is
//! never read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::Evidence;
use super::story::{Story, Traces};
use crate::checks::bench::marker_of;
use crate::checks::{Cx, Undecided};
use crate::target::Instance;

/// Tables that say nothing of executions, or are another gate's.
const NOT_COUNTED: [&str; 2] = ["audit_log", "idempotency_keys"];

/// What the databases hold.
#[derive(Default)]
struct Stored {
    /// Entries that are no refusals, by correlation id or request id, then by what they say.
    entries: HashMap<String, BTreeMap<String, u64>>,
    /// Rows by the words in them that were looked for, then by table.
    rows: HashMap<String, BTreeMap<String, u64>>,
}

/// Fills in what every story and every request left behind.
///
/// # Errors
/// When a database cannot be read.
pub(super) async fn fill(cx: &Cx, target: &Instance, seen: &mut Evidence) -> Result<(), Undecided> {
    let _span = cx.span("look at what was executed");
    let words: BTreeSet<String> = stories(seen).map(|story| story.marker.clone()).collect();
    let databases: BTreeMap<PathBuf, String> = target
        .listening()
        .databases
        .iter()
        .map(|(name, path)| (path.clone(), name.clone()))
        .collect();
    let stored = tokio::task::spawn_blocking(move || read(&databases, &words)).await??;
    for story in stories(seen) {
        let first = story.asked.iter().map(|asked| asked.invoked_us).min();
        let mut calls: BTreeMap<String, u64> = BTreeMap::new();
        for (backend, double) in [("models", &cx.models), ("tools", &cx.tools)] {
            let ours = double.calls().into_iter().filter(|call| {
                first.is_some_and(|from| call.at_us >= from)
                    && marker_of(&call.body) == story.marker
            });
            calls.insert(backend.to_owned(), ours.count() as u64);
        }
        let rows = stored.rows.get(&story.marker).cloned().unwrap_or_default();
        story.traces = Some(Traces { calls, rows });
        for asked in &mut story.asked {
            asked.entries = stored.entries.get(&asked.id).cloned().unwrap_or_default();
        }
    }
    Ok(())
}

fn stories(seen: &mut Evidence) -> impl Iterator<Item = &mut Story> {
    seen.routes.values_mut().flat_map(|one| {
        let single = [&mut one.plain, &mut one.main, &mut one.spelled];
        single.into_iter().chain(&mut one.races)
    })
}

fn read(databases: &BTreeMap<PathBuf, String>, words: &BTreeSet<String>) -> anyhow::Result<Stored> {
    let mut stored = Stored::default();
    for (path, name) in databases {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        for table in tables(&db)? {
            match table.as_str() {
                "audit_log" => read_entries(&db, &mut stored)?,
                _ if NOT_COUNTED.contains(&table.as_str()) => {}
                _ => read_rows(&db, name, &table, words, &mut stored)?,
            }
        }
    }
    Ok(stored)
}

fn tables(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// An entry counts for the request whose id it carries as its correlation id; one of a replay of an
/// older request, for that which it carries as its request id.
fn read_entries(db: &Connection, stored: &mut Stored) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "SELECT correlation_id, request_id, chain || ' ' || action || ' ' || outcome
         FROM audit_log WHERE outcome <> 'refused'",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (correlation_id, request_id, says): (String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        for id in BTreeSet::from([correlation_id, request_id]) {
            *stored
                .entries
                .entry(id)
                .or_default()
                .entry(says.clone())
                .or_default() += 1;
        }
    }
    Ok(())
}

/// Counts the rows of one table that hold one of the words, in whichever column.
fn read_rows(
    db: &Connection,
    database: &str,
    table: &str,
    words: &BTreeSet<String>,
    stored: &mut Stored,
) -> rusqlite::Result<()> {
    let quoted = table.replace('"', "\"\"");
    let mut statement = db.prepare(&format!("SELECT * FROM \"{quoted}\""))?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut held = BTreeSet::new();
        for column in 0..columns {
            if let ValueRef::Text(text) = row.get_ref(column)? {
                let text = String::from_utf8_lossy(text);
                let of_ours = words_of(&text).filter(|word| words.contains(*word));
                held.extend(of_ours.map(str::to_owned));
            }
        }
        for word in held {
            let name = format!("{database}.{table}");
            *stored
                .rows
                .entry(word)
                .or_default()
                .entry(name)
                .or_default() += 1;
        }
    }
    Ok(())
}

/// A marker is letters, digits and hyphens; a text may hold it among other things.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(dir: &std::path::Path) -> BTreeMap<PathBuf, String> {
        let path = dir.join("a.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "CREATE TABLE audit_log (chain, action, outcome, correlation_id, request_id);
             CREATE TABLE things (id TEXT, text TEXT);
             CREATE TABLE idempotency_keys (body TEXT);
             INSERT INTO audit_log VALUES ('a', 'make', 'ok', 'c-1', 'r-1');
             INSERT INTO audit_log VALUES ('a', 'make', 'refused', 'c-1', 'r-2');
             INSERT INTO audit_log VALUES ('a', 'again', 'failed', 'c-0', 'c-1');
             INSERT INTO things VALUES ('key-1', '{\"path\":\"key-1\"}'), ('x', 'read:key-1'), ('y', 'key-12');
             INSERT INTO idempotency_keys VALUES ('key-1');",
        )
        .unwrap();
        BTreeMap::from([(path, "db".to_owned())])
    }

    #[test]
    fn entries_count_for_their_request_and_refusals_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let stored = read(&database(dir.path()), &BTreeSet::new()).unwrap();
        let of = |id: &str| stored.entries.get(id).cloned().unwrap_or_default();
        let both = [
            ("a again failed".to_owned(), 1),
            ("a make ok".to_owned(), 1),
        ];
        assert_eq!(of("c-1"), BTreeMap::from(both));
        assert_eq!(of("r-2"), BTreeMap::new());
    }

    #[test]
    fn rows_count_once_for_each_whole_word_and_keys_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let words = BTreeSet::from(["key-1".to_owned(), "key-2".to_owned()]);
        let stored = read(&database(dir.path()), &words).unwrap();
        assert_eq!(
            stored.rows["key-1"],
            BTreeMap::from([("db.things".to_owned(), 2)])
        );
        assert!(!stored.rows.contains_key("key-2"));
    }
}
