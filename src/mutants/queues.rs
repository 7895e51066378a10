//! Defects of the queues that turns and calls wait in.

use super::{May, Mutant};

/// Turns of one queue shed, from which on these defects show: more than a push sheds, and fewer
/// than a flood does.
const FLOODED: u64 = 20;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "queue-sheds-newest",
        must: &["backpressure"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.queues.victim = |waiting| waiting - 1),
    },
    Mutant {
        name: "queue-shared-by-sessions",
        must: &["backpressure"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.queues.session = |_| "all".to_owned()),
    },
    Mutant {
        name: "stream-queue-never-drained",
        must: &["stream-backpressure"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.queues.goes_on = |shed| shed < FLOODED),
    },
    Mutant {
        name: "stream-closed-under-load",
        must: &["stream-backpressure"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.queues.stays_open = |shed| shed < FLOODED),
    },
    Mutant {
        name: "backpressure-per-queue-only",
        must: &["global-backpressure"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.queues.too_many = |_, _| false),
    },
    Mutant {
        name: "backpressure-unbounded",
        must: &["global-backpressure"],
        may: &[
            May {
                gate: "backpressure",
                reason: "a queue without an end sheds nothing",
            },
            May {
                gate: "stream-backpressure",
                reason: "a queue without an end has nothing to name",
            },
        ],
        apply: |levers| {
            levers.part(|parts| {
                parts.queues.full = |_, _| false;
                parts.queues.too_many = |_, _| false;
            });
        },
    },
];
