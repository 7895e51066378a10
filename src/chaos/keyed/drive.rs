//! Drives the KILLs: several targets side by side, each killed once a round while a few operations
//! on different routes stand at the same point.

use std::time::Duration;

use anyhow::{anyhow, bail};
use rand::seq::SliceRandom;
use serde_json::json;

use super::operations::{Route, Sort};
use super::requests::{Keyed, Patience, Stage, Wanted, make_ready, operator};
use super::survival::{Kill, Lane, RESUME_BOUND_US, Subject};
use crate::chaos::Site;
use crate::chaos::crash::{Crash, InFlight, Moment, Unread, WriteLock, crash};
use crate::doubles::{Behaviour, Double, Point};
use crate::target::{Client, Credential, Instance};

/// Targets that are driven side by side.
const LANES: usize = 4;
/// `operations.retry_ms` of these targets: how soon an operation in doubt is tried again.
const RETRY_MS: u64 = 10;
/// Operations in flight at each KILL.
const IN_FLIGHT: usize = 3;
/// Until when operations have reached the point of a KILL.
const REACH_BOUND: Duration = Duration::from_secs(15);
/// Until when the write lock of a database is to be had.
const LOCK_BOUND: Duration = Duration::from_secs(15);
/// Keys that no longer stand for their answer, after which a lane has shown enough.
const LOST: usize = 3;
/// The routes with a call to a double.
const ROUTES: [Route; 5] = [
    Route::Turn,
    Route::Confirmation,
    Route::Action,
    Route::Eva,
    Route::Execute,
];

/// Where operations stand when the target is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// At their tool call.
    Tool(Point),
    /// At the second tool call of a turn.
    SecondTool(Point),
    /// At the model call of a turn.
    Model(Point),
    /// Their tool has answered; these services cannot store it.
    Unstored(&'static [&'static str]),
    /// Their answer is at the client, unread.
    AnswerDue,
}

impl Stand {
    /// The plainest way to this moment.
    fn at(moment: Moment) -> Self {
        match moment {
            Moment::Arrived => Self::Tool(Point::Arrived),
            Moment::Committed => Self::Tool(Point::Committed),
            Moment::Unstored => Self::Unstored(&["api-gateway", "eva-os"]),
            Moment::AnswerDue => Self::AnswerDue,
        }
    }

    fn moment(self) -> Moment {
        match self {
            Self::Tool(point) | Self::SecondTool(point) | Self::Model(point) => match point {
                Point::Arrived => Moment::Arrived,
                _ => Moment::Committed,
            },
            Self::Unstored(_) => Moment::Unstored,
            Self::AnswerDue => Moment::AnswerDue,
        }
    }

    /// The rounds of a lane. Each lane has every way; what two points share is dealt out.
    fn rounds(lane: usize) -> [Self; 6] {
        let (here, there) = match lane % 2 {
            0 => (Point::Arrived, Point::Committed),
            _ => (Point::Committed, Point::Arrived),
        };
        let turn = if lane < LANES / 2 {
            Self::SecondTool(here)
        } else {
            Self::Model(here)
        };
        [
            Self::Tool(here),
            Self::Tool(there),
            Self::Unstored(&["api-gateway", "eva-os"]),
            Self::Unstored(&["openclaw"]),
            Self::AnswerDue,
            turn,
        ]
    }

    /// What is in flight at this stand: by lane other routes.
    fn routes(self, lane: usize, round: usize) -> Vec<(Route, usize)> {
        let tools = match self {
            Self::SecondTool(_) => return vec![(Route::Turn, 2); 2],
            Self::Model(_) => return vec![(Route::Turn, 1); 2],
            // openclaw stores the answer of a direct call itself: it is not held back here.
            Self::Unstored(services) if !services.contains(&"openclaw") => &ROUTES[..4],
            _ => &ROUTES[..],
        };
        let from = lane + round;
        let nth = |step| (tools[(from + step) % tools.len()], 1);
        (0..IN_FLIGHT.min(tools.len())).map(nth).collect()
    }
}

/// What drives a lane, and the rounds it goes through.
pub struct Crew {
    number: usize,
    stage: Stage,
    rounds: Vec<Stand>,
}

/// Makes the lanes and their evidence.
pub async fn prepare(site: &mut Site, lanes: &mut Vec<Lane>) -> anyhow::Result<Vec<Crew>> {
    let mut crews = Vec::new();
    for number in 0..LANES {
        let stage = Stage::set(site, json!({"operations": {"retry_ms": RETRY_MS}})).await?;
        let mut rounds = Stand::rounds(number).to_vec();
        rounds.shuffle(&mut stage.seed.child("rounds").rng());
        crews.push(Crew {
            number,
            stage,
            rounds,
        });
    }
    lanes.resize_with(LANES, Lane::default);
    Ok(crews)
}

/// Drives all lanes to their ends.
pub async fn drive(site: &Site, crews: Vec<Crew>, lanes: &mut [Lane]) -> anyhow::Result<()> {
    let _span = site.span("kills");
    let lanes = crews.iter().zip(lanes).map(|(crew, lane)| crew.drive(lane));
    let outcomes = futures_util::future::join_all(lanes).await;
    outcomes.into_iter().collect()
}

/// A request and where its evidence is.
struct Part {
    keyed: Keyed,
    subject: usize,
}

impl Crew {
    /// One KILL at each of these moments. Crews of one target have numbers of their own.
    #[must_use]
    pub fn at(number: usize, stage: Stage, moments: &[Moment]) -> Self {
        Self {
            number,
            stage,
            rounds: moments.iter().copied().map(Stand::at).collect(),
        }
    }

    async fn drive(&self, lane: &mut Lane) -> anyhow::Result<()> {
        let mut instance = self.stage.start().await?;
        self.drive_on(&mut instance, lane).await
    }

    /// Drives all rounds on a target that runs.
    ///
    /// # Errors
    /// When it cannot be driven on.
    pub async fn drive_on(&self, instance: &mut Instance, lane: &mut Lane) -> anyhow::Result<()> {
        let client = operator(instance);
        let rounds = &self.rounds;
        let (answered, cut) = self.make_parts(&client, rounds, lane).await?;
        self.first_answers(&client, &answered, lane).await;
        for (index, (stand, parts)) in rounds.iter().zip(&cut).enumerate() {
            let outcome = self.round(instance, *stand, parts, lane).await;
            lane.backends = self.stage.backends();
            outcome?;
            if index == 0 {
                repeat(&client, answered.iter(), lane).await;
            }
            if lost(lane) > LOST {
                return Ok(());
            }
            if lane.kills.iter().all(|kill| kill.reached_us.is_none()) {
                let moment = stand.moment();
                bail!("no call got as far as {moment:?}");
            }
        }
        repeat(&client, answered.iter().chain(cut.iter().flatten()), lane).await;
        others(&client, &answered, lane).await;
        lane.backends = self.stage.backends();
        instance.exited();
        Ok(())
    }

    /// The requests that are answered before the first KILL, and those of each round.
    async fn make_parts(
        &self,
        client: &Client,
        rounds: &[Stand],
        lane: &mut Lane,
    ) -> anyhow::Result<(Vec<Part>, Vec<Vec<Part>>)> {
        let number = self.number;
        let mut wanted = vec![(
            None,
            Wanted::new(Route::Session, format!("crash{number}-session")),
        )];
        for route in ROUTES {
            wanted.push((
                None,
                Wanted::new(route, format!("crash{number}-{}", short(route))),
            ));
        }
        for (round, stand) in rounds.iter().enumerate() {
            for (nth, (route, tool_calls)) in stand.routes(number, round).into_iter().enumerate() {
                let key = format!("crash{number}-r{round}-{}{nth}", short(route));
                wanted.push((
                    Some(round),
                    Wanted {
                        route,
                        key,
                        tool_calls,
                    },
                ));
            }
        }
        let plain: Vec<Wanted> = wanted.iter().map(|(_, wanted)| wanted.clone()).collect();
        let keyed = make_ready(client, &plain).await?;
        let mut answered = Vec::new();
        let mut cut: Vec<Vec<Part>> = rounds.iter().map(|_| Vec::new()).collect();
        for ((round, _), keyed) in wanted.into_iter().zip(keyed) {
            let subject = lane.subjects.len();
            lane.subjects.push(Subject::new(keyed.operation(), round));
            let part = Part { keyed, subject };
            match round {
                None => answered.push(part),
                Some(round) => cut[round].push(part),
            }
        }
        Ok((answered, cut))
    }

    async fn first_answers(&self, client: &Client, parts: &[Part], lane: &mut Lane) {
        let asks = parts.iter().map(|part| client.send(part.keyed.ask()));
        let exchanges = futures_util::future::join_all(asks).await;
        for (part, exchange) in parts.iter().zip(exchanges) {
            lane.subjects[part.subject]
                .asked
                .note(Sort::First, exchange);
        }
    }

    /// One KILL: everything at its stand, killed, started, and watched until all is stored.
    async fn round(
        &self,
        instance: &mut Instance,
        stand: Stand,
        parts: &[Part],
        lane: &mut Lane,
    ) -> anyhow::Result<()> {
        let client = operator(instance);
        let kill = Kill {
            moment: stand.moment(),
            reached_us: None,
            locked: None,
            killed_us: 0,
            ready_us: None,
        };
        let crash = match stand {
            Stand::AnswerDue => self.cut_unread(instance, parts, kill, lane).await?,
            _ => {
                self.cut_held(instance, &client, stand, parts, kill, lane)
                    .await?
            }
        };
        for (part, exchange) in parts.iter().zip(crash.begun) {
            lane.subjects[part.subject]
                .asked
                .note(Sort::First, exchange);
        }
        lane.kills
            .last_mut()
            .expect("a round notes its KILL")
            .ready_us = crash.ready.as_ref().ok().copied();
        crash.ready?;
        if self.holds_again(stand) {
            self.watch_held(&client, stand, parts, lane).await;
        }
        self.watch_until_stored(&client, parts, lane).await;
        Ok(())
    }

    /// Whether the resumed calls are held once more, so that the keys are certainly in progress.
    fn holds_again(&self, stand: Stand) -> bool {
        matches!(
            stand,
            Stand::Tool(_) | Stand::Model(_) | Stand::SecondTool(_)
        )
    }

    fn double(&self, stand: Stand) -> &Double {
        match stand {
            Stand::Model(_) => &self.stage.models,
            _ => &self.stage.tools,
        }
    }

    /// KILL while a double holds the calls, or has answered them and nobody can store that.
    async fn cut_held(
        &self,
        instance: &mut Instance,
        client: &Client,
        stand: Stand,
        parts: &[Part],
        mut kill: Kill,
        lane: &mut Lane,
    ) -> anyhow::Result<Crash> {
        let double = self.double(stand);
        let point = match stand {
            Stand::Tool(point) | Stand::Model(point) | Stand::SecondTool(point) => point,
            _ => Point::Arrived,
        };
        double.behave(Behaviour::hold(point));
        let mut in_flight = InFlight::default();
        for part in parts {
            let (client, ask) = (client.clone(), part.keyed.ask());
            in_flight.begin(async move { client.send(ask).await });
        }
        let mut reached = double.held(parts.len(), REACH_BOUND).await;
        if reached.is_ok() && matches!(stand, Stand::SecondTool(_)) {
            double.release();
            reached = double.held(parts.len(), REACH_BOUND).await;
        }
        let mut locks = Vec::new();
        let mut locked_us = None;
        if let Stand::Unstored(services) = stand {
            locks = lock(instance, services).await?;
            locked_us = Some(self.stage.clock.now_us());
            double.behave(Behaviour::default());
            double.release();
            self.answered(parts).await;
        }
        kill.reached_us = reached.is_ok().then(|| self.stage.clock.now_us());
        let again = self.holds_again(stand);
        let crash = crash(instance, self.stage.clock, in_flight, || {
            let next = if again {
                Behaviour::hold(Point::Arrived)
            } else {
                Behaviour::default()
            };
            double.behave(next);
            double.release();
            drop(locks);
        });
        let crash = crash.await?;
        kill.killed_us = crash.killed_us;
        kill.locked = locked_us.map(|from| (from, crash.killed_us + 1));
        lane.kills.push(kill);
        Ok(crash)
    }

    /// Waits until the tools have answered everything in flight, as far as they will.
    async fn answered(&self, parts: &[Part]) {
        let mut patience = Patience::new(self.stage.clock);
        let bound_us = u64::try_from(REACH_BOUND.as_micros()).unwrap_or(u64::MAX);
        while patience.spent_us() < bound_us {
            let backends = self.stage.backends();
            let answered = |path: &String| {
                let calls = backends.tool(path);
                calls.iter().any(|call| call.answered_us.is_some())
            };
            let done = |part: &Part| part.keyed.operation().paths.iter().all(answered);
            if parts.iter().all(done) {
                return;
            }
            patience.pause().await;
        }
    }

    /// KILL while the answers lie at the client, unread.
    async fn cut_unread(
        &self,
        instance: &mut Instance,
        parts: &[Part],
        mut kill: Kill,
        lane: &mut Lane,
    ) -> anyhow::Result<Crash> {
        let clock = self.stage.clock;
        let listening = instance.listening();
        let by = instance.setup().keys.header(&Credential::Operator(1));
        let sends = parts
            .iter()
            .map(|part| Unread::send(&listening, by.clone(), part.keyed.ask(), clock));
        let unread = futures_util::future::try_join_all(sends).await?;
        let due = unread
            .iter()
            .map(|one| tokio::time::timeout(REACH_BOUND, one.due()));
        for (part, due) in parts.iter().zip(futures_util::future::join_all(due).await) {
            lane.subjects[part.subject].answer_due_us = due.ok().and_then(Result::ok);
        }
        kill.reached_us = Some(clock.now_us());
        let mut crash = crash(instance, clock, InFlight::default(), || {}).await?;
        crash.begun = unread.into_iter().map(Unread::abandon).collect();
        kill.killed_us = crash.killed_us;
        lane.kills.push(kill);
        Ok(crash)
    }

    /// While the resumed calls are held: the same request and another one under each key.
    async fn watch_held(&self, client: &Client, stand: Stand, parts: &[Part], lane: &mut Lane) {
        let double = self.double(stand);
        let clock = self.stage.clock;
        let bound = Duration::from_micros(RESUME_BOUND_US);
        let held = double.held(parts.len(), bound).await;
        let from_us = clock.now_us();
        let asks = parts.iter().map(|part| async {
            (
                client.send(part.keyed.ask()).await,
                client.send(part.keyed.other()).await,
            )
        });
        let answers = futures_util::future::join_all(asks);
        tokio::pin!(answers);
        // A target that runs a repeat again waits for our double: let go as soon as that shows.
        let early = tokio::select! {
            answers = &mut answers => Some(answers),
            _ = double.held(parts.len() + 1, bound) => None,
        };
        let until_us = clock.now_us();
        double.behave(Behaviour::default());
        double.release();
        let answers = match early {
            Some(answers) => answers,
            None => answers.await,
        };
        for (part, (same, other)) in parts.iter().zip(answers) {
            let subject = &mut lane.subjects[part.subject];
            subject.held_again = held.is_ok().then_some((from_us, until_us));
            subject.asked.note(Sort::Repeat, same);
            subject.asked.note(Sort::Other, other);
        }
    }

    /// Repeats each request until it gets a stored answer, or its bound has passed.
    async fn watch_until_stored(&self, client: &Client, parts: &[Part], lane: &mut Lane) {
        let clock = self.stage.clock;
        let watches = parts.iter().map(|part| async move {
            let mut patience = Patience::new(clock);
            let mut tries = part.keyed.operation();
            loop {
                part.keyed.send(client, Sort::Repeat, &mut tries).await;
                let waited_us = patience.spent_us();
                let waits = tries
                    .tries
                    .last()
                    .is_some_and(|last| tries.in_progress(last));
                if !waits || waited_us >= RESUME_BOUND_US {
                    return (tries, waited_us);
                }
                patience.pause().await;
            }
        });
        for (part, (tries, waited_us)) in parts
            .iter()
            .zip(futures_util::future::join_all(watches).await)
        {
            let subject = &mut lane.subjects[part.subject];
            subject.asked.append(tries);
            subject.waited_us = waited_us;
        }
    }
}

/// How many repeats were neither told to wait nor given a stored answer.
fn lost(lane: &Lane) -> usize {
    let lost = |subject: &Subject| {
        let asked = &subject.asked;
        let repeats = asked
            .tries
            .iter()
            .filter(|entry| entry.sort == Sort::Repeat);
        repeats
            .filter(|entry| !asked.in_progress(entry) && !entry.replayed)
            .count()
    };
    lane.subjects.iter().map(lost).sum()
}

/// Sends each request once more.
async fn repeat(client: &Client, parts: impl Iterator<Item = &Part>, lane: &mut Lane) {
    let parts: Vec<&Part> = parts.collect();
    let asks = parts.iter().map(|part| client.send(part.keyed.ask()));
    let exchanges = futures_util::future::join_all(asks).await;
    for (part, exchange) in parts.iter().zip(exchanges) {
        lane.subjects[part.subject]
            .asked
            .note(Sort::Repeat, exchange);
    }
}

/// Sends another request under each key.
async fn others(client: &Client, parts: &[Part], lane: &mut Lane) {
    let asks = parts.iter().map(|part| client.send(part.keyed.other()));
    let exchanges = futures_util::future::join_all(asks).await;
    for (part, exchange) in parts.iter().zip(exchanges) {
        lane.subjects[part.subject]
            .asked
            .note(Sort::Other, exchange);
    }
}

/// The write locks of these services' databases; a file that two of them share is locked once.
pub async fn lock(instance: &Instance, services: &[&str]) -> anyhow::Result<Vec<WriteLock>> {
    let listening = instance.listening();
    let mut paths = Vec::new();
    for service in services {
        let path = listening.databases.get(*service);
        let path = path.ok_or_else(|| anyhow!("the target names no database of {service}"))?;
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    let mut locks = Vec::new();
    for path in paths {
        locks.push(WriteLock::take(&path, LOCK_BOUND).await?);
    }
    Ok(locks)
}

fn short(route: Route) -> &'static str {
    match route {
        Route::Session => "session",
        Route::Turn => "turn",
        Route::Confirmation => "confirmation",
        Route::Action => "action",
        Route::Eva => "eva",
        Route::Execute => "execute",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{IN_FLIGHT, LANES, Moment, ROUTES, Stand};

    #[test]
    fn the_plan_has_enough_kills_and_every_route_at_every_moment() {
        let mut routes: BTreeMap<Moment, BTreeSet<_>> = BTreeMap::new();
        let (mut kills, mut operations) = (0, 0);
        for lane in 0..LANES {
            for (round, stand) in Stand::rounds(lane).into_iter().enumerate() {
                let in_flight = stand.routes(lane, round);
                kills += 1;
                operations += in_flight.len();
                assert!((1..=IN_FLIGHT).contains(&in_flight.len()));
                let of = routes.entry(stand.moment()).or_default();
                of.extend(in_flight.into_iter().map(|(route, _)| route));
            }
        }
        assert!(kills >= 20, "{kills}");
        assert!(operations >= 60, "{operations}");
        for (moment, routes) in routes {
            assert_eq!(routes, BTreeSet::from(ROUTES), "{moment:?}");
        }
    }

    #[test]
    fn a_turn_with_two_tool_calls_is_cut_at_the_second_before_and_after_its_effect() {
        let stands = (0..LANES).flat_map(Stand::rounds);
        let second = |stand: &Stand| matches!(stand, Stand::SecondTool(_));
        let moments: BTreeSet<_> = stands.filter(second).map(Stand::moment).collect();
        assert_eq!(
            moments,
            BTreeSet::from([Moment::Arrived, Moment::Committed])
        );
    }
}
