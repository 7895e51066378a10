//! Fences: a decision is made only by who shows the fence that it has now. How that is driven, what is
//! seen of it, and what contradicts it.

mod drive;
mod story;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::story::{Act, Aim, Attempt, Story};
use crate::chaos::approvals::{Route, Shown, Verb};
use crate::chaos::{clopper_pearson_upper, overlapping_pairs};
use crate::checks::Judgement;

pub use drive::drive;

/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;
/// The confidence of the bound in the detail line.
const CONFIDENCE: f64 = 0.95;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// How long a reissued decision stays open, as the target was configured.
    pub ttl_ms: u64,
    /// The decisions, each with all that was asked of it.
    pub stories: Vec<Story>,
    /// The KILLs.
    pub kills: Vec<Kill>,
}

/// One KILL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kill {
    /// When the process was gone.
    pub killed_us: u64,
    /// When the next one was ready; none if it never was.
    pub ready_us: Option<u64>,
}

/// A fence that was given out, between two times.
#[derive(Clone, Copy, Debug)]
struct Issue<'a> {
    id: &'a str,
    fence: i64,
    invoked_us: u64,
    returned_us: u64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut races, mut pairs, mut wrong) = (0, 0, 0);
    for story in &seen.stories {
        let found = story.violations(seen.ttl_ms, &mut judgement.undecided);
        if let Some(overlaps) = race(story) {
            races += 1;
            pairs += overlaps;
            wrong += u64::from(!found.is_empty());
        }
        judgement.violations.extend(found);
    }
    judge_order(seen, &mut judgement);
    let stale = seen.stories.iter().flat_map(Story::attempts);
    let stale = stale.filter(|asked| asked.aim.is_stale() && asked.returned_us.is_some());
    let stale = stale.count() as u64;
    let kills = seen.kills.iter().filter(|kill| crossed(seen, kill)).count() as u64;
    let routes = Route::ALL
        .iter()
        .filter(|route| covered(seen, **route, &mut judgement));
    let routes = routes.count() as u64;
    judge_races(seen, &mut judgement);
    judgement.exercised("approval_routes", routes);
    judgement.exercised("stale_fences", stale);
    judgement.exercised("races", races);
    judgement.exercised("kills", kills);
    let bound = clopper_pearson_upper(wrong, races.max(wrong), CONFIDENCE) * 100.0;
    judgement.detail = format!(
        "{routes} approval routes, {stale} stale fences, {races} races with {pairs} overlapping \
         pairs, {kills} kills: {} violations; at 95 % at most {bound:.2} % of races go wrong",
        judgement.violations.len(),
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

/// Overlapping pairs of a story in which a decision and a reissue were under way at once, neither of
/// them cut by a KILL.
fn race(story: &Story) -> Option<u64> {
    let intervals = |wanted: fn(&Act) -> bool| -> Vec<(u64, u64)> {
        let asked = story.race.iter().filter(|asked| wanted(&asked.act));
        asked.filter_map(Attempt::interval).collect()
    };
    let decisions = intervals(|act| *act != Act::Reissue);
    let reissues = intervals(|act| *act == Act::Reissue);
    let met = decisions.iter().any(|one| {
        let meets = |other: &(u64, u64)| one.0 <= other.1 && other.0 <= one.1;
        reissues.iter().any(meets)
    });
    let looked = story.runs.is_some();
    (met && looked).then(|| overlapping_pairs(&intervals(|_| true)))
}

/// Fences of one service are all different, and one that was asked for after another was known is
/// greater, whatever id and route they are of.
fn judge_order(seen: &Evidence, judgement: &mut Judgement) {
    let mut services: BTreeMap<&str, Vec<Issue<'_>>> = BTreeMap::new();
    for story in &seen.stories {
        let issuer = story.decision.route.issuer();
        services.entry(issuer).or_default().extend(story.issues());
    }
    for (service, mut issues) in services {
        issues.sort_by_key(|issue| issue.invoked_us);
        let mut known = issues.clone();
        known.sort_by_key(|issue| issue.returned_us);
        let (mut passed, mut highest): (usize, Option<Issue<'_>>) = (0, None);
        let mut given: BTreeMap<i64, &str> = BTreeMap::new();
        for issue in &issues {
            while passed < known.len() && known[passed].returned_us < issue.invoked_us {
                let earlier = known[passed];
                if highest.is_none_or(|highest| highest.fence < earlier.fence) {
                    highest = Some(earlier);
                }
                passed += 1;
            }
            if let Some(earlier) = highest
                && issue.fence <= earlier.fence
            {
                let Issue { id, fence, .. } = issue;
                judgement.violation(format!(
                    "{service}: {id} got fence {fence} after {} had got {}, expected a greater one",
                    earlier.id, earlier.fence,
                ));
            } else if let Some(other) = given.insert(issue.fence, issue.id) {
                let Issue { id, fence, .. } = issue;
                judgement.violation(format!(
                    "{service}: {id} and {other} both got fence {fence}, expected different ones"
                ));
            }
        }
    }
}

/// Whether fences were given out before and after this KILL.
fn crossed(seen: &Evidence, kill: &Kill) -> bool {
    let Some(ready_us) = kill.ready_us else {
        return false;
    };
    let issues = || seen.stories.iter().flat_map(Story::issues);
    let before = issues().any(|issue| issue.returned_us < kill.killed_us);
    before && issues().any(|issue| issue.invoked_us >= ready_us)
}

/// Whether everything that has to be asked on a route was answered; what was not is undecided.
fn covered(seen: &Evidence, route: Route, judgement: &mut Judgement) -> bool {
    let on_route = |story: &&Story| story.decision.route == route;
    let stories = || seen.stories.iter().filter(on_route);
    let mut aims = BTreeSet::new();
    let mut won = BTreeSet::new();
    for asked in stories().flat_map(Story::attempts) {
        if asked.returned_us.is_none() {
            continue;
        }
        aims.insert(asked.aim);
        if asked.ok() {
            let place = match asked.fence {
                Shown::Nothing => "without a fence",
                Shown::Header(_) => "with its fence in the header",
                Shown::Body(_) => "with its fence in the body",
            };
            won.insert((asked.act, place));
        }
    }
    let mut missing: Vec<String> = Vec::new();
    for aim in Aim::ALL.iter().filter(|aim| !aims.contains(aim)) {
        missing.push(format!("nothing was asked of {route} with {aim}"));
    }
    let places = [
        "without a fence",
        "with its fence in the header",
        "with its fence in the body",
    ];
    for act in [Verb::Approve, Verb::Deny] {
        for place in places {
            if !won.contains(&(Act::Decide(act), place)) {
                missing.push(format!("on {route} no {} won {place}", act.path()));
            }
        }
    }
    if !stories().any(|story| story.won_after_expiry(seen.ttl_ms)) {
        missing.push(format!(
            "on {route} nothing expired was reissued and approved"
        ));
    }
    let across = |story: &Story| seen.kills.iter().any(|kill| story.crosses(kill));
    if !stories().any(across) {
        missing.push(format!("on {route} no open decision crossed a KILL"));
    }
    let all = missing.is_empty();
    judgement.undecided.extend(missing);
    all
}

/// Both ends of the race between an approval and a reissue have to have occurred.
fn judge_races(seen: &Evidence, judgement: &mut Judgement) {
    let raced = || seen.stories.iter().filter(|story| race(story).is_some());
    let ended = |wanted: fn(&Act) -> bool| {
        let won = |story: &Story| {
            story
                .race
                .iter()
                .any(|asked| asked.ok() && wanted(&asked.act))
        };
        raced().any(won)
    };
    if !ended(|act| *act == Act::Decide(Verb::Approve)) {
        judgement.undecided("no approval won a race with a reissue");
    }
    if !ended(|act| *act == Act::Reissue) {
        judgement.undecided("no reissue won a race with an approval");
    }
}
