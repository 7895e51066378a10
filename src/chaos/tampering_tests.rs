use serde_json::Value;

use super::*;
use crate::base::Seed;
use crate::checks::audit::twin_chains;
use crate::contract::verify_entries;

fn chain(n: usize) -> Vec<Value> {
    twin_chains::chain("api-gateway", n, "op-1")
}

/// A database with this chain, and one with the reference's triggers.
fn database(entries: &[Value]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api-gateway.db");
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    let table = "CREATE TABLE audit_log (chain TEXT NOT NULL CHECK (chain = 'api-gateway'), \
        seq INTEGER NOT NULL, ts TEXT NOT NULL, service TEXT NOT NULL, actor_id TEXT NOT NULL, \
        actor_role TEXT NOT NULL, via TEXT, action TEXT NOT NULL, resource TEXT NOT NULL, \
        outcome TEXT NOT NULL CHECK (outcome IN ('ok')), correlation_id TEXT NOT NULL, \
        request_id TEXT NOT NULL, replay_generation INTEGER NOT NULL, causal_parent TEXT, \
        payload_sha256 TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL, \
        PRIMARY KEY (chain, seq)) STRICT, WITHOUT ROWID";
    db.execute_batch(table).unwrap();
    for entry in entries {
        db.execute_batch(&insert("INSERT", entry)).unwrap();
    }
    let trigger = "CREATE TRIGGER frozen BEFORE UPDATE ON audit_log \
        BEGIN SELECT RAISE(ABORT, 'append-only'); END";
    db.execute_batch(trigger).unwrap();
    (folder, path)
}

#[test]
fn every_attack_is_another_list_and_only_two_do_not_show_in_the_chain_itself() {
    let clean = chain(6);
    for attack in Attack::ALL {
        for at in 1..=3 {
            let after = attack.on(&clean, at);
            let differs = clean.iter().zip(&after).position(|(a, b)| a != b);
            let differs = differs.unwrap_or(clean.len().min(after.len()));
            assert_eq!(differs, attack.first(clean.len(), at), "{attack:?}");
            let shows = !verify_entries("api-gateway", &after, None).is_empty();
            let silent = matches!(attack, Attack::CutTail | Attack::RewriteSuffix);
            assert_eq!(shows, !silent, "{attack:?}");
        }
    }
}

#[test]
fn each_byte_of_each_field_is_changed_and_put_back_past_the_triggers() {
    let clean = chain(5);
    let (_folder, path) = database(&clean);
    let mut tampering = Tampering::open(&path).unwrap();
    let changes = byte_changes(&clean[2], &mut Seed(3).rng());
    let columns: std::collections::BTreeSet<_> = changes
        .iter()
        .map(|change| change.column.as_str())
        .collect();
    assert_eq!(columns.len(), 17);
    let texts = clean[2]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_str);
    assert_eq!(changes.len(), texts.map(str::len).sum::<usize>() + 16);
    for change in &changes {
        tampering.change(2, change).unwrap();
        assert_ne!(tampering.rows().unwrap(), clean, "{change:?}");
        tampering.put_back(2, change).unwrap();
        assert_eq!(tampering.rows().unwrap(), clean, "{change:?}");
    }
    assert!(tampering.change(9, &changes[0]).is_err());
}

#[test]
fn a_list_is_put_in_place_and_the_triggers_come_back() {
    let clean = chain(5);
    let (_folder, path) = database(&clean);
    let mut tampering = Tampering::open(&path).unwrap();
    for attack in Attack::ALL {
        let after = attack.on(&clean, 1);
        tampering.put(&after).unwrap();
        assert_eq!(tampering.rows().unwrap(), after);
    }
    tampering.put(&clean).unwrap();
    tampering.close().unwrap();
    assert_eq!(read_closed(&path).unwrap(), clean);
    let db = Connection::open(&path).unwrap();
    let refused = db.execute("UPDATE audit_log SET actor_id = 'mallory'", []);
    assert!(refused.unwrap_err().to_string().contains("append-only"));
}

#[test]
fn a_file_that_is_no_database_is_an_error_and_an_unfolded_one_is_folded() {
    let (folder, path) = database(&chain(2));
    let open = Connection::open(&path).unwrap();
    open.execute_batch("DROP TRIGGER frozen; DELETE FROM audit_log WHERE seq = 1")
        .unwrap();
    // The last connection to close would fold it.
    assert_eq!(read_closed(&path).unwrap_or_default().len(), 2);
    fold_closed(&path).unwrap();
    assert_eq!(read_closed(&path).unwrap().len(), 1);
    let text = folder.path().join("text");
    std::fs::write(&text, "x".repeat(5_000)).unwrap();
    assert!(read_closed(&text).is_err() && Tampering::open(&text).is_err());
}
