//! Decisions over the three approval routes, as a client sees them: how they are minted and asked
//! for. Shared by every gate that decides something; it judges nothing.

use std::fmt;

use anyhow::anyhow;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::Seed;
use crate::target::{Ask, Client, Exchange};

/// The guarded tool that decisions here are about.
pub const GUARDED_TOOL: &str = "file.write";
/// Guarded calls per turn: as many as a turn may carry.
const CALLS_PER_TURN: usize = 5;
/// Requests under way at once while decisions are minted.
const MINTING_AT_ONCE: usize = 8;
/// What a turn's text begins with when the model shall answer with guarded calls.
const GUARDED: &str = "guarded:";

/// One of the routes that take decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// `/v3/confirmations`: a guarded tool call of a turn.
    Confirmations,
    /// `/v3/actions`: a planned action.
    Actions,
    /// eva-os: a gated tool call.
    EvaOs,
}

impl Route {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Confirmations, Self::Actions, Self::EvaOs];

    /// The service that issues and keeps these decisions.
    #[must_use]
    pub fn issuer(self) -> &'static str {
        match self {
            Self::Confirmations | Self::Actions => "api-gateway",
            Self::EvaOs => "eva-os",
        }
    }

    /// A request that does `verb` (`approve`, `deny`, `reissue`) to a decision.
    #[must_use]
    pub fn ask(self, id: &str, verb: &str, fence: Shown) -> Ask {
        let mut body = json!({});
        if let Shown::Body(token) = fence {
            body["fence_token"] = token.into();
        }
        let ask = match self {
            Self::Confirmations => Ask::post(
                self.issuer(),
                &format!("/v3/confirmations/{id}/{verb}"),
                body,
            ),
            Self::Actions => Ask::post(self.issuer(), &format!("/v3/actions/{id}/{verb}"), body),
            Self::EvaOs => {
                body["approval_id"] = id.into();
                Ask::post(self.issuer(), &format!("/{verb}"), body)
            }
        };
        match fence {
            Shown::Header(token) => ask.fence(token),
            Shown::Nothing | Shown::Body(_) => ask,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confirmations => "confirmations",
            Self::Actions => "actions",
            Self::EvaOs => "eva-os",
        })
    }
}

/// How a request shows its fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// Not at all, as a v4.6 client: it stands for the fence of the first issue.
    Nothing,
    /// In `X-Fence-Token`.
    Header(i64),
    /// As `fence_token` in the body.
    Body(i64),
}

impl Shown {
    /// The fence, if one is shown.
    #[must_use]
    pub fn token(self) -> Option<i64> {
        match self {
            Self::Nothing => None,
            Self::Header(token) | Self::Body(token) => Some(token),
        }
    }
}

/// What is wanted of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// The tool shall run.
    Approve,
    /// It shall not.
    Deny,
}

impl Verb {
    /// The last segment of the path.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }

    /// The verdict that a decision won by this has.
    #[must_use]
    pub fn verdict(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Deny => "denied",
        }
    }
}

/// An open decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Minted {
    /// Where it is decided.
    pub route: Route,
    /// Its id.
    pub id: String,
    /// The fence it was issued with.
    pub fence: i64,
    /// The arguments of the guarded call. Their `path` is the marker that tells its runs from
    /// everybody else's.
    pub args: Value,
    /// When the request that minted it was sent: its time to live cannot have begun before.
    pub minted_us: u64,
    /// When the answer to that request was there: nor can it have begun after.
    pub shown_us: u64,
}

impl Minted {
    /// What the double is looked through for.
    #[must_use]
    pub fn marker(&self) -> &str {
        self.args["path"].as_str().unwrap_or_default()
    }
}

/// Arguments that carry a marker.
#[must_use]
pub fn marked(marker: &str) -> Value {
    json!({"path": marker, "text": marker})
}

/// A script for the model double: a turn whose text asks for it gets guarded calls, one a marker.
#[must_use]
pub fn guarded_calls(request: &Value) -> Value {
    let heard = request["input_text"].as_str().unwrap_or_default();
    let markers = heard.strip_prefix(GUARDED).unwrap_or_default();
    let calls: Vec<Value> = markers
        .split_whitespace()
        .map(|marker| json!({"tool_name": GUARDED_TOOL, "args": marked(marker)}))
        .collect();
    json!({"text": "As you wish.", "tool_calls": calls})
}

/// Opens a session for turns and actions.
///
/// # Errors
/// When there is none.
pub async fn session(client: &Client) -> anyhow::Result<String> {
    let body = json!({"user_id": "u-1", "conversation_id": "c-1"});
    let exchange = client
        .send(Ask::post("api-gateway", "/v3/sessions", body))
        .await;
    text(&exchange, exchange.answered(), "session_id")
}

/// Mints one decision a marker, in order of the markers. The model double must run
/// [`guarded_calls`].
///
/// # Errors
/// When an answer does not carry what it takes to decide.
pub async fn mint(
    client: &Client,
    session: &str,
    route: Route,
    markers: &[String],
) -> anyhow::Result<Vec<Minted>> {
    let per_request = if route == Route::Confirmations {
        CALLS_PER_TURN
    } else {
        1
    };
    let mut requests = Vec::new();
    for markers in markers.chunks(per_request) {
        let (client, session, markers) = (client.clone(), session.to_owned(), markers.to_vec());
        requests.push(async move { mint_once(&client, &session, route, &markers).await });
    }
    let minted: Vec<_> = stream::iter(requests)
        .buffered(MINTING_AT_ONCE)
        .collect()
        .await;
    let minted: Vec<Vec<Minted>> = minted.into_iter().collect::<anyhow::Result<_>>()?;
    Ok(minted.into_iter().flatten().collect())
}

async fn mint_once(
    client: &Client,
    session: &str,
    route: Route,
    markers: &[String],
) -> anyhow::Result<Vec<Minted>> {
    let first = marked(&markers[0]);
    let ask = match route {
        Route::Confirmations => {
            let text = format!("{GUARDED}{}", markers.join(" "));
            Ask::post(
                "api-gateway",
                "/v3/turn",
                json!({"session_id": session, "input_text": text}),
            )
        }
        Route::Actions => {
            let body = json!({"intent": GUARDED_TOOL, "params": first, "session_id": session});
            Ask::post("api-gateway", "/v3/actions/plan", body)
        }
        Route::EvaOs => {
            let body = json!({"tool_name": GUARDED_TOOL, "args": first});
            Ask::post("eva-os", "/gate-tool-call", body)
        }
    };
    let exchange = client.send(ask).await;
    let answer = exchange.answered();
    markers
        .iter()
        .map(|marker| {
            let args = marked(marker);
            let (body, id) = match route {
                Route::Confirmations => {
                    let calls = answer["tool_calls"]
                        .as_array()
                        .map_or(&[][..], Vec::as_slice);
                    let call = calls.iter().find(|call| call["args"] == args);
                    (call.unwrap_or(&Value::Null), "confirmation_id")
                }
                Route::Actions => (&answer["action"], "action_id"),
                Route::EvaOs => (answer, "approval_id"),
            };
            Ok(Minted {
                route,
                id: text(&exchange, body, id)?,
                fence: number(&exchange, body, "fence_token")?,
                args,
                minted_us: exchange.invoked_us,
                shown_us: exchange.returned_us.unwrap_or(exchange.invoked_us),
            })
        })
        .collect()
}

/// What the target shows of a decision: null when it is not among the pending ones.
pub async fn look(client: &Client, session: &str, route: Route, id: &str) -> (Exchange, Value) {
    let path = match route {
        Route::Confirmations => format!("/v3/confirmations/pending?session_id={session}"),
        Route::Actions => format!("/v3/actions/{id}"),
        Route::EvaOs => "/approvals".to_owned(),
    };
    let exchange = client.send(Ask::get(route.issuer(), &path)).await;
    let shown = pending(exchange.answered(), route, id).clone();
    (exchange, shown)
}

fn pending<'a>(answer: &'a Value, route: Route, id: &str) -> &'a Value {
    let (list, field) = match route {
        Route::Confirmations => (&answer["confirmations"], "confirmation_id"),
        Route::EvaOs => (&answer["approvals"], "approval_id"),
        Route::Actions => {
            let action = &answer["action"];
            let pending = action["state"] == "pending_approval" && action["action_id"] == id;
            return if pending { action } else { &Value::Null };
        }
    };
    let found = list
        .as_array()
        .and_then(|all| all.iter().find(|one| one[field] == id));
    found.unwrap_or(&Value::Null)
}

/// A text of an answer.
///
/// # Errors
/// When there is none, or the answer is a refusal.
pub fn text(exchange: &Exchange, body: &Value, field: &str) -> anyhow::Result<String> {
    let text = body[field]
        .as_str()
        .filter(|_| exchange.ok())
        .map(str::to_owned);
    text.ok_or_else(|| missing(exchange, field))
}

/// A number of an answer, likewise.
///
/// # Errors
/// When there is none, or the answer is a refusal.
pub fn number(exchange: &Exchange, body: &Value, field: &str) -> anyhow::Result<i64> {
    let number = body[field].as_i64().filter(|_| exchange.ok());
    number.ok_or_else(|| missing(exchange, field))
}

fn missing(exchange: &Exchange, field: &str) -> anyhow::Error {
    let answer = exchange.answered();
    anyhow!("no {field} in the answer to {}: {answer}", exchange.line())
}

/// Markers that no other run shares: prefix, seed and number.
#[must_use]
pub fn markers(seed: Seed, what: &str, n: usize) -> Vec<String> {
    let run = seed.child("markers").0;
    (0..n)
        .map(|number| format!("{what}-{run:016x}-{number}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_answers_with_one_guarded_call_a_marker_and_else_with_none() {
        let answer = guarded_calls(&json!({"input_text": "guarded:a b"}));
        let paths: Vec<_> = answer["tool_calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| &c["args"]["path"])
            .collect();
        assert_eq!(paths, ["a", "b"]);
        assert_eq!(
            guarded_calls(&json!({"input_text": "hello"}))["tool_calls"],
            json!([])
        );
    }

    #[test]
    fn a_request_shows_its_fence_where_it_is_told_to() {
        let header = Route::Confirmations.ask("cnf_1", "approve", Shown::Header(41));
        assert_eq!(header.path, "/v3/confirmations/cnf_1/approve");
        assert_eq!(header.headers["x-fence-token"], "41");
        assert_eq!(header.body, Some(json!({})));
        let body = Route::EvaOs.ask("apr_1", "deny", Shown::Body(7));
        assert_eq!(
            (body.service.as_str(), body.path.as_str()),
            ("eva-os", "/deny")
        );
        assert_eq!(
            body.body,
            Some(json!({"approval_id": "apr_1", "fence_token": 7}))
        );
        assert!(body.headers.is_empty());
    }
}
