//! `bundle release`: everything that a promotion rests on, in one archive; and what is said of one
//! that was handed over.

use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;

use super::exit::{Exit, Stop};
use super::{key, papers, places, screen};
use crate::base::files::write_atomically;
use crate::contract::bundle::{Found, read_archive};
use crate::model::{Model, Selection};
use crate::report::release::{Contents, MANIFEST_FILE, ReleaseError};
use crate::verdict::{BundleReading, read_bundle};

/// What to bundle.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// v4.3 ... v4.7
    release: String,
    /// The folder of its report [default: releases/vX.Y.Z]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// The archive; the manifest is written beside it, too [default: sonia-vX.Y.Z.tar.gz in that folder]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Sign the manifest with this private key (gate.key of `key new`)
    #[arg(long, value_name = "FILE", env = "SONIA_GATE_SIGN_KEY")]
    sign_key: Option<PathBuf>,
}

/// Makes a bundle, writes it, and reads it again as a stranger would who trusts `trusted` and the key
/// that signed it.
pub(super) fn make(asked: &Arguments, mut trusted: Vec<VerifyingKey>) -> Result<Exit, Stop> {
    let model = Model::embedded()?;
    let plan = model.plan(&asked.release, &Selection::default())?;
    let folder = places::release_folder(&plan.release);
    let folder = asked.from.clone().unwrap_or(folder);
    let out = asked.out.clone().unwrap_or_else(|| {
        let name = format!("sonia-v{}.tar.gz", plan.release.version);
        folder.join(name)
    });
    let signer = asked.sign_key.as_deref().map(key::read).transpose()?;
    let mut contents = Contents::gather(Path::new("."), &folder).map_err(refused)?;
    if contents.report.release != plan.release.name {
        let what = format!(
            "{} has the report of {}, not of {}",
            folder.display(),
            contents.report.release,
            plan.release.name
        );
        return Err(Stop::usage(what, "give another folder with --from"));
    }
    // Made again of the report, so that what people read is what was judged.
    let papers = papers::texts(&folder, &contents.report, &plan)
        .map_err(|error| places::unwritable(&out, &error))?;
    for (name, text) in papers {
        contents.files.insert(name.to_owned(), text.into_bytes());
    }
    let bundle = contents.bundle(signer.as_ref()).map_err(refused)?;
    for (path, bytes) in [
        (&out, &bundle.archive),
        (&out.with_file_name(MANIFEST_FILE), &bundle.manifest_bytes),
    ] {
        write_atomically(path, bytes).map_err(|error| places::unwritable(path, &error))?;
    }
    screen::print(&format!(
        "{} {}: {} files, {} bytes; evidence {} bytes of it",
        screen::verb("Bundled"),
        out.display(),
        bundle.manifest.files.len(),
        bundle.archive.len(),
        bundle.evidence_bytes,
    ));
    trusted.extend(signer.map(|key| key.verifying_key()));
    let written = std::fs::read(&out).map_err(|error| places::unwritable(&out, &error))?;
    Ok(judge(
        &out,
        &read_archive(&written, "the archive"),
        &model,
        &trusted,
    ))
}

/// Reads a bundle, and says what is wrong with it.
pub(super) fn judge(path: &Path, found: &Found, model: &Model, trusted: &[VerifyingKey]) -> Exit {
    let reading = read_bundle(found, model, trusted);
    let shown = path.display();
    for problem in &reading.problems {
        screen::print(&format!("{} {shown}: {problem}", screen::verb("FAIL")));
    }
    for why in &reading.unvouched {
        screen::print(&format!("{} {shown}: {why}", screen::verb("UNKNOWN")));
    }
    if let (Exit::Green, Some(manifest)) = (exit(&reading), &reading.manifest) {
        screen::print(&format!(
            "{} {shown}: {} {} of {}, {} files, signed by a key that is trusted",
            screen::verb("PASS"),
            manifest.verdict,
            manifest.release,
            manifest.timestamp,
            manifest.files.len(),
        ));
    }
    exit(&reading)
}

fn exit(reading: &BundleReading) -> Exit {
    match (reading.problems.len(), reading.unvouched.len()) {
        (0, 0) => Exit::Green,
        (0, _) => Exit::Open,
        _ => Exit::Red,
    }
}

fn refused(error: ReleaseError) -> Stop {
    let hint = match &error {
        ReleaseError::Read { .. } => {
            "run `sonia-gate prove` and `sonia-gate gate` for the release, here, and bundle then"
        }
        ReleaseError::NoReport { .. } | ReleaseError::Changed { .. } => {
            "run `sonia-gate gate` for the release again"
        }
        ReleaseError::OtherSources { .. } => {
            "check the commit of the report out, or gate the release again"
        }
        ReleaseError::MadeWrong(_) => "bundle the report of a target that is to be released",
        ReleaseError::TooMuchEvidence { .. } => "make the evidence of the largest gates smaller",
        ReleaseError::Sign(_) => "give a gate.key of `sonia-gate key new`",
        ReleaseError::Pack { .. } => "give it a shorter name",
    };
    Stop::usage(error.to_string(), hint)
}
