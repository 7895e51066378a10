//! Gate file-exists: started from a clean directory, the target serves the ten services and every
//! route of the v4.6 table, under the right names and with the documented defaults.
//!
//! One target gets an empty config file, a key file where the default looks for it, and a host of its
//! own by the environment: it announces ten services and no more, each says who it is, and each shows
//! the config table as its effective config. Another one, with doubles behind it, is asked what a v4.6
//! client asked, in the words of the recorded samples: the answers still have the recorded statuses,
//! and everything in them that the client read. Then it is asked on every route, about something that
//! exists.

mod drive;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::auth::tried::Tried;
use crate::checks::{Judgement, Sent};
use crate::contract::recorded::{lacking, named};
use crate::contract::routes::{Route, floor, services, sockets};
use crate::contract::{defaults, recorded};

pub use drive::drive;

/// The contract that a client of v4.6 holds on to.
const CONTRACT: &str = "v4.6.0";
/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The host that the unconfigured target was told.
    pub host: String,
    /// What each service of it says; by the names that it announced.
    pub said: BTreeMap<String, Said>,
    /// Every route, by its name.
    pub routes: BTreeMap<String, Asked>,
    /// Recorded requests, made again, in order.
    pub recorded: Vec<(String, Sent)>,
}

/// What one service says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// The status of its health check.
    pub status: u16,
    /// The answer to it.
    pub healthz: Value,
    /// Its effective config.
    pub config: Value,
}

/// What was seen of one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Why it could not be asked, if it could not.
    pub trouble: Option<String>,
    /// Under every path that it has.
    pub tried: Vec<Tried>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["services", "defaults", "routes", "recorded_requests"] {
        judgement.exercised(counter, 0);
    }
    if seen.said.is_empty() {
        judgement.undecided("no unconfigured target was asked");
    } else {
        judge_services(seen, &mut judgement);
    }
    for route in floor().chain(sockets()) {
        match seen.routes.get(&route.to_string()) {
            None => judgement.undecided(format!("{route}: not asked")),
            Some(asked) => judge_route(route, asked, &mut judgement),
        }
    }
    for (name, sent) in &seen.recorded {
        judge_recorded(name, sent, &mut judgement);
    }
    let all = recorded::recorded().len();
    if seen.recorded.len() < all {
        let n = seen.recorded.len();
        judgement.undecided(format!(
            "{n} recorded requests were made again, expected {all}"
        ));
    }
    judgement.detail = format!(
        "{} services under their names, {} with the default config, {} routes served, {} recorded \
         requests answered as before: {} violations",
        judgement.exercised["services"],
        judgement.exercised["defaults"],
        judgement.exercised["routes"],
        judgement.exercised["recorded_requests"],
        judgement.violations.len()
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

fn judge_services(seen: &Evidence, judgement: &mut Judgement) {
    let ten = services();
    for name in seen
        .said
        .keys()
        .filter(|name| !ten.contains(&name.as_str()))
    {
        judgement.violation(format!(
            "a service {name}, expected the ten of the contract"
        ));
    }
    let table = table(&seen.host);
    for name in ten {
        let Some(said) = seen.said.get(name) else {
            judgement.violation(format!("no service {name}, expected ten"));
            continue;
        };
        let expected = json!([200, true, name, CONTRACT]);
        let healthz = &said.healthz;
        let got = json!([
            said.status,
            healthz["ok"],
            healthz["service"],
            healthz["contract_version"]
        ]);
        judgement.exercised("services", u64::from(got == expected));
        judgement.expect(got == expected, || {
            format!("the health of {name}: got {got}, expected {expected}")
        });
        let mut differing = Vec::new();
        differences("", &table, &said.config, &mut differing);
        judgement.exercised("defaults", u64::from(differing.is_empty()));
        for difference in differing {
            judgement.violation(format!("the config of {name}: {difference}"));
        }
    }
}

/// The config table, on this host.
fn table(host: &str) -> Value {
    let mut table = defaults::defaults().clone();
    let services = table["services"].as_object_mut();
    for service in services.into_iter().flat_map(|all| all.values_mut()) {
        service["host"] = json!(host);
    }
    table
}

/// The keys in which a config is not the table.
fn differences(at: &str, table: &Value, config: &Value, found: &mut Vec<String>) {
    match (table, config) {
        (Value::Object(table), Value::Object(config)) => {
            let mut names: Vec<&String> = table.keys().chain(config.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let of = |side: &serde_json::Map<String, Value>| {
                    side.get(name).cloned().unwrap_or(json!("absent"))
                };
                let at = format!("{at}.{name}");
                differences(&at, &of(table), &of(config), found);
            }
        }
        (table, config) if table != config => {
            let key = at.trim_start_matches('.');
            found.push(format!("got {key} {config}, expected {table}"));
        }
        _ => {}
    }
}

fn judge_route(route: &Route, asked: &Asked, judgement: &mut Judgement) {
    if let Some(why) = &asked.trouble {
        judgement.undecided(format!("{route}: {why}"));
        return;
    }
    let before = judgement.violations.len();
    for tried in &asked.tried {
        judgement.expect(![0, 404, 405].contains(&tried.status), || {
            format!("{tried}, expected anything but 404 and 405")
        });
    }
    let whole = asked.tried.len() >= route.paths().count();
    if !whole {
        judgement.undecided(format!("{route}: not asked under every path"));
    }
    let right = whole && judgement.violations.len() == before;
    judgement.exercised("routes", u64::from(right));
}

fn judge_recorded(name: &str, sent: &Sent, judgement: &mut Judgement) {
    let Some(recorded) = named(name) else {
        judgement.undecided(format!("{name} is no recorded request"));
        return;
    };
    let before = judgement.violations.len();
    let expected = recorded.answer.status;
    judgement.expect(sent.status == expected, || {
        let (line, got) = (sent.line(), sent.status);
        format!("recorded {name}, {line}: got {got}, expected {expected}")
    });
    if sent.status == expected {
        for lack in lacking(&recorded.answer.body, &sent.answer) {
            judgement.violation(format!("recorded {name}, {}: {lack}", sent.line()));
        }
    }
    let right = judgement.violations.len() == before;
    judgement.exercised("recorded_requests", u64::from(right));
}
