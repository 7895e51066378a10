use serde_json::json;

use super::*;
use crate::checks::by_hand;

/// Milliseconds at the model and at the tool, of the turn of this number.
fn delays(number: u64) -> (u64, u64) {
    let model = if number.is_multiple_of(7) {
        40 + number / 5
    } else {
        2 + number % 10
    };
    (model, 15 + number % 20)
}

fn sent(path: &str, answer: Value, (invoked_us, returned_us): (u64, u64)) -> Sent {
    Sent {
        service: "api-gateway".to_owned(),
        method: "GET".to_owned(),
        path: path.to_owned(),
        actor: Some("op-1".to_owned()),
        role: Some("operator".to_owned()),
        id: "cor_1".to_owned(),
        body: None,
        invoked_us,
        returned_us: Some(returned_us),
        status: 200,
        answer,
        error: None,
    }
}

/// A turn whose stages took half a millisecond longer than the doubles held its calls.
fn turn(number: u64) -> Turn {
    let (model_ms, tool_ms) = delays(number);
    let at_us = number * 100_000;
    let model = Held {
        from_us: at_us + 1_000,
        to_us: at_us + 1_000 + model_ms * 1_000,
    };
    let tool = Held {
        from_us: model.to_us + 1_000,
        to_us: model.to_us + 1_000 + tool_ms * 1_000,
    };
    let (model_ms, tool_ms) = (model_ms as f64, tool_ms as f64);
    let latency = json!({
        "model": model_ms + 0.5, "tool": tool_ms + 0.5, "memory_write": 0.2,
        "total": model_ms + tool_ms + 2.0,
    });
    let times = (at_us, tool.to_us + 2_000);
    Turn {
        sent: sent("/v3/turn", json!({"latency": latency}), times),
        model: vec![model],
        tool: vec![tool],
    }
}

fn told(turns: &[Turn]) -> Value {
    let stage = |stage: &str| {
        let own = turns
            .iter()
            .map(|turn| turn.sent.answer["latency"][stage].as_f64().unwrap());
        let own: Vec<f64> = own.collect();
        let [p50, p95, p99] = [50, 95, 99].map(|percent| match own.len() {
            0 => None,
            _ => Some(ranked(own.clone(), percent)),
        });
        json!({"count": own.len(), "p50": p50, "p95": p95, "p99": p99})
    };
    json!({"stages": {
        "model": stage("model"), "tool": stage("tool"), "total": stage("total"),
    }})
}

fn good() -> Evidence {
    let turns: Vec<Turn> = (0..100).map(turn).collect();
    Evidence {
        before: Some(sent("/v3/latency", told(&[]), (0, 1))),
        after: Some(sent("/v3/latency", told(&turns), (0, 1))),
        turns,
    }
}

#[test]
fn percentiles_of_what_happened_pass_and_count() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counts = (
        judgement.exercised["samples"],
        judgement.exercised["stages"],
    );
    assert_eq!(counts, (100, 3));
}

#[test]
fn a_rank_is_that_of_the_smallest_value_with_so_many_at_or_below() {
    let values: Vec<f64> = (1..=20).rev().map(f64::from).collect();
    assert_eq!(ranked(values.clone(), 95), 19.0);
    assert_eq!(ranked(values.clone(), 99), 20.0);
    assert_eq!(ranked(values, 50), 10.0);
}

fn after<'a>(seen: &'a mut Evidence, stage: &str) -> &'a mut Value {
    &mut seen.after.as_mut().unwrap().answer["stages"][stage]
}

#[test]
fn every_wrong_number_is_seen() {
    type Case = (&'static str, fn(&mut Evidence));
    let cases: [Case; 9] = [
        ("model: got p95 14", |seen| {
            after(seen, "model")["p95"] = json!(14.2)
        }),
        ("tool: got p50", |seen| {
            let model = after(seen, "model").clone();
            let tool = std::mem::replace(after(seen, "tool"), model);
            *after(seen, "model") = tool;
        }),
        ("as the turns themselves say", |seen| {
            let p99 = after(seen, "total")["p99"].as_f64().unwrap();
            after(seen, "total")["p99"] = json!(p99 * 1.002);
        }),
        ("total: got count from 0 to 99, expected 100 more", |seen| {
            after(seen, "total")["count"] = json!(99);
        }),
        ("model: got count 3 before the first turn", |seen| {
            seen.before.as_mut().unwrap().answer["stages"]["model"]["count"] = json!(3);
        }),
        ("tool: got p99 null, expected a number", |seen| {
            after(seen, "tool")["p99"] = Value::Null;
        }),
        ("got latency.model 0.1 ms, expected", |seen| {
            seen.turns[7].sent.answer["latency"]["model"] = json!(0.1);
        }),
        ("got latency.tool null, expected a number", |seen| {
            seen.turns[7].sent.answer["latency"]["tool"] = Value::Null;
        }),
        ("got 503, expected 200", |seen| {
            seen.turns[7].sent.status = 503
        }),
    ];
    for (words, spoil) in cases {
        by_hand::violated(judge, good(), spoil, words);
    }
}

#[test]
fn a_turn_whose_calls_are_not_known_says_nothing() {
    let mut seen = good();
    seen.turns[3].tool.clear();
    let judgement = judge(&seen);
    assert_eq!(
        (judgement.violations.len(), judgement.undecided.len()),
        (0, 1)
    );
    assert_eq!(judgement.exercised["stages"], 0);
}

#[test]
fn nothing_seen_is_undecided() {
    assert!(!judge(&Evidence::default()).undecided.is_empty());
}
