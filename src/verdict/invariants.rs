//! The six invariants of the scope lock, and the gates that carry each.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Class, Plan, Status};

/// An invariant of the scope lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Its number in the scope lock.
    pub number: u8,
    /// Its name there.
    pub name: &'static str,
    /// The gates that carry it.
    pub carriers: Carriers,
}

/// Which gates carry an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriers {
    /// Every inherited gate.
    Floor,
    /// Every gate of an epic of the release.
    Epic(&'static str),
    /// These gates.
    Named(&'static [&'static str]),
}

/// All of them, in the order of the scope lock.
pub const INVARIANTS: [Invariant; 6] = [
    Invariant {
        number: 1,
        name: "floor regression zero-tolerance",
        carriers: Carriers::Floor,
    },
    Invariant {
        number: 2,
        name: "audit chain integrity",
        carriers: Carriers::Epic("A"),
    },
    Invariant {
        number: 3,
        name: "concurrency determinism",
        carriers: Carriers::Epic("B"),
    },
    Invariant {
        number: 4,
        name: "SLO automation closed-loop",
        carriers: Carriers::Epic("C"),
    },
    Invariant {
        number: 5,
        name: "contract pin",
        carriers: Carriers::Named(&["file-exists"]),
    },
    Invariant {
        number: 6,
        name: "fail-closed inheritance",
        carriers: Carriers::Named(&[
            "fail-closed-auth",
            "deny-invalid-token",
            "supervisor-budget-persist",
            "consent-fail-closed",
            "tls-config",
        ]),
    },
];

/// An invariant and what its gates came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvariantState {
    /// Its number in the scope lock.
    pub number: u8,
    /// Its name there.
    pub name: &'static str,
    /// Whether every gate that carries it is PASS, and there is one.
    pub holds: bool,
    /// How many gates carry it.
    pub gates: usize,
    /// Those that are not PASS.
    pub broken: Vec<String>,
}

impl Invariant {
    /// What its gates came to. A gate that the release does not have carries nothing.
    pub(super) fn state(&self, plan: &Plan, statuses: &BTreeMap<&str, Status>) -> InvariantState {
        let carries = |gate: &&crate::model::PlannedGate| match self.carriers {
            Carriers::Floor => gate.class == Class::Floor,
            Carriers::Epic(epic) => gate.class == Class::Delta && gate.epic == epic,
            Carriers::Named(names) => names.contains(&gate.spec.name.as_str()),
        };
        let names: Vec<&str> = plan
            .gates
            .iter()
            .filter(carries)
            .map(|gate| gate.spec.name.as_str())
            .collect();
        let broken: Vec<String> = names
            .iter()
            .filter(|name| statuses.get(**name) != Some(&Status::Pass))
            .map(|name| (*name).to_owned())
            .collect();
        InvariantState {
            number: self.number,
            name: self.name,
            holds: broken.is_empty() && !names.is_empty(),
            gates: names.len(),
            broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, Selection};

    fn plan() -> Plan {
        let model = Model::embedded().unwrap();
        model.plan("v4.7", &Selection::default()).unwrap()
    }

    #[test]
    fn every_invariant_is_carried_by_gates_that_exist() {
        let plan = plan();
        let all: BTreeMap<&str, Status> = plan
            .gates
            .iter()
            .map(|gate| (gate.spec.name.as_str(), Status::Pass))
            .collect();
        let counts = INVARIANTS.map(|one| one.state(&plan, &all).gates);
        assert_eq!(counts, [66, 6, 6, 6, 1, 5]);
        assert!(INVARIANTS.iter().all(|one| one.state(&plan, &all).holds));
    }

    #[test]
    fn a_gate_that_is_not_pass_or_not_there_breaks_its_invariant() {
        let plan = plan();
        for (gate, broken) in [
            ("approval-race-safe", 3),
            ("tls-config", 6),
            ("file-exists", 5),
        ] {
            for status in [
                Some(Status::Fail),
                Some(Status::Unknown),
                Some(Status::Skip),
                None,
            ] {
                let mut all: BTreeMap<&str, Status> = plan
                    .gates
                    .iter()
                    .map(|gate| (gate.spec.name.as_str(), Status::Pass))
                    .collect();
                all.remove(gate);
                all.extend(status.map(|status| (gate, status)));
                let state = INVARIANTS[broken - 1].state(&plan, &all);
                assert_eq!((state.holds, state.broken), (false, vec![gate.to_owned()]));
            }
        }
    }
}
