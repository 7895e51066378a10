//! Defects of what comes back after a crash.

use super::{May, Mutant};

/// Whoever compares all state before and after a KILL sees these too.
const ALL_STATE: &[May] = &[May {
    gate: "restart-ordering-strict",
    reason: "the restored state is not the state before the KILL",
}];

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "session-restore-resets-expiry",
        must: &["session-restore"],
        may: ALL_STATE,
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "UPDATE sessions SET expires_at_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER)
                     + expires_at_us - created_at_us
                 WHERE state = 'active'
                   AND expires_at_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            );
        },
    },
    Mutant {
        name: "session-restore-revives-closed",
        must: &["session-restore"],
        may: ALL_STATE,
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "UPDATE sessions SET state = 'active' WHERE state = 'closed'",
            );
        },
    },
];
