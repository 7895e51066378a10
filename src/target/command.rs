//! Runs a command that a target names in its listening line: alone, from another folder, under a
//! deadline. How it ended and what it said are observations.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::instance::{Instance, kill_group};
use super::launcher::set_apart;

/// How long a command of a target may take.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(20);
/// The most that is kept of what it writes to one of its outputs.
const MAX_OUTPUT: u64 = 1 << 20;

/// A command that was run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// The exit code; none when it did not end by itself.
    pub code: Option<i32>,
    /// What it wrote.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
    /// Why there is no exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Ran {
    /// How it ended and its last line on stderr, for messages.
    #[must_use]
    pub fn line(&self) -> String {
        let ended = match (self.code, &self.error) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(error)) => error.clone(),
            (None, None) => "no exit".to_owned(),
        };
        match self.stderr.lines().next() {
            Some(first) => format!("{ended} ({first})"),
            None => ended,
        }
    }
}

impl Instance {
    /// Runs the command of this name with `path` appended; none when the target names no such
    /// command. It need not be running itself.
    pub async fn command(&self, name: &str, path: &Path) -> Option<Ran> {
        let listening = self.listening();
        let (program, arguments) = listening.commands.get(name)?.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).arg(path);
        // From somewhere else than where it was started: what it names has to be named in full.
        command.current_dir("/");
        set_apart(&mut command, &self.setup().env);
        Some(run(command, COMMAND_DEADLINE).await)
    }
}

impl Instance {
    /// Takes its databases back to the schema of a release, while it is stopped; none for a remote
    /// target.
    pub async fn migrate_to(&self, release: &str) -> Option<Ran> {
        let mut command = self.serving()?;
        command.args(["--migrate-to", release]);
        Some(run(command, COMMAND_DEADLINE).await)
    }
}

/// Ends the whole group of a command that is not waited for any more.
pub(super) struct Group(pub(super) Child);

impl Drop for Group {
    fn drop(&mut self) {
        kill_group(&self.0);
    }
}

async fn run(mut command: Command, deadline: Duration) -> Ran {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let failed = |error: String| Ran {
        error: Some(error),
        ..Ran::default()
    };
    let mut group = match command.spawn() {
        Ok(child) => Group(child),
        Err(error) => return failed(format!("it cannot be run: {error}")),
    };
    let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
    let ended = async { tokio::join!(text(stdout), text(stderr), group.0.wait()) };
    match tokio::time::timeout(deadline, ended).await {
        Ok((stdout, stderr, Ok(status))) => Ran {
            code: status.code(),
            stdout,
            stderr,
            error: status.code().is_none().then(|| status.to_string()),
        },
        Ok((_, _, Err(error))) => failed(format!("it cannot be waited for: {error}")),
        Err(_) => failed(format!("not done within {} ms", deadline.as_millis())),
    }
}

/// All of an output up to the bound. Past it the pipe is closed, and whoever writes on is told so.
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

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        set_apart(&mut command, &std::collections::BTreeMap::new());
        command
    }

    #[tokio::test]
    async fn code_and_output_are_told_apart() {
        let ran = run(shell("echo out; echo err >&2; exit 3"), COMMAND_DEADLINE).await;
        assert_eq!((ran.code, ran.error.as_deref()), (Some(3), None));
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.as_str()),
            ("out\n", "err\n")
        );
        assert_eq!(ran.line(), "exit 3 (err)");
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_its_children_and_that_is_told() {
        let begun = std::time::Instant::now();
        let ran = run(shell("sleep 60 & sleep 60"), Duration::from_millis(50)).await;
        assert_eq!(ran.error.as_deref(), Some("not done within 50 ms"));
        assert!(ran.code.is_none() && begun.elapsed() < COMMAND_DEADLINE);
    }

    #[tokio::test]
    async fn endless_output_and_a_program_that_is_not_there_are_results() {
        let ran = run(shell("yes"), COMMAND_DEADLINE).await;
        assert_eq!(ran.stdout.len() as u64, MAX_OUTPUT);
        assert_ne!(ran.code, Some(0), "{}", ran.line());
        let ran = run(Command::new("/no/such/program"), COMMAND_DEADLINE).await;
        assert!(
            ran.line().starts_with("it cannot be run: "),
            "{}",
            ran.line()
        );
    }
}
