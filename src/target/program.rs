//! A program that somebody's experiment names: found on a path, run with its arguments, waited for
//! as long as it may take. What it wrote and how it ended are results; it is nobody's target.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::command::Group;

/// The most that is read of one of its outputs; past it the pipe is closed.
const MAX_OUTPUT: u64 = 16 << 20;
/// What runs a command that is given as one text.
const SHELL: &str = "/bin/sh";

/// A program and what it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// What it is told.
    pub arguments: Arguments,
    /// How long it may take; none: as long as it likes.
    pub timeout: Option<Duration>,
}

/// What a program is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// One by one.
    Words(Vec<String>),
    /// As one text behind its path, for a shell to take apart.
    Shell(String),
}

/// How it ended and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code, or the negated number of the signal that ended it.
    pub status: i32,
    /// What it wrote.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum NoOutcome {
    /// It took too long, and was ended with everything that it had started.
    #[error("not done within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// It was not run at all.
    #[error("cannot run {path}: {source}", path = .path.display())]
    NotRun {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The file that a name stands for: itself when it has a slash, else the first executable of that
/// name on `PATH`; `~` is `HOME`.
#[must_use]
pub fn which(name: &str, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let home = environment.get("HOME").filter(|_| name.starts_with("~/"));
    let name = match home {
        Some(home) => format!("{home}{}", &name[1..]),
        None => name.to_owned(),
    };
    let runs = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| runs(path));
    }
    let path = environment.get("PATH")?;
    let mut files = std::env::split_paths(path).map(|folder| folder.join(&name));
    files.find(|path| runs(path))
}

impl Program {
    /// Runs it in this environment, in the working directory, with nothing to read.
    ///
    /// # Errors
    /// See [`NoOutcome`].
    pub async fn run(&self, environment: &BTreeMap<String, String>) -> Result<Outcome, NoOutcome> {
        let mut command = match &self.arguments {
            Arguments::Words(words) => {
                let mut command = Command::new(&self.path);
                command.args(words);
                command
            }
            Arguments::Shell(text) => {
                let mut command = Command::new(SHELL);
                command
                    .arg("-c")
                    .arg(format!("{} {text}", self.path.display()));
                command
            }
        };
        command.env_clear().envs(environment);
        command.process_group(0).kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let not_run = |source| NoOutcome::NotRun {
            path: self.path.clone(),
            source,
        };
        let mut group = Group(command.spawn().map_err(not_run)?);
        let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
        let ended = async { tokio::join!(text(stdout), text(stderr), group.0.wait()) };
        let (stdout, stderr, status) = match self.timeout {
            None => ended.await,
            Some(timeout) => tokio::time::timeout(timeout, ended)
                .await
                .map_err(|_| NoOutcome::TimedOut(timeout))?,
        };
        Ok(Outcome {
            status: code(status.map_err(not_run)?),
            stdout,
            stderr,
        })
    }
}

fn code(status: ExitStatus) -> i32 {
    let by_signal = status.signal().map_or(-1, |signal| -signal);
    status.code().unwrap_or(by_signal)
}

async fn text(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What came before an error is what there is.
        let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        let pairs = [("PATH", "/usr/bin:/bin"), ("HOME", "/"), ("DRILL", "here")];
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn shell(arguments: Arguments, timeout: Option<Duration>) -> Program {
        Program {
            path: which("sh", &environment()).unwrap(),
            arguments,
            timeout,
        }
    }

    fn words(script: &str) -> Arguments {
        Arguments::Words(vec!["-c".to_owned(), script.to_owned()])
    }

    #[test]
    fn a_name_is_found_on_the_path_a_path_is_itself_and_a_folder_is_neither() {
        let found = |name: &str| which(name, &environment());
        assert!(found("sh").unwrap().is_absolute());
        assert_eq!(found("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(found("~/bin/sh"), Some(PathBuf::from("//bin/sh")));
        let plain = tempfile::NamedTempFile::new().unwrap();
        for none in [
            "no-such-program",
            "/bin",
            plain.path().to_str().unwrap(),
            "",
        ] {
            assert_eq!(found(none), None, "{none}");
        }
        assert_eq!(which("sh", &BTreeMap::new()), None);
    }

    #[tokio::test]
    async fn words_and_a_text_for_the_shell_are_run_in_the_environment_that_is_given() {
        let all = environment();
        let program = shell(words("echo $DRILL; echo no >&2; exit 3"), None);
        let outcome = program.run(&all).await.unwrap();
        assert_eq!(
            (outcome.status, &*outcome.stdout, &*outcome.stderr),
            (3, "here\n", "no\n")
        );
        let killed = shell(words("kill -9 $$"), None).run(&all).await.unwrap();
        assert_eq!(killed.status, -9);
        let text = Arguments::Shell("-c 'exit 4' $DRILL".to_owned());
        assert_eq!(shell(text, None).run(&all).await.unwrap().status, 4);
    }

    #[tokio::test]
    async fn what_takes_too_long_or_is_not_there_has_no_outcome() {
        let bound = Duration::from_millis(50);
        let slow = shell(words("sleep 60 & sleep 60"), Some(bound));
        let error = slow.run(&environment()).await.unwrap_err();
        assert_eq!(error.to_string(), "not done within 50 ms");
        let none = Program {
            path: PathBuf::from("/no/such/program"),
            arguments: Arguments::Words(Vec::new()),
            timeout: None,
        };
        let error = none.run(&environment()).await.unwrap_err();
        assert!(matches!(error, NoOutcome::NotRun { .. }), "{error}");
    }
}
