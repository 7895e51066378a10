//! `serve`: the reference as a process, or hidden behind two options one that is wrong on purpose.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::block_on;
use super::exit::{Exit, Stop};
use crate::mutants::{self, nulls, wire};
use crate::reference::wiring::SERVICES;
use crate::reference::{self, OpenError, Options, Parts, ServeError};

/// Example: sonia-gate serve --data /tmp/sonia --config sonia-config.json
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: sonia-gate serve --data /tmp/sonia --config sonia-config.json")]
pub(super) struct Arguments {
    /// Everything that is kept is kept here
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The config file
    #[arg(long, value_name = "FILE", required_unless_present = "migrate_to")]
    config: Option<PathBuf>,
    /// Host only this service (repeatable); the others are found by services.NAME.url
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(SERVICES))]
    service: Vec<String>,
    /// End when stdin closes
    #[arg(long)]
    with_parent: bool,
    /// Take the databases back to this schema and end
    #[arg(long, value_name = "RELEASE", value_parser = ["v4.6"])]
    migrate_to: Option<String>,
    #[arg(long, value_name = "NAME", hide = true, conflicts_with = "null")]
    mutant: Option<String>,
    #[arg(long, value_name = "NAME", hide = true)]
    null: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    log_to_stderr();
    if arguments.migrate_to.is_some() {
        reference::migrate_to_v46(&arguments.data)
            .map_err(|error| Stop::usage(error.to_string(), database_advice(&error)))?;
        return Ok(Exit::Green);
    }
    match arguments.null.as_deref() {
        Some(name) if name != "frozen" => block_on(null(name, arguments))?,
        Some(_) => {
            let parts = frozen(arguments)?;
            block_on(serve(arguments, parts))?
        }
        None => {
            let parts = match arguments.mutant.as_deref() {
                None => Parts::default(),
                Some(name) => mutants::parts(name).ok_or_else(|| unknown("mutant", name))?,
            };
            block_on(serve(arguments, parts))?
        }
    }
}

async fn serve(arguments: &Arguments, parts: Parts) -> Result<Exit, Stop> {
    let config = arguments.config.clone().unwrap_or_default();
    let mut options = Options::new(&arguments.data, config);
    options.env = std::env::vars()
        .filter(|(name, _)| name.starts_with("SONIA_"))
        .collect();
    options.services.clone_from(&arguments.service);
    options.with_parent = arguments.with_parent;
    options.lines = Arc::new(say);
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
        ServeError::Bind { .. } => {
            "stop what uses the port, or write another one (0: any) in the config"
        }
        ServeError::Open(error) => database_advice(error),
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
fn frozen(arguments: &Arguments) -> Result<Parts, Stop> {
    let open = || {
        std::fs::create_dir_all(&arguments.data)?;
        // Processes that share a directory keep their answers apart.
        let name = [&["frozen".to_owned()], &*arguments.service]
            .concat()
            .join("-");
        nulls::Frozen::open(arguments.data.join(format!("{name}.json")))
    };
    let kept = open().map_err(|error| {
        Stop::usage(
            format!("cannot keep answers: {error:#}"),
            "give another folder with --data",
        )
    })?;
    let kept: Arc<dyn wire::Rewrite> = Arc::new(kept);
    let announce = move |line| -> futures_util::future::BoxFuture<'static, Value> {
        let kept = Arc::clone(&kept);
        Box::pin(async move {
            // Without its proxies it would be the reference, and pass.
            wire::front(line, kept)
                .await
                .expect("a frozen target has ports for its proxies")
        })
    };
    Ok(Parts {
        announce: Arc::new(announce),
        ..Parts::default()
    })
}

/// A null target with nothing behind it.
async fn null(name: &str, arguments: &Arguments) -> Result<Exit, Stop> {
    let rewrite = nulls::rewrite(name).ok_or_else(|| unknown("null target", name))?;
    let ports =
        |error: &dyn std::fmt::Display| Stop::usage(format!("cannot listen: {error}"), "try again");
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| ports(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| ports(&error))?;
    let with_parent = arguments.with_parent;
    let parent_gone = async {
        match with_parent {
            true => stdin_closed().await,
            false => std::future::pending().await,
        }
    };
    let line = wire::front(nulls::listening(&arguments.data), rewrite).await;
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
fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    // Whoever closed the pipe does not want to know.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SONIA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    log.with_ansi(false).init();
}
