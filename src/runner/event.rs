//! What happens in a run, as whoever prints and writes gets to see it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::phases::Phases;
use crate::base::Seed;
use crate::model::{Class, PlannedGate, Status};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum RunEvent {
    /// The run begins. Rows that need no run (no check, not selected, capability missing) are
    /// settled already.
    Started {
        /// Every gate of the release in the order of the report.
        rows: Vec<Row>,
        /// Indices of the rows that are now driven, in that order.
        order: Vec<usize>,
    },
    /// A gate's drive begins.
    GateStarted {
        /// Its index in the rows.
        index: usize,
        /// 1 for the first attempt.
        attempt: usize,
    },
    /// A gate is decided.
    GateFinished {
        /// Its index in the rows.
        index: usize,
        /// What it came to.
        row: Box<Row>,
    },
}

/// A gate of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The gate's name.
    pub name: String,
    /// `v4.7/B1`.
    pub id: String,
    /// Inherited or not.
    pub class: Class,
    /// The epic's label in this plan.
    pub epic: String,
    /// What it came to.
    pub status: Status,
    /// One line: numbers when it passed, the violation when it failed, the reason otherwise.
    pub detail: String,
    /// All of them, each with got and expected.
    pub violations: Vec<String>,
    /// Why it could not be decided, all reasons.
    pub undecided: Vec<String>,
    /// Wall time of all attempts.
    pub duration: Duration,
    /// What was exercised in the last attempt.
    pub exercised: BTreeMap<String, u64>,
    /// What had to be exercised.
    pub minimum: BTreeMap<String, u64>,
    /// Every drive, in order.
    pub attempts: Vec<Attempt>,
    /// The defects that this gate has to notice.
    pub mutants: Vec<String>,
    /// The evidence of the last attempt.
    pub evidence: Vec<EvidenceFile>,
    /// Where the time of the last attempt went.
    pub phases: Phases,
    /// Whether the gate was really driven, so that driving it again may tell more.
    pub driven: bool,
    /// Whether the end of the run cut it short, or kept it from being driven.
    pub interrupted: bool,
}

/// One drive of a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The seed of this drive.
    pub seed: Seed,
    /// What it came to.
    pub status: Status,
    /// The row's detail, had it been the last one.
    pub detail: String,
    /// Wall time.
    pub duration: Duration,
}

/// The name of what a gate's drive recorded, in the gate's folder of evidence.
pub const EVIDENCE_FILE: &str = "evidence.json";

/// A file of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceFile {
    /// Relative to the folder of all evidence, with forward slashes.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

impl Row {
    /// A row that was not driven.
    #[must_use]
    pub fn settled(gate: &PlannedGate, status: Status, detail: &str) -> Self {
        let undecided = match status {
            Status::Unknown => vec![detail.to_owned()],
            _ => Vec::new(),
        };
        Self {
            name: gate.spec.name.clone(),
            id: gate.spec.full_id(),
            class: gate.class,
            epic: gate.epic.clone(),
            status,
            detail: detail.to_owned(),
            violations: Vec::new(),
            undecided,
            duration: Duration::ZERO,
            exercised: BTreeMap::new(),
            minimum: gate.spec.exercised.clone(),
            attempts: Vec::new(),
            mutants: gate.spec.mutants.clone(),
            evidence: Vec::new(),
            phases: Phases::default(),
            driven: false,
            interrupted: false,
        }
    }
}
