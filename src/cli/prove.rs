//! `prove`: runs every gate on the clean target and every mutant against the gates that it has to
//! break, and writes the kill matrix.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::exit::{Exit, Stop};
use super::{GatesFolder, Pick, block_on, interrupt, lines, places, screen};
use crate::base::Seed;
use crate::model::{NULL_TARGETS, Plan, Status, TargetSpec};
use crate::mutants;
use crate::report::{self, JOURNAL_FILE, KillMatrix, MATRIX_FILE, ProofJournal};
use crate::runner::{self, Against, CellRole, Known, Outcome, Proof, ProveOptions, Proven, Scope};
use crate::target::tools;

/// Example: sonia-gate prove v4.7 approval-race-safe
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: sonia-gate prove v4.7 approval-race-safe")]
pub(super) struct Arguments {
    #[command(flatten)]
    pick: Pick,
    /// Run every gate under every mutant, to find bystanders; of a selection: its mutants against
    /// every gate, and every mutant against it
    #[arg(long, conflicts_with = "sample")]
    all: bool,
    /// Run this many further pairs of mutant and gate, chosen by the commit
    #[arg(long, value_name = "K")]
    sample: Option<usize>,
    /// Repeats a proof: a number, decimal or 0x-hexadecimal
    #[arg(long, value_name = "N")]
    seed: Option<Seed>,
    /// Go on with the last proof of these sources: what it decided is not driven again
    #[arg(long, conflicts_with = "seed")]
    resume: bool,
    /// How many drives at a time [default: six times the processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Where the matrix goes [default: releases/vX.Y.Z for a whole release, else target/sonia]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    gates_folder: GatesFolder,
    /// Print what is not as declared, the summary and the verdict only
    #[arg(long)]
    quiet: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let model = arguments.gates_folder.model()?;
    let plan = model.plan(&arguments.pick.release, &arguments.pick.selection())?;
    let digest = model.proof_digest()?;
    let begun = Begun::of(arguments, &plan, &digest)?;
    let scratch = places::scratch()?;
    screen::print(&format!("{} {}", screen::verb("Seed"), begun.seed));
    block_on(carry_out(arguments, &plan, &digest, begun, scratch.path()))?
}

/// Where evidence of targets that are wrong on purpose goes, and the journal of a proof: never beside
/// a release's own.
fn folder(plan: &Plan) -> PathBuf {
    Path::new("target/sonia/prove").join(&plan.release.name)
}

/// Whether there is a journal of these sources to go on with.
pub(super) fn can_resume(plan: &Plan, digest: &str) -> bool {
    let path = folder(plan).join(JOURNAL_FILE);
    ProofJournal::resume(&path, &plan.release.name, digest).is_ok_and(|found| found.is_some())
}

/// A proof that begins, or goes on.
struct Begun {
    journal: ProofJournal,
    seed: Seed,
    known: Known,
}

impl Begun {
    fn of(arguments: &Arguments, plan: &Plan, digest: &str) -> Result<Self, Stop> {
        let path = folder(plan).join(JOURNAL_FILE);
        let unwritable = |error: std::io::Error| places::unwritable(&path, &error);
        let release = &plan.release.name;
        if arguments.resume {
            let found = ProofJournal::resume(&path, release, digest).map_err(unwritable)?;
            let (journal, seed, known) = found.ok_or_else(|| {
                Stop::usage(
                    format!("{} is no journal of these sources", path.display()),
                    "prove without --resume; what it decides can be gone on with",
                )
            })?;
            let text = format!(
                "{} {} drives are known",
                screen::verb("Resumed"),
                known.len()
            );
            screen::print(&text);
            return Ok(Self {
                journal,
                seed,
                known,
            });
        }
        let seed = arguments.seed.unwrap_or_else(|| Seed(rand::random()));
        Ok(Self {
            journal: ProofJournal::begin(&path, release, digest, seed).map_err(unwritable)?,
            seed,
            known: Known::new(),
        })
    }
}

async fn carry_out(
    arguments: &Arguments,
    plan: &Plan,
    digest: &str,
    begun: Begun,
    scratch: &Path,
) -> Result<Exit, Stop> {
    let Begun {
        journal,
        seed,
        known,
    } = begun;
    let began = Instant::now();
    let cancel = interrupt::cancel()?;
    let commit = tools::git_state(Path::new("."))
        .await
        .map(|state| state.commit);
    let out = places::out(arguments.out.as_ref(), &plan.release, plan.whole);
    let options = ProveOptions {
        binary: places::binary()?,
        seed,
        jobs: arguments.jobs.map_or_else(places::proof_jobs, usize::from),
        scope: arguments.scope(commit.as_deref().unwrap_or(digest)),
        known,
        scratch: scratch.to_owned(),
        evidence: folder(plan),
    };
    let nulls: Vec<TargetSpec> = NULL_TARGETS
        .into_iter()
        .filter_map(TargetSpec::null)
        .collect();
    let mutants = mutants::all();
    let (events, received) = mpsc::unbounded_channel();
    let work = async {
        let proof = runner::prove(plan, &mutants, &nulls, &options, &events, cancel).await;
        drop(events);
        proof
    };
    let (proof, ()) = tokio::join!(work, watch(received, arguments, seed, journal));
    let path = out.join(MATRIX_FILE);
    if proof.interrupted {
        // A matrix that was cut short would only replace a better one.
        screen::complain(
            "warning",
            &format!("interrupted; {} is as it was", path.display()),
        );
        screen::complain("hint", "the same with --resume goes on from here");
    } else {
        let matrix = KillMatrix::of(&plan.release.name, digest, commit.as_deref(), seed, &proof);
        report::write_json(&path, &matrix).map_err(|error| places::unwritable(&path, &error))?;
        screen::print(&format!("{} {}", screen::verb("Matrix"), path.display()));
    }
    Ok(close(plan, &proof, began))
}

impl Arguments {
    fn scope(&self, commit: &str) -> Scope {
        match (self.all, self.sample) {
            (true, _) => Scope::All,
            (false, Some(pairs)) => Scope::Sample {
                pairs,
                seed: Seed(0).child(commit),
            },
            (false, None) => Scope::Named,
        }
    }
}

async fn watch(
    mut received: mpsc::UnboundedReceiver<Proven>,
    arguments: &Arguments,
    seed: Seed,
    mut journal: ProofJournal,
) {
    let mut screen: Option<screen::Screen> = None;
    let (mut done, mut again) = (0, Vec::new());
    while let Some(proven) = received.recv().await {
        let screen = screen.get_or_insert_with(|| screen::Screen::new(proven.of));
        done += 1;
        if let Err(error) = journal.note(&proven) {
            screen.complain("warning", &format!("the journal was not written: {error}"));
        }
        let (word, as_declared) = word(proven.against, proven.row.status);
        if !as_declared {
            let option = match proven.against {
                Against::Mutant(_) => "--mutant",
                Against::Reference | Against::Null => "--target",
            };
            again.push(format!(
                "sonia-gate gate {} {} {option} {} --seed {seed}",
                arguments.pick.release, proven.row.name, proven.target
            ));
        }
        if !arguments.quiet || !as_declared {
            screen.line(&line(word, &proven, done));
        }
        screen.progress(done, live(&proven));
    }
    if let Some(screen) = screen {
        screen.end();
    }
    again
        .iter()
        .for_each(|command| screen::print(&format!("hint: {command}")));
}

/// `about 4 min left, audit-constant-prev`
fn live(proven: &Proven) -> String {
    let target = &proven.target;
    match proven.left {
        Some(left) if left >= Duration::from_secs(90) => {
            format!("about {:.0} min left, {target}", left.as_secs_f64() / 60.0)
        }
        Some(left) => format!("about {} s left, {target}", left.as_secs()),
        None => target.clone(),
    }
}

/// `      KILLED [   0.512s] ( 3/26) audit-constant-prev by audit-chain-present  1 broken link`
fn line(word: &str, proven: &Proven, done: usize) -> String {
    let Proven {
        target, row, of, ..
    } = proven;
    let width = of.to_string().len();
    let pair = match proven.against {
        Against::Reference => format!("{} on the {target}", row.name),
        Against::Mutant(_) | Against::Null => format!("{target} by {}", row.name),
    };
    format!(
        "{} [{}] ({done:>width$}/{of}) {pair}  {}",
        screen::verb(word),
        lines::time(row.duration),
        row.detail
    )
}

/// What a drive is called, and whether it is as declared.
fn word(against: Against, status: Status) -> (&'static str, bool) {
    use Against::{Mutant, Null, Reference};
    use CellRole::{Bystander, May, Must};
    match (against, status) {
        (Reference, Status::Pass) => ("PASS", true),
        (Reference, Status::Fail) => ("BROKEN", false),
        (Mutant(Must | May), Status::Fail) => ("KILLED", true),
        (Mutant(Must), Status::Pass) => ("SURVIVED", false),
        (Mutant(May), _) | (Mutant(Bystander), Status::Pass) => ("HELD", true),
        (Mutant(Bystander), Status::Fail) => ("BYSTANDER", false),
        (Reference | Mutant(Must | Bystander), _) => ("UNDECIDED", false),
        (Null, Status::Pass) => ("VACUOUS", false),
        (Null, _) => ("REFUSED", true),
    }
}

fn close(plan: &Plan, proof: &Proof, began: Instant) -> Exit {
    for (gate, mutant) in &proof.missing {
        screen::print(&format!(
            "{} {mutant} of {gate} is not built yet",
            screen::verb("MISSING")
        ));
    }
    let count = |outcome| {
        proof
            .mutants
            .iter()
            .filter(|one| one.outcome() == outcome)
            .count()
    };
    let controlled = proof
        .checked
        .iter()
        .filter(|(gate, _)| proof.controlled(gate))
        .count();
    let vacuous: usize = proof.nulls.iter().map(|null| null.passed().len()).sum();
    screen::print(&format!(
        "{} [{}] {} mutants: {} killed, {} survived, {} with bystanders, {} undecided, {} not built; \
         control: {controlled} of {} gates pass; {} null targets passed {vacuous} gates; {} gates have \
         no check yet",
        screen::verb("Summary"),
        lines::time(began.elapsed()),
        proof.mutants.len() - count(Outcome::Elsewhere),
        count(Outcome::Killed),
        count(Outcome::Survived),
        count(Outcome::Bystander),
        count(Outcome::Undecided),
        proof.missing.len(),
        proof.checked.len(),
        proof.nulls.len(),
        proof.unchecked.len()
    ));
    let (word, text, exit) = match (proof.refuted(), proof.open()) {
        (true, _) => ("REFUTED", "something is not as declared", Exit::Red),
        (false, true) => ("OPEN", "something stayed open", Exit::Open),
        (false, false) => (
            "PROVEN",
            "every gate passes on the reference, every mutant is killed as declared",
            Exit::Green,
        ),
    };
    screen::print(&format!(
        "{} {}: {text}",
        screen::verb(word),
        plan.release.name
    ));
    exit
}
