//! Defects that show while a dependency is down, or once it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{DAY_MS, May, Mutant};
use crate::reference::breaker::{Input, Next, Phase, Rule, State, Transition, step};
use crate::reference::web::{Handler, Refusal};

/// Changes of a breaker from which on it stays open: five flaps that each open and close it.
const WORN: u64 = 15;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "partial-failure-cascades",
        must: &["chaos-partial"],
        may: &[May {
            gate: "restart-ordering-strict",
            reason: "a question to the supervisor is refused while a backend is not well",
        }],
        apply: |levers| levers.route(("eva-os", "POST", "/gate-tool-call"), all_or_nothing),
    },
    Mutant {
        name: "partial-failure-hangs",
        must: &["chaos-partial"],
        may: &[May {
            gate: "e2e-audio-test",
            reason: "a turn whose model hangs is waited for without end",
        }],
        apply: |levers| {
            levers.config(json!({"backends": {"models": {"timeout_ms": DAY_MS}}}));
        },
    },
    Mutant {
        name: "partial-failure-needs-restart",
        must: &["chaos-partial"],
        may: &[May {
            gate: "global-backpressure",
            reason: "a chat that failed once is never served again",
        }],
        apply: |levers| levers.route(("model-router", "POST", "/chat"), never_again),
    },
    Mutant {
        name: "breaker-stuck-open",
        must: &["chaos-flap"],
        may: &[May {
            gate: "chaos-partial",
            reason: "what opened its breaker often enough is never used again",
        }],
        apply: |levers| levers.part(|parts| parts.breaker_step = wears_out),
    },
    Mutant {
        name: "breaker-event-storm",
        must: &["chaos-flap"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.breaker_step = tells_of_every_refusal),
    },
];

/// Nobody is asked about a tool call while anything at all is down.
fn all_or_nothing(original: Handler) -> Handler {
    Arc::new(move |service, call| {
        let original = Arc::clone(&original);
        Box::pin(async move {
            let all = service.shared.breakers.all();
            if all.iter().any(|breaker| breaker.view()["failures"] != 0) {
                let refusal = Refusal::unavailable("UNHEALTHY", "a dependency is down", 1);
                return refusal.reply(&call.correlation_id);
            }
            original(service, call).await
        })
    })
}

/// A model that did not answer once does not exist any more.
fn never_again(original: Handler) -> Handler {
    let gone = Arc::new(AtomicBool::new(false));
    Arc::new(move |service, call| {
        let (original, gone) = (Arc::clone(&original), Arc::clone(&gone));
        Box::pin(async move {
            let correlation_id = call.correlation_id.clone();
            let reply = original(service, call).await;
            if reply.status == 503 {
                gone.store(true, Ordering::Relaxed);
            }
            if gone.load(Ordering::Relaxed) {
                let refusal = Refusal::unavailable("MODEL_UNAVAILABLE", "it is gone", 1);
                return refusal.reply(&correlation_id);
            }
            reply
        })
    })
}

/// A breaker that has changed too often does not let anything through to see.
fn wears_out(state: &State, input: &Input, now_ms: u64, rule: &Rule) -> Next {
    if state.phase == Phase::Open && state.transitions >= WORN {
        return Next {
            state: state.clone(),
            admitted: false,
            transition: None,
        };
    }
    step(state, input, now_ms, rule)
}

/// Each call that is not made is told as if the breaker had just opened.
fn tells_of_every_refusal(state: &State, input: &Input, now_ms: u64, rule: &Rule) -> Next {
    let next = step(state, input, now_ms, rule);
    let refused = *input == Input::Ask && !next.admitted;
    let again = Transition {
        from: Phase::Closed,
        to: Phase::Open,
    };
    Next {
        transition: next.transition.or(refused.then_some(again)),
        ..next
    }
}
