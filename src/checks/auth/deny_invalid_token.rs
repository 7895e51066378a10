//! Gate deny-invalid-token: credentials that are no good are 401, and an identity file that cannot
//! be read is 503.
//!
//! On every service it shows garbage, keys with something off or missing, a key that has ended, and
//! the key of a user who was revoked a moment ago and came in before. Then it locks the identity
//! file, and damages it, and shows good keys: nobody may come in. The control is the first
//! operator's key, before and after. That nothing changes meanwhile, other gates ask.

mod drive;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::tried::Tried;
use crate::checks::Judgement;

pub use drive::drive;

/// Two clocks on one machine read a moment so much apart.
const SLACK_US: u64 = 50_000;
/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// How long a key that ends was to live.
    pub ttl_ms: u64,
    /// What was shown, and what came of it.
    pub shows: Vec<Show>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Show {
    /// What it showed.
    pub shown: Shown,
    /// The request that made the key, where that matters: its times bound when the key ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Tried>,
    /// What came of it.
    pub tried: Tried,
}

/// What a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// The first operator's key.
    Good,
    /// Nothing.
    Nothing,
    /// A key that nobody has.
    Garbage,
    /// A good key under another scheme.
    OtherScheme,
    /// The scheme alone.
    NoKey,
    /// A good key without its last character.
    Truncated,
    /// A good key and one more character.
    Extended,
    /// The stored hash of a good key.
    Hash,
    /// A good key in the place of the service token.
    AsServiceToken,
    /// A key that ends.
    Ending,
    /// The key of somebody who will be revoked.
    BeforeRevocation,
    /// The same key, afterwards.
    Revoked,
    /// A good key while somebody else holds the identity file.
    WhileLocked,
    /// A good key while the identity file is no database.
    WhileDamaged,
}

impl Shown {
    const ALL: [Self; 14] = [
        Self::Good,
        Self::Nothing,
        Self::Garbage,
        Self::OtherScheme,
        Self::NoKey,
        Self::Truncated,
        Self::Extended,
        Self::Hash,
        Self::AsServiceToken,
        Self::Ending,
        Self::BeforeRevocation,
        Self::Revoked,
        Self::WhileLocked,
        Self::WhileDamaged,
    ];
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "a good key",
            Self::Nothing => "no credentials",
            Self::Garbage => "garbage",
            Self::OtherScheme => "a good key under another scheme",
            Self::NoKey => "a scheme without a key",
            Self::Truncated => "a truncated key",
            Self::Extended => "a key with a character too many",
            Self::Hash => "the hash of a good key",
            Self::AsServiceToken => "a key as the service token",
            Self::Ending => "a key that ends",
            Self::BeforeRevocation => "a key before its user is revoked",
            Self::Revoked => "the key of a revoked user",
            Self::WhileLocked => "a good key while the identity file is locked",
            Self::WhileDamaged => "a good key while the identity file is damaged",
        })
    }
}

/// What the contract allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Success,
    Unauthenticated,
    /// The edge is near: either of them.
    Either,
    Unavailable,
}

impl Expected {
    fn holds(self, tried: &Tried) -> bool {
        match self {
            Self::Success => tried.ok(),
            Self::Unauthenticated => tried.status == 401,
            Self::Either => tried.ok() || tried.status == 401,
            Self::Unavailable => tried.status == 503,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::Unauthenticated => "401",
            Self::Either => "2xx or 401",
            Self::Unavailable => "503",
        }
    }
}

impl Show {
    fn expected(&self, ttl_ms: u64) -> Expected {
        match self.shown {
            Shown::Good | Shown::BeforeRevocation => Expected::Success,
            Shown::WhileLocked | Shown::WhileDamaged => Expected::Unavailable,
            Shown::Ending => {
                let Some(made) = &self.made else {
                    return Expected::Either;
                };
                let ttl_us = ttl_ms * 1000;
                let latest = made.returned_us.map(|us| us + ttl_us + SLACK_US);
                if self
                    .tried
                    .before((made.invoked_us + ttl_us).saturating_sub(SLACK_US))
                {
                    Expected::Success
                } else if latest.is_some_and(|latest| self.tried.invoked_us > latest) {
                    Expected::Unauthenticated
                } else {
                    Expected::Either
                }
            }
            _ => Expected::Unauthenticated,
        }
    }
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut met, mut services) = (BTreeSet::new(), BTreeSet::new());
    let (mut refused, mut accepted, mut unreadable, mut controls) = (0, 0, 0, 0);
    for show in &seen.shows {
        let (expected, tried) = (show.expected(seen.ttl_ms), &show.tried);
        if !expected.holds(tried) {
            let words = expected.words();
            judgement.violation(format!("{}: {tried}, expected {words}", show.shown));
            continue;
        }
        // A key near its end tells nothing.
        if expected == Expected::Either {
            continue;
        }
        services.insert(&tried.service);
        met.insert((show.shown, expected == Expected::Success, &tried.service));
        match (expected, show.shown) {
            (Expected::Unavailable, _) => unreadable += 1,
            (Expected::Unauthenticated, _) => refused += 1,
            (_, Shown::BeforeRevocation) => accepted += 1,
            _ => controls += 1,
        }
    }
    for shown in Shown::ALL {
        let sides: &[bool] = match shown {
            Shown::Good | Shown::BeforeRevocation => &[true],
            Shown::Ending => &[true, false],
            _ => &[false],
        };
        for side in sides {
            let missing = services
                .iter()
                .filter(|service| !met.contains(&(shown, *side, **service)))
                .count();
            if missing > 0 || services.is_empty() {
                let what = if *side { "accepted" } else { "refused" };
                judgement.undecided(format!(
                    "{shown} was not seen {what} by {missing} of {} services",
                    services.len()
                ));
            }
        }
    }
    judgement.exercised("refused", refused);
    judgement.exercised("accepted_before_revocation", accepted);
    judgement.exercised("unreadable_store", unreadable);
    judgement.detail = format!(
        "{} services: {refused} requests refused, {unreadable} answered 503 without a readable \
         identity file, {controls} good ones and {accepted} before a revocation served: {} violations",
        services.len(),
        judgement.violations.len()
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}
