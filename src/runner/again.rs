//! Judges stored evidence again, with nothing running.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use super::decide::Decision;
use super::drive::as_in_check;
use crate::checks;
use crate::model::GateSpec;

/// What a gate's stored evidence comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedAgain {
    /// Status, reasons and counts.
    pub decision: Decision,
    /// What the drive drew from, as the evidence says it; none when it is no evidence.
    pub seed: Option<String>,
}

/// Judges it. The same evidence gives the same answer as it did in the run; what is no evidence of
/// this gate, or makes its judge panic, is UNKNOWN.
#[must_use]
pub fn judged_again(gate: &GateSpec, evidence: &[u8]) -> JudgedAgain {
    let unknown = |why: String| JudgedAgain {
        decision: Decision::unknown(why),
        seed: None,
    };
    let Some(check) = checks::find(&gate.name) else {
        return unknown("no check yet".to_owned());
    };
    let evidence: Value = match serde_json::from_slice(evidence) {
        Ok(evidence) => evidence,
        Err(error) => return unknown(format!("the evidence is no JSON: {error}")),
    };
    let drive = match checks::drive_of(&evidence) {
        Ok(drive) => drive,
        Err(why) => return unknown(why),
    };
    let judging = || as_in_check(|| check.judge(&evidence));
    let decision = match catch_unwind(AssertUnwindSafe(judging)) {
        Ok(Ok(judgement)) => Decision::on(judgement, drive.stopped, &gate.exercised),
        Ok(Err(why)) => Decision::unknown(why),
        Err(_) => Decision::unknown("the judge panicked"),
    };
    JudgedAgain {
        decision,
        seed: Some(drive.seed),
    }
}
