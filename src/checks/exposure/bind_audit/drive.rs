//! How bind-audit is driven.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Announced, Elsewhere, Evidence, Start, Told, address};
use crate::checks::starts::own_host;
use crate::checks::{Cx, Undecided};
use crate::contract::routes;
use crate::target::{Ask, Credential, Instance, listeners};

/// How long a try at an address where nobody should be may take.
const TRY_TIMEOUT: Duration = Duration::from_millis(500);

/// Drives it.
///
/// # Errors
/// When there is no target, or `/proc` cannot be read.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let (by_file, by_environment) = (own_host(), own_host());
    for told in [
        Told::Nothing,
        Told::ByFile(by_file),
        Told::ByEnvironment(by_environment),
    ] {
        let target = start(cx, told).await?;
        let pid = target.pid();
        let pid = pid.ok_or_else(|| Undecided("the target has no process of ours".to_owned()))?;
        let services = announced(&target).await;
        let elsewhere = match told {
            Told::Nothing => tried(&services).await?,
            Told::ByFile(_) | Told::ByEnvironment(_) => Vec::new(),
        };
        seen.starts.push(Start {
            told,
            listeners: listeners::of_group(pid)?,
            services,
            elsewhere,
            sessions: sessions(&target).await,
        });
    }
    Ok(())
}

async fn start(cx: &mut Cx, told: Told) -> Result<Instance, Undecided> {
    let at = |service: Value| {
        let service = |name| (name, service.clone());
        let services: BTreeMap<_, _> = routes::services().into_iter().map(service).collect();
        json!({ "services": services })
    };
    // A null takes the port away that the harness sets.
    let mut setup = match told {
        Told::Nothing => cx.setup(json!({})),
        Told::ByFile(host) => cx.setup(at(json!({"host": host, "port": null}))),
        Told::ByEnvironment(_) => cx.setup(at(json!({"port": null}))),
    };
    if let Told::ByEnvironment(host) = told {
        setup.env.insert("SONIA_HOST".to_owned(), host.to_string());
    }
    cx.start_with(setup).await
}

/// Who answers where a service is announced.
async fn announced(target: &Instance) -> BTreeMap<String, Announced> {
    let client = target.client(Credential::None);
    let listening = target.listening();
    let each = listening.services.iter().map(|(name, url)| {
        let asked = client.send(Ask::get(name, "/healthz"));
        async move {
            let calls_itself = asked.await.answered()["service"].clone();
            let url = url.clone();
            (name.clone(), Announced { url, calls_itself })
        }
    });
    join_all(each).await.into_iter().collect()
}

/// Two sessions, opened where the gateway is announced.
async fn sessions(target: &Instance) -> Vec<Value> {
    let client = target.client(Credential::Operator(1));
    let mut opened = Vec::new();
    for _ in 0..2 {
        let body = json!({"user_id": "u-1", "conversation_id": "c-1"});
        let ask = Ask::post("api-gateway", "/v3/sessions", body);
        opened.push(client.send(ask).await.answered()["session_id"].clone());
    }
    opened
}

/// The ports of these services at other addresses of this machine.
async fn tried(services: &BTreeMap<String, Announced>) -> Result<Vec<Elsewhere>, Undecided> {
    let hosts: Vec<IpAddr> = [Some(own_host().into()), outer_host()]
        .into_iter()
        .flatten()
        .collect();
    let ports = services.values().filter_map(|one| address(&one.url));
    let ports: Vec<u16> = ports.map(|address| address.port()).collect();
    let all = move || {
        let at = |host: &IpAddr, port: &u16| SocketAddr::new(*host, *port);
        let addresses = hosts
            .iter()
            .flat_map(|host| ports.iter().map(move |port| at(host, port)));
        addresses
            .map(|address| Elsewhere {
                address,
                reached: TcpStream::connect_timeout(&address, TRY_TIMEOUT).is_ok(),
            })
            .collect()
    };
    Ok(tokio::task::spawn_blocking(all).await?)
}

/// The address under which this machine is known to others, if it has one: nothing is sent.
fn outer_host() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address of a documentation network (RFC 5737): only the route to it is asked for.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let host = socket.local_addr().ok()?.ip();
    (!host.is_loopback() && !host.is_unspecified()).then_some(host)
}
