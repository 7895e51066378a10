//! A running target: killed, stopped, started again on the same data, asked whether it lives.
//! Whatever happens, its whole process group is gone when the instance is dropped.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Child;

use super::client::{Client, Line};
use super::incident::Incident;
use super::keys::Credential;
use super::launcher::{
    Half, Plan, Running, Setup, StartError, serving, spawn, spawn_listening, write_config,
};
use super::listening::Listening;
use crate::base::files::write_atomically;

/// How long a target may take to end after SIGTERM.
pub const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Why a target could not be stopped as asked.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// There is no process of ours: it is remote, or it was stopped before.
    #[error("there is no process to stop")]
    NoProcess,
    /// SIGTERM was not enough; it was killed.
    #[error("still running {} ms after SIGTERM", .0.as_millis())]
    StillRunning(Duration),
    /// The system refused.
    #[error("cannot wait for the target: {0}")]
    Wait(#[from] io::Error),
}

/// How a file gets another content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Another file takes its name: it is the old one or the new one, never half of one.
    Rename,
    /// It is cut to nothing and written from the start.
    InPlace,
    /// It is deleted, and made again.
    Anew,
}

/// A target that was started, and may have been stopped since.
pub struct Instance {
    plan: Option<Plan>,
    setup: Setup,
    line: Arc<Line>,
    process: Option<Running>,
    /// How the last process ended.
    ended: Option<ExitStatus>,
}

impl Instance {
    pub(super) fn running(plan: Plan, setup: Setup, running: Running) -> Self {
        let line = Self::line(&setup, running.listening.clone());
        Self {
            plan: Some(plan),
            setup,
            line,
            process: Some(running),
            ended: None,
        }
    }

    pub(super) fn remote(listening: Listening, setup: Setup) -> Self {
        let line = Self::line(&setup, listening);
        Self {
            plan: None,
            setup,
            line,
            process: None,
            ended: None,
        }
    }

    fn line(setup: &Setup, listening: Listening) -> Arc<Line> {
        let seed = setup.seed.child("correlation ids");
        Arc::new(Line::new(listening, setup.keys.clone(), setup.clock, seed))
    }

    /// Addresses, databases and chains, as the running process printed them.
    #[must_use]
    pub fn listening(&self) -> Arc<Listening> {
        self.line.listening()
    }

    /// A client under this credential. It survives restarts of the instance.
    #[must_use]
    pub fn client(&self, credential: Credential) -> Client {
        Client::new(Arc::clone(&self.line), credential)
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(|running| running.child.id())
    }

    /// The command that serves on its data, as it is started; none of a remote target.
    pub(super) fn serving(&self) -> Option<tokio::process::Command> {
        self.plan.as_ref().map(|plan| serving(plan, &self.setup))
    }

    /// What it was set up with, the current config included.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// How the process ended, if it did. An end that nobody asked for becomes an incident.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if let Some(running) = &mut self.process
            && let Ok(Some(status)) = running.child.try_wait()
        {
            self.setup.incidents.push(Incident::ExitedUnasked {
                at_us: self.setup.clock.now_us(),
                status: status.to_string(),
                stderr_tail: running.stderr.tail(),
            });
            self.ended = Some(status);
            self.process = None;
        }
        if self.process.is_some() {
            None
        } else {
            self.ended
        }
    }

    /// SIGKILL to the whole process group, and waits until the process is gone. Nothing to do
    /// when it has ended already (which is then an incident).
    ///
    /// # Errors
    /// [`StopError::NoProcess`] for a remote target.
    pub async fn kill(&mut self) -> Result<(), StopError> {
        if self.plan.is_none() {
            return Err(StopError::NoProcess);
        }
        self.exited();
        if let Some(mut running) = self.process.take() {
            kill_group(&running.child);
            self.ended = Some(running.child.wait().await?);
        }
        Ok(())
    }

    /// SIGSTOP to the whole process group: it stands still, whatever it is doing.
    ///
    /// # Errors
    /// [`StopError::NoProcess`] when there is none.
    pub fn pause(&self) -> Result<(), StopError> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT to the whole process group: it goes on as if no time had passed.
    ///
    /// # Errors
    /// [`StopError::NoProcess`] when there is none.
    pub fn resume(&self) -> Result<(), StopError> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), StopError> {
        let running = self.process.as_ref().ok_or(StopError::NoProcess)?;
        let group = pid_of(&running.child).ok_or(StopError::NoProcess)?;
        killpg(group, signal).map_err(|error| StopError::Wait(error.into()))
    }

    /// Has the kernel refuse every write of the process beyond so many bytes of a file, as a full
    /// disk would; none lifts that. A process that does not ignore SIGXFSZ is ended by it: see
    /// [`Setup::through`].
    ///
    /// # Errors
    /// When there is no process, or no `prlimit`.
    pub async fn limit_files(&self, bytes: Option<u64>) -> io::Result<()> {
        let pid = self
            .pid()
            .ok_or_else(|| io::Error::other(StopError::NoProcess))?;
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let output = tokio::process::Command::new("prlimit")
            .args(["--pid", &pid.to_string()])
            .arg(format!("--fsize={limit}:unlimited"))
            .kill_on_drop(true)
            .output()
            .await?;
        match output.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "prlimit: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ))),
        }
    }

    /// SIGTERM, and waits for the end. One that does not come is an incident, and SIGKILL.
    ///
    /// # Errors
    /// See [`StopError`].
    pub async fn terminate(&mut self) -> Result<ExitStatus, StopError> {
        self.exited();
        let mut running = self.process.take().ok_or(StopError::NoProcess)?;
        if let Some(pid) = pid_of(&running.child) {
            // Gone in this instant: the wait below tells how.
            let _ = kill(pid, Signal::SIGTERM);
        }
        match tokio::time::timeout(STOP_DEADLINE, running.child.wait()).await {
            Ok(status) => {
                let status = status?;
                self.ended = Some(status);
                Ok(status)
            }
            Err(_) => {
                let error = StopError::StillRunning(STOP_DEADLINE);
                let (at_us, why) = (self.setup.clock.now_us(), error.to_string());
                self.setup
                    .incidents
                    .push(Incident::DidNotStop { at_us, why });
                kill_group(&running.child);
                self.ended = Some(running.child.wait().await?);
                Err(error)
            }
        }
    }

    /// Closes the target's stdin, which tells it that its parent is gone, and waits for the end.
    ///
    /// # Errors
    /// See [`StopError`].
    pub async fn hang_up(&mut self) -> Result<ExitStatus, StopError> {
        self.exited();
        let running = self.process.as_mut().ok_or(StopError::NoProcess)?;
        drop(running.stdin.take());
        let status = tokio::time::timeout(STOP_DEADLINE, running.child.wait())
            .await
            .map_err(|_| StopError::StillRunning(STOP_DEADLINE))??;
        self.process = None;
        self.ended = Some(status);
        Ok(status)
    }

    /// Starts it again on the same data directory, after it was stopped. Clients find the new
    /// ports. A start that fails through the target is an incident.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Panics
    /// When it is still running: two processes must never share a data directory.
    pub async fn start_again(&mut self) -> Result<(), StartError> {
        let started = self.start_or_refuse().await;
        self.noted(started)
    }

    /// A start that fails through the target is an incident.
    fn noted<T>(&self, started: Result<T, StartError>) -> Result<T, StartError> {
        if let Err(error) = &started
            && error.by_target()
        {
            let (at_us, why) = (self.setup.clock.now_us(), error.to_string());
            let incident = Incident::DidNotStart { at_us, why };
            self.setup.incidents.push(incident);
        }
        started
    }

    /// Starts it again and waits only until it listens: clients find the new ports, and what they
    /// are answered before it is ready is for the caller to see.
    ///
    /// # Errors
    /// See [`StartError`]; a start that fails through the target is an incident.
    ///
    /// # Panics
    /// When it is still running.
    pub async fn start_listening(&mut self) -> Result<Starting<'_>, StartError> {
        let plan = self.stopped()?;
        let half = self.noted(spawn_listening(&plan, &self.setup).await)?;
        self.line.moved(half.listening().clone());
        Ok(Starting {
            instance: self,
            half,
        })
    }

    /// How it is made again.
    fn stopped(&mut self) -> Result<Plan, StartError> {
        self.exited();
        assert!(
            self.process.is_none(),
            "the target is started again while it runs"
        );
        self.plan.clone().ok_or(StartError::Remote)
    }

    /// Like [`Instance::start_again`] on data that a target may rightly refuse: a start that fails
    /// is for the caller to judge, and no incident.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Panics
    /// When it is still running.
    pub async fn start_or_refuse(&mut self) -> Result<(), StartError> {
        let plan = self.stopped()?;
        let running = spawn(&plan, &self.setup).await?;
        self.line.moved(running.listening.clone());
        self.process = Some(running);
        self.ended = None;
        Ok(())
    }

    /// Like [`Instance::start_again`], with another complete config.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_again_with(&mut self, config: Value) -> Result<(), StartError> {
        self.setup.config = config;
        write_config(&self.setup)?;
        self.start_again().await
    }

    /// Gives the config file of the running target another content, whatever it is worth.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write_config(&self, text: &[u8], how: Writing) -> io::Result<()> {
        let file = self.setup.config_file();
        match how {
            Writing::Rename => write_atomically(&file, text),
            Writing::InPlace => std::fs::write(&file, text),
            Writing::Anew => {
                std::fs::remove_file(&file)?;
                std::fs::write(&file, text)
            }
        }
    }

    /// The config that the file holds now, for the next start.
    pub fn edited(&mut self, config: Value) {
        self.setup.config = config;
    }

    /// What its processes wrote to stderr so far.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn stderr(&self) -> io::Result<String> {
        let bytes = std::fs::read(self.setup.stderr_log())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A target that listens and is not ready yet; it is gone when this is dropped.
pub struct Starting<'a> {
    instance: &'a mut Instance,
    half: Half,
}

impl Starting<'_> {
    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        self.half.listening()
    }

    /// SIGKILL to the whole process group, and waits until the process is gone.
    pub async fn kill(self) {
        self.half.kill().await;
    }

    /// Waits until it is ready. One that never is, is an incident.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn ready(self) -> Result<(), StartError> {
        let Self { instance, half } = self;
        let ready = half.ready(&instance.setup).await;
        instance.process = Some(instance.noted(ready)?);
        instance.ended = None;
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.exited();
        if let Some(running) = &self.process {
            // kill_on_drop ends and reaps the child; its own children are in its group.
            kill_group(&running.child);
        }
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .map(Pid::from_raw)
}

/// SIGKILL to the process group of a child that is not reaped yet (so its id is still its own).
pub(super) fn kill_group(child: &Child) {
    if let Some(group) = pid_of(child) {
        // Gone already is what is wanted.
        let _ = killpg(group, Signal::SIGKILL);
    }
}
