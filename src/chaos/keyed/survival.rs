//! Judges operations that a KILL cut, and answers that had to outlive one.
//!
//! An operation is cut inside when the doubles show that its call had come so far and the client
//! had no answer. From then on its key must stand for it: `KEY_IN_PROGRESS`, then the one stored
//! answer, and never an effect more.

use serde::{Deserialize, Serialize};

use super::Tally;
use super::operations::{Backends, Operation, Seen, Sort, Try, effects};
use crate::chaos::crash::Moment;

/// How long after the ready line a cut operation may take until its answer is stored: 10 times
/// `operations.retry_ms` is less, so the floor of 2 s holds. Only time in which the
/// harness itself ran is counted.
pub const RESUME_BOUND_US: u64 = 2_000_000;

/// One target that was killed again and again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// Everything asked of it under a key.
    pub subjects: Vec<Subject>,
    /// Its KILLs, in order.
    pub kills: Vec<Kill>,
    /// What its doubles got.
    pub backends: Backends,
}

/// An operation, and how a KILL met it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// What was asked.
    pub asked: Operation,
    /// Which of [`Lane::kills`] was to cut it; none: it was to be answered first.
    pub cut: Option<usize>,
    /// When the first byte of the first answer was at the client, which never read it.
    pub answer_due_us: Option<u64>,
    /// From when to when its resumed call was held by a double.
    pub held_again: Option<(u64, u64)>,
    /// How long its stored answer was waited for, as far as the harness ran.
    pub waited_us: u64,
}

/// A KILL and the start after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kill {
    /// How far the operations in flight should have come.
    pub moment: Moment,
    /// When they had.
    pub reached_us: Option<u64>,
    /// From when to when the harness held the write lock of the databases that store answers.
    pub locked: Option<(u64, u64)>,
    /// The KILL.
    pub killed_us: u64,
    /// The ready line of the next process.
    pub ready_us: Option<u64>,
}

impl Subject {
    /// An operation that is to be answered, or to be cut by this KILL.
    pub fn new(asked: Operation, cut: Option<usize>) -> Self {
        Self {
            asked,
            cut,
            answer_due_us: None,
            held_again: None,
            waited_us: 0,
        }
    }

    /// Whether the operation was certainly in flight when it was killed.
    pub fn inside(&self, kill: &Kill, calls: &[Vec<&Seen>]) -> bool {
        let killed = kill.killed_us;
        let before = |at: Option<u64>| at.is_some_and(|at| at < killed);
        let unanswered = self
            .asked
            .tries
            .first()
            .is_some_and(|first| first.status == 0);
        let mut calls = calls.iter().flatten();
        unanswered
            && match kill.moment {
                Moment::Arrived => {
                    calls.any(|call| call.at_us < killed && !before(call.committed_us))
                }
                Moment::Committed => {
                    calls.any(|call| before(call.committed_us) && !before(call.answered_us))
                }
                Moment::Unstored => kill.locked.is_some_and(|(from, to)| {
                    let answered = |call: &&Seen| call.answered_us.is_some_and(|at| at > from);
                    to > killed && calls.any(|call| before(call.answered_us) && answered(call))
                }),
                Moment::AnswerDue => before(self.answer_due_us),
            }
    }
}

/// Judges one lane.
pub fn judge(lane: &Lane, tally: &mut Tally) {
    let mut cut_by = vec![0_u64; lane.kills.len()];
    for subject in &lane.subjects {
        tally.keys += u64::from(!subject.asked.tries.is_empty());
        let calls = lane.backends.of(&subject.asked);
        let kill = subject.cut.and_then(|index| lane.kills.get(index));
        let inside = kill.is_some_and(|kill| subject.inside(kill, &calls));
        let second = second_effects(&calls);
        tally.second_effects += second;
        tally.expect(second == 0, || {
            let line = subject.asked.line();
            format!("{line}: {second} second effects, expected 0")
        });
        if inside {
            tally.cut += 1;
            tally.cut_twice += u64::from(second > 0);
            cut_by[subject.cut.unwrap_or_default()] += 1;
        }
        judge_calls(subject, inside, &calls, tally);
        judge_strangers(lane, &subject.asked, tally);
        judge_answers(lane, subject, inside, &calls, tally);
    }
    let inside = lane.kills.iter().zip(cut_by).filter(|(_, cut)| *cut > 0);
    for (kill, _) in inside {
        tally.kills_inside += 1;
        tally.moments.insert(kill.moment);
    }
}

/// Effects beyond the first, over all that one operation intends.
pub fn second_effects(calls: &[Vec<&Seen>]) -> u64 {
    calls
        .iter()
        .map(|calls| effects(calls).saturating_sub(1))
        .sum()
}

/// The other request under the key is refused, so none of its paths and texts is ever seen.
fn judge_strangers(lane: &Lane, asked: &Operation, tally: &mut Tally) {
    let other = Operation::new(asked.route, &format!("{}-other", asked.key), 1);
    let calls = lane.backends.of(&other).iter().flatten().count();
    tally.expect(calls == 0, || {
        format!(
            "{}: {calls} calls of another request under the key, expected 0",
            asked.line()
        )
    });
}

/// One key and one body for each intended effect, and without a KILL in between one call.
fn judge_calls(subject: &Subject, inside: bool, calls: &[Vec<&Seen>], tally: &mut Tally) {
    let line = subject.asked.line();
    for calls in calls {
        let Some(first) = calls.first() else { continue };
        let same = calls
            .iter()
            .all(|call| call.key == first.key && call.body == first.body);
        tally.expect(same && first.key.is_some(), || {
            let keys: Vec<_> = calls
                .iter()
                .map(|call| call.key.as_deref().unwrap_or("none"))
                .collect();
            format!("{line}: calls under the keys {keys:?}, expected one key and one body")
        });
        let answered_before = !inside || subject.answer_due_us.is_some();
        tally.expect(
            !answered_before || subject.open() || calls.len() == 1,
            || {
                format!(
                    "{line}: {} calls for one effect of an answered request, expected 1",
                    calls.len()
                )
            },
        );
    }
}

impl Subject {
    /// Whether the client cannot know what became of its first request.
    fn open(&self) -> bool {
        self.answer_due_us.is_none()
            && self
                .asked
                .tries
                .first()
                .is_none_or(|first| first.status == 0)
    }
}

/// Walks through everything that was answered under the key.
fn judge_answers(
    lane: &Lane,
    subject: &Subject,
    inside: bool,
    calls: &[Vec<&Seen>],
    tally: &mut Tally,
) {
    let asked = &subject.asked;
    let mut stored: Option<&Try> = None;
    for entry in &asked.tries {
        match entry.sort {
            Sort::First => stored = judge_first(subject, entry, tally).then_some(entry),
            Sort::Other => judge_other(asked, entry, tally),
            Sort::Repeat => match stored {
                Some(first) => {
                    judge_replay(asked, first, entry, tally);
                    let after = |kill: &Kill| {
                        first.returned_us < Some(kill.killed_us)
                            && kill.killed_us < entry.invoked_us
                    };
                    let survived = lane.kills.iter().any(after) && same_answer(asked, first, entry);
                    tally.replays_after_kill += u64::from(survived);
                }
                None if judge_resumed(subject, inside, entry, tally) => stored = Some(entry),
                None => {}
            },
        }
    }
    match stored {
        Some(entry) => judge_outcome(asked, entry, calls, tally),
        None => judge_absence(lane, subject, inside, tally),
    }
}

/// Whether the first request was answered by an execution.
fn judge_first(subject: &Subject, entry: &Try, tally: &mut Tally) -> bool {
    let asked = &subject.asked;
    if entry.status == 0 {
        tally.expect(subject.cut.is_some(), || {
            format!(
                "{}: {} within its bound",
                asked.line(),
                asked.outcome(entry)
            )
        });
        return false;
    }
    if asked.succeeded(entry) && !entry.replayed {
        return true;
    }
    // Too busy is no execution and stores nothing; whoever is always busy exercises nothing.
    let busy = matches!(entry.status, 429 | 503);
    let text = || {
        let (line, outcome) = (asked.line(), asked.outcome(entry));
        format!(
            "{line}, a new key, got {outcome}, expected a new {}",
            asked.route.success()
        )
    };
    if busy {
        tally.undecided.push(text());
    } else {
        tally.violations.push(text());
    }
    false
}

fn judge_other(asked: &Operation, entry: &Try, tally: &mut Tally) {
    let refused = entry.status == 422 && asked.code(entry) == "KEY_REUSED" && !entry.replayed;
    tally.reused += u64::from(refused);
    tally.expect(refused, || {
        let outcome = asked.outcome(entry);
        format!(
            "{}: another request got {outcome}, expected 422 KEY_REUSED",
            asked.line()
        )
    });
}

fn same_answer(asked: &Operation, first: &Try, entry: &Try) -> bool {
    entry.replayed && entry.status == first.status && asked.body(entry) == asked.body(first)
}

fn judge_replay(asked: &Operation, first: &Try, entry: &Try, tally: &mut Tally) {
    let same = same_answer(asked, first, entry);
    tally.replays += u64::from(same);
    tally.expect(same, || {
        let differs = if asked.body(entry) == asked.body(first) {
            "the same"
        } else {
            "another"
        };
        let (got, expected) = (asked.outcome(entry), first.status);
        format!(
            "{}: a repeat got {got} with {differs} body, expected the stored {expected}",
            asked.line()
        )
    });
}

/// A repeat while nobody was told an answer yet; says whether it was told one now.
fn judge_resumed(subject: &Subject, inside: bool, entry: &Try, tally: &mut Tally) -> bool {
    let asked = &subject.asked;
    let line = asked.line();
    if asked.in_progress(entry) {
        tally.in_progress += 1;
        let seconds = entry
            .retry_after
            .as_deref()
            .is_some_and(|text| text.parse::<u64>().is_ok());
        tally.expect(seconds, || {
            let got = entry.retry_after.as_deref().unwrap_or("none");
            format!("{line}: KEY_IN_PROGRESS with Retry-After {got}, expected seconds")
        });
        tally.expect(subject.answer_due_us.is_none(), || {
            format!("{line}: KEY_IN_PROGRESS after the answer was on its way, expected it stored")
        });
        return false;
    }
    if asked.succeeded(entry) && (entry.replayed || !inside) {
        let early = subject
            .held_again
            .is_some_and(|(_, until)| entry.returned_us < Some(until));
        tally.expect(!early, || {
            format!("{line}: an answer was stored while the call was still held, expected KEY_IN_PROGRESS")
        });
        tally.replays += u64::from(entry.replayed);
        tally.replays_after_kill += u64::from(entry.replayed);
        return true;
    }
    tally.violations.push(format!(
        "{line}: after the KILL the same request got {}, expected KEY_IN_PROGRESS or the stored answer",
        asked.outcome(entry)
    ));
    false
}

/// The answer names the operations that the doubles saw, and each had its effect.
fn judge_outcome(asked: &Operation, entry: &Try, calls: &[Vec<&Seen>], tally: &mut Tally) {
    let line = asked.line();
    for (nth, calls) in calls.iter().enumerate() {
        let had = effects(calls);
        tally.expect(had >= 1, || {
            format!(
                "{line}: answered {} with {had} effects, expected 1",
                entry.status
            )
        });
        let Some(id) = asked
            .route
            .operation_ids(asked.body(entry))
            .into_iter()
            .nth(nth)
        else {
            continue;
        };
        let known = calls.iter().any(|call| call.key == id);
        tally.expect(known || calls.is_empty(), || {
            let id = id.as_deref().unwrap_or("none");
            format!("{line}: the answer names operation {id}, which is the key of no call")
        });
    }
}

fn judge_absence(lane: &Lane, subject: &Subject, inside: bool, tally: &mut Tally) {
    let asked = &subject.asked;
    let Some(kill) = subject.cut.and_then(|index| lane.kills.get(index)) else {
        return;
    };
    let (line, waited_ms) = (asked.line(), subject.waited_us / 1000);
    let wrong = asked
        .tries
        .iter()
        .any(|entry| entry.sort == Sort::Repeat && !asked.in_progress(entry) && entry.status != 0);
    if inside && kill.ready_us.is_some() && subject.waited_us >= RESUME_BOUND_US {
        let bound_ms = RESUME_BOUND_US / 1000;
        tally.violations.push(format!(
            "{line}: no stored answer {waited_ms} ms after the KILL, expected one within {bound_ms} ms"
        ));
    } else if !wrong {
        tally.undecided.push(format!(
            "{line}: no stored answer was waited for until its bound"
        ));
    }
}
