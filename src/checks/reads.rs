//! Requests of the routes that change nothing. A route that needs more than its path is in one list
//! here, and a test names the one that is missing.

use serde_json::{Value, json};

use crate::chaos::approvals;
use crate::checks::Undecided;
use crate::checks::bench;
use crate::contract::routes::Route;
use crate::target::{Ask, Client, Exchange};

/// Ids of things that are there to be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Things {
    pub(crate) session: String,
    action: String,
    memory: String,
    task: String,
}

/// Path and query of a route, by its service and canonical path; nothing for one that names a
/// resource which nobody made.
fn concrete(route: &Route, things: &Things) -> Option<String> {
    let Things {
        session,
        action,
        memory,
        task,
    } = things;
    let path = route.path.as_str();
    Some(match path {
        "/v3/confirmations/pending" => format!("{path}?session_id={session}"),
        "/v3/sessions/{id}" => format!("/v3/sessions/{session}"),
        "/v3/actions/{id}" => format!("/v3/actions/{action}"),
        "/recall/{id}" => format!("/recall/{memory}"),
        "/tasks/{id}" => format!("/tasks/{task}"),
        "/v1/perception/consent/{id}" => format!("/v1/perception/consent/{session}"),
        _ if route.method != "GET" || path.contains('{') => return None,
        path => path.to_owned(),
    })
}

/// The body of a route that has one and changes nothing.
fn body(route: &Route, things: &Things) -> Option<Value> {
    let path = route.path.as_str();
    Some(match path {
        "/chat" => json!({"input_text": "hello"}),
        "/select" => json!({"task": "chat"}),
        "/run" => json!({"operation_id": "op_roles", "tool_name": "file.read"}),
        "/search" => json!({"query": "tea"}),
        "/v1/perception/analyze" => json!({"session_id": things.session, "data": "AAECAw=="}),
        _ => return None,
    })
}

/// A request of a route.
pub(crate) fn ask(route: &Route, things: &Things) -> Option<Ask> {
    if route.method == "POST" {
        return Some(Ask::post(&route.service, &route.path, body(route, things)?));
    }
    let path = concrete(route, things)?;
    Some(Ask::get(&route.service, &path))
}

/// Whether a route hands a question on to a backend: the backend is called, and no table changes.
pub(crate) fn hands_on(route: &Route) -> bool {
    ["/chat", "/run", "/v1/perception/analyze"].contains(&route.path.as_str())
}

impl Things {
    /// Makes them.
    ///
    /// # Errors
    /// When an answer carries no id.
    pub(crate) async fn make(client: &Client) -> Result<Self, Undecided> {
        let session = approvals::session(client).await?;
        let plan = json!({"intent": "file.write", "params": {}, "session_id": session});
        let fact = json!({"type": "fact", "content": "tea at four"});
        let (action, memory, task) = tokio::join!(
            client.send(Ask::post("api-gateway", "/v3/actions/plan", plan)),
            client.send(Ask::post("memory-engine", "/store", fact)),
            client.send(Ask::post("eva-os", "/tasks", json!({"name": "tea"}))),
        );
        for step in bench::CONSENTING {
            client.send(bench::consent(step, &session)).await;
        }
        client.send(bench::privacy("enable", &session)).await;
        Ok(Self {
            session,
            action: id(&action, &action.answered()["action"]["action_id"])?,
            memory: id(&memory, &memory.answered()["id"])?,
            task: id(&task, &task.answered()["task_id"])?,
        })
    }
}

fn id(exchange: &Exchange, value: &Value) -> Result<String, Undecided> {
    let id = value.as_str().map(str::to_owned);
    id.ok_or_else(|| Undecided(format!("no id in the answer to {}", exchange.line())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::routes::floor;

    #[test]
    fn every_route_that_changes_nothing_can_be_asked() {
        let missing: Vec<String> = floor()
            .filter(|route| !route.mutating && ask(route, &Things::default()).is_none())
            .map(ToString::to_string)
            .collect();
        assert!(
            missing.is_empty(),
            "no request for {missing:?}: say in `concrete` what its path is, or its `body`"
        );
    }
}
