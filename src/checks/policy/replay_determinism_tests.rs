use serde_json::Value;

use super::*;
use crate::chaos::envelopes::written;
use crate::checks::by_hand;

fn sent(path: &str, status: u16, answer: Value) -> Sent {
    by_hand::sent(GATEWAY, "POST", path, status, answer)
}

fn good() -> Evidence {
    let turn = |envelope: usize, reordered, kills| {
        let decision = json!({"class": "tool", "hash": format!("h{envelope}")});
        Turn {
            envelope,
            reordered,
            kills,
            sent: sent("/v3/turn", 200, json!({"decision": decision})),
        }
    };
    let mut turns = Vec::new();
    for kills in [0, 1] {
        for envelope in 0..3 {
            turns.extend([false, true].map(|reordered| turn(envelope, reordered, kills)));
        }
    }
    let look = |changed: &[&str]| Look {
        tables: 9,
        changed: changed
            .iter()
            .map(|name| ((*name).to_owned(), ("a".to_owned(), "b".to_owned())))
            .collect(),
    };
    let dry_run = |path: &str, leaves: &[&str]| DryRun {
        leaves: leaves.iter().map(|name| (*name).to_owned()).collect(),
        sent: sent(path, 200, json!({"ok": true})),
        before: look(&[]),
        after: look(leaves),
    };
    let control = |path: &str| Control {
        sent: sent(path, 200, json!({"ok": true})),
        calls: (3, 4),
    };
    Evidence {
        turns,
        dry_runs: vec![dry_run("/replay", &[]), dry_run("/plan", &REHEARSED)],
        controls: vec![control("/replay"), control("/plan")],
    }
}

#[test]
fn replays_that_are_decided_alike_and_dry_runs_that_leave_nothing_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("controls", 2),
        ("dry_runs", 2),
        ("kills", 1),
        ("other_envelopes", 2),
        ("reordered", 6),
        ("replays", 9),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

/// Words of the violation, and what makes good evidence bad.
type Case = (&'static str, fn(&mut Evidence));

#[test]
fn another_decision_the_same_hash_and_a_trace_of_a_dry_run_are_violations() {
    let cases: [Case; 9] = [
        ("got 503, expected 200", |seen| {
            seen.turns[3].sent.status = 503
        }),
        ("expected a class and a hash", |seen| {
            seen.turns[3].sent.answer = json!({"ok": true});
        }),
        ("after 1 KILLs", |seen| {
            seen.turns[6].sent.answer["decision"]["hash"] = json!("another");
        }),
        ("keys the other way round", |seen| {
            seen.turns[1].sent.answer["decision"]["hash"] = json!("another");
        }),
        ("(\"answer\", \"h1\")", |seen| {
            seen.turns[8].sent.answer["decision"]["class"] = json!("answer");
        }),
        ("envelopes 0 and 2: got the hash h0 for both", |seen| {
            for turn in seen.turns.iter_mut().filter(|turn| turn.envelope == 2) {
                turn.sent.answer["decision"]["hash"] = json!("h0");
            }
        }),
        ("got 500, expected 2xx", |seen| {
            seen.dry_runs[0].sent.status = 500
        }),
        ("got calls of tools changed", |seen| {
            let calls = ("3 calls".to_owned(), "4 calls".to_owned());
            seen.dry_runs[1]
                .after
                .changed
                .insert("calls of tools".to_owned(), calls);
        }),
        ("got api-gateway.audit_log changed", |seen| {
            let rows = ("a".to_owned(), "b".to_owned());
            seen.dry_runs[0]
                .after
                .changed
                .insert("api-gateway.audit_log".to_owned(), rows);
        }),
    ];
    for (words, spoil) in cases {
        let mut seen = good();
        spoil(&mut seen);
        let found = judge(&seen).violations;
        assert!(
            found.len() == 1 && found[0].contains(words),
            "{words}: {found:?}"
        );
    }
}

#[test]
fn what_changes_by_itself_or_is_never_done_counts_for_nothing() {
    let mut seen = good();
    let rows = ("a".to_owned(), "b".to_owned());
    seen.dry_runs[0]
        .before
        .changed
        .insert("x".to_owned(), rows.clone());
    seen.dry_runs[0].after.changed.insert("x".to_owned(), rows);
    seen.controls[0].calls = (3, 3);
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(
        [
            judgement.exercised["dry_runs"],
            judgement.exercised["controls"]
        ],
        [1, 1]
    );
}

#[test]
fn a_body_is_written_in_both_orders_and_stays_the_same() {
    let body = json!({"a": [1, {"x": "y:", "z": null}], "b": {"c": 1.5, "d": "\"q\""}});
    let [straight, reversed] = [false, true].map(|reversed| written(&body, reversed));
    assert_eq!(straight, body.to_string());
    assert_ne!(straight, reversed);
    for text in [&straight, &reversed] {
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), body);
    }
}
