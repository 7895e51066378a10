//! `chaos`: the drills there are, and one of them run.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::exit::{Exit, Stop};
use super::settings::{Chosen, Harness};
use super::{block_on, interrupt, lines, places, screen};
use crate::base::files::write_atomically;
use crate::base::{Clock, Seed};
use crate::chaos::drill::journal::{Frame, Journal, is_fine_elsewhere, now};
use crate::chaos::drill::record::{Looked, Step};
use crate::chaos::drill::timeline;
use crate::chaos::drill::{
    Environment, Event, Experiment, Record, SHIPPED, Shipped, Verdict, judge, run as drill,
};
use crate::chaos::{Judgement, Site};
use crate::model::{TargetKind, nearest};
use crate::target::Launcher;

/// Example: sonia-gate chaos degrade-cycle --seed 7
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// `list`, the name of a drill, or an experiment file (Chaos Toolkit, JSON)
    #[arg(value_name = "list|NAME|FILE")]
    what: String,
    /// A name of harness.targets, or a null target (empty, liar, echo, refuse, frozen)
    #[arg(long, value_name = "NAME", conflicts_with = "mutant")]
    target: Option<String>,
    /// Drill a target that is wrong on purpose
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// Repeats a drill: a number, decimal or 0x-hexadecimal
    #[arg(long, value_name = "N")]
    seed: Option<Seed>,
    /// End with the exit codes of Chaos Toolkit: 0 unless it was cut short or deviated
    #[arg(long)]
    lenient: bool,
    /// Where the journal goes [default: journal.json under --out/chaos/NAME]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Where journal, record and timeline (SVG) go [default: target/sonia]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Exit codes: 0 the target held; 1 it did not, or the hypothesis was not met; 2 wrong usage or a \
malformed file; 3 nothing failed and something stayed open. With --lenient as Chaos Toolkit has \
them: 0 completed, whatever was not met or not done before; 1 a malformed file, a probe of the \
hypothesis that failed, a method that was cut short, or a hypothesis not met afterwards.
Example: sonia-gate chaos degrade-cycle --seed 7";

/// Violations that are printed; all are in the journal.
const SHOWN: usize = 5;

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    if arguments.what == "list" {
        return list();
    }
    let found = find(&arguments.what);
    let (name, experiment) = match arguments.lenient {
        true => found.map_err(Stop::leniently)?,
        false => found?,
    };
    let chosen =
        Harness::read()?.choose(arguments.target.as_deref(), arguments.mutant.as_deref())?;
    let scratch = places::scratch()?;
    let run = Run {
        arguments,
        name,
        experiment,
        seed: arguments.seed.unwrap_or_else(|| Seed(rand::random())),
        launcher: Launcher {
            binary: places::binary()?,
            spec: chosen.spec.clone(),
        },
        chosen,
    };
    screen::print(&format!("{} {}", screen::verb("Seed"), run.seed));
    block_on(run.carry_out(scratch.path()))?
}

fn list() -> Result<Exit, Stop> {
    let width = SHIPPED.iter().map(|shipped| shipped.name.len()).max();
    let width = width.unwrap_or(0);
    for Shipped { name, text, .. } in SHIPPED {
        let experiment = parse(name, text)?;
        screen::print(&format!("{name:<width$}  {}", experiment.title));
        screen::print(&format!("{:<width$}  {}", "", experiment.description));
    }
    Ok(Exit::Green)
}

/// A shipped drill, or a file.
fn find(what: &str) -> Result<(String, Experiment), Stop> {
    if let Some(Shipped { name, text, .. }) = SHIPPED.iter().find(|one| one.name == what) {
        return Ok(((*name).to_owned(), parse(name, text)?));
    }
    let names = SHIPPED.map(|shipped| shipped.name);
    let text = match fs::read_to_string(what) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let near = nearest(what, names).map(|near| format!("did you mean `{near}`? "));
            return Err(Stop::usage(
                format!("no drill and no file `{what}`"),
                format!(
                    "{}the drills are {}",
                    near.unwrap_or_default(),
                    names.join(", ")
                ),
            ));
        }
        Err(error) => {
            return Err(Stop::usage(
                format!("cannot read {what}: {error}"),
                "make it a readable text file",
            ));
        }
    };
    let name = Path::new(what).file_stem().unwrap_or_default();
    Ok((name.to_string_lossy().into_owned(), parse(what, &text)?))
}

fn parse(what: &str, text: &str) -> Result<Experiment, Stop> {
    Experiment::parse(text, &environment()).map_err(|wrong| {
        Stop::usage(
            format!("{what}: {wrong}"),
            "correct the file; scenarios/ has examples, `sonia-gate chaos list` names them",
        )
    })
}

/// The environment, for files that take values from it and for the programs that they run.
fn environment() -> Environment {
    let text =
        |pair: (OsString, OsString)| Some((pair.0.into_string().ok()?, pair.1.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

/// A drill, ready to begin.
struct Run<'a> {
    arguments: &'a Arguments,
    name: String,
    experiment: Experiment,
    seed: Seed,
    launcher: Launcher,
    chosen: Chosen,
}

impl Run<'_> {
    async fn carry_out(self, scratch: &Path) -> Result<Exit, Stop> {
        let (began, start) = (Instant::now(), now());
        let title = &self.experiment.title;
        screen::print(&format!("{} {}: {title}", screen::verb("Drill"), self.name));
        // Whether there can be a journal is known before anything is done. Until the last one is
        // written, what is on disk says that the drill was cut short.
        let cut = Record {
            interrupted: true,
            ..Record::default()
        };
        let judgement = judge(&self.experiment, &cut);
        self.write(&cut, &judgement, (&start, Duration::ZERO))?;
        let mut record = Record::default();
        let judgement = match &self.chosen.spec.kind {
            TargetKind::Remote { url } if self.experiment.needs_a_target() => {
                let mut judgement = Judgement::default();
                judgement.undecided(format!(
                    "{url} is only a URL: nothing can be injected there, nor killed"
                ));
                judgement
            }
            _ => {
                self.drill(scratch, &mut record).await?;
                judge(&self.experiment, &record)
            }
        };
        self.write(&record, &judgement, (&start, began.elapsed()))?;
        let exit = self.close(&judgement, began.elapsed());
        Ok(match (self.arguments.lenient, is_fine_elsewhere(&record)) {
            (false, _) => exit,
            (true, true) => Exit::Green,
            (true, false) => Exit::Red,
        })
    }

    async fn drill(&self, scratch: &Path, record: &mut Record) -> Result<(), Stop> {
        let cancel = interrupt::cancel()?;
        let site = Site::open(
            self.seed,
            Clock::start(),
            self.launcher.clone(),
            scratch.join("drill"),
        );
        let mut site = site
            .await
            .map_err(|error| Stop::usage(format!("no doubles: {error}"), "free some ports"))?;
        drill(&self.experiment, &mut site, record, cancel, &mut tell).await;
        Ok(())
    }

    /// Where files go that are not named otherwise.
    fn folder(&self) -> PathBuf {
        let out = self.arguments.out.clone();
        let out = out.unwrap_or_else(|| PathBuf::from("target/sonia"));
        out.join("chaos").join(&self.name)
    }

    fn journal(&self) -> PathBuf {
        let named = self.arguments.journal.clone();
        named.unwrap_or_else(|| self.folder().join("journal.json"))
    }

    fn write(
        &self,
        record: &Record,
        judgement: &Judgement,
        (start, elapsed): (&str, Duration),
    ) -> Result<(), Stop> {
        let frame = Frame {
            seed: self.seed,
            target: self.chosen.spec.name.clone(),
            start: start.to_owned(),
            end: now(),
            duration: elapsed.as_secs_f64(),
        };
        let journal = Journal::of(&self.experiment, record, judgement, frame);
        let path = self.journal();
        crate::report::write_json(&path, &journal)
            .map_err(|error| places::unwritable(&path, &error))?;
        let path = self.folder().join("record.json");
        crate::report::write_json(&path, record)
            .map_err(|error| places::unwritable(&path, &error))?;
        let path = self.folder().join("timeline.svg");
        let picture = timeline::svg(&self.experiment.title, record);
        write_atomically(&path, picture.as_bytes())
            .map_err(|error| places::unwritable(&path, &error))
    }

    /// The end: what went wrong, how to repeat it, the verdict.
    fn close(&self, judgement: &Judgement, elapsed: Duration) -> Exit {
        let verdict = Verdict::of(judgement);
        let reasons = judgement.violations.iter().chain(&judgement.undecided);
        let reasons: Vec<&String> = reasons.collect();
        for reason in reasons.iter().take(SHOWN) {
            screen::print(&format!("{:>12} {reason}", ""));
        }
        if let Some(more) = reasons.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            screen::print(&format!("{:>12} and {more} more, in the journal", ""));
        }
        let journal = self.journal();
        screen::print(&format!(
            "{} {}",
            screen::verb("Journal"),
            journal.display()
        ));
        screen::print(&format!("hint: {}", self.again()));
        let green = verdict == Verdict::Pass && !self.chosen.mutated;
        let text = match (verdict, green) {
            (Verdict::Pass, false) => format!(
                "{}: a target that is wrong on purpose held",
                self.chosen.spec.name
            ),
            _ if judgement.detail.is_empty() => format!("{} reasons", reasons.len()),
            _ => judgement.detail.clone(),
        };
        let word = match (verdict, green) {
            (Verdict::Pass, false) => "UNKNOWN",
            (verdict, _) => verdict.word(),
        };
        let (word, time) = (screen::verb(word), lines::time(elapsed));
        screen::print(&format!("{word} [{time}] {}  {text}", self.name));
        match verdict {
            Verdict::Fail => Exit::Red,
            Verdict::Pass if green => Exit::Green,
            Verdict::Pass | Verdict::Unknown => Exit::Open,
        }
    }

    /// The command that repeats it.
    fn again(&self) -> String {
        let mut command = format!(
            "sonia-gate chaos {} --seed {}",
            self.arguments.what, self.seed
        );
        for (option, value) in [
            ("--target", &self.arguments.target),
            ("--mutant", &self.arguments.mutant),
        ] {
            if let Some(value) = value {
                command.push_str(&format!(" {option} {value}"));
            }
        }
        if self.arguments.lenient {
            command.push_str(" --lenient");
        }
        command
    }
}

fn tell(event: Event<'_>) {
    let line = match event {
        Event::Looked {
            when,
            title,
            looked,
        } => hypothesis(when, title, looked),
        Event::Done(step) => done(step),
        Event::Line(line) => format!("{} {}", screen::verb(line.verb), line.text),
    };
    screen::print(&line);
}

fn hypothesis(when: &str, title: &str, looked: &Looked) -> String {
    let said: Vec<String> = looked
        .probes
        .iter()
        .map(|probe| match &probe.failed {
            Some(why) => format!("{} failed: {why}", probe.name),
            None => format!("{} {}", probe.name, probe.output),
        })
        .collect();
    let met = if looked.met() { "met" } else { "not met" };
    let verb = screen::verb("Hypothesis");
    format!("{verb} {met} {when}: {title} ({})", said.join(", "))
}

fn done(step: &Step) -> String {
    let time = lines::time(Duration::from_secs_f64(step.duration));
    let outcome = match &step.failed {
        Some(why) => format!("failed: {why}"),
        None if step.output.is_null() => "done".to_owned(),
        None => step.output.to_string(),
    };
    let verb = screen::verb("Step");
    format!("{verb} [{time}] {}: {outcome}", step.name)
}
