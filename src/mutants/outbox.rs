//! Defects of what turns leave in the memory engine, and of the tables behind it.

use std::sync::Arc;

use serde_json::json;

use super::{DAY_MS, May, Mutant};
use crate::reference::ids;
use crate::reference::outbound::Sent;
use crate::reference::outbox::{Courier, Verdict};

/// Who waits for a second delivery waits in vain.
const NO_SECOND: May = May {
    gate: "outbox-idempotent",
    reason: "without a second delivery none carries the id of the first",
};

/// Whoever lets a tool fail and asks for its letter sees that there is none.
const NO_LETTERS: &[May] = &[
    May {
        gate: "replay-determinism",
        reason: "the letter that it replays is never written",
    },
    May {
        gate: "replay-provenance",
        reason: "without a letter nothing can be replayed",
    },
    May {
        gate: "idempotency-key-support",
        reason: "the replay of a letter is one of its routes",
    },
    May {
        gate: "auth-required-mutating",
        reason: "the replay of a letter is one of its routes",
    },
    May {
        gate: "role-enforcement",
        reason: "the replay of a letter is one of its routes",
    },
    May {
        gate: "audit-chain-present",
        reason: "it looks for the effects of letters and their replays",
    },
    May {
        gate: "restart-ordering-strict",
        reason: "the letters are a part of the state that is restored",
    },
    May {
        gate: "audit-export-endpoint",
        reason: "it replays letters to have entries to export",
    },
    May {
        gate: "actor-attribution",
        reason: "the replay of a letter is one of the side effects",
    },
    May {
        gate: "auth-coverage",
        reason: "the replay of a letter is one of its routes",
    },
    May {
        gate: "file-exists",
        reason: "the replay of a letter is one of its routes",
    },
];

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "dead-letter-not-written",
        must: &["durable-state-tables"],
        may: NO_LETTERS,
        // RAISE(IGNORE) leaves the row out and lets the transaction go on.
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "CREATE TRIGGER IF NOT EXISTS no_letters BEFORE INSERT ON dead_letters
                 BEGIN SELECT RAISE(IGNORE); END",
            );
        },
    },
    Mutant {
        name: "outbox-table-never-written",
        must: &["durable-state-tables"],
        may: &[
            May {
                gate: "outbox-pattern",
                reason: "what was not delivered as its turn ended never is",
            },
            May {
                gate: "chaos-flap",
                reason: "what was not kept while the memory engine was down is lost",
            },
            NO_SECOND,
        ],
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "CREATE TRIGGER IF NOT EXISTS no_outbox BEFORE INSERT ON outbox
                 BEGIN SELECT RAISE(IGNORE); END",
            );
        },
    },
    Mutant {
        name: "outbox-never-flushed",
        must: &["outbox-pattern"],
        may: &[
            May {
                gate: "chaos-flap",
                reason: "what was not kept while the memory engine was down is never delivered",
            },
            NO_SECOND,
        ],
        // Once at the start, when nothing can wait that was not there before.
        apply: |levers| {
            levers.config(json!({"outbox": {"flush_interval_ms": DAY_MS}}));
        },
    },
    Mutant {
        name: "outbox-marked-delivered-on-failure",
        must: &["outbox-pattern"],
        may: &[
            May {
                gate: "outbox-idempotent",
                reason: "a delivery that lost its reply is not repeated",
            },
            May {
                gate: "durable-state-tables",
                reason: "what waits for an engine that is down is said to be delivered",
            },
            May {
                gate: "chaos-flap",
                reason: "what was not kept while the memory engine was down is lost",
            },
        ],
        apply: |levers| levers.part(|parts| parts.courier = Arc::new(Hopes)),
    },
    Mutant {
        name: "outbox-new-id-per-attempt",
        must: &["outbox-idempotent"],
        may: &[May {
            gate: "chaos-flap",
            reason: "a delivery that was cut off is made again under another key",
        }],
        apply: |levers| levers.part(|parts| parts.courier = Arc::new(Renames)),
    },
    Mutant {
        name: "outbox-delivered-flag-lost",
        must: &["outbox-idempotent"],
        may: &[],
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "UPDATE outbox SET state = 'pending', settled_at_us = NULL
                 WHERE state = 'delivered'",
            );
        },
    },
];

/// Whatever became of a try, it went well.
struct Hopes;

impl Courier for Hopes {
    fn verdict(&self, _: &Sent) -> Verdict {
        Verdict::Delivered
    }
}

/// Every try is another write.
struct Renames;

impl Courier for Renames {
    fn key(&self, _: &str) -> String {
        ids::make("out_")
    }
}
