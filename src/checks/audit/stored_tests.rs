//! Three tables: one that refuses as it should, one without triggers, one that forgot the REPLACE.

use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{COLUMNS, CONTROL, Statement, copy, digest, insert, rows, try_statements};
use crate::contract::audit::{GENESIS, hash_of};
use crate::contract::verify_entries;

const NO_UPDATE: &str = "CREATE TRIGGER u BEFORE UPDATE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;";
const NO_DELETE: &str = "CREATE TRIGGER d BEFORE DELETE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;";
const IN_ORDER: &str = "CREATE TRIGGER i BEFORE INSERT ON audit_log
    WHEN NEW.seq IS NOT 1 + (SELECT max(seq) FROM audit_log)
    OR NEW.prev_hash IS NOT (SELECT hash FROM audit_log ORDER BY seq DESC LIMIT 1)
    BEGIN SELECT RAISE(ABORT, 'out of order'); END;";

fn database(rowid: &str, triggers: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.db");
    let db = Connection::open(&path).unwrap();
    let columns: Vec<String> = COLUMNS
        .iter()
        .map(|name| match *name {
            "seq" | "replay_generation" => format!("{name} INTEGER"),
            name => format!("{name} TEXT"),
        })
        .collect();
    let sql = format!(
        "PRAGMA journal_mode = WAL; CREATE TABLE audit_log ({}, PRIMARY KEY (chain, seq)) {rowid};",
        columns.join(", ")
    );
    db.execute_batch(&sql).unwrap();
    for entry in chain() {
        db.execute_batch(&insert("INSERT", &entry)).unwrap();
    }
    for trigger in triggers {
        db.execute_batch(trigger).unwrap();
    }
    (dir, path)
}

fn chain() -> Vec<Value> {
    let mut prev = GENESIS.to_owned();
    (0..3)
        .map(|seq| {
            let mut entry = json!({
                "chain": "api-gateway", "seq": seq, "ts": "2026-11-22T10:00:00.000000Z",
                "service": "api-gateway", "actor_id": "op-1", "actor_role": "operator",
                "via": null, "action": "session.create", "resource": "session/it's",
                "outcome": "ok", "correlation_id": "c", "request_id": "r",
                "replay_generation": 0, "causal_parent": null, "payload_sha256": "p",
                "prev_hash": prev,
            });
            entry["hash"] = json!(hash_of(&entry));
            prev = entry["hash"].as_str().unwrap().to_owned();
            entry
        })
        .collect()
}

/// The statements that changed something, or were not refused.
fn accepted(rowid: &str, triggers: &[&str]) -> Vec<String> {
    let (dir, path) = database(rowid, triggers);
    let target = dir.path().join("copy.db");
    copy(&path, &target).unwrap();
    let tried = try_statements(&target, "api-gateway").unwrap();
    assert_eq!(tried.len(), 11);
    tried
        .into_iter()
        .filter(passed)
        .map(|statement| statement.name)
        .collect()
}

fn passed(statement: &Statement) -> bool {
    statement.error.is_none() || statement.before != statement.after
}

#[test]
fn a_copy_has_the_rows_and_they_verify_from_the_columns_alone() {
    let (dir, path) = database("", &[]);
    let target = dir.path().join("copy.db");
    copy(&path, &target).unwrap();
    let stored = rows(&target, "api-gateway").unwrap();
    assert_eq!(stored, chain());
    assert_eq!(verify_entries("api-gateway", &stored, None), Vec::new());
    assert_eq!(rows(&target, "eva-os").unwrap(), Vec::<Value>::new());
    assert_ne!(digest(&stored[0]), digest(&stored[1]));
    assert!(copy(&dir.path().join("none.db"), &target).is_err());
}

#[test]
fn an_append_only_table_accepts_the_next_entry_and_nothing_else() {
    assert_eq!(
        accepted("WITHOUT ROWID", &[NO_UPDATE, NO_DELETE, IN_ORDER]),
        [CONTROL]
    );
}

#[test]
fn a_table_without_triggers_accepts_nearly_everything() {
    let names = accepted("", &[]);
    // All but an INSERT that breaks the primary key, which none of them is.
    assert_eq!(names.len(), 11, "{names:?}");
}

#[test]
fn without_the_insert_trigger_replace_slips_past_the_other_two() {
    let names = accepted("WITHOUT ROWID", &[NO_UPDATE, NO_DELETE]);
    assert!(
        names.contains(&"INSERT OR REPLACE of the last entry".to_owned()),
        "{names:?}"
    );
    assert!(
        names.contains(&"INSERT that leaves a gap".to_owned()),
        "{names:?}"
    );
    assert!(
        !names.contains(&"DELETE of the last entry".to_owned()),
        "{names:?}"
    );
}

#[test]
fn with_rowids_the_next_entry_can_replace_an_earlier_one() {
    let names = accepted("", &[NO_UPDATE, NO_DELETE, IN_ORDER]);
    assert_eq!(
        names,
        ["INSERT OR REPLACE over another row's rowid", CONTROL]
    );
}
