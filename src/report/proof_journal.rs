//! `proof.jsonl`: what a proof saw so far, a line a drive, so that one that was cut short goes on
//! where it was. A first line says which sources, release and seed they speak of.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::Seed;
use crate::model::Status;
use crate::runner::{Known, Proven};

/// The file's name.
pub const JOURNAL_FILE: &str = "proof.jsonl";

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
    release: String,
    proof_digest: String,
    seed: String,
}

/// Any further line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    target: String,
    gate: String,
    status: Status,
    detail: String,
}

/// A journal that is written.
#[derive(Debug)]
pub struct ProofJournal {
    file: File,
}

impl ProofJournal {
    /// Begins one, in the place of what is there.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn begin(path: &Path, release: &str, digest: &str, seed: Seed) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut journal = Self {
            file: File::create(path)?,
        };
        journal.line(&head(release, digest, &seed.to_string()))?;
        Ok(journal)
    }

    /// Goes on with the one that is there, if it is of these sources and this release: the seed it
    /// was driven with, and what it knows. None when there is no such journal.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn resume(
        path: &Path,
        release: &str,
        digest: &str,
    ) -> io::Result<Option<(Self, Seed, Known)>> {
        let Some((seed, known, whole)) = read(path, release, digest) else {
            return Ok(None);
        };
        let file = OpenOptions::new().append(true).open(path)?;
        // Whoever was killed in the middle of a line left a part of one.
        file.set_len(whole)?;
        Ok(Some((Self { file }, seed, known)))
    }

    /// Notes a finished drive. One that was cut short or stayed open is driven again another time.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn note(&mut self, proven: &Proven) -> io::Result<()> {
        let row = &proven.row;
        if row.interrupted || !matches!(row.status, Status::Pass | Status::Fail) {
            return Ok(());
        }
        self.line(&Line {
            target: proven.target.clone(),
            gate: row.name.clone(),
            status: row.status,
            detail: row.detail.clone(),
        })
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)
    }
}

fn head(release: &str, digest: &str, seed: &str) -> Head {
    Head {
        version: 1,
        release: release.to_owned(),
        proof_digest: digest.to_owned(),
        seed: seed.to_owned(),
    }
}

/// The seed, what is known, and how many bytes of whole lines that are.
fn read(path: &Path, release: &str, digest: &str) -> Option<(Seed, Known, u64)> {
    let mut lines = BufReader::new(File::open(path).ok()?);
    let (mut text, mut whole) = (String::new(), 0);
    let first: Head = next(&mut lines, &mut text, &mut whole)?;
    if first != head(release, digest, &first.seed) {
        return None;
    }
    let mut known = Known::new();
    while let Some(line) = next::<Line>(&mut lines, &mut text, &mut whole) {
        known.insert((line.target, line.gate), (line.status, line.detail));
    }
    Some((first.seed.parse().ok()?, known, whole))
}

fn next<T: for<'a> Deserialize<'a>>(
    lines: &mut impl BufRead,
    text: &mut String,
    whole: &mut u64,
) -> Option<T> {
    text.clear();
    let length = lines.read_line(text).ok()?;
    let line = serde_json::from_str(text.strip_suffix('\n')?).ok()?;
    *whole += length as u64;
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, Selection};
    use crate::runner::{Against, Row};

    fn proven(target: &str, status: Status) -> Proven {
        let plan = Model::embedded()
            .unwrap()
            .plan("v4.7", &Selection::default())
            .unwrap();
        Proven {
            target: target.to_owned(),
            against: Against::Null,
            row: Row::settled(&plan.gates[0], status, "a detail"),
            of: 1,
            left: None,
        }
    }

    fn resumed(path: &Path, digest: &str) -> Option<(Seed, Known)> {
        let journal = ProofJournal::resume(path, "v4.7", digest).unwrap();
        journal.map(|(_, seed, known)| (seed, known))
    }

    #[test]
    fn what_was_decided_is_known_again_and_what_stayed_open_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep").join(JOURNAL_FILE);
        assert!(resumed(&path, "mine").is_none());
        let mut journal = ProofJournal::begin(&path, "v4.7", "mine", Seed(7)).unwrap();
        journal.note(&proven("liar", Status::Fail)).unwrap();
        journal.note(&proven("empty", Status::Unknown)).unwrap();
        let cut = Row {
            interrupted: true,
            ..proven("frozen", Status::Fail).row
        };
        let cut = Proven {
            row: cut,
            ..proven("frozen", Status::Fail)
        };
        journal.note(&cut).unwrap();
        let (seed, known) = resumed(&path, "mine").unwrap();
        assert_eq!(seed, Seed(7));
        let targets: Vec<&str> = known.keys().map(|(target, _)| target.as_str()).collect();
        assert_eq!(targets, ["liar"]);
        let cell = known.into_values().next().unwrap();
        assert_eq!(cell, (Status::Fail, "a detail".to_owned()));
    }

    #[test]
    fn a_journal_of_other_sources_or_of_another_release_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(JOURNAL_FILE);
        ProofJournal::begin(&path, "v4.7", "theirs", Seed(7)).unwrap();
        assert!(resumed(&path, "mine").is_none());
        ProofJournal::begin(&path, "v4.6", "mine", Seed(7)).unwrap();
        assert!(resumed(&path, "mine").is_none());
    }

    #[test]
    fn half_a_line_is_forgotten_and_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(JOURNAL_FILE);
        let mut journal = ProofJournal::begin(&path, "v4.7", "mine", Seed(7)).unwrap();
        journal.note(&proven("liar", Status::Fail)).unwrap();
        journal.file.write_all(b"{\"target\":\"emp").unwrap();
        let (mut journal, _, known) = ProofJournal::resume(&path, "v4.7", "mine")
            .unwrap()
            .unwrap();
        assert_eq!(known.len(), 1);
        journal.note(&proven("echo", Status::Pass)).unwrap();
        assert_eq!(resumed(&path, "mine").unwrap().1.len(), 2);
    }
}
