//! The checker against histories written by hand, a brute-force enumeration and porcupine-rs.

use std::time::Duration;

use porcupine_rs::{CheckResult, Model};
use proptest::prelude::*;

use super::{Bounds, Operation, Outcome, Spec, check};
use crate::chaos::specs::Ttl;
use crate::chaos::specs::confirmation::{self, Confirmations};
use crate::chaos::specs::idempotency::{self, Keys};
use crate::chaos::specs::register::{Call, Input, Output, Registers};

type Op = Operation<Input, Output>;

fn closed(call: Call, output: Output, invoked: u64, returned: u64) -> Op {
    Operation::closed(Input { key: 0, call }, output, invoked, returned)
}

fn write(value: i64, invoked: u64, returned: u64) -> Op {
    closed(Call::Write(value), Output::Written, invoked, returned)
}

fn read(value: i64, invoked: u64, returned: u64) -> Op {
    closed(Call::Read, Output::Value(Some(value)), invoked, returned)
}

fn open(call: Call, invoked: u64) -> Op {
    Operation::open(Input { key: 0, call }, invoked)
}

fn legal(history: &[Op]) -> bool {
    match check(&Registers, history, Bounds::default()) {
        Outcome::Ok { .. } => true,
        Outcome::Illegal(_) => false,
        Outcome::Unknown { key, states } => panic!("gave up on {key} after {states} states"),
    }
}

#[test]
fn a_read_sees_the_last_write_and_no_older_one() {
    assert!(legal(&[write(1, 0, 1), write(2, 2, 3), read(2, 4, 5)]));
    assert!(!legal(&[write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)]));
}

#[test]
fn concurrent_operations_take_either_order_but_one_order_for_all() {
    let writes = [write(1, 0, 9), write(2, 0, 9)];
    let reads = |first, second| {
        let mut history = writes.to_vec();
        history.extend([read(first, 10, 11), read(second, 12, 13)]);
        history
    };
    assert!(legal(&reads(1, 1)));
    assert!(legal(&reads(2, 2)));
    assert!(!legal(&reads(1, 2)));
}

#[test]
fn calls_that_share_a_tick_are_concurrent() {
    assert!(legal(&[read(1, 0, 5), write(1, 5, 9)]));
    assert!(!legal(&[read(1, 0, 4), write(1, 5, 9)]));
}

#[test]
fn an_open_operation_may_happen_late_or_never_but_not_early_nor_twice() {
    assert!(legal(&[
        write(1, 0, 1),
        open(Call::Write(2), 2),
        read(1, 3, 4),
        read(2, 5, 6)
    ]));
    assert!(legal(&[
        write(1, 0, 1),
        open(Call::Write(2), 2),
        read(1, 3, 4)
    ]));
    assert!(!legal(&[
        write(1, 0, 1),
        read(2, 2, 3),
        open(Call::Write(2), 4)
    ]));
    let twice = [
        open(Call::Write(2), 0),
        read(2, 1, 2),
        write(1, 3, 4),
        read(2, 5, 6),
    ];
    assert!(!legal(&twice));
}

#[test]
fn an_open_swap_is_placed_where_it_explains() {
    let swap = open(Call::Cas(1, 2), 0);
    assert!(legal(&[swap.clone(), write(1, 1, 2), read(2, 3, 4)]));
    assert!(!legal(&[swap, write(3, 1, 2), read(2, 3, 4)]));
}

#[test]
fn keys_are_checked_apart_and_the_first_bad_one_is_named() {
    let on = |key, op: Op| Operation {
        input: Input { key, ..op.input },
        ..op
    };
    let history = [
        on(1, write(1, 0, 1)),
        on(2, write(2, 0, 1)),
        on(2, read(1, 2, 3)),
        on(1, read(1, 2, 3)),
        on(3, read(7, 2, 3)),
    ];
    let Outcome::Illegal(illegal) = check(&Registers, &history, Bounds::default()) else {
        panic!("key 2 read what was written to key 1")
    };
    assert_eq!((illegal.key.as_str(), illegal.stuck), ("2", 2));
    assert_eq!(illegal.prefix, [1]);
    assert!(legal(&history[..1]));
}

#[test]
fn an_illegal_history_shows_how_far_it_was_explained() {
    let history = [
        write(1, 0, 1),
        write(2, 2, 5),
        read(2, 3, 6),
        read(1, 7, 8),
        read(1, 9, 10),
    ];
    let Outcome::Illegal(illegal) = check(&Registers, &history, Bounds::default()) else {
        panic!("the second read went back in time")
    };
    assert_eq!(illegal.prefix, [0, 1, 2]);
    assert_eq!(illegal.stuck, 3);
}

#[test]
fn more_than_sixty_four_in_flight() {
    let mut history: Vec<Op> = (0..100).map(|i| write(i, i as u64, 1_000)).collect();
    history.push(read(99, 1_001, 1_002));
    assert!(legal(&history));
    history[0] = write(100, 0, 1_000);
    history.push(read(100, 1_003, 1_004));
    let outcome = check(&Registers, &history, Bounds::of_states(20_000));
    assert!(
        !matches!(outcome, Outcome::Ok { .. }),
        "99 and then 100, with no write in between"
    );
}

#[test]
fn the_bound_is_a_count_and_gives_the_same_answer_every_time() {
    // Twelve distinct concurrent writes, then two reads that no order explains.
    let mut history: Vec<Op> = (0..12).map(|i| write(i, 0, 100)).collect();
    history.extend([read(3, 101, 102), read(4, 103, 104)]);
    let at = |states| check(&Registers, &history, Bounds::of_states(states));
    let Outcome::Illegal(illegal) = at(1_000_000) else {
        panic!("{:?}", at(1_000_000))
    };
    for _ in 0..3 {
        assert_eq!(at(1_000_000), Outcome::Illegal(illegal.clone()));
        assert_eq!(at(illegal.states), Outcome::Illegal(illegal.clone()));
        let fewer = illegal.states - 1;
        assert_eq!(
            at(fewer),
            Outcome::Unknown {
                key: "0".into(),
                states: fewer
            }
        );
    }
}

#[test]
fn a_violation_in_one_partition_outweighs_another_that_was_given_up() {
    let mut history: Vec<Op> = (0..12).map(|i| write(i, 0, 100)).collect();
    history.extend([read(3, 101, 102), read(4, 103, 104)]);
    history.push(Operation {
        input: Input {
            key: 1,
            call: Call::Read,
        },
        ..read(9, 0, 1)
    });
    let outcome = check(&Registers, &history, Bounds::of_states(50));
    let Outcome::Illegal(illegal) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(illegal.key, "1");
}

#[test]
fn an_empty_history_is_legal() {
    assert_eq!(
        check(&Registers, &[], Bounds::default()),
        Outcome::Ok { states: 0 }
    );
    assert!(legal(&[open(Call::Write(1), 0)]));
}

/// A long history with a bounded number of clients costs about one state an operation.
#[test]
fn states_grow_with_the_length_of_a_good_history() {
    let history: Vec<Op> = (0..20_000)
        .map(|i| {
            if i % 2 == 0 {
                write(i, i as u64 * 2, i as u64 * 2 + 5)
            } else {
                gap(i)
            }
        })
        .collect();
    let Outcome::Ok { states } = check(&Registers, &history, Bounds::default()) else {
        panic!("writes alone are always legal")
    };
    assert!(states <= 2 * history.len() as u64, "{states} states");
}

fn gap(i: i64) -> Op {
    closed(
        Call::Cas(-1, -2),
        Output::Swapped(false),
        i as u64 * 2,
        i as u64 * 2 + 5,
    )
}

/// Tries every order of every choice of open operations.
fn brute_force<S: Spec>(
    spec: &S,
    history: &[Operation<S::Input, S::Output>],
    left: &mut Vec<usize>,
    state: &S::State,
) -> bool {
    if left.iter().all(|&op| history[op].answered.is_none()) {
        return true;
    }
    let returned = |op: usize| {
        history[op]
            .answered
            .as_ref()
            .map_or(u64::MAX, |(time, _)| *time)
    };
    let horizon = left.iter().map(|&op| returned(op)).min().unwrap();
    for position in 0..left.len() {
        let op = left[position];
        if history[op].invoked > horizon {
            continue;
        }
        let mut next = Vec::new();
        spec.step(state, &history[op].input, history[op].output(), &mut next);
        for state in next {
            left.remove(position);
            let found = brute_force(spec, history, left, &state);
            left.insert(position, op);
            if found {
                return true;
            }
        }
    }
    false
}

pub(super) fn by_brute_force<S: Spec>(
    spec: &S,
    history: &[Operation<S::Input, S::Output>],
) -> bool {
    let Some(first) = history.first() else {
        return true;
    };
    let init = spec.init(&spec.key(&first.input));
    brute_force(spec, history, &mut (0..history.len()).collect(), &init)
}

/// Histories of a few clients over few values, about half of them legal. Times tie often.
pub(super) fn any_history(longest: usize) -> impl Strategy<Value = Vec<Op>> {
    let call = prop_oneof![
        Just(Call::Read),
        (0_i64..3).prop_map(Call::Write),
        (0_i64..3, 0_i64..3).prop_map(|(from, to)| Call::Cas(from, to)),
    ];
    let op = (call, 0_u64..12, 0_u64..6, any::<u8>(), 0_i64..4);
    prop::collection::vec(op, 0..longest).prop_map(|raw| {
        raw.into_iter()
            .map(|(call, invoked, long, dice, value)| {
                let output = match call {
                    Call::Read => Output::Value((value < 3).then_some(value)),
                    Call::Write(_) => Output::Written,
                    Call::Cas(..) => Output::Swapped(dice % 2 == 0),
                };
                let answered = (dice >= 40).then_some((invoked + long, output));
                Operation {
                    input: Input { key: 0, call },
                    invoked,
                    answered,
                }
            })
            .collect()
    })
}

fn any_ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![
        Just(Ttl::Running),
        Just(Ttl::MayHavePassed),
        Just(Ttl::Passed)
    ]
}

/// Histories of one decision, with reissues, expiry and calls without an answer.
fn any_decision(
    longest: usize,
) -> impl Strategy<Value = Vec<Operation<confirmation::Input, confirmation::Output>>> {
    use confirmation::{Call, Input, Output, Verdict};

    let fence = || prop::option::of(1_u64..4);
    let call = prop_oneof![
        fence().prop_map(|fence| Call::Approve { fence }),
        fence().prop_map(|fence| Call::Deny { fence }),
        fence().prop_map(|fence| Call::Reissue { fence }),
    ];
    let output = prop_oneof![
        2 => Just(Output::Won),
        2 => Just(Output::Decided(Verdict::Approved)),
        1 => Just(Output::Decided(Verdict::Denied)),
        2 => Just(Output::Stale),
        1 => Just(Output::Expired),
        2 => (2_u64..5).prop_map(|fence| Output::Reissued { fence }),
    ];
    let op = (call, output, any_ttl(), 0_u64..10, 0_u64..8, 0_u8..5);
    prop::collection::vec(op, 0..longest).prop_map(|raw| {
        raw.into_iter()
            .map(|(call, output, ttl, invoked, long, dice)| {
                let input = Input {
                    id: "c".into(),
                    call,
                    ttl,
                };
                let answered = (dice > 0).then_some((invoked + long, output));
                Operation {
                    input,
                    invoked,
                    answered,
                }
            })
            .collect()
    })
}

/// Histories of one idempotency key.
fn any_key(
    longest: usize,
) -> impl Strategy<Value = Vec<Operation<idempotency::Input, idempotency::Answer>>> {
    use idempotency::{Answer, Request};

    let told = || prop_oneof![Just("x".to_owned()), Just("y".to_owned())];
    let answer = prop_oneof![
        2 => told().prop_map(Answer::Executed),
        2 => told().prop_map(Answer::Replayed),
        1 => Just(Answer::InProgress),
        1 => Just(Answer::Reused),
    ];
    let op = (0_u8..4, answer, any_ttl(), 0_u64..8, 0_u64..8, 0_u8..5);
    prop::collection::vec(op, 0..longest).prop_map(|raw| {
        idempotency::operations(
            raw.into_iter()
                .map(|(body, answer, ttl, invoked, long, dice)| {
                    let request = if body == 0 { "b" } else { "a" }.to_owned();
                    let answered = (dice > 0).then_some((invoked + long, answer));
                    (
                        Request {
                            key: "k".into(),
                            request,
                            ttl,
                        },
                        invoked,
                        answered,
                    )
                }),
        )
    })
}

/// What a register that works answers to clients whose calls overlap: legal by construction. The
/// points of linearization are in order of the list; `early` and `late` widen the intervals.
pub(super) fn good_history(longest: usize) -> impl Strategy<Value = Vec<Op>> {
    let call = prop_oneof![
        Just(Call::Read),
        (0_i64..4).prop_map(Call::Write),
        (0_i64..4, 0_i64..4).prop_map(|(from, to)| Call::Cas(from, to)),
    ];
    let op = (call, 0_u64..40, 0_u64..40, 0_u8..20);
    prop::collection::vec(op, 1..longest).prop_map(|raw| {
        let mut state = None;
        let mut history = Vec::new();
        for (number, (call, early, late, dice)) in raw.into_iter().enumerate() {
            let point = (number as u64 + 10) * 10;
            let (before, input) = (state, Input { key: 0, call });
            let output = match call {
                Call::Read => Output::Value(state),
                Call::Write(_) => Output::Written,
                Call::Cas(from, _) => Output::Swapped(state == Some(from)),
            };
            let mut next = Vec::new();
            Registers.step(&before, &input, Some(&output), &mut next);
            let open = dice == 0;
            // An operation without an answer happens, or not.
            if !open || late % 2 == 0 {
                state = next[0];
            }
            let answered = (!open).then_some((point + late, output));
            history.push(Operation {
                input,
                invoked: point - early,
                answered,
            });
        }
        history
    })
}

#[derive(Clone, Debug)]
struct Peer;

impl Model for Peer {
    type State = Option<i64>;
    type Op = (Input, Option<Output>);
    type Metadata = ();

    fn init() -> Option<i64> {
        None
    }

    fn step(state: &Option<i64>, (input, output): &Self::Op) -> (bool, Option<i64>) {
        let mut next = Vec::new();
        Registers.step(state, input, output.as_ref(), &mut next);
        next.first().map_or((false, *state), |next| (true, *next))
    }
}

/// The verdict of porcupine-rs. Times are replaced by ranks, calls before returns, so that both
/// sides agree on ties; an open operation returns at the end of time.
fn by_porcupine(history: &[Op]) -> Option<bool> {
    let mut edges = Vec::new();
    for (op, operation) in history.iter().enumerate() {
        edges.push((operation.invoked, 0, op));
        let returned = operation
            .answered
            .as_ref()
            .map_or(u64::MAX, |(time, _)| *time);
        edges.push((returned, 1, op));
    }
    edges.sort_unstable();
    let mut times = vec![(0, 0); history.len()];
    for (rank, &(_, edge, op)) in edges.iter().enumerate() {
        let rank = i64::try_from(rank).unwrap();
        if edge == 0 {
            times[op].0 = rank
        } else {
            times[op].1 = rank
        }
    }
    let history: Vec<porcupine_rs::Operation<Peer>> = history
        .iter()
        .zip(times)
        .map(
            |(operation, (call_time, return_time))| porcupine_rs::Operation {
                client_id: None,
                call_time,
                return_time: if operation.answered.is_some() {
                    return_time
                } else {
                    i64::MAX
                },
                op: (operation.input.clone(), operation.output().copied()),
                metadata: None,
            },
        )
        .collect();
    match porcupine_rs::check_operations_timeout(&history, Duration::from_secs(60)) {
        CheckResult::Ok => Some(true),
        CheckResult::Illegal => Some(false),
        CheckResult::Unknown => None,
    }
}

/// A good history with one answer replaced: often illegal, never by much.
pub(super) fn spoiled(mut history: Vec<Op>, at: usize, value: i64) -> Vec<Op> {
    let at = at % history.len();
    if let Some((_, output)) = &mut history[at].answered {
        *output = match output {
            Output::Value(_) => Output::Value(Some(value)),
            Output::Written => Output::Written,
            Output::Swapped(done) => Output::Swapped(!*done),
        };
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_brute_force(history in any_history(8)) {
        prop_assert_eq!(legal(&history), by_brute_force(&Registers, &history));
    }

    #[test]
    fn agrees_with_brute_force_on_decisions(history in any_decision(7)) {
        let spec = Confirmations::one("c", 1);
        let outcome = check(&spec, &history, Bounds::default());
        let legal = matches!(outcome, Outcome::Ok { .. });
        prop_assert_eq!(legal, by_brute_force(&spec, &history));
    }

    #[test]
    fn agrees_with_brute_force_on_idempotency_keys(history in any_key(5)) {
        let outcome = check(&Keys, &history, Bounds::default());
        let legal = matches!(outcome, Outcome::Ok { .. });
        prop_assert_eq!(legal, by_brute_force(&Keys, &history));
    }

    #[test]
    fn agrees_with_porcupine_on_small_histories(history in any_history(10)) {
        prop_assert_eq!(Some(legal(&history)), by_porcupine(&history));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_good_history_is_legal(history in good_history(60)) {
        prop_assert!(legal(&history));
        prop_assert_eq!(by_porcupine(&history), Some(true));
    }

    #[test]
    fn agrees_with_porcupine_on_spoiled_histories(
        history in good_history(60), at in any::<usize>(), value in 0_i64..5,
    ) {
        let history = spoiled(history, at, value);
        prop_assert_eq!(Some(legal(&history)), by_porcupine(&history));
    }
}

#[test]
fn random_histories_are_of_both_kinds() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut counts = [0, 0];
    for _ in 0..500 {
        let history = any_history(8).new_tree(&mut runner).unwrap().current();
        counts[usize::from(legal(&history))] += 1;
    }
    assert!(
        counts.iter().all(|count| *count > 50),
        "illegal and legal: {counts:?}"
    );
}
