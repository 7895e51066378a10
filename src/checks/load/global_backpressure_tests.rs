use serde_json::Value;

use super::*;
use crate::checks::by_hand;
use crate::checks::voice::talk::By;

fn sent(status: u16, answer: Value) -> Sent {
    by_hand::sent(GATEWAY, "GET", "/status", status, answer)
}

fn depths(stream: u64, model: u64, tool: u64) -> Sent {
    let queues = json!({"stream": stream, "model": model, "tool": tool});
    sent(200, json!({"queues": queues}))
}

fn heard(kind: &str, id: &str) -> Line {
    let frame = json!({"type": kind, "turn_id": id, "payload": {}});
    Line::text(1, By::Target, &frame)
}

/// Three of each under a cap of six: the first of each made room.
fn good() -> Evidence {
    let mut seen = Evidence {
        drained: true,
        statuses: vec![depths(1, 1, 1), depths(2, 2, 2), depths(0, 0, 0)],
        lines: vec![
            heard("backpressure.shed", "t-1"),
            heard("response.final", "t-2"),
            heard("response.final", "t-3"),
        ],
        ..Evidence::default()
    };
    for number in 1..=3 {
        for kind in ["c", "e", "t"] {
            let id = format!("{kind}-{number}");
            seen.offered.push(id.clone());
            let error = json!({"ok": false, "error": {"code": "BACKPRESSURE_SHED"}});
            let answer = if number == 1 {
                sent(503, error)
            } else {
                sent(200, json!({"ok": true}))
            };
            if kind != "t" {
                seen.answers.push((id, answer));
            }
        }
    }
    seen
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn queues_under_one_cap_pass() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    for (name, count) in [("queues", 3), ("shed", 1), ("refused", 2)] {
        assert_eq!(judgement.exercised[name], count, "{name}");
    }
}

#[test]
fn nothing_at_all_is_undecided() {
    let judgement = judge(&Evidence::default());
    assert!(judgement.violations.is_empty() && !judgement.undecided.is_empty());
}

#[test]
fn every_violation_is_seen() {
    violated(
        |seen| seen.statuses.insert(0, depths(3, 2, 2)),
        "got 7 waiting, expected at most 6",
    );
    violated(
        |seen| seen.statuses.push(depths(0, 1, 0)),
        "got 1 waiting, expected 0",
    );
    // The newest instead of the oldest, one that is dropped in silence, one that is told twice.
    violated(
        |seen| {
            let (oldest, newest) = (seen.answers[0].1.clone(), seen.answers[4].1.clone());
            seen.answers[0].1 = newest;
            seen.answers[4].1 = oldest;
        },
        "c-1, number 0 that waited",
    );
    violated(
        |seen| drop(seen.lines.remove(0)),
        "t-1, number 2 that waited: got []",
    );
    violated(
        |seen| seen.lines.push(heard("response.final", "t-1")),
        "t-1, number 2 that waited",
    );
    violated(
        |seen| seen.answers[2].1.status = 500,
        "c-2, number 3 that waited",
    );
}
