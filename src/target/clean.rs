//! A clean room: a fresh clone of a commit, built offline from its lock file with nothing that this
//! tree has lying about. Git and cargo say on stderr what they do, because a build takes minutes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::process::Command;

/// The program that the clone builds.
const PROGRAM: &str = "sonia-gate";
/// What would bring into the room what was not cloned: other flags, other places, other programs.
const KEPT_OUT: [&str; 19] = [
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_WORK_TREE",
    // Who signs, and whom a run reports to, is the caller's affair.
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "SONIA_GATE_SIGN_KEY",
];

/// A clone, in a folder of its own.
#[derive(Debug)]
pub struct CleanRoom {
    clone: PathBuf,
    release: bool,
}

/// A tool that did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be started.
    #[error("cannot run {tool}: {source}")]
    Start {
        /// Its name.
        tool: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended otherwise than well; what it had to say is on stderr.
    #[error("{tool} ended with {status}")]
    Ended {
        /// The tool and its first argument.
        tool: String,
        /// How.
        status: ExitStatus,
    },
}

impl CleanRoom {
    /// Clones `commit` of the repository around `repository` into a folder that is not there yet.
    /// With `release` it is built with the release profile.
    ///
    /// # Errors
    /// When git is not there, or there is no such commit.
    pub async fn clone(
        repository: &Path,
        commit: &str,
        into: &Path,
        release: bool,
    ) -> Result<Self, ToolError> {
        let clone = ["clone", "--quiet", "--no-checkout", "--no-hardlinks", "--"].map(OsStr::new);
        let from_to = [repository.as_os_str(), into.as_os_str()];
        well(tool(
            "git",
            Path::new("."),
            &[&clone[..], &from_to].concat(),
        ))
        .await?;
        let checkout = ["checkout", "--quiet", "--detach", commit].map(OsStr::new);
        well(tool("git", into, &checkout)).await?;
        Ok(Self {
            clone: into.to_owned(),
            release,
        })
    }

    /// Where the clone is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.clone
    }

    /// Builds the program, without a network and without another version of anything than the lock
    /// file names.
    ///
    /// # Errors
    /// When cargo is not there, a crate is not at hand, or the clone does not build.
    pub async fn build(&self) -> Result<(), ToolError> {
        let mut arguments = vec!["build", "--offline", "--locked", "--target-dir", "target"];
        arguments.extend(["--bin", PROGRAM]);
        arguments.extend(self.release.then_some("--release"));
        let arguments: Vec<&OsStr> = arguments.into_iter().map(OsStr::new).collect();
        well(tool("cargo", &self.clone, &arguments)).await
    }

    /// Runs the program that was built, inside the clone. What it prints goes to stderr.
    ///
    /// # Errors
    /// When there is no such program.
    pub async fn run(&self, arguments: &[&OsStr]) -> Result<ExitStatus, ToolError> {
        let profile = if self.release { "release" } else { "debug" };
        let program = self.clone.join("target").join(profile).join(PROGRAM);
        ended(tool(&program.to_string_lossy(), &self.clone, arguments)).await
    }
}

/// A tool with its arguments.
struct Tool {
    name: String,
    command: Command,
}

fn tool(name: &str, folder: &Path, arguments: &[&OsStr]) -> Tool {
    let mut command = Command::new(name);
    command
        .args(arguments)
        .current_dir(folder)
        .kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    for name in KEPT_OUT {
        command.env_remove(name);
    }
    let first = arguments.first().map(|first| first.to_string_lossy());
    let name = format!("{name} {}", first.unwrap_or_default());
    Tool { name, command }
}

async fn ended(mut tool: Tool) -> Result<ExitStatus, ToolError> {
    let status = tool.command.status().await;
    status.map_err(|source| ToolError::Start {
        tool: tool.name,
        source,
    })
}

async fn well(tool: Tool) -> Result<(), ToolError> {
    let name = tool.name.clone();
    let status = ended(tool).await?;
    if status.success() {
        return Ok(());
    }
    Err(ToolError::Ended { tool: name, status })
}
