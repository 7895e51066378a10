//! `promote`: everything that a promotion takes, in order, each step a line that could be typed, and
//! a stop at the first thing that holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use super::exit::{self, Exit, Stop};
use super::settings::Harness;
use super::{block_on, key, lines, places, prove, screen};
use crate::base::json::hex;
use crate::base::{Seed, tree};
use crate::model::{Class, Model, Release, Selection, Status};
use crate::report::{self, REPORT_FILE};
use crate::target::tools;
use crate::verdict::read_report;

/// What was done so far, in the promotion's folder.
const STATE_FILE: &str = "promotion.json";
/// The version of [`Promotion`].
const FORMAT: u32 = 1;
/// The mutant of the rollback drill: the release as if it had been taken back.
const REVERTED: &str = "v4.7-reverted";

/// Example: sonia-gate promote v4.7 --sign-key keys/gate.key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Steps: floor, delta, proof, rollback, migration, attestation, clean-room, bundle, verdict. Each is one
command, which is shown; a step that is not green holds, and ends it. The attestation comes before the
clean room because it makes the report that the room is compared with.
Exit codes: 0 PROMOTE; 1 a step failed; 2 wrong usage; 3 a step stayed open, or nobody signs.
Example: sonia-gate promote v4.7 --sign-key keys/gate.key")]
pub(super) struct Arguments {
    /// The release
    release: String,
    /// Sign report and bundle with this private key (gate.key of `key new`)
    #[arg(long, value_name = "FILE", env = "SONIA_GATE_SIGN_KEY")]
    sign_key: Option<PathBuf>,
    /// A public key whose signature counts [default: harness.trusted_keys, else that of --sign-key]
    #[arg(long, value_name = "PUB")]
    key: Vec<String>,
    /// Repeats a promotion: a number, decimal or 0x-hexadecimal
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    seed: Option<Seed>,
    /// Go on with the last one of this binary, these sources and this commit: green steps are not
    /// done again, but for the verdict
    #[arg(long)]
    resume: bool,
}

/// A step, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    Floor,
    Delta,
    Proof,
    Rollback,
    Migration,
    Attestation,
    /// After the report, with which it is compared.
    CleanRoom,
    Bundle,
    Verdict,
}

impl Step {
    const ALL: [Self; 9] = [
        Self::Floor,
        Self::Delta,
        Self::Proof,
        Self::Rollback,
        Self::Migration,
        Self::Attestation,
        Self::CleanRoom,
        Self::Bundle,
        Self::Verdict,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Delta => "delta",
            Self::Proof => "proof",
            Self::Rollback => "rollback",
            Self::Migration => "migration",
            Self::CleanRoom => "clean-room",
            Self::Attestation => "attestation",
            Self::Bundle => "bundle",
            Self::Verdict => "verdict",
        }
    }
}

/// What is kept of a promotion, so that one that was cut short goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promotion {
    format: u32,
    release: String,
    source_digest: String,
    binary_sha256: Option<String>,
    commit: String,
    /// Who signs, and whose signatures count.
    keys: Vec<String>,
    seed: String,
    steps: Vec<Taken>,
}

/// A step that was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Taken {
    step: Step,
    command: String,
    exit: u8,
    seconds: f64,
}

impl Promotion {
    /// Whether `other` is about the same things, whatever was done so far.
    fn is_of(&self, other: &Self) -> bool {
        let bare = |of: &Self| Self {
            seed: String::new(),
            steps: Vec::new(),
            ..of.clone()
        };
        bare(self) == bare(other)
    }

    fn green(&self, step: Step) -> bool {
        let taken = self.steps.iter().rev().find(|taken| taken.step == step);
        taken.is_some_and(|taken| taken.exit == Exit::Green as u8)
    }
}

/// What the commands of the steps are made of.
struct Way<'a> {
    release: &'a Release,
    folder: PathBuf,
    sign_key: Option<&'a Path>,
    keys: Vec<String>,
    commit: String,
    binary: PathBuf,
    seed: String,
    /// Whether the proof goes on with its journal.
    resumed: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let model = Model::embedded()?;
    let plan = model.plan(&arguments.release, &Selection::default())?;
    let release = &plan.release;
    let folder = Path::new("target/sonia/promote").join(&release.name);
    let signer = arguments.sign_key.as_deref().map(key::read).transpose()?;
    let digest = model.proof_digest()?;
    let keys = trusted(arguments, signer.as_ref(), &folder)?;
    let fresh = Promotion {
        format: FORMAT,
        release: release.name.clone(),
        source_digest: digest.clone(),
        binary_sha256: places::digest(&places::binary()?),
        commit: ready(&digest)?,
        keys: signer
            .iter()
            .map(|key| hex(key.verifying_key().as_bytes()))
            .chain(keys.iter().cloned())
            .collect(),
        seed: arguments
            .seed
            .unwrap_or_else(|| Seed(rand::random()))
            .to_string(),
        steps: Vec::new(),
    };
    let state = folder.join(STATE_FILE);
    let mut promotion = match arguments.resume {
        true => resumed(&state, &fresh)?,
        false => fresh,
    };
    let way = Way {
        release,
        keys,
        commit: promotion.commit.clone(),
        binary: places::binary()?,
        resumed: arguments.resume && prove::can_resume(&plan, &digest),
        folder,
        sign_key: arguments.sign_key.as_deref(),
        seed: promotion.seed.clone(),
    };
    if signer.is_none() {
        let text = "nobody signs: the bundle will hold; say --sign-key FILE";
        screen::complain("warning", text);
    }
    screen::print(&format!("{} {}", screen::verb("Seed"), promotion.seed));
    let exit = take(&way, &mut promotion, &state)?;
    close(&promotion, exit);
    Ok(exit)
}

/// The commit, when what lies here is what it says and what the binary was built from.
fn ready(digest: &str) -> Result<String, Stop> {
    let here = Path::new(".");
    let Some(git) = block_on(tools::git_state(here))? else {
        return Err(Stop::usage(
            "this is no git repository",
            "a release is promoted from a commit: work at the top of its clone",
        ));
    };
    if git.dirty {
        return Err(Stop::usage(
            format!("something differs from commit {}", git.commit),
            "commit it, or put it away: a release is promoted from a commit",
        ));
    }
    let lies = tree::digest(here).unwrap_or_default();
    if lies != digest {
        return Err(Stop::usage(
            format!("the sources here are {lies}, and this binary is built from {digest}"),
            "work at the top of its source tree, and build it again",
        ));
    }
    Ok(git.commit)
}

fn resumed(state: &Path, fresh: &Promotion) -> Result<Promotion, Stop> {
    let bytes = fs::read(state).ok();
    let kept = bytes.and_then(|bytes| serde_json::from_slice::<Promotion>(&bytes).ok());
    kept.filter(|kept| kept.is_of(fresh)).ok_or_else(|| {
        let text = "is no promotion of this binary, these sources and this commit";
        Stop::usage(
            format!("{} {text}", state.display()),
            "promote without --resume",
        )
    })
}

/// Whose signatures count: the keys given, else those of the configuration, else the signer's own.
fn trusted(
    arguments: &Arguments,
    signer: Option<&SigningKey>,
    folder: &Path,
) -> Result<Vec<String>, Stop> {
    if !arguments.key.is_empty() || !Harness::read()?.trusted_keys.is_empty() {
        return Ok(arguments.key.clone());
    }
    let Some(signer) = signer else {
        return Ok(Vec::new());
    };
    let path = folder.join("gate.pub");
    let public = key::public(signer).map_err(std::io::Error::other);
    let written =
        public.and_then(|public| crate::base::files::write_atomically(&path, public.as_bytes()));
    written.map_err(|error| places::unwritable(&path, &error))?;
    screen::complain(
        "warning",
        "no key is trusted but that of whoever signs here; say --key PUB, or name it in harness.trusted_keys",
    );
    Ok(vec![path.display().to_string()])
}

/// Takes the steps that are not taken yet, until one is not green.
fn take(way: &Way<'_>, promotion: &mut Promotion, state: &Path) -> Result<Exit, Stop> {
    let of = Step::ALL.len();
    for (number, step) in (1..).zip(Step::ALL) {
        let words = way.words(step);
        let command = format!("sonia-gate {}", words.join(" "));
        let place = format!("{number}/{of} {}", step.word());
        if step != Step::Verdict && promotion.green(step) {
            screen::print(&format!("{} {place}: green before", screen::verb("DONE")));
            continue;
        }
        screen::print(&format!("{} {place}: {command}", screen::verb("Step")));
        let began = Instant::now();
        let exit = match (step, super::typed(&words).unwrap_or_else(Stop::say)) {
            _ if exit::panicked() => Exit::Bug,
            // A mutant run is never green by itself: of this one every inherited gate has to pass.
            (Step::Rollback, Exit::Open) if way.drilled() => Exit::Green,
            (Step::Rollback, Exit::Green) => Exit::Open,
            (_, exit) => exit,
        };
        promotion.steps.push(Taken {
            step,
            command,
            exit: exit as u8,
            seconds: began.elapsed().as_secs_f64(),
        });
        report::write_json(state, promotion).map_err(|error| places::unwritable(state, &error))?;
        if exit != Exit::Green {
            return Ok(exit);
        }
    }
    Ok(Exit::Green)
}

impl Way<'_> {
    /// Whether the release that was taken back still passes every gate that it inherited.
    fn drilled(&self) -> bool {
        let path = self.folder.join(Step::Rollback.word()).join(REPORT_FILE);
        read_report(&path).is_ok_and(|report| {
            let floor = report.gates.iter().filter(|row| row.class == Class::Floor);
            let passed = floor.filter(|row| row.status == Status::Pass).count();
            report.release == self.release.name
                && report.seed == self.seed
                && report.target.name == REVERTED
                && report.target.mutated
                && !report.interrupted
                && passed == self.release.floor
        })
    }

    /// What is typed for a step.
    fn words(&self, step: Step) -> Vec<String> {
        let name = self.release.name.as_str();
        let out = self.folder.join(step.word()).display().to_string();
        let release = places::release_folder(self.release);
        let bundle = release.join(format!("sonia-v{}.tar.gz", self.release.version));
        let (release, bundle) = (release.display().to_string(), bundle.display().to_string());
        let (seed, binary) = (self.seed.as_str(), self.binary.display().to_string());
        let gate = ["gate", name, "--quiet", "--seed", seed];
        let mut words: Vec<&str> = match step {
            Step::Floor => [&gate[..], &["--floor-only", "--out", &out]].concat(),
            Step::Delta => [&gate[..], &["--delta-only", "--out", &out]].concat(),
            Step::Proof if self.resumed => vec!["prove", name, "--quiet", "--resume"],
            Step::Proof => vec!["prove", name, "--quiet", "--seed", seed],
            Step::Rollback => {
                let mutant = ["--floor-only", "--mutant", REVERTED, "--out", &out];
                [&gate[..], &mutant].concat()
            }
            // One step back and forward again, over databases that were used.
            Step::Migration => {
                let one = ["gate", name, "migration-integrity", "--seed", seed];
                [&one[..], &["--out", &out]].concat()
            }
            Step::CleanRoom => vec!["cleanroom", name],
            Step::Attestation => [&gate[..], &["--out", &release]].concat(),
            Step::Bundle => vec!["bundle", "release", name],
            Step::Verdict => {
                let of = ["--commit", &self.commit, "--binary", &binary];
                [&["verdict", &bundle, "--rederive"][..], &of].concat()
            }
        };
        let key = self.sign_key.map(|path| path.display().to_string());
        if let (Step::Attestation | Step::Bundle, Some(key)) = (step, &key) {
            words.extend(["--sign-key", key]);
        }
        if step == Step::Verdict {
            words.extend(self.keys.iter().flat_map(|key| ["--key", key]));
        }
        words.into_iter().map(str::to_owned).collect()
    }
}

/// A line a step, and what it came to.
fn close(promotion: &Promotion, exit: Exit) {
    for taken in &promotion.steps {
        let word = match taken.exit {
            0 => "DONE",
            1 => "FAIL",
            _ => "OPEN",
        };
        let time = lines::time(Duration::from_secs_f64(taken.seconds));
        let step = taken.step.word();
        screen::print(&format!("{} [{time}] {step}", screen::verb(word)));
    }
    let (word, text) = match (exit, promotion.steps.last()) {
        (Exit::Green, _) => (
            "PROMOTE",
            format!("all {} steps are green", Step::ALL.len()),
        ),
        (_, Some(last)) => ("HOLD", format!("{} is not green", last.step.word())),
        (_, None) => ("HOLD", "no step was taken".to_owned()),
    };
    let name = &promotion.release;
    screen::print(&format!("{} {name}: {text}", screen::verb(word)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn promotion() -> Promotion {
        Promotion {
            format: FORMAT,
            release: "v4.7".to_owned(),
            source_digest: "s".to_owned(),
            binary_sha256: Some("b".to_owned()),
            commit: "c".to_owned(),
            keys: vec!["k".to_owned()],
            seed: "7".to_owned(),
            steps: Vec::new(),
        }
    }

    #[test]
    fn every_step_is_a_line_that_the_program_understands() {
        let model = Model::embedded().unwrap();
        let release = model.release("v4.7").unwrap();
        for (sign_key, resumed) in [(None, false), (Some(Path::new("k/gate.key")), true)] {
            let way = Way {
                release,
                folder: "f".into(),
                sign_key,
                keys: vec!["k/gate.pub".to_owned()],
                commit: "c0ffee".to_owned(),
                binary: "b".into(),
                seed: "7".to_owned(),
                resumed,
            };
            for step in Step::ALL {
                let words = way.words(step);
                let line = std::iter::once("sonia-gate").chain(words.iter().map(String::as_str));
                Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{words:?}: {error}"));
            }
        }
    }

    #[test]
    fn a_release_that_was_taken_back_passes_every_inherited_gate_or_the_drill_failed() {
        let folder = tempfile::tempdir().unwrap();
        let model = Model::embedded().unwrap();
        let way = Way {
            release: model.release("v4.7").unwrap(),
            folder: folder.path().to_owned(),
            sign_key: None,
            keys: Vec::new(),
            commit: "c".to_owned(),
            binary: "b".into(),
            seed: "7".to_owned(),
            resumed: false,
        };
        let baseline = include_str!("../../releases/v4.7.0-baseline/gate-report.json");
        let written = |change: fn(&mut serde_json::Value)| {
            let mut report: serde_json::Value = serde_json::from_str(baseline).unwrap();
            report["seed"] = "7".into();
            report["target"]["name"] = REVERTED.into();
            change(&mut report);
            report::write_json(&folder.path().join("rollback").join(REPORT_FILE), &report).unwrap();
            way.drilled()
        };
        assert!(!way.drilled());
        assert!(written(|_| {}));
        assert!(!written(
            |report| report["gates"][3]["status"] = "UNKNOWN".into()
        ));
        assert!(!written(
            |report| report["target"]["name"] = "reference".into()
        ));
        assert!(!written(|report| report["target"]["mutated"] = false.into()));
        assert!(!written(|report| report["interrupted"] = true.into()));
        assert!(!written(|report| report["seed"] = "8".into()));
        assert!(!written(|report| drop(
            report["gates"].as_array_mut().unwrap().remove(3)
        )));
    }

    #[test]
    fn only_the_last_taking_of_a_step_counts() {
        let mut one = promotion();
        let taken = |exit| Taken {
            step: Step::Floor,
            command: String::new(),
            exit,
            seconds: 1.0,
        };
        assert!(!one.green(Step::Floor));
        one.steps.push(taken(3));
        assert!(!one.green(Step::Floor));
        one.steps.push(taken(0));
        assert!(one.green(Step::Floor) && !one.green(Step::Delta));
        one.steps.push(taken(1));
        assert!(!one.green(Step::Floor));
    }

    #[test]
    fn it_goes_on_with_the_same_things_only() {
        let mut kept = promotion();
        kept.seed = "8".to_owned();
        assert!(kept.is_of(&promotion()));
        for change in [
            |one: &mut Promotion| one.format = 2,
            |one: &mut Promotion| one.release = "v4.6".to_owned(),
            |one: &mut Promotion| one.source_digest = "t".to_owned(),
            |one: &mut Promotion| one.binary_sha256 = None,
            |one: &mut Promotion| one.commit = "d".to_owned(),
            |one: &mut Promotion| one.keys = Vec::new(),
        ] {
            let mut other = promotion();
            change(&mut other);
            assert!(!kept.is_of(&other), "{other:?}");
        }
    }
}
