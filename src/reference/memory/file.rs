//! The index on disk: its vectors in one file, and beside it a manifest that says what the file has
//! to be. What does not agree with its manifest is not loaded.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::reference::digest::sha256;

/// The version of both files.
const FORMAT: u32 = 1;

/// A vector and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The memory.
    pub id: String,
    /// Its place in the order of creation.
    pub seq: i64,
    /// The version of the memory that it is of.
    pub version: i64,
    /// Of length 1.
    pub vector: Vec<f32>,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
    embedder: String,
    entries: Vec<Entry>,
}

/// What the file has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version.
    pub format: u32,
    /// The name of the file beside it.
    pub file: String,
    /// Of the file's bytes.
    pub sha256: String,
    /// Vectors in the file.
    pub entry_count: usize,
}

/// From the name and the bytes of a file and the number of vectors in it to its manifest.
pub type Describe = fn(&str, &[u8], usize) -> Manifest;

/// The manifest of the contract.
pub fn describe(file: &str, bytes: &[u8], entry_count: usize) -> Manifest {
    Manifest {
        format: FORMAT,
        file: file.to_owned(),
        sha256: sha256(bytes),
        entry_count,
    }
}

/// What a file is, and what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    file: String,
    expected: String,
    got: String,
}

impl Mismatch {
    /// As `GET /v1/index` shows it.
    pub(super) fn value(&self) -> Value {
        json!({"file": self.file, "expected_sha256": self.expected, "got_sha256": self.got})
    }
}

/// What is wrong with a file, held against its manifest; nothing, or it is not loaded.
pub type VerifyIndex = fn(&Manifest, &[u8]) -> Option<Mismatch>;

/// The check of the contract.
pub fn verify(manifest: &Manifest, bytes: &[u8]) -> Option<Mismatch> {
    let got = sha256(bytes);
    (got != manifest.sha256).then(|| Mismatch {
        file: manifest.file.clone(),
        expected: manifest.sha256.clone(),
        got,
    })
}

/// What was found on disk.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A file that is as its manifest says.
    Good(Vec<Entry>, Manifest),
    /// A file that is not, or that is no index of this embedder.
    Useless(Option<Mismatch>),
}

/// The two files.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) index: PathBuf,
    pub(super) manifest: PathBuf,
}

impl Files {
    /// Beside a database.
    pub(super) fn beside(database: &Path) -> Self {
        Self {
            index: database.with_extension("index"),
            manifest: database.with_extension("index.manifest.json"),
        }
    }

    /// Reads what is there.
    pub(super) fn load(&self, embedder: &str, verify: VerifyIndex) -> io::Result<Found> {
        let Some(manifest) = there(fs::read(&self.manifest))? else {
            return Ok(Found::Nothing);
        };
        let bytes = there(fs::read(&self.index))?.unwrap_or_default();
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&manifest) else {
            let unreadable = Manifest {
                sha256: "unreadable".to_owned(),
                ..describe(&name(&self.index), &bytes, 0)
            };
            return Ok(Found::Useless(verify(&unreadable, &bytes)));
        };
        if let Some(mismatch) = verify(&manifest, &bytes) {
            return Ok(Found::Useless(Some(mismatch)));
        }
        let content = serde_json::from_slice::<Content>(&bytes);
        let content = content.ok().filter(|content| {
            let known = content.format == FORMAT && content.embedder == embedder;
            known && content.entries.len() == manifest.entry_count
        });
        Ok(match content {
            Some(content) => Found::Good(content.entries, manifest),
            None => Found::Useless(None),
        })
    }

    /// Writes both, the manifest last: a crash in between shows at the next load.
    pub(super) fn save(
        &self,
        embedder: &str,
        entries: Vec<Entry>,
        describe: Describe,
    ) -> io::Result<Manifest> {
        let count = entries.len();
        let content = Content {
            format: FORMAT,
            embedder: embedder.to_owned(),
            entries,
        };
        let bytes = serde_json::to_vec(&content)?;
        let manifest = describe(&name(&self.index), &bytes, count);
        replace(&self.index, &bytes)?;
        replace(&self.manifest, &serde_json::to_vec_pretty(&manifest)?)?;
        Ok(manifest)
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// One rename: it is the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("fresh");
    let mut file = fs::File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_any_other_byte_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::beside(&dir.path().join("memory-engine.db"));
        assert_eq!(files.load("builtin", verify).unwrap(), Found::Nothing);
        let entry = |seq| Entry {
            id: format!("mem_{seq}"),
            seq,
            version: 1,
            vector: vec![0.1, -0.7, 1e-9],
        };
        let entries = vec![entry(1), entry(2)];
        let manifest = files.save("builtin", entries.clone(), describe).unwrap();
        assert_eq!(manifest.file, "memory-engine.index");
        assert_eq!(
            files.load("builtin", verify).unwrap(),
            Found::Good(entries, manifest)
        );
        assert_eq!(files.load("backend", verify).unwrap(), Found::Useless(None));
        let good = fs::read(&files.index).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&files.index, &bytes).unwrap();
            let found = files.load("builtin", verify).unwrap();
            assert!(matches!(found, Found::Useless(Some(_))), "byte {at}");
        }
        fs::remove_file(&files.index).unwrap();
        let found = files.load("builtin", verify).unwrap();
        assert!(matches!(found, Found::Useless(Some(_))));
    }

    #[test]
    fn a_manifest_is_as_the_contract_shows_it() {
        let text = include_str!("../../../fixtures/contract/process.json");
        let sample: Value = serde_json::from_str(text).unwrap();
        let manifest = describe("memory-engine.index", b"{}", 2);
        assert_eq!(serde_json::to_value(manifest).unwrap(), sample["manifest"]);
    }
}
