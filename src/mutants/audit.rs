//! Defects of the audit chain.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::levers::Levers;
use super::{May, Mutant};
use crate::reference::audit::{
    ChainRule, Checkpoint, Draft, Entry, GENESIS, Keeper, KeptFile, Link, Outcome, Place, Reason,
    Sha256Chain, Tree,
};
use crate::reference::web::{Body, Call, Handler, handler};
use crate::reference::wiring;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "audit-constant-actor",
        must: &["actor-attribution"],
        may: &[],
        // Of one route: whoever plans an action, the first operator did.
        apply: |levers| {
            levers.part(|parts| {
                parts.chain = Arc::new(Forgets {
                    of: |draft| draft.action == "action.plan",
                    says: ("op-1", "operator"),
                });
            });
        },
    },
    Mutant {
        name: "audit-loser-without-actor",
        must: &["actor-attribution"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                parts.chain = Arc::new(Forgets {
                    of: lost,
                    says: ("", ""),
                });
            });
        },
    },
    Mutant {
        name: "audit-constant-prev",
        must: &["audit-chain-present"],
        may: NO_CHAIN,
        apply: |levers| chain(levers, Arc::new(ConstantPrev)),
    },
    Mutant {
        name: "audit-hash-omits-actor-and-payload",
        must: &["audit-chain-present"],
        may: NO_CHAIN,
        apply: |levers| levers.part(|parts| parts.chain = Arc::new(ForgetfulDigest)),
    },
    Mutant {
        name: "audit-genesis-at-boot",
        must: &["audit-chain-present"],
        may: &[],
        apply: |levers| chain(levers, Arc::new(GenesisAtBoot)),
    },
    Mutant {
        name: "audit-insert-or-replace-accepted",
        must: &["audit-chain-present"],
        may: &[],
        apply: drop_order_triggers,
    },
    Mutant {
        name: "audit-effect-without-entry",
        must: &["audit-chain-present"],
        may: &[
            May {
                gate: "audit-export-endpoint",
                reason: "no export holds an entry that was never written",
            },
            May {
                gate: "actor-attribution",
                reason: "an entry that was never written names nobody",
            },
        ],
        // RAISE(IGNORE) leaves this one row out and lets the transaction go on.
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "CREATE TRIGGER IF NOT EXISTS forgets BEFORE INSERT ON audit_log
                 WHEN NEW.action = 'session.delete' AND NEW.outcome = 'ok'
                 BEGIN SELECT RAISE(IGNORE); END",
            );
        },
    },
    Mutant {
        name: "audit-verifies-last-only",
        must: &["chain-tamper-detection"],
        may: &[May {
            gate: "bundle-manifest-signed",
            reason: "the segment in a bundle is recomputed by the same rule",
        }],
        apply: |levers| levers.part(|parts| parts.chain = Arc::new(LastOnly)),
    },
    Mutant {
        name: "audit-field-not-covered",
        must: &["chain-tamper-detection"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.chain = Arc::new(AnyOutcome)),
    },
    Mutant {
        name: "audit-verification-cached",
        must: &["chain-tamper-detection"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.chain = Arc::new(Cached::default())),
    },
    Mutant {
        name: "audit-tail-cut-unseen",
        must: &["chain-tamper-detection"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.keeper = Arc::new(ForksOnly)),
    },
    Mutant {
        name: "audit-goes-behind-checkpoint",
        must: &["chain-tamper-detection"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.keeper = Arc::new(Forgetful)),
    },
    Mutant {
        name: "audit-export-count-off-by-one",
        must: &["audit-export-endpoint"],
        may: &[],
        apply: |levers| levers.route(EXPORT, one_more),
    },
    Mutant {
        name: "audit-export-whole-chain-proof",
        must: &["audit-export-endpoint"],
        may: &[],
        apply: |levers| levers.route(EXPORT, with_the_whole_proof),
    },
];

/// What has no chain for a reader cannot be verified by one.
const NO_CHAIN: &[May] = &[
    May {
        gate: "chain-tamper-detection",
        reason: "the chain that is served does not verify before anything is done to it",
    },
    May {
        gate: "audit-export-endpoint",
        reason: "the entries beside a proof do not verify",
    },
    May {
        gate: "bundle-manifest-signed",
        reason: "a bundle of chains that are no chains is refused, however well it is signed",
    },
    May {
        gate: "migration-integrity",
        reason: "the chain of an older database is none by this rule, and is not gone on with",
    },
];

/// The export.
const EXPORT: (&str, &str, &str) = ("api-gateway", "GET", "/v3/audit/export");

/// What one kind of entries says of who acted; everything else is as it should be.
struct Forgets {
    of: fn(&Draft) -> bool,
    says: (&'static str, &'static str),
}

impl ChainRule for Forgets {
    fn draft(&self, mut draft: Draft) -> Draft {
        if (self.of)(&draft) {
            draft.origin.actor_id = self.says.0.to_owned();
            draft.origin.actor_role = self.says.1.to_owned();
        }
        draft
    }

    fn prev(&self, last: Option<&Link>, first_since_start: bool) -> String {
        Sha256Chain.prev(last, first_since_start)
    }

    fn digest(&self, entry: &Entry) -> String {
        Sha256Chain.digest(entry)
    }

    fn follows(&self, last: Option<&Link>, entry: &Entry) -> bool {
        Sha256Chain.follows(last, entry)
    }
}

/// Whether this is about a decision that was lost.
fn lost(draft: &Draft) -> bool {
    let decides = draft.action.ends_with(".approve") || draft.action.ends_with(".deny");
    decides && draft.outcome == Outcome::Refused
}

/// The services whose databases carry a chain.
const CHAINS: &[&str] = wiring::SERVICES;

/// Another rule of the chain needs the database's own order check out of the way.
fn chain(levers: &mut Levers, rule: Arc<dyn ChainRule>) {
    levers.part(|parts| parts.chain = rule);
    drop_order_triggers(levers);
}

fn drop_order_triggers(levers: &mut Levers) {
    for service in CHAINS {
        levers.sql(service, "DROP TRIGGER IF EXISTS audit_log_appends_in_order");
    }
}

/// Every entry points at the genesis.
struct ConstantPrev;

impl ChainRule for ConstantPrev {
    fn prev(&self, _last: Option<&Link>, _first_since_start: bool) -> String {
        GENESIS.to_owned()
    }

    fn digest(&self, entry: &Entry) -> String {
        Sha256Chain.digest(entry)
    }

    fn follows(&self, _last: Option<&Link>, entry: &Entry) -> bool {
        entry.prev_hash == GENESIS
    }
}

/// The hash says nothing of who acted and of what was sent.
struct ForgetfulDigest;

impl ChainRule for ForgetfulDigest {
    fn prev(&self, last: Option<&Link>, first_since_start: bool) -> String {
        Sha256Chain.prev(last, first_since_start)
    }

    fn digest(&self, entry: &Entry) -> String {
        let mut entry = entry.clone();
        entry.actor_id.clear();
        entry.actor_role.clear();
        entry.payload_sha256.clear();
        Sha256Chain.digest(&entry)
    }

    fn follows(&self, last: Option<&Link>, entry: &Entry) -> bool {
        Sha256Chain.follows(last, entry)
    }
}

/// Each start begins a chain of its own.
struct GenesisAtBoot;

impl ChainRule for GenesisAtBoot {
    fn prev(&self, last: Option<&Link>, first_since_start: bool) -> String {
        Sha256Chain.prev(last.filter(|_| !first_since_start), first_since_start)
    }

    fn digest(&self, entry: &Entry) -> String {
        Sha256Chain.digest(entry)
    }

    fn follows(&self, last: Option<&Link>, entry: &Entry) -> bool {
        entry.prev_hash == GENESIS || Sha256Chain.follows(last, entry)
    }
}

/// A read checks hash and link of the last entry that it reads.
struct LastOnly;

impl ChainRule for LastOnly {
    fn prev(&self, last: Option<&Link>, first_since_start: bool) -> String {
        Sha256Chain.prev(last, first_since_start)
    }

    fn digest(&self, entry: &Entry) -> String {
        Sha256Chain.digest(entry)
    }

    fn follows(&self, last: Option<&Link>, entry: &Entry) -> bool {
        Sha256Chain.follows(last, entry)
    }

    fn check(&self, place: &Place<'_>, entry: &Entry) -> Result<(), Reason> {
        if entry.seq == place.seq && entry.seq < place.end {
            return Ok(());
        }
        Sha256Chain.check(place, entry)
    }
}

/// A read does not mind which outcome an entry has.
struct AnyOutcome;

impl ChainRule for AnyOutcome {
    fn prev(&self, last: Option<&Link>, first_since_start: bool) -> String {
        Sha256Chain.prev(last, first_since_start)
    }

    fn digest(&self, entry: &Entry) -> String {
        Sha256Chain.digest(entry)
    }

    fn follows(&self, last: Option<&Link>, entry: &Entry) -> bool {
        Sha256Chain.follows(last, entry)
    }

    fn check(&self, place: &Place<'_>, entry: &Entry) -> Result<(), Reason> {
        let with = |outcome: &str| Entry {
            outcome: outcome.to_owned(),
            ..entry.clone()
        };
        let checked =
            ["ok", "refused", "failed"].map(|outcome| Sha256Chain.check(place, &with(outcome)));
        let [first, ..] = checked;
        checked.into_iter().find(Result::is_ok).unwrap_or(first)
    }
}

/// An entry that was found right once is not looked at again.
#[derive(Default)]
struct Cached {
    verified: Mutex<BTreeSet<(String, i64)>>,
}

impl ChainRule for Cached {
    fn prev(&self, last: Option<&Link>, first_since_start: bool) -> String {
        Sha256Chain.prev(last, first_since_start)
    }

    fn digest(&self, entry: &Entry) -> String {
        Sha256Chain.digest(entry)
    }

    fn follows(&self, last: Option<&Link>, entry: &Entry) -> bool {
        Sha256Chain.follows(last, entry)
    }

    fn check(&self, place: &Place<'_>, entry: &Entry) -> Result<(), Reason> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let known = (entry.chain.clone(), entry.seq);
        if entry.seq == place.seq && verified.contains(&known) {
            return Ok(());
        }
        Sha256Chain.check(place, entry)?;
        verified.insert(known);
        Ok(())
    }
}

/// A chain that is shorter than its checkpoint is no cause for alarm.
struct ForksOnly;

impl Keeper for ForksOnly {
    fn kept(&self, file: &Path) -> io::Result<Option<String>> {
        KeptFile.kept(file)
    }

    fn keep(&self, file: &Path, note: &str) -> io::Result<()> {
        KeptFile.keep(file, note)
    }

    fn behind(&self, kept: &Checkpoint, tree: &Tree) -> Option<u64> {
        KeptFile
            .behind(kept, tree)
            .filter(|_| tree.size() >= kept.size)
    }
}

/// What was kept is written and never read.
struct Forgetful;

impl Keeper for Forgetful {
    fn kept(&self, _file: &Path) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn keep(&self, file: &Path, note: &str) -> io::Result<()> {
        KeptFile.keep(file, note)
    }

    fn behind(&self, kept: &Checkpoint, tree: &Tree) -> Option<u64> {
        KeptFile.behind(kept, tree)
    }
}

/// The proof counts one entry more than there are.
fn one_more(export: Handler) -> Handler {
    handler(move |service, call| {
        let export = Arc::clone(&export);
        async move {
            let mut reply = export(service, call).await;
            if let Body::Json(body) = &mut reply.body
                && let Some(count) = body["proof"]["entry_count"].as_i64()
            {
                body["proof"]["entry_count"] = json!(count + 1);
            }
            reply
        }
    })
}

/// Whatever segment is asked for, its proof is that of the whole chain.
fn with_the_whole_proof(export: Handler) -> Handler {
    handler(move |service, call: Call| {
        let export = Arc::clone(&export);
        async move {
            let mut all = call.clone();
            all.query.retain(|(name, _)| name == "chain");
            let mut reply = export(Arc::clone(&service), call).await;
            let whole = export(service, all).await;
            if let (Body::Json(body), Body::Json(whole)) = (&mut reply.body, &whole.body)
                && body["proof"].is_object()
            {
                body["proof"] = whole["proof"].clone();
            }
            reply
        }
    })
}
