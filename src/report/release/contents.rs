//! What goes into a bundle, read from a release's folder and from the sources that it was judged by.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::ReleaseError;
use crate::base::json::sha256_hex;
use crate::base::tree;
use crate::report::{ATTESTATION_FILE, GateReport, MATRIX_FILE, REPORT_FILE};

/// Files of the sources, and the folders of which every file goes in, by their extension.
pub(super) const SOURCE_FILES: [&str; 2] = ["CHANGELOG.md", "Cargo.lock"];
const SOURCE_FOLDERS: [(&str, &str); 2] = [("gates", "toml"), ("scenarios", "json")];

/// A report, and everything that is bundled with it.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The report.
    pub report: GateReport,
    /// Contents by path, the report's own included.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Contents {
    /// Reads them: `folder` is the release's, `root` has the sources.
    ///
    /// # Errors
    /// See [`ReleaseError`]: nothing that belongs in is left out in silence.
    pub fn gather(root: &Path, folder: &Path) -> Result<Self, ReleaseError> {
        let bytes = read(&folder.join(REPORT_FILE))?;
        let mut text = serde_json::Deserializer::from_slice(&bytes);
        let report: GateReport = serde_path_to_error::deserialize(&mut text).map_err(|error| {
            ReleaseError::NoReport {
                path: folder.join(REPORT_FILE),
                why: error.to_string(),
            }
        })?;
        if report.target.mutated {
            return Err(ReleaseError::MadeWrong(report.target.name));
        }
        let mut files = BTreeMap::from([(REPORT_FILE.to_owned(), bytes)]);
        sources(root, &report, &mut files)?;
        let matrix = read(&folder.join(MATRIX_FILE))?;
        if let Some(expected) = &report.proof.matrix_sha256 {
            unchanged(MATRIX_FILE, &matrix, expected)?;
        }
        files.insert(MATRIX_FILE.to_owned(), matrix);
        // A report without a signature can be bundled; whoever reads the bundle will not trust it.
        match fs::read(folder.join(ATTESTATION_FILE)) {
            Ok(bytes) => drop(files.insert(ATTESTATION_FILE.to_owned(), bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(unread(&folder.join(ATTESTATION_FILE), source)),
        }
        // Only what the report names: the folder may hold what an older run left.
        for file in report.gates.iter().flat_map(|row| &row.evidence) {
            let bytes = read(&folder.join(&file.path))?;
            unchanged(&file.path, &bytes, &file.sha256)?;
            files.insert(file.path.clone(), bytes);
        }
        Ok(Self { report, files })
    }
}

/// The files of the sources, which have to be those of the report.
fn sources(
    root: &Path,
    report: &GateReport,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), ReleaseError> {
    let digest = tree::digest(root).map_err(|source| unread(root, source))?;
    if digest != report.source_digest {
        return Err(ReleaseError::OtherSources {
            got: report.source_digest.clone(),
            expected: digest,
        });
    }
    for name in SOURCE_FILES {
        files.insert(name.to_owned(), read(&root.join(name))?);
    }
    for (folder, extension) in SOURCE_FOLDERS {
        let path = root.join(folder);
        for entry in fs::read_dir(&path).map_err(|source| unread(&path, source))? {
            let entry = entry.map_err(|source| unread(&path, source))?.path();
            if entry.extension().is_some_and(|found| found == extension) {
                let name = entry.file_name().unwrap_or_default().to_string_lossy();
                files.insert(format!("{folder}/{name}"), read(&entry)?);
            }
        }
    }
    Ok(())
}

fn unchanged(path: &str, bytes: &[u8], expected: &str) -> Result<(), ReleaseError> {
    let got = sha256_hex(bytes);
    if got == expected {
        return Ok(());
    }
    Err(ReleaseError::Changed {
        path: path.to_owned(),
        got,
        expected: expected.to_owned(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ReleaseError> {
    fs::read(path).map_err(|source| unread(path, source))
}

fn unread(path: &Path, source: std::io::Error) -> ReleaseError {
    ReleaseError::Read {
        path: path.to_owned(),
        source,
    }
}
