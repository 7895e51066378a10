//! `gate-report.sarif`, SARIF 2.1.0 as GitHub shows it: a rule a gate, a result for each gate that
//! FAILs (an error) or stays open (a warning), at the gate's line in `gates/*.toml`.

use serde_json::{Value, json};

use crate::base::json::sha256_hex;
use crate::model::{Plan, PlannedGate, Status};
use crate::report::{GatePart, GateReport};

/// The file's name.
pub const SARIF_FILE: &str = "gate-report.sarif";

/// The file's content.
#[must_use]
pub fn sarif(report: &GateReport, plan: &Plan) -> Value {
    let rules: Vec<Value> = plan.gates.iter().map(rule).collect();
    let rows = report.gates.iter();
    let results: Vec<Value> = rows
        .filter_map(|row| {
            let gate = plan.gates.iter().find(|gate| gate.spec.name == row.name)?;
            result(row, gate)
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "automationDetails": {"id": format!("sonia-gate/{}/", report.release)},
            "tool": {"driver": {
                "name": "sonia-gate",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "results": results,
        }],
    })
}

fn rule(gate: &PlannedGate) -> Value {
    let spec = &gate.spec;
    json!({
        "id": spec.name,
        "shortDescription": {"text": format!("{} {}", spec.full_id(), spec.name)},
        "fullDescription": {"text": spec.claim},
        "help": {"text": format!(
            "{} Its check is {}; it has to notice {}.",
            spec.claim, spec.check_file(), spec.mutants.join(", ")
        )},
        "defaultConfiguration": {"level": "error"},
    })
}

fn result(row: &GatePart, gate: &PlannedGate) -> Option<Value> {
    let (level, reasons) = match row.status {
        Status::Fail => ("error", &row.violations),
        Status::Unknown => ("warning", &row.undecided),
        Status::Pass | Status::Skip => return None,
    };
    let text = format!("{} {}: {}", row.status, row.id, reasons.join("\n"));
    Some(json!({
        "ruleId": row.name,
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": gate.spec.file},
            "region": {"startLine": gate.spec.line},
        }}],
        // What a gate says differs from run to run; that it fails is the same finding.
        "partialFingerprints": {"primaryLocationLineHash": sha256_hex(row.name.as_bytes())},
    }))
}

#[cfg(test)]
mod tests {
    use super::super::sample::report_of_three;
    use super::*;

    #[test]
    fn what_fails_or_stays_open_is_shown_at_its_line() {
        let (plan, report) = report_of_three();
        let written = sarif(&report, &plan);
        let run = &written["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 84);
        let results = run["results"].as_array().unwrap();
        let shown: Vec<_> = results
            .iter()
            .map(|one| {
                (
                    one["ruleId"].as_str().unwrap(),
                    one["level"].as_str().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("audit-chain-present", "error"),
            ("approval-race-safe", "warning"),
        ];
        assert_eq!(shown, expected);
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "gates/v4.7.toml");
        let line = place["region"]["startLine"].as_u64().unwrap() as usize;
        let toml = include_str!("../../../gates/v4.7.toml");
        let row: Vec<&str> = toml.lines().skip(line - 1).take(3).collect();
        assert_eq!(row[0], "[[gate]]");
        assert!(row[2].contains("audit-chain-present"), "{row:?}");
    }
}
