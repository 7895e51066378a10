//! The start of everybody, tier by tier, and the end of everybody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::spawn::{Plan, Process, runs};
use super::table::{Row, SUPERVISOR};
use super::watch::Watch;
use super::watched::{Supervision, Watched};
use super::{StartFailed, state};
use crate::reference::addresses;
use crate::reference::ids;
use crate::reference::service::Service;
use crate::reference::store::StoreError;
use crate::reference::wiring::SERVICES;

/// How long what an earlier supervisor left behind may take to end; it ends by itself.
const LEFTOVERS: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// What is asked of a supervisor beyond its config.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Start the orchestrator too.
    pub orchestrator: bool,
}

/// Everybody runs.
pub struct Booted {
    /// Who is watched.
    pub supervision: Arc<Supervision>,
    /// The listening lines of everybody.
    pub lines: Vec<Value>,
    stop: watch::Sender<bool>,
    watches: Vec<JoinHandle<()>>,
}

impl Booted {
    /// Ends every service, all at once; each has the time that the config gives it.
    pub async fn stop(self) {
        // Nobody watching any more is what is wanted.
        let _ = self.stop.send(true);
        join_all(self.watches).await;
    }
}

/// A service that did not start.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{service} did not start: {why}")]
pub struct ChildFailed {
    /// The service.
    pub service: &'static str,
    /// Why.
    pub why: String,
}

/// Why not everybody runs.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A service.
    #[error(transparent)]
    Child(#[from] ChildFailed),
    /// The supervisor's own database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a row is to be started: one on request when it is asked for, any other when the config
/// names it, or nobody.
pub(super) fn is_wanted(row: &Row, named: Option<&[String]>, wanted: Wanted) -> bool {
    match named {
        _ if row.on_request => wanted.orchestrator,
        Some(named) => named.iter().any(|name| name == row.service),
        None => true,
    }
}

/// The rows that are started as processes, in their order.
fn rows(svc: &Service, wanted: Wanted) -> Vec<&Row> {
    let (seams, config) = (&svc.parts.supervision, svc.config());
    let named = config.supervisor.services.as_deref();
    let own = |row: &&Row| SERVICES.contains(&row.service) && row.service != SUPERVISOR;
    let rows = seams.table.iter().filter(own);
    let mut rows: Vec<&Row> = rows
        .filter(|row| (seams.wanted)(row, named, wanted))
        .collect();
    rows.sort_by_key(|row| row.tier);
    rows
}

/// Starts everybody; returns when all of them are ready and watched.
///
/// # Errors
/// The first that does not start; those that did are ended then.
pub async fn boot(svc: &Arc<Service>, plan: Plan, wanted: Wanted) -> Result<Booted, BootError> {
    let table = rows(svc, wanted);
    leftovers(&plan, &table).await;
    let mut started = Vec::new();
    for tier in table.chunk_by(|one, other| one.tier == other.tier) {
        started.extend(start(svc, &plan, tier).await?);
    }
    let (maintenance, readable) = (state::maintenance(svc).await?, state::readable(svc).await);
    let (stop, stopped) = watch::channel(false);
    let lines = started.iter().map(|one| one.line.clone()).collect();
    let watched = started.iter().map(|one| {
        let url = (svc.parts.supervision.locate)(svc, &one.row, &one.line);
        Arc::new(Watched::new(one.row.clone(), one.process.pid(), url))
    });
    let supervision = Arc::new(Supervision::new(watched.collect(), maintenance, readable));
    let plan = Arc::new(plan);
    let watches = started.into_iter().zip(&supervision.watched);
    let watches = watches.map(|(one, own)| {
        let now = tokio::time::Instant::now();
        let watch = Watch {
            svc: svc.clone(),
            all: supervision.clone(),
            own: own.clone(),
            plan: plan.clone(),
            process: Some(one.process),
            next_probe: now,
            ready_by: now,
        };
        tokio::spawn(watch.run(stopped.clone()))
    });
    Ok(Booted {
        lines,
        watches: watches.collect(),
        supervision,
        stop,
    })
}

struct Started {
    row: Row,
    line: Value,
    process: Box<dyn Process>,
}

/// Starts a tier at once, and waits until all of it are ready.
async fn start(svc: &Arc<Service>, plan: &Plan, tier: &[&Row]) -> Result<Vec<Started>, BootError> {
    let failed = |row: &Row, why: String| ChildFailed {
        service: row.service,
        why,
    };
    let seams = &svc.parts.supervision;
    let patience = Duration::from_millis(svc.config().supervisor.start_timeout_ms);
    let mut made = Vec::new();
    for row in tier {
        match seams.spawn.start(plan, row.service) {
            Ok(process) => made.push(((*row).clone(), process)),
            Err(error) => (seams.start_failed)(failed(row, error.to_string()))?,
        }
    }
    announce(svc, &made).await?;
    let ready = made.into_iter().map(async |(row, mut process)| {
        let line = match tokio::time::timeout(patience, process.ready()).await {
            Ok(line) => line,
            Err(_) => Err("it was not ready in time".to_owned()),
        };
        (row, process, line)
    });
    let mut started = Vec::new();
    for (row, process, line) in join_all(ready).await {
        match line {
            Ok(line) => started.push(Started { row, line, process }),
            Err(why) => (seams.start_failed)(failed(&row, why))?,
        }
    }
    Ok(started)
}

async fn announce(svc: &Service, made: &[(Row, Box<dyn Process>)]) -> Result<(), StoreError> {
    let data = |(row, process): &(Row, Box<dyn Process>)| json!({"service": row.service, "tier": row.tier, "pid": process.pid()});
    let events: Vec<Value> = made.iter().map(data).collect();
    let job = svc.store.write(move |tx| {
        for data in events {
            tx.event("supervision.started", &ids::make("sup_"), data)?;
        }
        Ok(())
    });
    job.await
}

/// Waits for processes of an earlier supervisor that was killed: they are ending.
async fn leftovers(plan: &Plan, table: &[&Row]) {
    let end = Instant::now() + LEFTOVERS;
    let pids = table
        .iter()
        .filter_map(|row| addresses::read(&plan.data_dir, row.service));
    for pid in pids.map(|address| address.pid) {
        while runs(pid) && Instant::now() < end {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A start that fails is the end of the boot.
pub(super) fn give_up() -> StartFailed {
    Arc::new(Err)
}
