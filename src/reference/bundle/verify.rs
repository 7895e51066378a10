//! Verifies a bundle, in either form, against a pinned key: every problem is told with its file.

use std::collections::BTreeSet;
use std::path::Path;

use dsse::{Ed25519Verifier, Envelope};
use ed25519_dalek::VerifyingKey;
use serde::Serialize;

use super::container::{Reading, read, unusable};
use super::manifest::{FileRow, MANIFEST_FILE, Manifest};
use super::segment;
use crate::reference::parts::Parts;

/// What every incident bundle has.
const ALWAYS: &[&str] = &["config.json", "git.json", "health.json", "summary.json"];

/// What is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// `missing`, `extra`, `changed`, …
    pub problem: &'static str,
    /// What it is, and what it should be.
    pub detail: String,
}

impl Problem {
    pub(super) fn new(file: &str, problem: &'static str, detail: impl Into<String>) -> Self {
        let (file, detail) = (file.to_owned(), detail.into());
        Self {
            file,
            problem,
            detail,
        }
    }
}

/// What the command prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether there is no problem.
    pub ok: bool,
    /// Which bundle, once its manifest is believed.
    pub bundle_id: Option<String>,
    /// When it was made.
    pub created_at: Option<String>,
    /// How many files its manifest names.
    pub files: usize,
    /// All that is wrong.
    pub problems: Vec<Problem>,
}

/// Verifies the bundle at `path`.
///
/// # Errors
/// It cannot be read at all.
pub fn verify(path: &Path, key: &VerifyingKey, parts: &Parts) -> std::io::Result<Verdict> {
    let Reading {
        files,
        mut problems,
        ..
    } = read(path)?;
    let there: Vec<&str> = files.keys().map(String::as_str).collect();
    let known = |problems: &[Problem], file: &str| problems.iter().any(|one| one.file == file);
    let opened = match files.get(MANIFEST_FILE) {
        Some(envelope) => open(envelope, key, parts),
        None => Err(("missing", "nothing is signed".to_owned())),
    };
    let manifest = match opened {
        Ok(manifest) => manifest,
        Err((problem, detail)) => {
            if !known(&problems, MANIFEST_FILE) {
                problems.push(Problem::new(MANIFEST_FILE, problem, detail));
            }
            return Ok(Verdict {
                problems,
                ..Verdict::default()
            });
        }
    };
    let mut listed = BTreeSet::from([MANIFEST_FILE]);
    for row in &manifest.files {
        let path = row.path.as_str();
        let problem = if let Some(why) = unusable(path) {
            Some(("path", why.to_owned()))
        } else if !listed.insert(path) {
            Some(("duplicate", "the manifest names it twice".to_owned()))
        } else if let Some(content) = files.get(path) {
            other(row, content, parts).map(|detail| ("changed", detail))
        } else {
            (!known(&problems, path)).then(|| ("missing", "only the manifest has it".to_owned()))
        };
        problems.extend(problem.map(|(problem, detail)| Problem::new(path, problem, detail)));
    }
    for path in parts.bundle.extra(&listed, &there) {
        problems.push(Problem::new(
            &path,
            "extra",
            "the manifest does not name it",
        ));
    }
    problems.extend(incomplete(&listed));
    for (path, content) in &files {
        let chain = path.strip_prefix("audit/");
        let Some(chain) = chain.and_then(|name| name.strip_suffix(".json")) else {
            continue;
        };
        if !known(&problems, path)
            && let Err(why) = segment::check(chain, content, (&*parts.chain, key))
        {
            problems.push(Problem::new(path, "chain", why));
        }
    }
    Ok(Verdict {
        ok: problems.is_empty(),
        bundle_id: Some(manifest.bundle_id),
        created_at: Some(manifest.created_at),
        files: manifest.files.len(),
        problems,
    })
}

fn open(
    bytes: &[u8],
    key: &VerifyingKey,
    parts: &Parts,
) -> Result<Manifest, (&'static str, String)> {
    let unreadable = |error: dsse::Error| ("unreadable", error.to_string());
    let envelope = Envelope::from_json(bytes).map_err(unreadable)?;
    let key = Ed25519Verifier::from_bytes(key.as_bytes()).map_err(unreadable)?;
    let payload = parts.bundle.open(&envelope, &key);
    let payload = payload.map_err(|error| ("signature", error.to_string()))?;
    if envelope.payload_type != super::PAYLOAD_TYPE {
        return Err(("unreadable", format!("it is a {}", envelope.payload_type)));
    }
    let manifest: Manifest = serde_json::from_slice(&payload)
        .map_err(|error| ("unreadable", format!("it is no manifest: {error}")))?;
    match (manifest.version, manifest.kind.as_str()) {
        (1, "incident") => Ok(manifest),
        (version, kind) => Err(("unreadable", format!("it is version {version} of {kind}"))),
    }
}

fn other(row: &FileRow, content: &[u8], parts: &Parts) -> Option<String> {
    let size = content.len() as u64;
    if size != row.size {
        return Some(format!("{size} bytes, expected {}", row.size));
    }
    let digest = parts.bundle.digest(&row.path, content);
    (digest != row.sha256).then(|| format!("SHA-256 is {digest}, expected {}", row.sha256))
}

/// What the manifest leaves out of what every incident bundle has.
fn incomplete(listed: &BTreeSet<&str>) -> Vec<Problem> {
    let files = ALWAYS.iter().filter(|path| !listed.contains(**path));
    let folders = ["audit/", "logs/"].into_iter().filter(|folder| {
        let inside = |path: &&str| path.starts_with(folder);
        !listed.iter().any(inside)
    });
    let problem = |path: &str| Problem::new(path, "missing", "every incident bundle has it");
    files.copied().chain(folders).map(problem).collect()
}
