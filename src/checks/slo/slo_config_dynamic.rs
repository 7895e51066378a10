//! v4.7/C6: edits of the config file take effect within a window in the same process, and an
//! invalid file leaves the old values with one warning and one event.
//!
//! Two targets side by side. Every turn takes a little more than the low limit and far less than
//! the high one, so that the class of each window shows which limit is in force. The first target
//! gets the low limit, the first one back, the low one again, and then another N in the middle of a
//! row of breached windows: when the entry comes shows that the count went on. The second gets
//! files broken in many ways, under the high limit and under the low one, one of them twice, and
//! one that is whole again before it may be read. Files are replaced, overwritten, deleted and made
//! again. That an edit is in force is taken from `/status`, or from the time that has passed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::in_force::EDIT_BOUND_US;
use super::lane::lane;
use super::rejections::Rejections;
use super::walk::{Walk, counts};
use crate::chaos::degrade::edits::Broken;
use crate::chaos::degrade::lane::WINDOW_TURNS;
use crate::chaos::degrade::timeline::{Step, Timeline};
use crate::chaos::degrade::{Change, Count, Cycle, Edit, Injection, Lane, Rules, Went};
use crate::checks::{Cx, Judgement, Undecided};
use crate::target::Writing;

#[cfg(test)]
mod tests;

/// What each turn takes at least, in milliseconds.
const HELD_MS: u64 = 30;
/// Every turn is over it.
const LOW_MS: u64 = 20;
/// No turn is over it, on any machine.
const HIGH_MS: u64 = 8000;
/// N of the first target, and what it is edited to.
const MANY_WINDOWS: u64 = 9;
const FEWER_WINDOWS: u64 = 5;
/// N of the second target: its modes are not asked.
const NO_ENTRY: u64 = 1000;
/// Windows driven while a content stays that was refused before: far longer than a file is left
/// alone before it is read.
const WINDOWS_TO_REPEAT: usize = 5;
/// How long the target may take to do something about the file.
const BOUND: Duration = Duration::from_micros(EDIT_BOUND_US);
/// How the file is written, in turn.
const WAYS: [Writing; 3] = [Writing::Rename, Writing::InPlace, Writing::Anew];

/// What was seen of the two targets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Edits that are to be taken.
    pub edits: Timeline,
    /// Contents that are not, and edits in between.
    pub broken: Timeline,
    /// The warnings that the second target wrote to stderr.
    pub warnings: Vec<String>,
}

/// The windows by the limits in force, the counts, and what was said of each refused content.
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let edits = windows("edits", &seen.edits, &mut judgement);
    let broken = windows("broken files", &seen.broken, &mut judgement);
    let rejections = Rejections::of(&seen.broken, &seen.warnings);
    rejections.tell(&mut judgement);
    Rejections::of(&seen.edits, &[]).nothing_else(&mut judgement);
    let kept = count_went_on(&seen.edits, &edits);
    if let (None, Some(text)) = (kept, never_entered(&seen.edits, &edits)) {
        judgement.undecided(text);
    }
    let reverts = reverts(&seen.edits) + reverts(&seen.broken);
    let effects = edits.in_force.effects + broken.in_force.effects;
    let shown = rejections.shown_by_windows(&seen.broken);
    judgement.exercised("edits", effects);
    judgement.exercised("reverts", reverts);
    judgement.exercised("counts_kept", kept.is_some().into());
    judgement.exercised("invalid_files", shown);
    judgement.exercised("repeats", rejections.repeats);
    judgement.detail = format!(
        "{effects} edits in force after {} ms at most, {reverts} of them back to the first; windows \
         {:?}: entered {} windows after N was edited; {shown} broken files refused in {} ms at most, \
         with {} events and {} warnings, and {} again without; windows {:?}",
        longest_ms(&seen.edits).max(longest_ms(&seen.broken)),
        edits.windows(),
        kept.map_or("?".to_owned(), |windows| windows.to_string()),
        rejections.longest_ms,
        rejections.events,
        rejections.warnings,
        rejections.repeats,
        broken.windows(),
    );
    judgement
}

/// One target's windows, each held against the settings that were in force, and its process.
fn windows(name: &str, line: &Timeline, judgement: &mut Judgement) -> Walk {
    let rules_of = |slo: &Value| Rules {
        breach: Count::At(counts(slo).0),
        recover: Count::From(1),
    };
    let walk = Walk::follow(line, rules_of(&Value::Null), &rules_of);
    for text in walk.violations.iter().chain(&walk.misread) {
        judgement.violation(format!("{name}: {text}"));
    }
    for text in &walk.undecided {
        judgement.undecided(format!("{name}: {text}"));
    }
    let pids = line.steps.iter().filter_map(|step| match step {
        Step::Edit(edit) => Some(edit.pid),
        Step::Effective(effective) => Some(effective.pid),
        _ => None,
    });
    let mut pids: Vec<Option<u32>> = pids.collect();
    pids.dedup();
    judgement.expect(pids.len() <= 1 && !pids.contains(&None), || {
        let pids = pids
            .iter()
            .map(|pid| pid.map_or("none".to_owned(), |pid| pid.to_string()));
        let pids = pids.collect::<Vec<_>>().join(" ");
        format!("{name}: got the processes {pids} over the edits, expected one")
    });
    walk
}

/// How many windows after the last edit the entry came, if so few cannot be a whole row.
fn count_went_on(line: &Timeline, walk: &Walk) -> Option<usize> {
    let entered = walk
        .edges
        .iter()
        .find(|edge| edge.change == Change::Entered)?;
    let edit = line
        .edits()
        .filter(|edit| edit.returned_us <= entered.latest_us)
        .last()?;
    let (needed, _) = counts(edit.slo.as_ref()?);
    let since = line.batches().filter(|batch| {
        batch.invoked_us >= edit.returned_us && batch.returned_us <= entered.latest_us
    });
    let windows = since.count();
    (windows < needed as usize).then_some(windows)
}

/// A target that was driven through all edits and did not enter: the walk says why that is wrong
/// when it is.
fn never_entered(line: &Timeline, walk: &Walk) -> Option<String> {
    let text = "edits: no entry shows that the count went on";
    (line.steps.is_empty() || walk.count(Change::Entered) == 0).then(|| text.to_owned())
}

/// Edits back to what the target was started with, that windows showed.
fn reverts(line: &Timeline) -> u64 {
    let started = line.steps.iter().find_map(|step| match step {
        Step::Started { slo, .. } => Some(slo),
        _ => None,
    });
    let back = line
        .edits()
        .filter(|edit| edit.slo.is_some() && edit.slo.as_ref() == started);
    back.filter(|edit| two_windows_since(line, edit)).count() as u64
}

fn two_windows_since(line: &Timeline, edit: &Edit) -> bool {
    let since = line
        .batches()
        .filter(|batch| batch.invoked_us >= edit.returned_us);
    since.take(2).count() == 2
}

/// The longest that an edit took to be shown as in force, in milliseconds.
fn longest_ms(line: &Timeline) -> u64 {
    let mut edited_us = 0;
    let mut longest_us = 0;
    for step in &line.steps {
        match step {
            Step::Edit(edit) if edit.slo.is_some() => edited_us = edit.returned_us,
            Step::Effective(look) => {
                longest_us = longest_us.max(look.returned_us.saturating_sub(edited_us));
            }
            _ => {}
        }
    }
    longest_us / 1000
}

fn limit(ms: u64) -> Value {
    json!({"thresholds": {"total": {"p95": ms, "p99": ms}}})
}

/// Drives both targets side by side.
///
/// # Errors
/// When a target cannot be driven on.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut slo = limit(HIGH_MS);
    slo["breach_windows"] = json!(MANY_WINDOWS);
    let one = lane(cx, &slo, Injection::Double).await?;
    slo["breach_windows"] = json!(NO_ENTRY);
    let two = lane(cx, &slo, Injection::Double).await?;
    let _span = cx.span("windows");
    let Evidence {
        edits,
        broken,
        warnings,
    } = seen;
    tokio::try_join!(take(one, edits), refuse(two, broken, warnings))?;
    Ok(())
}

/// Windows, one after the other. False when their events do not come.
async fn drive_windows(cycle: &mut Cycle<'_>, windows: usize) -> anyhow::Result<bool> {
    for _ in 0..windows {
        if cycle.turns(WINDOW_TURNS, None).await? == Went::Silent {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Low, back, low again, and another N in the middle of a row.
async fn take(lane: Lane, line: &mut Timeline) -> anyhow::Result<()> {
    let mut cycle = lane.open(line).await?;
    cycle.hold_each(HELD_MS);
    if !drive_windows(&mut cycle, 1).await? {
        return Ok(());
    }
    let edits = [
        ("the low limit", limit(LOW_MS), 2),
        ("the first limit again", limit(HIGH_MS), 2),
        ("the low limit again", limit(LOW_MS), 3),
        ("another N", json!({"breach_windows": FEWER_WINDOWS}), 0),
    ];
    for ((name, slo, windows), how) in edits.iter().zip(WAYS.into_iter().cycle()) {
        cycle.edit(name, slo, how)?;
        let in_force = cycle.effective(BOUND).await?;
        // A target that does not take one edit is not asked to take the next.
        if !drive_windows(&mut cycle, *windows).await? || !in_force {
            return Ok(());
        }
    }
    // Three breached windows at most are missing; the last may not be waited for in vain.
    for left in (0..3).rev() {
        let expect = (left == 0).then_some(Change::Entered);
        if cycle.degraded() || cycle.turns(WINDOW_TURNS, expect).await? == Went::Silent {
            break;
        }
    }
    Ok(())
}

/// Broken files under the high limit and under the low one, and the first limit at last.
async fn refuse(lane: Lane, line: &mut Timeline, warnings: &mut Vec<String>) -> anyhow::Result<()> {
    let mut cycle = lane.open(line).await?;
    cycle.hold_each(HELD_MS);
    let broken = broken_files(&cycle)?;
    let (some, others) = broken.split_at(broken.len() / 2);
    let all_told = drive_windows(&mut cycle, 1).await?
        && spoil(&mut cycle, some).await?
        && {
            cycle.edit("the low limit", &limit(LOW_MS), Writing::Rename)?;
            cycle.effective(BOUND).await? && drive_windows(&mut cycle, 2).await?
        }
        && spoil(&mut cycle, others).await?;
    if all_told {
        cycle.spoil(&broken[0], Writing::Rename)?;
        drive_windows(&mut cycle, WINDOWS_TO_REPEAT).await?;
        let text = cycle.text_with(&json!({"slo": limit(HIGH_MS)}))?;
        let half = Broken {
            name: "half of a file that is written on at once",
            text: text[..text.len() / 2].to_vec(),
            names: "",
        };
        cycle.spoil(&half, Writing::InPlace)?;
        cycle.edit("the first limit again", &limit(HIGH_MS), Writing::InPlace)?;
        cycle.effective(BOUND).await?;
        drive_windows(&mut cycle, 2).await?;
    }
    *warnings = cycle.warnings(broken.len()).await?;
    Ok(())
}

/// Writes each, drives a window, and waits until its refusal is told. False when it is not.
async fn spoil(cycle: &mut Cycle<'_>, files: &[Broken]) -> anyhow::Result<bool> {
    for (file, how) in files.iter().zip(WAYS.into_iter().cycle()) {
        cycle.spoil(file, how)?;
        if !drive_windows(cycle, 1).await? || !cycle.rejection(BOUND).await? {
            return Ok(false);
        }
    }
    drive_windows(cycle, 2).await
}

/// Files that are not to be taken, each broken in a way of its own. What they would change shows:
/// they have limits that are not in force.
fn broken_files(cycle: &Cycle<'_>) -> anyhow::Result<Vec<Broken>> {
    let low = cycle.text_with(&json!({"slo": limit(HELD_MS * 2)}))?;
    let cut = |name, at: usize| Broken {
        name,
        text: low[..at].to_vec(),
        names: "",
    };
    let mut files = vec![
        cut("an empty file", 0),
        cut("a file cut after a third", low.len() / 3),
        cut("a file without its last byte", low.len() - 1),
    ];
    let total = |p95: Value, p99: Value| json!({"slo": {"thresholds": {"total": {"p95": p95, "p99": p99}}}});
    let wrong = [
        (
            "an unknown key",
            json!({"slo": {"breach_window": 2}}),
            "breach_window",
        ),
        ("an unknown key beside slo", json!({"slow": {}}), "slow"),
        ("a text for a number", total(json!("60"), json!(60)), "p95"),
        ("p99 under p95", total(json!(60), json!(50)), "p99"),
        ("a limit of zero", total(json!(0), json!(60)), "p95"),
        ("a negative limit", total(json!(60), json!(-1)), "p99"),
        (
            "zero windows",
            json!({"slo": {"breach_windows": 0}}),
            "breach_windows",
        ),
        (
            "half a window",
            json!({"slo": {"recover_windows": 2.5}}),
            "recover_windows",
        ),
        (
            "a list for limits",
            json!({"slo": {"thresholds": []}}),
            "thresholds",
        ),
    ];
    for (name, patch, names) in wrong {
        let text = cycle.text_with(&patch)?;
        files.push(Broken { name, text, names });
    }
    Ok(files)
}
