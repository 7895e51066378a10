//! Gate bundle-manifest-signed: an incident bundle names all of its files in a signed manifest, and
//! whatever is done to one of them, to the manifest or to the signature is refused by name.
//!
//! The target's own command makes one bundle beside the running target and one after it was
//! stopped. Both, as folder and as archive, have to be accepted by the target's verifier and by
//! ours, to tell what was done before, and to give away no secret. Then every file-level wrong is
//! done to the first: to files, to the manifest, to the signature, to an audit segment under a
//! right signature, and to the places of files. Whether the running target notices a chain that
//! was tampered with is not asked here: another gate does.

pub mod cases;
pub mod content;
mod drive;
pub mod edits;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::cases::{Case, Form};
use self::edits::Files;
use crate::checks::{Judgement, Sent};
use crate::contract::bundle::Problem;
use crate::target::Ran;

pub use drive::drive;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What the target said in its listening line; none if it never ran.
    pub told: Option<Told>,
    /// The public key that is pinned, in hexadecimal: known from the harness, not from the target.
    pub public_key: String,
    /// The lifetime of a session that the target was configured with.
    pub sessions_ttl_ms: u64,
    /// Every mutation that was sent.
    pub sent: Vec<Sent>,
    /// The bundles, in the order in which they were made.
    pub bundles: Vec<Bundle>,
    /// What was done to the first bundle.
    pub tampered: Vec<Tampered>,
    /// What could not be done, and why.
    pub trouble: Vec<String>,
}

/// What a target says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its services.
    pub services: Vec<String>,
    /// Its chains.
    pub chains: Vec<String>,
    /// Its commands.
    pub commands: BTreeMap<String, Vec<String>>,
}

/// A bundle that the target made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// Whether the target ran meanwhile.
    pub running: bool,
    /// When the command was started, on the clock of the run.
    pub invoked_us: u64,
    /// How the command ended.
    pub ran: Ran,
    /// What is in the folder.
    pub files: Files,
    /// What is in the folder and is no file.
    pub strays: Vec<Problem>,
    /// The archive, in base64; none when there is none.
    pub archive: Option<String>,
    /// Secrets by name that stand in a file or in the archive.
    pub secrets: Vec<(String, String)>,
    /// What the target's verifier says of both forms.
    pub verified: BTreeMap<Form, Ran>,
}

/// A bundle after something was done to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tampered {
    /// What was done.
    pub case: Case,
    /// What the target's verifier said.
    pub ran: Ran,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    judge::judge(seen)
}
