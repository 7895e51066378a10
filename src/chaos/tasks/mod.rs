//! Races for tasks: concurrent mutations of one task are serial, and a deleted task never comes back.
//! How they are driven, what is seen of them, and what contradicts that.

mod asked;
mod drive;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::asked::{Asked, Verb};
use crate::chaos::linear::{Bounds, Operation, Outcome, check};
use crate::chaos::models::task;
use crate::chaos::specs::task::{Call, Input, Output, Task, Tasks};
use crate::chaos::{Judgement, clopper_pearson_upper, overlapping_pairs};

pub use drive::{Amount, drive, history};

/// States that the checker may visit for one task; a good one takes a few hundred.
const STATES: u64 = 200_000;
/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;
/// Winners of one version that are named.
const WINNERS_SHOWN: usize = 3;
/// The confidence of the bound in the detail line.
const CONFIDENCE: f64 = 0.95;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The races, one task each.
    pub rounds: Vec<Round>,
    /// The kills.
    pub kills: Vec<Kill>,
    /// All tasks at once, read while nothing was under way.
    pub looks: Vec<Look>,
}

/// Which requests a race is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// Everybody makes the task.
    Create,
    /// Everybody updates its first version.
    Update,
    /// Everybody deletes it, and makes it again.
    Delete,
    /// Anything.
    Mixed,
}

impl Sort {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Delete, Self::Mixed];
}

/// One task: made, raced for, then asked for again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The task.
    pub id: String,
    /// Which race.
    pub sort: Sort,
    /// What was asked before the race, one after the other.
    pub before: Vec<Asked>,
    /// Released by one barrier.
    pub race: Vec<Asked>,
    /// What was asked after every racer had ended, one after the other.
    pub after: Vec<Asked>,
    /// The number of the kill that fell into the race, if one was to.
    pub kill: Option<usize>,
}

impl Round {
    fn asked(&self) -> impl Iterator<Item = &Asked> {
        self.before.iter().chain(&self.race).chain(&self.after)
    }
}

/// A KILL in the middle of races.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kill {
    /// Just before the signal was sent.
    pub signal_us: u64,
    /// When the next one was ready; none if it never was.
    pub ready_us: Option<u64>,
}

/// Where all tasks were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `GET /tasks`, page by page.
    List,
    /// The table, in the database file.
    Database,
}

/// All tasks at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Where.
    pub source: Source,
    /// Before the first page, or before the file was opened.
    pub invoked_us: u64,
    /// After the last page, or the last row.
    pub returned_us: u64,
    /// The rows, in the order in which they came.
    pub rows: Vec<Row>,
    /// Why there are no more.
    pub trouble: Option<String>,
}

/// A task in a look: the excerpt of the object, or of the row; whether it was a tombstone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row(pub Value, pub bool);

impl Row {
    fn id(&self) -> &str {
        self.0["task_id"].as_str().unwrap_or_default()
    }

    fn task(&self) -> Option<Task> {
        task::task(&self.0, self.id())
    }
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut races, mut pairs, mut wrong) = (0, 0, 0);
    for round in &seen.rounds {
        let found = violations(round, seen, &mut judgement.undecided);
        wrong += u64::from(!found.is_empty());
        judgement.violations.extend(found);
        let mutations = round
            .race
            .iter()
            .filter(|asked| asked.wanted.verb.mutates());
        let intervals: Vec<_> = mutations.filter_map(Asked::interval).collect();
        pairs += overlapping_pairs(&intervals);
        races += u64::from(intervals.len() >= 2);
    }
    judge_looks(seen, &mut judgement);
    let inside = judge_kills(seen, &mut judgement);
    judge_coverage(seen, &mut judgement);
    judgement.exercised("rounds", races);
    judgement.exercised("overlapping_pairs", pairs);
    judgement.exercised("kills", inside);
    let requests: usize = seen.rounds.iter().map(|round| round.asked().count()).sum();
    let bound = clopper_pearson_upper(wrong, races.max(wrong), CONFIDENCE) * 100.0;
    judgement.detail = format!(
        "{races} races, {requests} requests, {pairs} overlapping pairs, {} kills, {inside} of them \
         inside a mutation: {} violations; at 95 % at most {bound:.2} % of races go wrong",
        seen.kills.len(),
        judgement.violations.len(),
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

/// What contradicts the claim in one round.
fn violations(round: &Round, seen: &Evidence, undecided: &mut Vec<String>) -> Vec<String> {
    let mut found: Vec<String> = round
        .asked()
        .filter_map(|asked| asked.flaw(&round.id))
        .collect();
    judge_silence(round, seen, &mut found);
    judge_winners(round, &mut found);
    judge_history(round, seen, &mut found, undecided);
    found
        .into_iter()
        .map(|what| format!("{}: {what}", round.id))
        .collect()
}

/// Only a KILL in the middle of the race may leave a request without an answer.
fn judge_silence(round: &Round, seen: &Evidence, found: &mut Vec<String>) {
    let kill = round.kill.and_then(|number| seen.kills.get(number));
    // Whoever asks while there is no process is told nothing either.
    let down = |asked: &Asked| {
        let ready = |kill: &Kill| kill.ready_us.unwrap_or(u64::MAX);
        kill.is_some_and(|kill| asked.invoked_us < ready(kill))
    };
    let raced = round.race.iter().filter(|asked| !down(asked));
    let unexcused = round.before.iter().chain(raced).chain(&round.after);
    for asked in unexcused.filter(|asked| asked.returned_us.is_none()) {
        found.push(format!("{asked}, and nobody had killed the target"));
    }
}

/// A version has one winner, and of all deletions one wins.
fn judge_winners(round: &Round, found: &mut Vec<String>) {
    let mut versions: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut deletions = 0;
    for asked in round.asked() {
        let version = match asked.output(&round.id) {
            Some(Output::Created(task) | Output::Updated(task)) => task.version,
            Some(Output::Deleted { version }) => {
                deletions += 1;
                version
            }
            _ => continue,
        };
        versions.entry(version).or_default().push(asked.to_string());
    }
    for (version, winners) in versions.iter().filter(|(_, winners)| winners.len() > 1) {
        let (count, who) = (winners.len(), &winners[..winners.len().min(WINNERS_SHOWN)]);
        let who = who.join("; ");
        found.push(format!(
            "{count} winners of version {version}, expected 1: {who}"
        ));
    }
    if deletions > 1 {
        found.push(format!("{deletions} deletions won, expected 1"));
    }
}

/// There is one order that explains every answer, every list and every state of the database.
fn judge_history(
    round: &Round,
    seen: &Evidence,
    found: &mut Vec<String>,
    undecided: &mut Vec<String>,
) {
    let mut words: Vec<String> = round.asked().map(ToString::to_string).collect();
    let mut history: Vec<_> = round
        .asked()
        .map(|asked| asked.operation(&round.id))
        .collect();
    for look in seen.looks.iter().filter(|look| look.trouble.is_none()) {
        let (operation, saw) = look.of(&round.id);
        words.push(format!(
            "the {:?} at {} us, with {saw}",
            look.source, look.returned_us
        ));
        history.push(operation);
    }
    match check(&Tasks, &history, Bounds::of_states(STATES)) {
        Outcome::Ok { .. } => {}
        Outcome::Illegal(illegal) => found.push(format!(
            "no order of the {} answers explains them: after {} of them nothing allows {}",
            history.len(),
            illegal.prefix.len(),
            words[illegal.stuck],
        )),
        Outcome::Unknown { key, states } => {
            undecided.push(format!(
                "the history of {key} was given up after {states} states"
            ));
        }
    }
}

impl Look {
    /// What it says of one task, as an operation, and in words.
    fn of(&self, id: &str) -> (Operation<Input, Output>, String) {
        let row = self.rows.iter().find(|row| row.id() == id);
        let (call, saw) = match (self.source, row) {
            (Source::List, _) => (Call::Read, row.and_then(Row::task).map(Output::Found)),
            (Source::Database, Some(Row(row, true))) => {
                let version = row["version"].as_u64().unwrap_or_default();
                (Call::Stored, Some(Output::Gone { version }))
            }
            (Source::Database, _) => (Call::Stored, row.and_then(Row::task).map(Output::Found)),
        };
        let words = row.map_or("no row".to_owned(), |row| row.0.to_string());
        let input = Input {
            id: id.to_owned(),
            call,
        };
        let output = saw.unwrap_or(Output::NotFound);
        let operation = Operation::closed(input, output, self.invoked_us, self.returned_us);
        (operation, words)
    }
}

/// No phantom: every row is a task that somebody asked for, whole, and there once.
fn judge_looks(seen: &Evidence, judgement: &mut Judgement) {
    let ours: BTreeSet<&str> = seen.rounds.iter().map(|round| &*round.id).collect();
    for look in &seen.looks {
        let source = format!("the {:?} at {} us", look.source, look.returned_us);
        if let Some(trouble) = &look.trouble {
            judgement.violation(format!("{source} cannot be read: {trouble}"));
        }
        let mut shown = BTreeSet::new();
        for row in &look.rows {
            let Row(told, tombstone) = row;
            judgement.expect(ours.contains(row.id()), || {
                format!("{source} has {told}, a task that nobody asked for")
            });
            judgement.expect(shown.insert(row.id()), || {
                format!("{source} has {} twice", row.id())
            });
            let whole = row.task().is_some() && !(*tombstone && look.source == Source::List);
            judgement.expect(whole, || format!("{source} has {told}, which is no task"));
        }
    }
}

/// How many kills fell inside a mutation: it was sent before the signal, and never answered, while
/// another answer of the same race shows that the target was at it.
fn judge_kills(seen: &Evidence, judgement: &mut Judgement) -> u64 {
    let mut inside = 0;
    for (number, kill) in seen.kills.iter().enumerate() {
        judgement.expect(kill.ready_us.is_some(), || {
            format!("not ready again after the kill at {} us", kill.signal_us)
        });
        let races = || {
            let rounds = seen
                .rounds
                .iter()
                .filter(|round| round.kill == Some(number));
            rounds.flat_map(|round| &round.race)
        };
        let cut = |asked: &&Asked| {
            asked.wanted.verb.mutates()
                && asked.returned_us.is_none()
                && asked.invoked_us < kill.signal_us
        };
        let begun = races().any(|asked| asked.returned_us.is_some());
        inside += u64::from(begun && kill.ready_us.is_some() && races().any(|asked| cut(&asked)));
    }
    inside
}

/// What has to have occurred for the numbers to mean anything.
fn judge_coverage(seen: &Evidence, judgement: &mut Judgement) {
    let raced = |sort: Sort| {
        let of = |round: &&Round| round.sort == sort && round.race.len() >= 2;
        seen.rounds.iter().any(|round| of(&round))
    };
    for sort in Sort::ALL.into_iter().filter(|sort| !raced(*sort)) {
        judgement.undecided(format!("no {sort:?} race"));
    }
    let mut told: BTreeSet<(Verb, &'static str)> = BTreeSet::new();
    for round in &seen.rounds {
        for asked in round.asked() {
            let word = asked.output(&round.id).as_ref().map(word);
            told.extend(word.map(|word| (asked.wanted.verb, word)));
        }
    }
    for (verb, word) in EXPECTED {
        if !told.contains(&(*verb, *word)) {
            judgement.undecided(format!("no {verb:?} was answered by {word}"));
        }
    }
    let last_kill = seen
        .kills
        .iter()
        .filter_map(|kill| kill.ready_us)
        .max()
        .unwrap_or(u64::MAX);
    for source in [Source::List, Source::Database] {
        let after = |look: &&Look| {
            look.source == source && look.invoked_us >= last_kill && !look.rows.is_empty()
        };
        if !seen.looks.iter().any(|look| after(&look)) {
            judgement.undecided(format!("the {source:?} was not read after a kill"));
        }
    }
}

/// Every answer that a task has, and who has to have got it.
const EXPECTED: &[(Verb, &str)] = &[
    (Verb::Create, "201"),
    (Verb::Create, "TASK_EXISTS"),
    (Verb::Create, "TASK_GONE"),
    (Verb::Update, "200"),
    (Verb::Update, "VERSION_CONFLICT"),
    (Verb::Update, "404"),
    (Verb::Delete, "200"),
    (Verb::Delete, "404"),
    (Verb::Read, "200"),
    (Verb::Read, "404"),
    (Verb::List, "200"),
];

fn word(output: &Output) -> &'static str {
    match output {
        Output::Created(_) => "201",
        Output::Updated(_) | Output::Deleted { .. } | Output::Found(_) => "200",
        Output::NotFound => "404",
        Output::Exists(_) => "TASK_EXISTS",
        Output::Gone { .. } => "TASK_GONE",
        Output::Stale(_) => "VERSION_CONFLICT",
    }
}
