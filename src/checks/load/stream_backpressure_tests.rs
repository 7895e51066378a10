use serde_json::Value;

use super::*;
use crate::checks::by_hand;

fn line(at_us: u64, by: By, kind: &str, id: Option<&str>, payload: &Value) -> Line {
    let frame = json!({"type": kind, "turn_id": id, "payload": payload});
    Line::text(at_us, by, &frame)
}

fn sent(answer: Value) -> Sent {
    by_hand::sent(GATEWAY, "GET", "/v3/latency", 200, answer)
}

fn stages(count: u64) -> Option<Sent> {
    let stage = json!({"count": count});
    Some(sent(json!({"stages": {"model": stage, "total": stage}})))
}

/// Fifty behind one in flight: forty shed, eleven made.
fn good() -> Evidence {
    let turn = |id| Pushed {
        id: format!("t-{id}"),
        text: format!("flood-{id}"),
    };
    let turns: Vec<_> = (0..51).map(turn).collect();
    let mut lines = Vec::new();
    for turn in &turns {
        let text = json!({"text": turn.text});
        lines.push(line(10, By::Us, "input.text", Some(&turn.id), &text));
    }
    let ping = json!({"of": "control.ping"});
    lines.push(line(20, By::Us, "control.ping", None, &json!({})));
    lines.push(line(30, By::Target, "ack", None, &ping));
    for (number, turn) in turns.iter().enumerate() {
        let shed = (1..=40).contains(&number);
        let kind = if shed {
            "backpressure.shed"
        } else {
            "response.final"
        };
        lines.push(line(40, By::Target, kind, Some(&turn.id), &json!({})));
    }
    Evidence {
        turns,
        lines,
        before: stages(3),
        released_us: Some(35),
        status: Some(sent(json!({"queues": {"stream": 0}}))),
        after: stages(14),
    }
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn a_stream_that_sheds_and_drains_passes() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert!(judgement.undecided.is_empty());
    for (name, count) in [("flooded", 50), ("shed_notices", 40), ("pings", 1)] {
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
    let closed = line(50, By::Target, "closed", None, &json!({"code": 1008}));
    violated(|seen| seen.lines.push(closed), "was closed");
    violated(
        |seen| seen.lines[52].at_us = 1_100_000,
        "answered after 1099 ms",
    );
    violated(|seen| drop(seen.lines.remove(52)), "a ping had no answer");
    // A notice that is missing, an answer to what was shed, and an end of what nobody asked for.
    violated(|seen| drop(seen.lines.remove(60)), "t-7: got []");
    violated(
        |seen| {
            let late = line(60, By::Target, "response.final", Some("t-7"), &json!({}));
            seen.lines.push(late);
        },
        "t-7: got",
    );
    violated(
        |seen| {
            let other = line(
                60,
                By::Target,
                "backpressure.shed",
                Some("t-99"),
                &json!({}),
            );
            seen.lines.push(other);
        },
        "nobody asked for",
    );
    violated(
        |seen| seen.status = Some(sent(json!({"queues": {"stream": 10}}))),
        "got 10, expected 0",
    );
    violated(
        |seen| seen.after = stages(13),
        "got 13 samples, expected 14",
    );
    violated(
        |seen| seen.after = Some(sent(json!({}))),
        "expected a count each",
    );
}
