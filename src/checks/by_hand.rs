//! What tests of judges write by hand: exchanges, and evidence that was good before it was changed.

use serde_json::{Value, json};

use super::{Judgement, Sent};

/// A request of an operator and its answer.
pub(crate) fn sent(service: &str, method: &str, path: &str, status: u16, answer: Value) -> Sent {
    serde_json::from_value(json!({
        "service": service, "method": method, "path": path, "actor": "op-1", "role": "operator",
        "id": "cor_1", "invoked_us": 1, "returned_us": 2, "status": status, "answer": answer,
    }))
    .unwrap()
}

/// Has good evidence be changed, and expects a violation with these words.
///
/// # Panics
/// Without one.
pub(crate) fn violated<E>(
    judge: fn(&E) -> Judgement,
    mut seen: E,
    change: impl FnOnce(&mut E),
    words: &str,
) {
    change(&mut seen);
    let found = judge(&seen).violations;
    let named = found.iter().any(|violation| violation.contains(words));
    assert!(named, "{words}: {found:?}");
}
