//! The incident bundle: what a person needs to understand what happened, in one folder and in one
//! archive, every file named in a signed manifest. Making one changes nothing but the kept checkpoints; a broken audit
//! chain goes in as it is, is said to be broken, and no verification accepts it.

mod container;
mod content;
mod export;
mod key;
mod manifest;
mod segment;
#[cfg(test)]
mod tests;
mod verify;

pub use export::{BundleError, Exported, export};
pub use key::{KeyRefused, pinned};
pub use manifest::{BundleRule, FileRow, MANIFEST_FILE, Manifest, PAYLOAD_TYPE, Signed};
pub use verify::{Problem, Verdict, verify};

/// The most files that a bundle may have, the manifest included.
const MAX_FILES: usize = 4096;
/// The most bytes that all files of a bundle may have together.
const MAX_BYTES: u64 = 256 << 20;
/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 200;
