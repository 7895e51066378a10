//! All requests under keys as one history, judged by the specification of idempotency keys.

use super::Tally;
use super::operations::{Operation, Sort, Try};
use crate::chaos::linear::{Bounds, Outcome, check};
use crate::chaos::models::idempotency::told;
use crate::chaos::specs::Ttl;
use crate::chaos::specs::idempotency::{Answer, Keys, Request, operations};

/// A key sees a handful of requests: this is far beyond what any history here needs.
const HISTORY_BOUND: Bounds = Bounds::of_states(100_000);

/// Whether there is an order of these requests that explains every answer.
pub fn judge(requests: Vec<Told>, tally: &mut Tally) {
    match check(&Keys, &operations(requests), HISTORY_BOUND) {
        Outcome::Ok { .. } => {}
        Outcome::Illegal(illegal) => tally.violations.push(format!(
            "the history of key {} has no legal order: got an answer that no prefix of {} \
             operations allows, expected one execution and its stored answer",
            illegal.key,
            illegal.prefix.len()
        )),
        Outcome::Unknown { key, states } => {
            tally.undecided.push(format!(
                "the history of key {key} was given up at {states} states"
            ));
        }
    }
}

/// A request, when it was sent, and what it was told when.
pub type Told = (Request, u64, Option<(u64, Answer)>);

/// A request as the specification sees it; none for an answer that is never stored.
pub fn request(asked: &Operation, entry: &Try, ttl: Ttl) -> Option<Told> {
    let body = || {
        entry
            .body
            .map(|index| index.to_string())
            .unwrap_or_default()
    };
    let answer = match entry.status {
        0 => None,
        status => Some(told(status, asked.code(entry), entry.replayed, body)?),
    };
    let which = if entry.sort == Sort::Other {
        "another"
    } else {
        "the first"
    };
    let request = Request {
        key: asked.key.clone(),
        request: which.to_owned(),
        ttl,
    };
    Some((request, entry.invoked_us, entry.returned_us.zip(answer)))
}
