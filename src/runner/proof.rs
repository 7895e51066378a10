//! What proving came to, mutant by mutant, and the rule that says whether all is as declared. Pure.

use std::collections::BTreeMap;

use crate::model::{MutantSpec, Status};

/// How a gate stands to a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CellRole {
    /// It has to FAIL.
    Must,
    /// It may FAIL, with a reason.
    May,
    /// It is named in neither and has to PASS.
    Bystander,
}

/// What a gate is driven against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// The clean target: the control, which it has to PASS.
    Reference,
    /// A mutant, to which it stands like this.
    Mutant(CellRole),
    /// A null target, which has to PASS nothing.
    Null,
}

/// What one gate came to under one mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The gate's name.
    pub gate: String,
    /// How it stands to the mutant.
    pub role: CellRole,
    /// What it came to.
    pub status: Status,
    /// The row's detail.
    pub detail: String,
}

/// A mutant and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutantProof {
    /// What it promises.
    pub spec: MutantSpec,
    /// One for each gate that was run under it.
    pub cells: Vec<Cell>,
}

/// A null target and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NullProof {
    /// Its name.
    pub name: String,
    /// What every gate with a check came to.
    pub results: BTreeMap<String, Status>,
}

/// What a mutant came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every gate that has to fail did, and no bystander.
    Killed,
    /// A gate that has to fail passed.
    Survived,
    /// A gate failed that is not named.
    Bystander,
    /// Neither, but a gate could not decide, or none was run.
    Undecided,
    /// It was run against others than the gates that have to fail, and broke none of them.
    Elsewhere,
}

/// What proving a plan came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// What each gate with a check came to on the clean target.
    pub control: BTreeMap<String, Status>,
    /// Every mutant that was run.
    pub mutants: Vec<MutantProof>,
    /// Every null target that was run.
    pub nulls: Vec<NullProof>,
    /// Selected gates without a check, with the mutants their rows name.
    pub unchecked: Vec<(String, Vec<String>)>,
    /// Selected gates with a check, and the mutants their rows name.
    pub checked: Vec<(String, Vec<String>)>,
    /// Mutants that a row names and nobody has built: (gate, mutant).
    pub missing: Vec<(String, String)>,
    /// Whether it was cut short.
    pub interrupted: bool,
}

impl MutantProof {
    /// What it came to. A wrong outcome counts before one that could not be decided.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let any = |role, status| {
            self.cells
                .iter()
                .any(|cell| cell.role == role && cell.status == status)
        };
        if any(CellRole::Must, Status::Pass) {
            return Outcome::Survived;
        }
        if any(CellRole::Bystander, Status::Fail) {
            return Outcome::Bystander;
        }
        let open = |cell: &&Cell| match cell.role {
            CellRole::Must => cell.status != Status::Fail,
            CellRole::Bystander => cell.status != Status::Pass,
            // It may fail; that it could not decide says nothing about the gate.
            CellRole::May => false,
        };
        if self.cells.is_empty() || self.cells.iter().any(|cell| open(&cell)) {
            return Outcome::Undecided;
        }
        if self.cells.iter().any(|cell| cell.role == CellRole::Must) {
            Outcome::Killed
        } else {
            Outcome::Elsewhere
        }
    }
}

impl NullProof {
    /// Gates that it passed, which makes them vacuous.
    #[must_use]
    pub fn passed(&self) -> Vec<&str> {
        let passed = self
            .results
            .iter()
            .filter(|(_, status)| **status == Status::Pass);
        passed.map(|(gate, _)| gate.as_str()).collect()
    }
}

impl Proof {
    /// Whether this gate passes on the clean target. Where it does not, its FAIL under a mutant says
    /// nothing about the mutant.
    #[must_use]
    pub fn controlled(&self, gate: &str) -> bool {
        self.control.get(gate) == Some(&Status::Pass)
    }

    /// Gates that fail on the clean target.
    #[must_use]
    pub fn broken(&self) -> Vec<&str> {
        let failed = self.control.iter();
        let failed = failed.filter(|(_, status)| **status == Status::Fail);
        failed.map(|(gate, _)| gate.as_str()).collect()
    }

    /// Mutants that were seen to break this gate as they declare; none of a gate that does not
    /// pass without them.
    #[must_use]
    pub fn killed_by(&self, gate: &str) -> Vec<&str> {
        if !self.controlled(gate) {
            return Vec::new();
        }
        let kills = |mutant: &&MutantProof| {
            let mine = |cell: &Cell| cell.gate == gate && cell.status == Status::Fail;
            mutant.spec.names(gate) && mutant.cells.iter().any(mine)
        };
        self.mutants
            .iter()
            .filter(kills)
            .map(|mutant| mutant.spec.name.as_str())
            .collect()
    }

    /// Whether something is not as declared: a gate that fails on the clean target, a survivor, a
    /// bystander, a null target that passed.
    #[must_use]
    pub fn refuted(&self) -> bool {
        let wrong = |mutant: &MutantProof| {
            matches!(mutant.outcome(), Outcome::Survived | Outcome::Bystander)
        };
        !self.broken().is_empty()
            || self.mutants.iter().any(wrong)
            || self.nulls.iter().any(|null| !null.passed().is_empty())
    }

    /// Whether something stayed open: a gate that neither passes nor fails on the clean target, an
    /// undecided mutant, one that nobody built, a cut run, or nothing that was proven at all.
    #[must_use]
    pub fn open(&self) -> bool {
        let decided =
            |gate: &str| matches!(self.control.get(gate), Some(Status::Pass | Status::Fail));
        self.interrupted
            || !self.missing.is_empty()
            || self.checked.iter().any(|(gate, _)| !decided(gate))
            || self.mutants.is_empty()
            || self
                .mutants
                .iter()
                .any(|mutant| mutant.outcome() == Outcome::Undecided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{May, TargetSpec};
    use Status::{Fail, Pass, Unknown};

    const GATES: [&str; 3] = ["may-gate", "must-gate", "other"];

    fn spec() -> MutantSpec {
        MutantSpec {
            name: "thing-is-wrong".to_owned(),
            lever: "part".to_owned(),
            must: vec!["must-gate".to_owned()],
            may: vec![May {
                gate: "may-gate".to_owned(),
                reason: "it rests on it".to_owned(),
            }],
            target: TargetSpec::mutant("thing-is-wrong"),
        }
    }

    fn mutant(cells: &[(&str, Status)]) -> MutantProof {
        let cell = |(gate, status): &(&str, Status)| Cell {
            gate: (*gate).to_owned(),
            role: match *gate {
                "must-gate" => CellRole::Must,
                "may-gate" => CellRole::May,
                _ => CellRole::Bystander,
            },
            status: *status,
            detail: String::new(),
        };
        MutantProof {
            spec: spec(),
            cells: cells.iter().map(cell).collect(),
        }
    }

    fn proof(mutants: Vec<MutantProof>) -> Proof {
        Proof {
            mutants,
            checked: GATES.map(|gate| (gate.to_owned(), Vec::new())).to_vec(),
            control: GATES.map(|gate| (gate.to_owned(), Pass)).into(),
            ..Proof::default()
        }
    }

    #[test]
    fn only_fail_kills_and_only_what_is_named_may_fail() {
        for (cells, outcome) in [
            (vec![("must-gate", Fail)], Outcome::Killed),
            (
                vec![("must-gate", Fail), ("may-gate", Fail)],
                Outcome::Killed,
            ),
            (
                vec![("must-gate", Fail), ("may-gate", Unknown)],
                Outcome::Killed,
            ),
            (
                vec![("must-gate", Fail), ("may-gate", Pass), ("other", Pass)],
                Outcome::Killed,
            ),
            (vec![("must-gate", Pass)], Outcome::Survived),
            (
                vec![("must-gate", Pass), ("other", Fail)],
                Outcome::Survived,
            ),
            (
                vec![("must-gate", Fail), ("other", Fail)],
                Outcome::Bystander,
            ),
            (
                vec![("must-gate", Unknown), ("other", Fail)],
                Outcome::Bystander,
            ),
            (vec![("must-gate", Unknown)], Outcome::Undecided),
            (
                vec![("must-gate", Fail), ("other", Unknown)],
                Outcome::Undecided,
            ),
            (vec![], Outcome::Undecided),
            (
                vec![("other", Pass), ("may-gate", Fail)],
                Outcome::Elsewhere,
            ),
            (vec![("other", Unknown)], Outcome::Undecided),
            (vec![("other", Fail)], Outcome::Bystander),
        ] {
            assert_eq!(mutant(&cells).outcome(), outcome, "{cells:?}");
        }
    }

    #[test]
    fn a_kill_counts_for_the_gates_that_the_mutant_names() {
        let cells = [("must-gate", Fail), ("may-gate", Fail), ("other", Fail)];
        let proof = proof(vec![mutant(&cells)]);
        assert_eq!(proof.killed_by("must-gate"), ["thing-is-wrong"]);
        assert_eq!(proof.killed_by("may-gate"), ["thing-is-wrong"]);
        assert!(proof.killed_by("other").is_empty());
    }

    #[test]
    fn a_gate_that_fails_on_the_clean_target_too_has_killed_nothing() {
        let cells = [("must-gate", Fail), ("may-gate", Fail)];
        for (status, refuted, open) in [
            (Some(Pass), false, false),
            (Some(Fail), true, false),
            (Some(Unknown), false, true),
            (Some(Status::Skip), false, true),
            (None, false, true),
        ] {
            let mut proof = proof(vec![mutant(&cells)]);
            proof.control.remove("must-gate");
            proof
                .control
                .extend(status.map(|status| ("must-gate".to_owned(), status)));
            let passes = status == Some(Pass);
            assert_eq!(proof.refuted(), refuted, "{status:?}");
            assert_eq!(proof.open(), open, "{status:?}");
            assert_eq!(proof.controlled("must-gate"), passes, "{status:?}");
            assert_eq!(
                proof.killed_by("must-gate").len(),
                usize::from(passes),
                "{status:?}"
            );
            // What another gate saw stands.
            assert_eq!(proof.killed_by("may-gate"), ["thing-is-wrong"]);
            let broken: &[&str] = if refuted { &["must-gate"] } else { &[] };
            assert_eq!(proof.broken(), broken, "{status:?}");
        }
    }

    #[test]
    fn a_null_target_that_passes_anything_refutes_the_proof() {
        let mut proof = proof(vec![mutant(&[("must-gate", Fail)])]);
        assert!(!proof.refuted() && !proof.open());
        let results = BTreeMap::from([("a".to_owned(), Unknown), ("b".to_owned(), Fail)]);
        proof.nulls.push(NullProof {
            name: "liar".to_owned(),
            results,
        });
        assert!(!proof.refuted());
        proof.nulls[0].results.insert("c".to_owned(), Pass);
        assert!(proof.refuted());
    }

    #[test]
    fn nothing_proven_a_mutant_not_built_and_a_cut_run_are_open() {
        assert!(proof(Vec::new()).open());
        let killed = || proof(vec![mutant(&[("must-gate", Fail)])]);
        assert!(!killed().open());
        assert!(
            Proof {
                interrupted: true,
                ..killed()
            }
            .open()
        );
        let missing = vec![("gate".to_owned(), "mutant".to_owned())];
        assert!(
            Proof {
                missing,
                ..killed()
            }
            .open()
        );
        assert!(proof(vec![mutant(&[("must-gate", Unknown)])]).open());
    }
}
