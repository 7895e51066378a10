//! A supervised target, and what it says of itself: how everybody is, and what happened.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::{Cx, Sent, Undecided};
use crate::contract::events::{Event, Events};
use crate::contract::supervision::{Graph, HealthAll, ServiceHealth};
use crate::contract::{self, Body};
use crate::target::process::{Process, now_ticks};
use crate::target::{Ask, Client, Credential, Instance};

/// The supervisor.
pub(super) const EVA: &str = "eva-os";
/// The agent that is started on request only.
pub(super) const ORCHESTRATOR: &str = "orchestrator";
/// What asks for it.
pub(super) const WITH_ORCHESTRATOR: &str = "--with-orchestrator";
/// How long anything may take that has to happen: more than ten times what the configs here say.
pub(super) const BOUND: Duration = Duration::from_secs(10);
/// How often services are asked how they are.
pub(super) const PROBE_INTERVAL_MS: u64 = 20;
/// How long one may take to say so. A machine that is busy is no failed probe.
const PROBE_TIMEOUT_MS: u64 = 10_000;
/// What has to be seen of one service.
const KINDS: [&str; 6] = [
    "supervision.started",
    "supervision.degraded",
    "supervision.unreachable",
    "supervision.restarted",
    "supervision.healthy",
    "supervision.restart.exhausted",
];

/// An event about one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Its number.
    pub seq: u64,
    /// Its type without `supervision.`, such as `restarted`.
    pub kind: String,
    /// The service.
    pub service: String,
}

/// How one service stood at a look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What the target says.
    pub state: String,
    /// Its process, as the target says.
    pub pid: Option<u32>,
    /// Where it is.
    pub url: Option<String>,
    /// How far its restart is.
    pub restart: String,
    /// The process of that id as the system shows it, when it is one that the target started.
    pub process: Option<Process>,
    /// When that was, in ticks of the system.
    pub at_ticks: u64,
}

impl Standing {
    fn new(health: &ServiceHealth, instance: &Instance) -> Self {
        let ours = |pid: &u32| instance.is_parent_of(*pid);
        Self {
            state: health.state.clone(),
            pid: health.pid,
            url: health.url.clone(),
            restart: health.restart.clone(),
            process: health.pid.filter(ours).and_then(Process::of),
            at_ticks: now_ticks().unwrap_or_default(),
        }
    }
}

/// A supervised target.
pub(super) struct Stack {
    pub(super) instance: Instance,
    pub(super) client: Client,
}

/// What a supervised target of these services is configured with, apart from `patch`.
pub(super) fn config(services: &[&str], patch: Value) -> Value {
    let mut config = json!({"supervisor": {
        "services": services,
        "probe_interval_ms": PROBE_INTERVAL_MS,
        "probe_timeout_ms": PROBE_TIMEOUT_MS,
    }});
    crate::base::json::merge(&mut config, &patch);
    config
}

impl Stack {
    /// Starts one; `--supervise` and these arguments.
    pub(super) async fn start(
        cx: &mut Cx,
        config: Value,
        arguments: &[&str],
    ) -> Result<Self, Undecided> {
        let mut setup = cx.setup(config);
        setup.args.push("--supervise".to_owned());
        setup
            .args
            .extend(arguments.iter().map(|one| (*one).to_owned()));
        Ok(Self::of(cx.start_with(setup).await?))
    }

    pub(super) fn of(instance: Instance) -> Self {
        let client = instance.client(Credential::Operator(1));
        Self { instance, client }
    }

    /// How everybody is; none when the answer is none of the contract.
    pub(super) async fn health(&self) -> Option<HealthAll> {
        let exchange = self.client.send(Ask::get(EVA, "/health/all")).await;
        let body: Body<HealthAll> = contract::read(exchange.answered()).ok()?;
        exchange.ok().then_some(body.data)
    }

    /// Who is supervised; none when the answer is none of the contract.
    pub(super) async fn graph(&self) -> Option<Graph> {
        let path = "/v1/supervision/dependency-graph";
        let exchange = self.client.send(Ask::get(EVA, path)).await;
        let body: Body<Graph> = contract::read(exchange.answered()).ok()?;
        exchange.ok().then_some(body.data)
    }

    /// How this service is; none when nobody says.
    pub(super) async fn standing(&self, service: &str) -> Option<Standing> {
        let health = self.health().await?;
        Some(Standing::new(health.of(service)?, &self.instance))
    }

    /// Looks until `wanted` is seen; the last look in any case, which may be another one.
    pub(super) async fn watch(
        &self,
        cx: &Cx,
        service: &str,
        bound: Duration,
        wanted: impl Fn(&Standing) -> bool,
    ) -> Option<Standing> {
        let last = std::sync::Mutex::new(None);
        let look = || async {
            let seen = self.standing(service).await;
            let done = seen.as_ref().is_some_and(&wanted);
            if seen.is_some() {
                *last
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = seen;
            }
            done.then_some(())
        };
        // Its absence is judged by what is seen last.
        drop(
            cx.until(&format!("what becomes of {service}"), bound, look)
                .await,
        );
        last.into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn all_events(&self, after: u64) -> Vec<Event> {
        let path = format!("/v3/events?after={after}");
        let exchange = self.client.send(Ask::get(EVA, &path)).await;
        let page = contract::read::<Body<Events>>(exchange.answered());
        page.map(|page| page.data.events).unwrap_or_default()
    }

    /// Whose first starts were announced after an event of this number, in order, and the number
    /// of the last event.
    pub(super) async fn started(&self, after: u64) -> (Vec<String>, Option<u64>) {
        let events = self.all_events(after).await;
        let started = events
            .iter()
            .filter(|event| event.kind == "supervision.started");
        let names = started.filter_map(|event| event.data["service"].as_str());
        (
            names.map(str::to_owned).collect(),
            events.last().map(|event| event.seq),
        )
    }

    /// What happened to this service after an event of this number.
    pub(super) async fn events(&self, service: &str, after: u64) -> Vec<Happened> {
        let events = self.all_events(after).await;
        let of_service = |event: &Event| {
            let own = event.data["service"] == service && KINDS.contains(&event.kind.as_str());
            let kind = event.kind.rsplit('.').next().unwrap_or_default();
            own.then(|| Happened {
                seq: event.seq,
                kind: kind.to_owned(),
                service: service.to_owned(),
            })
        };
        events.iter().filter_map(of_service).collect()
    }

    /// Asks a service itself how it is, where the target says that it is.
    pub(super) async fn healthz(&self, service: &str, at: &Standing) -> Sent {
        let ask = Ask::get(service, "/healthz");
        let ask = match &at.url {
            Some(url) => ask.at(url),
            None => ask,
        };
        Sent::new(&self.client.send(ask).await, self.client.credential())
    }
}

/// The kinds of events, in order.
pub(super) fn kinds(events: &[Happened]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

/// How many of them are of this kind.
pub(super) fn count(events: &[Happened], kind: &str) -> u64 {
    events.iter().filter(|event| event.kind == kind).count() as u64
}
