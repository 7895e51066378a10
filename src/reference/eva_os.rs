//! eva-os as far as approvals go: it is asked about a tool call and asks a person. What it lets
//! through still runs at openclaw.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::reference::audit::Outcome;
use crate::reference::decisions::{self, Draft, Kind, Verb};
use crate::reference::ids;
use crate::reference::mutation::{Done, commit};
use crate::reference::operations::Resumer;
use crate::reference::service::Service;
use crate::reference::tools::{self, Risk};
use crate::reference::web::{Call, Field, Longest, Refusal, Reply, Row, Shape, handler};

const SERVICE: &str = "eva-os";

/// The routes of approvals.
pub fn routes() -> Vec<Row> {
    let post = |path, since, action, run| {
        Row::mutation(SERVICE, ("POST", path), since, (action, "approval"), run)
    };
    let decide = |path, since, action, verb, run| {
        let (named, told) = (&[ID], &[Field::text("approval_id")]);
        decisions::says(post(path, since, action, run), verb, named, told)
    };
    vec![
        post(
            "/gate-tool-call",
            "v4.4",
            "approval.request",
            handler(gate_tool_call),
        )
        .about("Judges a tool call; a guarded one gets an approval to be decided.")
        .takes(&[Field::id("tool_name"), Field::free("args").optional()])
        .gives(200, GATED),
        Row::get(SERVICE, "/approvals", "v4.4", handler(approvals))
            .about("Approvals that wait for a person.")
            .gives(200, &[Field::list("approvals", PENDING)]),
        decide(
            "/approve",
            "v4.4",
            "approval.approve",
            Verb::Approve,
            handler(|svc, call| {
                let (call, id) = about(call);
                decisions::approve(svc, call, Kind::Approval, id)
            }),
        ),
        decide(
            "/deny",
            "v4.4",
            "approval.deny",
            Verb::Deny,
            handler(|svc, call| {
                let (call, id) = about(call);
                decisions::deny(svc, call, Kind::Approval, id)
            }),
        ),
        decide(
            "/reissue",
            "v4.7",
            "approval.reissue",
            Verb::Reissue,
            handler(|svc, call| {
                let (call, id) = about(call);
                decisions::reissue(svc, call, Kind::Approval, id)
            }),
        ),
    ]
}

const ID: Field = Field::new("approval_id", Shape::Text(Longest::Chars(ID_CHARS)));

const GATED: &[Field] = &[
    Field::word("decision", &["approved", "denied", "approval_required"]),
    Field::text("approval_id").or_null(),
    Field::count("fence_token").or_null(),
    Field::number("remaining_seconds").or_null(),
];

const PENDING: &[Field] = &[
    Field::text("approval_id"),
    Field::text("tool_name"),
    Field::free("args"),
    Field::count("fence_token"),
    Field::number("remaining_seconds"),
];

/// What resumes interrupted approvals.
pub fn resumers() -> Vec<Resumer> {
    vec![decisions::resumer(SERVICE, Kind::Approval)]
}

/// The approval that a body names; refusals are recorded about it too.
fn about(mut call: Call) -> (Call, Result<String, Refusal>) {
    let id = call
        .fields()
        .and_then(|fields| Ok(fields.text("approval_id", ID_CHARS)?.to_owned()));
    if let Ok(id) = &id {
        call.resource = Kind::Approval.resource(id);
    }
    (call, id)
}

/// Longer ids are not ours.
const ID_CHARS: usize = 128;

async fn gate_tool_call(svc: Arc<Service>, call: Call) -> Reply {
    let (service, request) = (svc.clone(), call.clone());
    commit(&svc, &call, move |tx| {
        let config = service.config();
        let fields = request.fields()?;
        let tool_name = fields.text("tool_name", config.limits.id_chars)?;
        let args = fields
            .optional_object("args")?
            .cloned()
            .unwrap_or_else(|| json!({}));
        let answer = |decision: &str| {
            json!({
                "decision": decision, "approval_id": null, "fence_token": null,
                "remaining_seconds": null,
            })
        };
        match tools::risk(&config, tool_name) {
            Some(Risk::Safe) => Ok(Done::new(200, answer("approved"))),
            Some(Risk::Guarded) => {
                let fence = service.parts.decisions.next_fence(tx)?;
                let draft = Draft {
                    id: ids::make("apr_"),
                    kind: Kind::Approval.name(),
                    session_id: None,
                    tool_name: tool_name.to_owned(),
                    args,
                    ttl_ms: config.confirmations.ttl_ms,
                };
                let decision = decisions::mint(tx, &draft, fence)?;
                let body = json!({
                    "decision": "approval_required",
                    "approval_id": decision.id,
                    "fence_token": decision.fence,
                    "remaining_seconds": decision.remaining_seconds(tx.now()),
                });
                Ok(Done::new(200, body).on(Kind::Approval.resource(&decision.id)))
            }
            // A tool that nobody knows is a tool that nobody has judged.
            Some(Risk::Blocked) | None => Ok(Done {
                outcome: Outcome::Refused,
                ..Done::new(200, answer("denied"))
            }),
        }
    })
    .await
}

async fn approvals(svc: Arc<Service>, call: Call) -> Reply {
    let (now, limit) = (svc.now(), svc.config().limits.page_size);
    let name = Kind::Approval.name();
    match svc
        .store
        .read(move |sql| decisions::pending(sql, name, None, now, limit))
        .await
    {
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
        Ok(open) => {
            let approvals: Vec<Value> = open
                .iter()
                .map(|decision| {
                    json!({
                        "approval_id": decision.id,
                        "tool_name": decision.tool_name,
                        "args": decision.args,
                        "fence_token": decision.fence,
                        "remaining_seconds": decision.remaining_seconds(now),
                    })
                })
                .collect();
            Reply::ok(&call.correlation_id, json!({"approvals": approvals}))
        }
    }
}
