//! The scope lock's own history: releases before their gaps were closed.

use std::sync::Arc;

use super::levers::Levers;
use super::{May, Mutant, STATUS_ROUTE, auth, fences, idempotency, slo, supervision};
use crate::reference::mutation::{Claim, Claimed, Claims};
use crate::reference::store::{StoreError, Tx};
use crate::reference::wiring::SERVICES;

/// Without what v4.7 adds its own gates cannot hold. No gate of the floor is among them: that is
/// what this target is for.
const OF_V47: &[May] = &[
    of_v47("audit-chain-present"),
    of_v47("chain-tamper-detection"),
    of_v47("bundle-manifest-signed"),
    of_v47("replay-provenance"),
    of_v47("cross-service-trace"),
    of_v47("audit-export-endpoint"),
    of_v47("approval-race-safe"),
    of_v47("task-mutation-serial"),
    of_v47("restart-ordering-strict"),
    of_v47("sustained-breach-detect"),
    of_v47("degrade-mode-transition"),
    of_v47("recovery-exit-criteria"),
    of_v47("slo-diagnostics-endpoint"),
    of_v47("chaos-degrade-cycle"),
    of_v47("slo-config-dynamic"),
];

const fn of_v47(gate: &'static str) -> May {
    May {
        gate,
        reason: "routes, fences and keys of v4.7 are gone",
    }
}

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "v4.6-m0",
        must: &["role-enforcement", "supervisor-budget-persist"],
        may: &[] as &[May],
        apply: |levers| {
            auth::door(levers, auth::Roles(|_| true));
            supervision::budgets_in_memory(levers);
        },
    },
    Mutant {
        name: "v4.7-m0",
        must: &[
            "idempotency-store-durable",
            "recovery-exit-criteria",
            "slo-diagnostics-endpoint",
        ],
        may: &[] as &[May],
        apply: |levers| {
            idempotency::memory_map(levers);
            levers.part(slo::leave_after_one);
            levers.without_route(("api-gateway", "GET", STATUS_ROUTE_V3));
        },
    },
    // A v4.7 that was taken back: a clean v4.6, and every gate of the floor passes.
    Mutant {
        name: "v4.7-reverted",
        must: &[
            "idempotency-key-support",
            "idempotency-store-durable",
            "fence-token-enforcement",
        ],
        may: OF_V47,
        apply: reverted,
    },
];

/// Its routes are gone, keys and fences mean nothing, and the table of keys is dropped.
fn reverted(levers: &mut Levers) {
    levers.part(|parts| {
        parts.routes.retain(|row| row.since != "v4.7");
        parts.claims = Arc::new(NoKeys);
    });
    fences::ignored(levers);
    for service in SERVICES {
        levers.sql(service, "DROP TABLE IF EXISTS idempotency_keys");
    }
}

/// Every request is the first of its kind.
struct NoKeys;

impl Claims for NoKeys {
    fn claim(&self, _: &mut Tx<'_>, _: &Claim) -> Result<Claimed, StoreError> {
        Ok(Claimed::New)
    }

    fn settle(&self, _: &mut Tx<'_>, _: &Claim, _: u16, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn release(&self, _: &mut Tx<'_>, _: &Claim) -> Result<(), StoreError> {
        Ok(())
    }

    fn attach(&self, _: &mut Tx<'_>, _: &Claim, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn settle_operation(
        &self,
        _: &mut Tx<'_>,
        _: &str,
        _: u64,
        _: (u16, &str),
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn release_operation(&self, _: &mut Tx<'_>, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn prune(&self, _: &mut Tx<'_>) -> Result<usize, StoreError> {
        Ok(0)
    }
}

/// The canonical path of the status route; its twin goes with it.
const STATUS_ROUTE_V3: &str = "/v3/slo/status";

const _: () = assert!(STATUS_ROUTE.len() + 3 == STATUS_ROUTE_V3.len());
