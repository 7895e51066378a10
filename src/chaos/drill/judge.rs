//! What a drill came to. Pure: the specifications that judge the gates, over what was recorded,
//! and the rule that nothing is green that was not done.

use super::experiment::{Act, Activity, Experiment};
use super::record::{Looked, Record, Step};
use super::vocabulary::Action;
use crate::chaos::approvals::Asked;
use crate::chaos::approvals::round::violations;
use crate::chaos::degrade::absence;
use crate::chaos::degrade::machine::{DEFAULT_BREACH_WINDOWS, DEFAULT_RECOVER_WINDOWS};
use crate::chaos::degrade::walk::{Walk, exact};
use crate::chaos::degrade::{Change, Step as Seen, Timeline};
use crate::chaos::keyed::{Tally, history, survival};
use crate::chaos::specs::Ttl;
use crate::chaos::{Judgement, overlapping_pairs};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was done and held.
    Pass,
    /// Something contradicts the claim.
    Fail,
    /// It could not be decided.
    Unknown,
}

impl Verdict {
    /// The verdict of a judgement.
    #[must_use]
    pub fn of(judgement: &Judgement) -> Self {
        match (
            judgement.violations.is_empty(),
            judgement.undecided.is_empty(),
        ) {
            (false, _) => Self::Fail,
            (true, false) => Self::Unknown,
            (true, true) => Self::Pass,
        }
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Judges what was recorded of an experiment.
#[must_use]
pub fn judge(experiment: &Experiment, record: &Record) -> Judgement {
    let mut judgement = Judgement::default();
    judge_course(experiment, record, &mut judgement);
    let mut told = Vec::new();
    if record.line.batches().next().is_some() {
        told.push(judge_modes(experiment, &record.line, &mut judgement));
    }
    if wants(experiment, |action| matches!(action, Action::Storm { .. })) {
        told.push(judge_rounds(record, &mut judgement));
    }
    if wants(experiment, |action| matches!(action, Action::Crash { .. })) {
        told.push(judge_crashes(record, &mut judgement));
    }
    told.extend(record.book.judge(&mut judgement));
    judgement
        .violations
        .extend(record.incidents.iter().map(ToString::to_string));
    judgement.detail = told.join("; ");
    judgement
}

fn wants(experiment: &Experiment, is: impl Fn(&Action) -> bool) -> bool {
    experiment.actions().any(is)
}

/// Whether everything was done that the file asks for, and the hypothesis met both times.
fn judge_course(experiment: &Experiment, record: &Record, judgement: &mut Judgement) {
    if let Some(why) = &record.trouble {
        judgement.undecided(format!("there was no target to drill: {why}"));
        return;
    }
    let looks = experiment.looks;
    let asked = |when: bool| when && experiment.hypothesis.is_some();
    judge_hypothesis(
        "before",
        asked(looks.before),
        record.before.as_ref(),
        judgement,
    );
    for step in record.run.iter().chain(&record.rollbacks) {
        judge_step(step, judgement);
    }
    let met = record.before.as_ref().is_none_or(Looked::met);
    for looked in &record.during {
        judge_hypothesis("during", true, Some(looked), judgement);
    }
    if met && asked(looks.during) && record.during.is_empty() {
        judgement.undecided("nobody looked at the hypothesis while the method went on");
    }
    if met {
        let (done, of) = (record.run.len(), experiment.method.len());
        if done < of {
            judgement.undecided(format!("{done} of {of} steps of the method were begun"));
        }
        judge_hypothesis(
            "after",
            asked(looks.after),
            record.after.as_ref(),
            judgement,
        );
    }
    if record.interrupted {
        judgement.undecided("interrupted");
    }
    let fault = |activity: &Activity| match &activity.act {
        Act::Do(action) => action.is_fault(),
        Act::Look(_) => false,
        Act::Foreign { action, .. } => *action,
    };
    if !experiment.method.iter().any(fault) {
        judgement.undecided("the method has no fault: nothing had to be survived");
    }
}

/// A step that failed, or one after which the fault may not have been there.
fn judge_step(step: &Step, judgement: &mut Judgement) {
    let name = &step.name;
    if let Some(why) = &step.failed {
        judgement.undecided(format!("`{name}` failed: {why}"));
    } else if let Some(why) = &step.unhappy {
        judgement.undecided(format!(
            "`{name}` {why}: what it was to do may not have happened"
        ));
    }
}

fn judge_hypothesis(when: &str, asked: bool, looked: Option<&Looked>, judgement: &mut Judgement) {
    let Some(looked) = looked else {
        if asked {
            judgement.undecided(format!("nobody looked at the hypothesis {when}"));
        }
        return;
    };
    for probe in &looked.probes {
        match (&probe.failed, probe.tolerated) {
            (Some(why), _) => {
                let name = &probe.name;
                judgement.undecided(format!("probe `{name}` {when} the method failed: {why}"));
            }
            (None, Some(true)) => {}
            (None, _) => {
                let (name, got) = (&probe.name, &probe.output);
                let expected = &probe.activity["tolerance"];
                judgement.violation(format!(
                    "the hypothesis is not met {when} the method: `{name}` got {got}, expected \
                     {expected}"
                ));
            }
        }
    }
    let never = looked.of - looked.probes.len();
    if looked.met() || never == 0 {
        return;
    }
    judgement.undecided(format!("{never} probes {when} the method never ran"));
}

/// Modes against the specification of the machine, with the numbers in the config.
fn judge_modes(experiment: &Experiment, line: &Timeline, judgement: &mut Judgement) -> String {
    let slo = line.steps.iter().find_map(|step| match step {
        Seen::Started { slo, .. } => Some(slo.clone()),
        _ => None,
    });
    let walk = Walk::read(line, exact(&slo.unwrap_or_default()));
    let wrong = walk.violations.iter().cloned().chain(walk.wrong_stays());
    judgement.violations.extend(wrong);
    judgement.undecided.extend(walk.undecided.iter().cloned());
    let turns = || line.batches().flat_map(|batch| &batch.turns);
    let refused = turns().filter(|turn| turn.status != 200).count();
    judgement.expect(refused == 0, || {
        format!(
            "got {refused} of {} turns not served, expected 0",
            turns().count()
        )
    });
    let until = |mode: Change| {
        wants(experiment, |action| {
            *action == Action::TrafficUntil { mode }
        })
    };
    let entered = walk.never_entered(line, DEFAULT_BREACH_WINDOWS);
    let exited = walk.never_exited(line, DEFAULT_RECOVER_WINDOWS as usize);
    for (mode, absent) in [(Change::Entered, entered), (Change::Exited, exited)] {
        match absent.filter(|_| until(mode)) {
            Some(absence::Verdict::Wrong(text)) => judgement.violation(text),
            Some(absence::Verdict::Unknown(text)) => judgement.undecided(text),
            None => {}
        }
    }
    let injects = wants(experiment, |action| {
        matches!(action, Action::InjectLatency { .. })
    });
    if injects && walk.slow_turns == 0 {
        judgement.undecided("latency was injected, and no turn certainly met it");
    }
    let story = walk.windows();
    let windows = story.chars().filter(|letter| !"<>K".contains(*letter));
    format!(
        "{} windows ({} slow turns, {} fast): {} entered, {} exited; {} probes shed, {} served",
        windows.count(),
        walk.slow_turns,
        walk.fast_turns,
        walk.count(Change::Entered),
        walk.count(Change::Exited),
        walk.refused,
        walk.served,
    )
}

/// Races against the specification of a decision.
fn judge_rounds(record: &Record, judgement: &mut Judgement) -> String {
    let (mut pairs, mut racers, mut conflicts, mut runs, mut wrong) = (0, 0, 0, 0, 0);
    for round in &record.rounds {
        let found = violations(round, record.ttl_ms, &mut judgement.undecided);
        wrong += u64::from(!found.is_empty());
        judgement.violations.extend(found);
        let intervals: Vec<_> = round.race.iter().filter_map(Asked::interval).collect();
        pairs += overlapping_pairs(&intervals);
        racers += round.race.len();
        conflicts += round
            .race
            .iter()
            .filter(|asked| asked.status == 409)
            .count();
        runs += round.runs.as_ref().map_or(0, Vec::len);
    }
    if pairs == 0 {
        judgement.undecided("no two decisions overlapped");
    }
    format!(
        "{} races, {racers} racers, {conflicts} conflicts, {runs} executions, {pairs} overlapping \
         pairs: {wrong} races went wrong",
        record.rounds.len(),
    )
}

/// Operations over KILLs against the doubles, and against the specification of keys.
fn judge_crashes(record: &Record, judgement: &mut Judgement) -> String {
    let mut tally = Tally::default();
    let mut requests = Vec::new();
    for lane in &record.lanes {
        survival::judge(lane, &mut tally);
        for subject in &lane.subjects {
            let asked = &subject.asked;
            let told = asked.tries.iter();
            requests.extend(told.filter_map(|one| history::request(asked, one, Ttl::Running)));
        }
    }
    history::judge(requests, &mut tally);
    if tally.kills_inside == 0 {
        judgement.undecided("no KILL landed inside an operation");
    }
    judgement.violations.extend(tally.violations);
    judgement.undecided.extend(tally.undecided);
    let kills: usize = record.lanes.iter().map(|lane| lane.kills.len()).sum();
    format!(
        "{kills} kills, {} inside an operation cut {} of {} keys; {} replays ({} after a KILL), {} \
         second effects",
        tally.kills_inside,
        tally.cut,
        tally.keys,
        tally.replays,
        tally.replays_after_kill,
        tally.second_effects,
    )
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
