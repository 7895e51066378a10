//! `kill-matrix.json`: what each gate came to on the clean target, which mutant was killed by which
//! gate, and what the null targets passed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::Seed;
use crate::model::{May, MutantSpec, Plan, Status};
use crate::runner::{MutantProof, Proof};

/// The file's name.
pub const MATRIX_FILE: &str = "kill-matrix.json";

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillMatrix {
    /// The release that was proven.
    pub release: String,
    /// The digest of the sources that were proven.
    pub proof_digest: String,
    /// The commit that was checked out; information, never compared.
    pub commit: Option<String>,
    /// The seed, as a decimal text.
    pub seed: String,
    /// What each gate with a check came to on the clean target. One that did not PASS there, or is
    /// not among them, is unproven, whatever it killed.
    pub control: BTreeMap<String, Status>,
    /// Every mutant: those that were run, and those of gates without a check.
    pub mutants: Vec<MutantRow>,
    /// Every gate that was to be proven.
    pub gates: Vec<GateRow>,
    /// Every null target that was run.
    pub null_targets: Vec<NullRow>,
}

/// A mutant of a matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MutantRow {
    /// What is wrong.
    pub name: String,
    /// How it is pulled; empty for one that is not built yet.
    pub lever: String,
    /// Gates that have to FAIL.
    pub must: Vec<String>,
    /// Gates that may FAIL.
    pub may: Vec<May>,
    /// What each gate came to; empty for one that was not run.
    pub results: BTreeMap<String, Status>,
}

/// A gate of a matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateRow {
    /// The gate's name.
    pub name: String,
    /// Whether there is a check for it.
    pub checked: bool,
    /// Mutants that declare it and were seen to break it, if it passes without them.
    pub killed_by: Vec<String>,
}

/// A null target of a matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NullRow {
    /// Its name.
    pub name: String,
    /// Gates that it passed; there should be none.
    pub passed: Vec<String>,
}

/// Why a matrix cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// It is not there, or cannot be read.
    #[error("cannot read {path}: {why}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// It is something else.
    #[error("{path} is no kill matrix: {why}", path = .path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        why: serde_json::Error,
    },
}

impl KillMatrix {
    /// The matrix of a proof.
    #[must_use]
    pub fn of(
        release: &str,
        digest: &str,
        commit: Option<&str>,
        seed: Seed,
        proof: &Proof,
    ) -> Self {
        let unbuilt = proof.unchecked.iter().flat_map(|(gate, mutants)| {
            mutants.iter().map(move |mutant| MutantRow {
                name: mutant.clone(),
                lever: String::new(),
                must: vec![gate.clone()],
                may: Vec::new(),
                results: BTreeMap::new(),
            })
        });
        let run: BTreeSet<&str> = proof
            .mutants
            .iter()
            .map(|mutant| mutant.spec.name.as_str())
            .collect();
        let mutants = proof.mutants.iter().map(MutantRow::of);
        let mut mutants: Vec<MutantRow> = mutants
            .chain(unbuilt.filter(|row| !run.contains(row.name.as_str())))
            .collect();
        mutants.sort_by(|one, other| one.name.cmp(&other.name));
        let row = |(name, _): &(String, Vec<String>), checked| GateRow {
            name: name.clone(),
            checked,
            killed_by: proof
                .killed_by(name)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        };
        let mut gates: Vec<GateRow> = proof.checked.iter().map(|gate| row(gate, true)).collect();
        gates.extend(proof.unchecked.iter().map(|gate| row(gate, false)));
        let nulls = proof.nulls.iter().map(|null| NullRow {
            name: null.name.clone(),
            passed: null.passed().into_iter().map(str::to_owned).collect(),
        });
        Self {
            release: release.to_owned(),
            proof_digest: digest.to_owned(),
            commit: commit.map(str::to_owned),
            seed: seed.to_string(),
            control: proof.control.clone(),
            mutants,
            gates,
            null_targets: nulls.collect(),
        }
    }

    /// Reads a matrix.
    ///
    /// # Errors
    /// See [`MatrixError`].
    pub fn read(path: &Path) -> Result<Self, MatrixError> {
        let bytes = fs::read(path).map_err(|why| MatrixError::Unreadable {
            path: path.to_owned(),
            why,
        })?;
        serde_json::from_slice(&bytes).map_err(|why| MatrixError::Garbled {
            path: path.to_owned(),
            why,
        })
    }

    /// Gates of the plan that this matrix does not prove: not passed on the clean target, without a
    /// kill, or passed by a null target. What it says is counted again from the control and the
    /// mutants' results; `killed_by` is for readers.
    #[must_use]
    pub fn unproven(&self, plan: &Plan) -> Vec<String> {
        let vacuous: BTreeSet<&str> = self
            .null_targets
            .iter()
            .flat_map(|null| &null.passed)
            .map(String::as_str)
            .collect();
        let controlled = |gate: &str| self.control.get(gate) == Some(&Status::Pass);
        let kills = |gate: &str| {
            self.mutants
                .iter()
                .any(|mutant| mutant.names(gate) && mutant.results.get(gate) == Some(&Status::Fail))
        };
        let gates = plan.gates.iter().map(|gate| gate.spec.name.as_str());
        gates
            .filter(|gate| !controlled(gate) || vacuous.contains(gate) || !kills(gate))
            .map(str::to_owned)
            .collect()
    }
}

impl MutantRow {
    /// Whether this gate has to fail under it.
    #[must_use]
    pub fn must_fail(&self, gate: &str) -> bool {
        self.must.iter().any(|name| name == gate)
    }

    /// Whether it names this gate at all.
    #[must_use]
    pub fn names(&self, gate: &str) -> bool {
        self.must_fail(gate) || self.may.iter().any(|may| may.gate == gate)
    }

    fn of(mutant: &MutantProof) -> Self {
        let MutantSpec {
            name,
            lever,
            must,
            may,
            ..
        } = &mutant.spec;
        let results = mutant
            .cells
            .iter()
            .map(|cell| (cell.gate.clone(), cell.status));
        Self {
            name: name.clone(),
            lever: lever.clone(),
            must: must.clone(),
            may: may.clone(),
            results: results.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, Selection, TargetSpec};
    use crate::runner::{Cell, CellRole, NullProof};

    fn proof(status: Status) -> Proof {
        let spec = MutantSpec {
            name: "approval-check-then-set".to_owned(),
            lever: "part".to_owned(),
            must: vec!["approval-race-safe".to_owned()],
            may: Vec::new(),
            target: TargetSpec::mutant("approval-check-then-set"),
        };
        let cell = Cell {
            gate: "approval-race-safe".to_owned(),
            role: CellRole::Must,
            status,
            detail: String::new(),
        };
        Proof {
            control: BTreeMap::from([("approval-race-safe".to_owned(), Status::Pass)]),
            mutants: vec![MutantProof {
                spec,
                cells: vec![cell],
            }],
            nulls: vec![NullProof {
                name: "liar".to_owned(),
                results: BTreeMap::new(),
            }],
            checked: vec![("approval-race-safe".to_owned(), Vec::new())],
            unchecked: vec![(
                "wal-mode".to_owned(),
                vec!["journal-mode-delete".to_owned()],
            )],
            ..Proof::default()
        }
    }

    fn matrix(proof: &Proof) -> KillMatrix {
        KillMatrix::of("v4.7", "d1g357", Some("c0ffee"), Seed(u64::MAX), proof)
    }

    fn plan() -> Plan {
        Model::embedded()
            .unwrap()
            .plan("v4.7", &Selection::default())
            .unwrap()
    }

    #[test]
    fn a_gate_is_proven_by_a_fail_and_by_nothing_else() {
        for (status, unproven) in [
            (Status::Fail, 83),
            (Status::Pass, 84),
            (Status::Unknown, 84),
        ] {
            assert_eq!(
                matrix(&proof(status)).unproven(&plan()).len(),
                unproven,
                "{status}"
            );
        }
    }

    #[test]
    fn a_gate_that_does_not_pass_on_the_clean_target_is_not_proven() {
        for (status, unproven) in [
            (Some(Status::Pass), 83),
            (Some(Status::Fail), 84),
            (Some(Status::Unknown), 84),
            (Some(Status::Skip), 84),
            (None, 84),
        ] {
            let mut matrix = matrix(&proof(Status::Fail));
            matrix.control.clear();
            matrix
                .control
                .extend(status.map(|status| ("approval-race-safe".to_owned(), status)));
            assert_eq!(matrix.unproven(&plan()).len(), unproven, "{status:?}");
        }
    }

    #[test]
    fn a_gate_that_fails_everywhere_is_credited_with_no_kill() {
        let mut proof = proof(Status::Fail);
        assert_eq!(matrix(&proof).gates[0].killed_by.len(), 1);
        proof
            .control
            .insert("approval-race-safe".to_owned(), Status::Fail);
        assert!(matrix(&proof).gates[0].killed_by.is_empty());
    }

    #[test]
    fn a_matrix_without_its_control_is_no_matrix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MATRIX_FILE);
        let mut written = serde_json::to_value(matrix(&proof(Status::Fail))).unwrap();
        let read = |value: &serde_json::Value| {
            fs::write(&path, value.to_string()).unwrap();
            KillMatrix::read(&path)
        };
        assert!(read(&written).is_ok());
        written["control"]["approval-race-safe"] = "passed".into();
        assert!(matches!(read(&written), Err(MatrixError::Garbled { .. })));
        written.as_object_mut().unwrap().remove("control");
        assert!(matches!(read(&written), Err(MatrixError::Garbled { .. })));
    }

    #[test]
    fn a_gate_that_a_null_target_passes_is_not_proven() {
        let mut proof = proof(Status::Fail);
        proof.nulls[0]
            .results
            .insert("approval-race-safe".to_owned(), Status::Pass);
        assert_eq!(matrix(&proof).unproven(&plan()).len(), 84);
    }

    #[test]
    fn a_matrix_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MATRIX_FILE);
        let written = matrix(&proof(Status::Fail));
        super::super::write_json(&path, &written).unwrap();
        assert_eq!(KillMatrix::read(&path).unwrap(), written);
        assert_eq!(written.seed, "18446744073709551615");
        assert!(matches!(
            KillMatrix::read(&dir.path().join("none")),
            Err(MatrixError::Unreadable { .. })
        ));
        fs::write(&path, "{}").unwrap();
        assert!(matches!(
            KillMatrix::read(&path),
            Err(MatrixError::Garbled { .. })
        ));
    }

    #[test]
    fn mutants_of_gates_without_a_check_are_listed_without_results() {
        let matrix = matrix(&proof(Status::Fail));
        let row = matrix
            .mutants
            .iter()
            .find(|row| row.name == "journal-mode-delete")
            .unwrap();
        assert_eq!(
            (row.must.as_slice(), row.results.len()),
            (["wal-mode".to_owned()].as_slice(), 0)
        );
        let gate = matrix
            .gates
            .iter()
            .find(|row| row.name == "wal-mode")
            .unwrap();
        assert!(!gate.checked && gate.killed_by.is_empty());
    }
}
