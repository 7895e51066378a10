//! How a valid request of each mutating route is made, what it needs, and what a second one gets
//! that comes with another key. A route without a recipe is named by a test, and undecided in a run.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::base::Seed;
use crate::base::json::merge;
use crate::chaos::approvals::{
    self, GUARDED_TOOL, Minted, Shown, guarded_calls, marked, markers, mint, number, text,
};
use crate::checks::Undecided;
use crate::contract::routes::Route;
use crate::target::{Ask, Client, Credential};

/// What a turn's text begins with when the model shall answer with a call of a safe tool.
const READ: &str = "read:";
/// What a marker begins with whose tool fails the first time.
const FAILS_ONCE: &str = "fails";

/// How a request of one route is made.
pub(super) struct Recipe {
    /// The service.
    pub(super) service: &'static str,
    /// Method and canonical path.
    pub(super) line: (&'static str, &'static str),
    /// What has to be there before.
    pub(super) needs: Needs,
    /// The body; null for none.
    pub(super) body: fn(&Thing) -> Value,
    /// What makes another body of it.
    pub(super) other: fn() -> Value,
    /// What the same request gets under another key.
    pub(super) again: Again,
}

/// What has to be there before a request can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// A session.
    Session,
    /// An open decision.
    Decision(approvals::Route),
    /// A task.
    Task,
    /// A user with a key.
    User,
    /// A dead letter, of a tool that works the next time.
    Letter,
}

/// What the same request gets under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It is done once more.
    Done,
    /// It is refused, because the first one was done: status and code.
    Refused(u16, &'static str),
}

/// What one request is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Thing {
    /// Tells its calls and rows from everybody else's.
    pub(super) marker: String,
    /// The resource that it names; empty when it names none.
    pub(super) id: String,
    /// The fence or version of that resource.
    pub(super) token: i64,
    /// The key that shows whether the resource is what it was, of a user.
    pub(super) secret: Option<String>,
}

const GATEWAY: &str = "api-gateway";
const EVA: &str = "eva-os";
const MEMORY: &str = "memory-engine";
const DECIDED: Again = Again::Refused(409, "ALREADY_DECIDED");

fn fenced(thing: &Thing) -> Value {
    json!({"fence_token": thing.token})
}

fn approval(thing: &Thing) -> Value {
    json!({"approval_id": thing.id, "fence_token": thing.token})
}

fn nothing(_: &Thing) -> Value {
    Value::Null
}

fn reason() -> Value {
    json!({"reason": "another one"})
}

/// Every recipe, in the order of the route table.
pub(super) static RECIPES: &[Recipe] = &[
    Recipe {
        service: GATEWAY,
        line: ("POST", "/v3/sessions"),
        needs: Needs::Nothing,
        body: |thing| json!({"user_id": "u-1", "conversation_id": thing.marker}),
        other: || json!({"user_id": "u-2"}),
        again: Again::Done,
    },
    Recipe {
        service: GATEWAY,
        line: ("DELETE", "/v3/sessions/{id}"),
        needs: Needs::Session,
        body: nothing,
        other: reason,
        again: Again::Refused(404, "SESSION_NOT_FOUND"),
    },
    Recipe {
        service: GATEWAY,
        line: ("POST", "/v3/turn"),
        needs: Needs::Session,
        body: |thing| json!({"session_id": thing.id, "input_text": format!("{READ}{}", thing.marker)}),
        other: || json!({"input_text": "something else"}),
        again: Again::Done,
    },
    decision(
        GATEWAY,
        "/v3/confirmations/{id}/approve",
        approvals::Route::Confirmations,
        DECIDED,
    ),
    decision(
        GATEWAY,
        "/v3/confirmations/{id}/deny",
        approvals::Route::Confirmations,
        DECIDED,
    ),
    decision(
        GATEWAY,
        "/v3/confirmations/{id}/reissue",
        approvals::Route::Confirmations,
        STALE,
    ),
    Recipe {
        service: GATEWAY,
        line: ("POST", "/v3/actions/plan"),
        needs: Needs::Session,
        body: |thing| json!({"intent": "file.read", "params": marked(&thing.marker), "session_id": thing.id}),
        other: || json!({"params": {"path": "another one"}}),
        again: Again::Done,
    },
    decision(
        GATEWAY,
        "/v3/actions/{id}/approve",
        approvals::Route::Actions,
        DECIDED,
    ),
    decision(
        GATEWAY,
        "/v3/actions/{id}/deny",
        approvals::Route::Actions,
        DECIDED,
    ),
    decision(
        GATEWAY,
        "/v3/actions/{id}/reissue",
        approvals::Route::Actions,
        STALE,
    ),
    Recipe {
        service: GATEWAY,
        line: ("POST", "/v3/dead-letters/{id}/replay"),
        needs: Needs::Letter,
        body: |_| json!({}),
        other: reason,
        again: Again::Refused(409, "DEAD_LETTER_RESOLVED"),
    },
    Recipe {
        service: MEMORY,
        line: ("POST", "/store"),
        needs: Needs::Nothing,
        body: |thing| json!({"type": "fact", "content": thing.marker}),
        other: || json!({"content": "another one"}),
        again: Again::Done,
    },
    Recipe {
        service: MEMORY,
        line: ("POST", "/v1/users"),
        needs: Needs::Nothing,
        body: |thing| json!({"display_name": thing.marker, "role": "operator"}),
        other: || json!({"role": "observer"}),
        again: Again::Done,
    },
    Recipe {
        service: MEMORY,
        line: ("POST", "/v1/users/{id}/rotate-key"),
        needs: Needs::User,
        body: |_| json!({}),
        other: || json!({"expires_in_ms": 3_600_000}),
        again: Again::Done,
    },
    Recipe {
        service: MEMORY,
        line: ("DELETE", "/v1/users/{id}"),
        needs: Needs::User,
        body: nothing,
        other: reason,
        again: Again::Refused(404, "USER_NOT_FOUND"),
    },
    Recipe {
        service: "openclaw",
        line: ("POST", "/execute"),
        needs: Needs::Nothing,
        body: |thing| json!({"tool_name": "file.read", "args": marked(&thing.marker)}),
        other: || json!({"args": {"path": "another one"}}),
        again: Again::Done,
    },
    Recipe {
        service: EVA,
        line: ("POST", "/gate-tool-call"),
        needs: Needs::Nothing,
        body: |thing| json!({"tool_name": GUARDED_TOOL, "args": marked(&thing.marker)}),
        other: || json!({"args": {"path": "another one"}}),
        again: Again::Done,
    },
    eva("/approve", DECIDED),
    eva("/deny", DECIDED),
    eva("/reissue", STALE),
    Recipe {
        service: EVA,
        line: ("POST", "/tasks"),
        needs: Needs::Nothing,
        body: |thing| json!({"name": thing.marker}),
        other: || json!({"name": "another one"}),
        again: Again::Done,
    },
    Recipe {
        service: EVA,
        line: ("PATCH", "/tasks/{id}"),
        needs: Needs::Task,
        body: |thing| json!({"version": thing.token, "name": thing.marker}),
        other: || json!({"name": "another one"}),
        again: Again::Refused(409, "VERSION_CONFLICT"),
    },
    Recipe {
        service: EVA,
        line: ("DELETE", "/tasks/{id}"),
        needs: Needs::Task,
        body: nothing,
        other: reason,
        again: Again::Refused(404, "TASK_NOT_FOUND"),
    },
    Recipe {
        service: "vision-capture",
        line: ("POST", "/v1/vision/frames"),
        needs: Needs::Session,
        body: |thing| json!({"session_id": thing.id, "data": "AAECAw=="}),
        other: || json!({"data": "BAUGBw=="}),
        again: Again::Done,
    },
];

/// A reissue with the fence that it has just raised.
const STALE: Again = Again::Refused(409, "FENCE_STALE");

const fn decision(
    service: &'static str,
    path: &'static str,
    route: approvals::Route,
    again: Again,
) -> Recipe {
    Recipe {
        service,
        line: ("POST", path),
        needs: Needs::Decision(route),
        body: fenced,
        other: reason,
        again,
    }
}

const fn eva(path: &'static str, again: Again) -> Recipe {
    Recipe {
        body: approval,
        ..decision(EVA, path, approvals::Route::EvaOs, again)
    }
}

/// The recipe of a route.
pub(super) fn of(route: &Route) -> Option<&'static Recipe> {
    let line = (route.method.as_str(), route.path.as_str());
    RECIPES
        .iter()
        .find(|one| one.service == route.service && one.line == line)
}

/// A request of another endpoint, of the same service if it has one that needs little.
pub(super) fn elsewhere(recipe: &Recipe) -> &'static Recipe {
    let other = |one: &&Recipe| one.line != recipe.line && one.again == Again::Done;
    let near =
        |one: &&Recipe| one.service == recipe.service && !matches!(one.needs, Needs::Decision(_));
    let found = RECIPES.iter().filter(other).find(near);
    found.unwrap_or(&RECIPES[0])
}

impl Recipe {
    /// Whether a request of it is about a resource.
    pub(super) fn names_resource(&self) -> bool {
        self.needs != Needs::Nothing
    }

    /// The route's name.
    pub(super) fn name(&self) -> String {
        let (method, path) = self.line;
        format!("{method} {path} of {}", self.service)
    }

    /// The request about this.
    pub(super) fn ask(&self, thing: &Thing) -> Ask {
        let (method, path) = self.line;
        let ask = Ask::new(self.service, method, &path.replace("{id}", &thing.id));
        let body = (self.body)(thing);
        Ask {
            body: (!body.is_null()).then_some(body),
            ..ask
        }
    }

    /// The same request with another body.
    pub(super) fn with_other_body(&self, thing: &Thing) -> Ask {
        let mut ask = self.ask(thing);
        merge(ask.body.get_or_insert_with(|| json!({})), &(self.other)());
        ask
    }

    /// The same request about another resource: nothing else differs.
    pub(super) fn about(&self, thing: &Thing, other: &Thing) -> Ask {
        self.ask(&Thing {
            id: other.id.clone(),
            ..thing.clone()
        })
    }
}

/// Where things are made: an operator and a session for what needs one.
pub(super) struct Bench {
    pub(super) client: Client,
    pub(super) session: String,
    pub(super) seed: Seed,
}

impl Bench {
    /// Makes so many things that requests of this recipe can be about; `whose` keeps their markers
    /// apart from those of others.
    pub(super) async fn make(
        &self,
        recipe: &Recipe,
        whose: &str,
        n: usize,
    ) -> Result<Vec<Thing>, Undecided> {
        let what = whose.replace(|c: char| !c.is_ascii_alphanumeric(), "");
        let prefix = if recipe.needs == Needs::Letter {
            FAILS_ONCE
        } else {
            "key"
        };
        let markers = markers(self.seed, &format!("{prefix}-{what}"), n);
        match recipe.needs {
            Needs::Nothing => Ok(markers
                .into_iter()
                .map(|marker| thing(marker, "", 0))
                .collect()),
            Needs::Session => {
                let sessions = markers.iter().map(|_| approvals::session(&self.client));
                let sessions = try_join_all(sessions).await?;
                let things = markers.into_iter().zip(sessions);
                Ok(things.map(|(marker, id)| thing(marker, &id, 0)).collect())
            }
            Needs::Decision(route) => {
                let minted = mint(&self.client, &self.session, route, &markers).await?;
                Ok(minted.into_iter().map(of_decision).collect())
            }
            Needs::Task => try_join_all(markers.into_iter().map(|marker| self.task(marker))).await,
            Needs::User => try_join_all(markers.into_iter().map(|marker| self.user(marker))).await,
            Needs::Letter => self.letters(&markers).await,
        }
    }

    async fn task(&self, marker: String) -> Result<Thing, Undecided> {
        let ask = Ask::post(EVA, "/tasks", json!({"name": marker}));
        let exchange = self.client.send(ask).await;
        let answer = exchange.answered();
        let id = text(&exchange, answer, "task_id")?;
        Ok(thing(marker, &id, number(&exchange, answer, "version")?))
    }

    async fn user(&self, marker: String) -> Result<Thing, Undecided> {
        // Not the marker itself: what made the user is no trace of the request to come.
        let body = json!({"display_name": format!("u{marker}"), "role": "operator"});
        let exchange = self.client.send(Ask::post(MEMORY, "/v1/users", body)).await;
        let answer = exchange.answered();
        let id = text(&exchange, answer, "actor_id")?;
        Ok(Thing {
            secret: Some(text(&exchange, answer, "api_key")?),
            ..thing(marker, &id, 0)
        })
    }

    /// Actions whose tool failed once it was allowed to run.
    async fn letters(&self, markers: &[String]) -> Result<Vec<Thing>, Undecided> {
        let route = approvals::Route::Actions;
        let minted = mint(&self.client, &self.session, route, markers).await?;
        let approve = |one: &Minted| route.ask(&one.id, "approve", Shown::Body(one.fence));
        let approvals = minted.iter().map(|one| self.client.send(approve(one)));
        futures_util::future::join_all(approvals).await;
        let exchange = self
            .client
            .send(Ask::get(GATEWAY, "/v3/dead-letters"))
            .await;
        let letters = exchange.answered()["dead_letters"].as_array();
        let letters = letters.map_or(&[][..], Vec::as_slice);
        let letter = |marker: &String| {
            let found = letters
                .iter()
                .find(|letter| letter["args"]["path"] == marker.as_str());
            let id = text(&exchange, found.unwrap_or(&Value::Null), "dead_letter_id")?;
            Ok(thing(marker.clone(), &id, 0))
        };
        markers.iter().map(letter).collect()
    }

    /// What the target shows of the resource that a thing names; null when it names none that can
    /// be looked at.
    pub(super) async fn look(&self, recipe: &Recipe, thing: &Thing) -> Value {
        let (service, path) = match recipe.needs {
            Needs::Nothing => return Value::Null,
            Needs::Session => (GATEWAY, format!("/v3/sessions/{}", thing.id)),
            Needs::Task => (EVA, format!("/tasks/{}", thing.id)),
            Needs::Letter => (GATEWAY, "/v3/dead-letters".to_owned()),
            Needs::User => {
                let by = Credential::Raw(thing.secret.clone().unwrap_or_default());
                let ask = Ask::get(MEMORY, "/status");
                return json!(self.client.under(by).send(ask).await.status());
            }
            Needs::Decision(route) => {
                let (_, shown) =
                    approvals::look(&self.client, &self.session, route, &thing.id).await;
                return steady(shown);
            }
        };
        let exchange = self.client.send(Ask::get(service, &path)).await;
        let answer = exchange.answered();
        let listed = |letters: &Vec<Value>| {
            letters
                .iter()
                .find(|one| one["dead_letter_id"] == thing.id.as_str())
                .cloned()
        };
        let one = answer["dead_letters"].as_array().and_then(listed);
        steady(one.unwrap_or_else(|| answer.clone()))
    }
}

/// Without what changes from look to look.
fn steady(mut shown: Value) -> Value {
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("correlation_id");
        fields.remove("remaining_seconds");
    }
    shown
}

fn thing(marker: String, id: &str, token: i64) -> Thing {
    let id = id.to_owned();
    Thing {
        marker,
        id,
        token,
        secret: None,
    }
}

fn of_decision(minted: Minted) -> Thing {
    thing(minted.marker().to_owned(), &minted.id, minted.fence)
}

/// A script for the model: a turn that asks for it gets a call of a safe tool, others guarded ones.
pub(super) fn model(request: &Value) -> Value {
    let heard = request["input_text"].as_str().unwrap_or_default();
    match heard.strip_prefix(READ) {
        None => guarded_calls(request),
        Some(marker) => {
            let call = json!({"tool_name": "file.read", "args": marked(marker)});
            json!({"text": "I will read.", "tool_calls": [call]})
        }
    }
}

/// A script for the tools: what is to fail once does so the first time.
pub(super) fn tools() -> impl Fn(&Value) -> Value + Send + Sync + 'static {
    let failed = Mutex::new(BTreeSet::new());
    move |request| {
        let marker = request["args"]["path"].as_str().unwrap_or_default();
        let mut failed = failed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if marker.starts_with(FAILS_ONCE) && failed.insert(marker.to_owned()) {
            let error = json!({"code": "TOOL_FAILED", "message": "exit code 1"});
            return json!({"ok": false, "error": error});
        }
        json!({"ok": true, "result": {"bytes": marker.len()}})
    }
}

/// Whose call a double got.
pub(super) fn marker_of(call: &Value) -> &str {
    let said = call["input_text"]
        .as_str()
        .map(|text| text.strip_prefix(READ).unwrap_or(text));
    said.or(call["args"]["path"].as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::routes::mutating;

    #[test]
    fn every_mutating_route_has_a_recipe_and_every_recipe_a_route() {
        let missing: Vec<String> = mutating()
            .filter(|route| of(route).is_none())
            .map(ToString::to_string)
            .collect();
        assert!(
            missing.is_empty(),
            "no recipe for {missing:?}: say in RECIPES how a request of it is made, and what a \
             second one gets"
        );
        for recipe in RECIPES {
            let of_route = |route: &&Route| std::ptr::eq(of(route).unwrap(), recipe);
            assert_eq!(mutating().filter(of_route).count(), 1, "{:?}", recipe.line);
        }
    }

    #[test]
    fn another_body_and_another_resource_differ_in_nothing_else() {
        let one = thing("m-1".into(), "id_1", 7);
        let two = thing("m-2".into(), "id_2", 8);
        for recipe in RECIPES {
            let ask = recipe.ask(&one);
            let body = recipe.with_other_body(&one);
            assert_eq!(ask.path, body.path);
            assert_ne!(ask.body, body.body, "{:?}", recipe.line);
            let other = recipe.about(&one, &two);
            if recipe.line.1.contains("{id}") {
                assert_eq!(ask.body, other.body, "{:?}", recipe.line);
                assert_ne!(ask.path, other.path, "{:?}", recipe.line);
            } else if recipe.needs != Needs::Nothing {
                assert_ne!(ask.body, other.body, "{:?}", recipe.line);
            }
        }
    }

    #[test]
    fn another_endpoint_is_another_one_and_of_the_same_service_where_there_are_two() {
        for recipe in RECIPES {
            let other = elsewhere(recipe);
            assert_ne!(recipe.line, other.line);
            let alone = RECIPES
                .iter()
                .filter(|one| one.service == recipe.service)
                .count()
                == 1;
            assert!(
                alone || other.service == recipe.service,
                "{:?}",
                recipe.line
            );
        }
        for route in mutating() {
            assert_eq!(of(route).unwrap().name(), route.to_string());
        }
    }

    #[test]
    fn the_tool_of_a_letter_fails_once() {
        let tools = tools();
        let run = |path: &str| tools(&json!({"args": {"path": path}}))["ok"].clone();
        assert_eq!([run("key-1"), run("key-1")], [true, true]);
        assert_eq!(
            [run("fails-1"), run("fails-1"), run("fails-2")],
            [false, true, false]
        );
        assert_eq!(marker_of(&json!({"args": {"path": "key-1"}})), "key-1");
        assert_eq!(marker_of(&json!({"input_text": "read:key-1"})), "key-1");
        assert_eq!(
            model(&json!({"input_text": "read:key-1"}))["tool_calls"][0]["args"]["path"],
            "key-1"
        );
    }
}
