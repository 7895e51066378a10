//! What lies in a release's folder, or in the bundle that was made of it, read as somebody else's.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::base::json::sha256_hex;
use crate::contract::bundle::{Found, Problem, Wrong, read_path};
use crate::report::release::{SIGNATURE_FILE, is_evidence};
use crate::report::{ATTESTATION_FILE, GateReport, KillMatrix, MATRIX_FILE, REPORT_FILE};

/// A file's content, and the digest of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed<T> {
    /// What it says.
    pub value: T,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// A file of evidence as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The content of a folder or of a bundle. What could not be read says why.
#[derive(Clone, Debug)]
pub struct Dossier {
    /// The report.
    pub report: Result<Sealed<GateReport>, String>,
    /// The kill matrix.
    pub matrix: Result<Sealed<KillMatrix>, String>,
    /// The attestation; none when there is no such file.
    pub attestation: Result<Option<Vec<u8>>, String>,
    /// Every file under `evidence/`, by its path relative to the folder, with forward slashes.
    pub evidence: Result<BTreeMap<String, Kept>, String>,
    /// The whole bundle, when it was one: it has a signed manifest that has to hold, too.
    pub bundle: Option<Found>,
}

impl Dossier {
    /// Reads a folder, or a `.tar.gz` of `bundle release`. It always gives a dossier: what is missing
    /// is a finding, not an error.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        // A bundle that was unpacked is one still: its manifest says what has to be there.
        if path.is_dir() && !path.join(SIGNATURE_FILE).exists() {
            return Self::of_folder(path);
        }
        let found = read_path(path).unwrap_or_else(|error| {
            let mut found = Found::default();
            let unread = Problem::new("the archive", Wrong::Unreadable, error.to_string());
            found.problems.push(unread);
            found
        });
        Self::of_bundle(found, path)
    }

    fn of_folder(folder: &Path) -> Self {
        let mut evidence = BTreeMap::new();
        let walked = walk(&folder.join("evidence"), "evidence", &mut evidence);
        Self {
            report: sealed(&folder.join(REPORT_FILE)),
            matrix: sealed(&folder.join(MATRIX_FILE)),
            attestation: match fs::read(folder.join(ATTESTATION_FILE)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(format!("{ATTESTATION_FILE}: {error}")),
            },
            evidence: walked.map(|()| evidence),
            bundle: None,
        }
    }

    fn of_bundle(found: Found, path: &Path) -> Self {
        let evidence = found.files.iter().filter(|(path, _)| is_evidence(path));
        let evidence = evidence.map(|(path, bytes)| {
            let (sha256, bytes) = (sha256_hex(bytes), bytes.clone());
            (path.clone(), Kept { sha256, bytes })
        });
        Self {
            report: of_file(&found, path, REPORT_FILE),
            matrix: of_file(&found, path, MATRIX_FILE),
            attestation: Ok(found.files.get(ATTESTATION_FILE).cloned()),
            evidence: Ok(evidence.collect()),
            bundle: Some(found),
        }
    }
}

fn of_file<T: DeserializeOwned>(
    found: &Found,
    path: &Path,
    name: &str,
) -> Result<Sealed<T>, String> {
    let shown = format!("{}: {name}", path.display());
    match found.files.get(name) {
        Some(bytes) => unsealed(bytes, &shown),
        None => Err(format!("{shown} is not in it")),
    }
}

/// Reads a report that stands alone.
///
/// # Errors
/// Why it is none.
pub fn read_report(path: &Path) -> Result<GateReport, String> {
    sealed(path).map(|sealed: Sealed<GateReport>| sealed.value)
}

fn sealed<T: DeserializeOwned>(path: &Path) -> Result<Sealed<T>, String> {
    let shown = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    unsealed(&bytes, &shown)
}

fn unsealed<T: DeserializeOwned>(bytes: &[u8], shown: &str) -> Result<Sealed<T>, String> {
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let value =
        serde_path_to_error::deserialize(&mut text).map_err(|error| format!("{shown}: {error}"))?;
    text.end().map_err(|error| format!("{shown}: {error}"))?;
    Ok(Sealed {
        value,
        sha256: sha256_hex(bytes),
    })
}

/// Every file below; a link is neither followed nor left out, it is an error.
fn walk(folder: &Path, shown: &str, into: &mut BTreeMap<String, Kept>) -> Result<(), String> {
    let said = |error: std::io::Error| format!("{shown}: {error}");
    for entry in fs::read_dir(folder).map_err(said)? {
        let entry = entry.map_err(said)?;
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| format!("{shown}: a name that is no text"))?;
        let path = format!("{shown}/{name}");
        let kind = entry.file_type().map_err(said)?;
        if kind.is_dir() {
            walk(&entry.path(), &path, into)?;
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).map_err(said)?;
            let sha256 = sha256_hex(&bytes);
            into.insert(path, Kept { sha256, bytes });
        } else {
            return Err(format!("{path} is neither a file nor a folder"));
        }
    }
    Ok(())
}
