//! A mutation that calls the outside world between two transactions.

use std::sync::Arc;
use std::time::Duration;

use super::commit::{Request, store_failed};
use super::{Done, Refused, is_stored};
use crate::reference::audit::{Link, Origin, Outcome};
use crate::reference::operations::{self, NewOperation, Operation, State};
use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::web::{Call, Refusal, Reply, with_ok};

/// What the first transaction decided.
pub struct Decision<T> {
    /// The operation to be carried out.
    pub operation: NewOperation,
    /// Who and where from, when that is not the call's own.
    pub origin: Option<Origin>,
    /// What the audit entry calls the decision, when that is not the route's action.
    pub action: Option<String>,
    /// What the audit entry says it is about, when that is more than the call knew.
    pub resource: Option<String>,
    /// For the caller.
    pub value: T,
}

/// A committed decision.
#[derive(Clone, Debug)]
pub struct Begun<T> {
    /// The operation's id: the `Idempotency-Key` of the call that follows.
    pub operation_id: String,
    /// The decision's audit entry: the `X-Causal-Parent` of the call that follows.
    pub link: Link,
    /// What the decision handed over.
    pub value: T,
}

/// Transaction 1: the key in progress, the decision, the operation and the audit entry.
///
/// # Errors
/// The answer, when there is nothing to carry out: a replay, a refusal, a store that failed.
pub async fn begin<T: Send + 'static>(
    svc: &Arc<Service>,
    call: &Call,
    decide: impl FnOnce(&mut Tx<'_>) -> Result<Decision<T>, Refused> + Send + 'static,
) -> Result<Begun<T>, Reply> {
    if let Some(refusal) = svc.audit_broken() {
        return Err(refusal.reply(&call.correlation_id));
    }
    let request = Request::of(svc, call);
    let written = svc.store.write(move |tx| {
        if let Some(reply) = request.claim(tx)? {
            return Ok(Err(reply));
        }
        match tx.attempt(decide)? {
            Ok(decision) => open(tx, &request, decision).map(Ok),
            Err(Refused::Refusal(refusal)) => request.refuse(tx, &refusal).map(Err),
            Err(Refused::Store(error)) => Err(error),
        }
    });
    match written.await {
        Ok(begun) => begun,
        Err(error) => Err(store_failed(svc, call, error).await),
    }
}

fn open<T>(
    tx: &mut Tx<'_>,
    request: &Request,
    decision: Decision<T>,
) -> Result<Begun<T>, StoreError> {
    let call = &request.call;
    let origin = decision.origin.unwrap_or_else(|| call.origin());
    let action = decision.action.as_deref().unwrap_or(call.action);
    let resource = decision.resource.as_deref().unwrap_or(&call.resource);
    let link = tx.audit(origin.draft(action, resource, Outcome::Ok))?;
    operations::insert(tx, &decision.operation, &origin, &link)?;
    if let Some(claim) = &request.claim {
        request.claims.attach(tx, claim, &decision.operation.id)?;
    }
    Ok(Begun {
        operation_id: decision.operation.id,
        link,
        value: decision.value,
    })
}

/// Transaction 2: result, audit entry, and the answer under the key that points at the operation.
/// An operation that was concluded before keeps its answer. A store that fails is tried again,
/// because the call has happened: an early 503 would say that it has not. Past
/// `operations.give_up_ms` the client is told 503 and the tries go on.
pub async fn finish(
    svc: &Arc<Service>,
    operation_id: &str,
    correlation_id: &str,
    conclude: impl Fn(&mut Tx<'_>, &Operation) -> Result<Done, StoreError> + Send + Sync + 'static,
) -> Reply {
    let give_up = Duration::from_millis(svc.config().operations.give_up_ms);
    let conclude: Arc<Conclude> = Arc::new(conclude);
    let task = tokio::spawn(until_stored(svc.clone(), operation_id.to_owned(), conclude));
    match tokio::time::timeout(give_up, task).await {
        Ok(Ok(reply)) => reply,
        failed => {
            tracing::error!(
                operation_id,
                stopped = failed.is_ok(),
                "an outcome is not stored"
            );
            let error = StoreError::Unavailable("the outcome is not stored yet".to_owned());
            Refusal::store(&error).reply(correlation_id)
        }
    }
}

type Conclude = dyn Fn(&mut Tx<'_>, &Operation) -> Result<Done, StoreError> + Send + Sync;

async fn until_stored(svc: Arc<Service>, id: String, conclude: Arc<Conclude>) -> Reply {
    loop {
        let (operation_id, conclude) = (id.clone(), conclude.clone());
        let (claims, ttl_ms) = (svc.parts.claims.clone(), svc.config().idempotency.ttl_ms);
        let written = svc.store.write(move |tx| {
            let operation = operations::get(tx.sql(), &operation_id)?
                .ok_or_else(|| StoreError::Refused(format!("no operation {operation_id}")))?;
            if let Some((status, body)) = operation.answer {
                return Ok(Reply::stored(status, body));
            }
            let done = conclude(tx, &operation)?;
            let (status, body) = close(tx, &operation, done)?;
            if is_stored(status) {
                let answer = (status, &*body.to_string());
                claims.settle_operation(tx, &operation_id, ttl_ms, answer)?;
            } else {
                claims.release_operation(tx, &operation_id)?;
            }
            Ok(Reply::json(status, body))
        });
        match written.await {
            Ok(reply) => return reply,
            Err(error) => {
                tracing::warn!(operation_id = id, %error, "an outcome could not be stored yet");
                let retry_ms = svc.config().operations.retry_ms;
                tokio::time::sleep(Duration::from_millis(retry_ms)).await;
            }
        }
    }
}

fn close(
    tx: &mut Tx<'_>,
    operation: &Operation,
    done: Done,
) -> Result<(u16, serde_json::Value), StoreError> {
    let mut origin = operation.origin.clone();
    origin.causal_parent = operation.link.clone().or(origin.causal_parent);
    let action = done
        .action
        .unwrap_or_else(|| format!("{}.finish", operation.kind));
    let resource = done
        .resource
        .unwrap_or_else(|| format!("operation/{}", operation.id));
    tx.audit(origin.draft(&action, &resource, done.outcome))?;
    let body = with_ok(done.body, &origin.correlation_id);
    let state = match done.outcome {
        Outcome::Ok => State::Done,
        Outcome::Refused | Outcome::Failed => State::Failed,
    };
    operations::conclude(tx, &operation.id, state, (done.status, &body.to_string()))?;
    Ok((done.status, body))
}
