use serde_json::{Value, json};

use super::{EVENTS, Evidence, Pair, STATES, Sent, judge, step, way};
use crate::checks::by_hand;

fn sent(status: u16, answer: Value) -> Sent {
    by_hand::sent(
        "perception",
        "POST",
        "/v1/perception/consent",
        status,
        answer,
    )
}

fn pair(state: &str, event: &str) -> Pair {
    let session = format!("ses_{state}_{event}");
    let (mut at, mut steps, mut trail) = ("OFF", Vec::new(), Vec::new());
    for event in way(state).iter().copied().chain([event]) {
        let answer = match step(at, event) {
            None => sent(409, json!({"error": {"code": "CONSENT_STATE"}})),
            Some(to) => {
                trail.push(json!({
                    "event": event, "from": at, "to": to, "actor_id": "op-1",
                    "actor_role": "operator", "ts": "2026-11-22T10:00:00.000000Z",
                }));
                at = to;
                sent(200, json!({"session_id": session, "state": to}))
            }
        };
        steps.push((event.to_owned(), answer));
    }
    Pair {
        look: sent(
            200,
            json!({"session_id": session, "state": at, "audit_trail": trail}),
        ),
        session,
        state: state.to_owned(),
        steps,
    }
}

fn good() -> Evidence {
    let pairs = STATES
        .iter()
        .flat_map(|state| EVENTS.map(|event| pair(state, event)));
    Evidence {
        pairs: pairs.collect(),
    }
}

fn violations(at: (&str, &str), spoil: impl FnOnce(&mut Pair)) -> Vec<String> {
    let mut pair = pair(at.0, at.1);
    spoil(&mut pair);
    judge(&Evidence { pairs: vec![pair] }).violations
}

#[test]
fn the_machine_of_the_contract_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [("pairs", 20), ("refused_pairs", 13)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn an_illegal_step_that_is_made_is_a_violation() {
    let found = violations(("OFF", "activate"), |pair| {
        pair.steps[0].1 = sent(200, json!({"session_id": pair.session, "state": "ACTIVE"}));
        pair.look.answer["state"] = json!("ACTIVE");
    });
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("activate in OFF") && found[0].contains("expected 409"));
    let found = violations(("REVOKED", "request"), |pair| {
        pair.look.answer["state"] = json!("REQUESTED");
    });
    assert!(found[0].contains("expected REVOKED"), "{found:?}");
}

/// Words of the violation, the pair, and what makes it bad.
type Case = (&'static str, (&'static str, &'static str), fn(&mut Pair));

#[test]
fn a_legal_step_that_is_refused_and_a_trail_that_lies_are_violations() {
    let cases: [Case; 6] = [
        ("expected 2xx", ("OFF", "request"), |pair| {
            pair.steps[0].1.status = 409;
        }),
        ("expected 2xx", ("OFF", "request"), |pair| {
            pair.steps[0].1.answer["session_id"] = json!("ses_other");
        }),
        ("the trail", ("REQUESTED", "revoke"), |pair| {
            pair.look.answer["audit_trail"]
                .as_array_mut()
                .unwrap()
                .pop();
        }),
        ("the trail", ("ACTIVE", "grant"), |pair| {
            pair.look.answer["audit_trail"][1]["actor_id"] = json!("op-2");
        }),
        ("the trail none", ("OFF", "grant"), |pair| {
            pair.look
                .answer
                .as_object_mut()
                .unwrap()
                .remove("audit_trail");
        }),
        ("expected GRANTED", ("GRANTED", "grant"), |pair| {
            pair.look.status = 404
        }),
    ];
    for (words, at, spoil) in cases {
        let found = violations(at, spoil);
        assert!(
            found.len() == 1 && found[0].contains(words),
            "{words}: {found:?}"
        );
    }
}

#[test]
fn a_pair_without_an_answer_does_not_count() {
    let mut seen = good();
    seen.pairs[3].look.returned_us = None;
    seen.pairs[3].look.status = 0;
    let judgement = judge(&seen);
    assert_eq!(
        (judgement.undecided.len(), judgement.exercised["pairs"]),
        (1, 19)
    );
}
