//! Patterns on paper, seen right and wrong.

use super::super::twins::{Flaw, Paper};
use super::*;

fn rows(flaw: Flaw) -> Timeline {
    let mut paper = Paper::start(flaw, json!({}));
    if flaw == Flaw::NotFed {
        paper.drive(&"B".repeat(30)).wait();
        return paper.line;
    }
    paper.drive("BHBBHB").failing(610).wait().drive("B").wait();
    paper.line
}

fn neutral(flaw: Flaw) -> Timeline {
    let slo = json!({"window_ms": SHORT_WINDOWS_MS[0]});
    let mut paper = Paper::start(flaw, slo);
    paper
        .drive("B")
        .turns(FEW_TURNS, 610)
        .read()
        .idle(2)
        .drive("B")
        .idle(2)
        .drive("B")
        .wait();
    paper.line
}

fn hanging(flaw: Flaw) -> Timeline {
    let slo = json!({"window_ms": 600, "thresholds": {"total": {"p95": 500, "p99": 500}}});
    let mut paper = Paper::start(flaw, slo);
    paper.hang(WINDOW_TURNS, 3);
    for _ in 0..6 {
        paper.wait();
    }
    paper.line
}

fn wide(flaw: Flaw, p99: u64, windows: [(usize, u64); 2]) -> Timeline {
    let mut paper = Paper::start(flaw, tail(limits(100, Some(p99))));
    for (slow, slow_ms) in windows {
        paper.mixed(slow, slow_ms, TAIL_TURNS);
    }
    paper.wait();
    paper.line
}

fn evidence(flaw: Flaw) -> Evidence {
    Evidence {
        rows: vec![rows(flaw)],
        neutral: vec![neutral(flaw)],
        hanging: vec![hanging(flaw)],
        late: vec![wide(flaw, 125, [(1, 150), (2, 150)])],
        mean: vec![wide(flaw, 2500, [(5, 2100), (6, 150)])],
    }
}

#[test]
fn a_right_target_shows_every_pattern() {
    let judgement = judge(&evidence(Flaw::None));
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert_eq!(judgement.undecided, Vec::<String>::new());
    assert_eq!(judgement.exercised["patterns"], 10, "{judgement:?}");
    assert_eq!(judgement.exercised["samples_per_tail_window"], 100);
}

#[test]
fn each_flaw_is_a_violation() {
    for flaw in [
        Flaw::Cumulative,
        Flaw::EntersAtOnce,
        Flaw::EntersLate,
        Flaw::MeanForP95,
        Flaw::P99Ignored,
        Flaw::FewCount,
        Flaw::FewReset,
        Flaw::NeutralCounts,
        Flaw::HangUnseen,
        Flaw::FailuresUncounted,
        Flaw::NotFed,
        Flaw::EnteredSilently,
    ] {
        assert_ne!(
            judge(&evidence(flaw)).violations,
            Vec::<String>::new(),
            "{flaw:?}"
        );
    }
}

#[test]
fn what_comes_after_the_entry_is_not_asked() {
    for flaw in [
        Flaw::LeavesAfterOne,
        Flaw::ManualReset,
        Flaw::SecondEntered,
        Flaw::EnteredPerWindow,
        Flaw::TurnsShed,
        Flaw::MetricsWrong,
    ] {
        assert_eq!(
            judge(&evidence(flaw)).violations,
            Vec::<String>::new(),
            "{flaw:?}"
        );
    }
}

#[test]
fn a_try_that_load_spoiled_counts_for_nothing_when_a_later_one_is_clean() {
    // Each turn is just at its limit: nobody knows what the windows are.
    let mut spoiled = Paper::start(Flaw::None, json!({}));
    spoiled.turns(5, 500).read();
    let mut seen = evidence(Flaw::None);
    let clean = judge(&seen);
    seen.rows.insert(0, spoiled.line.clone());
    assert_eq!(judge(&seen).exercised, clean.exercised);
    seen.rows = vec![spoiled.line];
    assert_eq!(judge(&seen).exercised["patterns"], 6);
}

#[test]
fn neutral_windows_are_counted_only_when_they_were_there() {
    let mut seen = evidence(Flaw::None);
    let slo = json!({"window_ms": SHORT_WINDOWS_MS[0]});
    let mut paper = Paper::start(Flaw::None, slo);
    paper.drive("BBB");
    seen.neutral = vec![paper.line];
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert_eq!(judgement.exercised["patterns"], 9);
}

#[test]
fn nothing_seen_is_nothing_exercised() {
    let judgement = judge(&Evidence::default());
    assert!(
        judgement.exercised.values().all(|count| *count == 0),
        "{judgement:?}"
    );
    assert_eq!(judgement.undecided.len(), 5);
}
