//! Defects of approvals: who wins, what the losers hear, and what runs.

use std::sync::Arc;

use axum::http::StatusCode;
use futures_util::future::BoxFuture;

use super::levers::Levers;
use super::wire::{Ask as Asked, Reply as Answer, Rewrite};
use super::{May, Mutant};
use crate::reference::decisions::{self, Ask, Decision, Decisions, Durable, Kind, OPEN, Verdict};
use crate::reference::openclaw::{Ask as Wanted, IssuersWord, Permit, Ruling};
use crate::reference::store::{Store, StoreError, Tx};
use crate::reference::web::{Handler, Reply};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "approval-check-then-set",
        must: &["approval-race-safe"],
        may: &[May {
            gate: "actor-attribution",
            reason: "who decided is not told where several did",
        }],
        apply: |levers| levers.part(|parts| parts.decisions = Arc::new(CheckThenSet)),
    },
    Mutant {
        name: "approval-reapprove-executes",
        must: &["approval-race-safe"],
        may: &[
            May {
                gate: "idempotency-key-support",
                reason: "an approval under another key is a late one, and runs once more",
            },
            May {
                gate: "confirmation-restore",
                reason: "what was approved before the KILL is approved again after it, and runs",
            },
            May {
                gate: "approvals-restore",
                reason: "what was approved before the KILL is approved again after it, and runs",
            },
        ],
        apply: reapprove_executes,
    },
    Mutant {
        name: "approval-loser-gets-200",
        must: &["approval-race-safe"],
        may: &[
            May {
                gate: "idempotency-key-support",
                reason: "a decision under another key is a late one, and is told 200",
            },
            May {
                gate: "confirmation-restore",
                reason: "what was decided before the KILL is decided again after it, and told 200",
            },
            May {
                gate: "approvals-restore",
                reason: "what was decided before the KILL is decided again after it, and told 200",
            },
            May {
                gate: "actor-attribution",
                reason: "a lost decision that is told 200 should have an entry of its own as a won one",
            },
            May {
                gate: "memory-risk-tier",
                reason: "a proposal that is decided twice is told 200 the second time",
            },
        ],
        apply: |levers| levers.wire(Arc::new(LoserGets200)),
    },
    Mutant {
        name: "tool-runs-without-decision",
        must: &["approval-race-safe"],
        may: &[May {
            gate: "tool-proxy-canonical",
            reason: "an agent's guarded call runs before anybody decided",
        }],
        apply: |levers| levers.part(|parts| parts.permit = Arc::new(AnybodysWord)),
    },
    Mutant {
        name: "approve-accepts-any-id",
        must: &["approve-endpoint"],
        may: &[],
        apply: |levers| levers.route(("eva-os", "POST", "/approve"), any_id),
    },
    Mutant {
        name: "approval-token-fits-other-action",
        must: &["approve-endpoint"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.permit = Arc::new(AnyAction)),
    },
];

/// An approval that was never asked for is approved all the same.
fn any_id(original: Handler) -> Handler {
    Arc::new(move |service, call| {
        let original = Arc::clone(&original);
        Box::pin(async move {
            let (id, decided_by) = (call.body["approval_id"].clone(), call.actor.value());
            let correlation_id = call.correlation_id.clone();
            let reply = original(service, call).await;
            if reply.value()["error"]["code"] != "APPROVAL_NOT_FOUND" {
                return reply;
            }
            let body = serde_json::json!({
                "approval_id": id, "verdict": "approved", "decided_by": decided_by,
                "fence_token": 1, "execution": null,
            });
            Reply::ok(&correlation_id, body)
        })
    })
}

/// A won approval lets anything run that is not its own call.
struct AnyAction;

impl AnyAction {
    /// Whether the call names an approved decision that is about another one.
    fn other(ask: &Wanted) -> rusqlite::Result<bool> {
        let (Some(decision), Some(path)) = (&ask.decision, &ask.issuer_database) else {
            return Ok(false);
        };
        let sql = rusqlite::Connection::open_with_flags(
            path,
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        )?;
        let mut won = sql
            .prepare("SELECT tool_name, args FROM decisions WHERE id = ? AND state = 'approved'")?;
        let mut rows = won.query([&decision.id])?;
        let Some(row) = rows.next()? else {
            return Ok(false);
        };
        let (tool, args): (String, String) = (row.get(0)?, row.get(1)?);
        let args: serde_json::Value = serde_json::from_str(&args).unwrap_or_default();
        Ok(tool != ask.tool_name || args != ask.args)
    }
}

impl Permit for AnyAction {
    fn rule<'a>(&'a self, ask: &'a Wanted) -> BoxFuture<'a, Result<Ruling, StoreError>> {
        Box::pin(async move {
            match Self::other(ask) {
                Ok(true) => Ok(Ruling::Granted),
                _ => IssuersWord.rule(ask).await,
            }
        })
    }

    fn consume(&self, tx: &mut Tx<'_>, ask: &Wanted) -> Result<bool, StoreError> {
        match Self::other(ask) {
            Ok(true) => Ok(true),
            _ => IssuersWord.consume(tx, ask),
        }
    }
}

/// A lost decision is answered as if it had been won.
struct LoserGets200;

impl Rewrite for LoserGets200 {
    fn after(&self, ask: &Asked, mut reply: Answer) -> Answer {
        let decides = ask.path.ends_with("/approve") || ask.path.ends_with("/deny");
        let mut body = reply.value();
        if !decides || body["error"]["code"] != "ALREADY_DECIDED" {
            return reply;
        }
        reply.status = StatusCode::OK;
        let winner = body["error"]["details"].take();
        body["ok"] = true.into();
        for (name, value) in winner.as_object().into_iter().flatten() {
            body[name.as_str()] = value.clone();
        }
        if let Some(body) = body.as_object_mut() {
            body.remove("error");
        }
        reply.with(&body)
    }
}

/// Looks whether the decision is open, lets others go first, and then decides whatever is so.
struct CheckThenSet;

impl Decisions for CheckThenSet {
    fn look<'a>(
        &'a self,
        store: &'a Store,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Option<Decision>, StoreError>> {
        let (kind, id) = (ask.kind, ask.id.clone());
        Box::pin(store.read(move |sql| decisions::find(sql, kind, &id)))
    }

    fn claim(
        &self,
        tx: &mut Tx<'_>,
        ask: &Ask,
        seen: Option<&Decision>,
    ) -> Result<bool, StoreError> {
        let was_open = seen.is_some_and(|decision| decision.verdict.is_none());
        // What was seen is taken for what is: only the fence is still asked for.
        let guard = match was_open {
            true => "expires_at_us > :now AND ((:fence IS NULL AND issues = 1) OR fence = :fence)",
            false => OPEN,
        };
        decisions::mark(tx, ask, guard)
    }

    fn next_fence(&self, tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        Durable.next_fence(tx)
    }
}

/// Approves what is approved already: 409, and the tool runs once more.
fn reapprove_executes(levers: &mut Levers) {
    let rows = [
        (
            ("api-gateway", "POST", "/v3/confirmations/{id}/approve"),
            Kind::Confirmation,
        ),
        (
            ("api-gateway", "POST", "/v3/actions/{id}/approve"),
            Kind::Action,
        ),
        (("eva-os", "POST", "/approve"), Kind::Approval),
    ];
    for (row, kind) in rows {
        levers.route(row, move |original| run_again(&original, kind));
    }
}

fn run_again(original: &Handler, kind: Kind) -> Handler {
    let original = Arc::clone(original);
    Arc::new(move |service, call| {
        let original = Arc::clone(&original);
        Box::pin(async move {
            let named = call.params.get("id").map(String::as_str);
            let id = named
                .or(call.body["approval_id"].as_str())
                .unwrap_or_default()
                .to_owned();
            let reply = original(Arc::clone(&service), call).await;
            let found = service
                .store
                .read(move |sql| decisions::find(sql, kind.name(), &id))
                .await;
            // A late decision, and not a repeat of the winning one under its key.
            let late = reply.value()["error"]["code"] == "ALREADY_DECIDED";
            if let (true, Ok(Some(decision))) = (late, found)
                && decision.verdict == Some(Verdict::Approved)
            {
                let url = format!("{}/run", service.config().backends.tools.url);
                let body = serde_json::json!({
                    "operation_id": "op_again", "tool_name": decision.tool_name,
                    "args": decision.args,
                });
                // Whether the backend likes it is not this defect's concern.
                drop(service.http.post(url).json(&body).send().await);
            }
            reply
        })
    })
}

/// Lets every guarded call run, whoever decided on it or not.
struct AnybodysWord;

impl Permit for AnybodysWord {
    fn rule<'a>(&'a self, ask: &'a Wanted) -> BoxFuture<'a, Result<Ruling, StoreError>> {
        Box::pin(async move {
            match ask.decision {
                None => Ok(Ruling::Granted),
                Some(_) => IssuersWord.rule(ask).await,
            }
        })
    }

    fn consume(&self, tx: &mut Tx<'_>, ask: &Wanted) -> Result<bool, StoreError> {
        match ask.decision {
            None => Ok(true),
            Some(_) => IssuersWord.consume(tx, ask),
        }
    }
}
