use serde_json::{Value, json};

use super::{Evidence, Sent, judge};
use crate::checks::by_hand;

fn sent(path: &str, status: u16, took_us: u64, answer: Value) -> Sent {
    serde_json::from_value(json!({
        "service": "api-gateway", "method": "POST", "path": path, "actor": "op-1",
        "role": "operator", "id": "cor_1", "invoked_us": 1, "returned_us": 1 + took_us,
        "status": status, "answer": answer,
    }))
    .unwrap()
}

fn create(id: &str) -> Sent {
    sent("/v3/sessions", 201, 9_000, json!({"session_id": id}))
}

fn good() -> Evidence {
    let refused = json!({"error": {"code": "TOO_MANY_SESSIONS"}});
    Evidence {
        created: vec![
            create("a"),
            create("b"),
            sent("/v3/sessions", 429, 1_000, refused),
        ],
        read: vec![
            sent("/v3/sessions/a", 200, 1, json!({})),
            sent("/v3/sessions/b", 200, 1, json!({})),
        ],
        status: Some(sent(
            "/status",
            200,
            1,
            json!({"restore": [{"stage": "sessions", "rows": 2}]}),
        )),
        kills: 1,
    }
}

/// Words of the violation, and what makes good evidence bad.
type Case = (&'static str, fn(&mut Evidence));

#[test]
fn a_storm_that_keeps_what_it_acknowledged_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("acknowledged", 2), ("creates", 3), ("kills", 1)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_lost_write_a_fault_a_slow_or_missing_answer_and_a_double_id_are_violations() {
    let cases: [Case; 7] = [
        ("got 404, expected 200", |seen| seen.read[1].status = 404),
        ("500", |seen| seen.created[2].status = 500),
        ("no answer", |seen| {
            seen.created[2].status = 0;
            seen.created[2].error = Some("none within 10000 ms".to_owned());
        }),
        ("p99", |seen| seen.created[0].returned_us = Some(9_000_000)),
        ("p99", |seen| seen.created[2].returned_us = None),
        ("a second time", |seen| seen.created[1] = create("a")),
        ("expected [2]", |seen| {
            seen.status.as_mut().unwrap().answer["restore"][0]["rows"] = json!(1)
        }),
    ];
    for (words, change) in cases {
        by_hand::violated(judge, good(), change, words);
    }
}

#[test]
fn an_acknowledged_session_that_nobody_read_is_undecided() {
    let mut seen = good();
    drop(seen.read.pop());
    assert_eq!(judge(&seen).undecided.len(), 1);
}
