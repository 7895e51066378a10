//! Proves gates: every mutant against the gates that it names, every null target against all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::StreamExt;
use rand::seq::SliceRandom;
use tokio::sync::mpsc::UnboundedSender;

use super::Cancel;
use super::drive::{ATTEMPTS, DEADLINE_GRACE, Driver};
use super::event::Row;
use super::proof::{Cell, CellRole, MutantProof, NullProof, Proof};
use super::run::check_for;
use crate::base::{Clock, Seed};
use crate::checks::Check;
use crate::model::{MutantSpec, Plan, PlannedGate, TargetSpec};

/// Which gates a mutant is run against beside those it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// None.
    Named,
    /// A share of them, the same one for the same seed.
    Sample {
        /// How many pairs of a mutant and a gate.
        pairs: usize,
        /// Chooses them; made of the commit.
        seed: Seed,
    },
    /// Every gate that has a check.
    All,
}

/// How a plan is proven.
#[derive(Clone, Debug)]
pub struct ProveOptions {
    /// Our own binary, of which the targets are children.
    pub binary: PathBuf,
    /// Drives workload, faults and ids.
    pub seed: Seed,
    /// How many drives at a time, at least 1.
    pub jobs: usize,
    /// Which gates beside the named ones.
    pub scope: Scope,
    /// A temporary folder, for the folders of running targets.
    pub scratch: PathBuf,
    /// One folder a target, with the evidence of its gates.
    pub evidence: PathBuf,
}

/// One drive.
struct Pair<'a> {
    target: &'a TargetSpec,
    gate: &'a PlannedGate,
    check: &'static Check,
    /// The index of the mutant and how the gate stands to it; none for a null target.
    mutant: Option<(usize, CellRole)>,
}

/// A finished drive: the target's name, the gate's row, and whether it is a null target's.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The target's name.
    pub target: String,
    /// How the gate stands to it; none for a null target.
    pub role: Option<CellRole>,
    /// What the gate came to.
    pub row: Row,
    /// How many drives there are.
    pub of: usize,
}

/// Proves the selected gates of a plan. Each finished drive is sent as it ends.
pub async fn prove(
    plan: &Plan,
    mutants: &[MutantSpec],
    nulls: &[TargetSpec],
    options: &ProveOptions,
    events: &UnboundedSender<Proven>,
    cancel: Cancel,
) -> Proof {
    let mut proof = Proof::default();
    let checked = sort_gates(plan, mutants, &mut proof);
    let chosen: Vec<&MutantSpec> = mutants
        .iter()
        .filter(|mutant| {
            checked
                .iter()
                .any(|(gate, _)| mutant.must_fail(&gate.spec.name))
        })
        .collect();
    let pairs = pairs(&checked, &chosen, nulls, options.scope);
    let of = pairs.len();
    proof.mutants = chosen
        .iter()
        .map(|mutant| MutantProof {
            spec: (*mutant).clone(),
            cells: Vec::new(),
        })
        .collect();
    proof.nulls = nulls
        .iter()
        .map(|null| NullProof {
            name: null.name.clone(),
            results: BTreeMap::new(),
        })
        .collect();
    let clock = Clock::start();
    let mut driven = futures_util::stream::iter(pairs)
        .map(|pair| {
            let driver = driver(&pair, options, clock);
            let cancel = cancel.clone();
            async move {
                (
                    driver.gate(pair.gate, pair.check, cancel, |_| {}).await,
                    pair,
                )
            }
        })
        .buffer_unordered(options.jobs.max(1));
    while let Some((row, pair)) = driven.next().await {
        record(&mut proof, &pair, &row);
        let role = pair.mutant.map(|(_, role)| role);
        let _ = events.send(Proven {
            target: pair.target.name.clone(),
            role,
            row,
            of,
        });
    }
    for mutant in &mut proof.mutants {
        mutant
            .cells
            .sort_by(|one, other| (one.role, &one.gate).cmp(&(other.role, &other.gate)));
    }
    proof.interrupted = *cancel.borrow();
    proof
}

/// The selected gates that have a check; the others, and mutants that nobody built, are noted.
fn sort_gates<'a>(
    plan: &'a Plan,
    mutants: &[MutantSpec],
    proof: &mut Proof,
) -> Vec<(&'a PlannedGate, &'static Check)> {
    let mut checked = Vec::new();
    for gate in plan.gates.iter().filter(|gate| gate.selected) {
        let entry = (gate.spec.name.clone(), gate.spec.mutants.clone());
        match check_for(gate, &TargetSpec::reference()) {
            Err(_) => proof.unchecked.push(entry),
            Ok(check) => {
                checked.push((gate, check));
                for name in &gate.spec.mutants {
                    let built = |mutant: &MutantSpec| {
                        mutant.name == *name && mutant.must_fail(&gate.spec.name)
                    };
                    if !mutants.iter().any(built) {
                        proof.missing.push((gate.spec.name.clone(), name.clone()));
                    }
                }
                proof.checked.push(entry);
            }
        }
    }
    checked
}

fn pairs<'a>(
    checked: &[(&'a PlannedGate, &'static Check)],
    mutants: &[&'a MutantSpec],
    nulls: &'a [TargetSpec],
    scope: Scope,
) -> Vec<Pair<'a>> {
    let (mut named, mut bystanders) = (Vec::new(), Vec::new());
    for (index, mutant) in mutants.iter().enumerate() {
        for &(gate, check) in checked {
            let name = &gate.spec.name;
            let role = match (mutant.must_fail(name), mutant.names(name)) {
                (true, _) => CellRole::Must,
                (false, true) => CellRole::May,
                (false, false) => CellRole::Bystander,
            };
            let into = if role == CellRole::Bystander {
                &mut bystanders
            } else {
                &mut named
            };
            into.push(Pair {
                target: &mutant.target,
                gate,
                check,
                mutant: Some((index, role)),
            });
        }
    }
    match scope {
        Scope::Named => bystanders.clear(),
        Scope::Sample { pairs, seed } => {
            bystanders.shuffle(&mut seed.rng());
            bystanders.truncate(pairs);
        }
        Scope::All => {}
    }
    let nulls = nulls.iter().flat_map(|target| {
        checked.iter().map(move |&(gate, check)| Pair {
            target,
            gate,
            check,
            mutant: None,
        })
    });
    named.into_iter().chain(bystanders).chain(nulls).collect()
}

fn driver(pair: &Pair<'_>, options: &ProveOptions, clock: Clock) -> Driver {
    Driver {
        target: pair.target.clone(),
        binary: options.binary.clone(),
        seed: options.seed,
        clock,
        scratch: options.scratch.join(&pair.target.name),
        evidence: options.evidence.join(&pair.target.name),
        grace: DEADLINE_GRACE,
        // A null target has to pass nothing: what stays open under it needs no second look.
        attempts: if pair.mutant.is_some() { ATTEMPTS } else { 1 },
    }
}

fn record(proof: &mut Proof, pair: &Pair<'_>, row: &Row) {
    match pair.mutant {
        Some((index, role)) => proof.mutants[index].cells.push(Cell {
            gate: row.name.clone(),
            role,
            status: row.status,
            detail: row.detail.clone(),
        }),
        None => {
            let null = proof
                .nulls
                .iter_mut()
                .find(|null| null.name == pair.target.name);
            let null = null.expect("pairs are made of the null targets that were given");
            null.results.insert(row.name.clone(), row.status);
        }
    }
}
