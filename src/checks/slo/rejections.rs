//! What was said of each content of the config file that is not to be taken: one event, one
//! warning, with what is wrong, and not before the file had been left alone.

use std::collections::BTreeMap;

use serde_json::Value;

use super::in_force::EDIT_BOUND_US;
use crate::chaos::degrade::edits::REJECTED;
use crate::chaos::degrade::timeline::{Step, Timeline};
use crate::checks::Judgement;

/// A file is read when it has been the same for so long, as section 7 of the contract has it.
const QUIET_US: u64 = 50_000;
/// A content that was refused before has to stay for so long, unannounced, to show something.
const REPEAT_US: u64 = 3 * QUIET_US;
/// SHA-256 of no bytes: what a file is for an instant while it is made.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One content, each time it was written.
#[derive(Debug, Default)]
struct Content {
    name: String,
    names: String,
    to_be_taken: bool,
    /// How long it stayed at least and at most, time by time.
    stays: Vec<(u64, u64)>,
    /// When it was first there.
    from_us: u64,
    /// The refusals of it, and when they were read.
    events: Vec<(Value, u64)>,
    warnings: usize,
}

/// All contents of a timeline, and the refusals.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    contents: BTreeMap<String, Content>,
    /// Refusals of contents that nobody wrote.
    strange: Vec<String>,
    /// Events of contents that are not to be taken.
    pub(super) events: usize,
    /// Warnings of them.
    pub(super) warnings: usize,
    /// Contents that were written again after they were refused, and stayed long enough.
    pub(super) repeats: u64,
    /// The longest from a content to its refusal, in milliseconds.
    pub(super) longest_ms: u64,
}

impl Rejections {
    /// Of a timeline, and the warnings of its target.
    pub(super) fn of(line: &Timeline, warnings: &[String]) -> Rejections {
        let mut all = Rejections::default();
        let end_us = line.steps.iter().map(over_us).max().unwrap_or(0);
        let edits: Vec<_> = line.edits().collect();
        for (at, edit) in edits.iter().enumerate() {
            let next = edits.get(at + 1);
            let (gone, last) = next.map_or((end_us, u64::MAX), |next| {
                (next.invoked_us, next.returned_us)
            });
            let content = all.contents.entry(edit.sha256.clone()).or_default();
            if content.stays.is_empty() {
                content.from_us = edit.returned_us;
            }
            content.name.clone_from(&edit.name);
            content.names.clone_from(&edit.names);
            content.to_be_taken = edit.slo.is_some();
            let least = gone.saturating_sub(edit.returned_us);
            content
                .stays
                .push((least, last.saturating_sub(edit.invoked_us)));
        }
        for (event, read_us) in line.events().filter(|(event, _)| event.kind == REJECTED) {
            let sha256 = event.data["sha256"].as_str().unwrap_or_default();
            match all.contents.get_mut(sha256) {
                Some(content) => content.events.push((event.data.clone(), read_us)),
                None if sha256 == EMPTY => {}
                None => all.strange.push(format!(
                    "{REJECTED}: got sha256 {sha256:?}, which nobody wrote"
                )),
            }
        }
        for (sha256, content) in &mut all.contents {
            let of_it = |line: &&String| line.contains("WARN") && line.contains(sha256.as_str());
            content.warnings = warnings.iter().filter(of_it).count();
        }
        all.count();
        all
    }

    fn count(&mut self) {
        for content in self
            .contents
            .values()
            .filter(|content| !content.to_be_taken)
        {
            self.events += content.events.len();
            self.warnings += content.warnings;
            let again = content
                .stays
                .iter()
                .skip(1)
                .any(|(least, _)| *least >= REPEAT_US);
            if let Some((_, read_us)) = content.events.first() {
                self.repeats += u64::from(again);
                let took_us = read_us.saturating_sub(content.from_us);
                self.longest_ms = self.longest_ms.max(took_us / 1000);
            }
        }
    }

    /// Enters everything that is wrong or not known.
    pub(super) fn tell(&self, judgement: &mut Judgement) {
        self.nothing_else(judgement);
        for content in self
            .contents
            .values()
            .filter(|content| !content.to_be_taken)
        {
            content.tell(judgement);
        }
    }

    /// Enters refusals of what nobody wrote, or of what is to be taken.
    pub(super) fn nothing_else(&self, judgement: &mut Judgement) {
        judgement.violations.extend(self.strange.iter().cloned());
        for content in self.contents.values().filter(|content| content.to_be_taken) {
            let Content { name, events, .. } = content;
            judgement.expect(events.is_empty(), || {
                format!(
                    "{name}: got {} events {REJECTED}, expected it to be taken",
                    events.len()
                )
            });
        }
    }

    /// Contents whose refusal was told, and after that at least one window was opened and closed.
    pub(super) fn shown_by_windows(&self, line: &Timeline) -> u64 {
        let shown = self.contents.values().filter(|content| {
            content.events.first().is_some_and(|(_, read_us)| {
                // The first window since may have been open before.
                let since = line.batches().filter(|batch| batch.invoked_us >= *read_us);
                !content.to_be_taken && since.take(2).count() == 2
            })
        });
        shown.count() as u64
    }
}

impl Content {
    fn tell(&self, judgement: &mut Judgement) {
        let Content {
            name,
            names,
            stays,
            events,
            warnings,
            ..
        } = self;
        let least = stays.iter().map(|stay| stay.0).max().unwrap_or(0);
        let most = stays.iter().map(|stay| stay.1).max().unwrap_or(0);
        let [(event, _)] = &events[..] else {
            let got = events.len();
            let text = format!(
                "{name}: got {got} events {REJECTED} in {} ms, expected 1",
                least / 1000
            );
            if got > 0 || least >= EDIT_BOUND_US {
                judgement.violation(text);
            } else if least >= QUIET_US {
                judgement.undecided(text);
            }
            return;
        };
        judgement.expect(most >= QUIET_US, || {
            let most = most as f64 / 1e3;
            format!("{name}: refused after {most:.1} ms at most, expected it to be left for 50 ms")
        });
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        let said = format!("{}: {}", text("path"), text("message"));
        judgement.expect(
            !text("message").is_empty() && said.contains(names.as_str()),
            || {
                let expected = if names.is_empty() {
                    "what is wrong"
                } else {
                    names
                };
                format!("{name}: got {said:?}, expected it to name {expected}")
            },
        );
        judgement.expect(*warnings == 1, || {
            format!("{name}: got {warnings} warnings on stderr, expected 1")
        });
    }
}

/// When a step was over.
fn over_us(step: &Step) -> u64 {
    match step {
        Step::Started { ready_us, .. } => *ready_us,
        Step::Killed { at_us } => *at_us,
        Step::Batch(batch) => batch.returned_us,
        Step::Read(read) => read.returned_us,
        Step::Probe(probe) => probe.returned_us.unwrap_or(probe.invoked_us),
        Step::Status(status) => status.returned_us.unwrap_or(status.invoked_us),
        Step::Hanging(hanging) => hanging.held_us,
        Step::Edit(edit) => edit.returned_us,
        Step::Effective(look) => look.returned_us,
    }
}
