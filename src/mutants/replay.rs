//! Defects of replays and of traces over several services.

use std::sync::Arc;

use super::levers::Levers;
use super::wire::{Ask, Reply, Rewrite};
use super::{May, Mutant};
use crate::base::random_id;
use crate::reference::audit::Origin;
use crate::reference::dead_letters::original;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "replay-fresh-correlation-id",
        must: &["replay-provenance"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                parts.provenance = Arc::new(|letter, request| Origin {
                    correlation_id: fresh(),
                    ..original(letter, request)
                });
            });
        },
    },
    Mutant {
        name: "replay-generation-resets",
        must: &["replay-provenance"],
        may: &[],
        // Each start forgets how often a letter was replayed.
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "DROP TRIGGER IF EXISTS dead_letters_count_replays;
                 UPDATE dead_letters SET replay_generation = 0 WHERE state <> 'replaying'",
            );
        },
    },
    Mutant {
        name: "trace-id-dropped-at-hop",
        must: &["cross-service-trace"],
        may: ENTRIES_BY_ID,
        apply: id_dropped,
    },
    Mutant {
        name: "trace-ordered-by-wall-clock",
        must: &["cross-service-trace"],
        may: &[],
        apply: |levers| levers.wire(Arc::new(ByWallClock)),
    },
    Mutant {
        name: "dry-run-executes",
        must: &["replay-determinism"],
        may: &[May {
            gate: "replay-provenance",
            reason: "the dry runs of its letters are replays, which raise generations and call tools",
        }],
        apply: |levers| {
            let replay = ("api-gateway", "POST", "/v3/dead-letters/{id}/replay");
            levers.route(replay, |original| {
                Arc::new(move |service, mut call| {
                    call.query.retain(|(name, _)| name != "dry_run");
                    original(service, call)
                })
            });
        },
    },
];

/// Who looks for openclaw's entries of a service's call finds them by the call's id.
const ENTRIES_BY_ID: &[May] = &[
    May {
        gate: "actor-attribution",
        reason: "the entry of a call is told by its correlation id",
    },
    May {
        gate: "service-token",
        reason: "the entry of a call is told by its correlation id",
    },
    May {
        gate: "tool-proxy-canonical",
        reason: "the policy decision of a call is told by its correlation id",
    },
];

fn fresh() -> String {
    random_id("req_", &mut rand::rng())
}

/// openclaw takes the safe call of a turn for the beginning of a conversation of its own.
fn id_dropped(levers: &mut Levers) {
    levers.route(("openclaw", "POST", "/execute"), |original| {
        Arc::new(move |service, mut call| {
            let guarded = call.body.get("decision").is_some();
            if call.from_service && !guarded && call.replay_generation == 0 {
                call.correlation_id = fresh();
            }
            original(service, call)
        })
    });
}

/// The entries of a trace in the order of their times.
struct ByWallClock;

impl Rewrite for ByWallClock {
    fn after(&self, ask: &Ask, reply: Reply) -> Reply {
        let mut body = reply.value();
        let is_trace = ask.path.contains("/audit/trace/");
        let Some(entries) = body["entries"].as_array_mut().filter(|_| is_trace) else {
            return reply;
        };
        entries.sort_by_key(|entry| entry["ts"].as_str().unwrap_or_default().to_owned());
        reply.with(&body)
    }
}
