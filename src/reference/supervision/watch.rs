//! One service, watched: waits for what comes next, steps the machine, and does what it says. All
//! that is decided is decided in `machine`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::budgets::Spent;
use super::machine::{Action, Event, Observation, Restart, Stepped};
use super::spawn::{Plan, Process};
use super::state;
use super::table::Row;
use super::watched::{Supervision, Watched};
use crate::reference::config::Supervisor as Settings;
use crate::reference::ids;
use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::time::Timestamp;

/// Watches one service.
pub(super) struct Watch {
    pub(super) svc: Arc<Service>,
    pub(super) all: Arc<Supervision>,
    pub(super) own: Arc<Watched>,
    pub(super) plan: Arc<Plan>,
    pub(super) process: Option<Box<dyn Process>>,
    /// When the next probe is due.
    pub(super) next_probe: Instant,
    /// Until when the process that was made has to be ready.
    pub(super) ready_by: Instant,
}

impl Watch {
    /// Watches until it is told to stop; the process is ended then.
    pub(super) async fn run(mut self, mut stop: tokio::sync::watch::Receiver<bool>) {
        loop {
            let own = Arc::clone(&self.own);
            let seen = tokio::select! {
                // A sender that is gone stops us as well.
                _ = stop.wait_for(|stop| *stop) => break,
                () = own.asked.notified() => Observation::Asked,
                () = own.resumed.notified() => Observation::Resumed,
                seen = self.next() => seen,
            };
            self.take(seen).await;
        }
        let patience = self.patience();
        if let Some(process) = &mut self.process {
            process.end(patience).await;
        }
    }

    fn settings(&self) -> Settings {
        self.svc.config().supervisor.clone()
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.svc.config().supervisor.stop_timeout_ms)
    }

    /// What comes next by itself. It may be given up at any moment and asked for again.
    async fn next(&mut self) -> Observation {
        loop {
            let state = self.own.shown().state;
            if matches!(state.restart, Restart::Starting { .. }) {
                return self.readiness().await;
            }
            let (probed, restart) = (state.is_probed(), state.restart);
            let (next_probe, svc) = (self.next_probe, Arc::clone(&self.svc));
            tokio::select! {
                () = ended(&mut self.process) => {
                    self.process = None;
                    self.own.show(|shown| shown.pid = None);
                }
                () = until(&svc, restart) => return Observation::Due,
                () = tokio::time::sleep_until(next_probe), if probed => return self.probe().await,
            }
        }
    }

    async fn readiness(&mut self) -> Observation {
        let patience = self.patience();
        let Some(process) = &mut self.process else {
            return Observation::NotReady("there is no process".to_owned());
        };
        match tokio::time::timeout_at(self.ready_by, process.ready()).await {
            Ok(Ok(line)) => {
                let locate = &self.svc.parts.supervision.locate;
                let url = locate(&self.svc, &self.own.row, &line);
                self.own.show(|shown| shown.url = url);
                self.next_probe = Instant::now();
                Observation::Ready
            }
            Ok(Err(why)) => {
                let ended = tokio::time::timeout(patience, process.ended()).await;
                if ended.is_ok() {
                    self.process = None;
                    self.own.show(|shown| shown.pid = None);
                }
                Observation::NotReady(why)
            }
            Err(_) => Observation::NotReady("it was not ready in time".to_owned()),
        }
    }

    async fn probe(&mut self) -> Observation {
        let settings = &self.svc.config().supervisor;
        let bound = Duration::from_millis(settings.probe_timeout_ms);
        let url = self.own.shown().url;
        let probe = &self.svc.parts.supervision.probe;
        let seen = probe.ask(&self.svc.http, &self.own.row, &url, bound).await;
        // Set when it was asked: a probe that is given up is made again at once.
        self.next_probe = Instant::now() + Duration::from_millis(settings.probe_interval_ms);
        Observation::Probe(seen)
    }

    /// Steps, announces, and does what is to be done, until nothing more is.
    async fn take(&mut self, seen: Observation) {
        let mut seen = VecDeque::from([seen]);
        while let Some(one) = seen.pop_front() {
            let (now, settings) = (self.svc.now(), self.settings());
            let state = self.own.shown().state;
            let step = &self.svc.parts.supervision.step;
            let stepped = step(&state, &one, &settings, self.all.maintenance(), now.us());
            // Written down first: whoever sees the state finds what led to it.
            if let Err(error) = self.keep(&stepped, &settings, now).await {
                tracing::warn!(service = self.own.row.service, %error, "not written down");
                if stepped.actions.iter().any(is_spent) {
                    self.all.set_readable(false);
                    seen.push_back(Observation::Budget(Err(error.to_string())));
                    continue;
                }
            }
            self.own.show(|shown| shown.state = stepped.state);
            for action in stepped.actions {
                seen.extend(self.act(&action).await);
            }
        }
    }

    /// What is spent and what is announced, in one transaction.
    async fn keep(
        &self,
        stepped: &Stepped,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let spent = stepped.actions.iter().filter(|action| is_spent(action));
        let spent: Vec<Action> = spent.cloned().collect();
        if stepped.events.is_empty() && spent.is_empty() {
            return Ok(());
        }
        let service = self.own.row.service;
        let events: Vec<_> = stepped
            .events
            .iter()
            .map(|event| shown(service, event))
            .collect();
        let after_us = now.minus_ms(settings.window_ms).us();
        let budgets = Arc::clone(&self.svc.parts.supervision.budgets);
        let job = move |tx: &mut Tx<'_>| {
            for action in spent {
                if let Action::Spend { number } = action {
                    let at_us = tx.now().us();
                    let restart = Spent {
                        service,
                        at_us,
                        number,
                    };
                    budgets.spend(tx, &restart, after_us)?;
                }
            }
            for (kind, data) in events {
                tx.event(kind, &ids::make("sup_"), data)?;
            }
            Ok(())
        };
        self.svc.store.write(job).await
    }

    async fn act(&mut self, action: &Action) -> Option<Observation> {
        match action {
            Action::Spend { .. } => {
                self.own.show(|shown| shown.spent += 1);
                None
            }
            Action::Consult if !self.own.row.restarted => None,
            Action::Consult => Some(Observation::Budget(self.consult().await)),
            Action::Start => Some(self.start().await),
        }
    }

    async fn consult(&mut self) -> Result<Vec<i64>, String> {
        let budgets = Arc::clone(&self.svc.parts.supervision.budgets);
        let window_ms = self.svc.config().supervisor.window_ms;
        let after_us = self.svc.now().minus_ms(window_ms).us();
        let service = self.own.row.service;
        let read = self
            .svc
            .store
            .read(move |sql| budgets.spent(sql, service, after_us));
        let spent = read.await.map_err(|error| error.to_string());
        self.all.set_readable(spent.is_ok());
        if let Ok(spent) = &spent {
            self.own.show(|shown| shown.spent = spent.len());
        }
        spent
    }

    /// Ends what is left of the old process and makes another one.
    async fn start(&mut self) -> Observation {
        let (patience, service) = (self.patience(), self.own.row.service);
        if let Err(error) = state::forget(&self.svc, service).await {
            tracing::warn!(service, %error, "a request that is being met is still there");
        }
        if let Some(mut old) = self.process.take() {
            old.end(patience).await;
        }
        self.own.show(|shown| shown.pid = None);
        let settings = &self.svc.config().supervisor;
        let spawn = &self.svc.parts.supervision.spawn;
        match spawn.start(&self.plan, service) {
            Err(error) => Observation::NotReady(error.to_string()),
            Ok(process) => {
                let pid = process.pid();
                self.process = Some(process);
                self.own.show(|shown| shown.pid = Some(pid));
                let patience = Duration::from_millis(settings.start_timeout_ms);
                self.ready_by = Instant::now() + patience;
                Observation::Made { pid }
            }
        }
    }
}

fn is_spent(action: &Action) -> bool {
    matches!(action, Action::Spend { .. })
}

/// Where a service is found: where the config says, and else where it says itself.
pub(super) fn address(svc: &Service, row: &Row, line: &Value) -> String {
    let service = row.service;
    let configured = svc
        .config()
        .services
        .get(service)
        .and_then(|at| at.url.clone());
    let said = line["services"][service].as_str().map(str::to_owned);
    configured.or(said).unwrap_or_default()
}

async fn ended(process: &mut Option<Box<dyn Process>>) {
    match process {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

/// Until what is waited for is due.
async fn until(svc: &Service, restart: Restart) {
    let due_us = match restart {
        Restart::Waiting { due_us, .. } => due_us,
        Restart::Exhausted { until_us } => until_us,
        _ => return std::future::pending().await,
    };
    let left = u64::try_from(due_us.saturating_sub(svc.now().us())).unwrap_or(0);
    tokio::time::sleep(Duration::from_micros(left)).await;
}

/// Type and data of an event.
fn shown(service: &str, event: &Event) -> (&'static str, Value) {
    match event {
        Event::Healthy => ("supervision.healthy", json!({"service": service})),
        Event::Degraded { reason } => (
            "supervision.degraded",
            json!({"service": service, "reason": reason}),
        ),
        Event::Unreachable { reason } => (
            "supervision.unreachable",
            json!({"service": service, "reason": reason}),
        ),
        Event::Restarted { pid, number } => (
            "supervision.restarted",
            json!({"service": service, "pid": pid, "number": number}),
        ),
        Event::Exhausted { until_us } => (
            "supervision.restart.exhausted",
            json!({"service": service, "rearmed_at": Timestamp(*until_us).to_string()}),
        ),
        Event::Refused { reason } => (
            "supervision.restart.refused",
            json!({"service": service, "reason": reason}),
        ),
    }
}
