//! Defects of what comes back after a crash.

use super::levers::Levers;
use super::restart::{ACKNOWLEDGED_TOO_EARLY, tell_first};
use super::{May, Mutant};

/// Whoever compares all state before and after a KILL sees these too.
const ALL_STATE: &[May] = &[May {
    gate: "restart-ordering-strict",
    reason: "the restored state is not the state before the KILL",
}];

/// Whoever replays a call whose decision was restored sees this one too.
const DECISIONS_OVER_A_KILL: &[May] = &[
    May {
        gate: "restart-ordering-strict",
        reason: "the restored state is not the state before the KILL",
    },
    May {
        gate: "replay-provenance",
        reason: "a call whose decision is open again may not be replayed after a KILL",
    },
    May {
        gate: "restore-ordering",
        reason: "a confirmation that was decided is restored too",
    },
    May {
        gate: "migration-integrity",
        reason: "what an older release left is changed as it starts",
    },
];

/// Whoever looks at tasks over a KILL sees these too.
const TASKS_OVER_A_KILL: &[May] = &[
    May {
        gate: "task-mutation-serial",
        reason: "it looks at the tasks over a KILL",
    },
    May {
        gate: "restart-ordering-strict",
        reason: "the restored state is not the state before the KILL",
    },
    May {
        gate: "restore-ordering",
        reason: "the restored tasks are not the tasks before the KILL",
    },
    May {
        gate: "lifespan-wiring",
        reason: "the restored tasks are not the tasks before the KILL",
    },
    May {
        gate: "migration-integrity",
        reason: "the tasks that an older release left are changed as it starts",
    },
];

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "journal-mode-delete",
        must: &["wal-mode"],
        may: &[],
        apply: |levers| levers.sql("memory-engine", "PRAGMA journal_mode = DELETE"),
    },
    Mutant {
        name: "store-acks-before-commit",
        must: &["wal-mode"],
        may: ACKNOWLEDGED_TOO_EARLY,
        apply: tell_first,
    },
    Mutant {
        name: "session-restore-resets-expiry",
        must: &["session-restore"],
        may: &[
            May {
                gate: "restart-ordering-strict",
                reason: "the restored state is not the state before the KILL",
            },
            May {
                gate: "lifespan-wiring",
                reason: "the session that comes back is not the one that was made",
            },
            May {
                gate: "migration-integrity",
                reason: "what an older release left is changed as it starts",
            },
        ],
        apply: |levers| {
            levers.sql(
                "api-gateway",
                &format!(
                    "UPDATE sessions SET expires_at_us = {NOW_US} + expires_at_us - created_at_us
                     WHERE state = 'active' AND expires_at_us > {NOW_US}"
                ),
            );
        },
    },
    Mutant {
        name: "session-restore-revives-closed",
        must: &["session-restore"],
        may: &[
            May {
                gate: "restart-ordering-strict",
                reason: "the restored state is not the state before the KILL",
            },
            May {
                gate: "restore-ordering",
                reason: "a session that was closed is restored too",
            },
            May {
                gate: "migration-integrity",
                reason: "what an older release left is changed as it starts",
            },
        ],
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "UPDATE sessions SET state = 'active' WHERE state = 'closed'",
            );
        },
    },
    Mutant {
        name: "confirmation-ttl-restarts",
        must: &["confirmation-restore"],
        may: &[
            May {
                gate: "restart-ordering-strict",
                reason: "the restored state is not the state before the KILL",
            },
            May {
                gate: "migration-integrity",
                reason: "what an older release left is changed as it starts",
            },
        ],
        apply: |levers| ttl_restarts(levers, "api-gateway", "confirmation"),
    },
    Mutant {
        name: "confirmation-decided-restored-pending",
        must: &["confirmation-restore"],
        may: DECISIONS_OVER_A_KILL,
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "UPDATE decisions SET state = 'pending', decided_by = NULL, decided_role = NULL,
                     decided_via = NULL, decided_at_us = NULL
                 WHERE kind = 'confirmation' AND state <> 'pending'",
            );
        },
    },
    Mutant {
        name: "approval-ttl-restarts",
        must: &["approvals-restore"],
        may: ALL_STATE,
        apply: |levers| {
            ttl_restarts(levers, "api-gateway", "action");
            ttl_restarts(levers, "eva-os", "approval");
        },
    },
    Mutant {
        name: "approval-expired-approvable",
        must: &["approvals-restore"],
        may: ALL_STATE,
        apply: |levers| {
            for (service, kind) in [("api-gateway", "action"), ("eva-os", "approval")] {
                levers.sql(
                    service,
                    &format!(
                        "UPDATE decisions SET expires_at_us = 9000000000000000
                         WHERE kind = '{kind}' AND state = 'pending' AND expires_at_us <= {NOW_US}"
                    ),
                );
            }
        },
    },
    Mutant {
        name: "tasks-in-memory-only",
        must: &["tasks-persist"],
        may: TASKS_OVER_A_KILL,
        apply: |levers| {
            levers.sql(
                "eva-os",
                "DROP TRIGGER IF EXISTS tasks_keep_their_rows; DELETE FROM tasks",
            );
        },
    },
    Mutant {
        name: "task-deleted-returns",
        must: &["tasks-persist"],
        may: TASKS_OVER_A_KILL,
        apply: |levers| {
            levers.sql(
                "eva-os",
                "DROP TRIGGER IF EXISTS tasks_go_one_version_on;
                 UPDATE tasks SET deleted_at_us = NULL WHERE deleted_at_us IS NOT NULL",
            );
        },
    },
];

/// The present moment in SQL, in microseconds.
const NOW_US: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

/// Each start gives what is pending its whole time again.
fn ttl_restarts(levers: &mut Levers, service: &str, kind: &str) {
    levers.sql(
        service,
        &format!(
            "UPDATE decisions SET expires_at_us = {NOW_US} + expires_at_us - created_at_us
             WHERE kind = '{kind}' AND state = 'pending'"
        ),
    );
}
