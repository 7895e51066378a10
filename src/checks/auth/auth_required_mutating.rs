//! Gate auth-required-mutating: without good credentials no mutating route changes anything.
//!
//! The matrix is made of the contract's route table: every mutating route that v4.6 knows, under its
//! path and its twin's. A valid request is sent without credentials and with several that are no
//! good; each is 401, and no table of any database may have changed, nor a double have been called.
//! Then the same request comes from an operator: it is done, and the same looks see it.

mod drive;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::tables::Look;
use super::tried::Tried;
use crate::checks::Judgement;
use crate::contract::routes::{Route, floor};

pub use drive::drive;

/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// By the route's name.
    pub routes: BTreeMap<String, Seen>,
}

/// What was seen of one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Why it could not be driven, if it could not.
    pub trouble: Option<String>,
    /// Requests that are to be refused.
    pub shut: Vec<Show>,
    /// What had changed after them; none if nobody looked.
    pub after_shut: Option<Look>,
    /// An operator's.
    pub open: Option<Tried>,
    /// What had changed after it.
    pub after_open: Option<Look>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Show {
    /// What it showed.
    pub shown: Shown,
    /// What came of it.
    pub tried: Tried,
}

/// What a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// A key that nobody has.
    Garbage,
    /// A good key under another scheme.
    OtherScheme,
    /// A service token that is none.
    WrongToken,
    /// For whom it acts, and no token.
    OnBehalf,
}

impl Shown {
    const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Garbage,
        Self::OtherScheme,
        Self::WrongToken,
        Self::OnBehalf,
    ];
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "no credentials",
            Self::Garbage => "garbage",
            Self::OtherScheme => "another scheme",
            Self::WrongToken => "a wrong service token",
            Self::OnBehalf => "X-On-Behalf-Of and no token",
        })
    }
}

/// The routes of the matrix.
fn routes() -> impl Iterator<Item = &'static Route> {
    floor().filter(|route| route.mutating)
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut whole, mut refused, mut accepted, mut tables) = (0, 0, 0, 0);
    for route in routes() {
        let name = route.to_string();
        let Some(one) = seen.routes.get(&name) else {
            judgement.undecided(format!("{name} was not driven"));
            continue;
        };
        let found = violations(one);
        let missing = missing(one, route);
        whole += u64::from(found.is_empty() && missing.is_empty());
        refused += one
            .shut
            .iter()
            .filter(|show| show.tried.status == 401)
            .count() as u64;
        accepted += u64::from(one.open.as_ref().is_some_and(Tried::ok));
        tables = tables.max(one.after_shut.as_ref().map_or(0, |look| look.tables));
        for what in found {
            judgement.violation(format!("{name}: {what}"));
        }
        for what in missing {
            judgement.undecided(format!("{name}: {what}"));
        }
    }
    judgement.exercised("mutating_routes", whole);
    judgement.exercised("refused", refused);
    judgement.exercised("accepted", accepted);
    judgement.exercised("tables", tables);
    judgement.detail = format!(
        "{whole} mutating routes: {refused} requests without good credentials refused and none of \
         {tables} tables changed by them, {accepted} of an operator done: {} violations",
        judgement.violations.len()
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

/// What contradicts the claim on one route.
fn violations(one: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    for Show { shown, tried } in &one.shut {
        if tried.status != 401 {
            found.push(format!("{shown}: {tried}, expected 401"));
        }
    }
    if let Some(look) = &one.after_shut {
        for (name, (was, is)) in &look.changed {
            found.push(format!(
                "requests without good credentials changed {name} from {was} to {is}, expected no \
                 change"
            ));
        }
    }
    if let Some(open) = &one.open {
        if !open.ok() {
            found.push(format!("an operator: {open}, expected 2xx"));
        } else if one
            .after_open
            .as_ref()
            .is_some_and(|look| look.effects().is_empty())
        {
            found.push(format!(
                "an operator: {open}, but no table changed, expected an effect"
            ));
        }
    }
    found
}

/// What was not driven or not looked at.
fn missing(one: &Seen, route: &Route) -> Vec<String> {
    let mut missing: Vec<String> = one.trouble.iter().cloned().collect();
    let paths = if route.twin.is_some() { 2 } else { 1 };
    for shown in Shown::ALL {
        let n = one.shut.iter().filter(|show| show.shown == shown).count();
        if n < paths {
            missing.push(format!("{shown} was shown on {n} of {paths} paths"));
        }
    }
    if one.after_shut.is_none() || one.after_open.is_none() || one.open.is_none() {
        missing.push("nobody looked at what changed".to_owned());
    }
    missing
}
