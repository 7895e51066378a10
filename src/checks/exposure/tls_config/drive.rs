//! How tls-config is driven.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Evidence, Given, Secure, Served, Start};
use crate::base::json::sha256_hex;
use crate::checks::bench;
use crate::checks::starts::{WATCHED, attempt, place};
use crate::checks::{Cx, Undecided};
use crate::target::secure::{Pair, shown};
use crate::target::{Answer, Authority, Credential, Instance, Setup, raw};

/// How long one request may take.
const BOUND: Duration = Duration::from_secs(10);

/// Drives it.
///
/// # Errors
/// When a start fails for a reason that says nothing of the target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(bench::model);
    cx.tools.script(bench::tools());
    let authority = Authority::new()?;
    let mut starts = JoinSet::new();
    let mut certificate = Vec::new();
    let _span = cx.span("starts");
    for (number, given) in (0..).zip(std::iter::once(Given::Pair).chain(Given::BAD)) {
        let mut setup = cx.setup(json!({}));
        let address = place(&mut setup, number)?;
        let pair = authority.issue(address.ip())?;
        let other = authority.issue(address.ip())?;
        give(&mut setup, given, &pair, &other)?;
        if given == Given::Pair {
            certificate = pair.der;
        }
        let launcher = cx.launcher.clone();
        starts.spawn(async move { (given, attempt(&launcher, setup, address).await) });
    }
    let mut whole = None;
    while let Some(started) = starts.join_next().await {
        let (given, attempt) = started?;
        let attempt = attempt?;
        seen.starts.push(Start {
            given,
            outcome: attempt.outcome,
            looks: attempt.looks,
            reached: attempt.reached,
        });
        if given == Given::Pair {
            whole = attempt.target;
        }
    }
    seen.starts.sort_by_key(|start| start.given);
    if let Some(target) = whole {
        seen.served = Some(served(&authority, &target, &certificate).await);
    }
    Ok(())
}

/// Writes the files, and names those that are to be named.
fn give(setup: &mut Setup, given: Given, pair: &Pair, other: &Pair) -> Result<(), Undecided> {
    let (certificate, key) = (setup.dir.join("cert.pem"), setup.dir.join("key.pem"));
    std::fs::create_dir_all(&setup.dir)?;
    let certificate_text = match given {
        Given::NoCertificate => None,
        Given::Garbage => Some("no certificate"),
        _ => Some(pair.certificate.as_str()),
    };
    let key_text = match given {
        Given::NoKey => None,
        Given::OtherKey => Some(other.key.as_str()),
        Given::EmptyKey => Some(""),
        _ => Some(pair.key.as_str()),
    };
    for (path, text) in [(&certificate, certificate_text), (&key, key_text)] {
        if let Some(text) = text {
            std::fs::write(path, text)?;
        }
    }
    let mut name = |variable: &str, path: &std::path::Path| {
        let path = path.display().to_string();
        setup.env.insert(variable.to_owned(), path);
    };
    if given != Given::KeyOnly {
        name("SONIA_TLS_CERT", &certificate);
    }
    if given != Given::CertificateOnly {
        name("SONIA_TLS_KEY", &key);
    }
    Ok(())
}

/// Asks a target with a whole pair.
async fn served(authority: &Authority, target: &Instance, certificate: &[u8]) -> Served {
    let mut seen = Served {
        certificate: sha256_hex(certificate),
        ..Served::default()
    };
    for (name, url) in &target.listening().services {
        let secure = url.strip_prefix("https://");
        let address = secure.or(url.strip_prefix("http://"));
        let address = address.and_then(|rest| rest.parse::<SocketAddr>().ok());
        let Some(address) = address else { continue };
        seen.secure
            .push(secure_health(authority, name, address).await);
        let plain = within(plain_health(address)).await;
        let status = plain.map_or(0, |answer| answer.status);
        seen.plain.push((name.clone(), status));
    }
    let gateway = target.listening().services.get(WATCHED).cloned();
    let address = gateway.and_then(|url| url.strip_prefix("https://")?.parse().ok());
    if let Some(address) = address {
        let line = Line {
            authority,
            address,
            target,
        };
        for credential in [Credential::None, Credential::Operator(1)] {
            let answer = line.ask(&credential, ("GET", "/status"), None).await;
            seen.guarded.push(answer.map_or(0, |answer| answer.status));
        }
        seen.tool_calls = line.turn().await;
    }
    seen
}

async fn within<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || Err(format!("no answer within {} ms", BOUND.as_millis()));
    let outcome = tokio::time::timeout(BOUND, answer).await;
    outcome.unwrap_or_else(|_| late())
}

async fn secure_health(authority: &Authority, service: &str, address: SocketAddr) -> Secure {
    let mut shown_there = None;
    let answer = within(async {
        let stream = authority.connect(address).await;
        let stream = stream.map_err(|error| format!("{error:#}"))?;
        shown_there = shown(&stream).map(|der| sha256_hex(&der));
        let headers = host(address);
        raw::exchange(stream, ("GET", "/healthz"), &headers, None).await
    });
    let healthz = match answer.await {
        Ok(answer) => {
            let who = answer.body["service"].as_str().unwrap_or("nobody");
            (answer.status, who.to_owned())
        }
        Err(why) => (0, why),
    };
    Secure {
        service: service.to_owned(),
        shown: shown_there,
        healthz,
    }
}

async fn plain_health(address: SocketAddr) -> Result<Answer, String> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| error.to_string())?;
    raw::exchange(stream, ("GET", "/healthz"), &host(address), None).await
}

fn host(address: SocketAddr) -> BTreeMap<String, String> {
    BTreeMap::from([("host".to_owned(), address.to_string())])
}

/// The gateway over TLS.
struct Line<'a> {
    authority: &'a Authority,
    address: SocketAddr,
    target: &'a Instance,
}

impl Line<'_> {
    async fn ask(
        &self,
        credential: &Credential,
        line: (&str, &str),
        body: Option<Value>,
    ) -> Result<Answer, String> {
        let mut headers = host(self.address);
        let shown = self.target.setup().keys.header(credential);
        headers.extend(shown.map(|(name, value)| (name.to_owned(), value)));
        within(async {
            let stream = self.authority.connect(self.address).await;
            let stream = stream.map_err(|error| format!("{error:#}"))?;
            raw::exchange(stream, line, &headers, body.as_ref()).await
        })
        .await
    }

    /// The tool calls of a turn whose tool another service runs.
    async fn turn(&self) -> Value {
        let operator = Credential::Operator(1);
        let body = json!({"user_id": "u-1", "conversation_id": "c-1"});
        let opened = self.ask(&operator, ("POST", "/v3/sessions"), Some(body));
        let Ok(opened) = opened.await else {
            return Value::Null;
        };
        let text = format!("{}tls", bench::READ);
        let body = json!({"session_id": opened.body["session_id"], "input_text": text});
        let turn = self.ask(&operator, ("POST", "/v3/turn"), Some(body)).await;
        turn.map_or(Value::Null, |turn| turn.body["tool_calls"].clone())
    }
}
