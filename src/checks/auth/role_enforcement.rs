//! Gate role-enforcement: an observer reads what the route table says and changes nothing; whoever
//! has no role that is known may do nothing.
//!
//! The matrix is made of the contract's route table, up to v4.6. Each route is asked twice, because
//! what is remembered between two calls may be less than what was known at the first: by an observer,
//! by a service on an observer's behalf, on behalf of somebody with an unknown role and of somebody
//! without one, and by somebody whom the key file gives an unknown role (a target that does not start
//! with such a file refuses it too). No table but the audit logs may have changed. Then an operator
//! does the same, and is served.

mod drive;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::tables::Look;
use super::tried::Tried;
use crate::checks::Judgement;
use crate::contract::routes::{Route, floor};

pub use drive::drive;

/// How often each route is asked by each.
const CALLS: usize = 2;
/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Whether the target started with somebody of an unknown role in its key file, or its exit code.
    pub unknown_in_file: Option<Started>,
    /// By the route's name.
    pub routes: BTreeMap<String, Seen>,
    /// What had changed after all reads; none if nobody looked.
    pub after_reads: Option<Look>,
    /// What had changed after what is handed on to a backend; none if nobody looked.
    pub after_handed_on: Option<Look>,
}

/// What a target does with a role that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    /// It starts.
    Ready,
    /// It does not.
    Exited(Option<i32>),
}

/// What was seen of one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Why it could not be driven, if it could not.
    pub trouble: Option<String>,
    /// Calls of those who may not, or may only read.
    pub calls: Vec<Call>,
    /// What had changed after them, of a mutating route; none if nobody looked.
    pub after_calls: Option<Look>,
    /// An operator's, or a service's where only services may.
    pub operator: Option<Tried>,
    /// What had changed after it.
    pub after_operator: Option<Look>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// By whom.
    pub who: Who,
    /// What came of it.
    pub tried: Tried,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// An observer.
    Observer,
    /// A service, for an observer.
    ForObserver,
    /// A service, for somebody of an unknown role.
    ForUnknown,
    /// A service, for somebody of no role.
    ForRoleless,
    /// Somebody of an unknown role.
    Unknown,
}

impl Who {
    const ALL: [Self; 5] = [
        Self::Observer,
        Self::ForObserver,
        Self::ForUnknown,
        Self::ForRoleless,
        Self::Unknown,
    ];

    /// Whether the contract allows this answer, and which it asks for.
    fn allows(self, min_role: &str, tried: &Tried) -> (bool, &'static str) {
        let known = matches!(self, Self::Observer | Self::ForObserver);
        match (min_role, known) {
            ("none", _) | ("observer", true) => (tried.ok(), "2xx"),
            // A role that is not there may be a header of the wrong form as well.
            _ if self == Self::ForRoleless => ([400, 403].contains(&tried.status), "400 or 403"),
            _ => (tried.status == 403, "403"),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observer => "an observer",
            Self::ForObserver => "a service for an observer",
            Self::ForUnknown => "a service for somebody of an unknown role",
            Self::ForRoleless => "a service for somebody without a role",
            Self::Unknown => "somebody of an unknown role",
        })
    }
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut whole, mut refused, mut allowed, mut operators) = (0, 0, 0, 0);
    let asks_unknown = judge_start(seen, &mut judgement);
    for route in floor() {
        let name = route.to_string();
        let Some(one) = seen.routes.get(&name) else {
            judgement.undecided(format!("{name} was not driven"));
            continue;
        };
        let found = violations(one, route);
        let missing = missing(one, route, asks_unknown);
        whole += u64::from(found.is_empty() && missing.is_empty());
        for Call { who, tried } in &one.calls {
            let (right, expected) = who.allows(&route.min_role, tried);
            allowed += u64::from(right && expected == "2xx");
            refused += u64::from(right && expected != "2xx");
        }
        operators += u64::from(one.operator.as_ref().is_some_and(Tried::ok));
        for what in found {
            judgement.violation(format!("{name}: {what}"));
        }
        for what in missing {
            judgement.undecided(format!("{name}: {what}"));
        }
    }
    match &seen.after_reads {
        None => judgement.undecided("nobody looked at what the reads changed"),
        Some(look) => judgement.violations.extend(changed("reads", look)),
    }
    match &seen.after_handed_on {
        None => judgement.undecided("nobody looked at what was changed by what is handed on"),
        // The backend is called, by those who may: that is no table.
        Some(look) => {
            let tables = changed("questions", look).filter(|what| !what.contains("calls of "));
            judgement.violations.extend(tables);
        }
    }
    judgement.exercised("routes", whole);
    judgement.exercised("refused", refused);
    judgement.exercised("allowed", allowed);
    judgement.exercised("operators", operators);
    judgement.detail = format!(
        "{whole} routes, each asked twice by observers and by those without a role: {refused} calls \
         refused, {allowed} allowed, {operators} operators served: {} violations",
        judgement.violations.len()
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

/// Whether somebody of an unknown role can be asked about.
fn judge_start(seen: &Evidence, judgement: &mut Judgement) -> bool {
    match seen.unknown_in_file {
        Some(Started::Ready) => return true,
        Some(Started::Exited(Some(code))) if code != 0 => {}
        Some(Started::Exited(code)) => {
            let got = code.map_or("a signal".to_owned(), |code| code.to_string());
            judgement.violation(format!(
                "a start with an unknown role in the key file ended with {got}, expected it ready \
                 or an exit code that is not 0"
            ));
        }
        None => judgement.undecided("nothing was started with an unknown role in the key file"),
    }
    false
}

fn changed<'a>(what: &'a str, look: &'a Look) -> impl Iterator<Item = String> + 'a {
    look.effects().into_iter().map(move |name| {
        let (was, is) = &look.changed[name];
        format!("{what} of those who may not changed {name} from {was} to {is}, expected no change")
    })
}

/// What contradicts the claim on one route.
fn violations(one: &Seen, route: &Route) -> Vec<String> {
    let mut found = Vec::new();
    for Call { who, tried } in &one.calls {
        let (right, expected) = who.allows(&route.min_role, tried);
        if !right {
            found.push(format!("{who}: {tried}, expected {expected}"));
        }
    }
    if let Some(look) = &one.after_calls {
        found.extend(changed("calls", look));
    }
    if let Some(tried) = &one.operator {
        let idle = one
            .after_operator
            .as_ref()
            .is_some_and(|look| look.effects().is_empty());
        if !tried.ok() {
            found.push(format!("an operator: {tried}, expected 2xx"));
        } else if route.mutating && idle {
            found.push(format!(
                "an operator: {tried}, but no table changed, expected an effect"
            ));
        }
    }
    found
}

/// What was not driven or not looked at.
fn missing(one: &Seen, route: &Route, asks_unknown: bool) -> Vec<String> {
    let mut missing: Vec<String> = one.trouble.iter().cloned().collect();
    let answered: BTreeSet<(Who, &str)> = one
        .calls
        .iter()
        .map(|call| (call.who, call.tried.id.as_str()))
        .collect();
    for who in Who::ALL {
        let n = answered.iter().filter(|(by, _)| *by == who).count();
        if n < CALLS && (who != Who::Unknown || asks_unknown) {
            missing.push(format!("{who} called {n} times, expected {CALLS}"));
        }
    }
    let looked = one.after_calls.is_some() && one.after_operator.is_some();
    if one.operator.is_none() || (route.mutating && !looked) {
        missing.push("no operator called, or nobody looked at what changed".to_owned());
    }
    missing
}
