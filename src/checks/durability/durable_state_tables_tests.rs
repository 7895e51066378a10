use serde_json::{Value, json};

use super::{Evidence, Sent, judge};

fn sent(body: Value, answer: Value) -> Sent {
    serde_json::from_value(json!({
        "service": "api-gateway", "method": "POST", "path": "/v3/x", "actor": "op-1",
        "role": "operator", "id": "cor_1", "invoked_us": 1, "returned_us": 2,
        "body": body, "status": 200, "answer": answer,
    }))
    .unwrap()
}

fn turn(id: &str, text: &str, call: Value) -> Sent {
    let answer = json!({"turn_id": id, "session_id": "ses_1", "tool_calls": [call]});
    sent(json!({"input_text": text}), answer)
}

fn good() -> Evidence {
    let args = json!({"path": "m"});
    let outbox = |id: &str, text: &str| {
        json!({
            "turn_id": id, "session_id": "ses_1", "state": "pending", "correlation_id": "cor_1",
            "body": json!({"content": format!("user: {text}")}).to_string(),
        })
    };
    let body = json!({"user_id": "u-1", "conversation_id": "c-1", "metadata": {"a": 1}});
    let rows = [
        (
            "sessions",
            vec![json!({
                "id": "ses_1", "user_id": "u-1", "conversation_id": "c-1", "state": "active",
                "metadata": "{\"a\":1}", "turn_count": 2, "created_at_us": 5,
                "expires_at_us": 1_800_000_005,
            })],
        ),
        (
            "decisions",
            vec![json!({
                "id": "cnf_1", "kind": "confirmation", "session_id": "ses_1", "fence": 1,
                "tool_name": "file.write", "args": args.to_string(), "state": "pending",
                "decided_by": null,
            })],
        ),
        (
            "dead_letters",
            vec![json!({
                "operation_id": "op_1", "source": "turn", "source_id": "trn_2", "state": "open",
                "session_id": "ses_1", "tool_name": "file.read", "args": args.to_string(),
                "code": "TOOL_FAILED", "replay_generation": 0, "correlation_id": "cor_1",
            })],
        ),
        (
            "outbox",
            vec![outbox("trn_1", "guarded:m"), outbox("trn_2", "read:m")],
        ),
    ];
    let guarded = json!({"args": args, "confirmation_id": "cnf_1", "fence_token": 1});
    let failed = json!({
        "tool_name": "file.read", "args": args, "operation_id": "op_1",
        "error": {"code": "TOOL_FAILED"},
    });
    Evidence {
        session: Some(sent(body, json!({"session_id": "ses_1"}))),
        guarded: Some(turn("trn_1", "guarded:m", guarded)),
        failing: Some(turn("trn_2", "read:m", failed)),
        rows: rows
            .into_iter()
            .map(|(table, rows)| (table.to_owned(), rows))
            .collect(),
    }
}

/// The violations of good evidence with another value in one row.
fn changed(table: &str, field: &str, value: Value) -> Vec<String> {
    let mut seen = good();
    seen.rows.get_mut(table).unwrap()[0][field] = value;
    judge(&seen).violations
}

#[test]
fn rows_that_say_what_the_answers_said_are_no_violation_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("confirmations", 1),
        ("dead_letters", 1),
        ("outbox_entries", 2),
        ("sessions", 1),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_table_that_was_never_written_is_a_violation() {
    for (table, rows) in [
        ("sessions", 1),
        ("decisions", 1),
        ("dead_letters", 1),
        ("outbox", 2),
    ] {
        let mut seen = good();
        seen.rows.get_mut(table).unwrap().clear();
        assert_eq!(judge(&seen).violations.len(), rows, "{table}");
    }
}

#[test]
fn every_field_that_differs_is_a_violation() {
    for (table, field, value) in [
        ("sessions", "user_id", json!("u-2")),
        ("sessions", "metadata", json!("{}")),
        ("sessions", "turn_count", json!(0)),
        ("sessions", "expires_at_us", json!(6)),
        ("decisions", "kind", json!("action")),
        ("decisions", "args", json!("{}")),
        ("decisions", "fence", json!(2)),
        ("decisions", "state", json!("approved")),
        ("dead_letters", "source_id", json!("trn_9")),
        ("dead_letters", "code", Value::Null),
        ("dead_letters", "correlation_id", json!("cor_9")),
        ("outbox", "state", json!("delivered")),
        ("outbox", "body", json!("{\"content\": \"something else\"}")),
    ] {
        assert_eq!(changed(table, field, value).len(), 1, "{table}.{field}");
    }
    let text = "decisions \"cnf_1\": got fence 2, expected 1";
    assert_eq!(changed("decisions", "fence", json!(2)), [text]);
}

#[test]
fn an_answer_that_names_nothing_decides_nothing() {
    let mut seen = good();
    seen.guarded.as_mut().unwrap().answer["tool_calls"] = json!([]);
    let judgement = judge(&seen);
    assert_eq!(judgement.exercised["confirmations"], 0);
    assert_eq!(judgement.undecided.len(), 1);
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.exercised.values().sum::<u64>(), 0);
}
