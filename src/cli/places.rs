//! Where files go, and the scratch folder. Only a whole, unmutated run of a release writes to
//! `releases/`; everything else goes to `target/sonia/` unless `--out` says otherwise.

use std::fs;
use std::path::{Path, PathBuf};

use super::exit::Stop;
use crate::base::json::sha256_hex;
use crate::model::{Model, Release};
use crate::report::REPORT_FILE;

/// The folder of a release's reports.
pub(super) fn release_folder(release: &Release) -> PathBuf {
    Path::new("releases").join(format!("v{}", release.version))
}

/// The folder of what was released before `release`, as far as one is kept: the release that it
/// inherits from, else what is recorded as the state at its beginning.
pub(super) fn before(model: &Model, release: &Release) -> Option<PathBuf> {
    let parent = release.inherits.as_ref();
    let parent = parent.and_then(|name| model.release(name).ok());
    let recorded = |of: &Release| PathBuf::from(format!("releases/v{}-baseline", of.version));
    let folders = parent
        .iter()
        .flat_map(|parent| [release_folder(parent), recorded(parent)]);
    let mut folders = folders.chain([recorded(release)]);
    folders.find(|folder| folder.join(REPORT_FILE).is_file())
}

/// The folder to write to.
pub(super) fn out(asked: Option<&PathBuf>, release: &Release, for_release: bool) -> PathBuf {
    match asked {
        Some(folder) => folder.clone(),
        None if for_release => release_folder(release),
        None => Path::new("target/sonia").join(format!("v{}", release.version)),
    }
}

/// A temporary folder that goes when it is dropped.
pub(super) fn scratch() -> Result<tempfile::TempDir, Stop> {
    tempfile::Builder::new()
        .prefix("sonia-gate-")
        .tempdir()
        .map_err(|error| {
            let folder = std::env::temp_dir();
            Stop::usage(
                format!("cannot make a folder in {}: {error}", folder.display()),
                "free some space there, or point TMPDIR at another disk",
            )
        })
}

/// Our own binary, of which targets are children.
pub(super) fn binary() -> Result<PathBuf, Stop> {
    std::env::current_exe().map_err(|error| {
        Stop::usage(
            format!("cannot find the running binary: {error}"),
            "run it by its full path",
        )
    })
}

/// SHA-256 of a file; none when it cannot be read.
pub(super) fn digest(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| sha256_hex(&bytes))
}

/// What to say about a file that cannot be written.
pub(super) fn unwritable(path: &Path, error: &std::io::Error) -> Stop {
    Stop::usage(
        format!("cannot write {}: {error}", path.display()),
        "free some space or make the folder writable, or give another one with --out",
    )
}

/// How many drives at a time when nobody says: targets wait more than they compute.
pub(super) fn default_jobs() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many drives of a proof at a time when nobody says: a mutant makes its gate wait for what
/// never comes.
pub(super) fn proof_jobs() -> usize {
    6 * std::thread::available_parallelism().map_or(1, usize::from)
}
