//! Defects of what a restart gives back: how much, and in which order.

use std::sync::Arc;
use std::time::Duration;

use super::levers::Levers;
use super::{May, Mutant};
use crate::reference::store::{CommitFirst, GroupEnd, StoreError};

/// How long what was acknowledged is not on disk.
const LAG: Duration = Duration::from_millis(40);

/// Whoever looks for an effect as soon as it is acknowledged, or over a KILL, sees that it is not there.
pub(super) const ACKNOWLEDGED_TOO_EARLY: &[May] = &[
    May {
        gate: "wal-mode",
        reason: "an acknowledged write is lost by a KILL while it is not committed",
    },
    May {
        gate: "restart-ordering-strict",
        reason: "the restored state is not what was acknowledged",
    },
    May {
        gate: "audit-chain-present",
        reason: "an acknowledged write has no entry while it is not committed",
    },
    May {
        gate: "audit-export-endpoint",
        reason: "an acknowledged write has no entry while it is not committed",
    },
    May {
        gate: "chain-tamper-detection",
        reason: "an acknowledged write has no entry while it is not committed",
    },
    May {
        gate: "bundle-manifest-signed",
        reason: "an acknowledged write has no entry in a bundle while it is not committed",
    },
    May {
        gate: "cross-service-trace",
        reason: "an acknowledged write has no entry while it is not committed",
    },
    May {
        gate: "service-token",
        reason: "an acknowledged write has no entry while it is not committed",
    },
    May {
        gate: "idempotency-key-support",
        reason: "an acknowledged write has no effect while it is not committed",
    },
    May {
        gate: "auth-required-mutating",
        reason: "an acknowledged write has no effect while it is not committed",
    },
    May {
        gate: "role-enforcement",
        reason: "an acknowledged write has no effect while it is not committed",
    },
    May {
        gate: "file-exists",
        reason: "an acknowledged memory is not there while it is not committed",
    },
    May {
        gate: "memory-proxy-canonical",
        reason: "an acknowledged memory is not there while it is not committed",
    },
    May {
        gate: "memory-risk-tier",
        reason: "an acknowledged memory is not there while it is not committed",
    },
    May {
        gate: "memory-lifespan",
        reason: "an acknowledged memory is not in the index while it is not committed",
    },
    May {
        gate: "hnsw-wired",
        reason: "an acknowledged memory is not found while it is not committed",
    },
    May {
        gate: "index-manifest",
        reason: "an acknowledged memory is not in the index while it is not committed",
    },
    May {
        gate: "token-budget",
        reason: "an acknowledged memory is not found while it is not committed",
    },
];

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "restart-acks-before-durable",
        must: &["restart-ordering-strict"],
        may: ACKNOWLEDGED_TOO_EARLY,
        apply: tell_first,
    },
    Mutant {
        name: "restart-orders-by-timestamp",
        must: &["restart-ordering-strict"],
        may: &[],
        // What is restored is put in the order of the clock, which is not that of what was done.
        apply: |levers| {
            levers.sql(
                "eva-os",
                "CREATE TEMP TABLE by_time AS
                     SELECT id, row_number() OVER (ORDER BY created_at_us, seq) AS place FROM tasks;
                 UPDATE tasks SET seq = -seq;
                 UPDATE tasks SET seq =
                     (SELECT place FROM temp.by_time AS row WHERE row.id = tasks.id);
                 DROP TABLE temp.by_time",
            );
        },
    },
    Mutant {
        name: "restart-resets-sequence",
        must: &["restart-ordering-strict"],
        may: &[
            May {
                gate: "recovery-exit-criteria",
                reason: "who follows the events over the KILL waits for numbers that are given again",
            },
            May {
                gate: "migration-integrity",
                reason: "the events of an older release are gone as it starts",
            },
        ],
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "DELETE FROM events; DELETE FROM sqlite_sequence WHERE name = 'events'",
            );
        },
    },
];

/// Callers are told before the commit.
pub(super) fn tell_first(levers: &mut Levers) {
    levers.part(|parts| parts.group_end = Arc::new(TellFirst));
}

/// The memory-engine answers, and commits a little later.
struct TellFirst;

impl GroupEnd for TellFirst {
    fn end(
        &self,
        service: &str,
        commit: &mut dyn FnMut() -> Result<(), StoreError>,
        tell: &mut dyn FnMut(Result<(), StoreError>),
    ) {
        if service != "memory-engine" {
            return CommitFirst.end(service, commit, tell);
        }
        tell(Ok(()));
        std::thread::sleep(LAG);
        // Whoever would have to know was told already.
        let _ = commit();
    }
}
