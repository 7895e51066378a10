//! A running service, and what all services of a process share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::addresses;
use super::audit::{AuditKey, Break};
use super::backpressure::{Backpressure, Bounds, Lane, Permit, Shed, Ticket};
use super::breaker::Breakers;
use super::config::{Config, LiveConfig};
use super::http::Http;
use super::identity::Identity;
use super::latency::Latencies;
use super::memory::Index;
use super::parts::Parts;
use super::slo::{self, Slo};
use super::store::Store;
use super::supervision::Supervision;
use super::time::Timestamp;
use super::voice;
use super::web::Refusal;

/// One service.
pub struct Service {
    /// Its name, which is also its chain's.
    pub name: &'static str,
    /// Its database.
    pub store: Store,
    /// The seams.
    pub parts: Arc<Parts>,
    /// For calls to other services and to backends.
    pub http: Http,
    /// What was refused before it became a call.
    pub counters: Arc<Counters>,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
}

/// Requests that left no entry in the audit log.
#[derive(Default)]
pub struct Counters {
    /// 401s.
    pub unauthenticated: AtomicU64,
    /// 429s.
    pub rate_limited: AtomicU64,
    /// Non-essential work that was refused while not normal.
    pub shed: AtomicU64,
    /// Inferences that were refused for want of consent.
    pub consent_blocks: AtomicU64,
}

/// What all services of one process share.
pub struct Shared {
    /// The config in force.
    pub config: Arc<LiveConfig>,
    /// Who is who.
    pub identity: Identity,
    /// Base URL of each service, in this process or another; of one whose port is any, none.
    pub peers: BTreeMap<String, String>,
    /// Database file of each service, in this process or another.
    pub databases: BTreeMap<String, PathBuf>,
    /// What the stages of turns took.
    pub latencies: Latencies,
    /// What stands before the dependencies of this process.
    pub breakers: Breakers,
    /// Who waits for what.
    pub queues: Arc<Backpressure>,
    /// What signs checkpoints and bundles, if anything does.
    pub audit_key: Option<AuditKey>,
    /// The services of this process.
    pub hosted: Vec<&'static str>,
    /// What was restored at start, in order.
    pub restored: OnceLock<Vec<Restored>>,
    /// Which backends of speech are there.
    pub voice: voice::Providers,
    broken: Mutex<BTreeMap<String, Break>>,
    slo: OnceLock<Slo>,
    supervision: OnceLock<Arc<Supervision>>,
    memory: OnceLock<Arc<Index>>,
}

/// One stage of the restore.
#[derive(Clone, Debug)]
pub struct Restored {
    /// `sessions`, `confirmations`, `tasks` or `budgets`.
    pub stage: &'static str,
    /// What came back.
    pub rows: i64,
    /// When it began, counted from the begin of the restore.
    pub begun_ms: f64,
    /// How long it took.
    pub duration_ms: f64,
}

impl Restored {
    /// As `/status` shows it.
    pub fn value(&self) -> Value {
        json!({
            "stage": self.stage,
            "rows": self.rows,
            "begun_ms": self.begun_ms,
            "duration_ms": self.duration_ms,
        })
    }
}

impl Shared {
    /// With no chain known to be broken and nothing shed.
    pub fn new(
        config: LiveConfig,
        identity: Identity,
        peers: BTreeMap<String, String>,
        databases: BTreeMap<String, PathBuf>,
        breakers: Breakers,
        audit_key: Option<AuditKey>,
        hosted: Vec<&'static str>,
    ) -> Self {
        Self {
            config: Arc::new(config),
            identity,
            peers,
            databases,
            breakers,
            queues: Arc::default(),
            audit_key,
            hosted,
            latencies: Latencies::default(),
            restored: OnceLock::new(),
            voice: voice::Providers::default(),
            broken: Mutex::default(),
            slo: OnceLock::new(),
            supervision: OnceLock::new(),
            memory: OnceLock::new(),
        }
    }

    /// Remembers that a chain is broken; its mutations are refused until a start finds it whole.
    pub fn mark_broken(&self, broken: &Break) {
        tracing::error!(%broken, "audit chain");
        let mut all = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(broken.chain.clone())
            .or_insert_with(|| broken.clone());
    }

    /// The first break that was found in a chain.
    pub fn broken(&self, chain: &str) -> Option<Break> {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(chain)
            .cloned()
    }

    /// Hands out the vector index; the first one stays.
    pub fn set_memory(&self, index: Arc<Index>) {
        let _ = self.memory.set(index);
    }

    /// The vector index, where memory-engine is hosted; it is there before the first request is.
    pub fn memory(&self) -> Option<&Arc<Index>> {
        self.memory.get()
    }

    /// Hands out the SLO machine to all services; the first one stays.
    pub fn set_slo(&self, slo: Slo) {
        let _ = self.slo.set(slo);
    }

    /// Says who is supervised by this process; the first one stays.
    pub fn set_supervision(&self, supervision: Arc<Supervision>) {
        let _ = self.supervision.set(supervision);
    }

    /// Who is supervised by this process, if it supervises anybody.
    pub fn supervision(&self) -> Option<&Arc<Supervision>> {
        self.supervision.get()
    }
}

impl Service {
    /// The config in force.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config.current()
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Base URL of another service. One that has another address after each start is where it
    /// said last that it is; empty when it never did.
    pub fn peer(&self, name: &str) -> String {
        let noted = || {
            let data_dir = self.shared.databases.get(name)?.parent()?;
            Some(addresses::read(data_dir, name)?.url)
        };
        let configured = self.shared.peers.get(name).cloned();
        configured.or_else(noted).unwrap_or_default()
    }

    /// The client for calls of a dependency: they pass its breaker, if it has one.
    pub fn toward(&self, dependency: &str) -> Http {
        let breaker = self.shared.breakers.of(dependency);
        self.http.behind(breaker.cloned())
    }

    /// Takes a place in a queue, in the order of the calls.
    pub fn queue(&self, lane: Lane) -> Ticket {
        let bounds = Bounds::of(&lane, &self.config());
        self.shared.queues.join(lane, bounds, self.parts.queues)
    }

    /// A place in a queue for what is resumed, which comes again as the newest when it is shed:
    /// nobody would hear of it.
    ///
    /// # Errors
    /// When it was shed to the end.
    pub async fn insist_on(&self, lane: Lane) -> Result<Permit, Shed> {
        self.tries(true, || self.queue(lane.clone())).await
    }

    /// Tries something once. What is resumed is tried again after a pause, for as long as the
    /// configuration says: whoever asked for it has gone, and cannot ask again.
    ///
    /// # Errors
    /// What went wrong last.
    pub async fn tries<T, E, F>(&self, resumed: bool, attempt: impl Fn() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let operations = &self.config().operations;
        let retry = Duration::from_millis(operations.retry_ms);
        let give_up = Instant::now() + Duration::from_millis(operations.give_up_ms);
        loop {
            match attempt().await {
                Err(_) if resumed && Instant::now() + retry < give_up => {
                    tokio::time::sleep(retry).await;
                }
                end => return end,
            }
        }
    }

    /// The SLO machine, where the gateway is hosted; it is there before the first request is.
    pub fn slo(&self) -> Option<&Slo> {
        self.shared.slo.get()
    }

    /// The refusal of a piece of non-essential work (`vision_frame`, `memory_write_low`), if it is
    /// refused just now.
    pub fn shed(&self, kind: &str) -> Option<Refusal> {
        let refused = match self.slo() {
            Some(slo) => slo.refuses(kind),
            None => slo::refused_elsewhere(self, kind),
        };
        refused.then(|| {
            self.counters.shed.fetch_add(1, Relaxed);
            Refusal::unavailable("SHED", format!("degraded: {kind} is shed"), 1)
                .details(json!({"kind": kind}))
        })
    }

    /// The refusal of every mutation while the audit chain is broken.
    pub fn audit_broken(&self) -> Option<Refusal> {
        self.shared
            .broken(self.name)
            .map(|broken| Refusal::audit_broken(&broken))
    }
}
