//! How fast and how frugal the checker is, beside porcupine-rs in the same run:
//! `cargo bench --bench checker`.
//!
//! First a table: medians of the six logs in `fixtures/histories`, of a key-value history with 50
//! clients, and of generated registers from 10^2 to 10^6 operations, and the peak of resident memory
//! for 10^6 operations over 10^4 keys. Then criterion measures the same. `ETCD_LOGS=DIR` takes all
//! `*.log` of a folder (the public set has 102) and `KV_HISTORY=FILE` a key-value history in EDN.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufReader, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use criterion::{Criterion, Throughput};
use porcupine_rs::CheckResult;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use sonia_gate::base::Seed;
use sonia_gate::chaos::history::Format;
use sonia_gate::chaos::linear::{Bounds, Operation, Outcome, Spec, check};
use sonia_gate::chaos::models::{CasRegister, Kv, Model, OperationOf, Translated};
use sonia_gate::chaos::specs::kv::{self, Store};
use sonia_gate::chaos::specs::register::{Call, Input, Output, Registers};

/// Runs of which the median is taken, at most, and how long they may take together.
const RUNS: usize = 101;
const TOGETHER: Duration = Duration::from_secs(3);
/// Of a key of a generated history.
const OPS_A_KEY: usize = 100;
/// In flight at once on one key, about.
const CLIENTS: u64 = 8;
/// Largest history that the other checker is given: it takes one thread a key.
const THEIRS: usize = 10_000;

/// When the other checker gives up.
const GIVE_UP: Duration = Duration::from_secs(20);

type Register = Operation<Input, Output>;
type Text = Operation<kv::Input, kv::Output>;

fn main() -> Result<()> {
    memory()?;
    let logs = logs()?;
    let texts = texts()?;
    table(&logs, &texts)?;
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_millis(500))
        .configure_from_args();
    let mut group = criterion.benchmark_group("etcd");
    for (name, log) in logs.iter().take(6) {
        group.bench_function(name.as_str(), |b| {
            b.iter(|| ours(&Registers, black_box(log)))
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("kv");
    group.throughput(Throughput::Elements(texts.len() as u64));
    group.bench_function("50 clients", |b| b.iter(|| ours(&Store, black_box(&texts))));
    group.finish();
    for (name, keyed) in [("many keys", true), ("one key", false)] {
        let mut group = criterion.benchmark_group(name);
        for power in 2..=6 {
            let ops = 10_usize.pow(power);
            let history = registers(ops, if keyed { ops / OPS_A_KEY } else { 1 });
            group
                .sample_size(10)
                .throughput(Throughput::Elements(ops as u64));
            group.bench_function(format!("10^{power}"), |b| {
                b.iter(|| ours(&Registers, black_box(&history)));
            });
        }
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}

/// Peak of resident memory while 10^6 operations over 10^4 keys are checked.
fn memory() -> Result<()> {
    let before = peak_mib()?;
    let history = registers(1_000_000, 10_000);
    let recorded = peak_mib()?;
    let legal = ours(&Registers, &history);
    anyhow::ensure!(
        legal == Some(true),
        "a history that is legal by construction"
    );
    let checked = peak_mib()?;
    say(&format!(
        "memory, 10^6 operations over 10^4 keys: {before:.0} MiB before, {recorded:.0} MiB with the \
         history, {checked:.0} MiB at the peak of the check"
    ))
}

fn peak_mib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|rest| rest.split_whitespace().next());
    let kib: f64 = kib.context("the kernel tells VmHWM")?.parse()?;
    Ok(kib / 1024.0)
}

fn table(logs: &[(String, Vec<Register>)], texts: &[Text]) -> Result<()> {
    say("| history | operations | here | porcupine-rs | times faster |")?;
    say("|---|---|---|---|---|")?;
    let (mut all_ours, mut all_theirs) = (Vec::new(), Vec::new());
    for (name, log) in logs {
        let (ours, theirs) = both(&Registers, log)?;
        all_ours.push(ours);
        all_theirs.push(theirs);
        if logs.len() <= 6 {
            row(name, log.len(), ours, Some(theirs))?;
        }
    }
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let ops: usize = logs.iter().map(|(_, log)| log.len()).sum();
    let name = format!("etcd, the median of {} logs", logs.len());
    let medians = (median(&all_ours), median(&all_theirs));
    row(&name, ops / logs.len(), medians.0, Some(medians.1))?;
    let name = format!("etcd, all {} logs", logs.len());
    row(
        &name,
        ops,
        all_ours.iter().sum(),
        Some(all_theirs.iter().sum()),
    )?;
    let (ours_took, theirs) = both(&Store, texts)?;
    row(
        "key-value, 50 clients",
        texts.len(),
        ours_took,
        Some(theirs),
    )?;
    for keyed in [true, false] {
        for power in 2..=6 {
            let ops = 10_usize.pow(power);
            let keys = if keyed { ops / OPS_A_KEY } else { 1 };
            let history = registers(ops, keys);
            let name = format!("registers, 10^{power} operations, {keys} keys");
            if ops <= THEIRS {
                let (here, there) = both(&Registers, &history)?;
                row(&name, ops, here, Some(there))?;
            } else {
                row(&name, ops, time(|| ours(&Registers, &history)), None)?;
            }
        }
    }
    Ok(())
}

fn row(name: &str, ops: usize, ours: Duration, theirs: Option<Duration>) -> Result<()> {
    let micros = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
    let faster = theirs.map_or(String::new(), |theirs| {
        format!("{:.1}", theirs.as_secs_f64() / ours.as_secs_f64())
    });
    let theirs = theirs.map_or(String::new(), micros);
    say(&format!(
        "| {name} | {ops} | {} | {theirs} | {faster} |",
        micros(ours)
    ))
}

/// How long each of the two takes; that they agree is looked at first. Where the other one does not
/// find an end, its time is that of giving up.
fn both<S: Known>(
    spec: &S,
    history: &[Operation<S::Input, S::Output>],
) -> Result<(Duration, Duration)> {
    let parts = parts(spec, history);
    let (verdict, other) = (ours(spec, history), theirs(&parts));
    // The other one gives up after a time.
    let agree = other.is_none() || verdict == other;
    anyhow::ensure!(agree, "{verdict:?} here and {other:?} there");
    Ok((
        time(|| ours(spec, history)),
        time(|| theirs(black_box(&parts))),
    ))
}

/// The median of some runs.
fn time<T>(mut run: impl FnMut() -> T) -> Duration {
    let (began, mut took) = (Instant::now(), Vec::new());
    while took.is_empty() || took.len() < RUNS && began.elapsed() < TOGETHER {
        let start = Instant::now();
        black_box(run());
        took.push(start.elapsed());
    }
    took.sort_unstable();
    took[took.len() / 2]
}

fn ours<S: Spec>(spec: &S, history: &[Operation<S::Input, S::Output>]) -> Option<bool> {
    match check(spec, history, Bounds::default()) {
        Outcome::Ok { .. } => Some(true),
        Outcome::Illegal(_) => Some(false),
        Outcome::Unknown { .. } => None,
    }
}

/// A specification that the other checker is given too.
trait Known:
    Spec<State: Debug + Send + Sync, Input: Clone + Debug + Send, Output: Clone + Debug + Send>
    + Clone
    + Default
    + Send
{
    /// The state of every key at first.
    fn begin() -> Self::State;
}

impl Known for Registers {
    fn begin() -> Option<i64> {
        None
    }
}

impl Known for Store {
    fn begin() -> String {
        String::new()
    }
}

#[derive(Clone, Debug)]
struct Peer<S>(PhantomData<S>);

impl<S: Known> porcupine_rs::Model for Peer<S> {
    type State = S::State;
    type Op = (S::Input, Option<S::Output>);
    type Metadata = ();

    fn init() -> S::State {
        S::begin()
    }

    fn step(state: &S::State, (input, output): &Self::Op) -> (bool, S::State) {
        let mut next = Vec::new();
        S::default().step(state, input, output.as_ref(), &mut next);
        match next.pop() {
            Some(next) => (true, next),
            None => (false, state.clone()),
        }
    }
}

type Part<S> = Vec<porcupine_rs::Operation<Peer<S>>>;

/// The partitions of a history, in the other checker's words.
fn parts<S: Known>(spec: &S, history: &[Operation<S::Input, S::Output>]) -> Vec<Part<S>> {
    let mut parts: BTreeMap<S::Key, Part<S>> = BTreeMap::new();
    let time = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    for operation in history {
        let part = parts.entry(spec.key(&operation.input)).or_default();
        let answered = operation.answered.as_ref();
        part.push(porcupine_rs::Operation {
            client_id: None,
            call_time: time(operation.invoked),
            return_time: answered.map_or(i64::MAX, |(returned, _)| time(*returned)),
            op: (operation.input.clone(), operation.output().cloned()),
            metadata: None,
        });
    }
    parts.into_values().collect()
}

fn theirs<S: Known>(parts: &[Part<S>]) -> Option<bool> {
    let mut legal = true;
    for part in parts {
        match porcupine_rs::check_operations_timeout(part, GIVE_UP) {
            CheckResult::Ok => {}
            CheckResult::Illegal => legal = false,
            CheckResult::Unknown => return None,
        }
    }
    Some(legal)
}

/// The logs of a folder, by name.
fn logs() -> Result<Vec<(String, Vec<Register>)>> {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/histories");
    let folder = std::env::var_os("ETCD_LOGS").map_or_else(own, PathBuf::from);
    let mut logs = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let log = read::<CasRegister>(&path, Format::JepsenLog)?;
            logs.push((name.into_owned(), log));
        }
    }
    logs.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(logs)
}

fn read<M: Model>(path: &Path, format: Format) -> Result<Vec<OperationOf<M>>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let read = Translated::<M>::read(format.read(BufReader::new(file)));
    Ok(read.with_context(|| path.display().to_string())?.operations)
}

/// The key-value history: a real one, or one as the clients of MIT's 6.824 make it: 50 clients, as
/// many keys, half of the operations appends, a tenth puts, the rest gets.
fn texts() -> Result<Vec<Text>> {
    if let Some(path) = std::env::var_os("KV_HISTORY") {
        return read::<Kv>(Path::new(&path), Format::Edn);
    }
    let mut rng = Seed(824).rng();
    let clients = 50_u64;
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    let mut history = Vec::new();
    for number in 0..1_712_u64 {
        let (client, key) = (number % clients, rng.random_range(0..10_u64));
        let text = texts.entry(key).or_default();
        let token = format!("x {client} {number} y");
        let call = match rng.random_range(0..10) {
            0..5 => kv::Call::Append(token),
            5 => kv::Call::Put(token),
            _ => kv::Call::Get,
        };
        let output = match &call {
            kv::Call::Get => kv::Output::Text(text.clone()),
            kv::Call::Append(token) => {
                text.push_str(token);
                kv::Output::Done
            }
            kv::Call::Put(token) => {
                text.clone_from(token);
                kv::Output::Done
            }
        };
        let input = kv::Input {
            key: key.to_string(),
            call,
        };
        let (invoked, returned) = around(&mut rng, number, clients);
        history.push(Operation::closed(input, output, invoked, returned));
    }
    Ok(history)
}

/// An interval around a point in a sequence, so wide that about so many are in flight at once.
fn around(rng: &mut ChaCha8Rng, number: u64, in_flight: u64) -> (u64, u64) {
    let point = (number + in_flight) * 10;
    let reach = 1..in_flight * 10;
    let invoked = point - rng.random_range(reach.clone());
    (invoked, point + rng.random_range(reach))
}

/// What registers that work answer to clients whose calls overlap.
fn registers(ops: usize, keys: usize) -> Vec<Register> {
    let mut rng = Seed(7).rng();
    let mut states = vec![None; keys];
    let mut history = Vec::with_capacity(ops);
    for number in 0..ops {
        let key = number % keys;
        let state = &mut states[key];
        let (from, to) = (rng.random_range(0..5), rng.random_range(0..5));
        let (call, output) = match rng.random_range(0..3) {
            0 => (Call::Read, Output::Value(*state)),
            1 => (Call::Write(to), Output::Written),
            _ => (Call::Cas(from, to), Output::Swapped(*state == Some(from))),
        };
        if output == Output::Written || output == Output::Swapped(true) {
            *state = Some(to);
        }
        let input = Input {
            key: key as u32,
            call,
        };
        let (invoked, returned) = around(&mut rng, (number / keys) as u64, CLIENTS);
        history.push(Operation::closed(input, output, invoked, returned));
    }
    history
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("stdout")
}
