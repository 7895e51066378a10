//! What a double saw: every call, and the effects apart. Effects are deduplicated by the
//! caller's key, calls are not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One call, as it came in and as far as it got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// When its body was read, in microseconds on the clock of the run.
    pub at_us: u64,
    /// Path and query.
    pub path: String,
    /// Headers by lower-case name, tokens redacted.
    pub headers: BTreeMap<String, String>,
    /// SHA-256 of the `Authorization` header, which is redacted, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The body; null when it is not JSON.
    pub body: Value,
    /// The `Idempotency-Key`, without its quotes.
    pub key: Option<String>,
    /// When its effect was counted or found to be counted already.
    pub committed_us: Option<u64>,
    /// Whether an answer was written.
    pub answered: bool,
    /// When the last byte of it was handed to the connection.
    pub answered_us: Option<u64>,
    /// Whether the caller's connection was gone before the answer.
    pub abandoned: bool,
    /// Whether it is marked as a probe (`X-Probe: true`): it has no effect.
    pub probe: bool,
}

/// One effect, and the calls that asked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The caller's key; calls without one have an effect each.
    pub key: Option<String>,
    /// When it happened.
    pub at_us: u64,
    /// The body of the call that had it.
    pub body: Value,
    /// How many calls committed under this key.
    pub calls: u64,
    /// Whether all of them had the same body.
    pub same_body: bool,
}

/// The log of one double.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) calls: Vec<Call>,
    effects: Vec<Effect>,
    answers: BTreeMap<String, Value>,
}

impl Ledger {
    pub(super) fn arrive(&mut self, call: Call) -> usize {
        self.calls.push(call);
        self.calls.len() - 1
    }

    /// Counts the effect of this call, once per key, and gives the answer: of a repeated key the
    /// first one.
    pub(super) fn commit(
        &mut self,
        index: usize,
        now_us: u64,
        answer: impl FnOnce(&Value) -> Value,
    ) -> Value {
        let call = &mut self.calls[index];
        call.committed_us = Some(now_us);
        let (key, body) = (call.key.clone(), call.body.clone());
        if let Some(key) = &key
            && let Some(first) = self.answers.get(key)
        {
            let effect = self
                .effects
                .iter_mut()
                .find(|effect| effect.key.as_deref() == Some(key))
                .expect("every stored answer belongs to an effect");
            effect.calls += 1;
            effect.same_body &= effect.body == body;
            return first.clone();
        }
        let given = answer(&body);
        if let Some(key) = &key {
            self.answers.insert(key.clone(), given.clone());
        }
        self.effects.push(Effect {
            key,
            at_us: now_us,
            body,
            calls: 1,
            same_body: true,
        });
        given
    }

    pub(super) fn effects(&self) -> Vec<Effect> {
        self.effects.clone()
    }
}

/// Secrets never reach the log.
pub(super) fn redact(name: &str, value: &str) -> String {
    match name {
        "authorization" | "x-service-token" | "cookie" => "<redacted>".to_owned(),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Ledger};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn call(key: Option<&str>, body: Value) -> Call {
        Call {
            at_us: 1,
            path: "/run".to_owned(),
            headers: BTreeMap::new(),
            credential: None,
            body,
            key: key.map(str::to_owned),
            committed_us: None,
            answered: false,
            answered_us: None,
            abandoned: false,
            probe: false,
        }
    }

    #[test]
    fn a_repeated_key_is_a_call_and_no_second_effect() {
        let mut ledger = Ledger::default();
        for body in [json!(1), json!(1), json!(2)] {
            let index = ledger.arrive(call(Some("op_1"), body));
            let answer = ledger.commit(index, 5, Clone::clone);
            assert_eq!(answer, json!(1), "the first answer is repeated");
        }
        let effects = ledger.effects();
        assert_eq!((ledger.calls.len(), effects.len()), (3, 1));
        assert_eq!((effects[0].calls, effects[0].same_body), (3, false));
    }

    #[test]
    fn calls_without_a_key_have_an_effect_each() {
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            let index = ledger.arrive(call(None, json!({})));
            ledger.commit(index, 5, Clone::clone);
        }
        assert_eq!(ledger.effects().len(), 2);
    }
}
