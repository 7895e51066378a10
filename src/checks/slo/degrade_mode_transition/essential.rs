//! Work that is never shed: decisions on all three approval routes, tasks, and memory writes that
//! are not of low priority. Turns come with the windows.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::Sent;
use crate::checks::policy::approvals::{GUARDED_TOOL, Route, Shown, marked};
use crate::target::{Ask, Client};

/// One request for essential work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Essential {
    /// What kind of work it is part of.
    pub kind: String,
    /// The request, and what came of it.
    pub sent: Sent,
}

/// The kinds of work that [`all`] asks for.
pub(super) const KINDS: [&str; 5] = [
    "confirmations approved",
    "actions approved",
    "eva-os approvals",
    "tasks created",
    "memories written",
];

/// The script of the model: every turn wants one guarded call, so that each session has a
/// confirmation to decide.
pub(super) fn one_guarded_call(request: &Value) -> Value {
    let turn_id = request["turn_id"].as_str().unwrap_or_default();
    json!({
        "text": "As you wish.",
        "tool_calls": [{"tool_name": GUARDED_TOOL, "args": marked(turn_id)}],
    })
}

/// Asks for each kind once. `session_id` has had a turn that is not decided yet.
pub(super) async fn all(client: &Client, session_id: &str, name: &str) -> Vec<Essential> {
    let mut desk = Desk {
        client,
        all: Vec::new(),
    };
    let path = format!("/v3/confirmations/pending?session_id={session_id}");
    let pending = desk.ask(KINDS[0], Ask::get("api-gateway", &path)).await;
    let open = &pending["confirmations"][0];
    desk.approve(KINDS[0], Route::Confirmations, open, "confirmation_id")
        .await;

    let plan = json!({"intent": GUARDED_TOOL, "params": marked(name), "session_id": session_id});
    let plan = Ask::post("api-gateway", "/v3/actions/plan", plan);
    let planned = desk.ask(KINDS[1], plan).await;
    desk.approve(KINDS[1], Route::Actions, &planned["action"], "action_id")
        .await;

    let call = json!({"tool_name": GUARDED_TOOL, "args": marked(name)});
    let gated = desk
        .ask(KINDS[2], Ask::post("eva-os", "/gate-tool-call", call))
        .await;
    desk.approve(KINDS[2], Route::EvaOs, &gated, "approval_id")
        .await;

    let task = Ask::post("eva-os", "/tasks", json!({"name": name}));
    desk.ask(KINDS[3], task).await;
    let memory = json!({"type": "fact", "content": name, "priority": "high"});
    desk.ask(KINDS[4], Ask::post("memory-engine", "/store", memory))
        .await;
    desk.all
}

struct Desk<'a> {
    client: &'a Client,
    all: Vec<Essential>,
}

impl Desk<'_> {
    async fn ask(&mut self, kind: &str, ask: Ask) -> Value {
        let exchange = self.client.send(ask).await;
        let sent = Sent::new(&exchange, self.client.credential());
        let answer = sent.answer.clone();
        let kind = kind.to_owned();
        self.all.push(Essential { kind, sent });
        answer
    }

    /// Approves what an answer offers. One that offers nothing leaves nothing to ask for, which
    /// shows as a kind that was not exercised.
    async fn approve(&mut self, kind: &str, route: Route, offered: &Value, id: &str) {
        if let (Some(id), Some(fence)) = (offered[id].as_str(), offered["fence_token"].as_i64()) {
            self.ask(kind, route.ask(id, "approve", Shown::Header(fence)))
                .await;
        }
    }
}

/// The kinds of which everything was asked for and served.
pub(super) fn served(all: &[Essential]) -> Vec<&'static str> {
    let whole = |kind: &&str| {
        let of_kind: Vec<_> = all.iter().filter(|each| each.kind == *kind).collect();
        let decided =
            |each: &&&Essential| !each.sent.path.contains("pending") && each.sent.method == "POST";
        // A decision is a plan or a gate, and the approval of it; a confirmation came with a turn.
        let needed = match *kind {
            "actions approved" | "eva-os approvals" => 2,
            _ => 1,
        };
        of_kind.iter().all(|each| each.sent.ok())
            && of_kind.iter().filter(decided).count() == needed
    };
    KINDS.into_iter().filter(whole).collect()
}
