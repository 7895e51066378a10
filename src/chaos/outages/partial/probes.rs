//! What is asked of a target while one of its dependencies is down, and what is due then.

use serde_json::{Value, json};

use crate::chaos::Sent;
use crate::chaos::requests::READ;
use crate::target::Ask;

/// How long an answer may take: ten times the bound of a dependency, and a busy machine.
pub(super) const IN_TIME: std::time::Duration = std::time::Duration::from_secs(8);

const MODEL: &[&str] = &["MODEL_UNAVAILABLE"];
const TOOL: &[&str] = &["TOOL_UNAVAILABLE", "OUTCOME_UNKNOWN"];
const MEMORY: &[&str] = &["MEMORY_UNAVAILABLE"];

/// A request.
pub(super) struct Probe {
    /// What it is called in evidence.
    pub(super) name: &'static str,
    service: &'static str,
    path: &'static str,
    body: fn(&About) -> Value,
    /// What it cannot do without, and the codes by which it says so.
    needs: &'static [(&'static str, &'static [&'static str])],
    /// Whether nothing but its own service is needed for it.
    alone: bool,
}

/// What requests are about.
pub(super) struct About {
    /// A session of the gateway, which may be perceived too.
    pub(super) session: String,
    /// Tells one request from all others.
    pub(super) marker: String,
}

/// What is due to a request while a dependency is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is served.
    Served,
    /// It is refused with one of these codes.
    Declared(&'static [&'static str]),
    /// One or the other: whether it goes that way is the target's own affair.
    Either,
}

/// Every request, of each service that serves something.
pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "session",
        service: "api-gateway",
        path: "/v3/sessions",
        body: |about| json!({"user_id": "u-1", "conversation_id": about.marker}),
        needs: &[],
        alone: true,
    },
    Probe {
        name: "turn",
        service: "api-gateway",
        path: "/v3/turn",
        body: |about| json!({"session_id": about.session, "input_text": about.marker}),
        needs: &[("models", MODEL)],
        alone: false,
    },
    Probe {
        name: "turn with a tool",
        service: "api-gateway",
        path: "/v3/turn",
        body: |about| json!({"session_id": about.session, "input_text": format!("{READ}{}", about.marker)}),
        needs: &[("models", MODEL), ("tools", TOOL), ("openclaw", TOOL)],
        alone: false,
    },
    Probe {
        name: "execute",
        service: "openclaw",
        path: "/execute",
        body: |about| json!({"tool_name": "file.read", "args": {"path": about.marker}}),
        needs: &[("tools", TOOL)],
        alone: false,
    },
    Probe {
        name: "chat",
        service: "model-router",
        path: "/chat",
        body: |about| json!({"input_text": about.marker}),
        needs: &[("models", MODEL)],
        alone: false,
    },
    Probe {
        name: "act",
        service: "orchestrator",
        path: "/agent/act",
        body: |about| json!({"goal": about.marker}),
        needs: &[("models", MODEL), ("memory-engine", MEMORY)],
        alone: false,
    },
    Probe {
        name: "analysis",
        service: "perception",
        path: "/v1/perception/analyze",
        body: |about| json!({"session_id": about.session, "data": "AAECAw==", "prompt": about.marker}),
        needs: &[("models", MODEL)],
        alone: false,
    },
    Probe {
        name: "memory",
        service: "memory-engine",
        path: "/store",
        body: |about| json!({"type": "fact", "content": about.marker}),
        needs: &[],
        alone: false,
    },
    Probe {
        name: "task",
        service: "eva-os",
        path: "/tasks",
        body: |about| json!({"name": about.marker}),
        needs: &[],
        alone: true,
    },
    Probe {
        name: "approval",
        service: "eva-os",
        path: "/gate-tool-call",
        body: |about| json!({"tool_name": "file.write", "args": {"path": about.marker}}),
        needs: &[],
        alone: true,
    },
    Probe {
        name: "frame",
        service: "vision-capture",
        path: "/v1/vision/frames",
        body: |about| json!({"session_id": about.session, "data": "AAECAw=="}),
        needs: &[],
        alone: true,
    },
];

/// Dependencies whose every user is in the table: whoever does not need one of them there is to be
/// served without it. Of another one it is not known who needs it.
const KNOWN: [&str; 4] = ["models", "tools", "openclaw", "memory-engine"];

/// The probe of this name.
pub(super) fn named(name: &str) -> Option<&'static Probe> {
    PROBES.iter().find(|probe| probe.name == name)
}

impl Probe {
    /// The request.
    pub(super) fn ask(&self, about: &About) -> Ask {
        Ask::post(self.service, self.path, (self.body)(about)).within(IN_TIME)
    }

    /// What is due while this dependency is down.
    pub(super) fn due(&self, dependency: &str) -> Due {
        let needed = self.needs.iter().find(|(name, _)| *name == dependency);
        match needed {
            Some((_, codes)) => Due::Declared(codes),
            None if self.alone || KNOWN.contains(&dependency) => Due::Served,
            None => Due::Either,
        }
    }
}

/// The tool call of a turn, if its answer has one.
fn tool_call(sent: &Sent) -> Option<&Value> {
    sent.answer["tool_calls"].as_array()?.first()
}

/// Whether it got what it asked for.
pub(super) fn served(sent: &Sent) -> bool {
    sent.ok() && tool_call(sent).is_none_or(|call| call["status"] != "failed")
}

/// The code by which it was told that it does not get what it asked for: of the answer, or of the
/// tool call in it.
pub(super) fn declared(sent: &Sent) -> Option<&str> {
    let refused = matches!(sent.status, 502..=504) && !sent.code().is_empty();
    if refused {
        return Some(sent.code());
    }
    let call = tool_call(sent).filter(|call| sent.ok() && call["status"] == "failed")?;
    call["error"]["code"].as_str()
}
