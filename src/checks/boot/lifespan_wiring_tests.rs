use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Evidence, Sent, judge};

fn sent(path: &str, status: u16, answer: Value, at_us: u64) -> Sent {
    serde_json::from_value(json!({
        "service": "api-gateway", "method": "GET", "path": path, "actor": "op-1",
        "role": "operator", "id": "cor_1", "invoked_us": at_us, "returned_us": at_us + 1,
        "status": status, "answer": answer,
    }))
    .unwrap()
}

const PATHS: [&str; 3] = [
    "/v3/sessions/ses_1",
    "/v3/confirmations/pending",
    "/tasks/tsk_1",
];

fn there(at_us: u64) -> Vec<Sent> {
    let answers = [
        json!({"session_id": "ses_1", "correlation_id": format!("cor_{at_us}")}),
        json!({"confirmations": [{"confirmation_id": "cnf_1", "remaining_seconds": at_us}]}),
        json!({"task_id": "tsk_1"}),
    ];
    let pairs = PATHS.into_iter().zip(answers);
    pairs
        .map(|(path, answer)| sent(path, 200, answer, at_us))
        .collect()
}

fn probe(path: &str) -> Sent {
    sent(path, 503, json!({"error": {"code": "STARTING"}}), 10)
}

fn good() -> Evidence {
    let rows = ["sessions", "confirmations", "tasks"].map(|name| (name.to_owned(), 1));
    let stages: Vec<Value> = rows
        .iter()
        .map(|(name, rows)| json!({"stage": name, "rows": rows}))
        .collect();
    let unanswered = Sent {
        returned_us: None,
        error: Some("connection refused".to_owned()),
        ..sent(PATHS[0], 0, Value::Null, 10)
    };
    Evidence {
        before: there(1),
        probes: vec![
            probe(PATHS[0]),
            probe(PATHS[1]),
            probe(PATHS[2]),
            unanswered,
        ],
        released_us: Some(20),
        after: there(30),
        status: Some(sent("/status", 200, json!({"restore": stages}), 40)),
        rows: BTreeMap::from(rows),
    }
}

/// The violations of good evidence that `change` made bad.
fn violations(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut seen = good();
    change(&mut seen);
    judge(&seen).violations
}

#[test]
fn starting_first_and_right_afterwards_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("probes_while_starting", 2), ("restored_managers", 3)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn an_answer_from_empty_state_is_a_violation() {
    let code = json!({"error": {"code": "SESSION_NOT_FOUND"}});
    let got = violations(|seen| seen.probes[0] = sent(PATHS[0], 404, code, 10));
    let text = "while the database was held GET /v3/sessions/ses_1 of api-gateway (cor_1): 404 \
                SESSION_NOT_FOUND: got 404";
    assert!(got[0].starts_with(text), "{got:?}");
    let empty = json!({"confirmations": []});
    let got = violations(|seen| seen.probes[1] = sent(PATHS[1], 200, empty, 10));
    assert_eq!(got.len(), 1);
    // What is answered after the release may be true.
    let late = there(21).remove(0);
    assert_eq!(violations(|seen| seen.probes[0] = late), [""; 0]);
}

#[test]
fn a_manager_without_what_the_database_holds_is_a_violation() {
    let got = violations(|seen| seen.after[1].answer["confirmations"] = json!([]));
    let text = "once ready GET /v3/confirmations/pending of api-gateway (cor_1): 200: got 200 null, \
                expected 200 [\"cnf_1\"]";
    assert_eq!(got, [text]);
    let gone = sent(PATHS[0], 404, json!({}), 30);
    assert_eq!(violations(|seen| seen.after[0] = gone).len(), 1);
}

#[test]
fn a_restore_that_counts_otherwise_is_a_violation() {
    let got = violations(|seen| {
        seen.rows.insert("tasks".to_owned(), 2);
    });
    assert_eq!(
        got,
        ["rows of tasks in the restore: got [Number(1)], expected [2]"]
    );
}

#[test]
fn what_was_not_there_before_and_what_was_not_asked_decide_nothing() {
    let mut seen = good();
    seen.before[2] = sent(PATHS[2], 404, json!({}), 1);
    let judgement = judge(&seen);
    assert_eq!(judgement.exercised["restored_managers"], 2);
    assert_eq!(judgement.undecided.len(), 1);
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.exercised.values().sum::<u64>(), 0);
    assert_eq!(judgement.undecided.len(), 1);
}
