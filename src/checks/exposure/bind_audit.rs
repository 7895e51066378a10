//! Gate bind-audit: every listener is on loopback unless something else is configured, and no two
//! services share a port.
//!
//! What counts are the addresses that the kernel knows of the target's processes, not those that the
//! target prints. One target is started with no word about addresses: each of its listeners is on
//! 127.0.0.1, every service is announced on one of them under its own name, and the same ports are
//! tried at other addresses of this machine, where nobody may be. Two more are sent elsewhere, one
//! by its config file and one by its environment, and keep the default ports: there, every port of
//! the table has its one listener. Where the gateway is announced, sessions are opened.

mod drive;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checks::Judgement;
use crate::contract::{defaults, routes};

pub use drive::drive;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Every start.
    pub starts: Vec<Start>,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// What it was told about addresses.
    pub told: Told,
    /// Its listeners, as the kernel has them.
    pub listeners: Vec<SocketAddr>,
    /// The services that it announced: where, and who answers there.
    pub services: BTreeMap<String, Announced>,
    /// Its ports, tried at other addresses of this machine.
    pub elsewhere: Vec<Elsewhere>,
    /// Two sessions that were opened there: their ids.
    pub sessions: Vec<Value>,
}

/// One service, as it was announced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announced {
    /// Its URL.
    pub url: String,
    /// What whoever answers its health check calls itself; null without an answer.
    pub calls_itself: Value,
}

/// A port at an address where nobody should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The address.
    pub address: SocketAddr,
    /// Whether somebody was there.
    pub reached: bool,
}

/// What a target is told about addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Nothing but to choose its ports.
    Nothing,
    /// Another host, by the config file.
    ByFile(Ipv4Addr),
    /// Another host, by the environment.
    ByEnvironment(Ipv4Addr),
}

impl Told {
    fn host(self) -> IpAddr {
        match self {
            Self::Nothing => Ipv4Addr::LOCALHOST.into(),
            Self::ByFile(host) | Self::ByEnvironment(host) => host.into(),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("told nothing"),
            Self::ByFile(host) => write!(f, "told {host} by its config"),
            Self::ByEnvironment(host) => write!(f, "told {host} by its environment"),
        }
    }
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["listeners", "refused_addresses", "overrides"] {
        judgement.exercised(counter, 0);
    }
    for start in &seen.starts {
        let before = judgement.violations.len();
        hosts(start, &mut judgement);
        services(start, &mut judgement);
        elsewhere(start, &mut judgement);
        served(start, &mut judgement);
        let right = u64::from(judgement.violations.len() == before && !start.listeners.is_empty());
        match start.told {
            Told::Nothing => {
                judgement.exercised("listeners", start.listeners.len() as u64);
            }
            Told::ByFile(_) | Told::ByEnvironment(_) => {
                default_ports(start, &mut judgement);
                judgement.exercised("overrides", right);
            }
        }
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} listeners on loopback, {} tries at other addresses refused, {} targets sent elsewhere \
         listened there: {} violations",
        count("listeners"),
        count("refused_addresses"),
        count("overrides"),
        judgement.violations.len()
    );
    judgement
}

/// Every listener is where it was told to be, and alone there.
fn hosts(start: &Start, judgement: &mut Judgement) {
    let (told, host) = (start.told, start.told.host());
    for address in &start.listeners {
        judgement.expect(address.ip() == host, || {
            format!("{told}: a listener on {address}, expected on {host}")
        });
    }
    for pair in start.listeners.windows(2).filter(|two| two[0] == two[1]) {
        judgement.violation(format!(
            "{told}: two listeners on {}, expected one",
            pair[0]
        ));
    }
}

/// The services are announced where they listen, each on a port of its own.
fn services(start: &Start, judgement: &mut Judgement) {
    let told = start.told;
    let mut ports = BTreeMap::new();
    for name in routes::services() {
        let Some(one) = start.services.get(name) else {
            judgement.violation(format!(
                "{told}: no {name} was announced, expected ten services"
            ));
            continue;
        };
        let Some(address) = address(&one.url) else {
            judgement.violation(format!("{told}: {name} is announced at {}", one.url));
            continue;
        };
        judgement.expect(start.listeners.contains(&address), || {
            format!("{told}: {name} is announced at {address}, where nobody listens")
        });
        if let Some(other) = ports.insert(address.port(), name) {
            judgement.violation(format!(
                "{told}: {name} and {other} share port {}, expected one each",
                address.port()
            ));
        }
        let got = &one.calls_itself;
        judgement.expect(*got == name, || {
            format!("{told}: {got} answers at {address}, expected {name}")
        });
    }
}

/// What listens there does what it is there for: two sessions are two.
fn served(start: &Start, judgement: &mut Judgement) {
    let two = match &start.sessions[..] {
        [first, second] => first.is_string() && second.is_string() && first != second,
        _ => false,
    };
    judgement.expect(two, || {
        let (told, got) = (start.told, &start.sessions);
        format!("{told}: opened the sessions {got:?}, expected two")
    });
}

fn elsewhere(start: &Start, judgement: &mut Judgement) {
    for Elsewhere { address, reached } in &start.elsewhere {
        judgement.exercised("refused_addresses", u64::from(!reached));
        judgement.expect(!reached, || {
            let told = start.told;
            format!("{told}: somebody was reached at {address}, expected nobody there")
        });
    }
}

/// A target that was told no ports has those of the table.
fn default_ports(start: &Start, judgement: &mut Judgement) {
    for name in routes::services() {
        let port = defaults::port(name);
        let address = port.map(|port| SocketAddr::new(start.told.host(), port));
        let there = address.is_some_and(|address| start.listeners.contains(&address));
        judgement.expect(there, || {
            let told = start.told;
            format!("{told}: no listener on the port {port:?} of {name}")
        });
    }
}

/// The address of a URL.
fn address(url: &str) -> Option<SocketAddr> {
    let (_, rest) = url.split_once("://")?;
    rest.trim_end_matches('/').parse().ok()
}
