use serde_json::{Value, json};

use super::{Evidence, Fate, Sent, judge};
use crate::checks::durability::standing;

fn list(invoked_us: u64, left_s: f64, ids: &[&str]) -> Sent {
    let row = |id: &&str| {
        json!({
            "confirmation_id": id, "session_id": "ses_1", "tool_name": "file.write",
            "args": {"path": id, "text": id}, "fence_token": 7, "remaining_seconds": left_s,
        })
    };
    let rows: Vec<Value> = ids.iter().map(row).collect();
    standing::tests::sent(invoked_us, 200, json!({"confirmations": rows}))
}

fn good() -> Evidence {
    let stage = json!({"stage": "confirmations", "rows": 2, "duration_ms": 0.1});
    Evidence {
        standing: vec![
            standing::tests::story("cnf_1", Fate::Open),
            standing::tests::story("cnf_2", Fate::OpenToDeny),
            standing::tests::story("cnf_3", Fate::Approved),
            standing::tests::story("cnf_4", Fate::Denied),
            standing::tests::story("cnf_5", Fate::Expired),
        ],
        before: Some(list(1_000_000, 60.0, &["cnf_1", "cnf_2"])),
        after: Some(list(2_000_000, 59.0, &["cnf_1", "cnf_2"])),
        status: Some(standing::tests::sent(3, 200, json!({"restore": [stage]}))),
        kills: 1,
    }
}

fn violations(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut seen = good();
    change(&mut seen);
    judge(&seen).violations
}

fn row(list: &mut Option<Sent>) -> &mut Value {
    &mut list.as_mut().unwrap().answer["confirmations"][0]
}

#[test]
fn what_came_back_as_it_was_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("decided", 2), ("expired", 1), ("kills", 1), ("pending", 2)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_deadline_that_moved_is_a_violation_and_a_busy_clock_is_not() {
    for (left_s, violated) in [(59.1, false), (58.9, false), (60.0, true), (58.0, true)] {
        let found = violations(|seen| row(&mut seen.after)["remaining_seconds"] = json!(left_s));
        assert_eq!(!found.is_empty(), violated, "{left_s}: {found:?}");
    }
    let found = violations(|seen| row(&mut seen.after)["remaining_seconds"] = json!(null));
    assert!(found[0].contains("got none"), "{found:?}");
}

#[test]
fn a_changed_or_missing_or_surplus_row_is_a_violation() {
    for (field, value) in [
        ("tool_name", json!("shell.run")),
        ("args", json!({})),
        ("fence_token", json!(8)),
    ] {
        let found = violations(|seen| row(&mut seen.after)[field] = value);
        assert!(found.len() == 1 && found[0].contains(field), "{found:?}");
    }
    let found = violations(|seen| seen.after = Some(list(2_000_000, 59.0, &["cnf_1"])));
    assert!(
        found.len() == 1 && found[0].contains("expected"),
        "{found:?}"
    );
    let ids = ["cnf_1", "cnf_2", "cnf_3"];
    let found = violations(|seen| seen.after = Some(list(2_000_000, 59.0, &ids)));
    assert!(found.len() == 1 && found[0].contains("cnf_3"), "{found:?}");
    let found = violations(|seen| {
        seen.status.as_mut().unwrap().answer["restore"][0]["rows"] = json!(5);
    });
    assert!(
        found.len() == 1 && found[0].contains("expected [2]"),
        "{found:?}"
    );
}

#[test]
fn a_list_that_cannot_be_read_is_undecided() {
    let mut seen = good();
    seen.after = None;
    assert_eq!(judge(&seen).undecided.len(), 1);
}
