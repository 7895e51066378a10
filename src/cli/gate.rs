//! `gate`: runs the gates of a release, prints a line for each, and keeps the report up to date.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use tokio::sync::mpsc;

use super::exit::{Exit, Stop};
use super::settings::{Chosen, Harness};
use super::{GatesFolder, Pick, block_on, interrupt, key, lines, matrix, papers, places, screen};
use crate::base::Seed;
use crate::model::{Model, Partition, Plan, Ruling, Status};
use crate::report::{self, Context, GateReport, GitPart, ProofUsed, REPORT_FILE};
use crate::runner::{self, Row, RunEvent, RunOptions, RunOutcome};
use crate::target::tools;
use crate::verdict::read_report;

/// Example: sonia-gate gate v4.7 approval-race-safe --seed 7
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: sonia-gate gate v4.7 approval-race-safe --seed 7")]
pub(super) struct Arguments {
    #[command(flatten)]
    pick: Pick,
    /// A URL, a name of harness.targets, or a null target (empty, liar, echo, refuse, frozen)
    #[arg(long, value_name = "NAME|URL", conflicts_with = "mutant")]
    target: Option<String>,
    /// Run a target that is wrong on purpose
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// Repeats a run: a number, decimal or 0x-hexadecimal
    #[arg(long, value_name = "N")]
    seed: Option<Seed>,
    /// How many gates at a time [default: twice the processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Run the K-th of N shares of the gates, balanced by the durations of the release's last report;
    /// `merge` makes one report of all
    #[arg(long, value_name = "K/N")]
    partition: Option<Partition>,
    /// Where report and evidence go [default: releases/vX.Y.Z for a whole run, else target/sonia]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The kill matrix that shows that the gates can fail
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// Sign the report with this private key (gate.key of `key new`)
    #[arg(long, value_name = "FILE", env = "SONIA_GATE_SIGN_KEY")]
    sign_key: Option<PathBuf>,
    #[command(flatten)]
    gates_folder: GatesFolder,
    /// Show where the time went
    #[arg(long)]
    timings: bool,
    /// Write what happens, as it happens, as lines of JSON
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Print failures, the summary and the verdict only
    #[arg(long)]
    quiet: bool,
}

/// A run, ready to begin.
struct Run<'a> {
    arguments: &'a Arguments,
    chosen: Chosen,
    plan: Plan,
    out: PathBuf,
    options: RunOptions,
    proof: ProofUsed,
    source_digest: String,
    /// Signs the report.
    key: Option<SigningKey>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let model = arguments.gates_folder.model()?;
    let mut plan = model.plan(&arguments.pick.release, &arguments.pick.selection())?;
    if let Some(share) = arguments.partition {
        plan.keep_share(share, &recorded(&plan));
        if !plan.gates.iter().any(|gate| gate.selected) {
            return Err(Stop::usage(
                format!("share {share} has no gates"),
                "ask for fewer shares than there are gates",
            ));
        }
    }
    let chosen =
        Harness::read()?.choose(arguments.target.as_deref(), arguments.mutant.as_deref())?;
    let scratch = places::scratch()?;
    let run = Run::prepare(arguments, &model, plan, chosen, scratch.path())?;
    screen::print(&format!("{} {}", screen::verb("Seed"), run.options.seed));
    block_on(run.carry_out())?
}

/// How long each gate took in the last report of the release, in seconds; nothing when there is none.
fn recorded(plan: &Plan) -> BTreeMap<String, f64> {
    let path = places::release_folder(&plan.release).join(REPORT_FILE);
    let rows = read_report(&path).map(|report| report.gates);
    let rows = rows.unwrap_or_default().into_iter();
    rows.map(|row| (row.name, row.duration_s)).collect()
}

impl Arguments {
    /// The command that repeats these gates of the run.
    fn again(&self, gates: &[String], seed: Seed) -> String {
        let mut command = format!(
            "sonia-gate gate {} {} --seed {seed}",
            self.pick.release,
            gates.join(" ")
        );
        let folder = self
            .gates_folder
            .folder
            .as_ref()
            .map(|path| path.display().to_string());
        for (option, value) in [
            ("--target", &self.target),
            ("--mutant", &self.mutant),
            ("--gates", &folder),
        ] {
            if let Some(value) = value {
                command.push_str(&format!(" {option} {value}"));
            }
        }
        command
    }
}

impl<'a> Run<'a> {
    fn prepare(
        arguments: &'a Arguments,
        model: &Model,
        plan: Plan,
        chosen: Chosen,
        scratch: &Path,
    ) -> Result<Self, Stop> {
        let for_release = plan.whole && !chosen.mutated;
        let out = places::out(arguments.out.as_ref(), &plan.release, for_release);
        let source_digest = model.proof_digest()?;
        let proof = match for_release {
            true => matrix::find(&plan, &source_digest, arguments.proof.as_ref(), &out)?,
            // A part of a release, or one made wrong on purpose, promotes nothing.
            false => ProofUsed::default(),
        };
        let options = RunOptions {
            target: chosen.spec.clone(),
            binary: places::binary()?,
            seed: arguments.seed.unwrap_or_else(|| Seed(rand::random())),
            jobs: arguments
                .jobs
                .map_or_else(places::default_jobs, usize::from),
            scratch: scratch.to_owned(),
            evidence: out.join("evidence"),
        };
        Ok(Self {
            arguments,
            chosen,
            plan,
            out,
            options,
            proof,
            source_digest,
            key: arguments.sign_key.as_deref().map(key::read).transpose()?,
        })
    }

    async fn carry_out(self) -> Result<Exit, Stop> {
        let began = Instant::now();
        let cancel = interrupt::cancel()?;
        let context = self.context().await;
        let mut view = View::new(&self, &context, began)?;
        let (events, mut received) = mpsc::unbounded_channel();
        let work = async {
            let outcome = runner::run(&self.plan, &self.options, &events, cancel).await;
            drop(events);
            Ok::<_, Stop>(outcome)
        };
        let watch = async {
            while let Some(event) = received.recv().await {
                view.see(event)?;
            }
            Ok(())
        };
        // A run that can leave no report at all is given up; its targets end with it.
        let (outcome, ()) = tokio::try_join!(work, watch)?;
        view.screen.end();
        let (ruling, written) = report::report(
            &context,
            &outcome.rows,
            outcome.interrupted,
            outcome.elapsed,
        );
        self.write(&written)?;
        papers::write(&self.out, &written, &self.plan, self.key.as_ref())?;
        self.close(&outcome, &ruling);
        papers::tell_github(&written, &self.plan);
        Ok(lines::exit(&ruling))
    }

    async fn context(&self) -> Context {
        let binary = self.options.binary.clone();
        let digest = tokio::task::spawn_blocking(move || places::digest(&binary));
        let git = tools::git_state(Path::new(".")).await;
        Context {
            plan: self.plan.clone(),
            target: self.chosen.spec.clone(),
            mutated: self.chosen.mutated,
            seed: self.options.seed,
            partition: self.arguments.partition,
            binary_sha256: digest.await.unwrap_or(None),
            source_digest: self.source_digest.clone(),
            git: git.map(|state| GitPart {
                commit: state.commit,
                dirty: state.dirty,
            }),
            proof: self.proof.clone(),
        }
    }

    fn write(&self, report: &GateReport) -> Result<(), Stop> {
        let path = self.out.join(REPORT_FILE);
        report::write_json(&path, report).map_err(|error| places::unwritable(&path, &error))
    }

    /// Everything after the last gate: failures again, what to do, the summary, the verdict.
    fn close(&self, outcome: &RunOutcome, ruling: &Ruling) {
        if self.arguments.timings {
            lines::timings(&outcome.rows)
                .iter()
                .for_each(|line| screen::print(line));
        }
        let failed = outcome.rows.iter().filter(|row| row.status == Status::Fail);
        failed
            .flat_map(lines::failure)
            .for_each(|line| screen::print(&line));
        if let Some(why) = self
            .proof
            .why_not
            .as_ref()
            .filter(|_| !ruling.unproven.is_empty())
        {
            screen::print(&format!("{} {why}", screen::verb("Proof")));
            hint(&format!("sonia-gate prove {}", self.plan.release.name));
        }
        let driven = |status| {
            let rows = outcome
                .rows
                .iter()
                .filter(move |row| row.driven && row.status == status);
            rows.map(|row| row.name.clone()).collect::<Vec<_>>()
        };
        let (failed, open) = (driven(Status::Fail), driven(Status::Unknown));
        for again in [failed, open].iter().filter(|gates| !gates.is_empty()) {
            hint(&self.arguments.again(again, self.options.seed));
        }
        let path = self.out.join(REPORT_FILE);
        screen::print(&format!("{} {}", screen::verb("Report"), path.display()));
        if self.plan.whole && !self.chosen.mutated && self.key.is_none() {
            screen::print(&lines::unsigned());
        }
        screen::print(&lines::summary(ruling, outcome.elapsed));
        screen::print(&lines::verdict(ruling, &self.plan));
    }
}

/// A file that is empty at first, in a folder that need not be there yet.
fn create(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create(path)
}

fn hint(command: &str) {
    screen::print(&format!("hint: {command}"));
}

/// What is seen of a run while it goes on: lines, the live line, the report on disk.
struct View<'a> {
    run: &'a Run<'a>,
    context: &'a Context,
    screen: screen::Screen,
    began: Instant,
    rows: Vec<Row>,
    running: Vec<usize>,
    done: usize,
    selected: usize,
    warned: bool,
    /// Where events go.
    events: Option<File>,
}

impl<'a> View<'a> {
    fn new(run: &'a Run<'a>, context: &'a Context, began: Instant) -> Result<Self, Stop> {
        let events = run
            .arguments
            .events
            .as_ref()
            .map(|path| create(path).map_err(|error| places::unwritable(path, &error)));
        let selected = run.plan.gates.iter().filter(|gate| gate.selected).count();
        let screen = screen::Screen::new(selected);
        Ok(Self {
            run,
            context,
            screen,
            began,
            rows: Vec::new(),
            running: Vec::new(),
            done: 0,
            selected,
            warned: false,
            events: events.transpose()?,
        })
    }

    fn see(&mut self, event: RunEvent) -> Result<(), Stop> {
        self.note(&event);
        match event {
            RunEvent::Started { rows, order } => {
                self.rows = rows;
                for index in (0..self.rows.len()).filter(|index| !order.contains(index)) {
                    if self.rows[index].status != Status::Skip {
                        self.finished(index);
                    }
                }
                // The first report tells before the first gate whether there can be one.
                self.run.write(&self.report())?;
                let evidence = &self.run.options.evidence;
                fs::create_dir_all(evidence)
                    .map_err(|error| places::unwritable(evidence, &error))?;
            }
            RunEvent::GateStarted { index, attempt } => {
                if attempt == 1 {
                    self.running.push(index);
                }
            }
            RunEvent::GateFinished { index, row } => {
                self.running.retain(|other| *other != index);
                self.rows[index] = *row;
                self.finished(index);
                self.keep();
            }
        }
        let names = self
            .running
            .iter()
            .map(|index| self.rows[*index].name.as_str());
        self.screen
            .progress(self.done, names.collect::<Vec<_>>().join(", "));
        Ok(())
    }

    /// Writes an event. One that cannot be written is missed, and that is said once.
    fn note(&mut self, event: &RunEvent) {
        let Some(file) = &mut self.events else {
            return;
        };
        let mut line = report::event_line(event, &self.rows, self.began.elapsed());
        line.push('\n');
        if let Err(error) = file.write_all(line.as_bytes()) {
            self.events = None;
            let text = format!("no more events are written: {error}");
            self.screen.complain("warning", &text);
        }
    }

    fn finished(&mut self, index: usize) {
        self.done += 1;
        let row = &self.rows[index];
        if !self.run.arguments.quiet || row.status == Status::Fail {
            self.screen
                .line(&lines::gate(row, self.done, self.selected));
        }
    }

    /// Writes the report as far as it got. One that cannot be written now may be writable at the
    /// end, and the run has cost too much to be thrown away.
    fn keep(&mut self) {
        if let Err(stop) = self.run.write(&self.report())
            && !self.warned
        {
            self.warned = true;
            self.screen.complain("warning", &stop.to_string());
        }
    }

    /// The report as far as the run got. Until the last one is written, what is on disk says that
    /// the run was cut short: should this process be killed, that is true.
    fn report(&self) -> GateReport {
        let elapsed: Duration = self.began.elapsed();
        report::report(self.context, &self.rows, true, elapsed).1
    }
}
