use super::*;
use crate::checks::by_hand;
use crate::checks::voice::talk::By;
use serde_json::Value;

fn line(at_us: u64, by: By, kind: &str, id: &str, payload: &Value) -> Line {
    let frame = json!({"type": kind, "turn_id": id, "payload": payload});
    Line::text(at_us, by, &frame)
}

fn turn(id: usize, prefix: &str) -> Pushed {
    Pushed {
        id: format!("t-{id}"),
        text: format!("{prefix}-{id}"),
    }
}

fn sent(path: &str, answer: Value) -> Sent {
    let sent = by_hand::sent(GATEWAY, "GET", path, 200, answer);
    Sent {
        invoked_us: 40,
        returned_us: Some(41),
        ..sent
    }
}

fn answered(at_us: u64, turn: &Pushed) -> Line {
    let payload = json!({"assistant_text": format!("You said: {}", turn.text)});
    line(at_us, By::Target, "response.final", &turn.id, &payload)
}

/// Twenty-five behind one in flight, as the contract has it.
fn good() -> Evidence {
    let turns: Vec<_> = (0..26).map(|id| turn(id, "pushed")).collect();
    let others: Vec<_> = (0..2).map(|id| turn(id, "other")).collect();
    let made: Vec<_> = turns[..1].iter().chain(&turns[16..]).collect();
    let mut lines = Vec::new();
    for turn in &turns {
        let payload = json!({"text": turn.text});
        lines.push(line(10, By::Us, "input.text", &turn.id, &payload));
        lines.push(line(20, By::Target, "ack", &turn.id, &Value::Null));
    }
    let notice = json!({"reason": "queue_full"});
    let shed = |turn: &Pushed| line(30, By::Target, "backpressure.shed", &turn.id, &notice);
    lines.extend(turns[1..16].iter().map(shed));
    lines.extend(made.iter().map(|turn| answered(60, turn)));
    let asked = |turn: &&Pushed| Asked {
        session: "ses_a".to_owned(),
        text: turn.text.clone(),
    };
    Evidence {
        asked: made.iter().map(asked).collect(),
        session: "ses_a".to_owned(),
        lines,
        stalled: Some(sent("/status", json!({"queues": {"stream": 10}}))),
        other_lines: others.iter().map(|turn| answered(40, turn)).collect(),
        others,
        other: Some(sent("/v3/turn", json!({"ok": true}))),
        released_us: Some(50),
        turns,
    }
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn a_queue_that_sheds_its_oldest_passes() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    let counts = [
        ("pushed", 25),
        ("shed", 15),
        ("processed", 11),
        ("other_session_turns", 3),
    ];
    for (name, count) in counts {
        assert_eq!(judgement.exercised[name], count, "{name}");
    }
}

#[test]
fn notices_in_another_order_are_no_violation() {
    let mut seen = good();
    let notice = |line: &Line| line.is("backpressure.shed");
    let first = seen.lines.iter().position(notice).unwrap();
    let last = seen.lines.iter().rposition(notice).unwrap();
    seen.lines.swap(first, last);
    assert_eq!(judge(&seen).violations, Vec::<String>::new());
}

#[test]
fn nothing_at_all_is_undecided() {
    let judgement = judge(&Evidence::default());
    assert!(judgement.violations.is_empty() && !judgement.undecided.is_empty());
}

#[test]
fn every_violation_is_seen() {
    let newest = |seen: &mut Evidence| {
        for line in seen
            .lines
            .iter_mut()
            .filter(|line| line.is("backpressure.shed"))
        {
            let id: usize = line.turn_id.as_deref().unwrap()[2..].parse().unwrap();
            line.turn_id = Some(format!("t-{}", id + 10));
        }
    };
    violated(newest, "expected the oldest");
    violated(
        |seen| {
            let notice = |line: &Line| line.is("backpressure.shed");
            let first = seen.lines.iter().position(notice).unwrap();
            let again = seen.lines[first].clone();
            seen.lines.push(again);
        },
        "expected the oldest",
    );
    violated(
        |seen| seen.lines.retain(|line| !line.is("backpressure.shed")),
        "expected the oldest",
    );
    violated(
        |seen| {
            let last = seen.lines.len() - 1;
            seen.lines.swap(last, last - 1);
        },
        "expected the one in flight and the newest",
    );
    violated(|seen| seen.asked.swap(3, 4), "the model was asked");
    violated(
        |seen| {
            let again = seen.asked[2].clone();
            seen.asked.push(again);
        },
        "the model was asked",
    );
    violated(
        |seen| {
            let last = seen.lines.last_mut().unwrap();
            last.payload = json!({"assistant_text": "You said: something else"});
        },
        "expected an answer to",
    );
    violated(
        |seen| {
            let end = json!({"type": "closed", "payload": {"code": 1008}});
            seen.lines.push(Line::text(70, By::Target, &end));
        },
        "was closed",
    );
    violated(
        |seen| seen.stalled = Some(sent("/status", json!({"queues": {"stream": 9}}))),
        "got 9, expected 10",
    );
    violated(
        |seen| seen.other_lines[1].at_us = 55,
        "t-1 of another session",
    );
    violated(
        |seen| seen.other.as_mut().unwrap().returned_us = Some(55),
        "while the first was stalled",
    );
}
