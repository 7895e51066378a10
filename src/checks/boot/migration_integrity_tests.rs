use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Evidence, Newer, Older, Ran, Round, Sent, Shape, judge};
use crate::checks::by_hand;

fn sent(path: &str, status: u16, answer: Value) -> Sent {
    by_hand::sent("api-gateway", "GET", path, status, answer)
}

fn shape(version: i64, tables: &[(&str, &str)]) -> Shape {
    let tables = tables
        .iter()
        .map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned()));
    Shape {
        version,
        tables: tables.collect(),
    }
}

fn older(name: &str, table: &str, row: Value) -> Older {
    let mut now = row.clone();
    now["profile"] = json!("default");
    Older {
        name: name.to_owned(),
        versions: vec![6, 9, 9],
        before: BTreeMap::from([(table.to_owned(), vec![row])]),
        after: BTreeMap::from([(table.to_owned(), vec![now, json!({"id": "new"})])]),
    }
}

fn good() -> Evidence {
    let whole = [("tasks", "a"), ("idempotency_keys", "b")];
    let at = |version| vec![shape(version, &whole); 2];
    let back = vec![shape(8, &whole[..1]); 2];
    let decision = json!({"id": "cnf_1", "state": "pending"});
    let task = json!({"id": "tsk_1", "deleted_at_us": null});
    Evidence {
        older: vec![
            older("api-gateway", "decisions", decision),
            older("eva-os", "tasks", task),
        ],
        killed_at: vec![6, 9],
        served: vec![
            sent("/v3/sessions/ses_1", 200, json!({})),
            sent(
                "/v3/confirmations/pending",
                200,
                json!({"confirmations": [{}]}),
            ),
            sent("/tasks", 200, json!({"tasks": [{}]})),
        ],
        written: vec![
            sent("/v3/sessions", 201, json!({"session_id": "ses_2"})),
            sent("/tasks", 201, json!({"task_id": "tsk_2"})),
        ],
        read: vec![
            sent("/v3/sessions/ses_2", 200, json!({})),
            sent("/tasks/tsk_2", 200, json!({})),
        ],
        listed: Some(sent(
            "/tasks",
            200,
            json!({"tasks": [{"task_id": "tsk_2"}]}),
        )),
        newer: Some(Newer {
            before: shape(1009, &whole),
            after: shape(1009, &whole),
            refused: Some("exited".to_owned()),
            exited: true,
        }),
        round: Some(Round {
            command: Ran {
                code: Some(0),
                ..Ran::default()
            },
            shapes: [at(9), back, at(9)],
        }),
    }
}

/// The violations of good evidence that `change` made bad.
fn violations(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut seen = good();
    change(&mut seen);
    judge(&seen).violations
}

#[test]
fn rows_that_stay_are_no_violation_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("kills_in_migration", 1),
        ("older_databases", 2),
        ("refused_newer", 1),
        ("round_trips", 1),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_row_that_is_gone_or_changed_is_a_violation() {
    let got = violations(|seen| seen.older[1].after.clear());
    let text = "eva-os.tasks: got no such row, expected {\"deleted_at_us\":null,\"id\":\"tsk_1\"}";
    assert_eq!(got, [text]);
    let changed = |seen: &mut Evidence| {
        seen.older[0].after.get_mut("decisions").unwrap()[0]["state"] = json!("approved");
    };
    assert_eq!(violations(changed).len(), 1);
}

#[test]
fn a_number_that_stays_or_rises_twice_is_a_violation() {
    for versions in [[6, 6, 6], [6, 9, 10], [6, 5, 5]] {
        let got = violations(|seen| seen.older[0].versions = versions.to_vec());
        assert_eq!(got.len(), 1, "{versions:?}");
    }
}

#[test]
fn data_that_is_not_served_and_writes_that_do_not_stay_are_violations() {
    assert_eq!(violations(|seen| seen.served[0].status = 503).len(), 1);
    let got = violations(|seen| seen.served[2].answer = json!({"tasks": []}));
    assert_eq!(
        got,
        ["tasks of the older release: got 0 listed, expected 1"]
    );
    assert_eq!(violations(|seen| seen.written[0].status = 500).len(), 1);
    assert_eq!(violations(|seen| seen.read[0].status = 404).len(), 1);
    // An answer that never changes knows nothing of what was written since.
    let stale = |seen: &mut Evidence| {
        seen.listed.as_mut().unwrap().answer = json!({"tasks": [{"task_id": "tsk_1"}]});
    };
    assert_eq!(violations(stale).len(), 1);
}

#[test]
fn a_newer_database_that_is_opened_or_changed_is_a_violation() {
    let got = violations(|seen| seen.newer.as_mut().unwrap().refused = None);
    let text = "a database with number 1009: got it opened, expected it refused";
    assert_eq!(got, [text]);
    assert_eq!(
        violations(|seen| seen.newer.as_mut().unwrap().after.version = 9).len(),
        1
    );
}

#[test]
fn a_way_back_that_changes_anything_else_is_a_violation() {
    let digest = |seen: &mut Evidence, at: usize, table: &str| {
        let shape = &mut seen.round.as_mut().unwrap().shapes[at][1];
        shape.tables.insert(table.to_owned(), "z".to_owned());
    };
    let got = violations(|seen| digest(seen, 1, "tasks"));
    assert_eq!(
        got,
        ["eva-os.tasks at v4.6: got Some(\"z\"), expected Some(\"a\")"]
    );
    assert_eq!(violations(|seen| digest(seen, 2, "tasks")).len(), 1);
    assert_eq!(
        violations(|seen| digest(seen, 1, "idempotency_keys")).len(),
        1
    );
    // The step's own table may come back empty.
    assert_eq!(
        violations(|seen| digest(seen, 2, "idempotency_keys")),
        [""; 0]
    );
    let version = |seen: &mut Evidence| seen.round.as_mut().unwrap().shapes[1][0].version = 9;
    assert_eq!(violations(version).len(), 1);
    let fails = |seen: &mut Evidence| seen.round.as_mut().unwrap().command.code = Some(2);
    assert_eq!(violations(fails).len(), 1);
}

#[test]
fn a_kill_elsewhere_and_nothing_at_all_decide_nothing() {
    let mut seen = good();
    seen.killed_at = vec![9, 9];
    let judgement = judge(&seen);
    assert_eq!(judgement.exercised["kills_in_migration"], 0);
    assert_eq!(judgement.undecided.len(), 1);
    let mut seen = good();
    seen.older.iter_mut().for_each(|older| {
        older.versions.truncate(1);
        older.after.clear();
    });
    assert_eq!(judge(&seen).violations, [""; 0]);
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.exercised.values().sum::<u64>(), 0);
    assert_eq!(judgement.undecided.len(), 4);
}
