//! How auth-coverage is driven.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{Evidence, NEARLY, Opened, Seen, Socket};
use crate::checks::auth::tried::Tried;
use crate::checks::bench::{self, Bench};
use crate::checks::reads::{self, Things};
use crate::checks::{Cx, Undecided};
use crate::contract::routes::{Route, floor, services, sockets, twin_of};
use crate::target::{Ask, Client, Credential, Heard, NotOpen};

/// How long a WebSocket may take to open, and to answer.
const SOCKET_BOUND: Duration = Duration::from_secs(10);

/// Drives it.
///
/// # Errors
/// When there is no target, or nothing can be made on it that routes could be about.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(bench::model);
    cx.tools.script(bench::tools());
    let target = cx.start(json!({})).await?;
    let operator = target.client(Credential::Operator(1));
    let desk = Desk {
        nobody: target.client(Credential::None),
        stranger: target.client(Credential::Raw("key_of_nobody".to_owned())),
        operator: operator.clone(),
    };
    seen.nearly = desk.nearly().await;
    let things = Things::make(&operator).await?;
    let bench = Bench {
        session: things.session.clone(),
        client: operator,
        seed: cx.seed,
    };
    let (bench, things, desk) = (&bench, &things, &desk);
    let made = floor().map(|route| async move {
        let ask = match route.mutating {
            true => bench.request(route).await,
            false => reads::ask(route, things)
                .ok_or_else(|| Undecided("nobody knows how to ask it".to_owned())),
        };
        (route, ask)
    });
    for (route, ask) in join_all(made).await {
        let one = match ask {
            Ok(ask) => desk.asked(route, ask).await,
            Err(Undecided(why)) => Seen {
                trouble: Some(why),
                ..Seen::default()
            },
        };
        seen.routes.insert(route.to_string(), one);
    }
    for route in sockets() {
        let one = desk.opened(route, things).await;
        seen.sockets.insert(route.to_string(), one);
    }
    Ok(())
}

struct Desk {
    nobody: Client,
    /// Somebody with a key that is nobody's.
    stranger: Client,
    operator: Client,
}

impl Desk {
    async fn nearly(&self) -> Vec<Tried> {
        let paths = services()
            .into_iter()
            .flat_map(|service| NEARLY.map(|path| (service, path)));
        let tried = paths.map(|(service, path)| async move {
            let ask = Ask::get(service, path);
            Tried::new(&self.nobody.send_verbatim(ask).await)
        });
        join_all(tried).await
    }

    /// Nobody first: whatever a request does, it has not been done then.
    async fn asked(&self, route: &Route, ask: Ask) -> Seen {
        let mut nobody = vec![self.nobody.send(ask.clone()).await];
        if let Some(path) = route.twin.and_then(|_| twin_of(&ask.path)) {
            let twin = Ask {
                path,
                ..ask.clone()
            };
            nobody.push(self.nobody.send(twin).await);
        }
        Seen {
            trouble: None,
            nobody: nobody.iter().map(Tried::new).collect(),
            operator: Some(Tried::new(&self.operator.send(ask).await)),
        }
    }

    async fn opened(&self, route: &Route, things: &Things) -> Socket {
        let concrete = |path: String| path.replace("{session_id}", &things.session);
        let paths: Vec<String> = route.paths().map(concrete).collect();
        let mut seen = Socket::default();
        for path in &paths {
            for client in [&self.nobody, &self.stranger] {
                seen.nobody.push(ping(client, &route.service, path).await);
            }
        }
        if let Some(path) = paths.first() {
            let opened = ping(&self.operator, &route.service, path).await;
            seen.operator = Some(opened);
        }
        seen
    }
}

/// Opens a WebSocket and sends a ping.
async fn ping(client: &Client, service: &str, path: &str) -> Opened {
    let (status, heard) = match client.open(service, path, SOCKET_BOUND).await {
        Err(NotOpen::Refused(status)) => (status, "no socket".to_owned()),
        Err(NotOpen::Failed(why)) => (0, why),
        Ok(mut socket) => {
            let frame = json!({"type": "control.ping", "turn_id": null, "payload": {}});
            // A socket that is closed already is what is heard next.
            let _ = socket.say(&frame.to_string()).await;
            let heard = match socket.hear(SOCKET_BOUND).await {
                Heard::Frame(frame) => frame["type"].as_str().unwrap_or("no type").to_owned(),
                Heard::Bytes(_) => "bytes".to_owned(),
                Heard::Closed(_) => "closed".to_owned(),
                Heard::Nothing => "nothing".to_owned(),
            };
            (101, heard)
        }
    };
    Opened {
        path: path.to_owned(),
        status,
        heard,
    }
}
