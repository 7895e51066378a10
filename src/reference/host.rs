//! One process: config, identity, ports, the listening line, databases, the restore, the ready
//! line, and the way out. It prints nothing itself: lines go where the options say.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all, try_join_all};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::addresses;
use super::audit::{AuditKey, Checked, KeyError, Ledger, Range};
use super::breaker::Breakers;
use super::config::{Config, ConfigError, LiveConfig};
use super::environment;
use super::http::Http;
use super::identity::{Identity, IdentityError, Source};
use super::memory;
use super::operations;
use super::parts::{AtStop, Parts};
use super::restore;
use super::service::{Counters, Service, Shared};
use super::slo;
use super::store::{
    OpenError, Opened, Opening, StoreError, Verify, inspect, inspect_shared, migrate_down, open,
    schema,
};
use super::supervision::spawn::Plan;
use super::supervision::table::SUPERVISOR;
use super::supervision::{BootError, Booted, Wanted, boot, met};
use super::time::Offset;
use super::web::cors::origin;
use super::web::tls::TlsError;
use super::web::{Front, Row, Speaks, listen};
use super::wiring::{CLOSE, OPEN, SERVICES, TASKS};

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

/// The database of every service, hosted here or elsewhere.
fn databases(data_dir: &Path) -> BTreeMap<String, PathBuf> {
    let own = |name: &&str| ((*name).to_owned(), data_dir.join(format!("{name}.db")));
    SERVICES.iter().map(own).collect()
}

/// Resumes what was pending, and starts what runs beside the requests.
async fn background(
    services: &[Arc<Service>],
    shared: &Shared,
    parts: &Parts,
) -> Result<Vec<JoinHandle<()>>, ServeError> {
    let mut tasks = Vec::from_iter(slo(services, shared).await?);
    tasks.extend(breakers(services));
    for service in services {
        if service.name == SUPERVISOR {
            met(service).await?;
        }
        if service.audit_broken().is_none() {
            operations::resume(service, &parts.resumers).await?;
        }
        let own = TASKS
            .iter()
            .filter(|(name, _)| name.is_empty() || *name == service.name);
        tasks.extend(own.map(|(_, task)| tokio::spawn(task(service.clone()))));
    }
    Ok(tasks)
}

/// Starts the services that eva-os supervises, which is the only one of this process then, and says
/// where everybody is.
async fn supervise(
    options: &Options,
    services: &[Arc<Service>],
    data_dir: PathBuf,
    listening: &mut Value,
) -> Result<Option<Booted>, ServeError> {
    let Some(wanted) = options.supervise else {
        return Ok(None);
    };
    let plan = Plan {
        argv: options.argv.clone(),
        data_dir,
        config_file: std::path::absolute(&options.config_file)?,
    };
    let supervisor = services.first().expect("eva-os is hosted");
    let booted = boot(supervisor, plan, wanted).await?;
    booted.lines.iter().for_each(|line| add(listening, line));
    supervisor
        .shared
        .set_supervision(booted.supervision.clone());
    (options.lines)(listening);
    Ok(Some(booted))
}

/// Adds what another process says of itself.
fn add(listening: &mut Value, line: &Value) {
    for key in ["services", "databases", "chains"] {
        let (Some(all), Some(own)) = (listening[key].as_object_mut(), line[key].as_object()) else {
            continue;
        };
        all.extend(own.clone());
    }
    if let (Some(all), Some(own)) = (
        listening["index_files"].as_array_mut(),
        line["index_files"].as_array(),
    ) {
        all.extend(own.iter().cloned());
    }
}

/// What is kept beside the databases: opened now, and closed when everything else is over.
async fn beside(services: &[Arc<Service>]) -> Result<Vec<BoxFuture<'static, ()>>, ServeError> {
    for (service, open) in of_each(services, OPEN) {
        open(service).await?;
    }
    let closing = of_each(services, CLOSE);
    Ok(closing.map(|(service, close)| close(service)).collect())
}

/// What a list has for these services, in the order of the list.
fn of_each<T: Copy>(
    services: &[Arc<Service>],
    list: &'static [(&str, T)],
) -> impl Iterator<Item = (Arc<Service>, T)> {
    list.iter().filter_map(move |(name, one)| {
        let service = services.iter().find(|service| service.name == *name)?;
        Some((service.clone(), *one))
    })
}

/// Takes every database of a data directory from v4.7 back to v4.6.
///
/// # Errors
/// See [`OpenError`].
pub fn migrate_to_v46(data_dir: &Path) -> Result<(), OpenError> {
    inspect_all(data_dir, SERVICES)?;
    for name in SERVICES {
        let path = data_dir.join(format!("{name}.db"));
        if path.exists() {
            migrate_down(&path, name)?;
        }
    }
    Ok(())
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

/// Looks at every database of these services before any is changed. Those of other processes are
/// theirs to look at.
fn inspect_all(data_dir: &Path, services: &[&str]) -> Result<(), OpenError> {
    services
        .iter()
        .try_for_each(|name| inspect(&data_dir.join(format!("{name}.db")), schema::newest(name)))
}

fn data_dir(path: &Path) -> Result<PathBuf, ServeError> {
    let made = std::fs::create_dir_all(path).and_then(|()| path.canonicalize());
    made.map_err(|source| ServeError::DataDir {
        path: path.to_owned(),
        source,
    })
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

/// What the listeners speak, by a configuration that is whole.
fn speaks(options: &Options, config: &Config, parts: &Parts) -> Result<Speaks, ServeError> {
    let file = |path: &Option<String>| path.as_deref().map(|path| beside_config(options, path));
    let (certificate, key) = (file(&config.tls.cert), file(&config.tls.key));
    let tls = (parts.load_tls)(certificate.as_deref(), key.as_deref())?;
    let origins = config.cors.origins.iter().map(|text| origin(text));
    let origins: Vec<_> = origins
        .collect::<Result<_, _>>()
        .map_err(ServeError::Origin)?;
    let cors = (parts.cors)(&origins);
    Ok(Speaks { cors, tls })
}

fn scheme(speaks: &Speaks) -> &'static str {
    match speaks.tls {
        Some(_) => "https",
        None => "http",
    }
}

type Bound = (&'static str, SocketAddr, TcpListener);

async fn bind(
    config: &Config,
    hosted: &[&'static str],
    parts: &Parts,
) -> Result<Vec<Bound>, ServeError> {
    let mut bound = Vec::new();
    for &service in hosted {
        let at = &config.services[service];
        let address = format!("{}:{}", at.host, at.port);
        let wrong = |source| ServeError::Bind {
            service,
            address: address.clone(),
            source,
        };
        let listener = (parts.bind)(address.clone()).await.map_err(wrong)?;
        bound.push((service, listener.local_addr()?, listener));
    }
    Ok(bound)
}

/// Base URL of each service that is hosted here.
type Urls = BTreeMap<&'static str, String>;

fn urls(scheme: &str, bound: &[Bound]) -> Urls {
    let url = |(name, address, _): &Bound| (*name, format!("{scheme}://{address}"));
    bound.iter().map(url).collect()
}

/// A configured URL goes before the address that was bound, and that before the configured one. A
/// service of another process on any port that is free has none: it says where it is.
fn peers(config: &Config, scheme: &str, urls: &Urls) -> BTreeMap<String, String> {
    let url = |name: &&'static str| {
        let at = &config.services[*name];
        let here = urls.get(name).cloned();
        let there = || (at.port != 0).then(|| format!("{scheme}://{}:{}", at.host, at.port));
        let url = at.url.clone().or(here).or_else(there)?;
        Some(((*name).to_owned(), url))
    };
    SERVICES.iter().filter_map(url).collect()
}

/// Before the databases are open the services listen, and answer that they are starting.
fn open_fronts(
    bound: Vec<Bound>,
    parts: &Parts,
    speaks: &Speaks,
    stopped: &watch::Receiver<bool>,
) -> (Vec<Arc<Front>>, Vec<JoinHandle<std::io::Result<()>>>) {
    let open = |(name, _, listener): Bound| {
        let rows = parts.routes.iter().filter(|row| row.service == name);
        let front = Front::new(rows.cloned().collect());
        let server = listen(listener, front.clone(), speaks.clone(), stopped.clone());
        let server = tokio::spawn(server);
        (front, server)
    };
    bound.into_iter().map(open).unzip()
}

fn listening(services: &Urls, databases: &BTreeMap<String, PathBuf>, identity: &Path) -> Value {
    let hosted = databases
        .iter()
        .filter(|(name, _)| services.contains_key(name.as_str()));
    let memory = databases.get("memory-engine");
    let memory = memory.filter(|_| services.contains_key("memory-engine"));
    let index_files = memory.map(|path| memory::files(path).to_vec());
    let index_files = index_files.unwrap_or_default();
    let mut databases: BTreeMap<_, _> = hosted
        .map(|(name, path)| (name.clone(), path.clone()))
        .collect();
    databases.insert("identity".to_owned(), identity.to_owned());
    json!({
        "event": "listening",
        "pid": std::process::id(),
        "services": services,
        "databases": databases,
        "index_files": index_files,
        "chains": {},
        "commands": {},
    })
}

/// The key that verifies each chain, of the services that have effects: what only answers and hands
/// on has no more in its log than those whom it turned away.
fn chains(bound: &[Bound], routes: &[Row], key: Option<&AuditKey>) -> Value {
    let acts = |name: &str| routes.iter().any(|row| row.mutating && row.service == name);
    let names = bound.iter().map(|(name, ..)| *name);
    let chains: BTreeMap<_, _> = names
        .filter(|name| acts(name))
        .map(|name| (name, key.map(|key| key.verifier(name))))
        .collect();
    json!(chains)
}

/// What can be done beside this process, and when it is gone: argument vectors that can be run from
/// any folder, and that end where a path has to follow.
fn commands(options: &Options, data_dir: &Path, key: &AuditKey) -> Value {
    if options.argv.is_empty() {
        return json!({});
    }
    let config = std::path::absolute(&options.config_file);
    let config = config.unwrap_or_else(|_| options.config_file.clone());
    let data = [
        Path::new("--data"),
        data_dir,
        Path::new("--config"),
        &config,
    ];
    let whole = |rest: Vec<String>| [options.argv.clone(), rest].concat();
    let mut export: Vec<String> = data.map(|part| part.display().to_string()).into();
    export.push("--export-incident".to_owned());
    // All chains sign with one key; any of its names pins it.
    let pinned = key.verifier("bundle");
    let verify = ["--key", &pinned, "--verify-incident"].map(str::to_owned);
    json!({
        "export-incident-bundle": whole(export),
        "verify-incident-bundle": whole(verify.into()),
    })
}

/// For commands that run beside: without it they only cannot ask how the services are.
fn note_addresses(data_dir: &Path, services: &Urls) {
    match addresses::write(data_dir, services) {
        Ok(()) => tracing::info!(pid = std::process::id(), ?services, "listening"),
        Err(error) => tracing::warn!(%error, "addresses were not written down"),
    }
}

async fn open_all(
    shared: &Arc<Shared>,
    parts: &Arc<Parts>,
    secure: Option<Arc<ClientConfig>>,
    hosted: &[&'static str],
) -> Result<Vec<Arc<Service>>, ServeError> {
    let config = shared.config.current();
    let opening = |name: &&'static str| {
        let own = parts
            .after_migration
            .iter()
            .filter(|(service, _)| service == *name);
        open(Opening {
            path: shared.databases[*name].clone(),
            service: (*name).to_owned(),
            migrate: parts.migrate,
            after_migration: own.map(|(_, sql)| sql.clone()).collect(),
            busy_timeout: Duration::from_millis(config.store.busy_timeout_ms),
            start_deadline: Duration::from_millis(config.store.start_deadline_ms),
            chain: parts.chain.clone(),
            verify: verify(shared, parts, name),
            clock: parts.clock.clone(),
            group_end: parts.group_end.clone(),
        })
    };
    let opened = try_join_all(hosted.iter().map(opening)).await?;
    // Peers are on loopback or configured by name: no proxy of the environment is to step between.
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.map_err(|error| std::io::Error::other(error.to_string()))?;
    let http = Http::new(client, secure);
    let service = |(&name, Opened { store, broken }): (&&'static str, Opened)| {
        if let Some(broken) = &broken {
            shared.mark_broken(broken);
        }
        Arc::new(Service {
            name,
            store,
            parts: parts.clone(),
            http: http.clone(),
            counters: Arc::new(Counters::default()),
            shared: shared.clone(),
        })
    };
    Ok(hosted.iter().zip(opened).map(service).collect())
}

/// What has to hold of a chain before anything is appended to it.
fn verify(shared: &Arc<Shared>, parts: &Parts, chain: &str) -> Verify {
    let ledger = Ledger::new(chain, &shared.databases[chain], parts);
    let shared = shared.clone();
    Box::new(move |conn| {
        let key = shared.audit_key.as_ref();
        let checked = ledger.verify(conn, key, Range::NONE)?;
        Ok(match checked {
            Checked::Clean(_) => None,
            Checked::Broken(broken) => Some(broken),
        })
    })
}

/// Restores the SLO machine and starts its clock, where the gateway is.
async fn slo(
    services: &[Arc<Service>],
    shared: &Shared,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    let gateway = services
        .iter()
        .find(|service| service.name == "api-gateway");
    let Some(gateway) = gateway else {
        return Ok(None);
    };
    let slo = slo::restore(gateway).await?;
    shared.set_slo(slo.clone());
    Ok(Some(slo.start()))
}

/// Writes down what the breakers do: in the gateway's events, where the gateway is.
fn breakers(services: &[Arc<Service>]) -> Option<JoinHandle<()>> {
    let gateway = services
        .iter()
        .find(|service| service.name == "api-gateway");
    let teller = gateway.or(services.first())?.clone();
    let shared = teller.shared.clone();
    Some(tokio::spawn(
        async move { shared.breakers.tell(teller).await },
    ))
}

/// Ends the process when whoever started it is gone: stdin is closed then, however it went.
fn end_with_parent() -> Result<(), std::io::Error> {
    let watch = || {
        let mut buffer = [0; 256];
        loop {
            match std::io::stdin().read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        end();
    };
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(watch)
        .map(drop)
}

#[expect(
    clippy::exit,
    reason = "nobody is left who could be told anything else"
)]
fn end() -> ! {
    std::process::exit(0)
}
