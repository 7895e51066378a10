//! `soak`: rounds of faults and traffic that a seed draws, for as long as somebody wants.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::json;

use super::exit::{Exit, Stop};
use super::settings::{Chosen, Harness};
use super::{block_on, interrupt, lines, places, screen};
use crate::base::{Clock, Seed};
use crate::chaos::drill::acts::audit::Audit;
use crate::chaos::drill::{Environment, Experiment, Record, Verdict, judge, run as drill};
use crate::chaos::soak::{Round, minimal};
use crate::chaos::{Judgement, Site};
use crate::model::TargetKind;
use crate::report::write_json;
use crate::runner::Cancel;
use crate::target::Launcher;

/// For how long, when nobody says.
const USUAL: Duration = Duration::from_secs(300);
/// Violations that are printed; all are in the record.
const SHOWN: usize = 5;
/// What a round with a violation came down to.
const MINIMAL_FILE: &str = "minimal.json";

/// Example: sonia-gate soak --duration 60s --seed 7
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A round is an experiment of five moves that the seed draws: turns, load, keyed writes, decisions,
pauses, latency, KILLs, stops, tampering, a full disk, storms and outages, on a target of its own. After
each move every audit chain is read. The first violation ends it: the round is made as small as it gets
and left as an experiment file, which `chaos FILE --seed N` repeats.
Exit codes: 0 no violation; 1 a violation; 2 wrong usage; 3 no violation, and a round stayed open or
none came to its end.
Example: sonia-gate soak --duration 60s --seed 7")]
pub(super) struct Arguments {
    /// Begin no further round after this time: 60s, 5m [default: 5m]
    #[arg(long, value_name = "DURATION")]
    duration: Option<SignedDuration>,
    /// Begin no further round after this many audit entries
    #[arg(long, value_name = "N")]
    ops: Option<usize>,
    /// A name of harness.targets, or a null target (empty, liar, echo, refuse, frozen)
    #[arg(long, value_name = "NAME", conflicts_with = "mutant")]
    target: Option<String>,
    /// Soak a target that is wrong on purpose
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// Repeats a soak: a number, decimal or 0x-hexadecimal
    #[arg(long, value_name = "N")]
    seed: Option<Seed>,
    /// Where records and the smallest case go [default: target/sonia/soak]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A soak under way.
struct Soak<'a> {
    arguments: &'a Arguments,
    chosen: Chosen,
    launcher: Launcher,
    out: PathBuf,
    scratch: &'a Path,
    cancel: Cancel,
    /// Targets that were started for it, for folders of their own.
    driven: usize,
}

/// What the rounds came to.
#[derive(Default)]
struct Tally {
    rounds: usize,
    open: usize,
    entries: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let chosen =
        Harness::read()?.choose(arguments.target.as_deref(), arguments.mutant.as_deref())?;
    if let TargetKind::Remote { url } = &chosen.spec.kind {
        return Err(Stop::usage(
            format!("{url} is only a URL: nothing can be injected there, nor killed"),
            "soak a target that is started here",
        ));
    }
    let seed = arguments.seed.unwrap_or_else(|| Seed(rand::random()));
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| PathBuf::from("target/sonia/soak"));
    let scratch = places::scratch()?;
    screen::print(&format!("{} {seed}", screen::verb("Seed")));
    block_on(async {
        let soak = Soak {
            arguments,
            launcher: Launcher {
                binary: places::binary()?,
                spec: chosen.spec.clone(),
            },
            chosen,
            out,
            scratch: scratch.path(),
            cancel: interrupt::cancel()?,
            driven: 0,
        };
        soak.carry_out(seed).await
    })?
}

impl Soak<'_> {
    async fn carry_out(mut self, seed: Seed) -> Result<Exit, Stop> {
        let (began, mut tally) = (Instant::now(), Tally::default());
        let limit = self.arguments.duration.map(SignedDuration::unsigned_abs);
        let limit = limit.unwrap_or(USUAL);
        let screen = screen::Screen::new(usize::try_from(limit.as_secs()).unwrap_or(usize::MAX));
        for number in 1.. {
            let enough = self.arguments.ops.is_some_and(|ops| tally.entries >= ops);
            if began.elapsed() >= limit || enough || *self.cancel.borrow() {
                break;
            }
            let round = Round::of(seed, number);
            let done = usize::try_from(began.elapsed().as_secs()).unwrap_or(usize::MAX);
            screen.progress(done, format!("round {number}: {}", round.names()));
            let start = Instant::now();
            let (record, judgement) = self.drive(&round).await?;
            if *self.cancel.borrow() {
                break;
            }
            let verdict = Verdict::of(&judgement);
            tally.rounds += 1;
            tally.open += usize::from(verdict == Verdict::Unknown);
            tally.entries += record.book.audits.last().map_or(0, Audit::entries);
            screen.line(&told(&round, verdict, &judgement, start.elapsed()));
            if verdict == Verdict::Unknown {
                let reasons = judgement.undecided.iter().take(SHOWN);
                reasons.for_each(|why| screen.line(&format!("{:>12} {why}", "")));
            }
            if verdict == Verdict::Fail {
                let exit = self.failed(&round, &record, judgement, &screen).await;
                screen.end();
                return exit;
            }
        }
        screen.end();
        Ok(self.close(&tally, began.elapsed()))
    }

    /// Runs a round, and judges it.
    async fn drive(&mut self, round: &Round) -> Result<(Record, Judgement), Stop> {
        let text = round.experiment().to_string();
        let experiment = Experiment::parse(&text, &Environment::default())
            .map_err(|why| Stop::usage(why.to_string(), "this is a bug in sonia-gate"))?;
        self.driven += 1;
        let folder = self.scratch.join(format!("soak-{}", self.driven));
        let site = Site::open(
            round.seed,
            Clock::start(),
            self.launcher.clone(),
            folder.clone(),
        );
        let mut site = site
            .await
            .map_err(|error| Stop::usage(format!("no doubles: {error}"), "free some ports"))?;
        let mut record = Record::default();
        drill(
            &experiment,
            &mut site,
            &mut record,
            self.cancel.clone(),
            &mut |_| {},
        )
        .await;
        drop(site);
        // Rounds are many, and each leaves databases; what is there is gone with the last one anyway.
        drop(std::fs::remove_dir_all(folder));
        let judgement = judge(&experiment, &record);
        Ok((record, judgement))
    }

    /// A violation: the round is made smaller, and left.
    async fn failed(
        &mut self,
        round: &Round,
        record: &Record,
        judgement: Judgement,
        screen: &screen::Screen,
    ) -> Result<Exit, Stop> {
        let path = self.out.join("record.json");
        write_json(&path, record).map_err(|error| places::unwritable(&path, &error))?;
        let path = self.out.join(MINIMAL_FILE);
        let mut smaller = minimal(round);
        let mut violations = judgement.violations;
        self.leave(&path, smaller.round())?;
        while let Some(candidate) = smaller.candidate() {
            screen.progress(0, format!("made smaller: {}", candidate.names()));
            let (_, judged) = self.drive(&candidate).await?;
            if *self.cancel.borrow() {
                break;
            }
            let fails = Verdict::of(&judged) == Verdict::Fail;
            if fails {
                violations = judged.violations;
            }
            smaller.answer(fails);
            self.leave(&path, smaller.round())?;
        }
        for violation in violations.iter().take(SHOWN) {
            screen.line(&format!("{:>12} {violation}", ""));
        }
        if violations.len() > SHOWN {
            screen.line(&format!("{:>12} and {} more", "", violations.len() - SHOWN));
        }
        let mutant = self.arguments.mutant.as_deref();
        let mutant = mutant
            .map(|name| format!(" --mutant {name}"))
            .unwrap_or_default();
        let (shown, seed) = (path.display(), round.seed);
        screen.line(&format!(
            "hint: sonia-gate chaos {shown} --seed {seed}{mutant}"
        ));
        let names = smaller.round().names();
        screen.line(&format!(
            "{} soak: a violation, with {names}",
            screen::verb("FAIL")
        ));
        Ok(Exit::Red)
    }

    fn leave(&self, path: &Path, round: &Round) -> Result<(), Stop> {
        write_json(path, &round.experiment()).map_err(|error| places::unwritable(path, &error))
    }

    fn close(&self, tally: &Tally, elapsed: Duration) -> Exit {
        let Tally {
            rounds,
            open,
            entries,
        } = tally;
        let summary = json!({"rounds": rounds, "open": open, "entries": entries});
        let path = self.out.join("soak.json");
        if let Err(error) = write_json(&path, &summary) {
            screen::complain("warning", &places::unwritable(&path, &error).to_string());
        }
        let interrupted = *self.cancel.borrow();
        let whole = *rounds > 0 && *open == 0 && !interrupted && !self.chosen.mutated;
        let mut text = format!("{rounds} rounds, {entries} audit entries, 0 violations");
        if *open > 0 {
            text.push_str(&format!(", {open} rounds stayed open"));
        }
        if interrupted {
            text.push_str(", interrupted");
        }
        if self.chosen.mutated {
            text.push_str(", on a target that is wrong on purpose");
        }
        let word = screen::verb(if whole { "PASS" } else { "UNKNOWN" });
        screen::print(&format!("{word} [{}] soak: {text}", lines::time(elapsed)));
        if whole { Exit::Green } else { Exit::Open }
    }
}

/// `        PASS [   8.312s] (3) storm, degrade  412 entries in 9 chains, ...`
fn told(round: &Round, verdict: Verdict, judgement: &Judgement, elapsed: Duration) -> String {
    let (word, time) = (screen::verb(verdict.word()), lines::time(elapsed));
    let (number, names) = (round.number, round.names());
    let detail = &judgement.detail;
    format!("{word} [{time}] ({number}) {names}  {detail}")
}
