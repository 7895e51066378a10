//! `history`: has a recorded history an explanation, and what is in it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use super::exit::{Exit, Stop};
use super::{places, screen};
use crate::chaos::history::{
    Call, Event, Events, Format, Kind, Malformed, calls, edn_line, json_line, overlapping_pairs,
};
use crate::chaos::linear::{
    Bounds, Illegal, Mark, Minimal, Outcome, Row, Spec, bars, check, minimal, page,
};
use crate::chaos::models::{CasRegister, Confirmation, Idempotency, Kv, Model, Task, Translated};

/// Example: sonia-gate history check fixtures/histories/etcd_000.log --model cas-register
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Is there one order of these operations, in agreement with real time, that the model allows?
    Check(Check),
    /// Show what is in a history, or write it in another format
    Show(Show),
}

/// Which history, in which format.
#[derive(Debug, clap::Args)]
struct Source {
    /// The history
    file: PathBuf,
    /// jsonl, jepsen-log or edn; guessed from the beginning of the file when left out
    #[arg(long, value_name = "FORMAT", value_parser = clap::value_parser!(Format))]
    format: Option<Format>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = CHECK_HELP)]
struct Check {
    #[command(flatten)]
    source: Source,
    /// What the operations mean
    #[arg(long, value_enum)]
    model: ModelName,
    /// Write the operations of an illegal key, or of a legal history, as a page with a timeline
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// States that one key may take before it is given up
    #[arg(long, value_name = "N", default_value_t = STATES)]
    states: u64,
}

#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_HELP)]
struct Show {
    #[command(flatten)]
    source: Source,
    /// Write all events in this format instead: jsonl or edn
    #[arg(long = "as", value_name = "FORMAT", value_parser = clap::value_parser!(Format))]
    to: Option<Format>,
    /// Operations that are drawn
    #[arg(long, value_name = "N", default_value_t = 40)]
    rows: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModelName {
    /// Registers: read, write, cas (Jepsen's)
    CasRegister,
    /// A key-value store: get, put, append (Porcupine's)
    Kv,
    /// Decisions with fences: approve, deny, reissue
    Confirmation,
    /// Versioned tasks: create, update, delete, read, list
    Task,
    /// Requests under idempotency keys
    Idempotency,
}

/// States that a key may take unless it is said otherwise.
const STATES: u64 = 10_000_000;
/// Operations of a key that are drawn in text.
const DRAWN: usize = 24;
/// Bytes of a file that its format is guessed from.
const BEGINNING: usize = 4096;

const AFTER_HELP: &str = "\
Exit codes: 0 legal, or shown; 1 illegal; 2 wrong usage or a malformed history; 3 given up.
Example: sonia-gate history check fixtures/histories/etcd_000.log --model cas-register";

const CHECK_HELP: &str = r#"JSON lines have one event a line:
  {"process":1,"type":"invoke","f":"write","value":3,"time_us":17,"correlation_id":"req_1"}
type is invoke, ok (answered), fail (certainly without effect) or info (nobody knows).
  model         f                                value of invoke, and of ok
  cas-register  read | write | cas               null | V | [FROM,TO]; of ok what was read
                                                 (many registers: [KEY, that])
  kv            get | put | append               [KEY,null] | [KEY,TEXT]; of ok [KEY,TEXT]
  confirmation  approve | deny | reissue         {"id","first_fence","fence"?,"ttl"?};
                                                 {"status","code"?,"verdict"?,"fence"?}
  task          create | update | delete | read | list
                                                 {"id","version"?,"name"?,"metadata"?};
                                                 {"status","code"?,"task"}
  idempotency   request                          {"key","request","ttl"?};
                                                 {"status","code"?,"replayed"?,"body"?}
ttl is running, may_have_passed or passed. fixtures/histories/ has good and bad ones of each.

Exit codes: 0 legal; 1 illegal; 2 wrong usage or a malformed history; 3 given up.
Example: sonia-gate history check fixtures/histories/etcd_000.log --model cas-register"#;

const SHOW_HELP: &str = "\
Exit codes: 0 shown; 2 wrong usage or a malformed history.
Example: sonia-gate history show fixtures/histories/etcd_000.log --as edn";

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    match &arguments.command {
        Command::Check(check) => match check.model {
            ModelName::CasRegister => check.run::<CasRegister>(),
            ModelName::Kv => check.run::<Kv>(),
            ModelName::Confirmation => check.run::<Confirmation>(),
            ModelName::Task => check.run::<Task>(),
            ModelName::Idempotency => check.run::<Idempotency>(),
        },
        Command::Show(show) => show.run(),
    }
}

impl Source {
    /// The events of the file, and the words for its format.
    fn events(&self) -> Result<(Events<'static>, String), Stop> {
        let file = File::open(&self.file).map_err(|error| unreadable(&self.file, &error))?;
        let mut text = BufReader::with_capacity(BEGINNING, file);
        if let Some(format) = self.format {
            return Ok((format.read(text), format.name().to_owned()));
        }
        let beginning = text
            .fill_buf()
            .map_err(|error| unreadable(&self.file, &error))?;
        let Some(format) = Format::guess(&String::from_utf8_lossy(beginning)) else {
            let what = format!("{}: no known format of histories", self.file.display());
            return Err(Stop::usage(what, "say --format jsonl, jepsen-log or edn"));
        };
        Ok((format.read(text), format!("{} (guessed)", format.name())))
    }

    fn malformed(&self, wrong: &Malformed) -> Stop {
        let what = format!("{}: {wrong}", self.file.display());
        let hint = "correct the line, or say another --format or --model; \
                    `sonia-gate history check --help` has the shapes";
        Stop::usage(what, hint)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Stop {
    Stop::usage(
        format!("cannot read {}: {error}", path.display()),
        "make it a readable text file",
    )
}

/// A history with what is known of it.
struct Checked<M: Model> {
    all: Translated<M>,
    outcome: Outcome,
}

impl Check {
    fn run<M: Model>(&self) -> Result<Exit, Stop> {
        let (events, format) = self.source.events()?;
        let all = Translated::<M>::read(events).map_err(|wrong| self.source.malformed(&wrong))?;
        screen::print(&format!(
            "{} {}: {format}, {} operations, {} answered, {} without effect, {} unknown",
            screen::verb("History"),
            self.source.file.display(),
            all.calls,
            all.answered,
            all.failed,
            all.calls - all.answered - all.failed,
        ));
        if all.wordless > 0 {
            let word = screen::verb("Wordless");
            let n = all.wordless;
            screen::print(&format!(
                "{word} {n} answers that the model has no word for stay open"
            ));
        }
        let bounds = Bounds::of_states(self.states);
        let outcome = check(&all.model.spec(), &all.operations, bounds);
        let checked = Checked { all, outcome };
        match &checked.outcome {
            Outcome::Ok { states } => {
                self.draw(&checked, None)?;
                let word = screen::verb("LEGAL");
                screen::print(&format!(
                    "{word} an order explains all of it ({states} states)"
                ));
                Ok(Exit::Green)
            }
            Outcome::Unknown { key, states } => {
                self.draw(&checked, None)?;
                screen::print(&format!(
                    "{} {} was given up after {states} states",
                    screen::verb("UNKNOWN"),
                    checked.all.model.key(key)
                ));
                screen::complain("hint", "say more --states, or record shorter histories");
                Ok(Exit::Open)
            }
            Outcome::Illegal(illegal) => self.illegal(&checked, illegal),
        }
    }

    fn illegal<M: Model>(&self, checked: &Checked<M>, illegal: &Illegal) -> Result<Exit, Stop> {
        let all = &checked.all;
        let reason = minimal(&all.model.spec(), &all.operations, illegal);
        let rows = checked.rows(&checked.members(illegal), Some((illegal, &reason)));
        let needed: Vec<Row> = rows.iter().filter(|row| row.needed).cloned().collect();
        let stuck = rows.iter().position(|row| row.mark == Mark::Stuck);
        let first = stuck.unwrap_or(0).saturating_sub(DRAWN - 1);
        for line in bars(&rows[first..rows.len().min(first + DRAWN)]) {
            screen::print(&format!("{:>12} {line}", ""));
        }
        let minimum = if reason.complete {
            ""
        } else {
            ", perhaps not all of them needed"
        };
        let word = screen::verb("Minimal");
        let n = needed.len();
        screen::print(&format!(
            "{word} {n} answers contradict each other{minimum}"
        ));
        for line in bars(&needed) {
            screen::print(&format!("{:>12} {line}", ""));
        }
        self.draw(checked, Some((illegal, &reason)))?;
        screen::print(&format!(
            "{} {}",
            screen::verb("ILLEGAL"),
            checked.why(illegal)
        ));
        Ok(Exit::Red)
    }

    /// Writes the page, if one is wanted.
    fn draw<M: Model>(
        &self,
        checked: &Checked<M>,
        illegal: Option<(&Illegal, &Minimal)>,
    ) -> Result<(), Stop> {
        let Some(path) = &self.html else {
            return Ok(());
        };
        let members = match illegal {
            Some((illegal, _)) => checked.members(illegal),
            None => (0..checked.all.operations.len()).collect(),
        };
        let rows = checked.rows(&members, illegal);
        let said = match (&checked.outcome, illegal) {
            (_, Some((illegal, _))) => checked.why(illegal),
            (Outcome::Unknown { .. }, _) => "It was given up: nobody knows.".to_owned(),
            _ => "An order explains all of it.".to_owned(),
        };
        let title = format!("History {}", self.source.file.display());
        let page = page(&title, &[said], &rows);
        crate::base::files::write_atomically(path, page.as_bytes())
            .map_err(|error| places::unwritable(path, &error))?;
        screen::print(&format!("{} {}", screen::verb("Page"), path.display()));
        Ok(())
    }
}

impl<M: Model> Checked<M> {
    /// The operations of the illegal key, in order of invocation.
    fn members(&self, illegal: &Illegal) -> Vec<usize> {
        let spec = self.all.model.spec();
        let key = |op: usize| spec.key(&self.all.operations[op].input);
        let stuck = key(illegal.stuck);
        let all = 0..self.all.operations.len();
        all.filter(|&op| key(op) == stuck).collect()
    }

    fn rows(&self, members: &[usize], illegal: Option<(&Illegal, &Minimal)>) -> Vec<Row> {
        let prefix = illegal.map_or(&[][..], |(illegal, _)| &illegal.prefix);
        let places: HashMap<usize, usize> = prefix.iter().copied().zip(1..).collect();
        let mark = |op: usize| match places.get(&op) {
            Some(&place) => Mark::Placed(place),
            None if illegal.is_some_and(|(illegal, _)| illegal.stuck == op) => Mark::Stuck,
            None => Mark::Plain,
        };
        let row = |&op: &usize| {
            let operation = &self.all.operations[op];
            Row {
                label: self.all.model.words(operation),
                invoked: operation.invoked,
                returned: operation.answered.as_ref().map(|(returned, _)| *returned),
                mark: mark(op),
                needed: illegal.is_some_and(|(_, reason)| reason.operations.contains(&op)),
            }
        };
        members.iter().map(row).collect()
    }

    fn why(&self, illegal: &Illegal) -> String {
        let stuck = illegal.stuck;
        let (invoked, answered) = self.all.lines[stuck];
        let mut lines = format!("line {invoked}");
        if let Some(answered) = answered {
            let _ = write!(lines, " and {answered}");
        }
        format!(
            "{}: after {} operations nothing allows {} ({lines})",
            self.all.model.key(&illegal.key),
            illegal.prefix.len(),
            self.all.model.words(&self.all.operations[stuck]),
        )
    }
}

impl Show {
    fn run(&self) -> Result<Exit, Stop> {
        let (events, format) = self.source.events()?;
        if let Some(to) = self.to {
            return self.write(events, to);
        }
        let calls = calls(events).map_err(|wrong| self.source.malformed(&wrong))?;
        let count = |kind: Option<Kind>| {
            let ends = calls.iter();
            let of_kind = ends.filter(|call| call.end.as_ref().map(|end| end.event.kind) == kind);
            of_kind.count()
        };
        let file = self.source.file.display();
        screen::print(&format!("{} {file}: {format}", screen::verb("History")));
        screen::print(&format!(
            "{} {}: {} ok, {} fail, {} info, {} without an end",
            screen::verb("Operations"),
            calls.len(),
            count(Some(Kind::Ok)),
            count(Some(Kind::Fail)),
            count(Some(Kind::Info)),
            count(None),
        ));
        let intervals: Vec<_> = calls.iter().filter_map(Call::interval).collect();
        let pairs = overlapping_pairs(&intervals);
        screen::print(&format!("{} {pairs} pairs", screen::verb("Overlap")));
        let rows: Vec<Row> = calls.iter().take(self.rows).map(row).collect();
        for line in bars(&rows) {
            screen::print(&format!("{:>12} {line}", ""));
        }
        if let Some(more) = calls.len().checked_sub(rows.len()).filter(|more| *more > 0) {
            screen::print(&format!("{:>12} and {more} more", ""));
        }
        Ok(Exit::Green)
    }

    fn write(&self, events: Events<'_>, to: Format) -> Result<Exit, Stop> {
        let line: fn(usize, &Event) -> String = match to {
            Format::Jsonl => |_, event| json_line(event),
            Format::Edn => edn_line,
            Format::JepsenLog => {
                let hint = "say --as jsonl or --as edn";
                return Err(Stop::usage("jepsen-log is read and not written", hint));
            }
        };
        for (index, located) in events.enumerate() {
            let located = located.map_err(|wrong| self.source.malformed(&wrong))?;
            screen::print(&line(index, &located.event));
        }
        Ok(Exit::Green)
    }
}

/// A call as it was recorded, whatever it means.
fn row(call: &Call) -> Row {
    let event = &call.invoke.event;
    let mut label = format!("{} {}", event.process, event.f);
    if !event.value.is_null() {
        let _ = write!(label, " {}", event.value);
    }
    if let Some(end) = &call.end {
        let _ = match end.event.kind {
            Kind::Ok => write!(label, " → {}", end.event.value),
            kind => write!(label, " → {}", kind.name()),
        };
    }
    let ended = call.end.as_ref();
    let ended = ended.filter(|end| end.event.kind != Kind::Info);
    Row {
        label,
        invoked: call.invoke.at,
        returned: ended.map(|end| end.at),
        mark: Mark::Plain,
        needed: false,
    }
}
