//! Defects of turns: what is done about the tool calls of a model's answer.

use std::sync::Arc;

use serde_json::json;

use super::Mutant;
use crate::reference::digest::sha256;
use crate::reference::web::{Handler, Refusal, Reply};

const TURN: (&str, &str, &str) = ("api-gateway", "POST", "/v3/turn");
/// A day in microseconds.
const DAY_US: i64 = 86_400_000_000;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "turn-executes-guarded-call",
        must: &["tool-call-extraction"],
        may: &[],
        apply: |levers| levers.route(TURN, runs_shells),
    },
    Mutant {
        name: "turn-ignores-call-cap",
        must: &["tool-call-extraction"],
        may: &[],
        apply: |levers| levers.config(json!({"turns": {"max_tool_calls": 1000}})),
    },
    Mutant {
        name: "turn-malformed-call-is-500",
        must: &["tool-call-extraction"],
        may: &[],
        apply: |levers| levers.route(TURN, fails_on_malformed),
    },
    Mutant {
        name: "decision-uses-clock",
        must: &["replay-determinism"],
        may: &[],
        apply: |levers| levers.route(TURN, decides_by_the_day),
    },
];

/// A shell of a turn runs while the person is still being asked.
fn runs_shells(original: Handler) -> Handler {
    Arc::new(move |service, call| {
        let original = Arc::clone(&original);
        Box::pin(async move {
            let reply = original(Arc::clone(&service), call).await;
            let answer = reply.value();
            let calls = answer["tool_calls"].as_array().into_iter().flatten();
            let waits = calls.filter(|call| {
                call["status"] == "confirmation_required" && call["tool_name"] == "shell.run"
            });
            for waiting in waits {
                let url = format!("{}/run", service.config().backends.tools.url);
                let body = json!({
                    "operation_id": "op_shell", "tool_name": "shell.run", "args": waiting["args"],
                });
                // Whether the backend likes it is not this defect's concern.
                drop(service.http.post(url).json(&body).send().await);
            }
            reply
        })
    })
}

/// The same envelope is decided otherwise on another day.
fn decides_by_the_day(original: Handler) -> Handler {
    Arc::new(move |service, call| {
        let original = Arc::clone(&original);
        Box::pin(async move {
            let day = service.now().us() / DAY_US;
            let reply = original(service, call).await;
            let mut answer = reply.value();
            match answer["decision"]["hash"].as_str() {
                Some(hash) => {
                    answer["decision"]["hash"] = json!(sha256(format!("{hash}{day}").as_bytes()));
                    let body = Reply::json(reply.status, answer).body;
                    Reply { body, ..reply }
                }
                None => reply,
            }
        })
    })
}

/// A call that cannot be read is a bug of the service.
fn fails_on_malformed(original: Handler) -> Handler {
    Arc::new(move |service, call| {
        let original = Arc::clone(&original);
        Box::pin(async move {
            let correlation_id = call.correlation_id.clone();
            let reply = original(service, call).await;
            let answer = reply.value();
            let mut calls = answer["tool_calls"].as_array().into_iter().flatten();
            if calls.any(|call| call["status"] == "malformed") {
                return Refusal::new(500, "INTERNAL", "no such call").reply(&correlation_id);
            }
            reply
        })
    })
}
