//! The incident bundle as whoever was handed one sees it: a folder or a `.tar.gz`, and a public key
//! that was pinned before. Nothing is extracted and nothing in it is believed before the signature
//! over its manifest is; what is wrong is named file by file (`fixtures/contract/bundle.json`).

mod container;
mod envelope;
mod key;
mod segment;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::base::json::sha256_hex;

pub use container::{Found, read_archive, read_folder};
pub use envelope::{Envelope, Signature, pae};
pub use key::{KeyRefused, pinned};
pub use segment::Segment;

/// The file that names all others.
pub const MANIFEST_FILE: &str = "manifest.dsse.json";
/// What its envelope says that it holds.
pub const PAYLOAD_TYPE: &str = "application/vnd.sonia.bundle-manifest+json";
/// The most files that a bundle may have, the manifest included.
pub const MAX_FILES: usize = 4096;
/// The most bytes that all files of a bundle may have together.
pub const MAX_BYTES: u64 = 256 << 20;
/// The longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 200;
/// The version of [`Manifest`].
const VERSION: u32 = 1;
/// What an incident bundle has whatever happened.
const REQUIRED: [&str; 4] = ["config.json", "git.json", "health.json", "summary.json"];

/// What the envelope's signature covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always 1.
    pub version: u32,
    /// `incident`.
    pub kind: String,
    /// `inc_` and twelve hexadecimal digits.
    pub bundle_id: String,
    /// RFC 3339 in UTC with microseconds.
    pub created_at: String,
    /// Every file but the manifest.
    pub files: Vec<FileRow>,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRow {
    /// Relative to the bundle, with forward slashes.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Of its content, in hexadecimal.
    pub sha256: String,
}

impl FileRow {
    /// The row that a file of this content has to have.
    #[must_use]
    pub fn of(path: &str, content: &[u8]) -> Self {
        Self {
            path: path.to_owned(),
            size: content.len() as u64,
            sha256: sha256_hex(content),
        }
    }
}

/// What can be wrong with a file of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// It has to be there and is not.
    Missing,
    /// It is there and in no manifest.
    Extra,
    /// It is another than the manifest says.
    Changed,
    /// It is there twice.
    Duplicate,
    /// It is a symbolic or hard link.
    Link,
    /// Its path is none that a bundle may have.
    Path,
    /// It is neither a file nor a link.
    Special,
    /// No signature of the pinned key verifies.
    Signature,
    /// It cannot be read as what it has to be.
    Unreadable,
    /// The audit segment does not hold together.
    Chain,
    /// It is past a limit.
    TooLarge,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Changed => "changed",
            Self::Duplicate => "duplicate",
            Self::Link => "link",
            Self::Path => "path",
            Self::Special => "special",
            Self::Signature => "signature",
            Self::Unreadable => "unreadable",
            Self::Chain => "chain",
            Self::TooLarge => "too-large",
        })
    }
}

/// One reason to refuse a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub problem: Wrong,
    /// Got and expected.
    pub detail: String,
}

impl Problem {
    /// A problem.
    pub fn new(file: impl Into<String>, problem: Wrong, detail: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            problem,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.file, self.problem, self.detail)
    }
}

/// What a verification says, ours and that of a target's command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Whether there is no problem.
    pub ok: bool,
    /// Which bundle it is; none when no manifest could be believed.
    pub bundle_id: Option<String>,
    /// When it was made.
    pub created_at: Option<String>,
    /// How many files the manifest names.
    pub files: u64,
    /// All that is wrong.
    pub problems: Vec<Problem>,
}

impl Verdict {
    /// Whether one of the problems is about this file.
    #[must_use]
    pub fn names(&self, file: &str) -> bool {
        self.problems.iter().any(|problem| problem.file == file)
    }
}

/// What a target's export says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// Whether the bundle is there and every chain of it is whole.
    pub ok: bool,
    /// Which bundle it is.
    pub bundle_id: String,
    /// The folder.
    pub directory: std::path::PathBuf,
    /// The archive of the same files.
    pub archive: std::path::PathBuf,
    /// How many files the manifest names.
    pub files: u64,
    /// Chains that do not hold together.
    pub broken_chains: Vec<String>,
}

/// Verifies the bundle at `path`, a folder or a `.tar.gz`.
///
/// # Errors
/// It cannot be read: that says nothing of the bundle.
pub fn verify_path(path: &Path, key: &VerifyingKey) -> std::io::Result<Verdict> {
    Ok(verify(&read_path(path)?, key))
}

/// What is in the bundle at `path`, a folder or a `.tar.gz`, with whatever is no plain file in it.
///
/// # Errors
/// It cannot be read: that says nothing of the bundle.
pub fn read_path(path: &Path) -> std::io::Result<Found> {
    if std::fs::metadata(path)?.is_dir() {
        return read_folder(path);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(read_archive(&container::read_bounded(path)?, &name))
}

/// Verifies what was found in a bundle.
#[must_use]
pub fn verify(found: &Found, key: &VerifyingKey) -> Verdict {
    let mut problems = found.problems.clone();
    let manifest = match manifest(found, key) {
        Ok(manifest) => manifest,
        Err(problem) => {
            if !told(&problems, &problem.file) {
                problems.push(problem);
            }
            return Verdict {
                problems,
                ..Verdict::default()
            };
        }
    };
    compare(&manifest.files, &[MANIFEST_FILE], found, &mut problems);
    require(&manifest, &mut problems);
    for (path, content) in &found.files {
        if let Some(chain) = chain_of(path)
            && !told(&problems, path)
        {
            let flaws = segment::flaws(chain, content, key).into_iter();
            problems.extend(flaws.map(|flaw| Problem::new(path, Wrong::Chain, flaw)));
        }
    }
    Verdict {
        ok: problems.is_empty(),
        bundle_id: Some(manifest.bundle_id),
        created_at: Some(manifest.created_at),
        files: manifest.files.len() as u64,
        problems,
    }
}

fn told(problems: &[Problem], file: &str) -> bool {
    problems.iter().any(|problem| problem.file == file)
}

/// The manifest, once the pinned key has signed for exactly these bytes of it.
fn manifest(found: &Found, key: &VerifyingKey) -> Result<Manifest, Problem> {
    let wrong = |wrong, detail: String| Problem::new(MANIFEST_FILE, wrong, detail);
    let Some(bytes) = found.files.get(MANIFEST_FILE) else {
        let detail = "there is no manifest, and so no signature".to_owned();
        return Err(wrong(Wrong::Missing, detail));
    };
    let payload = envelope::open(bytes, PAYLOAD_TYPE, key).map_err(|refused| match refused {
        envelope::Refused::Unreadable(why) => wrong(Wrong::Unreadable, why),
        envelope::Refused::Signature(why) => wrong(Wrong::Signature, why),
    })?;
    let manifest: Manifest = serde_json::from_slice(&payload)
        .map_err(|error| wrong(Wrong::Unreadable, format!("no manifest: {error}")))?;
    if manifest.version != VERSION || manifest.kind != "incident" {
        let Manifest { version, kind, .. } = manifest;
        let detail = format!("version {version} of `{kind}`, expected {VERSION} of `incident`");
        return Err(wrong(Wrong::Unreadable, detail));
    }
    Ok(manifest)
}

/// Holds every file against its row, and looks for what has no row. The bundle's `own` files, the
/// manifest and what signs it, have none.
pub fn compare(rows: &[FileRow], own: &[&str], found: &Found, problems: &mut Vec<Problem>) {
    let mut listed = BTreeSet::new();
    for row in rows {
        let path = row.path.as_str();
        if let Some(why) = container::refuse_path(path) {
            problems.push(Problem::new(path, Wrong::Path, why));
        } else if own.contains(&path) || !listed.insert(path) {
            problems.push(Problem::new(path, Wrong::Duplicate, "listed twice"));
        } else if let Some(content) = found.files.get(path) {
            problems.extend(changed(row, content));
        } else if !told(problems, path) {
            problems.push(Problem::new(path, Wrong::Missing, "listed, not there"));
        }
    }
    for path in found.files.keys().map(String::as_str) {
        if !own.contains(&path) && !listed.contains(path) {
            problems.push(Problem::new(path, Wrong::Extra, "there, not listed"));
        }
    }
}

fn changed(row: &FileRow, content: &[u8]) -> Option<Problem> {
    let is = FileRow::of(&row.path, content);
    let detail = if is.size != row.size {
        format!("{} bytes, expected {}", is.size, row.size)
    } else if is.sha256 != row.sha256 {
        format!("SHA-256 is {}, expected {}", is.sha256, row.sha256)
    } else {
        return None;
    };
    Some(Problem::new(&row.path, Wrong::Changed, detail))
}

/// A bundle that was signed with half of what an incident bundle holds is none.
fn require(manifest: &Manifest, problems: &mut Vec<Problem>) {
    let has = |wanted: &dyn Fn(&str) -> bool| manifest.files.iter().any(|row| wanted(&row.path));
    let mut missing = |path: &str| {
        problems.push(Problem::new(path, Wrong::Missing, "not listed, has to be"));
    };
    for path in REQUIRED {
        if !has(&|listed| listed == path) {
            missing(path);
        }
    }
    if !has(&|listed| listed.starts_with("logs/")) {
        missing("logs/");
    }
    if !has(&|listed| chain_of(listed).is_some()) {
        missing("audit/");
    }
}

/// The chain whose segment this file is.
fn chain_of(path: &str) -> Option<&str> {
    path.strip_prefix("audit/")?.strip_suffix(".json")
}

#[cfg(test)]
mod tests;
