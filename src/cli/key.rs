//! `key new`: a pair of keys, the private one for whoever signs reports, the public one for whoever
//! reads them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::{self, der::pem::LineEnding};
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, KeypairBytes};

use super::exit::{Exit, Stop};
use super::{places, screen};

/// Example: sonia-gate key new --out keys
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make gate.key and gate.pub; neither is ever overwritten
    #[command(after_help = "Example: sonia-gate key new --out keys")]
    New {
        /// The folder for both
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let What::New { out } = &arguments.what;
    let secret: [u8; 32] = rand::random();
    let key = SigningKey::from_bytes(&secret);
    let unwritable = |text: String| Stop::usage(text, "give another folder with --out");
    let pem = |error: &dyn std::fmt::Display| unwritable(format!("no key was made: {error}"));
    // Without the public half, which some readers refuse beside the private one.
    let bytes = KeypairBytes {
        secret_key: secret,
        public_key: None,
    };
    let private = bytes
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| pem(&error))?;
    let public = public(&key).map_err(|error| pem(&error))?;
    fs::create_dir_all(out).map_err(|error| places::unwritable(out, &error))?;
    for (name, text, mode) in [
        ("gate.key", private.as_str(), 0o600),
        ("gate.pub", public.as_str(), 0o644),
    ] {
        let path = out.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| places::unwritable(&path, &error))?;
        screen::print(&format!("{} {}", screen::verb("Made"), path.display()));
    }
    Ok(Exit::Green)
}

/// The public half, as PEM.
pub(super) fn public(key: &SigningKey) -> Result<String, spki::Error> {
    key.verifying_key().to_public_key_pem(LineEnding::LF)
}

/// The private key of a file that `key new` made.
pub(super) fn read(path: &Path) -> Result<SigningKey, Stop> {
    let hint = "give a gate.key; `sonia-gate key new --out DIR` makes one";
    let text = fs::read_to_string(path)
        .map_err(|error| Stop::usage(format!("{}: {error}", path.display()), hint))?;
    SigningKey::from_pkcs8_pem(&text).map_err(|_| {
        let what = format!("{}: no Ed25519 private key", path.display());
        Stop::usage(what, hint)
    })
}
