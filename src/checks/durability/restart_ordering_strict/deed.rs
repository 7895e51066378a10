//! What a script is made of: requests that change something, on all services that keep something,
//! each on a thing that carries a marker, so that it is recognized whatever its id is.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::chaos::approvals::{GUARDED_TOOL, Route, Shown, marked};
use crate::contract::Effect;
use crate::target::{Ask, Exchange};

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// A session is opened.
    OpenSession,
    /// It is closed.
    CloseSession,
    /// A turn of a session, without tools.
    Turn,
    /// A turn whose guarded call asks for a confirmation.
    AskInTurn,
    /// That call is approved, and runs.
    ApproveConfirmation,
    /// It is denied.
    DenyConfirmation,
    /// A guarded action is planned.
    PlanAction,
    /// It is approved, and runs.
    ApproveAction,
    /// It is denied.
    DenyAction,
    /// eva-os is asked about a guarded call.
    AskEva,
    /// That call is approved, and runs.
    ApproveEva,
    /// It is denied.
    DenyEva,
    /// A task is made.
    CreateTask,
    /// It is renamed.
    UpdateTask,
    /// It is deleted.
    DeleteTask,
    /// A memory is stored.
    Remember,
    /// A frame is taken.
    TakeFrame,
}

impl Deed {
    /// All there are, with how often each occurs in a script.
    pub const WEIGHTS: [(Self, u32); 17] = [
        (Self::OpenSession, 8),
        (Self::CloseSession, 6),
        (Self::Turn, 6),
        (Self::AskInTurn, 7),
        (Self::ApproveConfirmation, 2),
        (Self::DenyConfirmation, 5),
        (Self::PlanAction, 7),
        (Self::ApproveAction, 2),
        (Self::DenyAction, 5),
        (Self::AskEva, 7),
        (Self::ApproveEva, 2),
        (Self::DenyEva, 5),
        (Self::CreateTask, 14),
        (Self::UpdateTask, 16),
        (Self::DeleteTask, 7),
        (Self::Remember, 12),
        (Self::TakeFrame, 8),
    ];

    /// What carries a new marker.
    #[must_use]
    pub fn makes(self) -> Option<Thing> {
        match self {
            Self::OpenSession => Some(Thing::Session),
            Self::AskInTurn => Some(Thing::Confirmation),
            Self::PlanAction => Some(Thing::Action),
            Self::AskEva => Some(Thing::Approval),
            Self::CreateTask => Some(Thing::Task),
            Self::Remember => Some(Thing::Memory),
            Self::TakeFrame => Some(Thing::Frame),
            _ => None,
        }
    }

    /// What it is done to, if that has to be there.
    #[must_use]
    pub fn needs(self) -> Option<Thing> {
        match self {
            Self::CloseSession => Some(Thing::Session),
            Self::ApproveConfirmation | Self::DenyConfirmation => Some(Thing::Confirmation),
            Self::ApproveAction | Self::DenyAction => Some(Thing::Action),
            Self::ApproveEva | Self::DenyEva => Some(Thing::Approval),
            Self::UpdateTask | Self::DeleteTask => Some(Thing::Task),
            _ => None,
        }
    }

    /// Whether nothing can be done to the thing afterwards.
    #[must_use]
    pub fn ends(self) -> bool {
        self.needs().is_some() && self != Self::UpdateTask
    }

    /// Whether a part of it is outside of its database: it may be resumed after a restart.
    #[must_use]
    pub fn calls_out(self) -> bool {
        matches!(
            self,
            Self::Turn
                | Self::AskInTurn
                | Self::ApproveConfirmation
                | Self::ApproveAction
                | Self::ApproveEva
        )
    }

    /// The events that it leaves at the gateway, in their order.
    #[must_use]
    pub fn events(self) -> &'static [&'static str] {
        match self {
            Self::OpenSession => &["session.created"],
            Self::CloseSession => &["session.closed"],
            Self::Turn => &["turn.completed"],
            Self::AskInTurn => &["confirmation.requested", "turn.completed"],
            Self::ApproveConfirmation => &["confirmation.approved"],
            Self::DenyConfirmation => &["confirmation.denied"],
            Self::PlanAction => &["action.planned"],
            Self::ApproveAction | Self::DenyAction => &["action.state"],
            _ => &[],
        }
    }

    /// The request. `about` is the thing's marker where the deed makes it, else its id; `session` is
    /// an open session, `name` what is new in it.
    #[must_use]
    pub fn ask(self, about: &About<'_>) -> Ask {
        let decide = |route: Route, verb| route.ask(about.id, verb, Shown::Nothing);
        let (marker, session) = (about.marker, about.session);
        let turn = |text: String| {
            let body = json!({"session_id": session, "input_text": text});
            Ask::post("api-gateway", "/v3/turn", body)
        };
        match self {
            Self::OpenSession => {
                let body = json!({"user_id": marker, "conversation_id": "c-1"});
                Ask::post("api-gateway", "/v3/sessions", body)
            }
            Self::CloseSession => Ask::delete("api-gateway", &format!("/v3/sessions/{}", about.id)),
            Self::Turn => turn("hello".to_owned()),
            Self::AskInTurn => turn(format!("guarded:{marker}")),
            Self::ApproveConfirmation => decide(Route::Confirmations, "approve"),
            Self::DenyConfirmation => decide(Route::Confirmations, "deny"),
            Self::PlanAction => {
                let (intent, params) = (GUARDED_TOOL, marked(marker));
                let body = json!({"intent": intent, "params": params, "session_id": session});
                Ask::post("api-gateway", "/v3/actions/plan", body)
            }
            Self::ApproveAction => decide(Route::Actions, "approve"),
            Self::DenyAction => decide(Route::Actions, "deny"),
            Self::AskEva => {
                let body = json!({"tool_name": GUARDED_TOOL, "args": marked(marker)});
                Ask::post("eva-os", "/gate-tool-call", body)
            }
            Self::ApproveEva => decide(Route::EvaOs, "approve"),
            Self::DenyEva => decide(Route::EvaOs, "deny"),
            Self::CreateTask => {
                let body = json!({"task_id": marker, "name": about.name});
                Ask::post("eva-os", "/tasks", body)
            }
            Self::UpdateTask => Ask {
                body: Some(json!({"version": about.version, "name": about.name})),
                ..Ask::new("eva-os", "PATCH", &format!("/tasks/{}", about.id))
            },
            Self::DeleteTask => Ask::delete("eva-os", &format!("/tasks/{}", about.id)),
            Self::Remember => {
                let body = json!({"type": "fact", "content": marker});
                Ask::post("memory-engine", "/store", body)
            }
            Self::TakeFrame => {
                let body = json!({"session_id": session, "data": "AAEC"});
                Ask::post("vision-capture", "/v1/vision/frames", body)
            }
        }
    }

    /// The id that the answer gives to what it made.
    #[must_use]
    pub fn made_id(self, exchange: &Exchange) -> Option<String> {
        let answer = exchange.answered();
        let id = match self.makes()? {
            Thing::Session => &answer["session_id"],
            Thing::Confirmation => &answer["tool_calls"][0]["confirmation_id"],
            Thing::Action => &answer["action"]["action_id"],
            Thing::Approval => &answer["approval_id"],
            Thing::Task => &answer["task_id"],
            Thing::Memory => &answer["id"],
            Thing::Frame => &answer["frame_id"],
        };
        id.as_str().map(str::to_owned)
    }
}

/// What a request names.
pub struct About<'a> {
    /// The marker of its thing.
    pub marker: &'a str,
    /// The id of its thing, empty for one that it makes.
    pub id: &'a str,
    /// The version of its task.
    pub version: u64,
    /// An open session.
    pub session: &'a str,
    /// A name that nothing else has.
    pub name: &'a str,
}

/// What deeds are done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thing {
    /// A session of the gateway.
    Session,
    /// A confirmation of the gateway.
    Confirmation,
    /// An action of the gateway.
    Action,
    /// An approval of eva-os.
    Approval,
    /// A task of eva-os.
    Task,
    /// A memory.
    Memory,
    /// A frame.
    Frame,
}

/// Whether the chain shows an operation that was begun and is not over: its `started` entry is
/// there, and the entry of its end is not.
#[must_use]
pub(super) fn is_half_done(row: &Effect, actions: &[String]) -> bool {
    let has = |action: &str| actions.iter().any(|entry| entry == action);
    row.started.as_deref().is_some_and(has) && !has(&row.action)
}
