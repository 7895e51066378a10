//! The commands of the reference that make and verify an incident bundle: one line of JSON for
//! whoever runs them, and an exit code. A person is better served by `sonia-gate bundle`.

use std::path::Path;

use super::block_on;
use super::exit::{Exit, Stop};
use super::serve::say;
use crate::reference::bundle::{self, BundleError, Exported, KeyRefused};
use crate::reference::{Options, Parts};

/// Makes a bundle; 1 when there is one and it has a broken chain in it.
pub(super) fn export(options: &Options, parts: &Parts, out: &Path) -> Result<Exit, Stop> {
    let exported = made(options, parts, out)?;
    say(&exported.value());
    Ok(match exported.broken.is_empty() {
        true => Exit::Green,
        false => Exit::Red,
    })
}

/// Verifies a bundle; 1 when it is refused.
pub(super) fn verify(path: &Path, key: &str, parts: &Parts) -> Result<Exit, Stop> {
    let key = bundle::pinned(key).map_err(|error| no_key(&error))?;
    let verdict = bundle::verify(path, &key, parts).map_err(|error| unread(path, &error))?;
    say(&serde_json::to_value(&verdict).expect("a verdict is plain data"));
    Ok(if verdict.ok { Exit::Green } else { Exit::Red })
}

/// Makes a bundle, or says why there is none.
pub(super) fn made(options: &Options, parts: &Parts, out: &Path) -> Result<Exported, Stop> {
    let exported = block_on(bundle::export(options, parts, out))?;
    exported.map_err(|error| Stop::usage(error.to_string(), advice(&error)))
}

/// What to say about a bundle that cannot be read.
pub(super) fn unread(path: &Path, error: &std::io::Error) -> Stop {
    let what = format!("cannot read {}: {error}", path.display());
    Stop::usage(what, "give the folder or the .tar.gz of a bundle")
}

fn no_key(error: &KeyRefused) -> Stop {
    Stop::usage(error.to_string(), KEY_HINT)
}

/// What a key may be.
pub(super) const KEY_HINT: &str =
    "give a file with a public key (PEM), or NAME+ID+BASE64 as the listening line has it";

fn advice(error: &BundleError) -> &'static str {
    match error {
        BundleError::Config { .. } => {
            "correct the file; sonia-config.json has every key with its default"
        }
        BundleError::NoKey | BundleError::Key(_) | BundleError::Sign(_) => {
            "audit.key_file names an Ed25519 key, PKCS#8 in PEM"
        }
        BundleError::Exists(_) => "give another path; nothing is ever overwritten",
        BundleError::Chain { .. } => "try again when nobody locks the database",
        BundleError::Files { .. } => "give a folder that can be written, with some space",
    }
}
