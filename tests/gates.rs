//! Every gate that has a check, as a test of its own against the reference:
//! `cargo test --test gates -- approval-race-safe`.

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use sonia_gate::base::Seed;
use sonia_gate::checks;
use sonia_gate::model::{Model, Selection, Status, TargetSpec};
use sonia_gate::runner::{self, RunOptions};

fn main() {
    let mut arguments = Arguments::from_args();
    // Each gate has a target and clients of its own; as many at a time as the command line runs.
    arguments
        .test_threads
        .get_or_insert_with(|| 2 * std::thread::available_parallelism().map_or(1, usize::from));
    let trials = checks::CHECKS
        .iter()
        .map(|check| Trial::test(check.gate, || gate(check.gate)));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn gate(name: &str) -> Result<(), Failed> {
    let selection = Selection {
        gates: vec![name.to_owned()],
        ..Selection::default()
    };
    let model = Model::embedded()?;
    let owner = model.gate(name)?.release.clone();
    let plan = model.plan(&owner, &selection)?;
    let scratch = tempfile::tempdir()?;
    let seed = Seed(rand::random());
    let options = RunOptions {
        target: TargetSpec::reference(),
        binary: PathBuf::from(env!("CARGO_BIN_EXE_sonia-gate")),
        seed,
        jobs: 1,
        scratch: scratch.path().to_owned(),
        evidence: Path::new(env!("CARGO_TARGET_TMPDIR")).join("evidence"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        let (_stop, cancel) = tokio::sync::watch::channel(false);
        runner::run(&plan, &options, &events, cancel).await
    });
    let row = outcome
        .rows
        .iter()
        .find(|row| row.name == name)
        .ok_or("the gate has no row")?;
    if row.status == Status::Pass {
        return Ok(());
    }
    let reasons = [row.violations.as_slice(), row.undecided.as_slice()]
        .concat()
        .join("\n  ");
    let again = format!("sonia-gate gate {owner} {name} --seed {seed}");
    Err(format!("{}: {}\n  {reasons}\nhint: {again}", row.status, row.detail).into())
}
