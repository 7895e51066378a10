//! `junit.xml`, as Jenkins and GitLab read it: a suite an epic, a case a gate. FAIL is a failure,
//! UNKNOWN an error, SKIP skipped. GitLab shows an element's text and drops cases of one name, so the
//! text is in the element and a gate's name is unique.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::model::Status;
use crate::report::{GatePart, GateReport};

/// The file's name.
pub const JUNIT_FILE: &str = "junit.xml";

/// The file's text.
///
/// # Errors
/// When the writer refuses a text.
pub fn junit(report: &GateReport) -> Result<String, SerializeError> {
    let mut written = Report::new(format!("sonia-gate {}", report.release));
    written.set_time(Duration::from_secs_f64(report.elapsed_s));
    let mut suites: Vec<(String, TestSuite)> = Vec::new();
    for gate in &report.gates {
        let name = suite(gate);
        if suites.last().is_none_or(|(last, _)| *last != name) {
            suites.push((name.clone(), TestSuite::new(name.clone())));
        }
        if let Some((_, suite)) = suites.last_mut() {
            suite.add_test_case(case(gate, &name));
        }
    }
    for (_, suite) in &mut suites {
        let cases = suite.test_cases.iter();
        let time = cases.filter_map(|case| case.time).sum();
        suite.set_time(time);
    }
    written.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    written.to_string()
}

/// `v4.7.A`: the release that owns the gate, and the epic in it, if it is of one.
fn suite(gate: &GatePart) -> String {
    let release = gate.id.split('/').next().unwrap_or_default();
    let epic = gate.epic.rsplit('-').next().unwrap_or_default();
    match epic {
        "" => release.to_owned(),
        epic => format!("{release}.{epic}"),
    }
}

fn case(gate: &GatePart, suite: &str) -> TestCase {
    let status = match gate.status {
        Status::Pass => TestCaseStatus::success(),
        Status::Fail => told(NonSuccessKind::Failure, gate, &gate.violations),
        Status::Unknown => told(NonSuccessKind::Error, gate, &gate.undecided),
        Status::Skip => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(gate.detail.as_str());
            skipped
        }
    };
    let mut case = TestCase::new(gate.name.as_str(), status);
    case.set_classname(format!("sonia-gate.{suite}"));
    case.set_time(Duration::from_secs_f64(gate.duration_s));
    if gate.status == Status::Pass {
        case.set_system_out(gate.detail.as_str());
    }
    case
}

fn told(kind: NonSuccessKind, gate: &GatePart, reasons: &[String]) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(gate.detail.as_str());
    status.set_type(gate.status.word());
    status.set_description(reasons.join("\n"));
    status
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::sample::report_of_three;
    use super::*;

    #[test]
    fn every_gate_is_a_case_with_its_text_and_a_name_of_its_own() {
        let (_, report) = report_of_three();
        let text = junit(&report).unwrap();
        let read = Report::deserialize_from_str(&text).unwrap();
        assert_eq!((read.tests, read.failures, read.errors), (84, 1, 1));
        let cases: Vec<&TestCase> = read
            .test_suites
            .iter()
            .flat_map(|suite| &suite.test_cases)
            .collect();
        let names: BTreeSet<(&str, &str)> = cases
            .iter()
            .map(|case| {
                (
                    case.classname.as_ref().unwrap().as_str(),
                    case.name.as_str(),
                )
            })
            .collect();
        assert_eq!(names.len(), 84);
        let of = |name: &str| cases.iter().find(|case| case.name.as_str() == name);
        let failed = of("audit-chain-present").unwrap();
        assert_eq!(failed.time, Some(Duration::from_millis(1500)));
        assert_eq!(
            failed.classname.as_ref().unwrap().as_str(),
            "sonia-gate.v4.7.A"
        );
        match &failed.status {
            TestCaseStatus::NonSuccess {
                kind, description, ..
            } => {
                assert_eq!(*kind, NonSuccessKind::Failure);
                let text = description.as_ref().unwrap().as_str();
                assert_eq!(text, "seq 2 <got> 4, expected 3\n100 % wrong");
            }
            other => panic!("{other:?}"),
        }
        match &of("approval-race-safe").unwrap().status {
            TestCaseStatus::NonSuccess { kind, .. } => assert_eq!(*kind, NonSuccessKind::Error),
            other => panic!("{other:?}"),
        }
        let passed = &of("sustained-breach-detect").unwrap().status;
        assert!(matches!(passed, TestCaseStatus::Success { .. }));
        assert!(matches!(
            of("file-exists").unwrap().status,
            TestCaseStatus::Skipped { .. }
        ));
    }
}
