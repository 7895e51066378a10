//! Defects of the queues that turns and calls wait in.

use super::Mutant;

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
];
