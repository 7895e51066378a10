//! Defects of fences: which one is let through, and where new ones come from.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::Mutant;
use super::levers::Levers;
use crate::reference::decisions::{self, Ask, Decision, Decisions, Durable};
use crate::reference::store::{StoreError, Tx};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "fence-compares-at-most",
        must: &["fence-token-enforcement"],
        may: &[],
        apply: |levers| {
            let guard = "((:fence IS NULL AND issues = 1) OR :fence <= fence)";
            levers.part(|parts| parts.decisions = Arc::new(Guarded(guard)));
        },
    },
    Mutant {
        name: "fence-counter-per-process",
        must: &["fence-token-enforcement"],
        may: &[],
        apply: counter_per_process,
    },
    Mutant {
        name: "fence-ignored",
        must: &["fence-token-enforcement"],
        may: &[],
        apply: ignored,
    },
];

/// Whatever fence is shown, or none, is the right one.
pub(super) fn ignored(levers: &mut Levers) {
    levers.part(|parts| parts.decisions = Arc::new(Guarded("TRUE")));
}

/// Asks another question about the fence; all else is as it should be.
struct Guarded(&'static str);

impl Decisions for Guarded {
    fn claim(&self, tx: &mut Tx<'_>, ask: &Ask, _: Option<&Decision>) -> Result<bool, StoreError> {
        let fits = self.0;
        let guard = format!("state = 'pending' AND expires_at_us > :now AND {fits}");
        decisions::mark(tx, ask, &guard)
    }

    fn next_fence(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        Durable.next_fence(tx)
    }
}

/// Fences begin anew with each process. The index that keeps them apart has to go: it would make
/// a refusal of every second issue.
fn counter_per_process(levers: &mut Levers) {
    levers.part(|parts| parts.decisions = Arc::new(Counting(AtomicI64::new(1))));
    for service in ["api-gateway", "eva-os"] {
        levers.sql(service, "DROP INDEX IF EXISTS decisions_fence");
    }
}

struct Counting(AtomicI64);

impl Decisions for Counting {
    fn claim(
        &self,
        tx: &mut Tx<'_>,
        ask: &Ask,
        seen: Option<&Decision>,
    ) -> Result<bool, StoreError> {
        Durable.claim(tx, ask, seen)
    }

    fn next_fence(&self, _: &mut Tx<'_>) -> Result<i64, StoreError> {
        Ok(self.0.fetch_add(1, Ordering::SeqCst))
    }
}
