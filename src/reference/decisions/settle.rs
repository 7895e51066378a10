//! Approve, deny and reissue, the same for all kinds: who wins is decided in one transaction with
//! the operation that follows, the audit entry and the key; the tool runs after that transaction.

use std::sync::Arc;

use serde_json::{Value, json};

use super::table::{self, Ask, Decision, Verdict};
use crate::reference::actions;
use crate::reference::dead_letters::{self, Failed, Source};
use crate::reference::execution::{self, Execution};
use crate::reference::ids;
use crate::reference::mutation::{self, Done, Refused};
use crate::reference::operations::{NewOperation, Operation, Resumer};
use crate::reference::service::Service;
use crate::reference::store::{StoreError, Tx};
use crate::reference::time::Timestamp;
use crate::reference::tools::Outcome;
use crate::reference::web::{Call, Refusal, Reply};

/// A reason for a denial has at most so many characters.
pub(super) const REASON_CHARS: usize = 1024;

/// What a person is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A guarded tool call of a turn.
    Confirmation,
    /// A guarded action.
    Action,
    /// A tool call that eva-os was asked about.
    Approval,
}

impl Kind {
    /// The name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmation => "confirmation",
            Self::Action => "action",
            Self::Approval => "approval",
        }
    }

    /// The field that carries its id in requests and answers.
    pub fn id_field(self) -> &'static str {
        match self {
            Self::Confirmation => "confirmation_id",
            Self::Action => "action_id",
            Self::Approval => "approval_id",
        }
    }

    /// The kind of the operation that carries an approval out.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Confirmation => "confirmation.execute",
            Self::Action => "action.execute",
            Self::Approval => "approval.execute",
        }
    }

    /// What audit entries call it.
    pub fn resource(self, id: &str) -> String {
        format!("{}/{id}", self.name())
    }

    /// What a dead letter of it names as its source; eva-os keeps none.
    fn source(self) -> Option<Source> {
        match self {
            Self::Confirmation => Some(Source::Confirmation),
            Self::Action => Some(Source::Action),
            Self::Approval => None,
        }
    }

    fn find(self, tx: &Tx<'_>, id: &str) -> Result<Option<Decision>, StoreError> {
        Ok(table::find(tx.sql(), self.name(), id)?)
    }

    /// A confirmation whose session's row is gone belongs to nobody and is not served.
    fn is_served(self, tx: &Tx<'_>, id: &str) -> Result<bool, StoreError> {
        if self != Self::Confirmation {
            return Ok(true);
        }
        let mut orphan = tx.sql().prepare_cached(
            "SELECT 1 FROM decisions WHERE id = ? AND session_id NOT IN (SELECT id FROM sessions)",
        )?;
        Ok(!orphan.exists([id])?)
    }

    /// Says what was decided, in the transaction that decides.
    fn announce(self, tx: &mut Tx<'_>, decision: &Decision, ask: &Ask) -> Result<(), StoreError> {
        let correlation_id = &ask.origin.correlation_id;
        match self {
            Self::Confirmation => tx.event(
                &format!("confirmation.{}", ask.verdict),
                correlation_id,
                json!({
                    "confirmation_id": decision.id, "actor_id": ask.origin.actor_id,
                    "fence_token": decision.fence,
                }),
            ),
            Self::Action => actions::decided(tx, &decision.id, ask.verdict, correlation_id),
            Self::Approval => Ok(()),
        }
    }

    fn unknown(self, id: &str) -> Refusal {
        let code = format!("{}_NOT_FOUND", self.name().to_uppercase());
        Refusal::not_found(&code, format!("no {} {id}", self.name()))
    }
}

/// Why a decision was not won. Its state is looked at before its fence: who comes too late learns
/// the winner's verdict, whatever fence he holds.
pub(super) fn refusal(
    kind: Kind,
    id: &str,
    fence: Option<i64>,
    row: Option<&Decision>,
    now: Timestamp,
) -> Refusal {
    let Some(row) = row else {
        return kind.unknown(id);
    };
    if let Some(verdict) = row.verdict {
        let details = json!({
            "verdict": verdict.name(), "decided_by": row.decided_by, "fence_token": row.fence,
        });
        return Refusal::conflict("ALREADY_DECIDED", format!("{id} is {verdict}")).details(details);
    }
    if row.expires_at <= now {
        let message = format!("{id} expired at {}", row.expires_at);
        return Refusal::conflict("CONFIRMATION_EXPIRED", message);
    }
    Refusal::conflict(
        "FENCE_STALE",
        match fence {
            Some(fence) => format!("fence {fence} is not the current one"),
            None => format!("{id} was reissued: a decision needs its fence now"),
        },
    )
}

/// The winner's answer, with the execution of an approved call.
fn answer(kind: Kind, decision: &Decision, execution: Value) -> Value {
    let mut body = json!({
        "verdict": decision.verdict.map(Verdict::name),
        "decided_by": decision.decided_by,
        "fence_token": decision.fence,
        "execution": execution,
    });
    body[kind.id_field()] = json!(decision.id);
    body
}

/// Asks for a decision inside a transaction and reads it back; a loser gets the reason.
fn claim(
    svc: &Service,
    tx: &mut Tx<'_>,
    kind: Kind,
    ask: &Ask,
    seen: Option<&Decision>,
) -> Result<Decision, Refused> {
    if !kind.is_served(tx, &ask.id)? {
        return Err(kind.unknown(&ask.id).into());
    }
    let won = svc.parts.decisions.claim(tx, ask, seen)?;
    match kind.find(tx, &ask.id)? {
        Some(row) if won => Ok(row),
        row => Err(refusal(kind, &ask.id, ask.fence, row.as_ref(), tx.now()).into()),
    }
}

fn ask(call: &Call, kind: Kind, id: String, verdict: Verdict) -> Result<Ask, Refusal> {
    Ok(Ask {
        kind: kind.name(),
        id,
        verdict,
        fence: call.fence()?,
        origin: call.origin(),
    })
}

/// Looks at the row as far as the part in force wants to, before any transaction.
async fn look(svc: &Service, ask: &Result<Ask, Refusal>) -> Result<Option<Decision>, StoreError> {
    match ask {
        Ok(ask) => svc.parts.decisions.look(&svc.store, ask).await,
        Err(_) => Ok(None),
    }
}

/// Approves: the winner's call runs once through openclaw, and its result is the answer.
pub async fn approve(
    svc: Arc<Service>,
    call: Call,
    kind: Kind,
    id: Result<String, Refusal>,
) -> Reply {
    let ask = id.and_then(|id| ask(&call, kind, id, Verdict::Approved));
    let seen = match look(&svc, &ask).await {
        Ok(seen) => seen,
        Err(error) => return Refusal::store(&error).reply(&call.correlation_id),
    };
    let service = svc.clone();
    let begun = mutation::begin(&svc, &call, move |tx| {
        let ask = ask?;
        let decision = claim(&service, tx, kind, &ask, seen.as_ref())?;
        kind.announce(tx, &decision, &ask)?;
        Ok(mutation::Decision {
            operation: NewOperation {
                id: ids::make("op_"),
                kind: kind.operation(),
                decision_id: Some(decision.id.clone()),
                fence_token: Some(decision.fence),
                detail: json!({"tool_name": decision.tool_name, "args": decision.args}),
            },
            origin: None,
            action: None,
            resource: Some(kind.resource(&decision.id)),
            value: decision,
        })
    });
    match begun.await {
        Err(reply) => reply,
        Ok(begun) => {
            let (id, parent) = (begun.operation_id, begun.link.to_string());
            let execution = Execution::of_decision(&begun.value, id, call.origin(), parent);
            carry_out(&svc, kind, &execution, false).await
        }
    }
}

/// Has an approved call run and stores what became of it, as the answer of its operation.
pub async fn carry_out(
    svc: &Arc<Service>,
    kind: Kind,
    execution: &Execution,
    resumed: bool,
) -> Reply {
    let outcome = execution::execute(svc, execution, resumed).await;
    let correlation_id = &execution.origin.correlation_id;
    let letters = svc.config().dead_letters.max;
    mutation::finish(
        svc,
        &execution.operation_id,
        correlation_id,
        move |tx, operation| conclude(tx, kind, operation, &outcome, letters),
    )
    .await
}

fn conclude(
    tx: &mut Tx<'_>,
    kind: Kind,
    operation: &Operation,
    outcome: &Outcome,
    letters: u64,
) -> Result<Done, StoreError> {
    let id = operation.decision_id.as_deref().unwrap_or_default();
    let decision = kind
        .find(tx, id)?
        .ok_or_else(|| StoreError::Refused(format!("operation {}: no {id}", operation.id)))?;
    let execution = outcome.execution(&operation.id);
    let mut body = answer(kind, &decision, execution.clone());
    if kind == Kind::Action {
        let correlation_id = &operation.origin.correlation_id;
        actions::finish(tx, id, outcome.status(), &execution, correlation_id)?;
        body["state"] = json!(outcome.status());
    }
    let failed = kind.source().and_then(|source| {
        Failed::of(
            operation,
            outcome,
            (source, id),
            decision.session_id.clone(),
        )
    });
    if let Some(failed) = failed {
        dead_letters::add(tx, &failed, letters)?;
    }
    let done = Done::new(200, body)
        .on(kind.resource(id))
        .action(kind.operation());
    Ok(match outcome {
        Outcome::Succeeded { .. } => done,
        Outcome::Failed { .. } => done.failed(),
    })
}

/// Denies: the call never runs.
pub async fn deny(svc: Arc<Service>, call: Call, kind: Kind, id: Result<String, Refusal>) -> Reply {
    let ask = id.and_then(|id| ask(&call, kind, id, Verdict::Denied));
    let seen = match look(&svc, &ask).await {
        Ok(seen) => seen,
        Err(error) => return Refusal::store(&error).reply(&call.correlation_id),
    };
    let service = svc.clone();
    let request = call.clone();
    mutation::commit(&svc, &call, move |tx| {
        let ask = ask?;
        request.fields()?.optional_text("reason", REASON_CHARS)?;
        let decision = claim(&service, tx, kind, &ask, seen.as_ref())?;
        kind.announce(tx, &decision, &ask)?;
        let mut body = answer(kind, &decision, Value::Null);
        if kind == Kind::Action {
            body["state"] = json!("denied");
        }
        Ok(Done::new(200, body).on(kind.resource(&decision.id)))
    })
    .await
}

/// Issues a pending or expired decision again: same id, new TTL, new fence. Whoever holds the old
/// fence, or none, decides nothing any more.
pub async fn reissue(
    svc: Arc<Service>,
    call: Call,
    kind: Kind,
    id: Result<String, Refusal>,
) -> Reply {
    let (service, request) = (svc.clone(), call.clone());
    mutation::commit(&svc, &call, move |tx| {
        let (id, held) = (id?, request.fence()?);
        let row = if kind.is_served(tx, &id)? {
            kind.find(tx, &id)?
        } else {
            None
        };
        let current = match &row {
            Some(row) if row.verdict.is_none() && held.is_none_or(|held| held == row.fence) => row,
            // Expired is no reason here, so the row is judged as if it had just been issued.
            row => {
                let at = row
                    .as_ref()
                    .map_or(tx.now(), |row| just_before(row.expires_at));
                return Err(refusal(kind, &id, held, row.as_ref(), at).into());
            }
        };
        let fence = service.parts.decisions.next_fence(tx)?;
        let ttl_ms = service.config().confirmations.ttl_ms;
        if !table::renew(tx, kind.name(), &current.id, fence, ttl_ms)? {
            return Err(StoreError::Refused(format!("{id}: decided while it was reissued")).into());
        }
        if kind == Kind::Confirmation {
            let data = json!({"confirmation_id": id, "fence_token": fence});
            tx.event("confirmation.reissued", &request.correlation_id, data)?;
        }
        let remaining = tx.now().plus_ms(ttl_ms).seconds_after(tx.now());
        let mut body = json!({"fence_token": fence, "remaining_seconds": remaining});
        body[kind.id_field()] = json!(id);
        Ok(Done::new(200, body).on(kind.resource(&id)))
    })
    .await
}

fn just_before(at: Timestamp) -> Timestamp {
    Timestamp(at.us() - 1)
}

/// What resumes the approvals of one kind that were interrupted.
pub fn resumer(service: &'static str, kind: Kind) -> Resumer {
    Resumer {
        service,
        kind: kind.operation(),
        resume: Arc::new(move |svc, operation| {
            Box::pin(async move {
                carry_out(&svc, kind, &Execution::of(&operation), true).await;
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_341_600_000_000);

    fn row(verdict: Option<Verdict>, expires_at: Timestamp) -> Decision {
        Decision {
            id: "cnf_1".into(),
            session_id: None,
            tool_name: "file.write".into(),
            args: json!({}),
            verdict,
            decided_by: json!({"actor_id": "op-1", "actor_role": "operator", "via": null}),
            fence: 41,
            issues: 2,
            expires_at,
        }
    }

    fn said(row: Option<&Decision>, fence: Option<i64>) -> (u16, String, String) {
        let refusal = refusal(Kind::Confirmation, "cnf_1", fence, row, NOW);
        (refusal.status, refusal.code, refusal.message)
    }

    #[test]
    fn a_verdict_goes_before_the_deadline_and_the_deadline_before_the_fence() {
        let (past, future) = (Timestamp(NOW.us() - 1_000_000), NOW.plus_ms(1));
        let unknown = (404, "CONFIRMATION_NOT_FOUND", "no confirmation cnf_1");
        let decided = (409, "ALREADY_DECIDED", "cnf_1 is denied");
        let expired = (
            409,
            "CONFIRMATION_EXPIRED",
            "cnf_1 expired at 2026-11-22T09:59:59.000000Z",
        );
        let stale = (409, "FENCE_STALE", "fence 40 is not the current one");
        for (row, expected) in [
            (None, unknown),
            (Some(row(Some(Verdict::Denied), past)), decided),
            (Some(row(Some(Verdict::Denied), future)), decided),
            (Some(row(None, past)), expired),
            (Some(row(None, future)), stale),
        ] {
            let (status, code, message) = said(row.as_ref(), Some(40));
            assert_eq!((status, code.as_str(), message.as_str()), expected);
        }
        let open = row(None, future);
        assert_eq!(said(Some(&open), None).1, "FENCE_STALE");
    }

    #[test]
    fn the_winner_is_named_to_the_loser() {
        let won = row(Some(Verdict::Approved), NOW);
        let refusal = refusal(Kind::Action, "cnf_1", None, Some(&won), NOW);
        let expected =
            json!({"verdict": "approved", "decided_by": won.decided_by, "fence_token": 41});
        assert_eq!(refusal.details, expected);
    }
}
