//! The checker against todc-utils, which was written by other people for the same logs, and against
//! the brute force of [`super::tests`] on the specifications that those do not reach.

use proptest::prelude::*;
use todc_utils::specifications::etcd::{EtcdOperation, EtcdSpecification, EtcdStatus};
use todc_utils::{Action, History, WGLChecker};

use super::tests::{any_history, by_brute_force, good_history, spoiled};
use super::{Bounds, Operation, Outcome, Spec, check};
use crate::chaos::specs::kv::{self, Store};
use crate::chaos::specs::register::{Call, Input, Output, Registers};
use crate::chaos::specs::task::{self, Tasks};

type Op = Operation<Input, Output>;

fn legal<S: Spec>(spec: &S, history: &[Operation<S::Input, S::Output>]) -> bool {
    match check(spec, history, Bounds::default()) {
        Outcome::Ok { .. } => true,
        Outcome::Illegal(_) => false,
        Outcome::Unknown { key, states } => panic!("gave up on {key} after {states} states"),
    }
}

/// An operation as todc-utils has it. There an unknown write may always come last, where it changes
/// nothing, and so may a swap.
fn theirs(op: &Op) -> EtcdOperation {
    let number = |value: i64| u32::try_from(value).unwrap();
    let status = match op.output() {
        None => EtcdStatus::Unknown,
        Some(Output::Swapped(false)) => EtcdStatus::Fail,
        Some(_) => EtcdStatus::Okay,
    };
    match (op.input.call, op.output()) {
        (Call::Read, Some(Output::Value(value))) => EtcdOperation::Read(status, value.map(number)),
        (Call::Read, _) => panic!("a read without an answer is left out"),
        (Call::Write(value), _) => EtcdOperation::Write(status, number(value)),
        (Call::Cas(from, to), _) => {
            EtcdOperation::CompareAndSwap(status, (number(from), number(to)))
        }
    }
}

/// The verdict of todc-utils. Unanswered reads are left out, every other operation has a process of
/// its own, and unknown ones end after all others.
fn by_todc(history: &[Op]) -> bool {
    let told = |op: &&Op| op.answered.is_some() || op.input.call != Call::Read;
    let kept: Vec<&Op> = history.iter().filter(told).collect();
    if kept.is_empty() {
        return true;
    }
    let mut edges = Vec::new();
    for (process, op) in kept.iter().enumerate() {
        edges.push((op.invoked, 0, process));
        edges.push((op.returned().unwrap_or(u64::MAX), 1, process));
    }
    edges.sort_unstable();
    let actions = edges.into_iter().map(|(_, edge, process)| {
        let operation = theirs(kept[process]);
        let action = match edge {
            0 => Action::Call(operation),
            _ => Action::Response(operation),
        };
        (process, action)
    });
    WGLChecker::<EtcdSpecification>::is_linearizable(History::from_actions(actions.collect()))
}

/// Histories of one key of a store.
fn any_texts(longest: usize) -> impl Strategy<Value = Vec<Operation<kv::Input, kv::Output>>> {
    let letter = || prop_oneof![Just("a"), Just("b")].prop_map(str::to_owned);
    let text = prop_oneof![
        Just(""),
        Just("a"),
        Just("b"),
        Just("ab"),
        Just("ba"),
        Just("aa")
    ];
    let call = prop_oneof![
        3 => Just(kv::Call::Get),
        1 => letter().prop_map(kv::Call::Put),
        3 => letter().prop_map(kv::Call::Append),
    ];
    let op = (call, text, 0_u64..12, 0_u64..8, 0_u8..6);
    prop::collection::vec(op, 0..longest).prop_map(|raw| {
        raw.into_iter()
            .map(|(call, text, invoked, long, dice)| {
                let output = match call {
                    kv::Call::Get => kv::Output::Text(text.to_owned()),
                    _ => kv::Output::Done,
                };
                Operation {
                    input: kv::Input {
                        key: "k".into(),
                        call,
                    },
                    invoked,
                    answered: (dice > 0).then_some((invoked + long, output)),
                }
            })
            .collect()
    })
}

/// Histories of one task.
fn any_task(longest: usize) -> impl Strategy<Value = Vec<Operation<task::Input, task::Output>>> {
    use task::{Call, Output, Task};

    let name = || prop_oneof![Just("a"), Just("b")].prop_map(str::to_owned);
    let told = || {
        (1_u64..4, name()).prop_map(|(version, name)| Task {
            version,
            name,
            metadata: String::new(),
        })
    };
    let call = prop_oneof![
        2 => name().prop_map(|name| Call::Create { name, metadata: String::new() }),
        3 => (1_u64..3, name()).prop_map(|(version, name)| Call::Update {
            version,
            name: Some(name),
            metadata: None,
        }),
        1 => Just(Call::Delete),
        1 => Just(Call::Read),
    ];
    let op = (call, told(), 0_u64..10, 0_u64..8, 0_u8..10);
    prop::collection::vec(op, 0..longest).prop_map(|raw| {
        raw.into_iter()
            .map(|(call, told, invoked, long, dice)| {
                let output = match (&call, dice % 3) {
                    (Call::Create { .. }, 0) => Output::Exists(told),
                    (Call::Create { .. }, _) => Output::Created(Task { version: 1, ..told }),
                    (Call::Update { .. }, 0) => Output::Stale(told),
                    (Call::Update { .. }, _) => Output::Updated(told),
                    (Call::Delete, 0) => Output::NotFound,
                    (Call::Delete, _) => Output::Deleted {
                        version: told.version,
                    },
                    (_, 0) => Output::NotFound,
                    (_, _) => Output::Found(told),
                };
                Operation {
                    input: task::Input {
                        id: "t".into(),
                        call,
                    },
                    invoked,
                    answered: (dice > 1).then_some((invoked + long, output)),
                }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn agrees_with_todc_utils_on_small_histories(history in any_history(9)) {
        prop_assert_eq!(legal(&Registers, &history), by_todc(&history));
    }

    #[test]
    fn agrees_with_brute_force_on_texts(history in any_texts(8)) {
        prop_assert_eq!(legal(&Store, &history), by_brute_force(&Store, &history));
    }

    #[test]
    fn agrees_with_brute_force_on_tasks(history in any_task(7)) {
        prop_assert_eq!(legal(&Tasks, &history), by_brute_force(&Tasks, &history));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn agrees_with_todc_utils_on_spoiled_histories(
        history in good_history(40), at in any::<usize>(), value in 0_i64..5,
    ) {
        let history = spoiled(history, at, value);
        prop_assert_eq!(legal(&Registers, &history), by_todc(&history));
    }
}

/// Appends of many clients at once, and gets that tell their order only afterwards: each order is a
/// state of its own, so that nothing is remembered twice. Looking ahead keeps it to the one.
#[test]
fn an_order_that_shows_late_is_found_without_trying_all() {
    let op = |call, output, invoked, returned| {
        let input = kv::Input {
            key: "k".into(),
            call,
        };
        Operation::closed(input, output, invoked, returned)
    };
    let (mut history, mut text) = (Vec::new(), String::new());
    for round in 0..20_u64 {
        let begin = round * 100;
        for client in 0..8_u64 {
            // They take effect in the reverse of the order in which they return.
            let token = format!("{round}.{client} ");
            text.insert_str(text.len(), &token);
            let call = kv::Call::Append(token);
            history.push(op(call, kv::Output::Done, begin, begin + 90 - client));
        }
        let told = kv::Output::Text(text.clone());
        history.push(op(kv::Call::Get, told, begin + 91, begin + 95));
    }
    let Outcome::Ok { states } = check(&Store, &history, Bounds::default()) else {
        panic!("it is legal by construction")
    };
    assert!(states < 20_000, "{states} states");
    // The last two appends the other way round, seen by one more reader.
    let told = text.replace("19.6 19.7 ", "19.7 19.6 ");
    history.push(op(kv::Call::Get, kv::Output::Text(told), 5_000, 5_001));
    let Outcome::Illegal(illegal) = check(&Store, &history, Bounds::default()) else {
        panic!("two readers saw two orders")
    };
    assert!(history[illegal.stuck].input.call == kv::Call::Get);
    assert!(illegal.states < 20_000, "{} states", illegal.states);
}
