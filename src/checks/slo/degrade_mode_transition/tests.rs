//! Entries on paper, right and wrong.

use super::super::twins::{Flaw, Paper};
use super::*;
use crate::chaos::degrade::Step;
use crate::checks::Sent;

/// Essential work of every kind, answered with this status.
fn essential(status: u16) -> Vec<Essential> {
    let ask = |kind: &str, method: &str, path: &str| Essential {
        kind: kind.to_owned(),
        sent: Sent {
            service: "api-gateway".to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            actor: Some("op-1".to_owned()),
            role: Some("operator".to_owned()),
            id: "cor_1".to_owned(),
            body: None,
            invoked_us: 0,
            returned_us: Some(1),
            status,
            answer: Value::Null,
            error: None,
        },
    };
    vec![
        ask(
            KINDS[0],
            "GET",
            "/v3/confirmations/pending?session_id=ses_1",
        ),
        ask(KINDS[0], "POST", "/v3/confirmations/cnf_1/approve"),
        ask(KINDS[1], "POST", "/v3/actions/plan"),
        ask(KINDS[1], "POST", "/v3/actions/act_1/approve"),
        ask(KINDS[2], "POST", "/gate-tool-call"),
        ask(KINDS[2], "POST", "/approve"),
        ask(KINDS[3], "POST", "/tasks"),
        ask(KINDS[4], "POST", "/store"),
    ]
}

fn evidence(flaw: Flaw) -> Evidence {
    let mut paper = Paper::start(flaw, json!({}));
    paper.probe().drive("B").probe().drive("BB");
    if flaw == Flaw::EnteredSilently || flaw == Flaw::NotFed {
        paper.drive(&"B".repeat(30)).wait();
    } else {
        paper.probe().probe().drive("B").wait();
    }
    let counter = |shed: u64| {
        let (before, after) = (Some(3), Some(3 + shed));
        Counted { before, after }
    };
    let shed = COUNTING.iter().zip(paper.shed);
    Evidence {
        counted: shed
            .map(|(name, shed)| ((*name).to_owned(), counter(shed)))
            .collect(),
        line: paper.line,
        before: essential(200),
        during: essential(200),
    }
}

#[test]
fn a_right_entry_exercises_everything() {
    let judgement = judge(&evidence(Flaw::None));
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert_eq!(judgement.undecided, Vec::<String>::new());
    let exercised = ["entries", "shed", "served"].map(|name| judgement.exercised[name]);
    assert_eq!(exercised, [1, 4, 6], "{judgement:?}");
    assert!(judgement.exercised["controls"] >= 9, "{judgement:?}");
}

#[test]
fn each_flaw_is_a_violation() {
    for flaw in [
        Flaw::EnteredPerWindow,
        Flaw::EnteredSilently,
        Flaw::MetricsWrong,
        Flaw::ReasonMissing,
        Flaw::ShedsBefore,
        Flaw::ShedUncounted,
        Flaw::FramesServed,
        Flaw::WritesShed,
        Flaw::TurnsShed,
        Flaw::NotFed,
    ] {
        assert_ne!(
            judge(&evidence(flaw)).violations,
            Vec::<String>::new(),
            "{flaw:?}"
        );
    }
}

#[test]
fn how_many_breaches_degrade_and_how_it_ends_is_not_asked() {
    for flaw in [
        Flaw::Cumulative,
        Flaw::LeavesAfterOne,
        Flaw::ManualReset,
        Flaw::StatusStatic,
    ] {
        assert_eq!(
            judge(&evidence(flaw)).violations,
            Vec::<String>::new(),
            "{flaw:?}"
        );
    }
}

#[test]
fn essential_work_that_is_refused_is_a_violation_before_and_while_degraded() {
    let mut seen = evidence(Flaw::None);
    seen.during = essential(503);
    assert_eq!(judge(&seen).violations.len(), essential(503).len());
    let mut seen = evidence(Flaw::None);
    seen.before = essential(500);
    assert_eq!(judge(&seen).violations.len(), essential(500).len());
}

#[test]
fn a_decision_that_was_not_offered_is_not_exercised() {
    let mut seen = evidence(Flaw::None);
    seen.during
        .retain(|each| !each.sent.path.ends_with("/approve"));
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert_eq!(judgement.exercised["served"], 3);
}

#[test]
fn without_a_breach_after_them_refusals_prove_nothing() {
    let mut seen = evidence(Flaw::None);
    let probes = seen
        .line
        .steps
        .iter()
        .rposition(|step| matches!(step, Step::Probe(_)));
    seen.line.steps.truncate(probes.unwrap() + 1);
    assert_eq!(judge(&seen).exercised["shed"], 0);
}

#[test]
fn nothing_seen_is_nothing_exercised() {
    let judgement = judge(&Evidence::default());
    assert!(
        judgement.exercised.values().all(|count| *count == 0),
        "{judgement:?}"
    );
    assert!(!judgement.undecided.is_empty());
}
