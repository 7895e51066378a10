//! Edited targets on paper, right and wrong.

use super::super::twins::{Flaw, Paper};
use super::*;
use crate::base::json::sha256_hex;

const KINDS: [(&str, &str); 3] = [("cut", ""), ("p99 under p95", "p99"), ("zero", "p95")];

fn start(flaw: Flaw, breach_windows: u64) -> Paper {
    let mut slo = limit(HIGH_MS);
    slo["breach_windows"] = json!(breach_windows);
    Paper::start(flaw, slo)
}

fn windows(paper: &mut Paper, windows: usize) {
    for _ in 0..windows {
        paper.turns(WINDOW_TURNS, HELD_MS + 4).read();
    }
}

fn edits(flaw: Flaw) -> Timeline {
    let mut paper = start(flaw, MANY_WINDOWS);
    windows(&mut paper, 1);
    windows(paper.edit("low", limit(LOW_MS)), 2);
    windows(paper.edit("first", limit(HIGH_MS)), 2);
    windows(paper.edit("low", limit(LOW_MS)), 3);
    windows(paper.edit("n", json!({"breach_windows": FEWER_WINDOWS})), 3);
    paper.wait();
    paper.line
}

fn broken(flaw: Flaw) -> Timeline {
    let mut paper = start(flaw, NO_ENTRY);
    windows(&mut paper, 1);
    for (name, names) in KINDS {
        windows(paper.spoil(name, names, 60), 1);
    }
    windows(paper.edit("low", limit(LOW_MS)), 2);
    windows(paper.spoil(KINDS[0].0, KINDS[0].1, 200), 1);
    paper.spoil("half", "", 1);
    windows(paper.edit("first", limit(HIGH_MS)), 2);
    for _ in 0..6 {
        paper.wait();
    }
    paper.line
}

fn warnings(times: usize) -> Vec<String> {
    let line = |(name, _): (&str, &str)| format!("WARN sha256={}", sha256_hex(name.as_bytes()));
    let once = KINDS.into_iter().map(line);
    once.flat_map(|line| std::iter::repeat_n(line, times))
        .collect()
}

fn evidence(flaw: Flaw) -> Evidence {
    Evidence {
        edits: edits(flaw),
        broken: broken(flaw),
        warnings: warnings(1),
    }
}

#[test]
fn a_right_target_exercises_everything() {
    let judgement = judge(&evidence(Flaw::None));
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert_eq!(judgement.undecided, Vec::<String>::new());
    let expected = [
        ("edits", 6),
        ("reverts", 2),
        ("counts_kept", 1),
        ("invalid_files", 3),
        ("repeats", 1),
    ];
    for (name, count) in expected {
        assert_eq!(judgement.exercised[name], count, "{name}: {judgement:?}");
    }
}

#[test]
fn each_flaw_is_a_violation() {
    for flaw in [
        Flaw::NeedsRestart,
        Flaw::CountReset,
        Flaw::ZeroesLimits,
        Flaw::RejectsTwice,
        Flaw::RejectsVaguely,
        Flaw::ReadsAtOnce,
        Flaw::Restarts,
    ] {
        assert_ne!(
            judge(&evidence(flaw)).violations,
            Vec::<String>::new(),
            "{flaw:?}"
        );
    }
}

#[test]
fn a_refusal_that_is_not_told_is_a_violation_when_it_had_all_the_time() {
    let silent = |looks: usize| {
        let mut paper = start(Flaw::RejectsSilently, NO_ENTRY);
        paper.spoil("cut", "", 60);
        for _ in 0..looks {
            paper.wait();
        }
        judge(&Evidence {
            broken: paper.line,
            ..Evidence::default()
        })
    };
    let early = silent(1);
    assert!(
        early.violations.is_empty() && !early.undecided.is_empty(),
        "{early:?}"
    );
    assert!(!silent(6).violations.is_empty());
}

#[test]
fn a_content_that_is_not_warned_of_or_twice_is_a_violation() {
    for times in [0, 2] {
        let mut seen = evidence(Flaw::None);
        seen.warnings = warnings(times);
        assert_eq!(judge(&seen).violations.len(), KINDS.len(), "{times}");
    }
}

#[test]
fn a_refusal_of_what_is_to_be_taken_is_a_violation() {
    let mut seen = evidence(Flaw::None);
    let edit = seen.edits.edits().next().unwrap().sha256.clone();
    for sha256 in [edit, "0".repeat(64)] {
        let mut line = seen.edits.clone();
        let event = json!({
            "seq": 900, "type": "slo.config.rejected", "data": {"sha256": sha256, "message": "no"},
        });
        let read = line.steps.iter_mut().rev().find_map(|step| match step {
            Step::Read(read) => Some(read),
            _ => None,
        });
        read.unwrap()
            .events
            .push(serde_json::from_value(event).unwrap());
        std::mem::swap(&mut line, &mut seen.edits);
        assert_eq!(judge(&seen).violations.len(), 1);
        seen.edits = line;
    }
}

#[test]
fn a_process_that_is_gone_is_a_violation() {
    let mut seen = evidence(Flaw::None);
    for step in &mut seen.broken.steps {
        if let Step::Effective(look) = step {
            look.pid = None;
        }
    }
    assert_eq!(judge(&seen).violations.len(), 1);
}

#[test]
fn what_degrades_and_sheds_is_not_asked() {
    for flaw in [
        Flaw::TurnsShed,
        Flaw::ManualReset,
        Flaw::LeavesAfterOne,
        Flaw::FramesServed,
    ] {
        assert_eq!(
            judge(&evidence(flaw)).violations,
            Vec::<String>::new(),
            "{flaw:?}"
        );
    }
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
