//! Releases and the chain that they inherit by.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use crate::base::source;

use super::complaint::ModelError;
use super::embedded;
use super::gate::GateSpec;
use super::read::{GateRow, Source};
use super::rules::{self, Seen};
use super::target_spec::Capability;

/// A release and its own gates; the inherited ones are in the releases before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The name on the command line: `v4.7`.
    pub name: String,
    /// The version of its reports: `4.7.0`.
    pub version: String,
    /// The schema of its reports: `14.0`.
    pub schema: String,
    /// The release whose gates are its floor.
    pub inherits: Option<String>,
    /// How many gates it states to inherit.
    pub floor: usize,
    /// How many gates it states to add.
    pub delta: usize,
    /// Its epics, in order.
    pub epics: Vec<Epic>,
    /// Its own gates, in order.
    pub gates: Vec<GateSpec>,
}

/// A part of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epic {
    /// One capital letter.
    pub id: String,
    /// What it is about.
    pub title: String,
}

/// Every release there is, and where each gates file came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Oldest first: each one after the one that it inherits.
    releases: Vec<Release>,
    /// Digest over the gates files.
    digest: String,
}

impl Model {
    /// The gates that the binary was built with.
    ///
    /// # Errors
    /// When they break a rule.
    pub fn embedded() -> Result<Self, ModelError> {
        Self::of(
            embedded::FILES
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .to_vec(),
        )
    }

    /// The gates of every `*.toml` file of a folder.
    ///
    /// # Errors
    /// When the folder cannot be read, holds no such file, or a file breaks a rule.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let shown = folder.display().to_string();
        let unreadable = |path: &str, error: std::io::Error| {
            ModelError::new(
                format!("cannot be read: {error}"),
                "give a folder of gates files",
            )
            .in_file(path)
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| unreadable(&shown, error))? {
            let path = entry.map_err(|error| unreadable(&shown, error))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let name = path.display().to_string();
                let text = fs::read_to_string(&path).map_err(|error| unreadable(&name, error))?;
                files.push((name, text));
            }
        }
        if files.is_empty() {
            return Err(ModelError::new(
                "holds no gates file",
                "a gates file ends in .toml; without --gates the built-in ones are used",
            )
            .in_file(&shown));
        }
        files.sort();
        Self::of(files)
    }

    fn of(files: Vec<(String, String)>) -> Result<Self, ModelError> {
        let named = files.iter().map(|(path, text)| {
            (
                path.rsplit('/').next().unwrap_or(path.as_str()),
                text.as_bytes(),
            )
        });
        let digest = source::digest_of_contents(named);
        let mut sources = Vec::new();
        for (path, text) in &files {
            let source = Source::parse(path, text)?;
            rules::check(&source)?;
            sources.push(source);
        }
        unique(&sources)?;
        let sources = ordered(sources)?;
        let mut releases: Vec<Release> = Vec::new();
        for source in &sources {
            let release = release(source);
            let below = release.inherits.as_ref().map_or(0, |parent| {
                let parent = releases.iter().find(|one| one.name == *parent);
                parent.map_or(0, |parent| parent.floor + parent.delta)
            });
            if release.floor != below {
                let written = &source.file.release.floor;
                return Err(source.complain(
                    written.span(),
                    format!("floor says {}, counted {below} inherited gates", release.floor),
                    "a gate of an older release is missing or was added; correct that, then the number",
                ));
            }
            releases.push(release);
        }
        Ok(Self { releases, digest })
    }

    /// Every release, oldest first.
    #[must_use]
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The newest release.
    #[must_use]
    pub fn newest(&self) -> &Release {
        self.releases
            .last()
            .expect("a model of no files is refused")
    }

    /// The digest over the gates files alone.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The digest that a proof of these gates has to name: that of the sources, and when the
    /// gates are not those of the sources, of both.
    ///
    /// # Errors
    /// When the built-in gates break a rule.
    pub fn proof_digest(&self) -> Result<String, ModelError> {
        if self.digest == Self::embedded()?.digest {
            return Ok(source::DIGEST.to_owned());
        }
        let both = [
            ("gates", self.digest.as_bytes()),
            ("source", source::DIGEST.as_bytes()),
        ];
        Ok(source::digest_of_contents(both))
    }

    /// The release of this name.
    ///
    /// # Errors
    /// When there is none, with the names there are.
    pub fn release(&self, name: &str) -> Result<&Release, ModelError> {
        self.releases
            .iter()
            .find(|release| release.name == name)
            .ok_or_else(|| {
                let names: Vec<&str> = self.releases.iter().map(|one| one.name.as_str()).collect();
                let hint = format!("there are {}", names.join(", "));
                ModelError::new(format!("unknown release `{name}`"), hint)
            })
    }

    /// The release and those that it inherits from, oldest first.
    #[must_use]
    pub fn lineage(&self, release: &Release) -> Vec<&Release> {
        let mut wanted = Some(release.name.clone());
        let mut chain = Vec::new();
        for candidate in self.releases.iter().rev() {
            if wanted.as_ref() == Some(&candidate.name) {
                chain.push(candidate);
                wanted.clone_from(&candidate.inherits);
            }
        }
        chain.reverse();
        chain
    }
}

/// Names of releases, gates and mutants are there once in all files.
fn unique(sources: &[Source]) -> Result<(), ModelError> {
    let (mut releases, mut gates, mut mutants) =
        (Seen::nothing(), Seen::nothing(), Seen::nothing());
    for source in sources {
        releases.once(source, "release", &source.file.release.name)?;
        for row in &source.file.gates {
            gates.once(source, "gate", &row.get_ref().name)?;
            for mutant in row.get_ref().mutants.get_ref() {
                mutants.once(source, "mutant", mutant)?;
            }
        }
    }
    Ok(())
}

/// Sorts releases behind the ones that they inherit.
fn ordered(mut waiting: Vec<Source>) -> Result<Vec<Source>, ModelError> {
    let mut known: BTreeMap<String, ()> = BTreeMap::new();
    for source in &waiting {
        known.insert(source.file.release.name.get_ref().clone(), ());
    }
    let mut done: Vec<Source> = Vec::new();
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|source| {
            let parent = source.file.release.inherits.as_ref().map(Spanned::get_ref);
            parent.is_none_or(|name| {
                done.iter()
                    .any(|one| one.file.release.name.get_ref() == name)
            })
        });
        match ready {
            Some(index) => done.push(waiting.remove(index)),
            None => return Err(stuck(&waiting, &known)),
        }
    }
    Ok(done)
}

/// Nothing can be sorted any more: a release inherits one that is not there, or a circle.
fn stuck(waiting: &[Source], known: &BTreeMap<String, ()>) -> ModelError {
    let parents = waiting.iter().filter_map(|source| {
        source
            .file
            .release
            .inherits
            .as_ref()
            .map(|parent| (source, parent))
    });
    let mut names = Vec::new();
    for (source, parent) in parents.clone() {
        if !known.contains_key(parent.get_ref()) {
            return source.complain(
                parent.span(),
                format!(
                    "inherits `{}`, and there is no such release",
                    parent.get_ref()
                ),
                format!(
                    "there are {}",
                    known.keys().cloned().collect::<Vec<_>>().join(", ")
                ),
            );
        }
        names.push(source.file.release.name.get_ref().clone());
    }
    let (source, parent) = parents.clone().next().expect("whoever waits has a parent");
    source.complain(
        parent.span(),
        format!(
            "releases inherit from each other in a circle: {}",
            names.join(", ")
        ),
        "the oldest release inherits nothing; remove its `inherits`",
    )
}

fn release(source: &Source) -> Release {
    let header = &source.file.release;
    let name = header.name.get_ref();
    Release {
        name: name.clone(),
        version: header.version.get_ref().clone(),
        schema: header.schema.get_ref().clone(),
        inherits: header
            .inherits
            .as_ref()
            .map(|parent| parent.get_ref().clone()),
        floor: *header.floor.get_ref(),
        delta: *header.delta.get_ref(),
        epics: source
            .file
            .epics
            .iter()
            .map(|row| Epic {
                id: row.id.get_ref().clone(),
                title: row.title.get_ref().clone(),
            })
            .collect(),
        gates: source
            .file
            .gates
            .iter()
            .map(|row| gate(source, name, row))
            .collect(),
    }
}

fn gate(source: &Source, release: &str, row: &Spanned<GateRow>) -> GateSpec {
    let gate = row.get_ref();
    let needs = gate
        .needs
        .iter()
        .filter_map(|need| Capability::named(need.get_ref()))
        .collect();
    let counts = gate.exercised.get_ref().iter();
    GateSpec {
        id: gate.id.get_ref().clone(),
        release: release.to_owned(),
        epic: gate.epic.get_ref().clone(),
        name: gate.name.get_ref().clone(),
        subject: gate.subject.get_ref().clone(),
        claim: gate.claim.get_ref().clone(),
        needs,
        deadline: Duration::from_secs(*gate.deadline_s.get_ref()),
        exercised: counts
            .map(|(name, count)| (name.clone(), *count.get_ref()))
            .collect(),
        mutants: gate
            .mutants
            .get_ref()
            .iter()
            .map(|name| name.get_ref().clone())
            .collect(),
        file: source.path.clone(),
        line: source.line(row.span()),
    }
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
