//! Defects of what memory finds, keeps and lets be written.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use serde_json::{Value, json};

use super::levers::Levers;
use super::{May, Mutant};
use crate::reference::Parts;
use crate::reference::memory::{Purpose, Tier, describe, tier};
use crate::reference::web::{Call, Handler, Reply, handler};

/// Whoever counts what is in the index sees this too.
const NOTHING_EMBEDDED: &[May] = &[
    May {
        gate: "memory-lifespan",
        reason: "what is stored without its vector is not in the index, before and after a restart",
    },
    May {
        gate: "index-manifest",
        reason: "the index holds fewer vectors than there are memories",
    },
];

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "search-skips-vectors",
        must: &["hnsw-wired"],
        may: &[May {
            gate: "memory-lifespan",
            reason: "what only its vector tells is not found, before and after a KILL",
        }],
        apply: |levers| levers.part(|parts| without(parts, |purpose| purpose == Purpose::Search)),
    },
    Mutant {
        name: "store-skips-embedding",
        must: &["hnsw-wired"],
        may: NOTHING_EMBEDDED,
        apply: |levers| levers.part(|parts| without(parts, |purpose| purpose != Purpose::Search)),
    },
    Mutant {
        name: "index-loaded-unverified",
        must: &["index-manifest"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.index_verify = |_, _| None),
    },
    Mutant {
        name: "index-manifest-of-wrong-file",
        must: &["index-manifest"],
        may: &[],
        // The digest of a file that is not there.
        apply: |levers| {
            levers.part(|parts| parts.index_manifest = |file, _, count| describe(file, b"", count));
        },
    },
    Mutant {
        name: "recall-ignores-token-budget",
        must: &["token-budget"],
        may: &[],
        apply: |levers| {
            search(
                levers,
                |mut call| {
                    if let Some(fields) = call.body.as_object_mut() {
                        fields.remove("max_tokens");
                    }
                    call
                },
                |reply| reply,
            );
        },
    },
    Mutant {
        name: "recall-ties-by-hash-order",
        must: &["token-budget"],
        may: &[May {
            gate: "index-manifest",
            reason: "the same search has its results in another order when it is asked again",
        }],
        apply: |levers| search(levers, |call| call, ties_by_hash),
    },
    Mutant {
        name: "index-saved-only-at-stop",
        must: &["memory-lifespan"],
        may: &[],
        apply: |levers| {
            levers.config(json!({"memory": {"save_every": u32::MAX}}));
            levers.part(|parts| parts.index_repair = |_, _| Vec::new());
        },
    },
    Mutant {
        name: "index-backfilled-only-when-empty",
        must: &["memory-lifespan"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                parts.index_repair = |loaded, missing| match loaded {
                    0 => missing,
                    _ => Vec::new(),
                };
            });
        },
    },
    Mutant {
        name: "memory-tier-always-auto",
        must: &["memory-risk-tier"],
        may: &[],
        // Of the types that the table lists: what nobody thought of stays guarded.
        apply: |levers| {
            levers.part(|parts| {
                parts.tier_of = |kind, confidence| match kind {
                    "event" | "fact" | "preference" | "instruction" => Tier::AutoLow,
                    _ => tier(kind, confidence),
                };
            });
        },
    },
    Mutant {
        name: "memory-tier-boundary-shifted",
        must: &["memory-risk-tier"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                parts.tier_of = |kind, confidence| tier(kind, confidence.next_down())
            });
        },
    },
];

/// Nobody embeds for some purposes.
fn without(parts: &mut Parts, skipped: fn(Purpose) -> bool) {
    let embedder = parts.embedder.clone();
    parts.embedder = Arc::new(move |svc, wanted| match skipped(wanted.purpose) {
        true => Box::pin(std::future::ready(None)),
        false => embedder(svc, wanted),
    });
}

/// Another search: what it is asked, and what it answers.
fn search(levers: &mut Levers, asked: fn(Call) -> Call, answered: fn(Reply) -> Reply) {
    levers.route(("memory-engine", "POST", "/search"), |inner: Handler| {
        handler(move |svc, call: Call| {
            let inner = inner.clone();
            async move { answered(inner(svc, asked(call)).await) }
        })
    });
}

/// Equal scores in an order that is another one each time.
fn ties_by_hash(reply: Reply) -> Reply {
    let mut body = reply.value();
    let order = RandomState::new();
    if let Some(results) = body["results"].as_array_mut() {
        let score = |result: &Value| result["score"].as_f64().unwrap_or_default();
        results.sort_by(|one, two| {
            let hash = |result: &Value| order.hash_one(result["id"].to_string());
            score(two)
                .total_cmp(&score(one))
                .then(hash(one).cmp(&hash(two)))
        });
    }
    Reply::json(reply.status, body)
}
