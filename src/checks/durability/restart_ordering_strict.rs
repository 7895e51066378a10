//! Gate restart-ordering-strict: the state after a KILL is what had been acknowledged, in the order in
//! which it was done, and at most the one operation in flight besides.
//!
//! Scripts of random operations over all services that keep something, one after the other, each
//! killed at random points: right after an acknowledgement, or with an operation in flight that is
//! held at a backend, waits for the database, or has its answer unread. Each process has another time
//! of day, before or after the last one's, so that an order by timestamps is another order. After
//! each restart lists, sessions and memories are compared with an oracle, and chains and events with
//! what they had been. No request here carries an idempotency key, and none asks for SLO status.

mod deed;
mod drive;
mod looking;
mod oracle;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::deed::Deed;
use self::oracle::{List, Model};
use self::stream::{Reading, Stream};
use crate::chaos::clopper_pearson_upper;
use crate::checks::Judgement;

pub use drive::drive;

/// The name under which the events of the gateway are a stream; the others are chains.
const EVENTS: &str = "events";
/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;
/// The confidence of the bound in the detail line.
const CONFIDENCE: f64 = 0.95;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Targets with a script each.
    pub lanes: Vec<Lane>,
}

/// One target and its script.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// What was asked, one after the other.
    pub ops: Vec<Op>,
    /// When it was killed.
    pub kills: Vec<Kill>,
    /// What there was: after each restart, and at the end.
    pub looks: Vec<Look>,
}

/// An operation and what was said to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// What was asked.
    pub deed: Deed,
    /// The marker of the thing it was done to.
    pub about: String,
    /// The marker of the session, of a turn.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// Its correlation id; also the name it gives to a task.
    pub id: String,
    /// Just before it was sent.
    pub invoked_us: u64,
    /// When the answer was there; none without an answer.
    pub returned_us: Option<u64>,
    /// Its status; 0 without an answer.
    pub status: u16,
    /// `error.code`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
}

impl Op {
    fn acknowledged(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            deed,
            about,
            id,
            status,
            code,
            ..
        } = self;
        write!(f, "{deed:?} of {about} ({id}): ")?;
        match self.returned_us {
            Some(_) => write!(f, "{}", format!("{status} {code}").trim_end()),
            None => f.write_str("no answer"),
        }
    }
}

/// Where a KILL falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// As soon as an operation is acknowledged.
    Acknowledged,
    /// While an answer lies at the client, unread.
    Unread,
    /// While an operation waits for a backend.
    Held,
    /// While an operation waits for the database, whose lock somebody else has.
    Locked,
    /// At any moment of an operation.
    Racing,
}

/// A KILL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kill {
    /// Where it falls.
    pub style: Style,
    /// The operation in flight, or the one that was just acknowledged.
    pub op: usize,
    /// Just before the signal was sent.
    pub signal_us: u64,
    /// When the next process was ready; none if it never was.
    pub ready_us: Option<u64>,
    /// How far ahead of the machine's the clock of the next process is.
    pub offset_ms: i64,
}

/// What there was, while nothing was under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// After which KILL; none at the end.
    pub kill: Option<usize>,
    /// After so many operations.
    pub ops: usize,
    /// The lists.
    pub lists: BTreeMap<List, Listed>,
    /// Sessions and memories.
    pub ones: Vec<One>,
    /// The chains, by name, and the events.
    pub streams: BTreeMap<String, Reading>,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// The status of the answer.
    pub status: u16,
    /// The rows, if it has any to tell of.
    pub rows: Option<Vec<Value>>,
}

/// A session or a memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct One {
    /// The marker it was made with.
    pub marker: String,
    /// The status of the answer.
    pub status: u16,
    /// What it tells: marker and turns, or the marker.
    pub facts: Value,
}

/// What is counted over all lanes.
#[derive(Default)]
struct Count {
    operations: u64,
    kills: u64,
    in_flight: u64,
    inside: u64,
    wrong: u64,
    looks: u64,
    deeds: BTreeSet<Deed>,
    /// Whether an operation that was cut turned out to have happened.
    cut: BTreeSet<bool>,
    /// Looks after a KILL at tasks that stand against the clocks of the processes that made them.
    against_clocks: u64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let (mut judgement, mut count) = (Judgement::default(), Count::default());
    for (number, lane) in seen.lanes.iter().enumerate() {
        let found = judge_lane(lane, &mut count);
        let found = found
            .into_iter()
            .map(|what| format!("target {number}: {what}"));
        judgement.violations.extend(found);
    }
    judge_coverage(&count, &mut judgement);
    judgement.exercised("operations", count.operations);
    judgement.exercised("kills", count.kills);
    judgement.exercised("kills_inside_operation", count.inside);
    let bound =
        clopper_pearson_upper(count.wrong, count.kills.max(count.wrong), CONFIDENCE) * 100.0;
    judgement.detail = format!(
        "{} operations, {} kills, {} of them with an operation in flight, {} inside it, {} looks: \
         {} violations; at 95 % at most {bound:.2} % of kills lose or reorder something",
        count.operations,
        count.kills,
        count.in_flight,
        count.inside,
        count.looks,
        judgement.violations.len(),
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

fn judge_lane(lane: &Lane, count: &mut Count) -> Vec<String> {
    let mut found = judge_answers(lane);
    let mut streams: BTreeMap<&str, Stream> = BTreeMap::new();
    let (mut model, mut from) = (Model::default(), 0);
    for look in &lane.looks {
        let to = look.ops.min(lane.ops.len());
        let when = match look.kill.and_then(|number| lane.kills.get(number)) {
            Some(kill) => kill.words(lane),
            None => "at the end".to_owned(),
        };
        let mut wrong = judge_state(&mut model, &lane.ops[from..to], look);
        for (name, reading) in &look.streams {
            let stream = streams.entry(name).or_default();
            let flaws = stream.go_on(reading);
            wrong.extend(
                flaws
                    .into_iter()
                    .map(|what| format!("{}: {what}", stream_name(name))),
            );
        }
        from = to;
        count.looks += 1;
        count.against_clocks += u64::from(look.kill.is_some() && against_clocks(lane, look));
        count.wrong += u64::from(look.kill.is_some() && !wrong.is_empty());
        found.extend(wrong.into_iter().map(|what| format!("{when}: {what}")));
    }
    judge_order(&lane.ops[..from], &streams, &mut found);
    count_kills(lane, &streams, count);
    let done = lane.ops.iter().filter(|op| op.acknowledged());
    count.deeds.extend(done.clone().map(|op| op.deed));
    count.operations += done.count() as u64;
    found
}

fn stream_name(name: &str) -> String {
    match name {
        EVENTS => "the events".to_owned(),
        chain => format!("chain {chain}"),
    }
}

impl Kill {
    fn words(&self, lane: &Lane) -> String {
        let op = lane
            .ops
            .get(self.op)
            .map_or("nothing".to_owned(), ToString::to_string);
        format!("after the KILL ({:?}) at {op}", self.style)
    }
}

/// Every operation of a script is one that succeeds; only a KILL leaves one without an answer.
fn judge_answers(lane: &Lane) -> Vec<String> {
    let mut found = Vec::new();
    for (number, op) in lane
        .ops
        .iter()
        .enumerate()
        .filter(|(_, op)| !op.acknowledged())
    {
        let cut = lane.kills.iter().any(|kill| kill.op == number);
        if op.returned_us.is_some() {
            found.push(format!("{op}, expected a 2xx"));
        } else if !cut {
            found.push(format!("{op}, and nobody had killed the target"));
        }
    }
    for kill in lane.kills.iter().filter(|kill| kill.ready_us.is_none()) {
        found.push(format!(
            "not ready again after the KILL at {} us",
            kill.signal_us
        ));
    }
    found
}

/// The state is what was acknowledged, or that and the operation in flight, whole.
fn judge_state(model: &mut Model, ops: &[Op], look: &Look) -> Vec<String> {
    let mut with = None;
    for op in ops {
        if op.acknowledged() {
            model.apply(op);
            if let Some(with) = &mut with {
                Model::apply(with, op);
            }
        } else if op.returned_us.is_none() {
            with = Some(model.clone());
            with.as_mut().into_iter().for_each(|with| with.apply(op));
        }
    }
    let without = model.differences(look);
    let Some(with) = with.filter(|_| !without.is_empty()) else {
        return without;
    };
    let differences = with.differences(look);
    if differences.len() < without.len() {
        *model = with;
        return differences;
    }
    without
}

/// What was acknowledged one after the other stands one after the other.
fn judge_order(ops: &[Op], streams: &BTreeMap<&str, Stream>, found: &mut Vec<String>) {
    let done = || ops.iter().enumerate().filter(|(_, op)| op.acknowledged());
    let place: BTreeMap<&str, usize> = done().map(|(at, op)| (&*op.id, at)).collect();
    // What a turn leaves in the memory engine may wait in the outbox, and comes when it can.
    let no_turns: BTreeMap<&str, usize> = done()
        .filter(|(_, op)| !matches!(op.deed, Deed::Turn | Deed::AskInTurn))
        .map(|(at, op)| (&*op.id, at))
        .collect();
    for (name, stream) in streams {
        let place = if *name == "memory-engine" {
            &no_turns
        } else {
            &place
        };
        let wrong = stream.disorder(place);
        found.extend(
            wrong
                .into_iter()
                .map(|what| format!("{}: {what}", stream_name(name))),
        );
    }
    for (_, op) in done() {
        let events = streams.get(EVENTS);
        let mut said = events.into_iter().flat_map(|stream| stream.of(&op.id));
        if let Some(missing) = op
            .deed
            .events()
            .iter()
            .find(|kind| !said.any(|one| one == **kind))
        {
            found.push(format!("the events: no {missing} of {op}"));
        }
        // Nobody reads a frame back: its entry is all there is.
        let frames = streams.get("vision-capture");
        let kept = frames.is_some_and(|stream| stream.of(&op.id).next().is_some());
        if op.deed == Deed::TakeFrame && !kept {
            found.push(format!("chain vision-capture: no entry of {op}"));
        }
    }
}

/// Whether a task is shown behind one that was made later by the clock of its process: an order by
/// time would be another one.
fn against_clocks(lane: &Lane, look: &Look) -> bool {
    let made_ms = |row: &Value| {
        let made = |op: &Op| op.deed == Deed::CreateTask && row[0].as_str() == Some(&*op.about);
        let at = lane.ops.iter().position(made)?;
        let mut kills = lane.kills.iter().rev().filter(|kill| kill.op < at);
        let offset_ms = kills.next().map_or(0, |kill| kill.offset_ms);
        Some(i64::try_from(lane.ops[at].invoked_us / 1000).ok()? + offset_ms)
    };
    let rows = look
        .lists
        .get(&List::Tasks)
        .and_then(|listed| listed.rows.as_ref());
    let made: Vec<i64> = rows.into_iter().flatten().filter_map(made_ms).collect();
    made.windows(2).any(|pair| pair[1] < pair[0])
}

/// A KILL was inside an operation that has no answer and has left something.
fn count_kills(lane: &Lane, streams: &BTreeMap<&str, Stream>, count: &mut Count) {
    for kill in lane.kills.iter().filter(|kill| kill.ready_us.is_some()) {
        count.kills += 1;
        let op = lane.ops.get(kill.op);
        let Some(op) = op.filter(|op| op.returned_us.is_none()) else {
            continue;
        };
        let left = streams
            .values()
            .any(|stream| stream.of(&op.id).next().is_some());
        count.in_flight += 1;
        count.inside += u64::from(left);
        count.cut.insert(left);
    }
}

/// What has to have occurred for the numbers to mean anything.
fn judge_coverage(count: &Count, judgement: &mut Judgement) {
    for (deed, _) in Deed::WEIGHTS
        .iter()
        .filter(|(deed, _)| !count.deeds.contains(deed))
    {
        judgement.undecided(format!("no {deed:?} was acknowledged"));
    }
    let mut missing = |holds: bool, what: &str| {
        if !holds {
            judgement.undecided(what.to_owned());
        }
    };
    missing(
        count.cut.contains(&true),
        "no operation that was cut left anything",
    );
    missing(
        count.cut.contains(&false),
        "no operation that was cut left nothing",
    );
    missing(
        count.against_clocks > 0,
        "no look after a KILL at tasks that stand against the clocks",
    );
}
