//! A run: the selected gates of a plan, in an order given by the seed, several at a time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rand::seq::SliceRandom;
use tokio::sync::mpsc::UnboundedSender;

use super::Cancel;
use super::drive::{ATTEMPTS, DEADLINE_GRACE, Driver};
use super::event::{Row, RunEvent};
use crate::base::{Clock, Seed};
use crate::checks::{self, Check};
use crate::model::{Plan, PlannedGate, Status, TargetSpec};

/// How a plan is run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What is judged.
    pub target: TargetSpec,
    /// Our own binary, of which embedded targets are children.
    pub binary: PathBuf,
    /// Drives order, workload, faults and ids.
    pub seed: Seed,
    /// How many gates are driven at a time, at least 1.
    pub jobs: usize,
    /// A temporary folder, for the folders of running targets.
    pub scratch: PathBuf,
    /// The folder of all evidence.
    pub evidence: PathBuf,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// A row a gate, in the order of the plan.
    pub rows: Vec<Row>,
    /// Whether it was cut short.
    pub interrupted: bool,
    /// Wall time.
    pub elapsed: Duration,
}

/// Runs the plan. Events are sent as they happen; nobody needs to listen.
pub async fn run(
    plan: &Plan,
    options: &RunOptions,
    events: &UnboundedSender<RunEvent>,
    cancel: Cancel,
) -> RunOutcome {
    let began = Instant::now();
    let mut rows: Vec<Row> = Vec::with_capacity(plan.gates.len());
    let mut todo = Vec::new();
    for (index, gate) in plan.gates.iter().enumerate() {
        match check_for(gate, &options.target) {
            Ok(check) => {
                todo.push((index, gate, check));
                rows.push(Row::settled(gate, Status::Unknown, "not run yet"));
            }
            Err((status, why)) => rows.push(Row::settled(gate, status, &why)),
        }
    }
    todo.shuffle(&mut options.seed.child("order").rng());
    let order = todo.iter().map(|(index, ..)| *index).collect();
    let _ = events.send(RunEvent::Started {
        rows: rows.clone(),
        order,
    });
    let driver = Driver {
        target: options.target.clone(),
        binary: options.binary.clone(),
        seed: options.seed,
        clock: Clock::start(),
        scratch: options.scratch.clone(),
        evidence: options.evidence.clone(),
        grace: DEADLINE_GRACE,
        attempts: ATTEMPTS,
    };
    let driver = &driver;
    let mut driven = futures_util::stream::iter(todo)
        .map(|(index, gate, check)| {
            let cancel = cancel.clone();
            async move {
                let begun = |attempt| {
                    let _ = events.send(RunEvent::GateStarted { index, attempt });
                };
                (index, driver.gate(gate, check, cancel, begun).await)
            }
        })
        .buffer_unordered(options.jobs.max(1));
    while let Some((index, row)) = driven.next().await {
        let _ = events.send(RunEvent::GateFinished {
            index,
            row: Box::new(row.clone()),
        });
        rows[index] = row;
    }
    let interrupted = rows.iter().any(|row| row.interrupted);
    RunOutcome {
        rows,
        interrupted,
        elapsed: began.elapsed(),
    }
}

/// The check of a gate that is to be driven, or what its row says instead.
pub(super) fn check_for(
    gate: &PlannedGate,
    target: &TargetSpec,
) -> Result<&'static Check, (Status, String)> {
    if gate.selected {
        check_of(gate, target)
    } else {
        Err((Status::Skip, "not selected".to_owned()))
    }
}

/// The same, whether it is selected or not.
pub(super) fn check_of(
    gate: &PlannedGate,
    target: &TargetSpec,
) -> Result<&'static Check, (Status, String)> {
    let check = checks::find(&gate.spec.name)
        .ok_or_else(|| (Status::Unknown, "no check yet".to_owned()))?;
    let missing: Vec<&str> = gate
        .spec
        .needs
        .iter()
        .filter(|need| !target.can(**need))
        .map(|need| need.name())
        .collect();
    match missing.as_slice() {
        [] => Ok(check),
        some => {
            let why = format!("the target cannot do what it needs: {}", some.join(", "));
            Err((Status::Unknown, why))
        }
    }
}
