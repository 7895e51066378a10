//! Defects of idempotency keys: which requests they hold for, and where their answers are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::levers::Levers;
use super::wire::{Ask as Asked, Reply as Answer, Rewrite};
use super::{May, Mutant};
use crate::reference::Parts;
use crate::reference::mutation::{Claim, Claimed, Claims, DurableClaims, fingerprint};
use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::web::{Call, Reply};
use crate::reference::wiring;

/// The services whose databases hold keys.
const STORES: &[&str] = wiring::SERVICES;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "idempotency-memory-map",
        must: &["idempotency-store-durable"],
        may: &[],
        apply: memory_map,
    },
    Mutant {
        name: "idempotency-ttl-ignored",
        must: &["idempotency-store-durable"],
        may: &[],
        apply: |levers| levers.config(json!({ "idempotency": { "ttl_ms": 315_360_000_000_u64 } })),
    },
    Mutant {
        name: "idempotency-replace-overwrites",
        must: &["idempotency-store-durable"],
        may: &[May {
            gate: "idempotency-key-support",
            reason: "a key that is claimed anew has no first answer, with or without a KILL",
        }],
        // The claim of a key becomes an INSERT OR REPLACE.
        apply: |levers| {
            everywhere(
                levers,
                "CREATE TRIGGER IF NOT EXISTS replaces BEFORE INSERT ON idempotency_keys
                 BEGIN
                     DELETE FROM idempotency_keys WHERE endpoint = NEW.endpoint
                     AND idempotency_key = NEW.idempotency_key AND state = 'done';
                 END",
            );
        },
    },
    Mutant {
        name: "idempotency-in-progress-dropped",
        must: &["idempotency-store-durable"],
        may: &[],
        apply: |levers| {
            everywhere(
                levers,
                "DELETE FROM idempotency_keys WHERE state = 'in_progress'",
            );
        },
    },
    Mutant {
        name: "idempotency-executes-when-store-fails",
        must: &["idempotency-store-durable"],
        may: &[],
        apply: |levers| levers.part(executes_anyway),
    },
    Mutant {
        name: "idempotency-header-ignored",
        must: &["idempotency-key-support"],
        may: &[May {
            gate: "idempotency-store-durable",
            reason: "no answer is stored, so none survives a KILL",
        }],
        apply: |levers| levers.part(|parts| parts.claims = Arc::new(Claiming(Defect::Nothing))),
    },
    Mutant {
        name: "idempotency-concurrent-double",
        must: &["idempotency-key-support"],
        may: &[May {
            gate: "idempotency-store-durable",
            reason: "a repeat while the first request is in doubt is a second one at once",
        }],
        apply: |levers| levers.part(|parts| parts.claims = Arc::new(Claiming(Defect::Finished))),
    },
    Mutant {
        name: "idempotency-key-not-scoped",
        must: &["idempotency-key-support"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.claims = Arc::new(Claiming(Defect::Everywhere))),
    },
    Mutant {
        name: "idempotency-fingerprint-without-path",
        must: &["idempotency-key-support"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.fingerprint = without_path),
    },
    Mutant {
        name: "idempotency-replay-before-auth",
        must: &["idempotency-key-support"],
        may: &[],
        apply: |levers| levers.wire(Arc::new(ReplayToAnybody::default())),
    },
];

fn without_path(call: &Call) -> String {
    let call = Call {
        path: String::new(),
        ..call.clone()
    };
    fingerprint(&call)
}

/// Which keys are claimed, and for what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// None at all.
    Nothing,
    /// None that is in progress: a second request at once is a first one, too.
    Finished,
    /// All, but for the whole service, whatever the endpoint.
    Everywhere,
}

/// The durable claims, with one of these defects.
struct Claiming(Defect);

impl Claiming {
    fn scope(&self, claim: &Claim) -> Claim {
        let mut claim = claim.clone();
        if self.0 == Defect::Everywhere {
            claim.endpoint = "*".to_owned();
        }
        claim
    }

    fn ignores(&self) -> bool {
        self.0 == Defect::Nothing
    }
}

impl Claims for Claiming {
    fn claim(&self, tx: &mut Tx<'_>, claim: &Claim) -> Result<Claimed, StoreError> {
        if self.ignores() {
            return Ok(Claimed::New);
        }
        let claimed = DurableClaims.claim(tx, &self.scope(claim))?;
        let twice = self.0 == Defect::Finished && matches!(claimed, Claimed::InProgress);
        Ok(if twice { Claimed::New } else { claimed })
    }

    fn settle(
        &self,
        tx: &mut Tx<'_>,
        claim: &Claim,
        status: u16,
        body: &str,
    ) -> Result<(), StoreError> {
        DurableClaims.settle(tx, &self.scope(claim), status, body)
    }

    fn release(&self, tx: &mut Tx<'_>, claim: &Claim) -> Result<(), StoreError> {
        DurableClaims.release(tx, &self.scope(claim))
    }

    fn attach(&self, tx: &mut Tx<'_>, claim: &Claim, operation_id: &str) -> Result<(), StoreError> {
        DurableClaims.attach(tx, &self.scope(claim), operation_id)
    }

    fn settle_operation(
        &self,
        tx: &mut Tx<'_>,
        operation_id: &str,
        ttl_ms: u64,
        answer: (u16, &str),
    ) -> Result<(), StoreError> {
        DurableClaims.settle_operation(tx, operation_id, ttl_ms, answer)
    }

    fn release_operation(&self, tx: &mut Tx<'_>, operation_id: &str) -> Result<(), StoreError> {
        DurableClaims.release_operation(tx, operation_id)
    }

    fn prune(&self, tx: &mut Tx<'_>) -> Result<usize, StoreError> {
        DurableClaims.prune(tx)
    }
}

/// Remembers what was answered under a key, and gives it to whoever shows that key and no
/// credentials at all.
#[derive(Default)]
struct ReplayToAnybody(Mutex<HashMap<String, Answer>>);

impl ReplayToAnybody {
    /// What the answer is kept under, if the request shows a key.
    fn place(ask: &Asked) -> Option<String> {
        let key = ask.headers.get("x-idempotency-key")?.to_str().ok()?;
        Some(format!("{} {} {} {key}", ask.service, ask.method, ask.path))
    }
}

impl Rewrite for ReplayToAnybody {
    fn before(&self, ask: &Asked) -> Option<Answer> {
        let named = ["authorization", "x-service-token"];
        if named.iter().any(|name| ask.headers.contains_key(*name)) {
            return None;
        }
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = known.get(&Self::place(ask)?)?.clone();
        let replayed = HeaderName::from_static("idempotency-replayed");
        answer
            .headers
            .insert(replayed, HeaderValue::from_static("true"));
        Some(answer)
    }

    fn after(&self, ask: &Asked, answer: Answer) -> Answer {
        if let Some(place) = Self::place(ask)
            && answer.status.is_success()
        {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(place).or_insert_with(|| answer.clone());
        }
        answer
    }
}

/// A temporary table of the same name hides the durable one from the connection that writes.
pub(super) fn memory_map(levers: &mut Levers) {
    everywhere(
        levers,
        "CREATE TEMP TABLE idempotency_keys AS SELECT * FROM main.idempotency_keys WHERE 0;
         CREATE UNIQUE INDEX temp.one_key ON idempotency_keys (endpoint, idempotency_key)",
    );
}

fn everywhere(levers: &mut Levers, statement: &str) {
    for service in STORES {
        levers.sql(service, statement);
    }
}

fn executes_anyway(parts: &mut Parts) {
    parts.store_failed = Arc::new(|service, call| Box::pin(call_anyway(service, call)));
}

/// The store has failed, and the call is made all the same.
async fn call_anyway(service: Arc<Service>, call: Call) -> Option<Reply> {
    let backends = service.config().backends.clone();
    let url = match call.endpoint.as_str() {
        "POST /execute" => format!("{}/run", backends.tools.url),
        "POST /v3/turn" => format!("{}/chat", backends.models.url),
        _ => return None,
    };
    let answer = service.http.post(url).json(&call.body).send().await.ok()?;
    let body: Value = answer.json().await.ok()?;
    Some(Reply::ok(&call.correlation_id, json!({ "result": body })))
}
