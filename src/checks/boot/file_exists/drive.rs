//! How file-exists is driven.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Asked, Evidence, Said};
use crate::checks::auth::tried::Tried;
use crate::checks::bench::{self, Bench};
use crate::checks::reads::{self, Things};
use crate::checks::starts::own_host;
use crate::checks::{Cx, Sent, Undecided};
use crate::contract::recorded::{Today, recorded};
use crate::contract::routes::{Route, floor, sockets, twin_of};
use crate::target::{Ask, Client, Credential, Instance, NotOpen, Setup};

/// Where a target looks for its key file when it was told nothing.
const KEY_FILE: &str = "sonia-keys.json";
/// How long a WebSocket may take to open.
const SOCKET_BOUND: Duration = Duration::from_secs(10);
/// What a turn of the recorded client says.
const RECORDED_TURN: &str = "write hello";
/// What it asks the model router.
const RECORDED_CHAT: &str = "what is in a.txt?";

/// Drives it.
///
/// # Errors
/// When there is no target, or nothing can be made on it that routes could be about.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    unconfigured(cx, seen).await?;
    cx.models.script(model);
    cx.tools.script(bench::tools());
    let target = cx.start(json!({})).await?;
    // First, while nothing is there but what the recorded client made.
    again(&target, seen).await;
    every_route(cx, &target, seen).await
}

/// A target with nothing but keys, on an address that nobody else has.
async fn unconfigured(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let host = own_host().to_string();
    let setup = cx.setup(json!({}));
    std::fs::create_dir_all(&setup.dir)?;
    let keys = setup.keys.file().to_string();
    std::fs::write(setup.dir.join(KEY_FILE), keys)?;
    let setup = Setup {
        config: json!({}),
        env: [("SONIA_HOST".to_owned(), host.clone())].into(),
        ..setup
    };
    let target = cx.start_with(setup).await?;
    let client = target.client(Credential::Operator(1));
    seen.host = host;
    for name in target.listening().services.keys() {
        let healthz = client.send(Ask::get(name, "/healthz")).await;
        let status = client.send(Ask::get(name, "/status")).await;
        let said = Said {
            status: healthz.status(),
            healthz: healthz.answered().clone(),
            config: status.answered()["config"].clone(),
        };
        seen.said.insert(name.clone(), said);
    }
    Ok(())
}

/// The recorded client gets the recorded calls, of its turn the first two.
fn model(request: &Value) -> Value {
    let read = json!({"tool_name": "file.read", "args": {"path": "a.txt"}});
    let write = json!({"tool_name": "file.write", "args": {"path": "a.txt", "text": "hello"}});
    match request["input_text"].as_str() {
        Some(RECORDED_TURN) => json!({"text": "I will.", "tool_calls": [read, write]}),
        Some(RECORDED_CHAT) => json!({"text": "I will look.", "tool_calls": [read]}),
        _ => bench::model(request),
    }
}

/// Every route, about something that exists.
async fn every_route(cx: &Cx, target: &Instance, seen: &mut Evidence) -> Result<(), Undecided> {
    let client = target.client(Credential::Operator(1));
    let things = Things::make(&client).await?;
    let bench = Bench {
        session: things.session.clone(),
        client: client.clone(),
        seed: cx.seed,
    };
    let (bench, things) = (&bench, &things);
    // What is asked under its twin's path first is not done twice: a second request is made for it.
    let made = floor().map(|route| async move {
        let mut asks = Vec::new();
        for _ in route.paths() {
            asks.push(match route.mutating {
                true => bench.request(route).await?,
                false => reads::ask(route, things)
                    .ok_or_else(|| Undecided("nobody knows how to ask it".to_owned()))?,
            });
        }
        Ok::<_, Undecided>(asks)
    });
    let made = join_all(made).await;
    for (route, asks) in floor().zip(made) {
        let asked = match asks {
            Ok(asks) => asked(target, route, asks).await,
            Err(Undecided(why)) => Asked {
                trouble: Some(why),
                ..Asked::default()
            },
        };
        seen.routes.insert(route.to_string(), asked);
    }
    for route in sockets() {
        let asked = opened(&client, route, things).await;
        seen.routes.insert(route.to_string(), asked);
    }
    Ok(())
}

/// One request a path: the route's own, and its twin's.
async fn asked(target: &Instance, route: &Route, asks: Vec<Ask>) -> Asked {
    let client = target.client(match route.min_role.as_str() {
        "service" => Credential::Service,
        _ => Credential::Operator(1),
    });
    let mut tried = Vec::new();
    for (number, ask) in asks.into_iter().enumerate() {
        let twin = twin_of(&ask.path).filter(|_| number > 0);
        let path = twin.unwrap_or_else(|| ask.path.clone());
        let exchange = client.send(Ask { path, ..ask }).await;
        tried.push(Tried::new(&exchange));
    }
    Asked {
        trouble: None,
        tried,
    }
}

async fn opened(client: &Client, route: &Route, things: &Things) -> Asked {
    let mut tried = Vec::new();
    for path in route.paths() {
        let path = path.replace("{session_id}", &things.session);
        let opened = client.open(&route.service, &path, SOCKET_BOUND).await;
        let (status, code) = match opened {
            Ok(_) => (101, String::new()),
            Err(NotOpen::Refused(status)) => (status, String::new()),
            Err(NotOpen::Failed(why)) => (0, why),
        };
        tried.push(Tried {
            service: route.service.clone(),
            line: format!("WS {path}"),
            status,
            code,
            ..Tried::default()
        });
    }
    Asked {
        trouble: None,
        tried,
    }
}

/// What a v4.6 client asked, once more.
async fn again(target: &Instance, seen: &mut Evidence) {
    let mut today = Today::default();
    for (name, recorded) in recorded() {
        let credential = match recorded.answer.status {
            401 => Credential::None,
            _ => Credential::Operator(1),
        };
        let client = target.client(credential);
        let ask = Ask {
            body: today.body(recorded),
            ..Ask::new(&recorded.service, &recorded.method, &today.path(recorded))
        };
        let exchange = client.send(ask).await;
        today.learn(&recorded.answer.body, exchange.answered());
        let sent = Sent::new(&exchange, client.credential());
        seen.recorded.push(((*name).to_owned(), sent));
    }
}
