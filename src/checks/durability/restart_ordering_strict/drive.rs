//! How restart-ordering-strict is driven.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::json;

use super::deed::{About, Deed, Thing, is_half_done};
use super::looking::actions;
use super::{Evidence, Kill, Lane, Op, Style};
use crate::base::{Clock, Seed, random_id};
use crate::chaos::approvals::guarded_calls;
use crate::chaos::crash::{InFlight, Unread, WriteLock};
use crate::checks::{Cx, Undecided};
use crate::contract::Effect;
use crate::doubles::{Behaviour, Double, Kind, Point};
use crate::target::{Ask, Client, Credential, Exchange, Instance};

/// Targets that are driven side by side, with a share of the script each.
const LANES: usize = 2;
/// Sessions that are never closed: turns and actions go there.
const WORKING_SESSIONS: usize = 2;
/// Operations before the first KILL of a lane, so that there is something to lose.
const FIRST_KILL: usize = 5;
/// The time to live of whatever has one: longer than any clock here is off.
const TTL_MS: u64 = 30 * 24 * 3_600_000;
/// How far the clock of a process may be off, either way.
const OFFSET_MS: i64 = 3_600_000;
/// Until when an operation has come to where it is held, and an interrupted one is over.
const BOUND: Duration = Duration::from_secs(10);
/// How often the harness lets others go first before a KILL at any moment, at most.
const YIELDS: u32 = 2_000;
/// Operations that were not acknowledged, of those that nobody cut, after which a lane has shown
/// enough.
const LOST: usize = 5;

/// The kills of each lane, in any order; the deeds that they fall on are any where none is named.
const KILLS: [&[(Style, Option<Deed>)]; LANES] = [
    &[
        (Style::Acknowledged, Some(Deed::Remember)),
        (Style::Acknowledged, Some(Deed::CreateTask)),
        (Style::Acknowledged, Some(Deed::OpenSession)),
        (Style::Acknowledged, Some(Deed::Remember)),
        (Style::Unread, Some(Deed::PlanAction)),
        (Style::Unread, Some(Deed::CreateTask)),
        (Style::Held, Some(Deed::Turn)),
        (Style::Held, Some(Deed::ApproveAction)),
        (Style::Locked, Some(Deed::CreateTask)),
        (Style::Racing, None),
    ],
    &[
        (Style::Acknowledged, Some(Deed::Remember)),
        (Style::Acknowledged, Some(Deed::TakeFrame)),
        (Style::Acknowledged, Some(Deed::AskEva)),
        (Style::Acknowledged, Some(Deed::Remember)),
        (Style::Unread, Some(Deed::AskEva)),
        (Style::Unread, Some(Deed::UpdateTask)),
        (Style::Held, Some(Deed::AskInTurn)),
        (Style::Held, Some(Deed::ApproveEva)),
        (Style::Locked, Some(Deed::OpenSession)),
        (Style::Racing, None),
    ],
];

/// Drives it.
///
/// # Errors
/// When a target is gone for good.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let share = |what: &str, least: u64| -> Result<usize, Undecided> {
        let least = cx.minimum.get(what).copied().unwrap_or(least);
        Ok(usize::try_from(least)?.div_ceil(LANES))
    };
    // Cut operations do not count, and each KILL may cut one.
    let kills = share("kills", 20)?;
    let operations = share("operations", 200)? + kills;
    let mut scripts = Vec::new();
    for (number, of) in KILLS.into_iter().enumerate() {
        scripts.push(Script::start(cx, number, of, (operations, kills)).await?);
    }
    seen.lanes.resize_with(LANES, Lane::default);
    let cx = &*cx;
    let lanes = scripts.iter_mut().zip(&mut seen.lanes);
    let outcomes = join_all(lanes.map(|(script, lane)| script.drive(cx, lane))).await;
    outcomes.into_iter().collect()
}

/// A thing that something can be done to.
#[derive(Clone, Debug)]
struct Known {
    thing: Thing,
    marker: String,
    id: String,
    version: u64,
}

/// A request to come.
struct Next {
    deed: Deed,
    about: String,
    session: Option<String>,
    id: String,
    ask: Ask,
}

/// A target, the rest of its script, and what is known of its things.
pub(super) struct Script {
    pub(super) instance: Instance,
    pub(super) client: Client,
    models: Double,
    tools: Double,
    rng: ChaCha8Rng,
    clock: Clock,
    number: usize,
    operations: usize,
    deck: Vec<Deed>,
    kills: BTreeMap<usize, (Style, Option<Deed>)>,
    known: Vec<Known>,
    /// Marker and id of every session and memory that was acknowledged.
    pub(super) readable: Vec<(Thing, String, String)>,
}

impl Script {
    async fn start(
        cx: &mut Cx,
        number: usize,
        of: &[(Style, Option<Deed>)],
        (operations, kills): (usize, usize),
    ) -> Result<Self, Undecided> {
        let models = Double::start(Kind::Models, cx.clock).await?;
        let tools = Double::start(Kind::Tools, cx.clock).await?;
        models.script(guarded_calls);
        let patch = json!({
            "backends": {"models": {"url": models.url()}, "tools": {"url": tools.url()}},
            "sessions": {"ttl_ms": TTL_MS, "idle_ms": TTL_MS},
            "confirmations": {"ttl_ms": TTL_MS},
            "operations": {"retry_ms": 10},
        });
        let instance = cx.start(patch).await?;
        let seed = cx.seed.child(&format!("script {number}"));
        let mut rng = seed.rng();
        Ok(Self {
            client: instance.client(Credential::Operator(1)),
            instance,
            models,
            tools,
            operations,
            deck: deck(&mut rng, operations - kills),
            kills: kill_points(seed.child("kills"), operations, of, kills),
            rng,
            clock: cx.clock,
            number,
            known: Vec::new(),
            readable: Vec::new(),
        })
    }

    async fn drive(&mut self, cx: &Cx, lane: &mut Lane) -> Result<(), Undecided> {
        let _span = cx.span("script");
        for _ in 0..WORKING_SESSIONS {
            let next = self.next(Deed::OpenSession, lane.ops.len());
            self.send(next, lane).await;
        }
        for number in 0..self.operations {
            let kill = self.kills.get(&number).copied();
            let deed = match kill {
                Some((_, Some(deed))) if self.can(deed) => deed,
                // What never gets to a backend cannot be held there; a turn always does.
                Some((Style::Held, _)) => Deed::Turn,
                _ => self.draw(),
            };
            let next = self.next(deed, lane.ops.len());
            match kill {
                None | Some((Style::Acknowledged, _)) => self.send(next, lane).await,
                Some((style, _)) => self.cut(style, next, lane).await?,
            }
            if let Some((style, _)) = kill {
                self.kill_unless_killed(style, lane).await?;
                self.restart(cx, lane).await?;
                self.look(lane, Some(lane.kills.len() - 1)).await;
                // Of each process a task, so that clocks and order differ.
                let next = self.next(Deed::CreateTask, lane.ops.len());
                self.send(next, lane).await;
            }
            let lost = |op: &&Op| op.returned_us.is_some() && !op.acknowledged();
            if lane.ops.iter().filter(lost).count() > LOST {
                break;
            }
        }
        self.look(lane, None).await;
        self.instance.exited();
        Ok(())
    }

    /// The first card of the deck that there is a thing for; the others wait.
    fn draw(&mut self) -> Deed {
        let first = self.deck.iter().position(|deed| self.can(*deed));
        first.map_or(Deed::CreateTask, |at| self.deck.remove(at))
    }

    /// Whether there is a thing that it can be done to.
    fn can(&self, deed: Deed) -> bool {
        deed.needs()
            .is_none_or(|thing| self.usable(thing).next().is_some())
    }

    fn usable(&self, thing: Thing) -> impl Iterator<Item = &Known> {
        let working = if thing == Thing::Session {
            WORKING_SESSIONS
        } else {
            0
        };
        let of = move |known: &&Known| known.thing == thing;
        self.known.iter().filter(of).skip(working)
    }

    /// The request for a deed, on a thing by chance.
    fn next(&mut self, deed: Deed, number: usize) -> Next {
        let id = format!("b5-{}-{number}", self.number);
        let on = deed.needs().and_then(|thing| {
            let all: Vec<Known> = self.usable(thing).cloned().collect();
            all.choose(&mut self.rng).cloned()
        });
        let sessions = self
            .known
            .iter()
            .filter(|known| known.thing == Thing::Session);
        let working: Vec<Known> = sessions.take(WORKING_SESSIONS).cloned().collect();
        let session = working.choose(&mut self.rng).cloned();
        let about = match (deed, &on, &session) {
            (Deed::Turn, _, Some(session)) => session.marker.clone(),
            (_, Some(on), _) => on.marker.clone(),
            _ => random_id("b5_", &mut self.rng),
        };
        let ask = deed.ask(&About {
            marker: &about,
            id: on.as_ref().map_or("", |on| &on.id),
            version: on.as_ref().map_or(0, |on| on.version),
            session: session.as_ref().map_or("", |session| &session.id),
            name: &id,
        });
        // The header is named: not every request here goes through the client, which would add it.
        let ask = ask.header("x-correlation-id", &*id).correlation(&id);
        let in_turn = matches!(deed, Deed::Turn | Deed::AskInTurn);
        let session = session.filter(|_| in_turn).map(|session| session.marker);
        Next {
            deed,
            about,
            session,
            id,
            ask,
        }
    }

    async fn send(&mut self, next: Next, lane: &mut Lane) {
        let exchange = self.client.send(next.ask.clone()).await;
        self.note(next, &exchange, lane);
    }

    /// Notes what came of a request, and what that says of its thing.
    fn note(&mut self, next: Next, exchange: &Exchange, lane: &mut Lane) {
        let Next {
            deed, about, id, ..
        } = next;
        let at = self.known.iter().position(|known| known.marker == about);
        let at = at.filter(|_| deed.needs().is_some());
        match at {
            Some(at) if exchange.ok() && !deed.ends() => self.known[at].version += 1,
            // Whether a cut one happened is for others to say: the thing is left alone.
            Some(at) => drop(self.known.remove(at)),
            None => {}
        }
        if let (true, Some(thing), Some(made)) =
            (exchange.ok(), deed.makes(), deed.made_id(exchange))
        {
            if matches!(thing, Thing::Session | Thing::Memory) {
                self.readable.push((thing, about.clone(), made.clone()));
            }
            let (marker, version) = (about.clone(), 1);
            self.known.push(Known {
                thing,
                marker,
                id: made,
                version,
            });
        }
        lane.ops.push(Op {
            deed,
            about,
            session: next.session.unwrap_or_default(),
            id,
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            code: exchange.code().to_owned(),
        });
    }

    /// Begins an operation, and kills the target where the style says.
    async fn cut(&mut self, style: Style, next: Next, lane: &mut Lane) -> Result<(), Undecided> {
        let exchange = match style {
            Style::Unread => {
                let unread = self.unread(&next).await?;
                // An answer that never comes is no reason not to kill.
                let _ = tokio::time::timeout(BOUND, unread.due()).await;
                self.kill(style, lane).await?;
                unread.abandon()
            }
            Style::Locked => {
                let listening = self.instance.listening();
                let database = listening.databases.get(&next.ask.service);
                let database = database.ok_or_else(|| no_database(&next.ask.service))?;
                let lock = WriteLock::take(database, BOUND).await?;
                let unread = self.unread(&next).await?;
                self.kill(style, lane).await?;
                drop(lock);
                unread.abandon()
            }
            Style::Held => self.held(&next, lane).await?,
            Style::Racing | Style::Acknowledged => {
                let in_flight = self.begin(&next);
                for _ in 0..self.rng.random_range(0..YIELDS) {
                    tokio::task::yield_now().await;
                }
                self.kill(style, lane).await?;
                first(in_flight.ended().await)?
            }
        };
        self.note(next, &exchange, lane);
        Ok(())
    }

    async fn unread(&self, next: &Next) -> Result<Unread, Undecided> {
        let by = self.instance.setup().keys.header(self.client.credential());
        Ok(Unread::send(&self.instance.listening(), by, next.ask.clone(), self.clock).await?)
    }

    fn begin(&self, next: &Next) -> InFlight {
        let (client, ask) = (self.client.clone(), next.ask.clone());
        let mut in_flight = InFlight::default();
        in_flight.begin(async move { client.send(ask).await });
        in_flight
    }

    /// Killed while the backend has the call, before or after its effect.
    async fn held(&mut self, next: &Next, lane: &mut Lane) -> Result<Exchange, Undecided> {
        let asks_model = matches!(next.deed, Deed::Turn | Deed::AskInTurn);
        let double = if asks_model {
            &self.models
        } else {
            &self.tools
        };
        let points = [Point::Arrived, Point::Committed];
        double.behave(Behaviour::hold(
            points[self.rng.random_range(0..points.len())],
        ));
        let in_flight = self.begin(next);
        // A call that never comes is no reason not to kill.
        let _ = double.held(1, BOUND).await;
        self.kill(Style::Held, lane).await?;
        let ended = in_flight.ended().await;
        for double in [&self.models, &self.tools] {
            double.behave(Behaviour::default());
            double.release();
        }
        first(ended)
    }

    /// Kills, now. The operation is the next one to be noted.
    async fn kill(&mut self, style: Style, lane: &mut Lane) -> Result<(), Undecided> {
        let signal_us = self.clock.now_us();
        self.instance.kill().await?;
        lane.kills.push(Kill {
            style,
            op: lane.ops.len(),
            signal_us,
            ready_us: None,
            offset_ms: self.offset_ms(lane.kills.len()),
        });
        Ok(())
    }

    /// How far the next process's clock is off: ahead and behind by turns.
    fn offset_ms(&mut self, kills: usize) -> i64 {
        let off = self.rng.random_range(OFFSET_MS / 2..=OFFSET_MS);
        if kills.is_multiple_of(2) { off } else { -off }
    }

    /// Kills after the operation that was just acknowledged.
    async fn kill_unless_killed(&mut self, style: Style, lane: &mut Lane) -> Result<(), Undecided> {
        if style != Style::Acknowledged {
            return Ok(());
        }
        self.kill(style, lane).await?;
        if let Some(kill) = lane.kills.last_mut() {
            kill.op = lane.ops.len() - 1;
        }
        Ok(())
    }

    /// The next process, with another time of day; waits until what was interrupted is over.
    async fn restart(&mut self, cx: &Cx, lane: &mut Lane) -> Result<(), Undecided> {
        let kill = lane.kills.last_mut().expect("it was just killed");
        let mut config = self.instance.setup().config.clone();
        config["clock"] = json!({"offset_ms": kill.offset_ms});
        self.instance.start_again_with(config).await?;
        kill.ready_us = Some(self.clock.now_us());
        let op = &lane.ops[kill.op];
        if !op.deed.calls_out() || op.returned_us.is_some() {
            return Ok(());
        }
        let route = op.deed.ask(&About {
            marker: "",
            id: "x",
            version: 0,
            session: "",
            name: "",
        });
        let Some(row) = Effect::of(&route.service, &route.method, &route.path) else {
            return Ok(());
        };
        let database = self
            .instance
            .listening()
            .databases
            .get(&route.service)
            .cloned();
        let database = database.ok_or_else(|| no_database(&route.service))?;
        let over = cx.until("end of what was interrupted", BOUND, || {
            let (database, id) = (database.clone(), op.id.clone());
            async move {
                let actions = actions(database, id).await.ok()?;
                (!is_half_done(row, &actions)).then_some(())
            }
        });
        // What is not over in time shows in what is looked at next.
        drop(over.await);
        Ok(())
    }
}

fn first(ended: Vec<Exchange>) -> Result<Exchange, Undecided> {
    let first = ended.into_iter().next();
    first.ok_or_else(|| Undecided("an operation was begun and never ended".to_owned()))
}

pub(super) fn no_database(service: &str) -> Undecided {
    Undecided(format!("the target names no database of {service}"))
}

/// So many deeds, each of them once and the others by chance, as their weights say.
fn deck(rng: &mut ChaCha8Rng, operations: usize) -> Vec<Deed> {
    let mut cards: Vec<Deed> = Deed::WEIGHTS.iter().map(|(deed, _)| *deed).collect();
    while cards.len() < operations {
        let one = Deed::WEIGHTS.choose_weighted(rng, |(_, weight)| *weight);
        cards.push(one.map_or(Deed::CreateTask, |(deed, _)| *deed));
    }
    cards.shuffle(rng);
    cards
}

/// At which operations the kills of a lane fall.
fn kill_points(
    seed: Seed,
    operations: usize,
    of: &[(Style, Option<Deed>)],
    kills: usize,
) -> BTreeMap<usize, (Style, Option<Deed>)> {
    let mut rng = seed.rng();
    let mut points: Vec<usize> = (FIRST_KILL..operations).collect();
    points.shuffle(&mut rng);
    points
        .into_iter()
        .zip(of.iter().copied().cycle().take(kills))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_kills_are_twenty_of_every_style_at_distinct_points() {
        let mut styles = BTreeSet::new();
        for (number, of) in KILLS.into_iter().enumerate() {
            assert_eq!(of.len(), 10);
            let points = kill_points(Seed(7).child(&number.to_string()), 110, of, 10);
            assert_eq!(points.len(), 10);
            assert!(points.keys().all(|at| (FIRST_KILL..110).contains(at)));
            styles.extend(points.values().map(|(style, _)| *style));
            let other = kill_points(Seed(8), 110, of, 10);
            assert_ne!(points, other);
        }
        assert_eq!(styles.len(), 5);
    }

    #[test]
    fn a_deck_has_every_deed_and_is_the_same_for_the_same_seed() {
        let cards = |seed| deck(&mut Seed(seed).rng(), 100);
        let kinds: BTreeSet<Deed> = cards(3).into_iter().collect();
        assert_eq!(kinds.len(), Deed::WEIGHTS.len());
        assert_eq!(cards(3), cards(3));
        assert_ne!(cards(3), cards(4));
    }

    #[test]
    fn every_deed_is_a_row_of_the_contract() {
        for (deed, _) in Deed::WEIGHTS {
            let ask = deed.ask(&About {
                marker: "m",
                id: "x",
                version: 1,
                session: "s",
                name: "n",
            });
            let row = Effect::of(&ask.service, &ask.method, &ask.path);
            let row =
                row.unwrap_or_else(|| panic!("{deed:?}: no row for {} {}", ask.method, ask.path));
            assert_eq!(row.started.is_some(), deed.calls_out(), "{deed:?}");
        }
    }
}
