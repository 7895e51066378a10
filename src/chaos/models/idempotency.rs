//! Requests under idempotency keys.
//!
//! | `f`       | `value` of the invocation        | `value` of the `ok`                            |
//! |-----------|----------------------------------|------------------------------------------------|
//! | `request` | `{"key", "request", "ttl"?}`     | `{"status", "code"?, "replayed"?, "body"?}`    |
//!
//! `key` is the endpoint and the key, `request` what else identifies the request (two calls with equal
//! ones are the same request). `ttl` says what the caller's clock knows of the time to live of an
//! answer stored earlier: `running`, `may_have_passed` (when left out) or `passed`. Of the answer the
//! status counts, `error.code`, whether `Idempotency-Replayed: true` came with it, and its body. What is
//! never stored (400, 401, 403, 429, 5xx) neither claims the key nor tells of it.

use super::{Model, OperationOf, answer, string, ttl, unknown_f};
use crate::chaos::history::{Call, Malformed};
use crate::chaos::specs::idempotency::{Answer, Keys, Part, Request, operations};

/// Keys.
#[derive(Debug, Default)]
pub struct Idempotency {
    /// Requests so far: each has a number of its own.
    requests: usize,
}

const KNOWN: &str = "request";
const SHAPE: &str = "an object with key, request, and ttl if it is known";

/// What an answer says of its key; none for one that is never stored.
#[must_use]
pub fn told(status: u16, code: &str, replayed: bool, body: impl Fn() -> String) -> Option<Answer> {
    match status {
        409 if code == "KEY_IN_PROGRESS" => Some(Answer::InProgress),
        422 if code == "KEY_REUSED" => Some(Answer::Reused),
        _ if replayed => Some(Answer::Replayed(body())),
        200..=299 | 404 | 409 => Some(Answer::Executed(body())),
        _ => None,
    }
}

impl Model for Idempotency {
    type Spec = Keys;

    fn take(&mut self, call: &Call, into: &mut Vec<OperationOf<Self>>) -> Result<(), Malformed> {
        let invoke = &call.invoke;
        if invoke.event.f != "request" {
            return Err(unknown_f(call, KNOWN));
        }
        let request = Request {
            key: string(invoke, "key", SHAPE)?,
            request: string(invoke, "request", SHAPE)?,
            ttl: ttl(invoke)?,
        };
        let mut answered = None;
        if let Some(end) = call.answer() {
            let (status, code) = answer(end)?;
            let value = &end.event.value;
            let replayed = value["replayed"] == true;
            let Some(answer) = told(status, code, replayed, || value["body"].to_string()) else {
                return Ok(());
            };
            answered = Some((end.at, answer));
        }
        let number = self.requests;
        self.requests += 1;
        into.extend(
            operations([(request, invoke.at, answered)])
                .into_iter()
                .map(|mut operation| {
                    operation.input.number = number;
                    operation
                }),
        );
        Ok(())
    }

    fn spec(&self) -> Keys {
        Keys
    }

    fn words(&self, operation: &OperationOf<Self>) -> String {
        let request = &operation.input.request.request;
        let part = match operation.input.part {
            Part::Claim => "claims",
            Part::Finish => "ends",
            Part::Look => "asks",
        };
        let told = match operation.output() {
            None => "?".to_owned(),
            Some(Answer::Executed(body)) => format!("executed {body}"),
            Some(Answer::Replayed(body)) => format!("replayed {body}"),
            Some(Answer::InProgress) => "in progress".to_owned(),
            Some(Answer::Reused) => "reused".to_owned(),
        };
        format!("{request} {part} → {told}")
    }
}
