//! Races for decisions: who asks for what, in which batches, through one barrier.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde_json::json;

use super::round::{Round, Run};
use super::{Asked, Minted, Route, Shown, Verb, markers, mint};
use crate::chaos::history::{Event, History, Kind};
use crate::chaos::{Site, storm};
use crate::doubles::{Behaviour, Double};
use crate::target::Client;

/// Requests released by one barrier, over all decisions of a batch: many at once share the
/// target's commits, and each race still begins at one moment.
const RACERS_PER_BATCH: usize = 128;
/// Races of these sizes occur on each route once per speed.
const BIG_RACES: [usize; 2] = [64, 16];
/// The others have so many racers. Two is the smallest race, and the one where nobody else hides
/// a mistake.
const SMALL_RACES: std::ops::RangeInclusive<usize> = 2..=6;
/// Repeats of each decision.
const REPEATS: usize = 2;

/// One race to come.
pub struct Plan {
    route: Route,
    race: Vec<Move>,
    repeats: Vec<Move>,
}

impl Plan {
    fn moves(&self, repeats: bool) -> &[Move] {
        if repeats { &self.repeats } else { &self.race }
    }
}

/// One request to come: who, what, and where the fence is shown.
#[derive(Clone, Copy)]
struct Move {
    operator: u8,
    verb: Verb,
    fence: FenceAt,
}

#[derive(Clone, Copy)]
enum FenceAt {
    Nowhere,
    Header,
    Body,
}

/// Races on all routes in turn, big ones first. Every third is approve against approve.
#[must_use]
pub fn plan(rng: &mut ChaCha8Rng, rounds: usize) -> Vec<Plan> {
    let routes = Route::ALL.len();
    (0..rounds)
        .map(|number| {
            let big = BIG_RACES.get(number / routes).copied();
            let racers = big.unwrap_or_else(|| rng.random_range(SMALL_RACES));
            let same = (number / routes).is_multiple_of(3);
            let mut race: Vec<Move> = (0..racers).map(|_| any_move(rng)).collect();
            for one in &mut race {
                if same {
                    one.verb = Verb::Approve;
                }
            }
            if !same {
                race[0].verb = Verb::Approve;
                race[1].verb = Verb::Deny;
            }
            race.shuffle(rng);
            let repeats = (0..REPEATS).map(|_| any_move(rng)).collect();
            Plan {
                route: Route::ALL[number % routes],
                race,
                repeats,
            }
        })
        .collect()
}

fn any_move(rng: &mut ChaCha8Rng) -> Move {
    Move {
        operator: rng.random_range(0..2),
        verb: if rng.random_bool(0.5) {
            Verb::Approve
        } else {
            Verb::Deny
        },
        fence: match rng.random_range(0..3) {
            0 => FenceAt::Nowhere,
            1 => FenceAt::Header,
            _ => FenceAt::Body,
        },
    }
}

/// Mints what the plans need, then races batch by batch, the tool as slow as this. The label tells
/// these races from others of the site.
///
/// # Errors
/// When a decision could not be minted.
pub async fn race_all(
    site: &Site,
    seen: &mut Vec<Round>,
    clients: &[Client; 2],
    session: &str,
    (label, tool_ms): (&str, u64),
    plans: Vec<Plan>,
) -> anyhow::Result<()> {
    let first = seen.len();
    let mut minted: BTreeMap<Route, Vec<Minted>> = BTreeMap::new();
    {
        let _span = site.span("mint");
        for route in Route::ALL {
            let wanted = plans.iter().filter(|plan| plan.route == route).count();
            let markers = markers(site.seed, &format!("{route}-{label}"), wanted);
            minted.insert(route, mint(&clients[0], session, route, &markers).await?);
        }
    }
    for plan in &plans {
        let left = minted.get_mut(&plan.route).and_then(Vec::pop);
        let decision = left.expect("one decision was minted a plan");
        let (race, repeats) = (Vec::new(), Vec::new());
        seen.push(Round {
            decision,
            tool_ms,
            race,
            repeats,
            runs: None,
        });
    }
    site.tools.behave(Behaviour::slow(tool_ms));
    let _span = site.span("storm");
    for repeats in [false, true] {
        let mut from = 0;
        while from < plans.len() {
            let to = batch_end(&plans, from, repeats);
            let rounds = &mut seen[first + from..first + to];
            for (number, asked) in release(clients, rounds, moves(&plans[from..to], repeats)).await
            {
                let round = &mut rounds[number];
                if repeats {
                    round.repeats.push(asked)
                } else {
                    round.race.push(asked)
                }
            }
            note_runs(&site.tools, seen);
            from = to;
        }
    }
    Ok(())
}

/// Whole plans, as many as one barrier takes.
fn batch_end(plans: &[Plan], from: usize, repeats: bool) -> usize {
    let mut requests = 0;
    let mut to = from;
    while to < plans.len() {
        requests += plans[to].moves(repeats).len();
        if to > from && requests > RACERS_PER_BATCH {
            break;
        }
        to += 1;
    }
    to
}

/// The moves of these plans, each with the number of its plan.
fn moves(plans: &[Plan], repeats: bool) -> Vec<(usize, Move)> {
    let mut moves = Vec::new();
    for (number, plan) in plans.iter().enumerate() {
        moves.extend(plan.moves(repeats).iter().map(|one| (number, *one)));
    }
    moves
}

/// All of these through one barrier, those of one decision side by side.
async fn release(
    clients: &[Client; 2],
    rounds: &[Round],
    requests: Vec<(usize, Move)>,
) -> Vec<(usize, Asked)> {
    storm(requests.len(), |index| {
        let (
            number,
            Move {
                operator,
                verb,
                fence,
            },
        ) = requests[index];
        let decision = &rounds[number].decision;
        let fence = match fence {
            FenceAt::Nowhere => Shown::Nothing,
            FenceAt::Header => Shown::Header(decision.fence),
            FenceAt::Body => Shown::Body(decision.fence),
        };
        let ask = decision.route.ask(&decision.id, verb.path(), fence);
        let client = clients[usize::from(operator)].clone();
        async move {
            let exchange = client.send(ask).await;
            let actor = client
                .credential()
                .actor()
                .map_or_else(String::new, |(name, _)| name);
            (number, Asked::new(verb, actor, fence, &exchange))
        }
    })
    .await
}

/// What the tool double ran, by the marker in its arguments.
#[must_use]
pub fn runs(tools: &Double) -> BTreeMap<String, Vec<Run>> {
    let mut runs: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for call in tools.calls() {
        let args = call.body["args"].clone();
        let marker = args["path"].as_str().unwrap_or_default().to_owned();
        let tool = call.body["tool_name"].as_str().unwrap_or_default();
        runs.entry(marker).or_default().push(Run {
            at_us: call.at_us,
            tool: tool.to_owned(),
            args,
        });
    }
    runs
}

/// Notes which calls of the tool double belong to which decision.
pub fn note_runs(tools: &Double, rounds: &mut [Round]) {
    let runs = runs(tools);
    for round in rounds {
        let own = runs.get(round.decision.marker());
        round.runs = Some(own.cloned().unwrap_or_default());
    }
}

/// All decisions asked for, as a history that other tools read too.
#[must_use]
pub fn history(rounds: &[Round]) -> History {
    let mut history = History::default();
    let asked = rounds.iter().flat_map(|round| {
        round
            .race
            .iter()
            .chain(&round.repeats)
            .map(move |asked| (&round.decision, asked))
    });
    for (process, (decision, asked)) in asked.enumerate() {
        let event = |kind, time_us, value| Event {
            process: process as u64,
            kind,
            f: asked.verb.path().to_owned(),
            value,
            time_us,
            correlation_id: None,
        };
        let Minted {
            id,
            fence: first_fence,
            ..
        } = decision;
        let fence = asked.fence.token();
        let wanted = json!({"id": id, "first_fence": first_fence, "fence": fence});
        let told =
            json!({"id": id, "status": asked.status, "code": asked.code, "verdict": asked.verdict});
        history.record(
            event(Kind::Invoke, asked.invoked_us, wanted),
            asked
                .returned_us
                .map(|returned_us| event(Kind::Ok, returned_us, told)),
        );
    }
    history.sort();
    history
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    #[test]
    fn a_plan_races_each_kind_on_each_route_and_is_the_same_for_the_same_seed() {
        let plans = plan(&mut Seed(3).rng(), 108);
        for route in Route::ALL {
            let races = || {
                plans
                    .iter()
                    .filter(|plan| plan.route == route)
                    .map(|plan| &plan.race)
            };
            let denies = |race: &&Vec<Move>| race.iter().any(|one| one.verb == Verb::Deny);
            assert_eq!(races().count(), 36);
            assert_eq!(races().filter(denies).count(), 24);
            for racers in [2, 64] {
                assert!(
                    races().any(|race| race.len() == racers),
                    "{racers} on {route}"
                );
            }
        }
        let words = |plans: &[Plan]| {
            let verbs = |plan: &Plan| plan.race.iter().map(|one| one.verb).collect::<Vec<_>>();
            plans.iter().map(verbs).collect::<Vec<_>>()
        };
        assert_eq!(words(&plans), words(&plan(&mut Seed(3).rng(), 108)));
        assert_ne!(words(&plans), words(&plan(&mut Seed(4).rng(), 108)));
    }

    #[test]
    fn batches_hold_whole_races_and_every_plan_is_in_one() {
        let plans = plan(&mut Seed(3).rng(), 108);
        let mut from = 0;
        while from < plans.len() {
            let to = batch_end(&plans, from, false);
            let racers: usize = plans[from..to].iter().map(|plan| plan.race.len()).sum();
            assert!(
                to > from && (racers <= RACERS_PER_BATCH || to == from + 1),
                "{from} to {to}"
            );
            assert_eq!(moves(&plans[from..to], false).len(), racers);
            from = to;
        }
        assert_eq!(from, plans.len());
    }
}
