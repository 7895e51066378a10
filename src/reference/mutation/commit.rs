//! A mutation whose whole effect is in the database.

use std::sync::Arc;

use super::{Claim, Claimed, Claims, Done, Refused, is_stored};
use crate::reference::audit::Outcome;
use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::web::{Call, Refusal, Reply, with_ok};

/// What a transaction needs of a request.
pub(super) struct Request {
    pub(super) call: Call,
    pub(super) claims: Arc<dyn Claims>,
    pub(super) claim: Option<Claim>,
}

impl Request {
    pub(super) fn of(svc: &Service, call: &Call) -> Self {
        let claim = call.key.as_ref().map(|key| Claim {
            endpoint: call.endpoint.clone(),
            key: key.0.clone(),
            fingerprint: (svc.parts.fingerprint)(call),
            ttl_ms: svc.config().idempotency.ttl_ms,
        });
        Self {
            call: call.clone(),
            claims: svc.parts.claims.clone(),
            claim,
        }
    }

    /// Claims the key; an answer when this request is not the first, or not the same.
    pub(super) fn claim(&self, tx: &mut Tx<'_>) -> Result<Option<Reply>, StoreError> {
        let Some(claim) = &self.claim else {
            return Ok(None);
        };
        let refusal = match self.claims.claim(tx, claim)? {
            Claimed::New => return Ok(None),
            Claimed::Replay { status, body } => return Ok(Some(Reply::replayed(status, body))),
            Claimed::InProgress => Refusal {
                retryable: true,
                retry_after: Some(1),
                ..Refusal::conflict(
                    "KEY_IN_PROGRESS",
                    "the first request with this key is still running",
                )
            },
            Claimed::Reused => {
                Refusal::new(422, "KEY_REUSED", "this key belongs to another request")
            }
        };
        self.record(tx, &refusal)?;
        Ok(Some(refusal.reply(&self.call.correlation_id)))
    }

    /// A refusal after the key was claimed: its entry, and its answer under the key or the key free.
    pub(super) fn refuse(&self, tx: &mut Tx<'_>, refusal: &Refusal) -> Result<Reply, StoreError> {
        self.record(tx, refusal)?;
        if let Some(claim) = &self.claim {
            if is_stored(refusal.status) {
                let body = refusal.body(&self.call.correlation_id).to_string();
                self.claims.settle(tx, claim, refusal.status, &body)?;
            } else {
                self.claims.release(tx, claim)?;
            }
        }
        Ok(refusal.reply(&self.call.correlation_id))
    }

    fn record(&self, tx: &mut Tx<'_>, refusal: &Refusal) -> Result<(), StoreError> {
        if matches!(refusal.status, 403 | 409 | 422) {
            let call = &self.call;
            tx.audit(
                call.origin()
                    .draft(call.action, &call.resource, Outcome::Refused),
            )?;
        }
        Ok(())
    }
}

/// Claims the key, runs the effect, appends its audit entry and stores the answer: all of it, or,
/// when the effect is refused, the entry of the refusal and its answer alone.
pub async fn commit(
    svc: &Arc<Service>,
    call: &Call,
    effect: impl FnOnce(&mut Tx<'_>) -> Result<Done, Refused> + Send + 'static,
) -> Reply {
    if let Some(refusal) = svc.audit_broken() {
        return refusal.reply(&call.correlation_id);
    }
    let request = Request::of(svc, call);
    let written = svc.store.write(move |tx| {
        if let Some(reply) = request.claim(tx)? {
            return Ok(reply);
        }
        match tx.attempt(effect)? {
            Ok(done) => conclude(tx, &request, done),
            Err(Refused::Refusal(refusal)) => request.refuse(tx, &refusal),
            Err(Refused::Store(error)) => Err(error),
        }
    });
    match written.await {
        Ok(reply) => reply,
        Err(error) => store_failed(svc, call, error).await,
    }
}

fn conclude(tx: &mut Tx<'_>, request: &Request, done: Done) -> Result<Reply, StoreError> {
    let call = &request.call;
    let action = done.action.as_deref().unwrap_or(call.action);
    let resource = done.resource.as_deref().unwrap_or(&call.resource);
    tx.audit(call.origin().draft(action, resource, done.outcome))?;
    let body = with_ok(done.body, &call.correlation_id);
    if let Some(claim) = &request.claim {
        request
            .claims
            .settle(tx, claim, done.status, &body.to_string())?;
    }
    Ok(Reply::json(done.status, body))
}

/// A refusal outside any effect (a role that is too small): its audit entry, and the answer.
pub async fn refuse(svc: &Arc<Service>, call: &Call, refusal: Refusal) -> Reply {
    let reply = refusal.reply(&call.correlation_id);
    // Nothing is appended to a broken chain; the refusal stands without it.
    if svc.audit_broken().is_some() {
        return reply;
    }
    let request = Request {
        call: call.clone(),
        claims: svc.parts.claims.clone(),
        claim: None,
    };
    match svc
        .store
        .write(move |tx| request.record(tx, &refusal))
        .await
    {
        Ok(()) => reply,
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
    }
}

/// Nothing was executed: 503, unless the claims have another answer.
pub(super) async fn store_failed(svc: &Arc<Service>, call: &Call, error: StoreError) -> Reply {
    tracing::warn!(service = svc.name, endpoint = call.endpoint, %error, "nothing was executed");
    let answer = (svc.parts.store_failed)(svc.clone(), call.clone());
    match answer.await {
        Some(reply) => reply,
        None => Refusal::store(&error).reply(&call.correlation_id),
    }
}
