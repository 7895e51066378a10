//! The services as processes of this very program. Each holds the reading end of a pipe whose other
//! end is ours: it closes when we are gone, however that went, and the service ends with it.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

/// How services are started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What starts this program as it was started.
    pub argv: Vec<String>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The config file.
    pub config_file: PathBuf,
}

/// Makes processes.
pub trait Spawn: Send + Sync {
    /// Makes one that hosts this service.
    ///
    /// # Errors
    /// What the system says.
    fn start(&self, plan: &Plan, service: &'static str) -> io::Result<Box<dyn Process>>;
}

/// One process.
pub trait Process: Send + Sync {
    /// Its id.
    fn pid(&self) -> u32;
    /// Its listening line, when it is ready; why it never will be.
    fn ready(&mut self) -> BoxFuture<'_, Result<Value, String>>;
    /// Returns when it has ended.
    fn ended(&mut self) -> BoxFuture<'_, ()>;
    /// Ends it: asked first, and after that time made to.
    fn end(&mut self, patience: Duration) -> BoxFuture<'_, ()>;
}

/// Processes of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processes;

impl Spawn for Processes {
    fn start(&self, plan: &Plan, service: &'static str) -> io::Result<Box<dyn Process>> {
        let (program, arguments) = plan
            .argv
            .split_first()
            .ok_or_else(|| io::Error::other("nobody said how this program is started"))?;
        let mut command = Command::new(program);
        command.args(arguments);
        command.arg("--data").arg(&plan.data_dir);
        command.arg("--config").arg(&plan.config_file);
        command.args(["--service", service, "--with-parent"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        // Taken, not left in the child: waiting for a child closes the stdin that it holds.
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| io::Error::other("its stdout is no pipe"))?;
        let (tell, lines) = oneshot::channel();
        tokio::spawn(read(stdout, tell));
        let pid = child.id().unwrap_or_default();
        tracing::info!(service, pid, "started");
        Ok(Box::new(Own {
            pid,
            child,
            _stdin: stdin,
            lines: Some(lines),
        }))
    }
}

struct Own {
    pid: u32,
    child: Child,
    _stdin: Option<ChildStdin>,
    lines: Option<oneshot::Receiver<Result<Value, String>>>,
}

impl Process for Own {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn ready(&mut self) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(async {
            let Some(lines) = &mut self.lines else {
                return Err("it was ready before".to_owned());
            };
            let told = lines.await;
            self.lines = None;
            told.unwrap_or_else(|_| Err("nobody reads its lines".to_owned()))
        })
    }

    fn ended(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Err(error) = self.child.wait().await {
                tracing::warn!(pid = self.pid, %error, "cannot wait for a service");
            }
        })
    }

    fn end(&mut self, patience: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
            let Some(pid) = pid else { return };
            // Gone in this instant is what is wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            if tokio::time::timeout(patience, self.child.wait())
                .await
                .is_err()
                && let Err(error) = self.child.kill().await
            {
                tracing::warn!(pid, %error, "a service cannot be ended");
            }
        })
    }
}

/// Two lines, and then whatever else it says to nobody: it must never block on a full pipe.
async fn read(stdout: ChildStdout, tell: oneshot::Sender<Result<Value, String>>) {
    let mut lines = BufReader::new(stdout).lines();
    let mut next = async || -> Result<Value, String> {
        match lines.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line).map_err(|error| error.to_string()),
            Ok(None) => Err("it ended before it was ready".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    };
    let listening = next().await;
    let told = match listening {
        Err(why) => Err(why),
        Ok(listening) => next().await.map(|_ready| listening),
    };
    // Whoever does not want to know any more has given it up.
    let _ = tell.send(told);
    while let Ok(Some(_)) = lines.next_line().await {}
}

/// Whether a process of that id runs; one that has ended and waits for somebody to notice does not.
pub fn runs(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The name in parentheses may hold anything; the state follows the last one.
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !state.starts_with(['Z', 'X'])
}
