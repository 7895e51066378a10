//! What requests of mutating routes are about: sessions, decisions, tasks, users, dead letters, made and
//! looked at; and how the doubles answer, so that there is something to be about.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::recipes::{self, Recipe};
use crate::base::Seed;
use crate::chaos::approvals::{
    self, Minted, Shown, guarded_calls, marked, markers, mint, number, text,
};
pub(crate) use crate::chaos::requests::{CONSENTING, READ, consent, privacy};
use crate::checks::Undecided;
use crate::contract::routes::Route;
use crate::target::{Ask, Client, Credential, Exchange};

/// What a marker begins with whose tool fails the first time.
const FAILS_ONCE: &str = "fails";

const GATEWAY: &str = "api-gateway";
const EVA: &str = "eva-os";
const MEMORY: &str = "memory-engine";
const PERCEPTION: &str = "perception";
/// Services that can be restarted.
const SERVICES: [&str; 4] = [MEMORY, "openclaw", GATEWAY, "vision-capture"];

/// What has to be there before a request can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
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
    /// A memory.
    Memory,
    /// A proposal that nobody has decided.
    Proposal,
    /// A session's consent that has gone these steps.
    Consent(&'static [&'static str]),
    /// A session that may be perceived.
    Watched,
    /// A service of the stack.
    Service,
}

/// What one request is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Thing {
    /// Tells its calls and rows from everybody else's.
    pub(crate) marker: String,
    /// The resource that it names; empty when it names none.
    pub(crate) id: String,
    /// The fence or version of that resource.
    pub(crate) token: i64,
    /// The key that shows whether the resource is what it was, of a user.
    pub(crate) secret: Option<String>,
}

/// Where things are made: an operator and a session for what needs one.
pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) session: String,
    pub(crate) seed: Seed,
}

impl Bench {
    /// A valid request of a mutating route, about something that was made for it.
    pub(crate) async fn request(&self, route: &Route) -> Result<Ask, Undecided> {
        let recipe = recipes::of(route).ok_or_else(|| Undecided("it has no recipe".to_owned()))?;
        let things = self.make(recipe, &route.to_string(), 1).await?;
        let thing = things.first();
        let thing = thing.ok_or_else(|| Undecided("nothing was made for it".to_owned()))?;
        Ok(recipe.ask(thing))
    }

    /// Makes so many things that requests of this recipe can be about; `whose` keeps their markers
    /// apart from those of others.
    pub(crate) async fn make(
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
            Needs::Memory => {
                try_join_all(markers.into_iter().map(|marker| self.memory(marker))).await
            }
            Needs::Proposal => {
                try_join_all(markers.into_iter().map(|marker| self.proposal(marker))).await
            }
            Needs::Consent(gone) => {
                let consents = markers.into_iter().map(|marker| self.consent(marker, gone));
                try_join_all(consents).await
            }
            Needs::Watched => {
                try_join_all(markers.into_iter().map(|marker| self.watched(marker))).await
            }
            Needs::Service => {
                let things = markers.into_iter().zip(SERVICES.iter().cycle());
                Ok(things.map(|(marker, id)| thing(marker, id, 0)).collect())
            }
        }
    }

    /// How a service is, as eva-os shows it.
    async fn service(&self, name: &str) -> Value {
        let exchange = self.client.send(Ask::get(EVA, "/health/all")).await;
        let services = exchange.answered()["services"].as_array();
        let own = |one: &&Value| one["service"] == name;
        let shown = services.into_iter().flatten().find(own);
        shown.cloned().unwrap_or(Value::Null)
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

    async fn memory(&self, marker: String) -> Result<Thing, Undecided> {
        // Not the marker itself, here and below: what made it is no trace of the request to come.
        let body = json!({"type": "note", "content": format!("u{marker}")});
        let exchange = self.client.send(Ask::post(MEMORY, "/store", body)).await;
        let id = text(&exchange, exchange.answered(), "id")?;
        Ok(thing(marker, &id, 0))
    }

    async fn proposal(&self, marker: String) -> Result<Thing, Undecided> {
        let body = json!({"type": "note", "confidence": 0.7, "content": format!("u{marker}")});
        let ask = Ask::post(MEMORY, "/v1/proposals", body);
        let exchange = self.client.send(ask).await;
        let id = text(&exchange, exchange.answered(), "proposal_id")?;
        Ok(thing(marker, &id, 0))
    }

    async fn consent(&self, marker: String, gone: &[&str]) -> Result<Thing, Undecided> {
        // Not the marker itself: what made the consent is no trace of the request to come.
        let id = format!("ses{marker}");
        for step in gone {
            let ask = consent(step, &id);
            done(&self.client.send(ask).await)?;
        }
        Ok(thing(marker, &id, 0))
    }

    async fn watched(&self, marker: String) -> Result<Thing, Undecided> {
        let thing = self.consent(marker, &CONSENTING).await?;
        done(&self.client.send(privacy("enable", &thing.id)).await)?;
        Ok(thing)
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
    pub(crate) async fn look(&self, recipe: &Recipe, thing: &Thing) -> Value {
        let (service, path) = match recipe.needs {
            Needs::Nothing => return Value::Null,
            Needs::Service => return self.service(&thing.id).await,
            Needs::Session => (GATEWAY, format!("/v3/sessions/{}", thing.id)),
            Needs::Task => (EVA, format!("/tasks/{}", thing.id)),
            Needs::Letter => (GATEWAY, "/v3/dead-letters".to_owned()),
            Needs::Memory => (MEMORY, format!("/recall/{}", thing.id)),
            Needs::Proposal => (MEMORY, "/v1/proposals".to_owned()),
            Needs::Consent(_) | Needs::Watched => {
                (PERCEPTION, format!("/v1/perception/consent/{}", thing.id))
            }
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
        let listed = |list: &str, id: &str| {
            let all = answer[list].as_array()?;
            all.iter().find(|one| one[id] == thing.id.as_str()).cloned()
        };
        let one = listed("dead_letters", "dead_letter_id");
        let one = one.or_else(|| listed("proposals", "proposal_id"));
        steady(one.unwrap_or_else(|| answer.clone()))
    }
}

/// What was asked for was done.
///
/// # Errors
/// The refusal, when it was not.
pub(crate) fn done(exchange: &Exchange) -> Result<(), Undecided> {
    match exchange.ok() {
        true => Ok(()),
        false => Err(Undecided(exchange.line())),
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

/// A thing whose state nothing but the target's own answers tells.
pub(crate) fn thing(marker: String, id: &str, token: i64) -> Thing {
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
pub(crate) fn model(request: &Value) -> Value {
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
pub(crate) fn tools() -> impl Fn(&Value) -> Value + Send + Sync + 'static {
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
pub(crate) fn marker_of(call: &Value) -> &str {
    let said = call["input_text"]
        .as_str()
        .map(|text| text.strip_prefix(READ).unwrap_or(text));
    said.or(call["args"]["path"].as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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
