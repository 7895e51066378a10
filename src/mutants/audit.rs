//! Defects of the audit chain.

use std::sync::Arc;

use super::levers::Levers;
use super::{May, Mutant};
use crate::reference::audit::{ChainRule, Entry, GENESIS, Link, Sha256Chain};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "audit-constant-prev",
        must: &["audit-chain-present"],
        may: BUNDLES,
        apply: |levers| chain(levers, Arc::new(ConstantPrev)),
    },
    Mutant {
        name: "audit-hash-omits-actor-and-payload",
        must: &["audit-chain-present"],
        may: BUNDLES,
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
        may: &[],
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
];

/// A bundle holds segments of the chains, and whoever verifies it recomputes them.
const BUNDLES: &[May] = &[May {
    gate: "bundle-manifest-signed",
    reason: "a bundle of chains that are no chains is refused, however well it is signed",
}];

/// The services whose databases carry a chain.
const CHAINS: &[&str] = &[
    "api-gateway",
    "memory-engine",
    "openclaw",
    "eva-os",
    "vision-capture",
];

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
