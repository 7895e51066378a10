use serde_json::{Value, json};

use super::{Evidence, How, Outage, Probed, Sent, judge};
use crate::checks::by_hand;

fn sent(status: u16, answer: Value) -> Sent {
    by_hand::sent("api-gateway", "POST", "/v3/turn", status, answer)
}

fn probed(probe: &str, status: u16, answer: Value) -> Probed {
    let probe = probe.to_owned();
    let sent = sent(status, answer);
    Probed { probe, sent }
}

fn error(code: &str) -> Value {
    json!({"error": {"code": code}})
}

fn tool(status: &str, code: Option<&str>) -> Value {
    json!({"tool_calls": [{"status": status, "error": {"code": code}}]})
}

fn good() -> Evidence {
    let all = || {
        vec![
            probed("session", 201, json!({})),
            probed("chat", 200, json!({})),
            probed("turn with a tool", 200, tool("executed", None)),
        ]
    };
    let outage = |dependency: &str, during| Outage {
        dependency: dependency.to_owned(),
        how: How::Refuses,
        during,
        after: all(),
        waited_ms: 60,
        looks: 30,
    };
    let models = vec![
        probed("chat", 503, error("MODEL_UNAVAILABLE")),
        probed("turn with a tool", 503, error("MODEL_UNAVAILABLE")),
        probed("session", 201, json!({})),
    ];
    let tools = vec![
        probed(
            "turn with a tool",
            200,
            tool("failed", Some("TOOL_UNAVAILABLE")),
        ),
        probed("chat", 200, json!({})),
    ];
    let unknown = vec![
        probed("session", 201, json!({})),
        probed("chat", 503, error("ANYTHING")),
    ];
    Evidence {
        before: all(),
        outages: vec![
            outage("models", models),
            outage("tools", tools),
            outage("scents", unknown),
        ],
    }
}

#[test]
fn what_is_declared_and_recovers_is_no_violation_and_counts() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts: Vec<_> = judgement.exercised.into_iter().collect();
    let expected = [
        ("declared_errors", 3),
        ("dependencies", 2),
        ("recoveries", 3),
        ("unrelated_answers", 3),
    ];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

/// Words of the violation, and what makes good evidence bad.
type Case = (&'static str, fn(&mut Evidence));

#[test]
fn a_cascade_a_hang_a_pretence_and_a_recovery_that_needs_somebody_are_violations() {
    let cases: [Case; 7] = [
        (
            "session: POST /v3/turn of api-gateway (cor_1): 503 UNHEALTHY: got",
            |seen| {
                seen.outages[0].during[2] = probed("session", 503, error("UNHEALTHY"));
            },
        ),
        ("got no answer, expected one within 8000 ms", |seen| {
            seen.outages[0].during[0].sent.returned_us = None;
        }),
        ("expected one of [\"MODEL_UNAVAILABLE\"]", |seen| {
            seen.outages[0].during[0] = probed("chat", 200, json!({"text": "I am fine."}));
        }),
        ("expected one of [\"MODEL_UNAVAILABLE\"]", |seen| {
            seen.outages[0].during[0] = probed("chat", 500, error("INTERNAL"));
        }),
        ("expected one of [\"TOOL_UNAVAILABLE\"", |seen| {
            seen.outages[1].during[0] = probed("turn with a tool", 200, tool("executed", None));
        }),
        ("expected 2xx or an error with a code", |seen| {
            seen.outages[2].during[1] = probed("chat", 500, json!(null));
        }),
        ("models back for 60 ms and 30 looks, chat", |seen| {
            seen.outages[0].after[1] = probed("chat", 503, error("MODEL_UNAVAILABLE"));
        }),
    ];
    for (words, change) in cases {
        by_hand::violated(judge, good(), change, words);
    }
}

#[test]
fn what_never_worked_and_what_was_hardly_looked_at_is_undecided() {
    let mut seen = good();
    seen.before[1] = probed("chat", 503, error("MODEL_UNAVAILABLE"));
    let judgement = judge(&seen);
    assert_eq!(
        (judgement.violations.len(), judgement.undecided.len()),
        (0, 1)
    );
    let mut seen = good();
    seen.outages[0].after[1] = probed("chat", 503, error("MODEL_UNAVAILABLE"));
    seen.outages[0].looks = 3;
    let judgement = judge(&seen);
    assert_eq!(
        (judgement.violations.len(), judgement.undecided.len()),
        (0, 1)
    );
}
