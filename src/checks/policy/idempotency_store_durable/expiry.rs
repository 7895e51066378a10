//! Judges time: a key lives for its TTL, then the same request executes again, and pruning takes
//! expired rows and no others.
//!
//! The edge is somewhere in an interval: the key's life began between the sending of the request
//! that executed and the arrival of its answer. What returned before the earliest possible edge
//! must be a replay, what was sent after the latest must execute, in between either is right.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::chaos::keyed::Tally;
use crate::chaos::keyed::operations::{Backends, Operation, Sort, Try, effects};
use crate::chaos::specs::Ttl;

/// The target counts whole milliseconds on another clock than the harness.
const ROUNDING_US: u64 = 2_000;

/// What was seen of time to live and pruning on one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// `idempotency.ttl_ms` as configured.
    pub ttl_ms: u64,
    /// `idempotency.prune_interval_ms` as configured.
    pub prune_interval_ms: u64,
    /// Requests repeated one after the other until past their TTL.
    pub aged: Vec<Operation>,
    /// Requests sent once, to leave a row.
    pub rows: Vec<Operation>,
    /// An operation that its double held for longer than the TTL.
    pub held: Option<Held>,
    /// What stood in the table, in order of time.
    pub looks: Vec<Look>,
    /// What the doubles got.
    pub backends: Backends,
}

/// An operation in progress past its TTL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// What was asked; its repeats were sent while it was held.
    pub asked: Operation,
    /// From when to when its call was held, the second none until then.
    pub held: (u64, Option<u64>),
}

/// The keys in one database's table at some moment between two times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Whose database.
    pub service: String,
    /// Before the read.
    pub from_us: u64,
    /// After it.
    pub to_us: u64,
    /// The rows of the harness's own keys.
    pub rows: Vec<Row>,
    /// How long the first row had been over by then, as far as the harness ran.
    pub waited_us: u64,
    /// Why the table could not be read.
    pub error: Option<String>,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// `idempotency_key`.
    pub key: String,
    /// `state`.
    pub state: String,
}

/// A key's life from one execution on: it began between these two times.
#[derive(Clone, Copy)]
struct Life {
    invoked: u64,
    returned: u64,
}

impl Evidence {
    /// How long an expired row may stay: 10 prune intervals, at least 2 s.
    pub fn prune_bound_us(&self) -> u64 {
        (self.prune_interval_ms * 10_000).max(2_000_000)
    }

    fn ttl_us(&self) -> u64 {
        self.ttl_ms * 1000
    }

    /// Before this the key certainly lives.
    fn earliest(&self, life: Life) -> u64 {
        (life.invoked + self.ttl_us()).saturating_sub(ROUNDING_US)
    }

    /// After this it is certainly over.
    fn latest(&self, life: Life) -> u64 {
        life.returned + self.ttl_us() + ROUNDING_US
    }

    /// What the harness's clock says of the key's life while this request was under way.
    pub(super) fn ttl_of(&self, asked: &Operation, entry: &Try) -> Ttl {
        let before = |life: &Life| life.returned <= entry.invoked_us;
        match Self::lives(asked).into_iter().rfind(before) {
            None => Ttl::Running,
            Some(life) if entry.invoked_us > self.latest(life) => Ttl::Passed,
            Some(life) if entry.returned_us.is_some_and(|at| at < self.earliest(life)) => {
                Ttl::Running
            }
            Some(_) => Ttl::MayHavePassed,
        }
    }

    /// Whether a replay inside a life and an execution after one were seen: a drive that has not
    /// seen both (each request took longer than the TTL) goes on.
    pub(super) fn saw_both(&self, asked: &Operation) -> bool {
        let mut life: Option<Life> = None;
        let (mut inside, mut executions) = (0, 0);
        for entry in &asked.tries {
            let returned = entry.returned_us.unwrap_or(u64::MAX);
            if !entry.replayed {
                executions += 1;
                life = Some(Life {
                    invoked: entry.invoked_us,
                    returned,
                });
            } else if life.is_some_and(|life| returned < self.earliest(life)) {
                inside += 1;
            }
        }
        inside > 0 && executions > 1
    }

    /// The lives of a key: one for each answer that was not a replay.
    fn lives(asked: &Operation) -> Vec<Life> {
        let new = |entry: &&Try| !entry.replayed && matches!(entry.status, 200..=299 | 404 | 409);
        let life = |entry: &Try| {
            let returned = entry.returned_us?;
            Some(Life {
                invoked: entry.invoked_us,
                returned,
            })
        };
        asked.tries.iter().filter(new).filter_map(life).collect()
    }
}

/// Judges TTL and pruning.
pub fn judge(seen: &Evidence, tally: &mut Tally) {
    for asked in &seen.aged {
        tally.keys += 1;
        judge_aged(seen, asked, tally);
    }
    for asked in &seen.rows {
        tally.keys += 1;
        let executed = asked
            .tries
            .first()
            .is_some_and(|first| asked.succeeded(first));
        tally.expect(executed, || {
            format!("{}: a new key was not executed", asked.line())
        });
    }
    if let Some(held) = &seen.held {
        tally.keys += 1;
        judge_held(seen, held, tally);
    }
    for look in &seen.looks {
        judge_look(seen, look, tally);
    }
    tally.pruned += pruned(&seen.looks);
}

/// How many rows were there at one look and gone at a later one.
fn pruned(looks: &[Look]) -> u64 {
    let mut standing: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut gone = 0;
    for look in looks.iter().filter(|look| look.error.is_none()) {
        let service = look.service.as_str();
        let now: BTreeSet<_> = look
            .rows
            .iter()
            .map(|row| (service, row.key.as_str()))
            .collect();
        let before = standing.iter().filter(|(of, _)| *of == service).copied();
        let lost: Vec<_> = before.filter(|row| !now.contains(row)).collect();
        gone += lost.len() as u64;
        standing.retain(|row| !lost.contains(row));
        standing.extend(now);
    }
    gone
}

fn judge_aged(seen: &Evidence, asked: &Operation, tally: &mut Tally) {
    let line = asked.line();
    let mut now: Option<(&Try, Life)> = None;
    let (mut executions, mut replays, mut late) = (0, 0, Vec::new());
    for entry in &asked.tries {
        let Some(returned) = entry.returned_us else {
            tally
                .violations
                .push(format!("{line}: {} within its bound", asked.outcome(entry)));
            return;
        };
        let life = Life {
            invoked: entry.invoked_us,
            returned,
        };
        let Some((first, from)) = now else {
            let well = asked.succeeded(entry) && !entry.replayed;
            tally.expect(well, || {
                format!("{line}: a new key got {}", asked.outcome(entry))
            });
            now = Some((entry, life));
            executions = 1;
            continue;
        };
        if entry.replayed {
            replays += u64::from(returned < seen.earliest(from));
            let over = entry.invoked_us.saturating_sub(seen.latest(from));
            late.extend((over > 0).then_some(over));
            let same = entry.status == first.status && asked.body(entry) == asked.body(first);
            tally.expect(same, || {
                format!(
                    "{line}: replayed {}, expected the stored {}",
                    asked.outcome(entry),
                    first.status
                )
            });
            continue;
        }
        let left = seen.earliest(from).saturating_sub(returned);
        tally.expect(left == 0, || {
            format!(
                "{line}: executed again with {} ms of its TTL left, expected the stored answer",
                left / 1000
            )
        });
        if judge_again(asked, first, entry, tally) {
            tally.expired += u64::from(left == 0);
            executions += 1;
        }
        now = Some((entry, life));
    }
    tally.replays += replays;
    tally.expect(late.is_empty(), || {
        let (times, last_ms) = (late.len(), late.last().unwrap_or(&0) / 1000);
        format!(
            "{line}: replayed {times} times until {last_ms} ms after the TTL of {} ms, \
             expected a new execution",
            seen.ttl_ms
        )
    });
    if replays == 0 || executions < 2 {
        tally.undecided.push(format!("{line}: {executions} executions and {replays} replays inside the TTL, expected 2 and at least 1"));
    }
    judge_effects(seen, asked, executions, tally);
}

/// Whether an answer after the TTL is a new execution's.
fn judge_again(asked: &Operation, first: &Try, entry: &Try, tally: &mut Tally) -> bool {
    let again = asked.succeeded(entry) && asked.body(entry) != asked.body(first);
    tally.expect(again, || {
        let (line, outcome) = (asked.line(), asked.outcome(entry));
        format!("{line}: after its TTL got {outcome}, expected a full new execution")
    });
    again
}

/// The doubles had one effect for each execution.
fn judge_effects(seen: &Evidence, asked: &Operation, executions: u64, tally: &mut Tally) {
    for calls in seen.backends.of(asked) {
        let got = effects(&calls);
        tally.second_effects += got.saturating_sub(executions);
        tally.expect(got == executions, || {
            let line = asked.line();
            format!("{line}: {got} effects of {executions} executions, expected {executions}")
        });
    }
}

fn judge_held(seen: &Evidence, held: &Held, tally: &mut Tally) {
    let asked = &held.asked;
    let line = asked.line();
    for entry in &asked.tries {
        if entry.sort == Sort::First {
            let well = asked.succeeded(entry) && !entry.replayed;
            tally.expect(well, || {
                format!("{line}: once released got {}", asked.outcome(entry))
            });
            continue;
        }
        let told = asked.in_progress(entry);
        tally.in_progress += u64::from(told);
        tally.expect(told, || {
            format!(
                "{line}: got {} while its call was held, expected 409 KEY_IN_PROGRESS",
                asked.outcome(entry)
            )
        });
    }
    for calls in seen.backends.of(asked) {
        tally.expect(calls.len() == 1, || {
            format!(
                "{line}: {} calls while it was in progress past its TTL, expected 1",
                calls.len()
            )
        });
    }
}

/// Every row that had to be there or had to be gone when the table was read.
fn judge_look(seen: &Evidence, look: &Look, tally: &mut Tally) {
    if let Some(error) = &look.error {
        let service = &look.service;
        tally.violations.push(format!(
            "the table idempotency_keys of {service} cannot be read: {error}"
        ));
        return;
    }
    let state = |asked: &Operation| {
        let row = look.rows.iter().find(|row| row.key == asked.key);
        row.map_or("no row", |row| row.state.as_str())
    };
    for asked in seen
        .aged
        .iter()
        .chain(&seen.rows)
        .filter(|one| one.route.service() == look.service)
    {
        let state = state(asked);
        let lives = Evidence::lives(asked);
        let lived = |life: &Life| life.returned < look.from_us && look.to_us < seen.earliest(*life);
        if lives.iter().any(lived) {
            tally.kept += u64::from(state == "done");
            tally.expect(state == "done", || {
                format!(
                    "{}: {state} in the table inside its TTL, expected a row done",
                    asked.line()
                )
            });
        }
        // A request whose answer was still to come may have made the row anew.
        let again = |entry: &Try| {
            entry.invoked_us < look.to_us && entry.returned_us.is_none_or(|at| at >= look.from_us)
        };
        let bound_us = seen.prune_bound_us();
        let over = lives
            .iter()
            .all(|life| seen.latest(*life) + bound_us < look.from_us);
        let waited = look.waited_us >= bound_us;
        tally.expect(
            !(over && waited) || asked.tries.iter().any(again) || state == "no row",
            || {
                format!(
                    "{}: {state} in the table {} ms after its TTL, expected no row within {} ms",
                    asked.line(),
                    look.waited_us / 1000,
                    bound_us / 1000
                )
            },
        );
    }
    if let Some(held) = &seen.held
        && held.asked.route.service() == look.service
        && held.held.0 < look.from_us
        && held.held.1.is_none_or(|until| look.to_us < until)
    {
        let state = state(&held.asked);
        tally.kept += u64::from(state == "in_progress");
        tally.expect(state == "in_progress", || {
            format!(
                "{}: {state} in the table while in progress, expected a row in_progress",
                held.asked.line()
            )
        });
    }
}
