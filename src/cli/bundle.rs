//! `bundle`: make a bundle of a release, or of a data directory after an incident, and verify one that
//! was handed over. The verifier here is ours and shares nothing with the one that the reference has.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use ed25519_dalek::VerifyingKey;

use super::exit::{Exit, Stop};
use super::{incident, release, screen, verdict};
use crate::contract::bundle::{self, Found, KeyRefused, Verdict};
use crate::model::Model;
use crate::reference::{Options, Parts};
use crate::report::REPORT_FILE;
use crate::report::release::{MANIFEST_FILE, SIGNATURE_FILE};

const EXAMPLES: &str = "\
Example: sonia-gate bundle release v4.7 --sign-key keys/gate.key
Example: sonia-gate bundle incident --data /tmp/sonia --config sonia-config.json --out incident
Example: sonia-gate bundle verify releases/v4.7.0/sonia-v4.7.0.tar.gz --key keys/gate.pub";

/// Make and verify bundles
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Bundle a release: its report, evidence, proof, gates and lock file, with a signed manifest
    #[command(after_help = "\
The same inputs give the same bytes. Evidence is 5 MiB at most when packed.
Exit codes: 0 made, and it verifies; 1 made, and something in it does not verify; 2 nothing made; \
3 made, and it or the report is not signed.
Example: sonia-gate bundle release v4.7 --sign-key keys/gate.key")]
    Release(release::Arguments),
    /// Make an incident bundle of a data directory: a folder, and a .tar.gz of the same
    #[command(after_help = "\
Exit codes: 0 made, and both forms verify; 1 made, with a broken audit chain in it; 2 nothing made.
Example: sonia-gate bundle incident --data /tmp/sonia --config sonia-config.json --out incident")]
    Incident(Incident),
    /// Verify a bundle against a public key that you got another way
    #[command(after_help = "\
Exit codes: 0 accepted; 1 refused, each file and what is wrong with it on a line; 2 no bundle or no \
key there; 3 nothing is wrong with it and nobody trusted signed it, or it could not be read to its end.
Example: sonia-gate bundle verify releases/v4.7.0/sonia-v4.7.0.tar.gz --key keys/gate.pub
Example: sonia-gate bundle verify incident.tar.gz --key audit.pub")]
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Incident {
    /// The data directory; its target may be running
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The config file; its audit.key_file signs
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The folder to make; the archive is beside it, under the same name and .tar.gz
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The folder or the .tar.gz
    path: PathBuf,
    /// The public key: a PEM file, a file with NAME+ID+BASE64, or NAME+ID+BASE64; may be given again
    /// for a release [default for a release: harness.trusted_keys]
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    match &arguments.what {
        What::Release(asked) => release::make(asked, verdict::keys(&[])?),
        What::Incident(asked) => make(asked),
        What::Verify(asked) => verify(asked),
    }
}

fn make(asked: &Incident) -> Result<Exit, Stop> {
    let options = Options::new(&asked.data, &asked.config);
    let made = incident::made(&options, &Parts::default(), &asked.out)?;
    let key = made.key;
    screen::print(&format!(
        "{} {} of {} files",
        screen::verb("MADE"),
        made.bundle_id,
        made.files
    ));
    let mut whole = made.broken.is_empty();
    for broken in &made.broken {
        screen::print(&format!("{} {broken}", screen::verb("BROKEN")));
    }
    for path in [&made.directory, &made.archive] {
        let verdict = read(path, &key)?;
        // One that holds a broken chain is refused by everybody, which is said above already.
        if made.broken.is_empty() {
            show(path, &verdict);
            whole &= verdict.ok;
        } else {
            screen::print(&format!("{} {}", screen::verb("WRITTEN"), path.display()));
        }
    }
    Ok(if whole { Exit::Green } else { Exit::Red })
}

fn verify(asked: &Verify) -> Result<Exit, Stop> {
    let path = &asked.path;
    if let Err(error) = path.metadata() {
        return Err(incident::unread(path, &error));
    }
    let found = match bundle::read_path(path) {
        Ok(found) => found,
        Err(error) => {
            screen::complain("error", &format!("cannot read {}: {error}", path.display()));
            screen::complain("hint", "this says nothing of the bundle; make it readable");
            return Ok(Exit::Open);
        }
    };
    let of_release = [MANIFEST_FILE, SIGNATURE_FILE, REPORT_FILE];
    if of_release
        .iter()
        .any(|name| found.files.contains_key(*name))
    {
        let keys = verdict::keys(&asked.key)?;
        return Ok(release::judge(path, &found, &Model::embedded()?, &keys));
    }
    verify_incident(path, &found, &asked.key)
}

fn verify_incident(path: &Path, found: &Found, keys: &[String]) -> Result<Exit, Stop> {
    let [key] = keys else {
        let what = format!("{} keys for an incident bundle, expected 1", keys.len());
        return Err(Stop::usage(what, incident::KEY_HINT));
    };
    let key = bundle::pinned(key).map_err(|error| no_key(&error))?;
    let verdict = bundle::verify(found, &key);
    show(path, &verdict);
    Ok(if verdict.ok { Exit::Green } else { Exit::Red })
}

fn read(path: &Path, key: &VerifyingKey) -> Result<Verdict, Stop> {
    bundle::verify_path(path, key).map_err(|error| incident::unread(path, &error))
}

fn show(path: &Path, verdict: &Verdict) {
    let path = path.display();
    if verdict.ok {
        let id = verdict.bundle_id.as_deref().unwrap_or_default();
        let at = verdict.created_at.as_deref().unwrap_or_default();
        let (word, files) = (screen::verb("PASS"), verdict.files);
        screen::print(&format!("{word} {path}: {id} of {at}, {files} files"));
        return;
    }
    for problem in &verdict.problems {
        screen::print(&format!("{} {path}: {problem}", screen::verb("FAIL")));
    }
}

fn no_key(error: &KeyRefused) -> Stop {
    Stop::usage(error.to_string(), incident::KEY_HINT)
}
