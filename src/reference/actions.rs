//! Actions: an intent with parameters. A safe one runs at once, a guarded one waits for a person, a
//! blocked one is denied and never runs; a dry run says which of these it would be.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, named_params};
use serde_json::{Value, json};

use crate::reference::dead_letters::{self, Failed, Source};
use crate::reference::decisions::{self, Decision, Draft, Kind, Verb, Verdict};
use crate::reference::execution::{self, Execution};
use crate::reference::ids;
use crate::reference::mutation::{self, Done, Refused};
use crate::reference::operations::{NewOperation, Resumer};
use crate::reference::service::Service;
use crate::reference::sessions;
use crate::reference::store::{StoreError, Tx};
use crate::reference::time::Timestamp;
use crate::reference::tools::{self, Outcome, Risk};
use crate::reference::web::{Call, Field, Refusal, Reply, Row, Twin, handler};

const SERVICE: &str = "api-gateway";

/// The kind of the operation that runs a safe action.
const RUN: &str = "action.run";

/// The routes of actions.
pub fn routes() -> Vec<Row> {
    let post = |path, since, action, resource, run| {
        Row::mutation(SERVICE, ("POST", path), since, (action, resource), run)
            .twin(Twin::Deprecated)
    };
    let decide = |path, since, action, verb, run| {
        let told = &[Field::text("action_id"), Field::text("state").optional()];
        let row = post(path, since, action, "action/{id}", run);
        decisions::says(row, verb, &[], told)
    };
    vec![
        post(
            "/v3/actions/plan",
            "v4.3",
            "action.plan",
            "action",
            handler(plan),
        )
        .about("Plans an action; a safe one runs, a guarded one waits, a blocked one is denied.")
        .takes(&[
            Field::id("intent"),
            Field::free("params").optional(),
            Field::id("session_id"),
            Field::flag("dry_run").optional(),
        ])
        .gives(201, &[Field::object("action", ACTION)])
        .refuses(&[404]),
        Row::get(SERVICE, "/v3/actions", "v4.3", handler(list))
            .twin(Twin::Deprecated)
            .about("Actions, newest last.")
            .asks(&[Field::text("session_id").optional()])
            .gives(200, &[Field::list("actions", ACTION)]),
        Row::get(SERVICE, "/v3/actions/{id}", "v4.3", handler(get))
            .twin(Twin::Deprecated)
            .about("An action.")
            .gives(200, &[Field::object("action", ACTION)]),
        decide(
            "/v3/actions/{id}/approve",
            "v4.3",
            "action.approve",
            Verb::Approve,
            handler(|svc, call: Call| {
                let id = Ok(call.param("id").to_owned());
                decisions::approve(svc, call, Kind::Action, id)
            }),
        ),
        decide(
            "/v3/actions/{id}/deny",
            "v4.3",
            "action.deny",
            Verb::Deny,
            handler(|svc, call: Call| {
                let id = Ok(call.param("id").to_owned());
                decisions::deny(svc, call, Kind::Action, id)
            }),
        ),
        decide(
            "/v3/actions/{id}/reissue",
            "v4.7",
            "action.reissue",
            Verb::Reissue,
            handler(|svc, call: Call| {
                let id = Ok(call.param("id").to_owned());
                decisions::reissue(svc, call, Kind::Action, id)
            }),
        ),
    ]
}

const ACTION: &[Field] = &[
    Field::text("action_id"),
    Field::text("intent"),
    Field::free("params"),
    Field::text("session_id"),
    Field::text("state"),
    Field::word("risk", &["safe", "guarded", "blocked"]),
    Field::flag("dry_run"),
    Field::count("fence_token").or_null(),
    Field::number("remaining_seconds").or_null(),
    Field::word("verdict", &["approved", "denied"]).or_null(),
    Field::object("decided_by", decisions::ACTOR).or_null(),
    Field::object("execution", decisions::EXECUTION).or_null(),
    Field::text("created_at"),
];

/// What resumes interrupted actions, approved ones and safe ones.
pub fn resumers() -> Vec<Resumer> {
    let run = Resumer {
        service: SERVICE,
        kind: RUN,
        resume: Arc::new(|svc, operation| {
            Box::pin(async move {
                run(&svc, Execution::of(&operation), true).await;
            })
        }),
    };
    vec![decisions::resumer(SERVICE, Kind::Action), run]
}

/// What is asked for.
struct Request {
    intent: String,
    params: Value,
    session_id: String,
    dry_run: bool,
    risk: Risk,
}

impl Request {
    fn read(svc: &Service, call: &Call) -> Result<Self, Refusal> {
        let config = svc.config();
        let fields = call.fields()?;
        let intent = fields.text("intent", config.limits.id_chars)?.to_owned();
        let params = fields
            .optional_object("params")?
            .cloned()
            .unwrap_or_else(|| json!({}));
        let session_id = fields
            .text("session_id", config.limits.id_chars)?
            .to_owned();
        let dry_run = fields.optional_bool("dry_run")?.unwrap_or(false);
        match tools::risk(&config, &intent) {
            Some(risk) => Ok(Self {
                intent,
                params,
                session_id,
                dry_run,
                risk,
            }),
            None => Err(Refusal::not_found(
                "TOOL_UNKNOWN",
                format!("no tool {intent}"),
            )),
        }
    }

    /// The state in which an action of this request begins.
    fn state(&self) -> &'static str {
        match self.risk {
            _ if self.dry_run => "validated",
            Risk::Safe => "executing",
            Risk::Guarded => "pending_approval",
            Risk::Blocked => "denied",
        }
    }
}

async fn plan(svc: Arc<Service>, call: Call) -> Reply {
    let request = Request::read(&svc, &call);
    match request {
        Ok(request) if request.state() == "executing" => plan_and_run(svc, call, request).await,
        request => {
            let (service, correlation_id) = (svc.clone(), call.correlation_id.clone());
            mutation::commit(&svc, &call, move |tx| {
                let action = write(&service, tx, &request?, &correlation_id)?;
                let resource = Kind::Action.resource(&action.id);
                Ok(Done::new(201, json!({"action": action.view(tx.now())})).on(resource))
            })
            .await
        }
    }
}

async fn plan_and_run(svc: Arc<Service>, call: Call, request: Request) -> Reply {
    let (service, correlation_id) = (svc.clone(), call.correlation_id.clone());
    let begun = mutation::begin(&svc, &call, move |tx| {
        let action = write(&service, tx, &request, &correlation_id)?;
        let detail = json!({
            "tool_name": request.intent, "args": request.params, "action_id": action.id,
        });
        let operation = NewOperation {
            id: ids::make("op_"),
            kind: RUN,
            decision_id: None,
            fence_token: None,
            detail: detail.clone(),
        };
        let resource = Some(Kind::Action.resource(&action.id));
        Ok(mutation::Decision {
            operation,
            origin: None,
            action: None,
            resource,
            value: detail,
        })
    });
    match begun.await {
        Err(reply) => reply,
        Ok(begun) => {
            let execution = Execution {
                operation_id: begun.operation_id,
                tool_name: begun.value["tool_name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                args: begun.value["args"].clone(),
                decision: None,
                origin: call.origin(),
                causal_parent: begun.link.to_string(),
            };
            run(&svc, execution, false).await
        }
    }
}

/// Runs a safe action and stores what became of it.
async fn run(svc: &Arc<Service>, execution: Execution, resumed: bool) -> Reply {
    let outcome = execution::execute(svc, &execution, resumed).await;
    let correlation_id = &execution.origin.correlation_id;
    let letters = svc.config().dead_letters.max;
    mutation::finish(
        svc,
        &execution.operation_id,
        correlation_id,
        move |tx, operation| {
            let id = operation.detail["action_id"].as_str().unwrap_or_default();
            let execution = outcome.execution(&operation.id);
            finish(
                tx,
                id,
                outcome.status(),
                &execution,
                &operation.origin.correlation_id,
            )?;
            let action = find(tx.sql(), id)?.ok_or_else(|| {
                StoreError::Refused(format!("operation {}: no {id}", operation.id))
            })?;
            let session = Some(action.session_id.clone());
            if let Some(failed) = Failed::of(operation, &outcome, (Source::Action, id), session) {
                dead_letters::add(tx, &failed, letters)?;
            }
            let done = Done::new(201, json!({"action": action.view(tx.now())}))
                .on(Kind::Action.resource(id))
                .action("action.execute");
            Ok(match outcome {
                Outcome::Succeeded { .. } => done,
                Outcome::Failed { .. } => done.failed(),
            })
        },
    )
    .await
}

/// Writes an action in the state in which it begins, and asks a person if it is guarded.
fn write(
    svc: &Service,
    tx: &mut Tx<'_>,
    request: &Request,
    correlation_id: &str,
) -> Result<Action, Refused> {
    let (config, session_id) = (svc.config(), request.session_id.clone());
    let session = sessions::active(tx.sql(), &session_id, tx.now(), config.sessions.idle_ms)?;
    if session.is_none() {
        return Err(sessions::unknown(&session_id).into());
    }
    let (id, state) = (ids::make("act_"), request.state());
    tx.sql().execute(
        "INSERT INTO actions (id, session_id, intent, params, risk, dry_run, state, created_at_us)
         VALUES (:id, :session, :intent, :params, :risk, :dry_run, :state, :now)",
        named_params! {
            ":id": id, ":session": session_id, ":intent": request.intent,
            ":params": request.params.to_string(), ":risk": request.risk.name(),
            ":dry_run": request.dry_run, ":state": state, ":now": tx.now().us(),
        },
    )?;
    if state == "pending_approval" {
        let draft = Draft {
            id: id.clone(),
            kind: Kind::Action.name(),
            session_id: Some(session_id),
            tool_name: request.intent.clone(),
            args: request.params.clone(),
            ttl_ms: config.confirmations.ttl_ms,
        };
        let fence = svc.parts.decisions.next_fence(tx)?;
        decisions::mint(tx, &draft, fence)?;
    }
    let data = json!({"action_id": id, "intent": request.intent, "state": state});
    tx.event("action.planned", correlation_id, data)?;
    let action = find(tx.sql(), &id)?;
    Ok(action.ok_or_else(|| StoreError::Refused(format!("{id} was not written")))?)
}

/// Follows a decision: an approved action executes, a denied one is over.
pub(super) fn decided(
    tx: &mut Tx<'_>,
    id: &str,
    verdict: Verdict,
    correlation_id: &str,
) -> Result<(), StoreError> {
    match verdict {
        Verdict::Approved => {
            step(
                tx,
                id,
                ("pending_approval", "approved"),
                None,
                correlation_id,
            )?;
            step(tx, id, ("approved", "executing"), None, correlation_id)
        }
        Verdict::Denied => step(tx, id, ("pending_approval", "denied"), None, correlation_id),
    }
}

/// Ends an executing action as `succeeded` or `failed`.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    id: &str,
    state: &'static str,
    execution: &Value,
    correlation_id: &str,
) -> Result<(), StoreError> {
    step(
        tx,
        id,
        ("executing", state),
        Some(execution),
        correlation_id,
    )
}

fn step(
    tx: &mut Tx<'_>,
    id: &str,
    (from, to): (&str, &str),
    execution: Option<&Value>,
    correlation_id: &str,
) -> Result<(), StoreError> {
    tx.sql().execute(
        "UPDATE actions SET state = :to, execution = coalesce(:execution, execution) WHERE id = :id",
        named_params! {":to": to, ":id": id, ":execution": execution.map(Value::to_string)},
    )?;
    let data = json!({"action_id": id, "from": from, "to": to});
    tx.event("action.state", correlation_id, data)
}

/// A stored action and the decision about it.
struct Action {
    id: String,
    intent: String,
    params: Value,
    session_id: String,
    state: String,
    risk: String,
    dry_run: bool,
    execution: Value,
    created_at: Timestamp,
    decision: Option<Decision>,
}

impl Action {
    /// As the routes show it.
    fn view(&self, now: Timestamp) -> Value {
        let decision = self.decision.as_ref();
        let lapsed = decision.is_some_and(|row| row.verdict.is_none() && !row.is_open(now));
        json!({
            "action_id": self.id,
            "intent": self.intent,
            "params": self.params,
            "session_id": self.session_id,
            "state": if lapsed { "timeout" } else { &self.state },
            "risk": self.risk,
            "dry_run": self.dry_run,
            "fence_token": decision.map(|row| row.fence),
            "remaining_seconds": decision
                .filter(|row| row.verdict.is_none())
                .map(|row| row.remaining_seconds(now)),
            "verdict": decision.and_then(|row| row.verdict).map(Verdict::name),
            "decided_by": decision.map_or(Value::Null, |row| row.decided_by.clone()),
            "execution": self.execution,
            "created_at": self.created_at.to_string(),
        })
    }
}

const COLUMNS: &str =
    "id, intent, params, session_id, state, risk, dry_run, execution, created_at_us";

fn find(sql: &Connection, id: &str) -> rusqlite::Result<Option<Action>> {
    let mut action = sql
        .prepare_cached(&format!("SELECT {COLUMNS} FROM actions WHERE id = ?"))?
        .query_row([id], read)
        .optional()?;
    if let Some(action) = &mut action {
        action.decision = decisions::find(sql, Kind::Action.name(), id)?;
    }
    Ok(action)
}

fn all(sql: &Connection, session: Option<&str>, limit: u64) -> rusqlite::Result<Vec<Action>> {
    let mut actions = sql
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM actions WHERE :session IS NULL OR session_id = :session
             ORDER BY seq LIMIT :limit"
        ))?
        .query_map(
            named_params! {
                ":session": session, ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
            },
            read,
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for action in &mut actions {
        action.decision = decisions::find(sql, Kind::Action.name(), &action.id)?;
    }
    Ok(actions)
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<Action> {
    let json = |text: Option<String>| {
        text.and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or(Value::Null)
    };
    Ok(Action {
        id: row.get("id")?,
        intent: row.get("intent")?,
        params: json(row.get("params")?),
        session_id: row.get("session_id")?,
        state: row.get("state")?,
        risk: row.get("risk")?,
        dry_run: row.get("dry_run")?,
        execution: json(row.get("execution")?),
        created_at: Timestamp(row.get("created_at_us")?),
        decision: None,
    })
}

async fn get(svc: Arc<Service>, call: Call) -> Reply {
    let (id, now) = (call.param("id").to_owned(), svc.now());
    match svc.store.read(move |sql| find(sql, &id)).await {
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
        Ok(Some(action)) => Reply::ok(&call.correlation_id, json!({"action": action.view(now)})),
        Ok(None) => {
            let message = format!("no action {}", call.param("id"));
            Refusal::not_found("ACTION_NOT_FOUND", message).reply(&call.correlation_id)
        }
    }
}

async fn list(svc: Arc<Service>, call: Call) -> Reply {
    let (session, now) = (call.query("session_id").map(str::to_owned), svc.now());
    let limit = svc.config().limits.page_size;
    match svc
        .store
        .read(move |sql| all(sql, session.as_deref(), limit))
        .await
    {
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
        Ok(actions) => {
            let actions: Vec<Value> = actions.iter().map(|action| action.view(now)).collect();
            Reply::ok(&call.correlation_id, json!({"actions": actions}))
        }
    }
}
