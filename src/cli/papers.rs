//! What is left beside a report: its signature, files for build servers; and what is said to GitHub
//! when it runs there.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use ed25519_dalek::SigningKey;

use super::exit::Stop;
use super::{places, screen};
use crate::base::files::write_atomically;
use crate::base::json::sha256_hex;
use crate::model::Plan;
use crate::report::release::{MAX_EVIDENCE_BYTES, packed};
use crate::report::{
    self, ATTESTATION_FILE, GateReport, JUNIT_FILE, KillMatrix, MATRIX_FILE, PAGE_FILE,
    REPORT_FILE, SARIF_FILE, Sources,
};
use crate::runner::EVIDENCE_FILE;

/// Writes them into the report's folder, where the report is already.
pub(super) fn write(
    out: &Path,
    written: &GateReport,
    plan: &Plan,
    key: Option<&SigningKey>,
) -> Result<(), Stop> {
    let path = out.join(ATTESTATION_FILE);
    attest(&path, out, written, key).map_err(|error| places::unwritable(&path, &error))?;
    if plan.whole {
        weigh(out, written);
    }
    let texts = texts(out, written, plan).map_err(|error| places::unwritable(out, &error))?;
    for (name, text) in texts {
        let path = out.join(name);
        write_atomically(&path, text.as_bytes())
            .map_err(|error| places::unwritable(&path, &error))?;
    }
    Ok(())
}

/// Says when a release's evidence is more than its bundle may hold.
fn weigh(out: &Path, written: &GateReport) {
    let files = written.gates.iter().flat_map(|row| &row.evidence);
    let files: BTreeMap<String, Vec<u8>> = files
        .filter_map(|file| Some((file.path.clone(), fs::read(out.join(&file.path)).ok()?)))
        .collect();
    let bytes = packed(&files).map_or(0, |archive| archive.len() as u64);
    if bytes > MAX_EVIDENCE_BYTES {
        let text = format!(
            "the evidence is {bytes} bytes when packed, expected {MAX_EVIDENCE_BYTES} at most"
        );
        screen::complain("warning", &text);
    }
}

/// Names and texts of everything that says again, for others, what the report in `out` says.
pub(super) fn texts(
    out: &Path,
    written: &GateReport,
    plan: &Plan,
) -> io::Result<[(&'static str, String); 3]> {
    let sarif = serde_json::to_string_pretty(&report::sarif(written, plan))?;
    Ok([
        (
            JUNIT_FILE,
            report::junit(written).map_err(io::Error::other)?,
        ),
        (SARIF_FILE, format!("{sarif}\n")),
        (PAGE_FILE, page(out, written, plan)),
    ])
}

/// The page of the report, with what is drawn of its evidence.
fn page(out: &Path, written: &GateReport, plan: &Plan) -> String {
    let drawn = written
        .gates
        .iter()
        .filter(|row| report::DRAWN.contains(&row.name.as_str()));
    let evidence = drawn.filter_map(|row| {
        let name = format!("evidence/{}/{EVIDENCE_FILE}", row.name);
        // Only what this run left: the folder may hold an older one's.
        row.evidence.iter().find(|file| file.path == name)?;
        let bytes = fs::read(out.join(name)).ok()?;
        Some((row.name.clone(), serde_json::from_slice(&bytes).ok()?))
    });
    let proof = written.proof.matrix_sha256.as_ref();
    let matrix = proof.and_then(|_| KillMatrix::read(&out.join(MATRIX_FILE)).ok());
    report::page(&Sources {
        report: written,
        plan,
        matrix: matrix.as_ref(),
        evidence: evidence.collect(),
    })
}

/// Signs the report, or takes away the signature of an older one. What was made wrong on purpose is
/// never signed.
fn attest(
    path: &Path,
    out: &Path,
    written: &GateReport,
    key: Option<&SigningKey>,
) -> io::Result<()> {
    let Some(key) = key.filter(|_| !written.target.mutated) else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    let digest = sha256_hex(&fs::read(out.join(REPORT_FILE))?);
    let signed = report::attestation(written, &digest, key).map_err(io::Error::other)?;
    write_atomically(path, signed.as_bytes())
}

/// Annotations and the step summary, where GitHub asks for them.
pub(super) fn tell_github(written: &GateReport, plan: &Plan) {
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        for line in report::annotations(written, plan) {
            screen::print(&line);
        }
    }
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return;
    };
    let file = OpenOptions::new().append(true).create(true).open(path);
    let told = file.and_then(|mut file| file.write_all(report::step_summary(written).as_bytes()));
    if let Err(error) = told {
        let text = format!("the step summary was not written: {error}");
        screen::complain("warning", &text);
    }
}
