//! The rows of a report against the gates of its release, and each against itself.

use std::collections::{BTreeMap, BTreeSet};

use super::dossier::Kept;
use super::finding::{Finding, Kind};
use crate::base::Seed;
use crate::model::{Plan, PlannedGate, Status};
use crate::report::{GatePart, GateReport};
use crate::runner::{EVIDENCE_FILE, JudgedAgain, attempt_seed};

/// Whether the rows are the gates of the release, each once and in order.
pub(super) fn against_the_plan(report: &GateReport, plan: &Plan, found: &mut Vec<Finding>) {
    let mut say = |text: String| found.push(Finding::new(Kind::Gates, text));
    let mut seen = BTreeSet::new();
    for row in &report.gates {
        if !seen.insert(row.name.as_str()) {
            say(format!("{} has two rows", row.name));
        }
        if !plan.gates.iter().any(|gate| gate.spec.name == row.name) {
            say(format!("{} is no gate of {}", row.name, plan.release.name));
        }
    }
    for gate in &plan.gates {
        let name = &gate.spec.name;
        match report.gates.iter().find(|row| row.name == *name) {
            None => say(format!("{} {name} has no row", gate.spec.full_id())),
            Some(row) => {
                for text in differences(row, gate) {
                    say(format!("{name}: {text}"));
                }
            }
        }
    }
    let order = |names: Vec<&str>| names.join(" ");
    let got = order(report.gates.iter().map(|row| row.name.as_str()).collect());
    let expected = order(
        plan.gates
            .iter()
            .map(|gate| gate.spec.name.as_str())
            .collect(),
    );
    if seen.len() == plan.gates.len() && got != expected {
        say("the rows are not in the order of the release".to_owned());
    }
}

/// Where a row says other things of its gate than the model.
fn differences(row: &GatePart, gate: &PlannedGate) -> Vec<String> {
    let mut texts = Vec::new();
    let mut differ = |what: &str, got: String, expected: String| {
        if got != expected {
            texts.push(format!("{what} is {got}, expected {expected}"));
        }
    };
    differ("the id", row.id.clone(), gate.spec.full_id());
    differ(
        "the class",
        format!("{:?}", row.class),
        format!("{:?}", gate.class),
    );
    differ(
        "the epic",
        format!("`{}`", row.epic),
        format!("`{}`", gate.epic),
    );
    differ(
        "the minimum",
        shown(&row.minimum),
        shown(&gate.spec.exercised),
    );
    differ(
        "the list of mutants",
        row.mutants.join(" "),
        gate.spec.mutants.join(" "),
    );
    texts
}

fn shown(counts: &BTreeMap<String, u64>) -> String {
    let pairs = counts.iter().map(|(name, count)| format!("{name} {count}"));
    pairs.collect::<Vec<_>>().join(", ")
}

/// Whether this may be how long something took, in seconds.
fn is_time(seconds: f64) -> bool {
    seconds.is_finite() && seconds >= 0.0
}

/// Where a row contradicts itself, or the seed of its run.
pub(super) fn against_themselves(report: &GateReport, found: &mut Vec<Finding>) {
    let seed = report.seed.parse::<Seed>();
    if seed.is_err() {
        let text = format!("the seed is `{}`", report.seed);
        found.push(Finding::new(Kind::Row, text));
    }
    if !is_time(report.elapsed_s) {
        let text = format!("the run took {} s", report.elapsed_s);
        found.push(Finding::new(Kind::Row, text));
    }
    for row in &report.gates {
        let mut say = |text: String| {
            found.push(Finding::new(Kind::Row, format!("{}: {text}", row.name)));
        };
        if row.status == Status::Pass {
            passed(row, &mut say);
        }
        if !is_time(row.duration_s) {
            say(format!("it took {} s", row.duration_s));
        }
        if row.status == Status::Fail && row.violations.is_empty() {
            say("FAIL without a violation".to_owned());
        }
        if row
            .attempts
            .last()
            .is_some_and(|last| last.status != row.status)
        {
            say("the last attempt has another status".to_owned());
        }
        let earlier = row.attempts.iter().rev().skip(1);
        if earlier
            .clone()
            .any(|attempt| attempt.status != Status::Unknown)
        {
            say("it was driven again after it was decided".to_owned());
        }
        if let Ok(seed) = &seed {
            for (number, attempt) in row.attempts.iter().enumerate() {
                let expected = attempt_seed(*seed, &row.name, number + 1);
                if attempt.seed != expected.to_string() {
                    say(format!(
                        "attempt {} has the seed {}, expected {expected}",
                        number + 1,
                        attempt.seed
                    ));
                }
            }
        }
    }
}

fn passed(row: &GatePart, say: &mut impl FnMut(String)) {
    if !row.violations.is_empty() || !row.undecided.is_empty() {
        let (wrong, open) = (row.violations.len(), row.undecided.len());
        say(format!(
            "PASS with {wrong} violations and {open} open questions"
        ));
    }
    if row.attempts.is_empty() {
        say("PASS without a drive".to_owned());
    }
    for (name, least) in &row.minimum {
        let got = row.exercised.get(name).copied().unwrap_or(0);
        if got < *least {
            say(format!(
                "PASS with {name} exercised {got}, expected {least}"
            ));
        }
    }
    let own = format!("evidence/{}/{EVIDENCE_FILE}", row.name);
    if !row.evidence.iter().any(|file| file.path == own) {
        say("PASS without evidence".to_owned());
    }
}

/// Whether every file of evidence is there as the report names it, and no other.
pub(super) fn evidence(
    report: &GateReport,
    kept: &BTreeMap<String, Kept>,
    found: &mut Vec<Finding>,
) {
    let mut say = |text: String| found.push(Finding::new(Kind::Evidence, text));
    let mut named = BTreeSet::new();
    for row in &report.gates {
        let own = format!("evidence/{}/", row.name);
        for file in &row.evidence {
            if !file.path.starts_with(&own) {
                say(format!(
                    "{} names {}, which is not its own",
                    row.name, file.path
                ));
            }
            if !named.insert(file.path.as_str()) {
                say(format!("{} is named twice", file.path));
            }
            match kept.get(&file.path) {
                None => say(format!("{} is missing", file.path)),
                Some(on_disk) if on_disk.sha256 != file.sha256 => say(format!(
                    "{} has the digest {}, expected {}",
                    file.path, on_disk.sha256, file.sha256
                )),
                Some(_) => {}
            }
        }
    }
    for path in kept.keys().filter(|path| !named.contains(path.as_str())) {
        say(format!("{path} is named nowhere in the report"));
    }
}

/// Where the evidence of a gate gives something else than its row when it is judged again, or is of
/// another drive.
pub(super) fn rederived(
    report: &GateReport,
    plan: &Plan,
    kept: &BTreeMap<String, Kept>,
    found: &mut Vec<Finding>,
) -> usize {
    let mut judged = 0;
    for row in report.gates.iter().filter(|row| row.status != Status::Skip) {
        let path = format!("evidence/{}/{EVIDENCE_FILE}", row.name);
        let gate = plan.gates.iter().find(|gate| gate.spec.name == row.name);
        let (Some(kept), Some(gate)) = (kept.get(&path), gate) else {
            continue;
        };
        judged += 1;
        let again = crate::runner::judged_again(&gate.spec, &kept.bytes);
        for text in unlike(row, &again) {
            let text = format!("{}: {text}", row.name);
            let fails = again.decision.status == Status::Fail && row.status != Status::Fail;
            let kind = if fails {
                Kind::Refuted
            } else {
                Kind::Rederived
            };
            found.push(Finding::new(kind, text));
        }
    }
    judged
}

/// Where a row says something else than its evidence.
fn unlike(row: &GatePart, again: &JudgedAgain) -> Vec<String> {
    let decision = &again.decision;
    if decision.status != row.status {
        let (got, why) = (decision.status, &decision.detail);
        return vec![format!(
            "the evidence gives {got}, the report says {}: {why}",
            row.status
        )];
    }
    let mut texts = Vec::new();
    let last = row.attempts.last().map(|last| last.seed.as_str());
    if last != again.seed.as_deref() {
        let of = again.seed.as_deref().unwrap_or("no drive");
        texts.push(format!(
            "the evidence is of the seed {of}, and not of this drive"
        ));
    }
    // The line of a gate that was driven again says so behind what its judge said.
    let said = row.detail.split(" (attempt ").next().unwrap_or_default();
    let judged = decision
        .detail
        .split(" (attempt ")
        .next()
        .unwrap_or_default();
    for (what, same) in [
        ("what was exercised", row.exercised == decision.exercised),
        ("the violations", row.violations == decision.violations),
        ("what stayed open", row.undecided == decision.undecided),
        ("the line", said == judged),
    ] {
        if !same {
            texts.push(format!(
                "{what}: the report says something else than the evidence"
            ));
        }
    }
    texts
}
