//! Writers of what a run found, one file a format. They decide nothing.
//!
//! What is written has types of its own here, with versions: a working type may change its shape,
//! a file that somebody reads must not.

mod attestation;
mod ci;
mod gate_report;
mod kill_matrix;
mod page;
mod proof_journal;
pub mod release;

#[cfg(test)]
use ci::sample as ci_sample;

pub use attestation::{
    ATTESTATION_FILE, PAYLOAD_TYPE, STATEMENT_TYPE, SUMMARY, TEST_RESULT, attestation, statements,
};
pub use ci::{JUNIT_FILE, SARIF_FILE, annotations, event_line, junit, sarif, step_summary};
pub use gate_report::{
    Context, EvidencePart, FORMAT, GatePart, GateReport, GitPart, ProofUsed, REPORT_FILE,
    SummaryPart, TargetPart, report,
};
pub use kill_matrix::{KillMatrix, MATRIX_FILE, MatrixError};
pub use page::{DRAWN, PAGE_FILE, Sources, page};
pub use proof_journal::{JOURNAL_FILE, ProofJournal};

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::base::files::write_atomically;

/// Writes a value as indented JSON, replacing the file as a whole or not at all.
///
/// # Errors
/// Whatever the file system says; the file is then what it was before.
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write_atomically(path, &text)
}
