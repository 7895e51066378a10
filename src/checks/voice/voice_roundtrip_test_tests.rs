//! Conversations written by hand, good and bad.

use std::collections::BTreeMap;

use super::*;
use crate::checks::by_hand;

fn call(correlation_id: &str, body: Value) -> Call {
    let header = ("x-correlation-id".to_owned(), correlation_id.to_owned());
    Call {
        at_us: 5,
        path: "/".to_owned(),
        headers: BTreeMap::from([header]),
        credential: None,
        body,
        key: None,
        committed_us: Some(6),
        answered: true,
        answered_us: Some(7),
        abandoned: false,
        probe: false,
    }
}

fn line(by: By, kind: &str, payload: Value) -> Line {
    let frame = json!({"type": kind, "turn_id": "t-1", "payload": payload});
    Line::text(5, by, &frame)
}

fn good() -> Evidence {
    let answer = json!({
        "assistant_text": "aet", "turn_id": "trn_1", "session_id": "ses_1",
        "correlation_id": "vce_1",
    });
    let lines = vec![
        line(By::Us, "input.text", json!({"text": "tea"})),
        line(By::Target, "ack", json!({"of": "input.text"})),
        line(By::Target, "response.final", answer),
    ];
    let asked = json!({"turn_id": "trn_1", "session_id": "ses_1", "input_text": "tea"});
    Evidence {
        talks: vec![Conversation {
            session: "ses_1".to_owned(),
            correlation_id: "vce_1".to_owned(),
            lines,
        }],
        model: vec![call("vce_1", asked)],
        tts: vec![call("vce_1", json!({"text": "aet"}))],
    }
}

#[test]
fn a_text_that_comes_back_under_one_id_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.exercised["round_trips"], 1);
    assert_eq!(judgement.exercised["hops"], 3);
}

#[test]
fn every_text_and_every_id_that_is_another_is_seen() {
    type Case = (&'static str, fn(&mut Evidence));
    let cases: [Case; 12] = [
        ("got \"tea\" back, expected \"aet\"", |seen| {
            seen.talks[0].lines[2].payload["assistant_text"] = json!("tea");
        }),
        ("got 0 times response.final", |seen| {
            seen.talks[0].lines.pop();
        }),
        ("got 2 times response.final", |seen| {
            let again = seen.talks[0].lines[2].clone();
            seen.talks[0].lines.push(again);
        }),
        ("got 0 times response.final", |seen| {
            seen.talks[0].lines[2].turn_id = Some("trn_1".to_owned());
        }),
        ("got 0 acks", |seen| {
            seen.talks[0].lines.remove(1);
        }),
        ("as the session, expected ses_1", |seen| {
            seen.talks[0].lines[2].payload["session_id"] = json!("ses_2");
        }),
        ("Some(\"req_2\") at the gateway's answer", |seen| {
            seen.talks[0].lines[2].payload["correlation_id"] = json!("req_2");
        }),
        ("Some(\"req_2\") at the model", |seen| {
            let id = seen.model[0].headers.get_mut("x-correlation-id");
            *id.unwrap() = "req_2".to_owned();
        }),
        ("None at the voice provider", |seen| {
            seen.tts[0].headers.clear();
        }),
        ("the model was told \"{}\", expected one of", |seen| {
            seen.model[0].body["input_text"] = json!("{}");
        }),
        ("the model was told 0 times", |seen| seen.model.clear()),
        ("the turn \"trn_1\", the answer says \"trn_2\"", |seen| {
            seen.talks[0].lines[2].payload["turn_id"] = json!("trn_2");
        }),
    ];
    for (words, spoil) in cases {
        by_hand::violated(judge, good(), spoil, words);
    }
}

#[test]
fn a_session_that_is_another_at_the_model_is_seen_and_nothing_seen_is_nothing_exercised() {
    let mut seen = good();
    seen.model[0].body["session_id"] = json!("ses_2");
    assert!(judge(&seen).violations[0].contains("was told the session \"ses_2\""));
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.exercised["hops"], 0);
}
