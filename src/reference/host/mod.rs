//! One process: config, identity, ports, the listening line, databases, the restore, the ready
//! line, and the way out. It prints nothing itself: lines go where the options say.

mod announcement;
mod beside;
mod databases;
mod doors;
mod parent;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use databases::migrate_to_v46;

use super::audit::{AuditKey, KeyError};
use super::breaker::Breakers;
use super::config::{Config, ConfigError, LiveConfig};
use super::environment;
use super::identity::{Identity, IdentityError, Source};
use super::parts::{AtStop, Parts};
use super::restore;
use super::service::Shared;
use super::store::{OpenError, StoreError, inspect_shared};
use super::supervision::table::SUPERVISOR;
use super::supervision::{BootError, Booted, Wanted};
use super::time::Offset;
use super::web::tls::TlsError;
use super::wiring::SERVICES;
use announcement::{chains, commands, listening, note_addresses};
use beside::{background, beside, supervise};
use databases::{data_dir, databases, inspect_all, open_all};
use doors::{bind, open_fronts, peers, scheme, speaks, urls};
use parent::end_with_parent;

/// How long requests in flight may take after SIGTERM; what they began is resumed at the next start.
const GRACE: Duration = Duration::from_secs(3);

/// Where the lines for whoever started the process go.
pub type Lines = Arc<dyn Fn(&Value) + Send + Sync>;

/// How a process is to run.
#[derive(Clone)]
pub struct Options {
    /// Everything that is kept is kept here.
    pub data_dir: PathBuf,
    /// The config file.
    pub config_file: PathBuf,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The services that this process hosts; none named: all. The others are found by their
    /// `services.NAME.url`.
    pub services: Vec<String>,
    /// Host eva-os, and run the other services as processes that it supervises.
    pub supervise: Option<Wanted>,
    /// End when stdin closes.
    pub with_parent: bool,
    /// What starts this program as it was started: the binary, `serve`, and whatever else makes it
    /// what it is. Without it no commands are named.
    pub argv: Vec<String>,
    /// The listening line and the ready line.
    pub lines: Lines,
}

impl Options {
    /// All services, no environment, lines to nowhere.
    pub fn new(data_dir: impl Into<PathBuf>, config_file: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            config_file: config_file.into(),
            env: BTreeMap::new(),
            services: Vec::new(),
            supervise: None,
            with_parent: false,
            argv: Vec::new(),
            lines: Arc::new(|_| {}),
        }
    }
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The config file.
    #[error("{file}: {error}")]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where in it.
        error: ConfigError,
    },
    /// A service that is to be hosted.
    #[error("no service {0}")]
    NoService(String),
    /// The data directory.
    #[error("{path}: {source}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The key file or the identity database.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The key of the audit log.
    #[error(transparent)]
    AuditKey(#[from] KeyError),
    /// Certificate and key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An origin.
    #[error("cors.origins: {0}")]
    Origin(String),
    /// A port.
    #[error("{service} cannot listen on {address}: {source}")]
    Bind {
        /// The service.
        service: &'static str,
        /// Where it was to listen.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The restore.
    #[error("restore: {0}")]
    Restore(#[from] StoreError),
    /// The start of the supervised services.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Anything else of the system.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// See [`ServeError`]; nothing is wrong with an end by signal.
pub async fn serve(options: Options, parts: Parts) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if options.with_parent {
        end_with_parent()?;
    }
    let started = tokio::select! {
        running = start(options, parts) => Some(running?),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    if let Some(running) = started {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        running.stop().await;
    }
    Ok(())
}

/// Services that listen and are ready.
pub struct Running {
    /// The listening line.
    pub listening: Value,
    stop: watch::Sender<bool>,
    closing: Vec<BoxFuture<'static, ()>>,
    at_stop: AtStop,
    servers: Vec<JoinHandle<std::io::Result<()>>>,
    tasks: Vec<JoinHandle<()>>,
    supervised: Option<Booted>,
}

impl Running {
    /// Stops listening and waits for the requests in flight, up to a bound.
    pub async fn stop(self) {
        tracing::info!("stopping");
        if let Some(supervised) = self.supervised {
            supervised.stop().await;
        }
        // Nobody listening any more is what is wanted.
        let _ = self.stop.send(true);
        for task in &self.tasks {
            task.abort();
        }
        if tokio::time::timeout(GRACE, join_all(self.servers))
            .await
            .is_err()
        {
            tracing::warn!("requests in flight were left behind");
        }
        join_all(self.closing).await;
        (self.at_stop)().await;
    }
}

/// Starts the services of this process: returns when they are ready.
///
/// # Errors
/// See [`ServeError`].
pub async fn start(options: Options, parts: Parts) -> Result<Running, ServeError> {
    let mut parts = parts;
    let hosted = hosted(&options)?;
    let settings = environment::settings(&options.env, parts.settings.clone());
    let live =
        LiveConfig::load(&options.config_file, settings).map_err(|error| ServeError::Config {
            file: options.config_file.clone(),
            error,
        })?;
    let config = live.current();
    parts.clock = Arc::new(Offset {
        clock: parts.clock,
        ahead_ms: config.clock.offset_ms,
    });
    let parts = Arc::new(parts);
    let data_dir = data_dir(&options.data_dir)?;
    inspect_all(&data_dir, &hosted)?;
    let identity_db = data_dir.join(&config.auth.identity_db);
    inspect_shared(&identity_db, super::identity::NEWEST)?;
    let identity = identity(&options, &data_dir, &config, &parts)?;
    let audit_key = audit_key(&options, &config)?;
    let speaks = speaks(&options, &config, &parts)?;
    let bound = bind(&config, &hosted, &parts).await?;
    let databases = databases(&data_dir);
    let scheme = scheme(&speaks);
    let urls = urls(scheme, &bound);
    let mut listening = listening(&urls, &databases, &identity_db);
    listening["chains"] = chains(&bound, &parts.routes, audit_key.as_ref());
    if let Some(key) = &audit_key {
        listening["commands"] = commands(&options, &data_dir, key);
    }
    note_addresses(&data_dir, &urls);
    let shared = Arc::new(Shared::new(
        live,
        identity,
        peers(&config, scheme, &urls),
        databases,
        Breakers::new(&config, parts.breaker_step),
        audit_key,
        hosted.clone(),
    ));
    let (stop, stopped) = watch::channel(false);
    let secure = speaks.tls.as_ref().map(|tls| tls.client.clone());
    let (fronts, servers) = open_fronts(bound, &parts, &speaks, &stopped);
    let mut listening = (parts.announce)(listening).await;
    if options.supervise.is_none() {
        (options.lines)(&listening);
    }
    let services = open_all(&shared, &parts, secure, &hosted).await?;
    restore::run(&services, &shared, &config, parts.restore_order).await?;
    let closing = beside(&services).await?;
    let tasks = background(&services, &shared, &parts).await?;
    for (front, service) in fronts.iter().zip(&services) {
        front.open(service.clone());
    }
    // The control plane answers already; everybody else is told of with everybody.
    let supervised = supervise(&options, &services, data_dir, &mut listening).await?;
    tracing::info!("ready");
    (options.lines)(&json!({"event": "ready"}));
    Ok(Running {
        listening,
        stop,
        closing,
        at_stop: parts.at_stop.clone(),
        servers,
        tasks,
        supervised,
    })
}

/// What this process hosts, in the order in which it is bound.
fn hosted(options: &Options) -> Result<Vec<&'static str>, ServeError> {
    if options.supervise.is_some() {
        return Ok(vec![SUPERVISOR]);
    }
    let named = &options.services;
    if let Some(name) = named.iter().find(|name| !SERVICES.contains(&name.as_str())) {
        return Err(ServeError::NoService(name.clone()));
    }
    let is_hosted = |service: &&str| named.is_empty() || named.iter().any(|name| name == service);
    Ok(SERVICES.iter().copied().filter(is_hosted).collect())
}

fn identity(
    options: &Options,
    data_dir: &Path,
    config: &Config,
    parts: &Parts,
) -> Result<Identity, ServeError> {
    if !config.auth.enabled {
        tracing::warn!("authentication is off: everybody is an operator");
        return Ok(Identity::open());
    }
    let source = Source {
        key_file: beside_config(options, &config.auth.key_file),
        db: data_dir.join(&config.auth.identity_db),
        patience: Duration::from_millis(config.auth.busy_timeout_ms),
        start_deadline: Duration::from_millis(config.store.start_deadline_ms),
    };
    Ok((parts.load_identity)(&source, parts.clock.now())?)
}

pub(super) fn audit_key(options: &Options, config: &Config) -> Result<Option<AuditKey>, KeyError> {
    let file = config.audit.key_file.as_deref();
    file.map(|file| AuditKey::load(&beside_config(options, file)))
        .transpose()
}

pub(super) fn beside_config(options: &Options, file: &str) -> PathBuf {
    let folder = options.config_file.parent().unwrap_or(Path::new("."));
    folder.join(file)
}
