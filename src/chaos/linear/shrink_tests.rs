//! Minimal sub-histories, the pool, and the bound on memory.

use proptest::prelude::*;

use super::pool::{partitions, search_with};
use super::search::Found;
use super::{Bounds, Illegal, Operation, Outcome, check, minimal};
use crate::chaos::specs::register::{Call, Input, Output, Registers};

type Op = Operation<Input, Output>;

fn on(key: u32, call: Call, output: Output, invoked: u64, returned: u64) -> Op {
    Operation::closed(Input { key, call }, output, invoked, returned)
}

fn write(value: i64, invoked: u64, returned: u64) -> Op {
    on(0, Call::Write(value), Output::Written, invoked, returned)
}

fn read(value: i64, invoked: u64, returned: u64) -> Op {
    on(0, Call::Read, Output::Value(Some(value)), invoked, returned)
}

fn illegal(history: &[Op]) -> Illegal {
    match check(&Registers, history, Bounds::default()) {
        Outcome::Illegal(illegal) => illegal,
        other => panic!("{other:?}"),
    }
}

/// The minimal sub-history, and that it is one: illegal by itself and beside everything else
/// forgotten, and legal when any of its answers is forgotten too.
fn reason(history: &[Op]) -> Vec<usize> {
    let reason = minimal(&Registers, history, &illegal(history));
    assert!(reason.complete);
    let alone: Vec<Op> = reason
        .operations
        .iter()
        .map(|&op| history[op].clone())
        .collect();
    illegal(&alone);
    let without = |missing: Option<usize>| -> Vec<Op> {
        let kept = |op: &usize| reason.operations.contains(op) && Some(*op) != missing;
        (0..history.len())
            .map(|op| match kept(&op) {
                true => history[op].clone(),
                false => Operation::open(history[op].input.clone(), history[op].invoked),
            })
            .collect()
    };
    illegal(&without(None));
    for &op in &reason.operations {
        let outcome = check(&Registers, &without(Some(op)), Bounds::default());
        assert!(matches!(outcome, Outcome::Ok { .. }), "{op} is not needed");
    }
    reason.operations
}

#[test]
fn a_stale_read_is_shown_with_what_makes_it_stale_and_nothing_else() {
    let history = [
        write(7, 0, 1),
        read(7, 2, 3),
        write(1, 4, 5),
        read(1, 6, 7),
        write(2, 8, 9),
        write(3, 8, 20),
        read(2, 10, 11),
        read(1, 12, 13),
        read(2, 14, 15),
    ];
    // 1 was seen, then 2, then 1 again; and it was written once.
    assert_eq!(reason(&history), [3, 6, 7]);
}

#[test]
fn a_read_of_what_nobody_wrote_needs_no_other() {
    let history = [write(1, 0, 1), write(2, 2, 3), read(9, 4, 5), read(2, 6, 7)];
    assert_eq!(reason(&history), [2]);
}

#[test]
fn two_swaps_from_one_value_contradict_each_other() {
    let swap = |to, from| on(0, Call::Cas(1, to), Output::Swapped(true), from, from + 5);
    let history = [write(1, 0, 1), read(1, 2, 3), swap(2, 4), swap(3, 4)];
    // There was 1 once, whatever became of the write.
    assert_eq!(reason(&history), [2, 3]);
}

#[test]
fn an_unanswered_write_that_explains_is_never_forgotten() {
    let mut history = vec![
        write(1, 0, 1),
        Operation::open(
            Input {
                key: 0,
                call: Call::Write(5),
            },
            2,
        ),
        read(5, 3, 4),
        write(6, 5, 6),
    ];
    let outcome = check(&Registers, &history, Bounds::default());
    assert!(matches!(outcome, Outcome::Ok { .. }));
    history.push(read(5, 7, 8));
    // Without the answer of the first read the open write may come late, without 6 it may have.
    assert_eq!(reason(&history), [2, 3, 4]);
}

#[test]
fn a_large_history_is_reduced_within_bounds() {
    let mut history: Vec<Op> = Vec::new();
    for n in 0..2_000_u64 {
        let value = (n % 5) as i64;
        history.push(write(value, n * 4, n * 4 + 1));
        history.push(read(value, n * 4 + 2, n * 4 + 3));
    }
    history[3_001] = read(9, 6_002, 6_003);
    assert_eq!(reason(&history), [3_001]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_reason_is_minimal(
        raw in prop::collection::vec((0_u8..3, 0_i64..3, 0_u64..20, 0_u64..8), 1..12),
    ) {
        let history: Vec<Op> = raw
            .into_iter()
            .map(|(kind, value, from, long)| match kind {
                0 => write(value, from, from + long),
                1 => read(value, from, from + long),
                _ => on(0, Call::Cas(value, 2 - value), Output::Swapped(true), from, from + long),
            })
            .collect();
        if let Outcome::Illegal(_) = check(&Registers, &history, Bounds::default()) {
            prop_assert!(!reason(&history).is_empty());
        }
    }
}

/// Keys with good histories, but for some that are illegal and one that is given up.
fn many_keys(bad: &[u32]) -> Vec<Op> {
    let mut history = Vec::new();
    for key in 0..200 {
        for n in 0..20_u64 {
            let value = n as i64;
            history.push(on(
                key,
                Call::Write(value),
                Output::Written,
                n * 4,
                n * 4 + 6,
            ));
        }
        let seen = if bad.contains(&key) { 77 } else { 19 };
        history.push(on(key, Call::Read, Output::Value(Some(seen)), 100, 101));
    }
    history
}

#[test]
fn the_first_illegal_key_is_found_however_many_threads_there_are() {
    for bad in [&[][..], &[0], &[199], &[150, 31, 77]] {
        let history = many_keys(bad);
        let partitions = partitions(&Registers, &history);
        let found = |threads| {
            search_with(
                &Registers,
                &history,
                &partitions,
                Bounds::default(),
                threads,
            )
        };
        let alone = found(1);
        let first = bad.iter().min().map(|key| *key as usize);
        let illegal = alone
            .iter()
            .position(|one| matches!(one, Found::Illegal { .. }));
        assert_eq!(illegal, first);
        assert_eq!(alone.len(), first.map_or(200, |first| first + 1));
        for threads in [2, 3, 8] {
            assert_eq!(found(threads), alone, "{threads} threads");
        }
    }
}

#[test]
fn the_bound_on_memory_gives_the_same_answer_every_time() {
    // Thirteen distinct concurrent writes, then two reads that no order explains.
    let mut history: Vec<Op> = (0..13).map(|value| write(value, 0, 100)).collect();
    history.extend([read(3, 101, 102), read(4, 103, 104)]);
    let at = |bytes| {
        let bounds = Bounds {
            states: u64::MAX,
            bytes,
        };
        check(&Registers, &history, bounds)
    };
    assert!(matches!(at(u64::MAX), Outcome::Illegal(_)));
    let given_up = at(1 << 20);
    let Outcome::Unknown { states, .. } = given_up else {
        panic!("{given_up:?}")
    };
    assert!((1_000..100_000).contains(&states), "{states}");
    for _ in 0..3 {
        assert_eq!(at(1 << 20), given_up);
    }
}

#[test]
fn a_table_that_would_not_fit_is_not_begun() {
    // All at once: a hundred thousand returns with up to as many in flight.
    let history: Vec<Op> = (0..100_000).map(|value| write(value, 0, 1_000)).collect();
    let outcome = check(&Registers, &history, Bounds::default());
    assert_eq!(
        outcome,
        Outcome::Unknown {
            key: "0".into(),
            states: 0
        }
    );
}

/// What the checker counts for a partition of a hundred operations, and so for ten thousand keys
/// searched by any number of threads: far from a gibibyte.
#[test]
fn a_partition_of_a_hundred_operations_is_small() {
    let mut history: Vec<Op> = Vec::new();
    for n in 0..100_u64 {
        history.push(write(n as i64, n * 4, n * 4 + 30));
    }
    let bounds = Bounds {
        states: 1_000_000,
        bytes: 128 << 10,
    };
    let outcome = check(&Registers, &history, bounds);
    assert!(matches!(outcome, Outcome::Ok { .. }), "{outcome:?}");
}
