//! How approval-race-safe is driven.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::{Direct, Evidence, Round, Run, Warrant};
use crate::chaos::history::{Event, History, Kind};
use crate::chaos::storm;
use crate::checks::policy::approvals::{
    GUARDED_TOOL, Minted, Route, Shown, Verb, guarded_calls, marked, markers, mint, session,
};
use crate::checks::policy::asked::Asked;
use crate::checks::{Cx, Undecided};
use crate::doubles::{Behaviour, Double};
use crate::target::{Ask, Client, Credential, Exchange};

/// Rounds beyond the minimum, so that a few that do not count make no difference.
const SPARE_ROUNDS: usize = 16;
/// How long a decision stays open: far longer than the drive.
const TTL_MS: u64 = 600_000;
/// What the slow tool takes.
const SLOW_MS: u64 = 15;
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

/// Drives it.
///
/// # Errors
/// When there is nothing to race for.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    seen.ttl_ms = TTL_MS;
    cx.models.script(guarded_calls);
    let target = cx
        .start(json!({"confirmations": {"ttl_ms": TTL_MS}}))
        .await?;
    let clients = [1, 2].map(|number| target.client(Credential::Operator(number)));
    let session = session(&clients[0]).await?;
    let least = cx.minimum.get("rounds").copied().unwrap_or(200);
    let rounds = usize::try_from(least)? + SPARE_ROUNDS;
    let mut rng = cx.seed.child("races").rng();
    for tool_ms in [0, SLOW_MS] {
        let plans = plan(&mut rng, rounds.div_ceil(2));
        race_all(cx, seen, &clients, &session, tool_ms, plans).await?;
    }
    cx.tools.behave(Behaviour::default());
    without_decision(cx, seen, &clients[0]).await;
    with_decision(cx, seen, &clients[0], &session).await?;
    last_approval(cx, seen, &clients[0], &session).await?;
    count_runs(&cx.tools, seen);
    cx.leave("history.jsonl", history(seen).write().as_bytes())?;
    Ok(())
}

/// One race to come.
struct Plan {
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
fn plan(rng: &mut ChaCha8Rng, rounds: usize) -> Vec<Plan> {
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

/// Mints what the plans need, then races batch by batch.
async fn race_all(
    cx: &Cx,
    seen: &mut Evidence,
    clients: &[Client; 2],
    session: &str,
    tool_ms: u64,
    plans: Vec<Plan>,
) -> Result<(), Undecided> {
    let first = seen.rounds.len();
    let mut minted: BTreeMap<Route, Vec<Minted>> = BTreeMap::new();
    {
        let _span = cx.span("mint");
        for route in Route::ALL {
            let wanted = plans.iter().filter(|plan| plan.route == route).count();
            let markers = markers(cx.seed, &format!("{route}-{tool_ms}"), wanted);
            minted.insert(route, mint(&clients[0], session, route, &markers).await?);
        }
    }
    for plan in &plans {
        let left = minted.get_mut(&plan.route).and_then(Vec::pop);
        let decision = left.expect("one decision was minted a plan");
        let (race, repeats) = (Vec::new(), Vec::new());
        seen.rounds.push(Round {
            decision,
            tool_ms,
            race,
            repeats,
            runs: None,
        });
    }
    cx.tools.behave(Behaviour::slow(tool_ms));
    let _span = cx.span("storm");
    for repeats in [false, true] {
        let mut from = 0;
        while from < plans.len() {
            let to = batch_end(&plans, from, repeats);
            let rounds = &mut seen.rounds[first + from..first + to];
            for (number, asked) in release(clients, rounds, moves(&plans[from..to], repeats)).await
            {
                let round = &mut rounds[number];
                if repeats {
                    round.repeats.push(asked)
                } else {
                    round.race.push(asked)
                }
            }
            count_runs(&cx.tools, seen);
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

/// Guarded calls without any decision, and one of a safe tool as the control.
async fn without_decision(cx: &Cx, seen: &mut Evidence, operator: &Client) {
    let fresh = markers(cx.seed, "direct", 4);
    for (marker, warrant) in fresh.iter().zip([
        Warrant::Nothing,
        Warrant::NothingFromService,
        Warrant::Forged,
        Warrant::SafeTool,
    ]) {
        let tool = if warrant == Warrant::SafeTool {
            "file.read"
        } else {
            GUARDED_TOOL
        };
        let mut body = json!({"tool_name": tool, "args": marked(marker)});
        if warrant == Warrant::Forged {
            let id = "cnf_ffffffffffff";
            body["decision"] = json!({"issuer": "api-gateway", "id": id, "fence_token": 1});
        }
        let client = match warrant {
            Warrant::NothingFromService => operator.under(Credential::Service),
            _ => operator.clone(),
        };
        let exchange = client.send(Ask::post("openclaw", "/execute", body)).await;
        seen.direct.push(direct(warrant, "no issuer", &exchange));
    }
}

/// Guarded calls that name a decision which does not allow them, of each route.
async fn with_decision(
    cx: &Cx,
    seen: &mut Evidence,
    operator: &Client,
    session: &str,
) -> Result<(), Undecided> {
    for route in Route::ALL {
        let pending = markers(cx.seed, &format!("pending-{route}"), 1);
        let pending = mint(operator, session, route, &pending).await?;
        let attempts = [
            (Warrant::Pending, pending.into_iter().next()),
            (Warrant::Denied, won_by(seen, route, Verb::Deny)),
            (Warrant::Consumed, won_by(seen, route, Verb::Approve)),
        ];
        for (warrant, decision) in attempts {
            let Some(Minted {
                id, fence, args, ..
            }) = decision
            else {
                continue;
            };
            let issuer = route.issuer();
            let decision = json!({"issuer": issuer, "id": id, "fence_token": fence});
            let body = json!({"tool_name": GUARDED_TOOL, "args": args, "decision": decision});
            let exchange = operator.send(Ask::post("openclaw", "/execute", body)).await;
            seen.direct.push(direct(warrant, issuer, &exchange));
        }
    }
    Ok(())
}

fn won_by(seen: &Evidence, route: Route, verb: Verb) -> Option<Minted> {
    let won = |round: &&Round| {
        round
            .race
            .iter()
            .any(|asked| asked.won() && asked.verb == verb)
    };
    let mut rounds = seen
        .rounds
        .iter()
        .filter(|round| round.decision.route == route);
    rounds.find(won).map(|round| round.decision.clone())
}

/// One approval that has to run, last of all: whatever the target still had to do had its turn.
async fn last_approval(
    cx: &Cx,
    seen: &mut Evidence,
    operator: &Client,
    session: &str,
) -> Result<(), Undecided> {
    let markers = markers(cx.seed, "last", 1);
    let last = mint(operator, session, Route::Confirmations, &markers).await?;
    let [decision] = <[Minted; 1]>::try_from(last).expect("one marker, one decision");
    let (verb, fence) = (Verb::Approve, Shown::Body(decision.fence));
    let exchange = operator
        .send(decision.route.ask(&decision.id, verb.path(), fence))
        .await;
    let race = vec![Asked::new(verb, "op-1".to_owned(), fence, &exchange)];
    seen.rounds.push(Round {
        decision,
        tool_ms: 0,
        race,
        repeats: Vec::new(),
        runs: None,
    });
    Ok(())
}

fn direct(warrant: Warrant, issuer: &str, exchange: &Exchange) -> Direct {
    let args = exchange
        .body
        .as_ref()
        .map_or(Value::Null, |body| body["args"].clone());
    Direct {
        warrant,
        issuer: issuer.to_owned(),
        args,
        invoked_us: exchange.invoked_us,
        status: exchange.status(),
        code: exchange.code().to_owned(),
        runs: None,
    }
}

/// Notes which calls of the tool double belong to which decision, by their marker.
fn count_runs(tools: &Double, seen: &mut Evidence) {
    let mut runs: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for call in tools.calls() {
        let args = call.body["args"].clone();
        let marker = args["path"].as_str().unwrap_or_default().to_owned();
        let tool = call.body["tool_name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        runs.entry(marker).or_default().push(Run {
            at_us: call.at_us,
            tool,
            args,
        });
    }
    for round in &mut seen.rounds {
        round.runs = Some(
            runs.get(round.decision.marker())
                .cloned()
                .unwrap_or_default(),
        );
    }
    for direct in &mut seen.direct {
        let marker = direct.args["path"].as_str().unwrap_or_default();
        let mut later = runs.get(marker).cloned().unwrap_or_default();
        later.retain(|run| run.at_us >= direct.invoked_us);
        direct.runs = Some(later);
    }
}

/// All decisions asked for, as a history that other tools read too.
fn history(seen: &Evidence) -> History {
    let mut history = History::default();
    let asked = seen.rounds.iter().flat_map(|round| {
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
