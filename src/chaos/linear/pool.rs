//! The partitions of a history, searched by a bounded pool of threads.
//!
//! Threads take partitions in the order of their keys. When one is illegal, none after it is begun,
//! and each before it is finished: so the first illegal one is found whatever the scheduling.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustc_hash::FxHashMap;

use super::plan::Part;
use super::search::{self, Found};
use super::{Bounds, History, Spec};

/// Operations below which a second thread costs more than it brings.
const WORTH_A_THREAD: usize = 2_000;

/// A partition: its key and its operations.
pub(super) type Partition<K> = (K, Vec<Part>);

/// The partitions, in the order of their keys.
pub(super) fn partitions<S: Spec>(spec: &S, history: &History<S>) -> Vec<Partition<S::Key>> {
    let mut numbers: FxHashMap<S::Key, usize> = FxHashMap::default();
    let mut partitions: Vec<Partition<S::Key>> = Vec::new();
    for (op, operation) in history.iter().enumerate() {
        let op = u32::try_from(op).expect("a history of four thousand million operations");
        let part = Part::of(history, op);
        let key = spec.key(&operation.input);
        let number = match numbers.get(&key) {
            Some(&number) => number,
            None => {
                numbers.insert(key.clone(), partitions.len());
                partitions.push((key, Vec::new()));
                partitions.len() - 1
            }
        };
        partitions[number].1.push(part);
    }
    partitions.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    partitions
}

/// What was found in each partition, in their order, up to the first illegal one and not beyond.
pub(super) fn search_all<S: Spec>(
    spec: &S,
    history: &History<S>,
    partitions: &[Partition<S::Key>],
    bounds: Bounds,
) -> Vec<Found> {
    let useful = (history.len() / WORTH_A_THREAD + 1).min(partitions.len());
    // How many processors there are is only asked where it matters: the answer takes longer than a
    // small history.
    let threads = match useful {
        0 | 1 => 1,
        useful => {
            thread::available_parallelism().map_or(1, |processors| useful.min(processors.get()))
        }
    };
    search_with(spec, history, partitions, bounds, threads)
}

/// The same by so many threads.
pub(super) fn search_with<S: Spec>(
    spec: &S,
    history: &History<S>,
    partitions: &[Partition<S::Key>],
    bounds: Bounds,
    threads: usize,
) -> Vec<Found> {
    let turn = Mutex::new(());
    let next = AtomicUsize::new(0);
    let illegal = AtomicUsize::new(partitions.len());
    let work = || {
        let mut found = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            // An illegal partition further on may still be overtaken by this one.
            if number >= partitions.len() || number > illegal.load(Ordering::Relaxed) {
                return found;
            }
            let (key, parts) = &partitions[number];
            let one = search::run(spec, history, parts, spec.init(key), bounds, &turn);
            if matches!(one, Found::Illegal { .. }) {
                illegal.fetch_min(number, Ordering::Relaxed);
            }
            found.push((number, one));
        }
    };
    let mut found = if threads <= 1 {
        work()
    } else {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let joined = workers.into_iter().map(|worker| worker.join());
            let parts = joined.map(|part| part.unwrap_or_else(|panic| resume_unwind(panic)));
            parts.flatten().collect::<Vec<_>>()
        })
    };
    found.sort_unstable_by_key(|(number, _)| *number);
    let until = illegal.into_inner();
    let found = found.into_iter().take_while(|(number, _)| *number <= until);
    found.map(|(_, found)| found).collect()
}
