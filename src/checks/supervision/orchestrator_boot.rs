//! Gate orchestrator-boot: the orchestrator starts on request only, after the control plane, and a
//! start that fails is reported by the exit code.
//!
//! The target is started with the flag, and again without it; which services run is what their own
//! processes and their own answers show, and the order is that of the system's dates and of the
//! target's events. Then it is started on ports that the harness holds, once that of the
//! orchestrator and once that of a service of the control plane: it has to end, and not with 0.

use std::net::TcpListener;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::stack::{ORCHESTRATOR, Stack, Standing, WITH_ORCHESTRATOR, config};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::StartError;
use crate::violation;

/// Services of the control plane that are started in every boot.
const CONTROL: [&str; 2] = ["memory-engine", "openclaw"];

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The boots that became ready.
    pub boots: Vec<Boot>,
    /// The boots on a port that is taken.
    pub failed: Vec<Failed>,
}

/// A boot that became ready.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Boot {
    /// Whether the orchestrator was asked for.
    pub flag: bool,
    /// How each service stood, control plane first; none when the target does not list it.
    pub standings: Vec<(String, Option<Standing>)>,
    /// Whose starts the target announces, in order.
    pub announced: Vec<String>,
    /// Whether the first line of the target names the orchestrator.
    pub listed: bool,
    /// What the orchestrator itself said.
    pub answered: Option<Sent>,
}

/// A boot on a port that is taken.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Failed {
    /// Whose port.
    pub service: String,
    /// Whether it became ready all the same.
    pub ready: bool,
    /// The exit code; none when it was ended or became ready.
    pub code: Option<i32>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["boots_with_flag", "boots_without_flag", "failed_boots"] {
        judgement.exercised(counter, 0);
    }
    for boot in &seen.boots {
        let counter = if boot.flag {
            "boots_with_flag"
        } else {
            "boots_without_flag"
        };
        let control = boot.standings.iter().take(CONTROL.len());
        let runs = |(_, standing): &(String, Option<Standing>)| {
            standing.as_ref().is_some_and(|now| now.process.is_some())
        };
        // A boot says something of the orchestrator when everybody else runs.
        if !control.clone().all(runs) {
            continue;
        }
        judgement.exercised(counter, 1);
        if boot.flag {
            boot.with(&mut judgement);
        } else {
            boot.without(&mut judgement);
        }
    }
    for failed in &seen.failed {
        failed.judge(&mut judgement);
    }
    judgement.detail = format!(
        "{} boots with the flag, {} without it, {} on a taken port, which ended with {:?}",
        judgement.exercised["boots_with_flag"],
        judgement.exercised["boots_without_flag"],
        seen.failed.len(),
        seen.failed
            .iter()
            .map(|failed| failed.code)
            .collect::<Vec<_>>()
    );
    judgement
}

impl Boot {
    fn orchestrator(&self) -> Option<&Standing> {
        let own = self.standings.iter().find(|(name, _)| name == ORCHESTRATOR);
        own.and_then(|(_, standing)| standing.as_ref())
    }

    fn with(&self, judgement: &mut Judgement) {
        let process = self.orchestrator().and_then(|standing| standing.process);
        let name = self
            .answered
            .as_ref()
            .map(|sent| sent.answer["service"].clone());
        let answers = name.as_ref().is_some_and(|name| name == ORCHESTRATOR);
        let Some(process) = process.filter(|_| self.listed && answers) else {
            violation!(
                judgement,
                "with the flag: got no orchestrator that runs, is listed and answers, expected one"
            );
            return;
        };
        for (name, standing) in &self.standings[..CONTROL.len()] {
            let other = standing.as_ref().and_then(|standing| standing.process);
            let started = other.map_or(0, |other| other.started_ticks);
            judgement.expect(process.started_ticks >= started, || {
                let got = process.started_ticks;
                format!("the process of the orchestrator was started at {got}, that of {name} at {started}, expected {name} first")
            });
            let place = |name: &str| self.announced.iter().position(|one| one == name);
            let (first, second) = (place(name), place(ORCHESTRATOR));
            judgement.expect(first.is_some() && first < second, || {
                let got = &self.announced;
                format!("started events: got {got:?}, expected {name} before the orchestrator")
            });
        }
    }

    fn without(&self, judgement: &mut Judgement) {
        let runs = self
            .orchestrator()
            .is_some_and(|standing| standing.pid.is_some());
        let announced = self.announced.iter().any(|name| name == ORCHESTRATOR);
        judgement.expect(!runs && !self.listed && !announced, || {
            format!(
                "without the flag: got an orchestrator (process {runs}, listed {}, announced {announced}), expected none",
                self.listed
            )
        });
    }
}

impl Failed {
    fn judge(&self, judgement: &mut Judgement) {
        let service = &self.service;
        if self.ready {
            violation!(
                judgement,
                "the port of {service} is taken: got a boot that is ready, expected an exit code that is not 0"
            );
        } else {
            judgement.expect(self.code != Some(0), || {
                format!("the port of {service} is taken: got exit code 0, expected another one")
            });
        }
        judgement.exercised("failed_boots", u64::from(self.ready || self.code.is_some()));
    }
}

/// Drives it.
///
/// # Errors
/// When a target does not start that should.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    // One data directory: that it was asked for once is not remembered.
    let patch = json!({"supervisor": {"probe_interval_ms": 1000}});
    let setup = cx.setup(config(&CONTROL, patch));
    let mut after = 0;
    for flag in [true, false] {
        let mut setup = setup.clone();
        setup.args.push("--supervise".to_owned());
        setup
            .args
            .extend(flag.then(|| WITH_ORCHESTRATOR.to_owned()));
        let mut stack = Stack::of(cx.start_with(setup).await?);
        let (boot, last) = boot(&stack, flag, after).await;
        after = last;
        seen.boots.push(boot);
        stack.instance.kill().await?;
    }
    for service in [ORCHESTRATOR, CONTROL[0]] {
        seen.failed.push(failed(cx, service).await?);
    }
    Ok(())
}

/// A boot, and the number of its last event; those up to `after` are of the boot before.
async fn boot(stack: &Stack, flag: bool, after: u64) -> (Boot, u64) {
    let mut boot = Boot {
        flag,
        listed: stack
            .instance
            .listening()
            .services
            .contains_key(ORCHESTRATOR),
        ..Boot::default()
    };
    for service in CONTROL.into_iter().chain([ORCHESTRATOR]) {
        let standing = stack.standing(service).await;
        boot.standings.push((service.to_owned(), standing));
    }
    if let Some(standing) = boot.orchestrator().filter(|_| flag) {
        boot.answered = Some(stack.healthz(ORCHESTRATOR, standing).await);
    }
    let (announced, last) = stack.started(after).await;
    boot.announced = announced;
    (boot, last.unwrap_or(after))
}

/// Starts a target whose service cannot have its port: the harness listens there.
async fn failed(cx: &mut Cx, service: &str) -> Result<Failed, Undecided> {
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port();
    let patch = json!({"services": {service: {"port": port}}});
    let mut setup = cx.setup(config(&CONTROL, patch));
    setup
        .args
        .extend(["--supervise", WITH_ORCHESTRATOR].map(str::to_owned));
    let _span = cx.span("start on a taken port");
    let (ready, code) = match cx.launcher.start(setup).await {
        Ok(_) => (true, None),
        Err(StartError::Exited { status, .. }) => (false, status.code()),
        Err(error) => return Err(error.into()),
    };
    Ok(Failed {
        service: service.to_owned(),
        ready,
        code,
    })
}

#[cfg(test)]
#[path = "orchestrator_boot_tests.rs"]
mod tests;
