//! Starts written by hand, good and bad.

use super::*;
use crate::checks::by_hand;

fn sent(provider: Option<&str>, chosen_by: &str, available: bool) -> Sent {
    let one = json!({"provider": provider, "chosen_by": chosen_by, "available": available});
    let told = json!({"asr": one, "tts": one});
    by_hand::sent("pipecat", "GET", "/voice/backends", 200, told)
}

fn good() -> Evidence {
    let found = (Providers::Up, sent(Some("http"), "discovery", true));
    let gone = (Providers::Down, sent(None, "discovery", false));
    let start = |environment: Option<&str>, told: Vec<(Providers, Sent)>| Start {
        environment: environment.map(str::to_owned),
        at_start: told[0].0,
        ready: true,
        given_up: false,
        told,
    };
    let builtin = (Providers::Up, sent(Some("builtin"), "environment", true));
    let none = (Providers::Up, sent(Some("none"), "environment", false));
    Evidence {
        starts: vec![
            start(None, vec![gone, found]),
            start(Some("builtin"), vec![builtin]),
            start(Some("none"), vec![none]),
        ],
    }
}

fn violated(change: impl FnOnce(&mut Evidence), words: &str) {
    by_hand::violated(judge, good(), change, words);
}

#[test]
fn found_unavailable_and_overridden_pass_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    let counts = ["found", "unavailable", "overridden"].map(|name| judgement.exercised[name]);
    assert_eq!(counts, [1, 1, 2]);
    assert_eq!(judge(&Evidence::default()).exercised["found"], 0);
}

#[test]
fn every_violation_is_seen() {
    violated(|seen| seen.starts[0].ready = false, "not ready within 10 s");
    for (start, told, sent) in [
        (0, 1, sent(None, "discovery", false)),
        (0, 0, sent(Some("http"), "discovery", true)),
        (0, 0, sent(None, "discovery", true)),
        (1, 0, sent(Some("http"), "discovery", true)),
        (1, 0, sent(Some("builtin"), "config", true)),
        (2, 0, sent(Some("none"), "environment", true)),
    ] {
        violated(|seen| seen.starts[start].told[told].1 = sent, "expected");
    }
    let deaf = json!({"provider": null, "chosen_by": "discovery", "available": false});
    violated(
        |seen| seen.starts[0].told[1].1.answer["asr"] = deaf,
        "Up then: got asr",
    );
}
