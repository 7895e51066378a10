//! Defects that only a crowd brings out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Mutant;
use super::levers::Levers;
use crate::reference::web::{Refusal, Reply};

/// Rows, or requests at once, from which on these defects show.
const CROWD: usize = 100;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "storm-acknowledged-write-lost",
        must: &["queue-storm"],
        may: &[],
        // RAISE(IGNORE) leaves the row out and lets the transaction go on.
        apply: |levers| {
            levers.sql(
                "api-gateway",
                &format!(
                    "CREATE TRIGGER IF NOT EXISTS forgets BEFORE INSERT ON sessions
                     WHEN (SELECT count(*) FROM sessions) >= {CROWD}
                     BEGIN SELECT RAISE(IGNORE); END"
                ),
            );
        },
    },
    Mutant {
        name: "storm-answers-500",
        must: &["queue-storm"],
        may: &[],
        apply: |levers| crowded(levers, InACrowd::Breaks),
    },
    Mutant {
        name: "storm-deadlocks",
        must: &["queue-storm"],
        may: &[],
        apply: |levers| crowded(levers, InACrowd::Waits),
    },
];

#[derive(Clone, Copy)]
enum InACrowd {
    /// Answers 500.
    Breaks,
    /// Waits for something that never comes.
    Waits,
}

/// Creating sessions goes wrong from the [`CROWD`]th request on.
fn crowded(levers: &mut Levers, what: InACrowd) {
    levers.route(("api-gateway", "POST", "/v3/sessions"), move |original| {
        let asked = Arc::new(AtomicUsize::new(0));
        Arc::new(move |service, call| {
            let (original, asked) = (Arc::clone(&original), Arc::clone(&asked));
            Box::pin(async move {
                match (asked.fetch_add(1, Ordering::Relaxed) < CROWD, what) {
                    (true, _) => original(service, call).await,
                    (false, InACrowd::Breaks) => fault(&call.correlation_id),
                    (false, InACrowd::Waits) => std::future::pending().await,
                }
            })
        })
    });
}

fn fault(correlation_id: &str) -> Reply {
    Refusal::new(500, "INTERNAL", "too many at once").reply(correlation_id)
}
