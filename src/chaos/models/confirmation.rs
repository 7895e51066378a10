//! Decisions with fences: confirmations, actions and eva-os approvals.
//!
//! | `f`                           | `value` of the invocation                  | `value` of the `ok`                    |
//! |-------------------------------|--------------------------------------------|----------------------------------------|
//! | `approve`, `deny`, `reissue`  | `{"id", "first_fence", "fence"?, "ttl"?}`  | `{"status", "code"?, "verdict"?, "fence"?}` |
//!
//! `first_fence` is that of the decision's first issue, the same in every call; without one the
//! decision was never issued. `fence` is the one that was sent, and in the answer to a reissue the new
//! one. `ttl` says what the caller's clock knows of the time to live during the call: `running`,
//! `may_have_passed` (when left out) or `passed`. The answer is the status, `error.code` and the
//! verdict that a refusal names. Other fields are not looked at.

use serde_json::Value;

use super::{Model, OperationOf, answer, string, ttl, unknown_f};
use crate::chaos::history::{Call, Malformed};
use crate::chaos::linear::Operation;
use crate::chaos::specs::confirmation::{Call as Asked, Confirmations, Input, Output, Verdict};

/// Decisions by id.
#[derive(Debug, Default)]
pub struct Confirmation {
    issued: Confirmations,
}

const KNOWN: &str = "approve, deny or reissue";
const SHAPE: &str = "an object with id, first_fence, and fence and ttl if there are any";

/// What an answer to a decision says; none for one that the specification has no word for.
#[must_use]
pub fn decided(status: u16, code: &str, verdict: &str) -> Option<Output> {
    match (status, code, verdict) {
        (200..300, ..) => Some(Output::Won),
        (409, "ALREADY_DECIDED", "approved") => Some(Output::Decided(Verdict::Approved)),
        (409, "ALREADY_DECIDED", "denied") => Some(Output::Decided(Verdict::Denied)),
        (409, "FENCE_STALE", _) => Some(Output::Stale),
        (409, "CONFIRMATION_EXPIRED", _) => Some(Output::Expired),
        (404, ..) => Some(Output::NotFound),
        _ => None,
    }
}

impl Confirmation {
    /// Notes the fence of the first issue.
    fn issue(&mut self, call: &Call, id: &str) -> Result<(), Malformed> {
        let invoke = &call.invoke;
        let first = match &invoke.event.value["first_fence"] {
            Value::Null => return Ok(()),
            other => other.as_u64().ok_or_else(|| {
                let what = format!("first_fence {other}");
                Malformed::new(invoke.line, what, "a number from 0")
            })?,
        };
        let known = self
            .issued
            .first_fences
            .entry(id.to_owned())
            .or_insert(first);
        if *known == first {
            return Ok(());
        }
        let what = format!("first_fence {first} of {id}");
        Err(Malformed::new(
            invoke.line,
            what,
            format!("{known}, as before"),
        ))
    }
}

impl Model for Confirmation {
    type Spec = Confirmations;

    fn take(&mut self, call: &Call, into: &mut Vec<OperationOf<Self>>) -> Result<(), Malformed> {
        let invoke = &call.invoke;
        let id = string(invoke, "id", SHAPE)?;
        self.issue(call, &id)?;
        let fence = match &invoke.event.value["fence"] {
            Value::Null => None,
            other => Some(other.as_u64().ok_or_else(|| {
                Malformed::new(invoke.line, format!("fence {other}"), "a number from 0")
            })?),
        };
        let asked = match invoke.event.f.as_str() {
            "approve" => Asked::Approve { fence },
            "deny" => Asked::Deny { fence },
            "reissue" => Asked::Reissue { fence },
            _ => return Err(unknown_f(call, KNOWN)),
        };
        let mut answered = None;
        if let Some(end) = call.answer() {
            let (status, code) = answer(end)?;
            let told = &end.event.value;
            let verdict = told["verdict"].as_str().unwrap_or_default();
            let output = match (asked, status) {
                (Asked::Reissue { .. }, 200..300) => {
                    let fence = told["fence"].as_u64();
                    fence.map(|fence| Output::Reissued { fence })
                }
                _ => decided(status, code, verdict),
            };
            answered = output.map(|output| (end.at, output));
        }
        into.push(Operation {
            input: Input {
                id,
                call: asked,
                ttl: ttl(invoke)?,
            },
            invoked: invoke.at,
            answered,
        });
        Ok(())
    }

    fn spec(&self) -> Confirmations {
        self.issued.clone()
    }

    fn words(&self, operation: &OperationOf<Self>) -> String {
        let (verb, fence) = match operation.input.call {
            Asked::Approve { fence } => ("approve", fence),
            Asked::Deny { fence } => ("deny", fence),
            Asked::Reissue { fence } => ("reissue", fence),
        };
        let fence = fence.map_or(String::new(), |fence| format!(" with {fence}"));
        let told = match operation.output() {
            None => "?".to_owned(),
            Some(Output::Won) => "won".to_owned(),
            Some(Output::Decided(Verdict::Approved)) => "already approved".to_owned(),
            Some(Output::Decided(Verdict::Denied)) => "already denied".to_owned(),
            Some(Output::Stale) => "stale".to_owned(),
            Some(Output::Expired) => "expired".to_owned(),
            Some(Output::NotFound) => "not found".to_owned(),
            Some(Output::Reissued { fence }) => format!("fence {fence}"),
        };
        format!("{verb}{fence} → {told}")
    }
}
