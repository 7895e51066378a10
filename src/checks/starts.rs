//! Starts that a target may rightly refuse: how each ended, and whether its port was open meanwhile.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::checks::Undecided;
use crate::target::{Instance, Launcher, Setup, StartError};

/// How often a port is tried while its target starts.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// How long one try may take.
const LOOK_TIMEOUT: Duration = Duration::from_millis(200);
/// Whose port is tried; it is bound before the others.
pub(crate) const WATCHED: &str = "api-gateway";

/// How a start ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is ready.
    Ready,
    /// It ended: the exit code, none when a signal ended it.
    Exited(Option<i32>),
    /// Neither: what happened instead.
    Stuck(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Exited(Some(code)) => write!(f, "exit code {code}"),
            Self::Exited(None) => f.write_str("ended by a signal"),
            Self::Stuck(why) => f.write_str(why),
        }
    }
}

/// A start that was watched.
pub(crate) struct Attempt {
    pub(crate) outcome: Outcome,
    /// How often the port was tried until then.
    pub(crate) looks: u64,
    /// How often somebody was there.
    pub(crate) reached: u64,
    /// What started, if anything did.
    pub(crate) target: Option<Instance>,
}

/// A loopback address that no other process has a reason to use. It is made of no seed: the same
/// gate may run twice at once under one.
pub(crate) fn own_host() -> Ipv4Addr {
    let mut rng = rand::rng();
    let mut byte = || rng.random_range(1..255);
    Ipv4Addr::new(127, byte(), byte(), byte())
}

/// Gives every service an address of its own on such a host: what answers there is this target.
/// `number` tells the starts of one drive apart.
///
/// # Errors
/// When the config names no service that could be watched.
pub(crate) fn place(setup: &mut Setup, number: u16) -> Result<SocketAddr, Undecided> {
    let host = own_host();
    let mut port = 20_000 + 100 * number;
    let mut watched = None;
    if let Some(services) = setup.config["services"].as_object_mut() {
        for (name, service) in services {
            service["host"] = json!(host);
            service["port"] = json!(port);
            if name == WATCHED {
                watched = Some(SocketAddr::from((host, port)));
            }
            port += 1;
        }
    }
    watched.ok_or_else(|| Undecided(format!("the config names no {WATCHED}")))
}

/// Starts a target and tries this port all the while. A start that fails is no incident.
///
/// # Errors
/// When it fails for a reason that says nothing of the target.
pub(crate) async fn attempt(
    launcher: &Launcher,
    setup: Setup,
    watched: SocketAddr,
) -> Result<Attempt, Undecided> {
    let watch = Watch::begin(watched);
    let started = launcher.start(setup).await;
    let (looks, reached) = watch.end().await?;
    let (outcome, target) = match started {
        Ok(instance) => (Outcome::Ready, Some(instance)),
        Err(StartError::Exited { status, .. }) => (Outcome::Exited(status.code()), None),
        Err(error) if error.by_target() => (Outcome::Stuck(error.to_string()), None),
        Err(error) => return Err(error.into()),
    };
    Ok(Attempt {
        outcome,
        looks,
        reached,
        target,
    })
}

/// Tries a port again and again, on a thread of its own: a runtime that is busy must not keep it
/// from looking. It ends when this is dropped.
struct Watch {
    over: Arc<AtomicBool>,
    counts: JoinHandle<(u64, u64)>,
}

impl Watch {
    fn begin(address: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let counts = tokio::task::spawn_blocking(move || {
            let (mut looks, mut reached) = (0, 0);
            loop {
                // Once more after the end, when the answer is certain.
                let last = stop.load(Ordering::Acquire);
                looks += 1;
                reached += u64::from(TcpStream::connect_timeout(&address, LOOK_TIMEOUT).is_ok());
                if last {
                    return (looks, reached);
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
        });
        Self { over, counts }
    }

    /// How often it looked, and how often somebody was there.
    async fn end(mut self) -> Result<(u64, u64), Undecided> {
        self.over.store(true, Ordering::Release);
        Ok((&mut self.counts).await?)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
    }
}
