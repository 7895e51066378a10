//! What is driven on targets of its own, as the gates drive it: storms of tasks and sessions, fences,
//! dependencies that flap and partial outages.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chaos::outages::{flap, partial};
use crate::chaos::{Judgement, Site, fences, sessions, tasks};

/// What was driven, and what was seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exercise {
    /// Races for tasks, and KILLs in the middle of some.
    Tasks(tasks::Evidence),
    /// A storm of creates, and a KILL.
    Sessions(sessions::Evidence),
    /// Decisions by who shows another fence than the one they have.
    Fences(fences::Evidence),
    /// Dependencies that go down and come back.
    Flap(flap::Evidence),
    /// One dependency down after the other.
    Partial(partial::Evidence),
}

/// What is to be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So many races for tasks, and KILLs.
    Tasks(u64, u64),
    /// So many creates at once.
    Sessions(u64),
    /// So many races around fences.
    Fences(u64),
    /// So many flaps of each dependency, and how.
    Flap(u64, flap::How),
    /// Every dependency once.
    Partial,
}

/// Drives it; what was seen is there also when it could not go on.
pub(in crate::chaos::drill) async fn drive(
    site: &mut Site,
    wanted: Wanted,
    into: &mut Vec<Exercise>,
) -> anyhow::Result<Value> {
    let outcome = match wanted {
        Wanted::Tasks(rounds, kills) => {
            let amount = tasks::Amount {
                rounds: usize::try_from(rounds)?,
                kills: usize::try_from(kills)?,
            };
            let mut seen = tasks::Evidence::default();
            let outcome = tasks::drive(site, &amount, &mut seen).await;
            into.push(Exercise::Tasks(seen));
            outcome
        }
        Wanted::Sessions(creates) => {
            let mut seen = sessions::Evidence::default();
            let outcome = sessions::drive(site, usize::try_from(creates)?, &mut seen).await;
            into.push(Exercise::Sessions(seen));
            outcome
        }
        Wanted::Fences(races) => {
            let mut seen = fences::Evidence::default();
            let outcome = fences::drive(site, usize::try_from(races)?, &mut seen).await;
            into.push(Exercise::Fences(seen));
            outcome
        }
        Wanted::Flap(flaps, how) => {
            let mut seen = flap::Evidence::default();
            let outcome = flap::drive(site, (flaps, how), &mut seen).await;
            into.push(Exercise::Flap(seen));
            outcome
        }
        Wanted::Partial => {
            let mut seen = partial::Evidence::default();
            let outcome = partial::drive(site, &mut seen).await;
            into.push(Exercise::Partial(seen));
            outcome
        }
    };
    outcome?;
    let found = into.last().map(Exercise::judgement).unwrap_or_default();
    Ok(json!({"exercised": found.exercised, "violations": found.violations.len()}))
}

impl Exercise {
    /// By the specification of the gate that drives the same.
    fn judgement(&self) -> Judgement {
        match self {
            Self::Tasks(seen) => tasks::judge(seen),
            Self::Sessions(seen) => sessions::judge(seen),
            Self::Fences(seen) => fences::judge(seen),
            Self::Flap(seen) => flap::judge(seen),
            Self::Partial(seen) => partial::judge(seen),
        }
    }

    /// Judges it. Of everything that matters something has to have happened.
    pub(super) fn judge(&self, judgement: &mut Judgement) -> String {
        let mut found = self.judgement();
        judgement.violations.append(&mut found.violations);
        judgement.undecided.append(&mut found.undecided);
        for (what, _) in found.exercised.iter().filter(|(_, n)| **n == 0) {
            judgement.undecided(format!("{what}: got 0, expected some"));
        }
        found.detail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_at_all_is_undecided() {
        for exercise in [
            Exercise::Tasks(tasks::Evidence::default()),
            Exercise::Sessions(sessions::Evidence::default()),
            Exercise::Fences(fences::Evidence::default()),
            Exercise::Flap(flap::Evidence::default()),
            Exercise::Partial(partial::Evidence::default()),
        ] {
            let mut judgement = Judgement::default();
            exercise.judge(&mut judgement);
            assert!(!judgement.undecided.is_empty(), "{exercise:?}");
        }
    }
}
