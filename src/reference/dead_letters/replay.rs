//! A replay: the generation rises in the transaction that begins it, the call goes through openclaw
//! like any other, and the second transaction resolves the letter or opens it again.

use std::sync::Arc;

use serde_json::json;

use super::SERVICE;
use super::table::{self, Letter};
use crate::reference::audit::Origin;
use crate::reference::execution::{self, Execution};
use crate::reference::ids;
use crate::reference::mutation::{self, Done};
use crate::reference::operations::{NewOperation, Operation, Resumer};
use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::tools::Outcome;
use crate::reference::web::{Call, Refusal, Reply};

/// What the audit entry of its beginning is called; the kind of its operation too.
pub(super) const REPLAY: &str = "dead_letter.replay";
/// What the audit entry of its end is called.
const EXECUTE: &str = "dead_letter.execute";

/// Who and where from, for everything that a replay of this letter leaves behind: from the letter,
/// its generation raised, and from the request.
pub type Provenance = Arc<dyn Fn(&Letter, &Origin) -> Origin + Send + Sync>;

/// The conversation of the original decision, caused by it; the actor and the payload are those of
/// the request, whose own correlation id is kept as its request id.
pub fn original(letter: &Letter, request: &Origin) -> Origin {
    Origin {
        correlation_id: letter.correlation_id.clone(),
        request_id: request.correlation_id.clone(),
        causal_parent: Some(letter.causal_parent.clone()),
        replay_generation: letter.replay_generation,
        ..request.clone()
    }
}

/// What resumes interrupted replays.
pub fn resumers() -> Vec<Resumer> {
    vec![Resumer {
        service: SERVICE,
        kind: REPLAY,
        resume: Arc::new(|svc, operation| {
            Box::pin(async move {
                carry_out(&svc, &Execution::of(&operation), true).await;
            })
        }),
    }]
}

/// `POST /v3/dead-letters/{id}/replay?dry_run=`.
pub(super) async fn replay(svc: Arc<Service>, call: Call) -> Reply {
    match call.query("dry_run") {
        None | Some("false") => {}
        Some("true") => return rehearse(&svc, &call).await,
        Some(_) => {
            let message = "dry_run: expected true or false";
            let refusal = Refusal::new(400, "OUT_OF_RANGE", message);
            return refusal.reply(&call.correlation_id);
        }
    }
    let (service, request) = (svc.clone(), call.clone());
    let begun = mutation::begin(&svc, &call, move |tx| {
        let (id, operation_id) = (request.param("id"), ids::make("op_"));
        let Some(letter) = table::begin(tx, id, &operation_id)? else {
            return Err(refusal(id, table::find(tx.sql(), id)?.as_ref()).into());
        };
        let origin = (service.parts.provenance)(&letter, &request.origin());
        let data = json!({
            "dead_letter_id": letter.id, "replay_generation": origin.replay_generation,
        });
        tx.event("dead_letter.replaying", &origin.correlation_id, data)?;
        let (decision_id, fence_token) = letter.decision.clone().unzip();
        Ok(mutation::Decision {
            operation: NewOperation {
                id: operation_id,
                kind: REPLAY,
                decision_id,
                fence_token,
                detail: json!({
                    "tool_name": letter.tool_name, "args": letter.args, "dead_letter_id": letter.id,
                }),
            },
            origin: Some(origin.clone()),
            action: None,
            resource: None,
            value: (letter, origin),
        })
    });
    match begun.await {
        Err(reply) => reply,
        Ok(begun) => {
            let (letter, origin) = begun.value;
            let execution = Execution {
                operation_id: begun.operation_id,
                tool_name: letter.tool_name,
                args: letter.args,
                decision: letter.decision,
                origin,
                causal_parent: begun.link.to_string(),
            };
            carry_out(&svc, &execution, false).await
        }
    }
}

/// Why there is nothing to replay.
fn refusal(id: &str, letter: Option<&Letter>) -> Refusal {
    let Some(letter) = letter else {
        return Refusal::not_found("DEAD_LETTER_NOT_FOUND", format!("no dead letter {id}"));
    };
    let (state, generation) = (&letter.state, letter.replay_generation);
    let details = json!({"state": state, "replay_generation": generation});
    if state == "resolved" {
        let message = format!("{id} is resolved");
        return Refusal::conflict("DEAD_LETTER_RESOLVED", message).details(details);
    }
    Refusal {
        retryable: true,
        retry_after: Some(1),
        ..Refusal::conflict("REPLAY_IN_PROGRESS", format!("{id} is being replayed"))
            .details(details)
    }
}

/// What a replay would do now. Nothing is written, not even that somebody asked.
async fn rehearse(svc: &Service, call: &Call) -> Reply {
    let id = call.param("id").to_owned();
    let letter = match svc.store.read(move |sql| table::find(sql, &id)).await {
        Err(error) => return Refusal::store(&error).reply(&call.correlation_id),
        Ok(Some(letter)) if letter.state == "open" => letter,
        Ok(letter) => {
            return refusal(call.param("id"), letter.as_ref()).reply(&call.correlation_id);
        }
    };
    let decision = letter
        .decision
        .as_ref()
        .map(|(id, fence_token)| json!({"id": id, "fence_token": fence_token}));
    let body = json!({
        "dry_run": true,
        "dead_letter": letter.view(),
        "would": {
            "tool_name": letter.tool_name,
            "args": letter.args,
            "decision": decision,
            "replay_generation": letter.replay_generation + 1,
            "correlation_id": letter.correlation_id,
        },
    });
    Reply::ok(&call.correlation_id, body)
}

/// Has the call run and stores what became of it, as the answer of its operation.
async fn carry_out(svc: &Arc<Service>, execution: &Execution, resumed: bool) -> Reply {
    let outcome = execution::execute(svc, execution, resumed).await;
    mutation::finish(
        svc,
        &execution.operation_id,
        &execution.origin.request_id,
        move |tx, operation| conclude(tx, operation, &outcome),
    )
    .await
}

fn conclude(tx: &mut Tx<'_>, operation: &Operation, outcome: &Outcome) -> Result<Done, StoreError> {
    let id = operation.detail["dead_letter_id"]
        .as_str()
        .unwrap_or_default();
    table::end(tx, id, outcome)?;
    let letter = table::find(tx.sql(), id)?
        .ok_or_else(|| StoreError::Refused(format!("operation {}: no {id}", operation.id)))?;
    let Origin {
        correlation_id,
        request_id,
        replay_generation,
        ..
    } = &operation.origin;
    let data = json!({
        "dead_letter_id": id, "replay_generation": replay_generation, "status": outcome.status(),
    });
    tx.event("dead_letter.replayed", correlation_id, data)?;
    let body = json!({
        "dry_run": false,
        "dead_letter": letter.view(),
        "execution": outcome.execution(&operation.id),
        // The entries are the original's, the answer is the request's.
        "correlation_id": request_id,
    });
    let done = Done::new(200, body)
        .on(format!("dead_letter/{id}"))
        .action(EXECUTE);
    Ok(match outcome {
        Outcome::Succeeded { .. } => done,
        Outcome::Failed { .. } => done.failed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_too_early_may_come_again_and_who_comes_too_late_may_not() {
        assert_eq!(refusal("dlq_1", None).status, 404);
        let mut letter = table::sample();
        letter.state = "replaying".to_owned();
        let early = refusal("dlq_1", Some(&letter));
        assert_eq!((early.status, early.retryable), (409, true));
        letter.state = "resolved".to_owned();
        let late = refusal("dlq_1", Some(&letter));
        assert_eq!((late.status, late.retryable), (409, false));
        assert_eq!(
            late.details,
            json!({"state": "resolved", "replay_generation": 2})
        );
    }

    #[test]
    fn a_replay_belongs_to_the_original_conversation_and_names_its_request() {
        let request = Call::anonymous("cor_replay").origin();
        let origin = original(&table::sample(), &request);
        assert_eq!(origin.correlation_id, "cor_first");
        assert_eq!(origin.request_id, "cor_replay");
        assert_eq!(origin.replay_generation, 2);
        assert_eq!(origin.actor_id, request.actor_id);
        let parent = origin.causal_parent.unwrap();
        assert!(parent.starts_with("api-gateway/4/"), "{parent}");
    }
}
