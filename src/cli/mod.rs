//! The command line: arguments, exit codes and printing, one file a command.
//! Nothing else of the crate prints, reads the environment or ends the process.

mod bundle;
mod chaos;
mod compare;
mod exit;
mod explain;
mod gate;
mod history;
mod incident;
mod interrupt;
mod key;
mod lines;
mod list;
mod matrix;
mod merge;
mod papers;
mod places;
mod prove;
mod proxy;
mod release;
mod screen;
mod serve;
mod settings;
mod verdict;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub use exit::Exit;
use exit::Stop;

use crate::model::{Model, Selection};

/// How long the runtime may take to let go of what hangs.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);

/// A release gate: a release is promoted on proof, not on promises.
#[derive(Debug, Parser)]
#[command(name = "sonia-gate", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 promoted, or every selected gate green; 1 a gate failed; 2 wrong usage or \
configuration; 3 nothing failed and something stayed open; 70 a bug in sonia-gate.
Example: sonia-gate gate v4.7 approval-race-safe --seed 7";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gates of a release
    Gate(gate::Arguments),
    /// Show the gates of a release and their claims
    List(list::Arguments),
    /// Show what a gate claims, needs and has to notice
    Explain(explain::Arguments),
    /// Show that the gates can fail: run every mutant against them
    Prove(prove::Arguments),
    /// Read a release as an adversary's: may it be promoted?
    Verdict(verdict::Arguments),
    /// Compare two reports
    Compare(compare::Arguments),
    /// Make one report of the parts of a run on several machines
    Merge(merge::Arguments),
    /// Make a pair of keys for signing reports
    Key(key::Arguments),
    /// Make a bundle of a release or of an incident, or verify one
    Bundle(bundle::Arguments),
    /// Run a chaos drill
    Chaos(chaos::Arguments),
    /// Serve a fault proxy with Toxiproxy's HTTP API
    Proxy(proxy::Arguments),
    /// Check a recorded history for linearizability, or show it
    History(history::Arguments),
    /// Serve the SONIA contract: the reference, as a process
    Serve(serve::Arguments),
}

/// Which gates, of which release.
#[derive(Debug, clap::Args)]
struct Pick {
    /// v4.3 ... v4.7
    release: String,
    /// Names, ids of this release (B1) or of any (v4.4/B1); all when left out
    #[arg(value_name = "GATE")]
    gates: Vec<String>,
    /// Only the release's own gates
    #[arg(long)]
    delta_only: bool,
    /// Only inherited gates
    #[arg(long)]
    floor_only: bool,
    /// Only the gates of this epic (A, v4.3-A)
    #[arg(long, value_name = "EPIC")]
    epic: Option<String>,
}

impl Pick {
    fn selection(&self) -> Selection {
        Selection {
            gates: self.gates.clone(),
            epic: self.epic.clone(),
            delta_only: self.delta_only,
            floor_only: self.floor_only,
        }
    }
}

/// Where the gates come from.
#[derive(Debug, clap::Args)]
struct GatesFolder {
    /// Read the gates of this folder instead of the built-in ones
    #[arg(long = "gates", value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl GatesFolder {
    fn model(&self) -> Result<Model, Stop> {
        Ok(match &self.folder {
            Some(folder) => Model::load(folder)?,
            None => Model::embedded()?,
        })
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    exit::report_panics();
    let exit = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Exit::Bug);
    written(exit).into()
}

/// Success whose output was lost is none.
fn written(exit: Exit) -> Exit {
    let Some(why) = screen::lost() else {
        return exit;
    };
    let stop = Stop::usage(
        format!("cannot write to stdout: {why}"),
        "free some space there, or send the output elsewhere",
    );
    match (exit, stop.say()) {
        (Exit::Green, unwritten) => unwritten,
        (exit, _) => exit,
    }
}

fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version are answers, everything else is a usage error. A closed pipe is
            // no reason for another message.
            screen::note(answer.print());
            return if answer.use_stderr() {
                Exit::Usage
            } else {
                Exit::Green
            };
        }
    };
    let ended = match cli.command {
        Command::Gate(arguments) => gate::run(&arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Prove(arguments) => prove::run(&arguments),
        Command::Verdict(arguments) => verdict::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Key(arguments) => key::run(&arguments),
        Command::Bundle(arguments) => bundle::run(&arguments),
        Command::Chaos(arguments) => chaos::run(&arguments),
        Command::Proxy(arguments) => proxy::run(&arguments),
        Command::History(arguments) => history::run(&arguments),
        Command::Serve(arguments) => return serve::run(&arguments).unwrap_or_else(Stop::say),
    };
    match ended.unwrap_or_else(Stop::say) {
        _ if exit::panicked() => Exit::Bug,
        exit => exit,
    }
}

/// Runs a future to its end on a runtime of its own, which is not waited for when it hangs.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Stop> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Stop::usage(format!("cannot start threads: {error}"), "free some memory")
        })?;
    let answer = runtime.block_on(work);
    runtime.shutdown_timeout(SHUTDOWN_DEADLINE);
    Ok(answer)
}
