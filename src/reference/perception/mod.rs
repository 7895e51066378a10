//! perception: what is seen and heard of a session, told by the model. Consent and privacy stand
//! before every inference; an analysis leaves nothing behind, an event leaves an observation.

mod consent;
mod gate;
mod observation;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

pub use consent::{ConsentStep, Event, State, step};
pub use gate::{ConsentRule, Known, enough};
pub use observation::resumers;

use super::ids;
use super::mutation;
use super::outbound::Outbound;
use super::service::Service;
use super::turns::model::{self, Unanswered};
use super::web::{Call, Field, Longest, Refusal, Reply, Row, Shape, handler};

const SERVICE: &str = "perception";
/// What is asked of a picture that comes without a question.
const PROMPT: &str = "Describe the scene.";

/// The routes.
pub fn routes() -> Vec<Row> {
    [consents(), vec![analysis(), observation::route()]].concat()
}

/// Consent, step by step.
fn consents() -> Vec<Row> {
    let step = |path, action, event, about| {
        let run = consent::change(event);
        Row::mutation(SERVICE, ("POST", path), "v4.3", (action, "consent"), run)
            .about(about)
            .takes(&[Field::id("session_id")])
            .gives(200, &[Field::text("session_id"), STATE])
    };
    vec![
        step(
            "/v1/perception/consent/request",
            "consent.request",
            Event::Request,
            "Asks for a session's consent.",
        ),
        step(
            "/v1/perception/consent/grant",
            "consent.grant",
            Event::Grant,
            "Gives the consent that was asked for.",
        ),
        step(
            "/v1/perception/consent/activate",
            "consent.activate",
            Event::Activate,
            "Makes use of the consent that was given.",
        ),
        step(
            "/v1/perception/consent/revoke",
            "consent.revoke",
            Event::Revoke,
            "Takes a consent back, for ever.",
        ),
        Row::get(
            SERVICE,
            "/v1/perception/consent/{id}",
            "v4.3",
            handler(consent::look),
        )
        .about("A session's consent, and how it came to be what it is.")
        .gives(
            200,
            &[
                Field::text("session_id"),
                STATE,
                Field::list("audit_trail", TRAIL),
            ],
        ),
    ]
}

fn analysis() -> Row {
    let row = Row::get(
        SERVICE,
        "/v1/perception/analyze",
        "v4.3",
        handler(|svc, call: Call| async move {
            match analyze(&svc, &call).await {
                Ok(reply) => reply,
                Err(refusal) => denied(&svc, &call, refusal).await,
            }
        }),
    );
    Row {
        method: "POST",
        action: "perception.analyze",
        resource: "scene",
        ..row
    }
    .about("Tells what is in a picture, in base64, of a session that consents.")
    .takes(&[
        Field::id("session_id"),
        Field::new("data", Shape::Text(Longest::Body)),
        Field::new("prompt", Shape::Text(Longest::Input)).optional(),
    ])
    .gives(
        200,
        &[
            Field::text("scene_id"),
            Field::text("session_id"),
            Field::text("text"),
        ],
    )
    .refuses(&[403, 503])
}

const STATES: &[&str] = &["OFF", "REQUESTED", "GRANTED", "ACTIVE", "REVOKED"];
const STATE: Field = Field::word("state", STATES);
const TRAIL: &[Field] = &[
    Field::word("event", &["request", "grant", "activate", "revoke"]),
    Field::word("from", STATES),
    Field::word("to", STATES),
    Field::text("actor_id"),
    Field::text("actor_role"),
    Field::text("ts"),
];

/// The session that a body names. One that names none is nobody's, and has no consent: that is no
/// matter of the schema, because every doubt is a no.
fn session_of(call: &Call, longest: usize) -> &str {
    let named = call.body["session_id"].as_str();
    named
        .filter(|id| id.chars().count() <= longest)
        .unwrap_or_default()
}

async fn analyze(svc: &Arc<Service>, call: &Call) -> Result<Reply, Refusal> {
    let config = svc.config();
    let fields = call.fields()?;
    let session = session_of(call, config.limits.id_chars).to_owned();
    let data = fields.text("data", config.limits.body_bytes)?;
    let prompt = fields.optional_text("prompt", config.limits.input_chars)?;
    let known = Known {
        endpoint: call.endpoint.clone(),
        consent: read_consent(svc, &session).await,
        privacy: gate::privacy_of(svc, &session).await,
    };
    gate::pass(svc, &session, &known)?;
    let id = ids::make("scn_");
    let body = json!({
        "turn_id": id, "session_id": session, "input_text": prompt.unwrap_or(PROMPT),
        "image": data,
    });
    let outbound = outbound(svc, call, &id, body);
    let text = told(model::insist(svc, &outbound, false).await)?;
    let body = json!({"scene_id": id, "session_id": session, "text": text});
    Ok(Reply::ok(&call.correlation_id, body))
}

async fn read_consent(svc: &Service, session: &str) -> Result<Option<State>, String> {
    let session = session.to_owned();
    let read = svc.store.read(move |sql| consent::state(sql, &session));
    read.await.map_err(|error| error.to_string())
}

/// The refusal, and its audit entry if it can be written: a store that fails does not make a yes
/// or a perhaps of a no.
async fn denied(svc: &Arc<Service>, call: &Call, refusal: Refusal) -> Reply {
    let reply = refusal.reply(&call.correlation_id);
    drop(mutation::refuse(svc, call, refusal).await);
    reply
}

/// A call of the model that nothing was decided for.
fn outbound(svc: &Service, call: &Call, id: &str, body: Value) -> Outbound {
    let models = &svc.config().backends.models;
    Outbound {
        url: format!("{}/chat", models.url.trim_end_matches('/')),
        operation_id: id.to_owned(),
        correlation_id: call.correlation_id.clone(),
        causal_parent: String::new(),
        replay_generation: 0,
        on_behalf_of: None,
        body,
        timeout: Duration::from_millis(models.timeout_ms),
    }
}

/// What a model said, or the refusal of whoever asked for it.
fn told(answer: Result<Value, Unanswered>) -> Result<String, Refusal> {
    let useless = |why| Refusal::unavailable("MODEL_UNAVAILABLE", why, 1);
    let answer = answer.map_err(|why| match why {
        Unanswered::Shed(shed) => shed.refusal(),
        Unanswered::Failed(why) => useless(format!("the model backend did not answer: {why}")),
    })?;
    let text = answer["text"].as_str().map(str::to_owned);
    text.ok_or_else(|| useless("the model backend answered without a text".to_owned()))
}
