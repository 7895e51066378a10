//! A report to write, for the tests of the writers.

use std::time::Duration;

use crate::base::Seed;
use crate::model::{Model, Plan, Selection, Status, TargetSpec};
use crate::report::{Context, GateReport, ProofUsed, report};
use crate::runner::Row;

/// A plan of three gates of the newest release, and a report in which they FAIL, stay open and PASS;
/// everything else is skipped.
pub(in crate::report) fn report_of_three() -> (Plan, GateReport) {
    let selection = Selection {
        gates: ["A1", "B1", "C1"].map(str::to_owned).to_vec(),
        ..Selection::default()
    };
    let plan = Model::embedded().unwrap().plan("v4.7", &selection).unwrap();
    let rows: Vec<Row> = plan
        .gates
        .iter()
        .map(|gate| match gate.spec.full_id().as_str() {
            "v4.7/A1" => Row {
                violations: vec![
                    "seq 2 <got> 4, expected 3".to_owned(),
                    "100 % wrong".to_owned(),
                ],
                duration: Duration::from_millis(1500),
                ..Row::settled(gate, Status::Fail, "seq 2 <got> 4, expected 3 (and 1 more)")
            },
            "v4.7/B1" => Row::settled(gate, Status::Unknown, "rounds: exercised 0, expected 1"),
            "v4.7/C1" => Row::settled(gate, Status::Pass, "3 windows"),
            _ => Row::settled(gate, Status::Skip, "not selected"),
        })
        .collect();
    let context = Context {
        plan: plan.clone(),
        target: TargetSpec::reference(),
        mutated: false,
        seed: Seed(7),
        partition: None,
        binary_sha256: None,
        source_digest: "0".repeat(64),
        git: None,
        proof: ProofUsed::default(),
    };
    let (_, report) = report(&context, &rows, false, Duration::from_secs(2));
    (plan, report)
}
