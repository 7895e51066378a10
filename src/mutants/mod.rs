//! Known-bad variants of a target, each a few lines through a lever, and the null targets.
//! Every gate must be seen to fail on its mutants before its green is trusted.

mod agents;
mod approvals;
mod audit;
mod auth;
mod baselines;
mod boot;
mod bundle;
mod consent;
mod durability;
mod exposure;
mod fences;
mod idempotency;
pub mod levers;
mod load;
mod memory;
mod migrations;
pub mod nulls;
mod outbox;
mod queues;
mod reliability;
mod replay;
mod restart;
mod slo;
mod speech;
mod storms;
mod supervised_ports;
mod supervision;
mod tasks;
mod tasks_routes;
mod turns;
mod verification;
mod voice;
pub mod wire;

use crate::model::{self, MutantSpec, TargetSpec};
use crate::reference::Parts;
use levers::Levers;

/// The status route without its version.
const STATUS_ROUTE: &str = "/slo/status";

/// A day: longer than anybody waits.
const DAY_MS: u64 = 86_400_000;

/// A defect: which gates have to notice it, which may, and how it is made.
pub struct Mutant {
    /// What is wrong.
    pub name: &'static str,
    /// Gates that have to FAIL.
    pub must: &'static [&'static str],
    /// Gates whose claim it necessarily breaks too.
    pub may: &'static [May],
    /// Pulls its levers.
    pub apply: fn(&mut Levers),
}

/// A gate that may fail under a mutant, and why.
pub struct May {
    /// The gate's name.
    pub gate: &'static str,
    /// Why its claim cannot hold under this defect.
    pub reason: &'static str,
}

/// What every defect breaks that is a setting: it shows in the effective config.
const OTHER_DEFAULTS: May = May {
    gate: "file-exists",
    reason: "the defaults in force are not those of the table",
};

/// All mutants, by subject.
const SUBJECTS: &[&[Mutant]] = &[
    auth::MUTANTS,
    audit::MUTANTS,
    queues::MUTANTS,
    replay::MUTANTS,
    bundle::MUTANTS,
    approvals::MUTANTS,
    agents::MUTANTS,
    turns::MUTANTS,
    load::MUTANTS,
    verification::MUTANTS,
    fences::MUTANTS,
    tasks::MUTANTS,
    idempotency::MUTANTS,
    slo::MUTANTS,
    durability::MUTANTS,
    outbox::MUTANTS,
    migrations::MUTANTS,
    restart::MUTANTS,
    tasks_routes::MUTANTS,
    boot::MUTANTS,
    consent::MUTANTS,
    memory::MUTANTS,
    speech::MUTANTS,
    voice::MUTANTS,
    storms::MUTANTS,
    reliability::MUTANTS,
    exposure::MUTANTS,
    supervision::MUTANTS,
    supervised_ports::MUTANTS,
    baselines::MUTANTS,
];

/// All mutants as the runner sees them.
#[must_use]
pub fn all() -> Vec<MutantSpec> {
    SUBJECTS.iter().copied().flatten().map(spec).collect()
}

/// The parts of the target that this mutant is, `None` when there is no such mutant.
#[must_use]
pub fn parts(name: &str) -> Option<Parts> {
    let mutant = SUBJECTS
        .iter()
        .copied()
        .flatten()
        .find(|mutant| mutant.name == name)?;
    let mut levers = Levers::new();
    (mutant.apply)(&mut levers);
    Some(levers.into_parts())
}

fn spec(mutant: &Mutant) -> MutantSpec {
    // The levers are pulled once for their names only: nothing is started.
    let mut levers = Levers::new();
    (mutant.apply)(&mut levers);
    let may = |may: &May| model::May {
        gate: may.gate.to_owned(),
        reason: may.reason.to_owned(),
    };
    let lever = levers.names();
    let shows = lever.split('+').any(|lever| lever == "config");
    let defaults = shows.then_some(&OTHER_DEFAULTS);
    MutantSpec {
        name: mutant.name.to_owned(),
        must: mutant.must.iter().map(|gate| (*gate).to_owned()).collect(),
        may: mutant.may.iter().chain(defaults).map(may).collect(),
        lever,
        target: TargetSpec::mutant(mutant.name),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::checks;

    #[test]
    fn every_mutant_that_a_checked_gate_names_is_here_and_must_kill_it() {
        let model = model::Model::embedded().unwrap();
        let gates = model.releases().iter().flat_map(|release| &release.gates);
        for gate in gates.filter(|gate| checks::find(&gate.name).is_some()) {
            for name in &gate.mutants {
                let spec = all().into_iter().find(|spec| spec.name == *name);
                let spec = spec.unwrap_or_else(|| panic!("{}: no mutant {name}", gate.name));
                assert!(
                    spec.must_fail(&gate.name),
                    "{name} does not have to fail {}",
                    gate.name
                );
            }
        }
    }

    #[test]
    fn names_are_unique_and_every_mutant_pulls_a_lever() {
        let all = all();
        let names: BTreeSet<_> = all.iter().map(|spec| spec.name.clone()).collect();
        assert_eq!(names.len(), all.len());
        for spec in &all {
            assert!(
                !spec.lever.is_empty() && !spec.must.is_empty(),
                "{}",
                spec.name
            );
        }
    }
}
