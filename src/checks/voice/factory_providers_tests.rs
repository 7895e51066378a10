//! Starts written by hand, good and bad.

use super::super::talk::By;
use super::*;
use crate::checks::by_hand;

fn sent(path: &str, answer: &Value) -> Sent {
    by_hand::sent(PIPECAT, "GET", path, 200, answer.clone())
}

fn target(kind: &str, payload: &Value) -> Line {
    Line::text(9, By::Target, &json!({"type": kind, "payload": payload}))
}

fn told(provider: &str, chosen_by: &str, available: bool) -> Value {
    let reason = if available {
        Value::Null
    } else {
        json!("no such provider")
    };
    json!({"provider": provider, "chosen_by": chosen_by, "available": available, "reason": reason})
}

fn named(config: Option<&str>, environment: Option<&str>) -> (Option<String>, Option<String>) {
    (config.map(str::to_owned), environment.map(str::to_owned))
}

/// One that hears by way of the config, and one whose environment names nobody.
fn good() -> Evidence {
    let pong = target("ack", &json!({"of": "control.ping"}));
    let hears = Tried {
        asr: named(Some("http"), Some("builtin")),
        tts: named(None, Some("builtin")),
        told: Some(sent(
            "/voice/backends",
            &json!({
                "asr": told("http", "config", true), "tts": told("builtin", "environment", true),
            }),
        )),
        word: "word".to_owned(),
        lines: vec![
            target("transcript.final", &json!({"text": "word"})),
            pong.clone(),
        ],
        asked: 2,
        after: Some(sent("/healthz", &json!({"ok": true}))),
    };
    let deaf = Tried {
        asr: named(None, Some(UNKNOWN)),
        tts: named(Some("none"), None),
        told: Some(sent(
            "/voice/backends",
            &json!({
                "asr": told(UNKNOWN, "environment", false), "tts": told("none", "config", false),
            }),
        )),
        lines: vec![target("error", &json!({"code": "ASR_UNAVAILABLE"})), pong],
        asked: 0,
        ..hears.clone()
    };
    Evidence {
        tried: vec![hears, deaf],
    }
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn what_was_chosen_is_told_and_used() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    let counts = ["combinations", "unknown_names"].map(|name| judgement.exercised[name]);
    assert_eq!(counts, [2, 1]);
    assert_eq!(judge(&Evidence::default()).exercised["combinations"], 0);
}

#[test]
fn every_violation_is_seen() {
    violated(
        |seen| seen.tried[1].told = None,
        "got no process that is ready",
    );
    for (kind, value) in [
        ("asr", told("builtin", "environment", true)),
        ("asr", told("http", "environment", true)),
        ("asr", told("http", "config", false)),
        ("tts", told("http", "config", true)),
    ] {
        violated(
            |seen| seen.tried[0].told.as_mut().unwrap().answer[kind] = value,
            "expected",
        );
    }
    let silent = json!({"provider": UNKNOWN, "chosen_by": "environment", "available": false});
    violated(
        |seen| seen.tried[1].told.as_mut().unwrap().answer["asr"] = silent,
        "unavailable for a reason",
    );
    violated(
        |seen| drop(seen.tried[0].lines.remove(0)),
        "expected a transcript",
    );
    violated(
        |seen| drop(seen.tried[1].lines.remove(0)),
        "expected ASR_UNAVAILABLE",
    );
    violated(
        |seen| seen.tried[0].asked = 0,
        "was asked 0 times under http",
    );
    violated(|seen| seen.tried[1].asked = 1, "was asked 1 times");
    violated(
        |seen| seen.tried[0].word = "other".to_owned(),
        "expected \"other\"",
    );
    violated(|seen| drop(seen.tried[1].lines.pop()), "lives on");
    violated(
        |seen| seen.tried[1].after.as_mut().unwrap().status = 0,
        "lives on",
    );
}
