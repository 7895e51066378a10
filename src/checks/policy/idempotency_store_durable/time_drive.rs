//! Drives time to live and pruning on one target whose TTL is short: requests repeated until they
//! execute again, rows that come and go, and one operation that its double holds past its TTL.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::expiry::{Evidence, Held, Look, Row};
use crate::base::Clock;
use crate::chaos::keyed::operations::{Operation, Route, Sort};
use crate::chaos::keyed::requests::{Keyed, Patience, Stage, Wanted, make_ready, operator};
use crate::checks::{Cx, Undecided};
use crate::doubles::{Behaviour, Point};
use crate::target::{Client, Instance};

/// `idempotency.ttl_ms` of this target: long enough that a repeat returns inside it on a busy
/// machine, short enough to be waited for.
const TTL_MS: u64 = 1200;
/// `idempotency.prune_interval_ms` of this target.
const PRUNE_INTERVAL_MS: u64 = 50;
/// How long a request is repeated at most: past this the judge has seen enough.
const AGED_BOUND_US: u64 = 3 * TTL_MS * 1000 + 2_000_000;
/// Executions under one key, after which it has been shown what the key is worth.
const EXECUTIONS: usize = 8;
/// Routes that are repeated past their TTL. No decision is among them: that it is not made twice is
/// the claim of v4.7/B1.
const AGED: [Route; 3] = [Route::Session, Route::Turn, Route::Execute];
/// Rows that are made one after the other, so that old and new ones stand side by side.
const ROWS: usize = 8;
/// Between two of them.
const ROW_INTERVAL_US: u64 = 150_000;
/// Until when the call of the held operation has arrived.
const REACH_BOUND: Duration = Duration::from_secs(15);

/// Sets the stage.
pub(super) async fn prepare(cx: &mut Cx) -> Result<Stage, Undecided> {
    let idempotency = json!({"ttl_ms": TTL_MS, "prune_interval_ms": PRUNE_INTERVAL_MS});
    Ok(Stage::set(cx, json!({"idempotency": idempotency})).await?)
}

/// Drives it.
pub(super) async fn drive(cx: &Cx, stage: Stage, seen: &mut Evidence) -> Result<(), Undecided> {
    let _span = cx.span("time to live");
    (seen.ttl_ms, seen.prune_interval_ms) = (TTL_MS, PRUNE_INTERVAL_MS);
    let mut instance = stage.start().await?;
    let client = operator(&instance);
    let outcome = run(&stage, &instance, &client, seen).await;
    seen.backends = stage.backends();
    instance.exited();
    outcome
}

async fn run(
    stage: &Stage,
    instance: &Instance,
    client: &Client,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let mut wanted: Vec<Wanted> = AGED
        .iter()
        .map(|route| Wanted::new(*route, format!("b4-ttl-{route:?}")))
        .collect();
    wanted.push(Wanted::new(Route::Execute, "b4-ttl-held".to_owned()));
    wanted.extend((0..ROWS).map(|nth| Wanted::new(Route::Session, format!("b4-row-{nth}"))));
    let mut keyed = make_ready(client, &wanted).await?;
    let rows = keyed.split_off(AGED.len() + 1);
    let held = keyed.split_off(AGED.len());
    let Evidence {
        aged,
        rows: seen_rows,
        held: seen_held,
        looks,
        ..
    } = seen;
    aged.extend(keyed.iter().map(Keyed::operation));
    let holding = hold(stage, client, &held[0], seen_held).await?;
    let aging = keyed
        .iter()
        .zip(aged)
        .map(|(keyed, into)| age(stage.clock, client, keyed, into));
    let tables = Tables::of(instance)?;
    let (_, looked) = tokio::join!(
        futures_util::future::join_all(aging),
        look(
            stage,
            client,
            &tables,
            &rows,
            (seen_rows, seen_held, looks),
            &held[0]
        ),
    );
    stage.tools.release();
    if let Some(held) = seen_held {
        held.held.1.get_or_insert(stage.clock.now_us());
        if let Ok(exchange) = holding.await {
            held.asked.note(Sort::First, exchange);
        }
    }
    looked
}

/// Begins the operation whose call the double keeps; later calls pass.
async fn hold(
    stage: &Stage,
    client: &Client,
    keyed: &Keyed,
    into: &mut Option<Held>,
) -> Result<tokio::task::JoinHandle<crate::target::Exchange>, Undecided> {
    stage.tools.behave(Behaviour::hold(Point::Arrived));
    let (client, ask) = (client.clone(), keyed.ask());
    let task = tokio::spawn(async move { client.send(ask).await });
    stage.tools.held(1, REACH_BOUND).await?;
    stage.tools.behave(Behaviour::default());
    *into = Some(Held {
        asked: keyed.operation(),
        held: (stage.clock.now_us(), None),
    });
    Ok(task)
}

/// Sends the request until it was replayed inside its TTL and has executed again after it.
async fn age(clock: Clock, client: &Client, keyed: &Keyed, into: &mut Operation) {
    let measure = Evidence {
        ttl_ms: TTL_MS,
        ..Evidence::default()
    };
    keyed.send(client, Sort::First, into).await;
    let mut patience = Patience::new(clock);
    loop {
        keyed.send(client, Sort::Repeat, into).await;
        let executions = into.tries.iter().filter(|entry| !entry.replayed).count();
        let enough = measure.saw_both(into) || executions > EXECUTIONS;
        if enough || patience.spent_us() >= AGED_BOUND_US {
            break;
        }
        patience.pause().await;
    }
    keyed.send(client, Sort::Repeat, into).await;
}

/// The tables that this gate reads, by service.
struct Tables(Vec<(&'static str, PathBuf)>);

impl Tables {
    fn of(instance: &Instance) -> Result<Self, Undecided> {
        let listening = instance.listening();
        let path = |service: &'static str| {
            let path = listening.databases.get(service).cloned();
            path.map(|path| (service, path))
                .ok_or_else(|| Undecided(format!("the target names no database of {service}")))
        };
        Ok(Self(vec![path("api-gateway")?, path("openclaw")?]))
    }

    /// Reads both tables.
    async fn look(&self, clock: Clock, waited_us: u64, looks: &mut Vec<Look>) {
        for (service, path) in &self.0 {
            let (path, from_us) = (path.clone(), clock.now_us());
            let read = tokio::task::spawn_blocking(move || read(&path)).await;
            let to_us = clock.now_us();
            let (rows, error) = match read {
                Ok(Ok(rows)) => (rows, None),
                Ok(Err(error)) => (Vec::new(), Some(error.to_string())),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            let service = (*service).to_owned();
            looks.push(Look {
                service,
                from_us,
                to_us,
                rows,
                waited_us,
                error,
            });
        }
    }
}

fn read(path: &std::path::Path) -> rusqlite::Result<Vec<Row>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    // Keys of calls between services stand in the same tables; they are not ours to judge.
    let mut rows = connection.prepare(
        "SELECT idempotency_key, state FROM idempotency_keys \
         WHERE idempotency_key LIKE 'b4-%' ORDER BY idempotency_key",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Row {
            key: row.get(0)?,
            state: row.get(1)?,
        })
    };
    rows.query_map([], row)?.collect()
}

/// Makes a row now and then and reads the tables, until the first row is gone and the held
/// operation has outlived its TTL.
async fn look(
    stage: &Stage,
    client: &Client,
    tables: &Tables,
    rows: &[Keyed],
    (seen_rows, held, looks): (&mut Vec<Operation>, &mut Option<Held>, &mut Vec<Look>),
    held_keyed: &Keyed,
) -> Result<(), Undecided> {
    let clock = stage.clock;
    let mut rows = rows.iter();
    let mut next_row_us = 0;
    let mut over: Option<Patience> = None;
    let bound_us = Evidence {
        prune_interval_ms: PRUNE_INTERVAL_MS,
        ..Evidence::default()
    }
    .prune_bound_us();
    let mut patience = Patience::new(clock);
    loop {
        if clock.now_us() >= next_row_us
            && let Some(row) = rows.next()
        {
            let mut made = row.operation();
            row.send(client, Sort::First, &mut made).await;
            seen_rows.push(made);
            next_row_us = clock.now_us() + ROW_INTERVAL_US;
        }
        let waited_us = over.as_mut().map_or(0, Patience::spent_us);
        tables.look(clock, waited_us, looks).await;
        if looks.len() == 2 {
            in_progress(client, held_keyed, held).await;
        }
        let ended =
            ended_us(seen_rows).max(held.as_ref().map_or(0, |held| held.held.0) + TTL_MS * 1000);
        if over.is_none() && clock.now_us() > ended + PRUNE_INTERVAL_MS * 1000 {
            over = Some(Patience::new(clock));
        }
        let gone = looks
            .iter()
            .rev()
            .take(2)
            .all(|look| look.rows.iter().all(|row| row.key != "b4-row-0"));
        if over.is_some() && (gone || waited_us >= bound_us) {
            in_progress(client, held_keyed, held).await;
            tables.look(clock, waited_us, looks).await;
            return Ok(());
        }
        patience.pause().await;
    }
}

/// When the first row's TTL has certainly ended.
fn ended_us(rows: &[Operation]) -> u64 {
    let first = rows.first().and_then(|row| row.tries.first());
    first
        .and_then(|first| first.returned_us)
        .unwrap_or_default()
        + TTL_MS * 1000
}

/// The same request while the first is held.
async fn in_progress(client: &Client, keyed: &Keyed, held: &mut Option<Held>) {
    if let Some(held) = held {
        keyed.send(client, Sort::Repeat, &mut held.asked).await;
    }
}
