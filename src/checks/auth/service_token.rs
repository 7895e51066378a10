//! Gate service-token: the token that services show each other is the operator `_service`; anything
//! that is not exactly it is nobody.
//!
//! On every service that has effects it shows the right token, which must leave an audit entry in
//! the name of `_service`, and then everything that is nearly right, which must leave none. A second
//! target is configured with an empty token: there, no token matches, the empty one included. What
//! a service does on somebody's behalf, another gate asks.

mod drive;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::tried::Tried;
use crate::checks::Judgement;
use crate::checks::audit::entries::Entry;

pub use drive::drive;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was shown, and what came of it.
    pub shows: Vec<Show>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Show {
    /// The token that the target knows.
    pub configured: Configured,
    /// The token that was shown.
    pub shown: Shown,
    /// What came of it.
    pub tried: Tried,
    /// The entries about it in the service's database; none if nobody looked.
    pub entries: Option<Vec<Entry>>,
}

/// What the target was given as its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Configured {
    /// A token.
    Token,
    /// The empty text.
    Empty,
}

/// What a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// The token itself.
    Right,
    /// Another one of the same form.
    Wrong,
    /// All but its last character.
    Shortened,
    /// Its first half.
    Half,
    /// Its first character.
    First,
    /// The token and one more character.
    Extended,
    /// Its letters in the other case.
    OtherCase,
    /// The empty text.
    Empty,
    /// No header at all.
    Nothing,
    /// The token as an API key.
    AsKey,
    /// An operator's API key, and no token: the control where no token is right.
    Operator,
}

impl Shown {
    const WRONG: [Self; 9] = [
        Self::Wrong,
        Self::Shortened,
        Self::Half,
        Self::First,
        Self::Extended,
        Self::OtherCase,
        Self::Empty,
        Self::Nothing,
        Self::AsKey,
    ];
    /// What can be shown where there is no token.
    const WRONG_WITHOUT: [Self; 3] = [Self::Wrong, Self::Empty, Self::Nothing];
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "the right token",
            Self::Wrong => "a wrong token",
            Self::Shortened => "a shortened token",
            Self::Half => "half a token",
            Self::First => "the first character of the token",
            Self::Extended => "a token with a character too many",
            Self::OtherCase => "the token in the other case",
            Self::Empty => "an empty token",
            Self::Nothing => "no token",
            Self::AsKey => "the token as a key",
            Self::Operator => "an operator's key",
        })
    }
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut accepted, mut refused, mut controls) = (0, 0, 0);
    let (mut met, mut services) = (BTreeSet::new(), BTreeSet::new());
    for show in &seen.shows {
        let good = matches!(show.shown, Shown::Right | Shown::Operator);
        judge_show(show, good, &mut judgement);
        let looked = show.entries.is_some();
        match show.shown {
            Shown::Right => accepted += u64::from(show.tried.ok() && looked),
            Shown::Operator => controls += u64::from(show.tried.ok()),
            _ => refused += u64::from(show.tried.status == 401 && looked),
        }
        if show.tried.returned_us.is_some() && looked {
            services.insert(show.tried.service.as_str());
            met.insert((show.configured, show.shown, show.tried.service.as_str()));
        }
    }
    let wanted = |configured, all: &[Shown]| -> Vec<_> {
        all.iter().map(|shown| (configured, *shown)).collect()
    };
    let all = [
        wanted(Configured::Token, &[Shown::Right]),
        wanted(Configured::Token, &Shown::WRONG),
        wanted(Configured::Empty, &[Shown::Operator]),
        wanted(Configured::Empty, &Shown::WRONG_WITHOUT),
    ]
    .concat();
    for (configured, shown) in all {
        let missing = services
            .iter()
            .filter(|service| !met.contains(&(configured, shown, **service)))
            .count();
        if missing > 0 || services.is_empty() {
            judgement.undecided(format!(
                "{shown} was not shown to {missing} of {} services{}",
                services.len(),
                at(configured)
            ));
        }
    }
    judgement.exercised("accepted", accepted);
    judgement.exercised("refused", refused);
    judgement.detail = format!(
        "{} services: the right token served {accepted} times as `_service`, {refused} others \
         refused, {controls} operators served where the token is empty: {} violations",
        services.len(),
        judgement.violations.len()
    );
    judgement
}

fn at(configured: Configured) -> &'static str {
    match configured {
        Configured::Token => "",
        Configured::Empty => " where the configured token is empty",
    }
}

fn judge_show(show: &Show, good: bool, judgement: &mut Judgement) {
    let Show {
        shown,
        tried,
        configured,
        entries,
    } = show;
    let (right, expected) = match good {
        true => (tried.ok(), "2xx"),
        false => (tried.status == 401, "401"),
    };
    let at = at(*configured);
    judgement.expect(right, || {
        format!("{shown}{at}: {tried}, expected {expected}")
    });
    let Some(entries) = entries else { return };
    if !good {
        judgement.expect(entries.is_empty(), || {
            let n = entries.len();
            format!("{shown}{at} left {n} audit entries for {tried}, expected 0")
        });
        return;
    }
    if *shown != Shown::Right {
        return;
    }
    let ok = entries.iter().filter(|entry| entry.outcome == "ok").count();
    judgement.expect(ok > 0, || {
        format!("{shown} left no audit entry ok for {tried}, expected at least 1")
    });
    for entry in entries {
        let got = (&*entry.actor_id, &*entry.actor_role, entry.via.as_deref());
        let expected = ("_service", "operator", None);
        judgement.expect(got == expected, || {
            format!("{shown} acts as {got:?} in the entry of {tried}, expected {expected:?}")
        });
    }
}
