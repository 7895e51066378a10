//! Starts a target and waits until it says that it is ready. A target that will not start is
//! reported with its exit status and the last lines of its stderr.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::disk;
use super::incident::Incidents;
use super::instance::Instance;
use super::keys::Keys;
use super::listening::Listening;
use super::stderr::Stderr;
use crate::base::files::write_atomically;
use crate::base::{Clock, Seed};
use crate::model::target_spec::{TargetKind, TargetSpec};

/// How long a target may take from its start to its ready line.
pub const START_DEADLINE: Duration = Duration::from_secs(30);

/// Starts targets of one specification.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// Our own binary.
    pub binary: PathBuf,
    /// Which target.
    pub spec: TargetSpec,
}

/// What one target is started with.
#[derive(Clone)]
pub struct Setup {
    /// A folder of its own: `config.json`, `keys.json`, `audit-key.pem` and `stderr.log` go here.
    pub dir: PathBuf,
    /// The data directory: `data/` in that folder, unless several processes share one.
    pub data: PathBuf,
    /// The complete config.
    pub config: Value,
    /// Arguments after those of the specification.
    pub args: Vec<String>,
    /// Words before the program, of one that becomes it: `env --ignore-signal=XFSZ`. None: nothing.
    pub through: Vec<String>,
    /// Environment variables beside the inherited ones (of which `SONIA_*` are removed).
    pub env: BTreeMap<String, String>,
    /// The credentials that the key file holds.
    pub keys: Keys,
    /// The clock of the run.
    pub clock: Clock,
    /// Where correlation ids come from.
    pub seed: Seed,
    /// Where incidents go.
    pub incidents: Incidents,
}

impl Setup {
    /// The key file; the config's `auth.key_file` should name it.
    #[must_use]
    pub fn key_file(dir: &Path) -> PathBuf {
        dir.join("keys.json")
    }

    /// The key that the target signs with; the config's `audit.key_file` should name it.
    #[must_use]
    pub fn audit_key_file(dir: &Path) -> PathBuf {
        dir.join("audit-key.pem")
    }

    /// The data directory of a process on its own.
    #[must_use]
    pub fn data(dir: &Path) -> PathBuf {
        dir.join("data")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.dir.join("config.json")
    }

    pub(super) fn stderr_log(&self) -> PathBuf {
        self.dir.join("stderr.log")
    }
}

/// Why a target did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The binary could not be run at all.
    #[error("cannot run {binary}: {source}", binary = .binary.display())]
    Spawn {
        /// The binary.
        binary: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the target's folder could not be written.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Files {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("exited before it was ready ({status}); stderr: {stderr_tail}")]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The last lines it wrote to stderr.
        stderr_tail: String,
    },
    /// It lives and says nothing.
    #[error("no {what} line within {} ms; stderr: {stderr_tail}", waited.as_millis())]
    Silent {
        /// `listening` or `ready`.
        what: &'static str,
        /// The bound.
        waited: Duration,
        /// The last lines it wrote to stderr.
        stderr_tail: String,
    },
    /// It said something else.
    #[error("`{line}` is no {what} line: {why}")]
    Garbled {
        /// `listening` or `ready`.
        what: &'static str,
        /// What it printed.
        line: String,
        /// Why that is not it.
        why: String,
    },
    /// Nobody could have written there, so nothing is known of the target.
    #[error("{}", disk::advice(.folder, .source))]
    Disk {
        /// The folder of the target.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A remote target cannot be started.
    #[error("a remote target is not ours to start")]
    Remote,
}

impl StartError {
    /// Whether this is something the target did, and not trouble of the harness.
    #[must_use]
    pub fn by_target(&self) -> bool {
        matches!(
            self,
            Self::Exited { .. } | Self::Silent { .. } | Self::Garbled { .. }
        )
    }

    /// This error, or the state of the disk when that explains it.
    fn unless_the_disk(self, folder: &Path) -> Self {
        match disk::trouble(folder) {
            Some(source) => Self::Disk {
                folder: folder.to_owned(),
                source,
            },
            None => self,
        }
    }
}

impl Launcher {
    /// Starts a target and waits for its ready line; a remote one is only addressed.
    ///
    /// # Errors
    /// See [`StartError`]. The process is gone then.
    pub async fn start(&self, setup: Setup) -> Result<Instance, StartError> {
        match &self.spec.kind {
            TargetKind::Remote { url } => Ok(Instance::remote(Listening::remote(url), setup)),
            TargetKind::Embedded { args } => {
                let (keys, text) = (Setup::key_file(&setup.dir), setup.keys.file().to_string());
                write(&keys, text.as_bytes()).map_err(|error| error.unless_the_disk(&setup.dir))?;
                let key = Setup::audit_key_file(&setup.dir);
                write(&key, setup.keys.audit_pem().as_bytes())
                    .map_err(|error| error.unless_the_disk(&setup.dir))?;
                let plan = Plan {
                    binary: self.binary.clone(),
                    args: args.clone(),
                };
                write_config(&setup)?;
                let running = spawn(&plan, &setup).await?;
                Ok(Instance::running(plan, setup, running))
            }
        }
    }
}

/// How the process is made, again at each restart.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    binary: PathBuf,
    args: Vec<String>,
}

/// A process that is ready.
pub(super) struct Running {
    pub(super) child: Child,
    /// Held open: its closing tells the target that its parent is gone.
    pub(super) stdin: Option<ChildStdin>,
    pub(super) listening: Listening,
    pub(super) stderr: Stderr,
}

pub(super) fn write_config(setup: &Setup) -> Result<(), StartError> {
    let text = serde_json::to_vec_pretty(&setup.config).expect("a JSON value can be written");
    write(&setup.config_file(), &text).map_err(|error| error.unless_the_disk(&setup.dir))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StartError> {
    write_atomically(path, bytes).map_err(|source| StartError::Files {
        path: path.to_owned(),
        source,
    })
}

/// A process that listens, and is not ready yet. It is gone when this is dropped.
pub(super) struct Half {
    running: Running,
    lines: Lines<BufReader<ChildStdout>>,
    /// Until when it has to be ready.
    end: tokio::time::Instant,
}

impl Half {
    /// Where it listens.
    pub(super) fn listening(&self) -> &Listening {
        &self.running.listening
    }

    /// Ends it.
    pub(super) async fn kill(mut self) {
        end(&mut self.running.child).await;
    }

    /// Waits for the ready line.
    pub(super) async fn ready(mut self, setup: &Setup) -> Result<Running, StartError> {
        let Running { child, stderr, .. } = &mut self.running;
        if let Err(error) = ready(&mut self.lines, child, stderr, self.end).await {
            end(child).await;
            return Err(error.unless_the_disk(&setup.dir));
        }
        tokio::spawn(drain(self.lines));
        Ok(self.running)
    }
}

/// Starts the process and waits for its two lines.
pub(super) async fn spawn(plan: &Plan, setup: &Setup) -> Result<Running, StartError> {
    spawn_listening(plan, setup).await?.ready(setup).await
}

/// Starts the process and waits for the first of its two lines.
pub(super) async fn spawn_listening(plan: &Plan, setup: &Setup) -> Result<Half, StartError> {
    let started = spawn_on_any_disk(plan, setup).await;
    started.map_err(|error| error.unless_the_disk(&setup.dir))
}

async fn spawn_on_any_disk(plan: &Plan, setup: &Setup) -> Result<Half, StartError> {
    let mut child = process(plan, setup)?;
    let cannot = |source| StartError::Spawn {
        binary: plan.binary.clone(),
        source,
    };
    let pipe = child.stderr.take().expect("stderr was asked to be a pipe");
    let follow = |pipe| Stderr::follow(pipe, &setup.stderr_log());
    let stderr = pipe.into_owned_fd().and_then(follow).map_err(cannot)?;
    // Taken, not left in the child: waiting for a child closes the stdin that it holds.
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let until = tokio::time::Instant::now() + START_DEADLINE;
    match listening(&mut lines, &mut child, &stderr, until).await {
        Ok(listening) => Ok(Half {
            running: Running {
                child,
                stdin,
                listening,
                stderr,
            },
            lines,
            end: until,
        }),
        Err(error) => {
            end(&mut child).await;
            Err(error)
        }
    }
}

/// Reaped here, so that no error leaves a process behind.
async fn end(child: &mut Child) {
    super::instance::kill_group(child);
    let _ = child.wait().await;
}

fn process(plan: &Plan, setup: &Setup) -> Result<Child, StartError> {
    let data = &setup.data;
    std::fs::create_dir_all(data).map_err(|source| StartError::Files {
        path: data.clone(),
        source,
    })?;
    let mut command = serving(plan, setup);
    command.arg("--with-parent");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().map_err(|source| StartError::Spawn {
        binary: plan.binary.clone(),
        source,
    })
}

/// The command that serves on the data of this setup, its arguments included.
pub(super) fn serving(plan: &Plan, setup: &Setup) -> Command {
    let mut words = setup.through.iter().map(OsStr::new);
    let mut command = match words.next() {
        Some(first) => {
            let mut command = Command::new(first);
            command.args(words).arg(&plan.binary);
            command
        }
        None => Command::new(&plan.binary),
    };
    command
        .arg("serve")
        .arg("--data")
        .arg(&setup.data)
        .arg("--config")
        .arg(setup.config_file());
    command.args(&plan.args).args(&setup.args);
    set_apart(&mut command, &setup.env);
    command
}

/// What steers us is not to steer a process of ours, and what it starts is to end with it.
pub(super) fn set_apart(command: &mut Command, env: &BTreeMap<String, String>) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SONIA_") {
            command.env_remove(name);
        }
    }
    command.envs(env).process_group(0).kill_on_drop(true);
}

/// The target must never block on a full pipe.
async fn drain(mut lines: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(_)) = lines.next_line().await {}
}

async fn listening(
    lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>,
    child: &mut Child,
    stderr: &Stderr,
    end: tokio::time::Instant,
) -> Result<Listening, StartError> {
    let line = next(lines, child, stderr, "listening", end).await?;
    Listening::parse(&line).map_err(|why| StartError::Garbled {
        what: "listening",
        line,
        why,
    })
}

async fn ready(
    lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>,
    child: &mut Child,
    stderr: &Stderr,
    end: tokio::time::Instant,
) -> Result<(), StartError> {
    let line = next(lines, child, stderr, "ready", end).await?;
    let why = match serde_json::from_str::<Value>(&line) {
        Ok(value) if value["event"] == "ready" => return Ok(()),
        Ok(_) => "another event".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(StartError::Garbled {
        what: "ready",
        line,
        why,
    })
}

async fn next(
    lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>,
    child: &mut Child,
    stderr: &Stderr,
    what: &'static str,
    end: tokio::time::Instant,
) -> Result<String, StartError> {
    let silent = || StartError::Silent {
        what,
        waited: START_DEADLINE,
        stderr_tail: stderr.tail(),
    };
    match tokio::time::timeout_at(end, lines.next_line()).await {
        Ok(Ok(Some(line))) => Ok(line),
        // Its stdout is closed: it is ending, or it never will.
        Ok(Ok(None) | Err(_)) => match tokio::time::timeout_at(end, child.wait()).await {
            Ok(Ok(status)) => Err(StartError::Exited {
                status,
                stderr_tail: stderr.tail(),
            }),
            Ok(Err(_)) | Err(_) => Err(silent()),
        },
        Err(_) => Err(silent()),
    }
}
