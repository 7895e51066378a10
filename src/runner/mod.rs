//! Runs a plan against a target and emits events. It prints nothing and writes no report.
//!
//! Each gate is driven alone: a target, doubles and a folder of its own, under a deadline. Proving
//! is the same drive, once for each gate on the clean target and once for each pair of a mutant and a
//! gate.

mod again;
mod decide;
mod drive;
mod estimate;
mod event;
mod phases;
mod proof;
mod prove;
mod run;

pub use crate::checks::Cancel;
pub use again::{JudgedAgain, judged_again};
pub use decide::Decision;
pub use drive::{attempt_seed, in_check};
pub use event::{Attempt, EVIDENCE_FILE, EvidenceFile, Row, RunEvent};
pub use phases::Phases;
pub use proof::{Against, Cell, CellRole, MutantProof, NullProof, Outcome, Proof};
pub use prove::{Known, ProveOptions, Proven, Scope, prove};
pub use run::{RunOptions, RunOutcome, run};
