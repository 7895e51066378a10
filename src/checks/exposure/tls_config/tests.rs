//! Evidence written by hand: a good one, and its bad twins.

use serde_json::json;

use super::*;

fn good() -> Evidence {
    let refused = Given::BAD.map(|given| Start {
        given,
        outcome: Outcome::Exited(Some(2)),
        looks: 9,
        reached: 0,
    });
    let mut starts = vec![Start {
        given: Given::Pair,
        outcome: Outcome::Ready,
        looks: 40,
        reached: 6,
    }];
    starts.extend(refused);
    let secure = |name: &&str| Secure {
        service: (*name).to_owned(),
        shown: Some("c1".into()),
        healthz: (200, (*name).to_owned()),
    };
    let names = routes::services();
    Evidence {
        starts,
        served: Some(Served {
            certificate: "c1".into(),
            secure: names.iter().map(secure).collect(),
            plain: names.iter().map(|name| ((*name).to_owned(), 0)).collect(),
            guarded: vec![401, 200],
            tool_calls: json!([{"status": "executed"}]),
        }),
    }
}

fn bad(change: impl FnOnce(&mut Evidence), expected: &str) {
    let mut seen = good();
    change(&mut seen);
    let violations = judge(&seen).violations.join("\n");
    assert!(violations.contains(expected), "{violations:?}");
}

fn served(seen: &mut Evidence) -> &mut Served {
    seen.served.as_mut().unwrap()
}

#[test]
fn the_good_one_is_exercised_and_has_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    for (counter, count) in [
        ("handshakes", 10),
        ("refused_plaintext", 10),
        ("refused_starts", 7),
        ("watched_starts", 7),
        ("tool_calls", 1),
    ] {
        assert_eq!(judgement.exercised[counter], count, "{counter}");
    }
}

#[test]
fn nothing_seen_is_undecided() {
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.undecided.len(), 8);
    assert!(judgement.exercised.values().all(|count| *count == 0));
}

#[test]
fn a_start_that_should_have_been_refused_is_seen() {
    let ready = |seen: &mut Evidence| {
        seen.starts[1].outcome = Outcome::Ready;
        seen.starts[1].reached = 3;
    };
    bad(ready, "a certificate alone: ready, expected an exit code");
    bad(ready, "its port was open 3 times");
    bad(
        |seen| seen.starts[5].outcome = Outcome::Exited(Some(0)),
        "the key of another certificate: exit code 0",
    );
    bad(
        |seen| seen.starts[2].outcome = Outcome::Exited(None),
        "a key alone: ended by a signal",
    );
}

#[test]
fn a_control_that_does_not_start_is_seen() {
    bad(
        |seen| seen.starts[0].outcome = Outcome::Exited(Some(2)),
        "a certificate and its key: exit code 2, expected ready",
    );
}

#[test]
fn another_certificate_or_none_is_seen() {
    bad(
        |seen| served(seen).secure[2].shown = Some("c2".into()),
        "openclaw showed certificate c2, expected c1",
    );
    let none = |seen: &mut Evidence| {
        let one = &mut served(seen).secure[0];
        (one.shown, one.healthz) = (None, (0, "unknown issuer".into()));
    };
    bad(none, "showed certificate none, expected c1: unknown issuer");
    bad(
        |seen| drop(served(seen).secure.pop()),
        "was announced nowhere",
    );
}

#[test]
fn another_answer_over_tls_is_seen() {
    bad(
        |seen| served(seen).secure[1].healthz = (200, "eva-os".into()),
        "memory-engine over TLS: got 200 of eva-os",
    );
    bad(
        |seen| served(seen).guarded = vec![200, 200],
        "[200, 200] without credentials and with",
    );
    bad(
        |seen| served(seen).tool_calls = json!([{"status": "failed"}]),
        "expected one executed by another service",
    );
}

#[test]
fn plain_http_that_is_served_is_seen() {
    let plain = |status| move |seen: &mut Evidence| served(seen).plain[4].1 = status;
    bad(plain(200), "vision-capture over plain HTTP: got 200");
    bad(plain(307), "vision-capture over plain HTTP: got 307");
    let mut seen = good();
    plain(400)(&mut seen);
    assert_eq!(judge(&seen).violations, [""; 0]);
}
