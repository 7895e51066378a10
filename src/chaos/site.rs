//! What driving takes: a seed, a clock, doubles, a way to start targets and to wait for
//! conditions, and a record of where the time went. Gates and drills stand on it alike.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::json::merge;
use crate::base::{Clock, Seed};
use crate::contract::routes;
use crate::doubles::{Double, Kind};
use crate::target::{Incident, Incidents, Instance, Keys, Launcher, Setup};

/// How often a condition is looked at while it is awaited.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A part of a drive's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// What was done: `start`, `storm`, `wait for degraded`.
    pub name: String,
    /// When it began, on the clock of the run.
    pub from_us: u64,
    /// When it ended.
    pub to_us: u64,
}

/// Where targets are started and driven.
pub struct Site {
    /// Drives workload, order and ids.
    pub seed: Seed,
    /// The clock of the run.
    pub clock: Clock,
    /// Starts the target.
    pub launcher: Launcher,
    /// A temporary folder.
    pub dir: PathBuf,
    /// Stands in for the model backend.
    pub models: Double,
    /// Stands in for the tool backend.
    pub tools: Double,
    incidents: Incidents,
    spans: Arc<Mutex<Vec<Span>>>,
    started: u32,
}

/// Notes a span when it is dropped.
pub struct Timing {
    name: String,
    from_us: u64,
    clock: Clock,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Drop for Timing {
    fn drop(&mut self) {
        let span = Span {
            name: std::mem::take(&mut self.name),
            from_us: self.from_us,
            to_us: self.clock.now_us(),
        };
        self.spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(span);
    }
}

impl Site {
    /// Opens the doubles and makes the folder.
    ///
    /// # Errors
    /// Without a folder or a port.
    pub async fn open(
        seed: Seed,
        clock: Clock,
        launcher: Launcher,
        dir: PathBuf,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self {
            seed,
            clock,
            launcher,
            dir,
            models: Double::start(Kind::Models, clock).await?,
            tools: Double::start(Kind::Tools, clock).await?,
            incidents: Incidents::default(),
            spans: Arc::default(),
            started: 0,
        })
    }

    /// The config every target of this drive gets before the patch: ports 0, the doubles as
    /// backends, the harness's key file, no rate limit (a 429 is not exercise), breakers that do not
    /// stay open for long, and no look at what the tools did.
    #[must_use]
    pub fn base_config(&self, dir: &std::path::Path) -> Value {
        let port = |name| (name, json!({"port": 0}));
        let services: BTreeMap<_, _> = routes::services().into_iter().map(port).collect();
        json!({
            "services": services,
            "backends": {
                "models": {"url": self.models.url()},
                "tools": {"url": self.tools.url()},
            },
            "auth": {
                "key_file": Setup::key_file(dir),
                "identity_db": Setup::data(dir).join("identity.db"),
            },
            "audit": {"key_file": Setup::audit_key_file(dir)},
            "rate_limit": {"enabled": false},
            // Whoever takes something down and up again wants it to be used again soon.
            "breaker": {"open_ms": 200},
            // The doubles do nothing in the world: who looks whether they did says so.
            "tools": {"verify": {}},
        })
    }

    /// A fresh target: its own folder, its own process, the base config merged with `patch`
    /// (RFC 7386). One that does not start is an incident, which every judge gets to see.
    ///
    /// # Errors
    /// When there is no target to drive.
    pub async fn start(&mut self, patch: Value) -> anyhow::Result<Instance> {
        let setup = self.setup(patch);
        self.start_with(setup).await
    }

    /// What [`Site::start`] starts with, for a drive that changes more of it.
    pub fn setup(&mut self, patch: Value) -> Setup {
        let number = self.started;
        self.started += 1;
        let dir = self.dir.join(format!("target-{number}"));
        let mut config = self.base_config(&dir);
        merge(&mut config, &patch);
        let seed = self.seed.child(&format!("target {number}"));
        let data = Setup::data(&dir);
        Setup {
            dir,
            data,
            config,
            args: Vec::new(),
            through: Vec::new(),
            env: BTreeMap::new(),
            keys: Keys::new(seed),
            clock: self.clock,
            seed,
            incidents: self.incidents.clone(),
        }
    }

    /// Starts a target with this setup.
    ///
    /// # Errors
    /// When there is no target to drive.
    pub async fn start_with(&mut self, setup: Setup) -> anyhow::Result<Instance> {
        let _span = self.span("start");
        match self.launcher.start(setup).await {
            Ok(instance) => Ok(instance),
            Err(error) => {
                if error.by_target() {
                    let (at_us, why) = (self.clock.now_us(), error.to_string());
                    self.incidents.push(Incident::DidNotStart { at_us, why });
                }
                Err(error.into())
            }
        }
    }

    /// Asks `poll` until it gives a value, at most `bound` long. Polling never changes what is
    /// observed; a drive that must judge the absence itself records it before it returns.
    ///
    /// (`poll` is no async closure: the future of a drive could not be proven to be `Send` then.)
    ///
    /// # Errors
    /// Names what was awaited.
    pub async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        bound: Duration,
        mut poll: impl FnMut() -> F,
    ) -> anyhow::Result<T> {
        let _span = self.span(&format!("wait for {what}"));
        let end = tokio::time::Instant::now() + bound;
        loop {
            if let Some(value) = poll().await {
                return Ok(value);
            }
            if tokio::time::Instant::now() >= end {
                bail!("no {what} within {} ms", bound.as_millis());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Notes how long something takes: from now until the returned value is dropped.
    #[must_use]
    pub fn span(&self, name: &str) -> Timing {
        Timing {
            name: name.to_owned(),
            from_us: self.clock.now_us(),
            clock: self.clock,
            spans: Arc::clone(&self.spans),
        }
    }

    /// Where the time went.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What the targets did unasked.
    #[must_use]
    pub fn incidents(&self) -> Vec<Incident> {
        self.incidents.all()
    }
}
