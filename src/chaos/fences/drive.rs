//! How fences are driven.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde_json::json;
use tokio::task::JoinSet;

use super::story::{Act, Aim, Attempt, Look, ROUNDING_US, Step, Story};
use super::{Evidence, Kill};
use crate::chaos::approvals::{
    self, Minted, Route, Shown, Verb, guarded_calls, markers, mint, session,
};
use crate::chaos::{Site, storm};
use crate::doubles::Double;
use crate::target::{Ask, Client, Credential, Instance};

/// How long a decision stays open: far longer than the drive.
const TTL_MS: u64 = 600_000;
/// How long one stays open that is to expire.
const SHORT_TTL_MS: u64 = 50;
/// How long its expiry is waited for.
const EXPIRY_BOUND: Duration = Duration::from_secs(10);
/// Races beyond the minimum, so that a few that do not count make no difference.
const SPARE_RACES: usize = 15;
/// Requests released by one barrier, over all decisions of a batch.
const RACERS_PER_BATCH: usize = 128;
/// Decisions a route whose reissue is under way when the target is killed.
const IN_FLIGHT: usize = 3;

const APPROVE: Act = Act::Decide(Verb::Approve);
const DENY: Act = Act::Decide(Verb::Deny);

/// Where a fence is shown.
#[derive(Clone, Copy)]
enum At {
    Nowhere,
    Header,
    Body,
}

/// One step to come: none is a look.
type Move = Option<(Act, Aim, At)>;

const LOOK: Move = None;

const fn ask(act: Act, aim: Aim, at: At) -> Move {
    Some((act, aim, at))
}

/// What is done to fresh decisions, each list to one of its own on every route.
const SCRIPTS: [&[Move]; 7] = [
    &[
        LOOK,
        ask(APPROVE, Aim::OneLess, At::Header),
        ask(APPROVE, Aim::OneMore, At::Body),
        LOOK,
        ask(APPROVE, Aim::Anothers, At::Header),
        ask(DENY, Aim::Anothers, At::Body),
        ask(APPROVE, Aim::HeaderOfLetters, At::Header),
        ask(APPROVE, Aim::HeaderTooGreat, At::Header),
        ask(APPROVE, Aim::BodyOfLetters, At::Body),
        LOOK,
        ask(APPROVE, Aim::Right, At::Header),
        LOOK,
        ask(Act::Reissue, Aim::Late, At::Nowhere),
    ],
    &[
        ask(DENY, Aim::OneMore, At::Header),
        ask(DENY, Aim::OneLess, At::Body),
        ask(DENY, Aim::BodyWithFraction, At::Body),
        LOOK,
        ask(DENY, Aim::Right, At::Body),
        ask(Act::Reissue, Aim::Late, At::Body),
    ],
    &[ask(APPROVE, Aim::Right, At::Body)],
    &[ask(APPROVE, Aim::Right, At::Nowhere)],
    &[ask(DENY, Aim::Right, At::Nowhere)],
    &[
        ask(Act::Reissue, Aim::OneLess, At::Header),
        LOOK,
        ask(Act::Reissue, Aim::Right, At::Nowhere),
        LOOK,
        ask(APPROVE, Aim::Voided, At::Header),
        ask(APPROVE, Aim::NoneNow, At::Nowhere),
        ask(DENY, Aim::Voided, At::Body),
        ask(DENY, Aim::NoneNow, At::Nowhere),
        ask(Act::Reissue, Aim::Right, At::Body),
        ask(APPROVE, Aim::OneLess, At::Body),
        ask(APPROVE, Aim::Voided, At::Body),
        LOOK,
        ask(APPROVE, Aim::Right, At::Body),
    ],
    &[
        ask(Act::Reissue, Aim::Right, At::Header),
        ask(APPROVE, Aim::OneMore, At::Header),
        ask(DENY, Aim::Right, At::Header),
    ],
];

/// What is done to a decision that is open while the target is killed: before the first KILL,
/// between the two, and after the second.
const KEPT: [&[Move]; 3] = [
    &[LOOK],
    &[
        LOOK,
        ask(APPROVE, Aim::OneLess, At::Header),
        ask(APPROVE, Aim::OneMore, At::Header),
    ],
    &[
        LOOK,
        ask(Act::Reissue, Aim::Right, At::Body),
        LOOK,
        ask(APPROVE, Aim::Voided, At::Header),
        ask(APPROVE, Aim::Right, At::Header),
    ],
];

/// What is done to one that has expired. That it cannot be decided before, another gate asks.
const EXPIRED: &[Move] = &[
    ask(Act::Reissue, Aim::Right, At::Header),
    LOOK,
    ask(APPROVE, Aim::Voided, At::Header),
    ask(APPROVE, Aim::NoneNow, At::Nowhere),
    ask(APPROVE, Aim::Right, At::Body),
];

/// What is done to one whose reissue the KILL cut, or did not.
const CUT: &[Move] = &[
    ask(Act::Reissue, Aim::Right, At::Nowhere),
    ask(APPROVE, Aim::Voided, At::Header),
    ask(APPROVE, Aim::Right, At::Header),
];

/// What is done after a race that a reissue won, and after one that a decision won. Nothing is
/// decided twice: what a late decision gets, another gate asks.
const RACED: [&[Move]; 2] = [
    &[
        ask(APPROVE, Aim::Voided, At::Header),
        ask(APPROVE, Aim::Right, At::Body),
    ],
    &[ask(Act::Reissue, Aim::Late, At::Nowhere)],
];

/// Drives it on a target of its own, with so many races at least.
///
/// # Errors
/// When there is nothing to decide on.
pub async fn drive(site: &mut Site, races: usize, seen: &mut Evidence) -> anyhow::Result<()> {
    seen.ttl_ms = TTL_MS;
    site.models.script(guarded_calls);
    let patch = json!({"confirmations": {"ttl_ms": TTL_MS}});
    let mut target = site.start(patch).await?;
    let clients = [1, 2].map(|number| target.client(Credential::Operator(number)));
    let session = session(&clients[0]).await?;
    let desk = Desk { clients, session };
    let outcome = all(site, races, seen, &desk, &mut target).await;
    count_runs(&site.tools, seen);
    target.exited();
    outcome
}

async fn all(
    site: &Site,
    races: usize,
    seen: &mut Evidence,
    desk: &Desk,
    target: &mut Instance,
) -> anyhow::Result<()> {
    follow_scripts(site, seen, desk).await?;
    race(site, races, seen, desk).await?;
    crash(site, seen, desk, target).await
}

/// Two operators and a session of theirs.
struct Desk {
    clients: [Client; 2],
    session: String,
}

impl Desk {
    async fn mint(
        &self,
        site: &Site,
        what: &str,
        per_route: usize,
        ttl_ms: u64,
    ) -> anyhow::Result<Vec<Story>> {
        let mut stories = Vec::new();
        for route in Route::ALL {
            let markers = markers(site.seed, &format!("{what}-{route}"), per_route);
            let minted = mint(&self.clients[0], &self.session, route, &markers).await?;
            stories.extend(minted.into_iter().map(|decision| Story {
                decision,
                ttl_ms,
                race: Vec::new(),
                steps: Vec::new(),
                runs: None,
            }));
        }
        Ok(stories)
    }

    /// Does these things to a decision, one after the other, the operators in turn.
    async fn play(&self, story: &mut Story, moves: &[Move], another: i64) {
        for (number, next) in moves.iter().enumerate() {
            let client = &self.clients[number % 2];
            let step = match next {
                None => Step::Looked(self.look(client, &story.decision).await),
                Some((act, aim, at)) => {
                    let fence = shown(story, *aim, *at, another);
                    let exchange = client
                        .send(request(&story.decision, *act, *aim, fence))
                        .await;
                    Step::Asked(Attempt::new(*act, *aim, fence, &exchange))
                }
            };
            story.steps.push(step);
        }
    }

    /// What the target shows of a decision.
    async fn look(&self, client: &Client, decision: &Minted) -> Look {
        let (route, id) = (decision.route, &decision.id);
        let (exchange, shown) = approvals::look(client, &self.session, route, id).await;
        Look::new(&exchange, &shown)
    }
}

/// The fence that a request shows, as far as the answers so far tell.
fn shown(story: &Story, aim: Aim, at: At, another: i64) -> Shown {
    let fences: Vec<i64> = story.issues().map(|issue| issue.fence).collect();
    let first = story.decision.fence;
    let current = fences.iter().copied().max().unwrap_or(first);
    let token = match aim {
        Aim::OneLess => current - 1,
        Aim::OneMore => current + 1,
        Aim::Anothers => another,
        Aim::Voided => first,
        _ => current,
    };
    match at {
        At::Nowhere => Shown::Nothing,
        At::Header => Shown::Header(token),
        At::Body => Shown::Body(token),
    }
}

/// A request that shows this fence, or instead of it something that is none.
fn request(decision: &Minted, act: Act, aim: Aim, fence: Shown) -> Ask {
    let mut ask = decision.route.ask(&decision.id, act.path(), fence);
    let token = fence.token().unwrap_or_default();
    let in_body = match aim {
        Aim::HeaderOfLetters => return ask.header("x-fence-token", format!("fence-{token}")),
        Aim::HeaderTooGreat => return ask.header("x-fence-token", format!("{token}{}", u64::MAX)),
        Aim::BodyOfLetters => json!(token.to_string()),
        Aim::BodyWithFraction => json!(token as f64 + 0.5),
        _ => return ask,
    };
    if let Some(body) = &mut ask.body {
        body["fence_token"] = in_body;
    }
    ask
}

/// Every script on every route, side by side, and at last the decisions whose fences were shown
/// elsewhere.
async fn follow_scripts(site: &Site, seen: &mut Evidence, desk: &Desk) -> anyhow::Result<()> {
    let _span = site.span("scripts");
    let per_route = SCRIPTS.len() + 1;
    let first = seen.stories.len();
    seen.stories
        .extend(desk.mint(site, "script", per_route, TTL_MS).await?);
    let mut others = Vec::new();
    let mut plays = Vec::new();
    for stories in seen.stories[first..].chunks_mut(per_route) {
        let Some((other, stories)) = stories.split_last_mut() else {
            continue;
        };
        let another = other.decision.fence;
        others.push(other);
        for (story, script) in stories.iter_mut().zip(SCRIPTS) {
            plays.push(desk.play(story, script, another));
        }
    }
    join_all(plays).await;
    let script = &[LOOK, ask(APPROVE, Aim::Right, At::Header)];
    join_all(others.into_iter().map(|other| desk.play(other, script, 0))).await;
    Ok(())
}

/// One race to come: who, what, and where the fence is shown.
type Plan = Vec<(usize, Act, At)>;

/// One decision, an approval more often than not, and up to three reissues.
fn plan(rng: &mut ChaCha8Rng) -> Plan {
    let denied = rng.random_bool(0.2);
    let mut acts = vec![Act::Reissue; rng.random_range(1..=3)];
    acts.push(if denied { DENY } else { APPROVE });
    acts.shuffle(rng);
    let mut racer = |act| {
        let at = match rng.random_range(0..3) {
            0 => At::Nowhere,
            1 => At::Header,
            _ => At::Body,
        };
        (rng.random_range(0..2), act, at)
    };
    acts.into_iter().map(&mut racer).collect()
}

/// Races approvals against reissues, batch by batch, and then asks who is left.
async fn race(site: &Site, races: usize, seen: &mut Evidence, desk: &Desk) -> anyhow::Result<()> {
    let _span = site.span("races");
    let wanted = races + SPARE_RACES;
    let per_route = wanted.div_ceil(Route::ALL.len());
    let first = seen.stories.len();
    seen.stories
        .extend(desk.mint(site, "race", per_route, TTL_MS).await?);
    let stories = &mut seen.stories[first..];
    stories.shuffle(&mut site.seed.child("order").rng());
    let mut rng = site.seed.child("races").rng();
    let mut racers = Vec::new();
    for number in 0..stories.len() {
        racers.extend(plan(&mut rng).into_iter().map(|racer| (number, racer)));
        if racers.len() >= RACERS_PER_BATCH || number + 1 == stories.len() {
            release(desk, stories, std::mem::take(&mut racers)).await;
        }
    }
    let after = stories.iter_mut().map(|story| {
        let decided = |asked: &Attempt| asked.ok() && asked.act != Act::Reissue;
        let script = RACED[usize::from(story.race.iter().any(decided))];
        desk.play(story, script, 0)
    });
    join_all(after).await;
    Ok(())
}

/// All of these through one barrier.
async fn release(desk: &Desk, stories: &mut [Story], racers: Vec<(usize, (usize, Act, At))>) {
    let attempts = storm(racers.len(), |index| {
        let (number, (operator, act, at)) = racers[index];
        let (story, client) = (&stories[number], desk.clients[operator].clone());
        let fence = shown(story, Aim::Right, at, 0);
        let ask = request(&story.decision, act, Aim::Right, fence);
        async move {
            let exchange = client.send(ask).await;
            (number, Attempt::new(act, Aim::Right, fence, &exchange))
        }
    });
    for (number, attempt) in attempts.await {
        stories[number].race.push(attempt);
    }
}

/// Decisions over two KILLs: open ones, ones that are reissued when the first comes, and ones that
/// expire between the two, where a time to live is short.
async fn crash(
    site: &Site,
    seen: &mut Evidence,
    desk: &Desk,
    target: &mut Instance,
) -> anyhow::Result<()> {
    let mut kept = desk.mint(site, "kept", 1, TTL_MS).await?;
    let mut cut = desk.mint(site, "cut", IN_FLIGHT, TTL_MS).await?;
    let mut expired = Vec::new();
    let outcome = async {
        join_all(kept.iter_mut().map(|story| desk.play(story, KEPT[0], 0))).await;
        kill_amid_reissues(site, seen, desk, target, &mut cut).await?;
        restart(site, seen, target, SHORT_TTL_MS).await?;
        join_all(kept.iter_mut().map(|story| desk.play(story, KEPT[1], 0))).await;
        expired = desk.mint(site, "expired", 1, SHORT_TTL_MS).await?;
        expire(site, &expired).await?;
        target.kill().await?;
        note_kill(site, seen);
        restart(site, seen, target, TTL_MS).await?;
        join_all(expired.iter_mut().map(|story| desk.play(story, EXPIRED, 0))).await;
        join_all(kept.iter_mut().map(|story| desk.play(story, KEPT[2], 0))).await;
        join_all(cut.iter_mut().map(|story| desk.play(story, CUT, 0))).await;
        let mut fresh = desk.mint(site, "fresh", 1, TTL_MS).await?;
        let script = &[LOOK, ask(APPROVE, Aim::Right, At::Body)];
        join_all(fresh.iter_mut().map(|story| desk.play(story, script, 0))).await;
        seen.stories.extend(fresh);
        Ok(())
    }
    .await;
    seen.stories
        .extend(kept.into_iter().chain(cut).chain(expired));
    outcome
}

fn note_kill(site: &Site, seen: &mut Evidence) {
    seen.kills.push(Kill {
        killed_us: site.clock.now_us(),
        ready_us: None,
    });
}

/// Kills the target as soon as the first of many reissues has its answer.
async fn kill_amid_reissues(
    site: &Site,
    seen: &mut Evidence,
    desk: &Desk,
    target: &mut Instance,
    stories: &mut [Story],
) -> anyhow::Result<()> {
    let _span = site.span("kill");
    let mut flying = JoinSet::new();
    for (number, story) in stories.iter().enumerate() {
        let ask = request(&story.decision, Act::Reissue, Aim::Right, Shown::Nothing);
        let client = desk.clients[number % 2].clone();
        flying.spawn(async move { (number, client.send(ask).await) });
    }
    let first = flying.join_next().await.transpose()?;
    let killed = target.kill().await;
    note_kill(site, seen);
    for (number, exchange) in first.into_iter().chain(flying.join_all().await) {
        let attempt = Attempt::new(Act::Reissue, Aim::Right, Shown::Nothing, &exchange);
        stories[number].race.push(attempt);
    }
    Ok(killed?)
}

/// Starts the target again on its data, with this time to live.
async fn restart(
    site: &Site,
    seen: &mut Evidence,
    target: &mut Instance,
    ttl_ms: u64,
) -> anyhow::Result<()> {
    let _span = site.span("start again");
    let mut config = target.setup().config.clone();
    config["confirmations"]["ttl_ms"] = ttl_ms.into();
    target.start_again_with(config).await?;
    if let Some(kill) = seen.kills.last_mut() {
        kill.ready_us = Some(site.clock.now_us());
    }
    Ok(())
}

/// Waits until the time to live of all of these is certainly over.
async fn expire(site: &Site, stories: &[Story]) -> anyhow::Result<()> {
    let last = stories.iter().map(|story| story.decision.shown_us).max();
    let over_us = last.unwrap_or_default() + SHORT_TTL_MS * 1_000 + ROUNDING_US;
    let poll = || std::future::ready((site.clock.now_us() > over_us).then_some(()));
    site.until("expiry", EXPIRY_BOUND, poll).await
}

/// Notes how often the tool of each decision ran, by its marker.
fn count_runs(tools: &Double, seen: &mut Evidence) {
    let mut runs: BTreeMap<String, u64> = BTreeMap::new();
    for call in tools.calls() {
        let marker = call.body["args"]["path"].as_str().unwrap_or_default();
        *runs.entry(marker.to_owned()).or_default() += 1;
    }
    for story in &mut seen.stories {
        story.runs = Some(
            runs.get(story.decision.marker())
                .copied()
                .unwrap_or_default(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    #[test]
    fn every_aim_is_in_some_script() {
        let scripts = SCRIPTS.into_iter().chain(KEPT).chain([EXPIRED]).flatten();
        let aims: Vec<Aim> = scripts.flatten().map(|(_, aim, _)| *aim).collect();
        for aim in Aim::ALL {
            assert!(aims.contains(&aim), "{aim}");
        }
    }

    #[test]
    fn every_race_has_one_decision_and_a_reissue_and_is_the_same_for_the_same_seed() {
        let plans = |seed| {
            let mut rng = Seed(seed).rng();
            let acts = |plan: Plan| plan.into_iter().map(|(_, act, _)| act).collect::<Vec<_>>();
            (0..40).map(|_| acts(plan(&mut rng))).collect::<Vec<_>>()
        };
        for acts in plans(3) {
            let reissues = acts.iter().filter(|act| **act == Act::Reissue).count();
            assert!(reissues >= 1 && acts.len() == reissues + 1, "{acts:?}");
        }
        assert_eq!(plans(3), plans(3));
        assert_ne!(plans(3), plans(4));
    }

    #[test]
    fn what_is_no_fence_is_sent_in_place_of_one() {
        let decision = Minted {
            route: Route::EvaOs,
            id: "apr_1".into(),
            fence: 41,
            args: json!({}),
            minted_us: 0,
            shown_us: 0,
        };
        let sent = |aim, fence| request(&decision, APPROVE, aim, fence);
        let header = |aim| sent(aim, Shown::Header(41)).headers["x-fence-token"].clone();
        assert_eq!(header(Aim::HeaderOfLetters), "fence-41");
        assert_eq!(header(Aim::HeaderTooGreat), "4118446744073709551615");
        let body = |aim| sent(aim, Shown::Body(41)).body.unwrap()["fence_token"].clone();
        assert_eq!(body(Aim::BodyOfLetters), json!("41"));
        assert_eq!(body(Aim::BodyWithFraction), json!(41.5));
        assert_eq!(body(Aim::Right), json!(41));
    }
}
