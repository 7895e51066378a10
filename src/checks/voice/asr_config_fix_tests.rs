//! Starts written by hand, good and bad.

use super::super::talk::By;
use crate::checks::by_hand;
use serde_json::Value;

use super::*;

fn sent(path: &str, answer: &Value) -> Sent {
    by_hand::sent(PIPECAT, "GET", path, 200, answer.clone())
}

fn target(kind: &str, payload: &Value) -> Line {
    Line::text(9, By::Target, &json!({"type": kind, "payload": payload}))
}

/// One with its key in the file, and one without any.
fn good() -> Evidence {
    let told = |available: bool, reason: Value| {
        let asr = json!({"provider": "keyed", "available": available, "reason": reason});
        Some(sent("/voice/backends", &json!({"asr": asr})))
    };
    let pong = target("ack", &json!({"of": "control.ping"}));
    let keyed = Tried {
        key: Key::File,
        credential: "abc".to_owned(),
        told: told(true, Value::Null),
        word: "word".to_owned(),
        lines: vec![
            target("transcript.final", &json!({"text": "word"})),
            pong.clone(),
        ],
        carried: vec![Some("abc".to_owned()); 2],
        after: Some(sent("/healthz", &json!({"ok": true}))),
        leaked: Vec::new(),
    };
    let error = json!({"code": "ASR_UNAVAILABLE", "message": "no key", "retryable": true});
    let keyless = Tried {
        key: Key::Nowhere,
        told: told(false, json!("no key")),
        lines: vec![target("error", &error), pong],
        carried: Vec::new(),
        ..keyed.clone()
    };
    Evidence {
        tried: vec![keyed, keyless],
    }
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn a_key_that_is_carried_and_an_error_without_one_pass_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    let counts = ["keyed_calls", "keyless_errors"].map(|name| judgement.exercised[name]);
    assert_eq!(counts, [2, 1]);
    assert_eq!(judge(&Evidence::default()).exercised["keyed_calls"], 0);
}

#[test]
fn every_violation_is_seen() {
    violated(
        |seen| seen.tried[1].told = None,
        "got no process that is ready",
    );
    violated(
        |seen| seen.tried[0].carried[1] = None,
        "1 of 2 calls carried the key",
    );
    violated(
        |seen| seen.tried[0].carried.clear(),
        "0 of 0 calls carried the key",
    );
    violated(
        |seen| seen.tried[0].carried[0] = Some("b".to_owned()),
        "1 of 2 calls",
    );
    violated(
        |seen| drop(seen.tried[0].lines.remove(0)),
        "expected \"word\"",
    );
    violated(
        |seen| seen.tried[0].leaked.push("the log".to_owned()),
        "seen in the log",
    );
    violated(
        |seen| drop(seen.tried[1].lines.remove(0)),
        "expected an error frame",
    );
    violated(
        |seen| seen.tried[1].lines[0].payload["message"] = json!(""),
        "expected an error frame",
    );
    violated(
        |seen| seen.tried[1].carried.push(None),
        "asked 1 times, expected never",
    );
    violated(|seen| drop(seen.tried[1].lines.pop()), "lives on");
    violated(|seen| seen.tried[1].after = None, "lives on");
    let open = json!({"provider": "keyed", "available": true, "reason": null});
    violated(
        |seen| seen.tried[1].told.as_mut().unwrap().answer["asr"] = open,
        "unavailable for a reason",
    );
}
