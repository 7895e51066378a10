use serde_json::{Value, json};

use super::{Call, Evidence, Written, judge};
use crate::checks::Sent;

fn call(at_us: u64, answered: bool) -> Call {
    Call {
        at_us,
        key: Some("out_1".to_owned()),
        body: json!({"content": "first"}),
        committed_us: Some(at_us + 1),
        answered_us: answered.then_some(at_us + 2),
    }
}

fn written(marker: &str, calls: Vec<Call>) -> Written {
    let turn: Sent = serde_json::from_value(json!({
        "service": "api-gateway", "method": "POST", "path": "/v3/turn", "actor": "op-1",
        "role": "operator", "id": "cor_1", "invoked_us": 1, "returned_us": 2, "status": 200,
    }))
    .unwrap();
    Written {
        marker: marker.to_owned(),
        turn,
        calls,
        effects: 1,
    }
}

fn good() -> Evidence {
    let cut = [10, 20, 30, 40].map(|at| call(at, false));
    let calls = [cut.to_vec(), vec![call(50, true)]].concat();
    Evidence {
        first: Some(written("first", calls)),
        later: ["second", "third"]
            .map(|marker| written(marker, vec![call(60, true)]))
            .to_vec(),
        kills_us: vec![25, 100],
    }
}

/// The violations of good evidence that `change` made bad.
fn violations(change: impl FnOnce(&mut Written)) -> Vec<String> {
    let mut seen = good();
    change(seen.first.as_mut().unwrap());
    judge(&seen).violations
}

#[test]
fn one_key_and_one_effect_are_no_violation_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("cut_replies", 4), ("kills", 2), ("repeats", 4)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn another_key_no_key_and_another_body_are_violations() {
    let got = violations(|first| first.calls[2].key = Some("out_2".to_owned()));
    let text = "keys of 5 calls: got {Some(\"out_1\"), Some(\"out_2\")}, expected one";
    assert_eq!(got, [text]);
    assert_eq!(
        violations(|first| first.calls.iter_mut().for_each(|call| call.key = None)).len(),
        1
    );
    assert_eq!(
        violations(|first| first.calls[1].body = Value::Null).len(),
        1
    );
}

#[test]
fn a_second_effect_is_a_violation() {
    assert_eq!(
        violations(|first| first.effects = 2),
        ["effects: got 2, expected 1"]
    );
}

#[test]
fn a_delivery_that_is_forgotten_is_a_violation() {
    let got = violations(|first| first.calls.push(call(3_000_052, true)));
    let text = "a call 3000 ms after the reply, 2 KILLs before it: got one, expected none";
    assert_eq!(got, [text]);
}

#[test]
fn without_a_reply_and_without_later_turns_nothing_is_decided() {
    let mut seen = good();
    seen.first.as_mut().unwrap().calls.truncate(4);
    seen.later[1].calls.clear();
    assert_eq!(judge(&seen).undecided.len(), 1);
    seen.later.clear();
    assert_eq!(judge(&Evidence::default()).undecided.len(), 1);
}
