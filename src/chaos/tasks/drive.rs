//! How races for tasks are driven.

use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::asked::{Asked, SERVICE, Verb, Wanted, excerpt};
use super::{Evidence, Kill, Look, Round, Row, Sort, Source};
use crate::base::random_id;
use crate::chaos::history::{Event, History, Kind};
use crate::chaos::{Site, storm};
use crate::target::{Ask, Client, Credential, Instance};

/// Rounds beyond the minimum, so that a few that do not count make no difference.
const SPARE_ROUNDS: usize = 8;
/// Racers released by one barrier, over all tasks of a batch: many at once share the target's
/// commits, and each race still begins at one moment.
const RACERS_PER_BATCH: usize = 128;
/// One race of each sort has so many racers.
const BIG_RACE: usize = 16;
/// The others have so many.
const SMALL_RACES: std::ops::RangeInclusive<usize> = 2..=5;
/// Requests of a racer in a race of no particular sort.
const STEPS: usize = 3;
/// Tasks raced for when the target is killed.
const TASKS_PER_KILL: usize = 6;
/// Racers of each of them.
const RACERS_PER_KILL: usize = 4;
/// Kills beyond the minimum; some of them fall between two mutations.
const SPARE_KILLS: usize = 2;
/// Tasks on a page of a list.
const PAGE: usize = 40;
/// Who asks before and after a race.
const NOBODY: usize = 0;

/// How much is to count at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Races.
    pub rounds: usize,
    /// KILLs in the middle of races.
    pub kills: usize,
}

/// Drives it on a target of its own.
///
/// # Errors
/// When the target is gone for good.
pub async fn drive(site: &mut Site, amount: &Amount, seen: &mut Evidence) -> anyhow::Result<()> {
    let mut target = site.start(json!({})).await?;
    let clients = [1, 2].map(|number| target.client(Credential::Operator(number)));
    let mut rng = site.seed.child("races").rng();
    let rounds = amount.rounds + SPARE_ROUNDS;
    let plans: Vec<Plan> = (0..rounds)
        .map(|number| Plan::any(&mut rng, number))
        .collect();
    let mut from = 0;
    while from < plans.len() {
        let to = batch_end(&plans, from);
        race(site, seen, &clients, &plans[from..to]).await;
        from = to;
    }
    look(site, &target, &clients[0], seen).await;
    let kills = amount.kills + SPARE_KILLS;
    for number in 0..kills {
        let plans: Vec<Plan> = (0..TASKS_PER_KILL)
            .map(|_| Plan::to_be_cut(&mut rng))
            .collect();
        let after = rng.random_range(1..=TASKS_PER_KILL);
        kill(site, seen, &mut target, &clients, (number, after), &plans).await?;
        look(site, &target, &clients[0], seen).await;
    }
    Ok(())
}

/// One race to come.
struct Plan {
    id: String,
    sort: Sort,
    before: Vec<Wanted>,
    racers: Vec<Vec<Wanted>>,
    after: Vec<Wanted>,
}

impl Plan {
    /// The race of this number: sorts in turn, a big one of each first.
    fn any(rng: &mut ChaCha8Rng, number: usize) -> Self {
        let sorts = Sort::ALL.len();
        let sort = Sort::ALL[number % sorts];
        let big = number / sorts == 0;
        let racers = if big {
            BIG_RACE
        } else {
            rng.random_range(SMALL_RACES)
        };
        let mut plan = Self::of(rng, sort, racers);
        // Half of the tasks end deleted, so that the lists and the database show both.
        if rng.random_bool(0.5) {
            plan.after
                .extend([Verb::Delete, Verb::Create, Verb::Update, Verb::Delete].map(Wanted::bare));
        }
        plan.after.push(Wanted::bare(Verb::Read));
        plan
    }

    /// A race in which the target is killed. Every request of it may be the last.
    fn to_be_cut(rng: &mut ChaCha8Rng) -> Self {
        let sort = Sort::ALL[rng.random_range(0..Sort::ALL.len())];
        let mut plan = Self::of(rng, sort, RACERS_PER_KILL);
        plan.after = [
            Verb::Read,
            Verb::Update,
            Verb::Delete,
            Verb::Create,
            Verb::Read,
        ]
        .map(Wanted::bare)
        .into();
        plan
    }

    fn of(rng: &mut ChaCha8Rng, sort: Sort, racers: usize) -> Self {
        let made = vec![Wanted::bare(Verb::Create)];
        let (before, steps) = match sort {
            Sort::Create => (vec![], vec![Verb::Create, Verb::Update, Verb::Read]),
            Sort::Update => (made, vec![Verb::Update, Verb::Update, Verb::List]),
            Sort::Delete => (made, vec![Verb::Delete, Verb::Create, Verb::Read]),
            Sort::Mixed if rng.random_bool(0.5) => (made, vec![]),
            Sort::Mixed => (vec![], vec![]),
        };
        let racers = (0..racers).map(|_| {
            let mut any = || -> Vec<Verb> { (0..STEPS).map(|_| any_verb(rng)).collect() };
            let steps = if steps.is_empty() {
                any()
            } else {
                steps.clone()
            };
            steps.into_iter().map(Wanted::bare).collect()
        });
        Self {
            racers: racers.collect(),
            id: random_id("tsk_", rng),
            sort,
            before,
            after: Vec::new(),
        }
    }

    fn round(&self, kill: Option<usize>) -> Round {
        Round {
            id: self.id.clone(),
            sort: self.sort,
            before: Vec::new(),
            race: Vec::new(),
            after: Vec::new(),
            kill,
        }
    }
}

fn any_verb(rng: &mut ChaCha8Rng) -> Verb {
    match rng.random_range(0..10) {
        0..3 => Verb::Create,
        3..6 => Verb::Update,
        6..8 => Verb::Delete,
        8 => Verb::Read,
        _ => Verb::List,
    }
}

/// Whole plans, as many as one barrier takes.
fn batch_end(plans: &[Plan], from: usize) -> usize {
    let mut racers = 0;
    let mut to = from;
    while to < plans.len() {
        racers += plans[to].racers.len();
        if to > from && racers > RACERS_PER_BATCH {
            break;
        }
        to += 1;
    }
    to
}

/// Somebody who asks one thing after the other, and goes on from what it was told.
struct Racer {
    client: Client,
    id: String,
    number: usize,
    steps: Vec<Wanted>,
    /// Told of every answered mutation.
    answered: Option<mpsc::UnboundedSender<()>>,
}

impl Racer {
    /// Ends with its steps, or with a request that gets no answer: whether that one happened is then
    /// unknown, and what it would be told of next too.
    async fn run(self) -> Vec<Asked> {
        let mut asked: Vec<Asked> = Vec::new();
        for (step, mut wanted) in self.steps.into_iter().enumerate() {
            let mark = format!("{} {step}", self.number);
            match wanted.verb {
                Verb::Create => wanted.name = Some(mark),
                // Every third update leaves the name alone.
                Verb::Update if (self.number + step) % 3 == 2 => {
                    wanted.metadata = Some(json!({"by": mark}));
                }
                Verb::Update => wanted.name = Some(mark),
                Verb::Delete | Verb::Read | Verb::List => {}
            }
            if wanted.verb == Verb::Update {
                let told = asked
                    .iter()
                    .rev()
                    .find_map(|asked| asked.told["version"].as_u64());
                wanted.version = Some(told.unwrap_or(1));
            }
            let exchange = self.client.send(wanted.ask(&self.id)).await;
            let mutates = wanted.verb.mutates();
            let row = Asked::new(self.number, wanted, &self.id, &exchange);
            let silent = row.returned_us.is_none();
            asked.push(row);
            if silent {
                break;
            }
            if let Some(answered) = self.answered.as_ref().filter(|_| mutates) {
                // Nobody may be waiting any more.
                let _ = answered.send(());
            }
        }
        asked
    }
}

/// The steps of one phase, one asker a task, all tasks side by side.
async fn alone(
    clients: &[Client; 2],
    plans: &[Plan],
    steps: fn(&Plan) -> &[Wanted],
) -> Vec<Vec<Asked>> {
    storm(plans.len(), |index| {
        let racer = Racer {
            client: clients[index % 2].clone(),
            id: plans[index].id.clone(),
            number: NOBODY,
            steps: steps(&plans[index]).to_vec(),
            answered: None,
        };
        racer.run()
    })
    .await
}

/// All racers of these plans through one barrier, those of one task side by side.
async fn together(
    clients: &[Client; 2],
    plans: &[Plan],
    answered: Option<mpsc::UnboundedSender<()>>,
) -> Vec<(usize, Vec<Asked>)> {
    let racers: Vec<(usize, usize)> = plans
        .iter()
        .enumerate()
        .flat_map(|(plan, of)| (0..of.racers.len()).map(move |racer| (plan, racer)))
        .collect();
    storm(racers.len(), move |index| {
        let (plan, racer) = racers[index];
        let runs = Racer {
            client: clients[racer % 2].clone(),
            id: plans[plan].id.clone(),
            number: racer + 1,
            steps: plans[plan].racers[racer].clone(),
            answered: answered.clone(),
        };
        async move { (plan, runs.run().await) }
    })
    .await
}

/// A batch of races, from what goes before to what comes after.
async fn race(site: &Site, seen: &mut Evidence, clients: &[Client; 2], plans: &[Plan]) {
    let _span = site.span("storm");
    let first = seen.rounds.len();
    seen.rounds
        .extend(plans.iter().map(|plan| plan.round(None)));
    let rounds = &mut seen.rounds[first..];
    let before = alone(clients, plans, |plan| &plan.before).await;
    for (round, asked) in rounds.iter_mut().zip(before) {
        round.before = asked;
    }
    for (plan, asked) in together(clients, plans, None).await {
        rounds[plan].race.extend(asked);
    }
    let after = alone(clients, plans, |plan| &plan.after).await;
    for (round, asked) in rounds.iter_mut().zip(after) {
        round.after = asked;
    }
}

/// Races, killed as soon as so many mutations were answered, and asked on after the restart.
async fn kill(
    site: &Site,
    seen: &mut Evidence,
    target: &mut Instance,
    clients: &[Client; 2],
    (number, after): (usize, usize),
    plans: &[Plan],
) -> anyhow::Result<()> {
    let _span = site.span("kill");
    let first = seen.rounds.len();
    seen.rounds
        .extend(plans.iter().map(|plan| plan.round(Some(number))));
    let rounds = &mut seen.rounds[first..];
    let before = alone(clients, plans, |plan| &plan.before).await;
    for (round, asked) in rounds.iter_mut().zip(before) {
        round.before = asked;
    }
    let (answered, mut answers) = mpsc::unbounded_channel();
    let killing = async {
        for _ in 0..after {
            if answers.recv().await.is_none() {
                break;
            }
        }
        let signal_us = site.clock.now_us();
        let killed = target.kill().await;
        (signal_us, killed)
    };
    let (raced, (signal_us, killed)) =
        tokio::join!(together(clients, plans, Some(answered)), killing);
    for (plan, asked) in raced {
        rounds[plan].race.extend(asked);
    }
    seen.kills.push(Kill {
        signal_us,
        ready_us: None,
    });
    killed?;
    target.start_again().await?;
    if let Some(kill) = seen.kills.last_mut() {
        kill.ready_us = Some(site.clock.now_us());
    }
    look(site, target, &clients[0], seen).await;
    let after = alone(clients, plans, |plan| &plan.after).await;
    for (round, asked) in seen.rounds[first..].iter_mut().zip(after) {
        round.after = asked;
    }
    Ok(())
}

/// Reads all tasks from the list and from the database.
async fn look(site: &Site, target: &Instance, client: &Client, seen: &mut Evidence) {
    let _span = site.span("look");
    let invoked_us = site.clock.now_us();
    let listed = list(client).await;
    let look = |source, invoked_us, read: Result<Vec<Row>, String>| {
        let returned_us = site.clock.now_us();
        let (rows, trouble) = match read {
            Ok(rows) => (rows, None),
            Err(trouble) => (Vec::new(), Some(trouble)),
        };
        Look {
            source,
            invoked_us,
            returned_us,
            rows,
            trouble,
        }
    };
    seen.looks.push(look(Source::List, invoked_us, listed));
    let invoked_us = site.clock.now_us();
    let stored = match target.listening().databases.get(SERVICE) {
        Some(path) => stored(path.clone()).await,
        None => Err(format!("the target names no database of {SERVICE}")),
    };
    seen.looks.push(look(Source::Database, invoked_us, stored));
}

/// Every page of the list.
async fn list(client: &Client) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let mut after = json!(0);
    loop {
        let path = format!("/tasks?after={after}&limit={PAGE}");
        let exchange = client.send(Ask::get(SERVICE, &path)).await;
        let answer = exchange.answered();
        let page = answer["tasks"]
            .as_array()
            .filter(|_| exchange.status() == 200);
        let page = page.ok_or_else(|| format!("{}: {answer}", exchange.line()))?;
        rows.extend(page.iter().map(|row| Row(excerpt(row), false)));
        let next = answer["next"].clone();
        if next.is_null() {
            return Ok(rows);
        }
        // A list that does not go on would be read for ever.
        if next.as_i64() <= after.as_i64() {
            return Err(format!("the page after {after} goes on after {next}"));
        }
        after = next;
    }
}

/// Every row of the table, tombstones too.
async fn stored(path: PathBuf) -> Result<Vec<Row>, String> {
    let reading = tokio::task::spawn_blocking(move || rows(&path));
    let read = reading.await.map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())
}

fn rows(path: &Path) -> rusqlite::Result<Vec<Row>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    let sql =
        "SELECT id, version, name, metadata, deleted_at_us IS NOT NULL FROM tasks ORDER BY seq";
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let metadata: String = row.get(3)?;
        let task = json!({
            "task_id": row.get::<_, String>(0)?,
            "version": row.get::<_, i64>(1)?,
            "name": row.get::<_, String>(2)?,
            "metadata": serde_json::from_str::<Value>(&metadata).unwrap_or(Value::Null),
        });
        Ok(Row(task, row.get(4)?))
    })?;
    rows.collect()
}

/// All requests, as a history that other tools read too.
pub fn history(seen: &Evidence) -> History {
    let mut history = History::default();
    let asked = seen
        .rounds
        .iter()
        .flat_map(|round| round.asked().map(move |asked| (round, asked)));
    for (process, (round, asked)) in asked.enumerate() {
        let event = |kind, time_us, value| Event {
            process: process as u64,
            kind,
            f: asked.wanted.verb.word().to_owned(),
            value,
            time_us,
            correlation_id: None,
        };
        let mut wanted = json!(asked.wanted);
        wanted["id"] = json!(round.id);
        let told = json!({"status": asked.status, "code": asked.code, "task": asked.told});
        history.record(
            event(Kind::Invoke, asked.invoked_us, wanted),
            asked
                .returned_us
                .map(|returned_us| event(Kind::Ok, returned_us, told)),
        );
    }
    history.sort();
    history
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    fn plans(seed: u64) -> Vec<Plan> {
        let mut rng = Seed(seed).rng();
        (0..80).map(|number| Plan::any(&mut rng, number)).collect()
    }

    #[test]
    fn a_plan_races_every_sort_big_and_small_and_is_the_same_for_the_same_seed() {
        for sort in Sort::ALL {
            let sizes: Vec<usize> = plans(3)
                .iter()
                .filter(|plan| plan.sort == sort)
                .map(|plan| plan.racers.len())
                .collect();
            assert_eq!(sizes.len(), 20);
            assert!(
                sizes.contains(&BIG_RACE) && sizes.contains(&2),
                "{sort:?}: {sizes:?}"
            );
        }
        let words = |seed| {
            plans(seed)
                .iter()
                .map(|plan| plan.racers.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(words(3), words(3));
        assert_ne!(words(3), words(4));
        let deleted = plans(3).iter().filter(|plan| plan.after.len() > 1).count();
        assert!((20..60).contains(&deleted), "{deleted}");
    }

    #[test]
    fn batches_hold_whole_races_and_every_plan_is_in_one() {
        let plans = plans(3);
        let mut from = 0;
        while from < plans.len() {
            let to = batch_end(&plans, from);
            let racers: usize = plans[from..to].iter().map(|plan| plan.racers.len()).sum();
            assert!(
                to > from && (racers <= RACERS_PER_BATCH || to == from + 1),
                "{from} to {to}"
            );
            from = to;
        }
        assert_eq!(from, plans.len());
    }
}
