//! Gate actor-attribution: every effect, every approval and every lost race names the actor and the
//! role that caused it, also where one service acted for somebody at another.
//!
//! Two operators, the service token, and the service token on an operator's behalf each do what every
//! mutating route of v4.6 does, and then race for decisions on all three approval routes. Afterwards
//! the audit logs in the databases are looked through: in the log of the service that was asked, the
//! actor is who asked; in every other one it is the same person, `via` the service. What an answer
//! says of who decided is held against who won. Refused roles and stale fences are other gates'.

mod drive;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::entries::Entry;
use crate::checks::Judgement;
use crate::checks::auth::tried::Tried;
use crate::contract::routes::floor;

pub use drive::drive;

/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Why routes could not be driven, by their names.
    pub trouble: BTreeMap<String, String>,
    /// What was done, on every mutating route by everybody.
    pub acts: Vec<Act>,
    /// The decisions that were raced for.
    pub decisions: Vec<Decision>,
}

/// Somebody, as an audit entry and an approval record name them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Named {
    /// `actor_id`.
    pub id: String,
    /// `actor_role`.
    pub role: String,
    /// `via`.
    pub via: Option<String>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` as `{}`", self.id, self.role)?;
        match &self.via {
            Some(via) => write!(f, " via `{via}`"),
            None => Ok(()),
        }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// The route's name.
    pub route: String,
    /// Who asked.
    pub by: Named,
    /// What came of it.
    pub tried: Tried,
    /// Who decided, if the answer says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Named>,
    /// The entries about it, of all chains; none if nobody looked.
    pub entries: Option<Vec<Entry>>,
}

/// One decision and everybody who wanted it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its id.
    pub id: String,
    /// At once, and one who came too late.
    pub acts: Vec<Act>,
    /// Who decided, as the record itself says afterwards; none where no route shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Named>,
}

/// What all of it comes to.
#[derive(Default)]
struct Tally<'a> {
    judgement: Judgement,
    actors: BTreeSet<&'a Named>,
    effects: u64,
    hops: u64,
    approvals: u64,
    records: u64,
    lost: u64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut tally = Tally::default();
    for act in &seen.acts {
        tally.judgement.expect(act.tried.ok(), || {
            format!("{}: {}, expected 2xx", act.by, act.tried)
        });
        judge_act(act, &mut tally);
    }
    for decision in &seen.decisions {
        judge_decision(decision, &mut tally);
    }
    let everybody: BTreeSet<&Named> = seen.acts.iter().map(|act| &act.by).collect();
    for route in floor().filter(|route| route.mutating) {
        let name = route.to_string();
        let acted = seen
            .acts
            .iter()
            .filter(|act| act.route == name && act.entries.is_some());
        let missing = everybody.len() - acted.map(|act| &act.by).collect::<BTreeSet<_>>().len();
        if missing > 0 || everybody.is_empty() {
            let why = seen.trouble.get(&name).map_or("", String::as_str);
            let n = everybody.len();
            tally.judgement.undecided(format!(
                "{name}: {missing} of {n} actors did not act: {why}"
            ));
        }
    }
    let Tally {
        mut judgement,
        actors,
        effects,
        hops,
        approvals,
        records,
        lost,
    } = tally;
    judgement.exercised("actors", actors.len() as u64);
    judgement.exercised("effects", effects);
    judgement.exercised("hops", hops);
    judgement.exercised("approvals", approvals);
    judgement.exercised("records", records);
    judgement.exercised("lost_races", lost);
    judgement.detail = format!(
        "{} actors: {effects} effects, {hops} entries of other services about them, {approvals} \
         approvals, {records} records and {lost} lost races name who it was: {} violations",
        actors.len(),
        judgement.violations.len()
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

/// The entries about a request name who asked.
fn judge_act<'a>(act: &'a Act, tally: &mut Tally<'a>) {
    let Act {
        by, tried, entries, ..
    } = act;
    let Some(entries) = entries else { return };
    let mut right = true;
    for entry in entries {
        let own = entry.chain == tried.service;
        let expected = Named {
            via: if own {
                by.via.clone()
            } else {
                Some("_service".to_owned())
            },
            ..by.clone()
        };
        let got = Named {
            id: entry.actor_id.clone(),
            role: entry.actor_role.clone(),
            via: entry.via.clone(),
        };
        if got == expected {
            tally.hops += u64::from(!own);
        } else {
            right = false;
            let Entry {
                chain,
                action,
                outcome,
                ..
            } = entry;
            tally.judgement.violation(format!(
                "entry {outcome} `{action}` of {chain} names {got}, expected {expected} for {tried}"
            ));
        }
    }
    let of_own = |outcome: &str| {
        let own = entries.iter().filter(|entry| entry.chain == tried.service);
        own.filter(|entry| entry.outcome == outcome).count()
    };
    let wanted = match tried.status {
        200..300 => "ok",
        409 => "refused",
        _ => return,
    };
    let n = of_own(wanted);
    tally.judgement.expect(n > 0, || {
        format!(
            "{n} entries {wanted} of {} name {by} for {tried}, expected at least 1",
            tried.service
        )
    });
    if right && n > 0 {
        tally.actors.insert(by);
        match wanted {
            "ok" => tally.effects += 1,
            _ => tally.lost += 1,
        }
    }
}

/// Who won is named by the winner's answer, by every loser's, and by the record.
fn judge_decision<'a>(decision: &'a Decision, tally: &mut Tally<'a>) {
    let Decision { id, acts, record } = decision;
    for act in acts {
        judge_act(act, tally);
    }
    let winners: Vec<&Act> = acts.iter().filter(|act| act.tried.ok()).collect();
    let [winner] = winners[..] else {
        // How many may win is another gate's claim.
        let n = winners.len();
        tally
            .judgement
            .undecided(format!("{id} has {n} winners, expected 1"));
        return;
    };
    let mut named = |what: String, got: &Option<Named>| {
        let right = got.as_ref() == Some(&winner.by);
        tally.judgement.expect(right, || {
            let got = got
                .as_ref()
                .map_or("nobody".to_owned(), ToString::to_string);
            format!(
                "{id}: {what} names {got} as who decided, expected {}",
                winner.by
            )
        });
        u64::from(right)
    };
    let mut approvals = 0;
    for act in acts
        .iter()
        .filter(|act| [200, 409].contains(&act.tried.status))
    {
        approvals += named(format!("the answer {}", act.tried), &act.decided_by);
    }
    let records = match record {
        Some(_) => named("its record".to_owned(), record),
        None => 0,
    };
    tally.approvals += u64::from(approvals > 0);
    tally.records += records;
}
