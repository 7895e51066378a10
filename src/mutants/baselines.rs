//! The scope lock's own history: releases before their gaps were closed.

use super::{May, Mutant, STATUS_ROUTE, auth, idempotency, slo};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    // Without the restart budgets, which nobody keeps yet.
    Mutant {
        name: "v4.6-m0",
        must: &["role-enforcement"],
        may: &[] as &[May],
        apply: |levers| auth::door(levers, auth::Roles(|_| true)),
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
];

/// The canonical path of the status route; its twin goes with it.
const STATUS_ROUTE_V3: &str = "/v3/slo/status";

const _: () = assert!(STATUS_ROUTE.len() + 3 == STATUS_ROUTE_V3.len());
