//! Judges stored evidence again, with nothing running.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use super::decide::Decision;
use super::drive::as_in_check;
use crate::checks;
use crate::model::{GateSpec, Status};

/// What a gate's stored evidence comes to, and one line why. The same evidence gives the same
/// answer as it did in the run; what is no evidence of this gate, or makes its judge panic, is
/// UNKNOWN.
#[must_use]
pub fn judged_again(gate: &GateSpec, evidence: &[u8]) -> (Status, String) {
    let unknown = |why: String| (Status::Unknown, why);
    let Some(check) = checks::find(&gate.name) else {
        return unknown("no check yet".to_owned());
    };
    let evidence: Value = match serde_json::from_slice(evidence) {
        Ok(evidence) => evidence,
        Err(error) => return unknown(format!("the evidence is no JSON: {error}")),
    };
    let stopped = match checks::stopped(&evidence) {
        Ok(stopped) => stopped,
        Err(why) => return unknown(why),
    };
    let judging = || as_in_check(|| check.judge(&evidence));
    match catch_unwind(AssertUnwindSafe(judging)) {
        Ok(Ok(judgement)) => {
            let decision = Decision::on(judgement, stopped, &gate.exercised);
            (decision.status, decision.detail)
        }
        Ok(Err(why)) => unknown(why),
        Err(_) => unknown("the judge panicked".to_owned()),
    }
}
