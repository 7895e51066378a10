use serde_json::{Value, json};

use super::{Evidence, FLAPPING, Taken, judge};
use crate::checks::by_hand;

fn taken(marker: &str, status: u16, answer: Value, (runs, kept): (u64, u64)) -> Taken {
    let turn = serde_json::from_value(json!({
        "service": "api-gateway", "method": "POST", "path": "/v3/turn", "actor": "op-1",
        "role": "operator", "id": marker, "invoked_us": 1, "returned_us": 2,
        "status": status, "answer": answer,
    }))
    .unwrap();
    let marker = marker.to_owned();
    Taken {
        marker,
        turn,
        runs,
        kept,
    }
}

fn tool(status: &str, code: Option<&str>) -> Value {
    json!({"tool_calls": [{"status": status, "error": {"code": code}}]})
}

fn good() -> Evidence {
    let down = json!({"error": {"code": "MODEL_UNAVAILABLE"}});
    let breaker = |name: &str| {
        serde_json::from_value(json!({
            "dependency": name, "state": "closed", "failures": 0, "successes": 0,
            "transitions": 3, "retry_after_ms": 0, "reason": null,
        }))
        .unwrap()
    };
    let changes = [
        ("breaker.opened", "closed"),
        ("breaker.half_opened", "open"),
        ("breaker.closed", "half_open"),
    ];
    let mut events = Vec::new();
    for name in FLAPPING {
        for (kind, from) in changes {
            let data = json!({"dependency": name, "from": from});
            let event = json!({
                "seq": events.len(), "type": kind, "ts": "", "correlation_id": "brk_1",
                "data": data,
            });
            events.push(serde_json::from_value(event).unwrap());
        }
    }
    Evidence {
        flaps: FLAPPING.map(|name| (name.to_owned(), 1)).into(),
        turns: vec![
            taken("t-0", 200, tool("executed", None), (1, 1)),
            taken("t-1", 200, tool("failed", Some("TOOL_UNAVAILABLE")), (0, 1)),
            taken("t-2", 200, tool("failed", Some("OUTCOME_UNKNOWN")), (1, 1)),
            taken("t-3", 503, down, (0, 0)),
        ],
        breakers: FLAPPING.map(breaker).into(),
        events,
        waited_ms: 500,
        looks: 30,
        pids: vec![Some(7), Some(7)],
    }
}

#[test]
fn flaps_that_do_no_harm_are_no_violation_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("flaps", 1), ("openings", 1), ("turns", 4)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

/// Words of the violation, and what makes good evidence bad.
type Case = (&'static str, fn(&mut Evidence));

#[test]
fn double_runs_lies_a_breaker_that_stays_open_and_events_too_many_are_violations() {
    let cases: [Case; 14] = [
        ("got 2 runs of its tool", |seen| seen.turns[2].runs = 2),
        ("got 2 memories", |seen| seen.turns[0].kept = 2),
        ("got 0 memories, expected 1", |seen| seen.turns[1].kept = 0),
        ("that was executed, expected 1", |seen| {
            seen.turns[0].runs = 0
        }),
        ("that was not reached, expected 0", |seen| {
            seen.turns[1].runs = 1
        }),
        ("expected none without a model", |seen| {
            seen.turns[3].runs = 1
        }),
        ("got no answer", |seen| {
            seen.turns[3].turn.returned_us = None
        }),
        ("expected 200 or 503 MODEL_UNAVAILABLE", |seen| {
            seen.turns[3].turn.status = 500
        }),
        ("got the tool call", |seen| {
            seen.turns[1].turn.answer = tool("failed", Some("INTERNAL"));
        }),
        ("got Some(8), expected Some(7)", |seen| {
            seen.pids[1] = Some(8)
        }),
        ("got open, expected closed", |seen| {
            seen.breakers[0].state = "open".to_owned()
        }),
        ("got none of tools", |seen| drop(seen.breakers.remove(1))),
        (
            "got from \"closed\" to \"open\", expected a change from \"open\"",
            |seen| {
                let again = seen.events[0].clone();
                seen.events.insert(1, again);
            },
        ),
        ("got 2 up to \"half_open\"", |seen| {
            drop(seen.events.remove(2))
        }),
    ];
    for (words, change) in cases {
        by_hand::violated(judge, good(), change, words);
    }
}

#[test]
fn what_is_missing_after_a_few_looks_is_undecided() {
    let mut seen = good();
    seen.looks = 2;
    seen.turns[1].kept = 0;
    drop(seen.events.remove(2));
    seen.breakers[1].state = "open".to_owned();
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided.len(), 4, "{:?}", judgement.undecided);
}
