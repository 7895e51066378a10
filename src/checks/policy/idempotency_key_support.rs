//! Gate idempotency-key-support: on every mutating route a repeated key gives the first answer and
//! no second effect, and a key used for another request is refused.
//!
//! The matrix is made of the contract's route table. On each mutating route a request is sent without
//! a key (what one execution leaves behind), with one, again in every spelling and over its twin,
//! with everything else different in turn, by nobody, and by eight at once. What was executed is
//! counted in the audit log, at the doubles, and by rows that carry its marker. No key crosses a KILL
//! and no key is aged here, and nobody is refused for a role: other gates do that.

mod drive;
mod race;
mod story;
#[cfg(test)]
mod tests;
mod traces;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::story::{Asked, Sort, Story};
use crate::chaos::clopper_pearson_upper;
use crate::checks::Judgement;
use crate::checks::recipes::{self, Again};
use crate::contract::routes::{Route, mutating};

pub use drive::drive;

/// Violations that are written out; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;
/// The confidence of the bound in the detail line.
const CONFIDENCE: f64 = 0.95;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The mutating routes, by method, path and service.
    pub routes: BTreeMap<String, Seen>,
}

/// What was seen of one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Why it could not be driven, if it could not.
    pub trouble: Option<String>,
    /// Without a key: what one execution leaves behind.
    pub plain: Story,
    /// One key, and everything that may come with it.
    pub main: Story,
    /// A key that came first in its other spelling, over the twin where there is one.
    pub spelled: Story,
    /// Keys that eight requests brought at once.
    pub races: Vec<Story>,
    /// The route on which the main key was used as well.
    pub elsewhere: String,
    /// What the target showed of the resource that a reused key was sent to, before and after.
    pub other: Option<(Value, Value)>,
}

impl Seen {
    /// Whether one execution is in the audit log.
    fn leaves_entries(&self) -> bool {
        self.plain
            .asked
            .iter()
            .any(|asked| !asked.entries.is_empty())
    }
}

/// What all stories come to.
#[derive(Default)]
struct Tally {
    judgement: Judgement,
    replays: u64,
    refused: u64,
    races: u64,
    wrong: u64,
    pairs: u64,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut tally = Tally::default();
    let mut whole = 0;
    for route in mutating() {
        let name = route.to_string();
        let Some(one) = seen.routes.get(&name) else {
            tally.judgement.undecided(format!("{name} was not driven"));
            continue;
        };
        let found = violations(seen, one, route, &mut tally);
        for what in found {
            tally.judgement.violation(format!("{name}: {what}"));
        }
        whole += u64::from(covered(one, route, &mut tally.judgement));
    }
    if !seen.routes.values().any(Seen::leaves_entries) {
        let why = "no execution left an entry in the audit log: nothing can be counted there";
        tally.judgement.undecided(why);
    }
    let Tally {
        mut judgement,
        replays,
        refused,
        races,
        wrong,
        pairs,
    } = tally;
    judgement.exercised("mutating_routes", whole);
    judgement.exercised("replays", replays);
    judgement.exercised("reused_keys", refused);
    judgement.exercised("races", races);
    let bound = clopper_pearson_upper(wrong, races.max(wrong), CONFIDENCE) * 100.0;
    judgement.detail = format!(
        "{whole} mutating routes, {replays} replays, {refused} refused reuses, {races} races with \
         {pairs} overlapping pairs: {} violations; at 95 % at most {bound:.2} % of races go wrong",
        judgement.violations.len(),
    );
    let shown = judgement.violations.len().min(VIOLATIONS_SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        judgement.violation(format!("and {} more violations", rest.len()));
    }
    judgement
}

/// What contradicts the claim on one route.
fn violations(seen: &Evidence, one: &Seen, route: &Route, tally: &mut Tally) -> Vec<String> {
    let mut found = Vec::new();
    let Some(plain) = one.plain.asked.first() else {
        return found;
    };
    if !plain.ok() || plain.replayed {
        found.push(format!("{plain}, expected 2xx"));
        return found;
    }
    one.plain.judge_footprint(route, &mut found);
    let again = recipes::of(route).map_or(Again::Done, |recipe| recipe.again);
    let elsewhere = seen
        .routes
        .get(&one.elsewhere)
        .and_then(|seen| seen.plain.asked.first());
    one.main.judge(&one.plain, again, elsewhere, &mut found);
    one.spelled.judge(&one.plain, again, None, &mut found);
    for story in [&one.main, &one.spelled] {
        tally.replays += count(story, |asked| asked.replayed);
        tally.refused += count(story, |asked| asked.sort.is_reuse() && asked.status == 422);
    }
    if let Some((before, after)) = &one.other
        && before != after
    {
        found.push(format!(
            "a reused key changed the other resource from {before} to {after}, expected no change"
        ));
    }
    for story in &one.races {
        let before = found.len();
        tally.pairs += race::judge(
            story,
            &one.plain,
            &mut tally.judgement.undecided,
            &mut found,
        );
        tally.races += u64::from(race::counts(story));
        tally.replays += count(story, |asked| asked.replayed);
        tally.wrong += u64::from(found.len() > before);
    }
    found
}

fn count(story: &Story, wanted: fn(&Asked) -> bool) -> u64 {
    story.asked.iter().filter(|asked| wanted(asked)).count() as u64
}

/// Whether everything that has to be asked on a route was answered; what was not is undecided.
fn covered(one: &Seen, route: &Route, judgement: &mut Judgement) -> bool {
    let mut missing: Vec<String> = one.trouble.iter().cloned().collect();
    let answered = |story: &Story, sort: Sort| {
        let of_sort = |asked: &&Asked| asked.sort == sort && asked.answered();
        story.asked.iter().any(|asked| of_sort(&asked))
    };
    let names_resource = recipes::of(route).is_some_and(recipes::Recipe::names_resource);
    for sort in Sort::ALL {
        let applies = match sort {
            Sort::Racer => continue,
            Sort::Twin => route.twin.is_some(),
            Sort::OtherResource => names_resource,
            _ => true,
        };
        if applies && !answered(&one.main, sort) {
            missing.push(format!("nothing was answered to {sort}"));
        }
    }
    if names_resource
        && one
            .other
            .as_ref()
            .is_none_or(|(before, _)| before.is_null())
    {
        missing.push("nobody looked at the other resource".to_owned());
    }
    let spelled = one.spelled.asked.iter().filter(|asked| asked.answered());
    if spelled.count() < 2 {
        missing.push("no key came first in its other spelling".to_owned());
    }
    if !one.races.iter().any(race::counts) {
        missing.push("no race".to_owned());
    }
    let stories = [&one.plain, &one.main, &one.spelled];
    if stories
        .into_iter()
        .chain(&one.races)
        .any(|story| story.traces.is_none())
    {
        missing.push("nobody looked at what was executed".to_owned());
    }
    let whole = missing.is_empty();
    for what in missing {
        judgement.undecided(format!("{route}: {what}"));
    }
    whole
}
