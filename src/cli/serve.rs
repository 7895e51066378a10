//! `serve`: the reference as a process, or hidden behind two options one that is wrong on purpose.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::exit::{Exit, Stop};
use super::{block_on, incident, places};
use crate::mutants::{self, nulls, wire};
use crate::reference::log::LogFile;
use crate::reference::wiring::SERVICES;
use crate::reference::{self, OpenError, Options, Parts, ServeError, Wanted};

/// What goes into the log file.
const LOGGED: &str = "warn,sonia_gate=info";

/// Example: sonia-gate serve --data /tmp/sonia --config sonia-config.json
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: sonia-gate serve --data /tmp/sonia --config sonia-config.json")]
pub(super) struct Arguments {
    /// Everything that is kept is kept here
    #[arg(long, value_name = "DIR", required_unless_present = "verify_incident")]
    data: Option<PathBuf>,
    /// The config file
    #[arg(long, value_name = "FILE", required_unless_present_any = ["migrate_to", "verify_incident"])]
    config: Option<PathBuf>,
    /// Host only this service (repeatable); the others are found by services.NAME.url
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(SERVICES))]
    service: Vec<String>,
    /// Host eva-os, and start the other services as processes that it supervises
    #[arg(long, conflicts_with = "service")]
    supervise: bool,
    /// Start the orchestrator too
    #[arg(long, requires = "supervise")]
    with_orchestrator: bool,
    /// End when stdin closes
    #[arg(long)]
    with_parent: bool,
    /// Take the databases back to this schema and end
    #[arg(long, value_name = "RELEASE", value_parser = ["v4.6"])]
    migrate_to: Option<String>,
    /// Make the incident bundle PATH and PATH.tar.gz of the data directory and end
    #[arg(long, value_name = "PATH", conflicts_with_all = ["migrate_to", "verify_incident"])]
    export_incident: Option<PathBuf>,
    /// Verify this incident bundle, a folder or a .tar.gz, and end
    #[arg(
        long,
        value_name = "PATH",
        requires = "key",
        conflicts_with = "migrate_to"
    )]
    verify_incident: Option<PathBuf>,
    /// The public key that an incident bundle has to be signed with: a file or NAME+ID+BASE64
    #[arg(long, value_name = "KEY", requires = "verify_incident")]
    key: Option<String>,
    #[arg(long, value_name = "NAME", hide = true, conflicts_with = "null")]
    mutant: Option<String>,
    #[arg(long, value_name = "NAME", hide = true)]
    null: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    log_to_stderr(arguments);
    let data = arguments.data.clone().unwrap_or_default();
    if arguments.migrate_to.is_some() {
        reference::migrate_to_v46(&data)
            .map_err(|error| Stop::usage(error.to_string(), database_advice(&error)))?;
        return Ok(Exit::Green);
    }
    let parts = match arguments.mutant.as_deref() {
        None => Parts::default(),
        Some(name) => mutants::parts(name).ok_or_else(|| unknown("mutant", name))?,
    };
    if let Some(out) = &arguments.export_incident {
        return incident::export(&options(arguments)?, &parts, out);
    }
    if let (Some(path), Some(key)) = (&arguments.verify_incident, &arguments.key) {
        return incident::verify(path, key, &parts);
    }
    match arguments.null.as_deref() {
        Some(name) if name != "frozen" => block_on(null(name, &data, arguments.with_parent))?,
        Some(_) => {
            let parts = frozen(&data, &arguments.service)?;
            block_on(serve(options(arguments)?, parts))?
        }
        None => block_on(serve(options(arguments)?, parts))?,
    }
}

/// How a process is to run, and how it can be run again.
fn options(arguments: &Arguments) -> Result<Options, Stop> {
    let data = arguments.data.clone().unwrap_or_default();
    let mut options = Options::new(data, arguments.config.clone().unwrap_or_default());
    options.env = std::env::vars()
        .filter(|(name, _)| name.starts_with("SONIA_"))
        .collect();
    options.services.clone_from(&arguments.service);
    options.with_parent = arguments.with_parent;
    options.supervise = arguments.supervise.then_some(Wanted {
        orchestrator: arguments.with_orchestrator,
    });
    options.lines = Arc::new(say);
    options.argv = vec![places::binary()?.display().to_string(), "serve".to_owned()];
    for (option, value) in [("--mutant", &arguments.mutant), ("--null", &arguments.null)] {
        if let Some(value) = value {
            options.argv.extend([option.to_owned(), value.clone()]);
        }
    }
    Ok(options)
}

async fn serve(options: Options, parts: Parts) -> Result<Exit, Stop> {
    match reference::serve(options, parts).await {
        Ok(()) => Ok(Exit::Green),
        Err(error) => Err(Stop::usage(error.to_string(), advice(&error))),
    }
}

fn advice(error: &ServeError) -> &'static str {
    match error {
        ServeError::Config { .. } => {
            "correct the file; sonia-config.json has every key with its default"
        }
        ServeError::DataDir { .. } => "give a folder that can be written with --data",
        ServeError::Identity(_) => {
            "auth.key_file names a JSON file with the service token and operators"
        }
        ServeError::AuditKey(_) => "audit.key_file names an Ed25519 key, PKCS#8 in PEM",
        ServeError::Tls(_) => {
            "SONIA_TLS_CERT and SONIA_TLS_KEY name a certificate chain and its key, both in PEM"
        }
        ServeError::Origin(_) => "SONIA_CORS_ORIGINS lists origins, separated by commas",
        ServeError::Bind { .. } => {
            "stop what uses the port, or write another one (0: any) in the config"
        }
        ServeError::Open(error) => database_advice(error),
        ServeError::Boot(_) => "nothing was left running; what the service said of it stands above",
        _ => "nothing was served; start it again when the cause is gone",
    }
}

fn database_advice(error: &OpenError) -> &'static str {
    match error {
        OpenError::Newer { .. } => {
            "a database of a newer version needs a newer program; nothing was changed"
        }
        OpenError::Damaged { .. } => {
            "the file is damaged or no database: restore it, or move it away"
        }
        OpenError::Locked { .. } => "stop what uses the directory first",
        OpenError::Other { .. } => "try again when the cause is gone",
    }
}

fn unknown(kind: &str, name: &str) -> Stop {
    Stop::usage(
        format!("unknown {kind} `{name}`"),
        "see `sonia-gate gate --help`",
    )
}

/// The reference behind proxies that keep its first answers for ever.
fn frozen(data: &Path, services: &[String]) -> Result<Parts, Stop> {
    let open = || {
        std::fs::create_dir_all(data)?;
        // Processes that share a directory keep their answers apart.
        let name = [&["frozen".to_owned()], services].concat().join("-");
        nulls::Frozen::open(data.join(format!("{name}.json")))
    };
    let kept = open().map_err(|error| {
        Stop::usage(
            format!("cannot keep answers: {error:#}"),
            "give another folder with --data",
        )
    })?;
    let kept: Arc<dyn wire::Rewrite> = Arc::new(kept);
    let taken = Arc::new(wire::Taken::default());
    let ports = Arc::clone(&taken);
    let announce = move |line| -> futures_util::future::BoxFuture<'static, Value> {
        let (kept, taken) = (Arc::clone(&kept), Arc::clone(&ports));
        Box::pin(async move {
            // Without its proxies it would be the reference, and pass.
            wire::front(line, kept, &taken)
                .await
                .expect("a frozen target has ports for its proxies")
        })
    };
    let parts = Parts::default();
    Ok(Parts {
        bind: wire::behind(Arc::clone(&parts.bind), taken),
        announce: Arc::new(announce),
        ..parts
    })
}

/// A null target with nothing behind it.
async fn null(name: &str, data: &Path, with_parent: bool) -> Result<Exit, Stop> {
    let rewrite = nulls::rewrite(name).ok_or_else(|| unknown("null target", name))?;
    let ports =
        |error: &dyn std::fmt::Display| Stop::usage(format!("cannot listen: {error}"), "try again");
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| ports(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| ports(&error))?;
    let parent_gone = async {
        match with_parent {
            true => stdin_closed().await,
            false => std::future::pending().await,
        }
    };
    let line = wire::front(nulls::listening(data), rewrite, &wire::Taken::default()).await;
    say(&line.map_err(|error| ports(&error))?);
    say(&json!({"event": "ready"}));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = parent_gone => {}
    }
    Ok(Exit::Green)
}

/// On a thread of its own: a runtime never ends while one of its threads reads stdin.
async fn stdin_closed() {
    let (hung_up, gone) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin()
            .read(&mut buffer)
            .is_ok_and(|count| count > 0)
        {}
        drop(hung_up);
    });
    // An error is what a dropped sender gives.
    let _ = gone.await;
}

/// One line of JSON for whoever started the process.
pub(super) fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    // Whoever closed the pipe does not want to know.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Warnings to stderr (`SONIA_LOG` says which), and what happened to a file in the data directory
/// as long as the process serves. A command that runs beside has nothing to add to that file.
fn log_to_stderr(arguments: &Arguments) {
    let filter = EnvFilter::try_from_env("SONIA_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let stderr = stderr.with_ansi(false).with_filter(filter);
    let serves = arguments.export_incident.is_none() && arguments.migrate_to.is_none();
    let data = arguments.data.as_deref().filter(|_| serves);
    let file = data.map(|data| {
        let log = Mutex::new(LogFile::new(data, "sonia"));
        let layer = tracing_subscriber::fmt::layer().with_writer(log);
        layer.with_ansi(false).with_filter(EnvFilter::new(LOGGED))
    });
    tracing_subscriber::registry()
        .with(stderr)
        .with(file)
        .init();
}
