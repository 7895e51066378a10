//! Gate auth-coverage: every route of every service, HTTP and WebSocket, asks for credentials, but
//! for exactly the three that are documented as open.
//!
//! The matrix is made of the contract's route table, up to v4.6, each route under its twin's path
//! too. Without credentials a request gets 401 and a WebSocket is not opened (or is closed before
//! anything is served on it); the same valid request under an operator's key is not refused for want
//! of credentials, and such a WebSocket answers a ping. The open routes answer everybody. Paths that
//! are nearly one of them, sent as they stand, get 401 like any other.

mod drive;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::tried::Tried;
use crate::checks::Judgement;
use crate::contract::routes::{Route, floor, services, sockets};

pub use drive::drive;

/// The paths that are open without credentials.
pub const OPEN: [&str; 3] = ["/healthz", "/version", "/openapi.json"];
/// Paths that are nearly open.
pub const NEARLY: [&str; 20] = [
    "/healthzz",
    "/healthz/",
    "/healthz/x",
    "/healthz/../status",
    "/healthz/./status",
    "/healthz/%2e%2e/status",
    "/healthz%2f..%2fstatus",
    "/%68ealthz",
    "//healthz",
    "/./healthz",
    "/Healthz",
    "/HEALTHZ",
    "/healthz;status",
    "/version/",
    "/version/status",
    "/versions",
    "/openapi.json/status",
    "/openapi.jsonx",
    "/openapi",
    "/status?path=/healthz",
];
/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// By the route's name.
    pub routes: BTreeMap<String, Seen>,
    /// By the route's name.
    pub sockets: BTreeMap<String, Socket>,
    /// Paths that are nearly open, of every service, without credentials.
    pub nearly: Vec<Tried>,
}

/// What was seen of one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Why it could not be driven, if it could not.
    pub trouble: Option<String>,
    /// Without credentials, under every path that it has.
    pub nobody: Vec<Tried>,
    /// Under an operator's key.
    pub operator: Option<Tried>,
}

/// What was seen of one WebSocket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Socket {
    /// Why it could not be driven, if it could not.
    pub trouble: Option<String>,
    /// Without credentials and with a key that nobody has, under every path that it has.
    pub nobody: Vec<Opened>,
    /// Under an operator's key.
    pub operator: Option<Opened>,
}

/// One try to open a WebSocket, and a ping on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The path.
    pub path: String,
    /// 101, or the status that it was refused with; 0 without an answer.
    pub status: u16,
    /// What came back: a frame's type, `closed`, or why there is no socket.
    pub heard: String,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["routes", "websockets", "open_routes", "nearly_open"] {
        judgement.exercised(counter, 0);
    }
    for route in floor() {
        match seen.routes.get(&route.to_string()) {
            None => judgement.undecided(format!("{route}: not driven")),
            Some(one) => judge_route(route, one, &mut judgement),
        }
    }
    for route in sockets() {
        match seen.sockets.get(&route.to_string()) {
            None => judgement.undecided(format!("{route}: not driven")),
            Some(one) => judge_socket(route, one, &mut judgement),
        }
    }
    for tried in &seen.nearly {
        // What is escaped may be refused before anybody is asked: that is syntax.
        let escaped = tried.line.contains('%');
        let right = tried.status == 401 || (escaped && tried.status == 400);
        judgement.exercised("nearly_open", u64::from(right));
        judgement.expect(right, || {
            format!("without credentials: {tried}, expected 401")
        });
    }
    let expected = services().len() * NEARLY.len();
    if seen.nearly.len() < expected {
        let n = seen.nearly.len();
        judgement.undecided(format!(
            "{n} paths that are nearly open, expected {expected}"
        ));
    }
    judgement.detail = format!(
        "{} routes and {} WebSockets ask for credentials, {} are open, {} paths near them are not: \
         {} violations",
        judgement.exercised["routes"],
        judgement.exercised["websockets"],
        judgement.exercised["open_routes"],
        judgement.exercised["nearly_open"],
        judgement.violations.len()
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

fn judge_route(route: &Route, one: &Seen, judgement: &mut Judgement) {
    if let Some(why) = &one.trouble {
        judgement.undecided(format!("{route}: {why}"));
        return;
    }
    let before = judgement.violations.len();
    let open = OPEN.contains(&route.path.as_str());
    let expected = if open { 200 } else { 401 };
    for tried in &one.nobody {
        judgement.expect(tried.status == expected, || {
            format!("without credentials: {tried}, expected {expected}")
        });
    }
    match &one.operator {
        None => judgement.undecided(format!("{route}: no operator asked")),
        Some(tried) => judgement.expect(![0, 401].contains(&tried.status), || {
            format!("an operator: {tried}, expected anything but 401")
        }),
    }
    if one.nobody.len() < route.paths().count() {
        judgement.undecided(format!("{route}: not asked without credentials"));
    } else if judgement.violations.len() == before {
        judgement.exercised(if open { "open_routes" } else { "routes" }, 1);
    }
}

fn judge_socket(route: &Route, one: &Socket, judgement: &mut Judgement) {
    if let Some(why) = &one.trouble {
        judgement.undecided(format!("{route}: {why}"));
        return;
    }
    let before = judgement.violations.len();
    for opened in &one.nobody {
        let Opened {
            path,
            status,
            heard,
        } = opened;
        let closed = *status == 101 && heard == "closed";
        judgement.expect(*status == 401 || closed, || {
            format!(
                "without credentials: WS {path} of {}: got {status} and {heard}, expected 401 or a \
                 close",
                route.service
            )
        });
    }
    match &one.operator {
        None => judgement.undecided(format!("{route}: no operator asked")),
        Some(opened) => judgement.expect(opened.status == 101 && opened.heard == "ack", || {
            format!(
                "an operator: WS {} of {}: got {} and {}, expected 101 and an ack of the ping",
                opened.path, route.service, opened.status, opened.heard
            )
        }),
    }
    // Without credentials and with wrong ones.
    if one.nobody.len() < 2 * route.paths().count() {
        judgement.undecided(format!("{route}: not asked without credentials"));
    } else if judgement.violations.len() == before {
        judgement.exercised("websockets", 1);
    }
}
