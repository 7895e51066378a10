//! How cors-env is driven.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;

use super::{Evidence, From, Said};
use crate::base::json::sha256_hex;
use crate::checks::{Cx, Undecided};
use crate::contract::{defaults, routes};
use crate::target::{Ask, Client, Credential, Exchange, Instance};

/// The service that is asked from every origin.
const FIRST: &str = "api-gateway";

/// Drives it.
///
/// # Errors
/// When there is no target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let digest = sha256_hex(cx.seed.child("origins").to_string().as_bytes());
    let chosen = [
        format!("https://ops-{}.example", &digest[..8]),
        format!("http://console-{}.test:8443", &digest[8..16]),
    ];
    let usual: Vec<String> = defaults::origins().map(str::to_owned).collect();
    let all = everyone(&chosen, &usual);
    for environment in [None, Some(chosen.to_vec())] {
        let mut setup = cx.setup(json!({}));
        if let Some(list) = &environment {
            let text = list.join(", ");
            setup.env.insert("SONIA_CORS_ORIGINS".to_owned(), text);
        }
        let target = cx.start_with(setup).await?;
        let listed = environment.clone().unwrap_or_else(|| usual.clone());
        ask_all(&target, (&environment, &listed), &all, seen).await;
    }
    Ok(())
}

/// The origins of both lists, and those that are nearly one of them.
fn everyone(chosen: &[String; 2], usual: &[String]) -> BTreeSet<String> {
    let [first, second] = chosen;
    let mut all: BTreeSet<String> = chosen.iter().chain(usual).cloned().collect();
    all.extend([
        format!("{first}.evil.example"),
        first.replacen("https://", "https://evil-", 1),
        first.replacen("https://", "http://", 1),
        format!("{first}:8443"),
        second.replacen(":8443", ":8444", 1),
        "https://evil.example".to_owned(),
        "null".to_owned(),
    ]);
    let other_port = |origin: &String| {
        origin
            .rsplit_once(':')
            .map(|(host, _)| format!("{host}:3001"))
    };
    all.extend(usual.iter().filter_map(other_port));
    all
}

type List<'a> = (&'a Option<Vec<String>>, &'a Vec<String>);

async fn ask_all(target: &Instance, lists: List<'_>, all: &BTreeSet<String>, seen: &mut Evidence) {
    let (nobody, operator) = (
        target.client(Credential::None),
        target.client(Credential::Operator(1)),
    );
    for service in routes::services() {
        // The first is asked from everywhere, the others from one end of the list and the other.
        let some = usize::from(service != FIRST) * (all.len() / 4);
        let asked = all.iter().step_by(some.max(1));
        let asked: BTreeSet<&String> = asked.chain(lists.1.first()).collect();
        let each = asked.into_iter().map(|origin| {
            let (nobody, operator) = (&nobody, &operator);
            async move {
                From {
                    service: service.to_owned(),
                    environment: lists.0.clone(),
                    listed: lists.1.clone(),
                    origin: origin.clone(),
                    preflight: preflight(nobody, service, origin).await,
                    request: request(operator, service, origin).await,
                }
            }
        });
        seen.origins.extend(join_all(each).await);
    }
}

/// What a browser asks before a POST with credentials.
async fn preflight(client: &Client, service: &str, origin: &str) -> Said {
    let ask = Ask::new(service, "OPTIONS", "/status")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type",
        );
    said(&client.send(ask).await)
}

async fn request(client: &Client, service: &str, origin: &str) -> Said {
    let ask = Ask::get(service, "/status").header("origin", origin);
    said(&client.send(ask).await)
}

fn said(exchange: &Exchange) -> Said {
    let headers = exchange.answer.as_ref().map(|answer| &answer.headers);
    let header = |name: &str| {
        let name = format!("access-control-allow-{name}");
        headers.and_then(|all| all.get(&name).cloned())
    };
    Said {
        status: exchange.status(),
        origin: header("origin"),
        methods: header("methods"),
        headers: header("headers"),
    }
}
