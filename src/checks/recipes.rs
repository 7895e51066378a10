//! How a valid request of each mutating route is made, what it needs, and what a second one gets
//! that comes with another key. A route without a recipe is named by a test, and undecided in a run.

use serde_json::{Value, json};

use super::bench::{Needs, READ, Thing};
use crate::base::json::merge;
use crate::chaos::approvals::{self, GUARDED_TOOL, marked};
use crate::contract::routes::Route;
use crate::target::Ask;

/// How a request of one route is made.
pub(crate) struct Recipe {
    /// The service.
    pub(crate) service: &'static str,
    /// Method and canonical path.
    pub(crate) line: (&'static str, &'static str),
    /// What has to be there before.
    pub(crate) needs: Needs,
    /// The body; null for none.
    pub(crate) body: fn(&Thing) -> Value,
    /// What makes another body of it.
    pub(crate) other: fn() -> Value,
    /// What the same request gets under another key.
    pub(crate) again: Again,
}

/// What the same request gets under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It is done once more.
    Done,
    /// It is refused, because the first one was done: status and code.
    Refused(u16, &'static str),
}

const GATEWAY: &str = "api-gateway";
const EVA: &str = "eva-os";
const MEMORY: &str = "memory-engine";
const PERCEPTION: &str = "perception";
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
pub(crate) static RECIPES: &[Recipe] = &[
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
        line: ("PUT", "/recall/{id}"),
        needs: Needs::Memory,
        // Not the marker: a memory that is changed twice is no second row.
        body: |_| json!({"content": "changed"}),
        other: || json!({"content": "another one"}),
        again: Again::Done,
    },
    Recipe {
        service: MEMORY,
        line: ("DELETE", "/recall/{id}"),
        needs: Needs::Memory,
        body: nothing,
        other: reason,
        again: Again::Refused(404, "MEMORY_NOT_FOUND"),
    },
    Recipe {
        service: MEMORY,
        line: ("POST", "/v1/proposals"),
        needs: Needs::Nothing,
        body: |thing| json!({"type": "note", "confidence": 0.7, "content": thing.marker}),
        other: || json!({"content": "another one"}),
        again: Again::Done,
    },
    proposal("/v1/proposals/{id}/approve"),
    proposal("/v1/proposals/{id}/reject"),
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
        service: EVA,
        line: ("POST", "/v1/supervision/maintenance-mode"),
        needs: Needs::Nothing,
        body: |thing| json!({"enabled": true, "reason": thing.marker}),
        other: reason,
        again: Again::Done,
    },
    Recipe {
        service: EVA,
        line: ("POST", "/v1/supervision/restart/{service}"),
        needs: Needs::Service,
        body: |thing| json!({"reason": thing.marker}),
        other: reason,
        again: Again::Done,
    },
    Recipe {
        service: "vision-capture",
        line: ("POST", "/v1/vision/frames"),
        needs: Needs::Session,
        body: |thing| json!({"session_id": thing.id, "data": "AAECAw=="}),
        other: || json!({"data": "BAUGBw=="}),
        again: Again::Done,
    },
    privacy("/v1/vision/privacy/enable"),
    privacy("/v1/vision/privacy/disable"),
    consent("/v1/perception/consent/request", &[]),
    consent("/v1/perception/consent/grant", &["request"]),
    consent("/v1/perception/consent/activate", &["request", "grant"]),
    consent("/v1/perception/consent/revoke", &["request"]),
    Recipe {
        service: PERCEPTION,
        line: ("POST", "/v1/perception/events"),
        needs: Needs::Watched,
        body: |thing| json!({"session_id": thing.id, "type": "motion", "text": thing.marker}),
        other: || json!({"text": "another one"}),
        again: Again::Done,
    },
    Recipe {
        service: "orchestrator",
        line: ("POST", "/agent/act"),
        needs: Needs::Nothing,
        body: |thing| json!({"goal": format!("{READ}{}", thing.marker)}),
        other: || json!({"goal": "something else"}),
        again: Again::Done,
    },
];

const fn proposal(path: &'static str) -> Recipe {
    Recipe {
        service: MEMORY,
        line: ("POST", path),
        needs: Needs::Proposal,
        body: |_| json!({}),
        other: reason,
        again: DECIDED,
    }
}

/// A switch of one session's privacy: that of all would be everybody's.
const fn privacy(path: &'static str) -> Recipe {
    Recipe {
        service: "vision-capture",
        line: ("POST", path),
        needs: Needs::Session,
        body: of_session,
        other: reason,
        again: Again::Done,
    }
}

/// A step of a consent that has gone these steps.
const fn consent(path: &'static str, gone: &'static [&'static str]) -> Recipe {
    Recipe {
        service: PERCEPTION,
        line: ("POST", path),
        needs: Needs::Consent(gone),
        body: of_session,
        other: reason,
        again: Again::Refused(409, "CONSENT_STATE"),
    }
}

fn of_session(thing: &Thing) -> Value {
    json!({"session_id": thing.id})
}

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
pub(crate) fn of(route: &Route) -> Option<&'static Recipe> {
    let line = (route.method.as_str(), route.path.as_str());
    RECIPES
        .iter()
        .find(|one| one.service == route.service && one.line == line)
}

/// A request of another endpoint, of the same service if it has one that needs little.
pub(crate) fn elsewhere(recipe: &Recipe) -> &'static Recipe {
    let other = |one: &&Recipe| one.line != recipe.line && one.again == Again::Done;
    let near =
        |one: &&Recipe| one.service == recipe.service && !matches!(one.needs, Needs::Decision(_));
    let found = RECIPES.iter().filter(other).find(near);
    found.unwrap_or(&RECIPES[0])
}

impl Recipe {
    /// Whether a request of it is about a resource.
    pub(crate) fn names_resource(&self) -> bool {
        self.needs != Needs::Nothing
    }

    /// The route's name.
    pub(crate) fn name(&self) -> String {
        let (method, path) = self.line;
        format!("{method} {path} of {}", self.service)
    }

    /// The request about this.
    pub(crate) fn ask(&self, thing: &Thing) -> Ask {
        let (method, path) = self.line;
        let brace = |text: &str| {
            text.replace("{id}", &thing.id)
                .replace("{service}", &thing.id)
        };
        let ask = Ask::new(self.service, method, &brace(path));
        let body = (self.body)(thing);
        Ask {
            body: (!body.is_null()).then_some(body),
            ..ask
        }
    }

    /// The same request with another body.
    pub(crate) fn with_other_body(&self, thing: &Thing) -> Ask {
        let mut ask = self.ask(thing);
        merge(ask.body.get_or_insert_with(|| json!({})), &(self.other)());
        ask
    }

    /// The same request about another resource: nothing else differs.
    pub(crate) fn about(&self, thing: &Thing, other: &Thing) -> Ask {
        self.ask(&Thing {
            id: other.id.clone(),
            ..thing.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::thing;
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
            if recipe.line.1.contains('{') {
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
            let near = |one: &&Recipe| {
                one.service == recipe.service && one.line != recipe.line && one.again == Again::Done
            };
            assert!(
                other.service == recipe.service || !RECIPES.iter().any(|one| near(&one)),
                "{:?}",
                recipe.line
            );
        }
        for route in mutating() {
            assert_eq!(of(route).unwrap().name(), route.to_string());
        }
    }
}
