//! The seams: what a deployment or a test may swap. Each part has one default, and the logic asks
//! the part; there is no flag beside it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::net::TcpListener;

use super::audit::{ChainRule, Keeper, KeptFile, Sha256Chain};
use super::backpressure;
use super::breaker;
use super::bundle::{BundleRule, Signed};
use super::config::follow::Refused;
use super::dead_letters::{self, Provenance};
use super::decisions::{Decisions, Durable};
use super::identity::door::{Door, Guarded};
use super::identity::{Identity, IdentityError, Source};
use super::latency;
use super::memory::{self, Describe, Embedder, Repair, TierOf, VerifyIndex};
use super::mutation::{Claims, DurableClaims, fingerprint};
use super::openclaw::{IssuersWord, Permit};
use super::operations::Resumer;
use super::orchestrator::{AgentMemory, AgentTools, AtMemoryEngine, ByOpenclaw};
use super::outbox::{Courier, Insists};
use super::perception::{self, ConsentRule, ConsentStep};
use super::restore::{self, RestoreOrder};
use super::service::Service;
use super::slo::feed::{Samples, Step};
use super::slo::machine;
use super::store::{CommitFirst, GroupEnd, Migrate, schema};
use super::supervision;
use super::time::{Clock, SystemClock, Timestamp};
use super::verify::{Looks, Verify};
use super::voice;
use super::web::cors::{self, CorsRule};
use super::web::tls::{self, LoadTls};
use super::web::{Call, Reply, Row};
use super::wiring;

/// An overlay over the parsed config, applied at each read of the file.
pub type Settings = Arc<dyn Fn(Value) -> Value + Send + Sync>;

/// From the listening line to the listening line that is printed.
pub type Announce = Arc<dyn Fn(Value) -> BoxFuture<'static, Value> + Send + Sync>;

/// What makes two requests under one key the same request.
pub type Fingerprint = fn(&Call) -> String;

/// What is done when the transaction that claims a key and decides has failed: nothing, and the
/// client is told 503, unless somebody here has another answer.
pub type StoreFailed =
    Arc<dyn Fn(Arc<Service>, Call) -> BoxFuture<'static, Option<Reply>> + Send + Sync>;

/// The last thing that is done before a stop by signal is over.
pub type AtStop = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// From the key file to who may come in, at start; an error means that nothing starts.
pub type LoadIdentity =
    Arc<dyn Fn(&Source, Timestamp) -> Result<Identity, IdentityError> + Send + Sync>;

/// From `host:port` to what listens there.
pub type Bind =
    Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<TcpListener>> + Send + Sync>;

/// Everything that may be swapped.
#[derive(Clone)]
pub struct Parts {
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// How the key file is read.
    pub load_identity: LoadIdentity,
    /// Who comes in.
    pub door: Arc<dyn Door>,
    /// Link and digest of an audit entry, for append and verification alike.
    pub chain: Arc<dyn ChainRule>,
    /// When the callers of a transaction are told.
    pub group_end: Arc<dyn GroupEnd>,
    /// Where the last checkpoint of a chain is kept, and what it forbids.
    pub keeper: Arc<dyn Keeper>,
    /// How the manifest of an incident bundle is made and held against what is there.
    pub bundle: Arc<dyn BundleRule>,
    /// How a decision is claimed, and which fence it carries.
    pub decisions: Arc<dyn Decisions>,
    /// Whether openclaw may run a guarded call.
    pub permit: Arc<dyn Permit>,
    /// How what a tool says it did is looked at.
    pub verify: Arc<dyn Verify>,
    /// How the agent has a tool run.
    pub agent_tools: Arc<dyn AgentTools>,
    /// Where the agent remembers.
    pub agent_memory: Arc<dyn AgentMemory>,
    /// How an idempotency key is claimed and settled.
    pub claims: Arc<dyn Claims>,
    /// Who and where from, for everything that the replay of a dead letter leaves behind.
    pub provenance: Provenance,
    /// What makes two requests under one key the same one.
    pub fingerprint: Fingerprint,
    /// What is done when the store fails.
    pub store_failed: StoreFailed,
    /// What an event makes of a consent.
    pub consent_step: ConsentStep,
    /// Whether what is known of consent and privacy is enough for an inference.
    pub consent_rule: ConsentRule,
    /// From a text to its vector.
    pub embedder: Embedder,
    /// What is wrong with the file of the vector index.
    pub index_verify: VerifyIndex,
    /// What its manifest says.
    pub index_manifest: Describe,
    /// What of the ledger is put into an index that was loaded.
    pub index_repair: Repair,
    /// The tier of a proposal.
    pub tier_of: TierOf,
    /// What decides in the queues.
    pub queues: backpressure::Rules,
    /// The step function of the breakers.
    pub breaker_step: breaker::Step,
    /// What is told of the samples of a stage.
    pub latency_summary: latency::Summary,
    /// The step function of the SLO machine.
    pub slo_step: Step,
    /// What every SLO sample passes on its way into a window.
    pub slo_samples: Samples,
    /// How certificate and key are read.
    pub load_tls: LoadTls,
    /// Which origins are let in.
    pub cors: CorsRule,
    /// How a service gets its listener.
    pub bind: Bind,
    /// Overlay over the parsed config.
    pub settings: Settings,
    /// What is put in force when the config file is refused while the process runs.
    pub config_refused: Refused,
    /// `(service, sql)`, run on that database's writer connection after migration, at every start.
    pub after_migration: Vec<(String, String)>,
    /// How what turns leave in the memory engine is delivered.
    pub courier: Arc<dyn Courier>,
    /// How a database is brought to the newest schema.
    pub migrate: Migrate,
    /// In which order the stages of the restore run.
    pub restore_order: RestoreOrder,
    /// The route table; a row's handler can be replaced.
    pub routes: Vec<Row>,
    /// What is done with operations that were pending at start.
    pub resumers: Vec<Resumer>,
    /// How services are supervised that run as processes of their own.
    pub supervision: supervision::Seams,
    /// How pipecat hears and speaks.
    pub voice: voice::Seams,
    /// What becomes of the listening line before it is printed.
    pub announce: Announce,
    /// What is done at the end of a stop by signal; nothing, unless somebody has something to do.
    pub at_stop: AtStop,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            load_identity: Arc::new(Identity::load),
            door: Arc::new(Guarded),
            chain: Arc::new(Sha256Chain),
            group_end: Arc::new(CommitFirst),
            keeper: Arc::new(KeptFile),
            bundle: Arc::new(Signed),
            decisions: Arc::new(Durable),
            permit: Arc::new(IssuersWord),
            verify: Arc::new(Looks),
            agent_tools: Arc::new(ByOpenclaw),
            agent_memory: Arc::new(AtMemoryEngine),
            claims: Arc::new(DurableClaims),
            provenance: Arc::new(dead_letters::original),
            fingerprint,
            store_failed: Arc::new(|_, _| Box::pin(std::future::ready(None))),
            consent_step: perception::step,
            consent_rule: perception::enough,
            embedder: Arc::new(memory::configured),
            index_verify: memory::verify,
            index_manifest: memory::describe,
            index_repair: memory::repair,
            tier_of: memory::tier,
            queues: backpressure::Rules::default(),
            breaker_step: breaker::step,
            latency_summary: latency::percentiles,
            slo_step: Arc::new(machine::step),
            slo_samples: Arc::new(Some),
            load_tls: Arc::new(tls::load),
            cors: cors::listed,
            bind: Arc::new(|address| Box::pin(TcpListener::bind(address))),
            settings: Arc::new(|value| value),
            config_refused: Arc::new(|_| None),
            after_migration: Vec::new(),
            courier: Arc::new(Insists),
            migrate: schema::up,
            restore_order: restore::one_by_one,
            routes: wiring::routes(),
            resumers: wiring::resumers(),
            supervision: supervision::Seams::default(),
            voice: voice::Seams::default(),
            announce: Arc::new(|line| Box::pin(std::future::ready(line))),
            at_stop: Arc::new(|| Box::pin(std::future::ready(()))),
        }
    }
}
