//! What actions and probes do: one target on a site, with the driving that the gates use.

use std::time::Duration;

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::acts::links::{self, Links};
use super::acts::pause::Pause;
use super::acts::work::Desk;
use super::acts::{Book, disk, exercise, load, replays, stand_ins, tamper};
use super::experiment::{Act, Experiment};
use super::record::Record;
use super::vocabulary::{Action, Condition, Counted, Probe};
use crate::base::json::merge;
use crate::chaos::approvals::round::{Round, violations};
use crate::chaos::approvals::{race, session};
use crate::chaos::bursts;
use crate::chaos::crash::Moment;
use crate::chaos::degrade::lane::{WINDOW_TURNS, slo_by_count};
use crate::chaos::degrade::machine::{DEFAULT_BREACH_WINDOWS, DEFAULT_RECOVER_WINDOWS};
use crate::chaos::degrade::{Change, Cycle, Injection, Lane, Step, Timeline, Went, Work};
use crate::chaos::keyed::drive::Crew;
use crate::chaos::keyed::requests::Stage;
use crate::chaos::keyed::survival::{self, second_effects};
use crate::chaos::tampering::Attack;
use crate::chaos::{Judgement, Site, envelopes};
use crate::doubles::Behaviour;
use crate::target::{Ask, Client, Credential, Writing};

/// How long a decision stays open: far longer than a drill.
const TTL_MS: u64 = 600_000;
/// How soon an operation in doubt is tried again after a KILL.
const RETRY_MS: u64 = 10;
/// Sessions that may be active: far more than a drill opens.
const MOST_SESSIONS: u64 = 10_000;
/// How often the clock of the run looks whether a pause can begin.
const PAUSE_POLL: Duration = Duration::from_millis(1);
/// How long a pause waits for a call that it can fall into.
const PAUSE_BOUND: Duration = Duration::from_secs(10);
/// How often a condition is looked at while it is awaited.
const WAIT_POLL: Duration = Duration::from_millis(20);
/// What lets a process live on when it cannot write any more, as on a disk that is full.
const THROUGH: [&str; 2] = ["env", "--ignore-signal=XFSZ"];
/// What is asked for to see the mode: the first two are shed while degraded, the third never.
const WORKS: [Work; 3] = [
    Work::VisionFrame,
    Work::MemoryWriteLow,
    Work::MemoryWriteNormal,
];

/// The target of a drill, and what it leaves in the record.
pub(super) struct World<'r> {
    site: &'r mut Site,
    cycle: Cycle<'r>,
    rounds: &'r mut Vec<Round>,
    lanes: &'r mut Vec<survival::Lane>,
    book: &'r mut Book,
    desk: Desk,
    links: Links,
    ttl_ms: u64,
    running: bool,
    storms: u64,
}

/// What a world has seen so far.
pub(super) struct Seen<'a> {
    pub(super) line: &'a Timeline,
    pub(super) rounds: &'a [Round],
    pub(super) lanes: &'a [survival::Lane],
    pub(super) book: &'a Book,
}

/// The parts of a record that a world writes.
pub(super) struct Pages<'r> {
    pub(super) ttl_ms: &'r mut u64,
    pub(super) line: &'r mut Timeline,
    pub(super) rounds: &'r mut Vec<Round>,
    pub(super) lanes: &'r mut Vec<survival::Lane>,
    pub(super) book: &'r mut Book,
}

impl<'r> World<'r> {
    /// Starts the target, a link between it and the double of its model.
    pub(super) async fn open(
        site: &'r mut Site,
        pages: Pages<'r>,
        experiment: &Experiment,
    ) -> anyhow::Result<Self> {
        *pages.ttl_ms = TTL_MS;
        stand_ins::script(site);
        let seed = site.seed.child("links");
        let (links, found) = Links::open(site, experiment.links(), seed).await?;
        let mut patch = json!({
            "slo": slo_by_count(),
            "confirmations": {"ttl_ms": TTL_MS},
            "operations": {"retry_ms": RETRY_MS},
            "sessions": {"max_active": MOST_SESSIONS},
        });
        merge(&mut patch, &found);
        let mut setup = site.setup(patch);
        if experiment
            .actions()
            .any(|action| *action == Action::FillDisk)
        {
            setup.through = THROUGH.map(str::to_owned).into();
        }
        let lane = Lane {
            launcher: site.launcher.clone(),
            setup,
            models: site.models.clone(),
            injection: Injection::Wire,
        };
        Ok(Self {
            cycle: lane.open(pages.line).await?,
            site,
            rounds: pages.rounds,
            lanes: pages.lanes,
            book: pages.book,
            desk: Desk::default(),
            links,
            ttl_ms: TTL_MS,
            running: true,
            storms: 0,
        })
    }

    /// What was seen so far.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            line: self.cycle.line(),
            rounds: self.rounds,
            lanes: self.lanes,
            book: self.book,
        }
    }

    /// Does it or looks at it, and says what came of it.
    pub(super) async fn carry_out(&mut self, act: &Act) -> anyhow::Result<Value> {
        let done = self.act_or_look(act).await;
        // What a fault has met so far is seen on its link.
        if let Some(link) = self.cycle.link() {
            links::look(links::MODELS, link, &mut self.book.links);
        }
        self.links.look(&mut self.book.links);
        done
    }

    async fn act_or_look(&mut self, act: &Act) -> anyhow::Result<Value> {
        match act {
            Act::Do(action) => self.act(action).await,
            Act::Look(probe) => self.look(*probe).await,
            Act::Foreign { .. } => unreachable!("a step of somebody else's needs no target"),
        }
    }

    async fn act(&mut self, action: &Action) -> anyhow::Result<Value> {
        let starts = matches!(
            action,
            Action::Start | Action::Heal | Action::EditConfig { .. } | Action::Exercise(_)
        );
        ensure!(
            self.running || starts,
            "the target does not run: `start` it first"
        );
        if self.running {
            // A restarted process has other ports.
            self.links.lead_home(&self.cycle.instance().listening())?;
        }
        match action {
            Action::InjectLatency { at } => self.cycle.inject_at(*at),
            Action::Heal => {
                self.cycle.relieve();
                self.links.heal();
            }
            Action::Link { name, deed } => {
                let link = self.links.get(name, self.cycle.link())?;
                return links::drive(name, link, deed, &mut self.book.links).await;
            }
            Action::Traffic { windows } => return self.traffic(*windows).await,
            Action::TrafficUntil { mode } => return self.traffic_until(*mode).await,
            Action::ProbeWork => return self.mode().await,
            Action::Storm {
                rounds,
                tool_ms,
                pause_ms,
            } => return self.storm((*rounds, *tool_ms), *pause_ms).await,
            Action::Crash { at } => return self.crash(at).await,
            Action::Kill => self.kill().await?,
            Action::Stop => {
                self.running = false;
                let status = self.cycle.instance().terminate().await?;
                return Ok(json!({"status": status.to_string()}));
            }
            Action::Start => self.start().await?,
            Action::Restart => {
                self.kill().await?;
                self.start().await?;
            }
            Action::Pause => self.pause()?,
            Action::Resume => self.resume()?,
            Action::EditConfig { patch } => self.edit_config(patch)?,
            Action::Wait { until, within_ms } => return self.wait(*until, *within_ms).await,
            other => return self.act_by_book(other).await,
        }
        Ok(Value::Null)
    }

    /// What leaves its own page in the book.
    async fn act_by_book(&mut self, action: &Action) -> anyhow::Result<Value> {
        let client = self.operator();
        match action {
            Action::Prepare { operations } => {
                let (instance, work) = (self.cycle.instance(), &mut self.book.work);
                self.desk.prepare(instance, *operations, work).await
            }
            Action::Work { operations, racers } => {
                let work = &mut self.book.work;
                if !self.desk.is_ready() {
                    let instance = self.cycle.instance();
                    self.desk.prepare(instance, *operations, work).await?;
                }
                self.desk.send(&client, self.site, *racers, work).await
            }
            Action::Repeat => {
                let work = &mut self.book.work;
                Ok(self.desk.again(&client, self.site, work).await)
            }
            Action::Burst { times, writes } => self.burst(&client, *times, *writes).await,
            Action::Decide => {
                let session = session(&client).await?;
                let all = envelopes::all(self.site.seed);
                let kills = self.count(Counted::Kills);
                let turns = &mut self.book.turns;
                envelopes::round(&client, &session, &all, kills, turns).await;
                Ok(json!({"turns": turns.len()}))
            }
            Action::Replay { times } => {
                let session = session(&client).await?;
                replays::drive(&client, &session, *times, &mut self.book.replays).await
            }
            Action::Load { rate, seconds } => {
                let how = (load::SERVICE, *rate, *seconds);
                Ok(load::drive(&client, self.site.clock, how, &mut self.book.loads).await)
            }
            Action::Tamper { attack, chain } => self.tamper(&client, *attack, chain).await,
            Action::FillDisk => self.fill_disk().await,
            Action::FreeDisk => self.free_disk().await,
            Action::Exercise(wanted) => {
                let done = exercise::drive(self.site, *wanted, &mut self.book.exercises).await;
                stand_ins::script(self.site);
                done
            }
            other => unreachable!("{other:?} is done elsewhere"),
        }
    }

    async fn tamper(
        &mut self,
        client: &Client,
        attack: Attack,
        chain: &str,
    ) -> anyhow::Result<Value> {
        let (instance, from_us) = (self.cycle.instance(), self.site.clock.now_us());
        self.running = false;
        let into = &mut self.book.tampered;
        let done = tamper::drive(instance, client, (attack, chain), into).await?;
        self.running = true;
        self.cycle.was_restarted(from_us, self.site.clock.now_us());
        Ok(done)
    }

    async fn fill_disk(&mut self) -> anyhow::Result<Value> {
        let limit = Some(disk::LIMIT_BYTES);
        self.cycle.instance().limit_files(limit).await?;
        self.book.full.push(disk::Full {
            from_us: self.site.clock.now_us(),
            to_us: None,
        });
        Ok(Value::Null)
    }

    async fn free_disk(&mut self) -> anyhow::Result<Value> {
        let now_us = self.site.clock.now_us();
        self.cycle.instance().limit_files(None).await?;
        if let Some(full) = self.book.full.last_mut() {
            full.to_us = Some(now_us);
        }
        Ok(Value::Null)
    }

    fn operator(&mut self) -> Client {
        self.cycle.instance().client(Credential::Operator(1))
    }

    /// Looks, and says what there is to see.
    async fn look(&mut self, probe: Probe) -> anyhow::Result<Value> {
        match probe {
            Probe::Healthy => self.healthy().await,
            Probe::Mode => {
                ensure!(self.running, "the target does not run: `start` it first");
                self.mode().await
            }
            Probe::Count(of) => Ok(json!(self.count(of))),
        }
    }

    /// Windows of turns. One that does not close is no failure of the drill: it was seen.
    async fn traffic(&mut self, windows: u64) -> anyhow::Result<Value> {
        let mut closed = 0;
        for _ in 0..windows {
            if self.cycle.turns(WINDOW_TURNS, None).await? == Went::Silent {
                break;
            }
            closed += 1;
        }
        Ok(json!({"windows": windows, "closed": closed}))
    }

    async fn traffic_until(&mut self, mode: Change) -> anyhow::Result<Value> {
        let windows = match mode {
            Change::Entered => DEFAULT_BREACH_WINDOWS,
            Change::Exited => DEFAULT_RECOVER_WINDOWS,
        };
        let came = self.cycle.turns_until(mode, windows as usize).await?;
        ensure!(came, "no {} however long traffic went on", mode.event());
        Ok(json!({"event": mode.event()}))
    }

    /// The mode, by what is shed and served.
    async fn mode(&mut self) -> anyhow::Result<Value> {
        self.cycle.read().await?;
        self.cycle.probe(&WORKS).await;
        let steps = &self.cycle.line().steps;
        let last = |work: Work| {
            steps.iter().rev().find_map(|step| match step {
                Step::Probe(probe) if probe.work == work => Some(probe),
                _ => None,
            })
        };
        let of_two = [last(WORKS[0]), last(WORKS[1])];
        let all = |is: fn(&crate::chaos::degrade::Probe) -> bool| {
            of_two.iter().all(|probe| probe.is_some_and(is))
        };
        let mode = if all(crate::chaos::degrade::Probe::shed) {
            "degraded"
        } else if all(crate::chaos::degrade::Probe::served) {
            "normal"
        } else {
            "mixed"
        };
        Ok(json!(mode))
    }

    /// Races; with a pause the target is stopped once in their middle, while it waits for a tool.
    async fn storm(
        &mut self,
        (rounds, tool_ms): (u64, u64),
        pause_ms: u64,
    ) -> anyhow::Result<Value> {
        let clients =
            [1, 2].map(|number| self.cycle.instance().client(Credential::Operator(number)));
        let session = session(&clients[0]).await?;
        self.storms += 1;
        let seed = self.site.seed.child(&format!("storm {}", self.storms));
        let plans = race::plan(&mut seed.rng(), usize::try_from(rounds)?);
        let first = self.rounds.len();
        let label = format!("storm{}-{tool_ms}", self.storms);
        let raced = race::race_all(
            self.site,
            self.rounds,
            &clients,
            &session,
            (&label, tool_ms),
            plans,
        );
        let (site, instance) = (&*self.site, self.cycle.instance());
        let pauses = &mut self.book.pauses;
        let paused = async {
            if pause_ms == 0 {
                return Ok(());
            }
            let known = site.tools.calls().len();
            let end = tokio::time::Instant::now() + PAUSE_BOUND;
            while site.tools.calls().len() == known && tokio::time::Instant::now() < end {
                tokio::time::sleep(PAUSE_POLL).await;
            }
            instance.pause()?;
            pauses.push(Pause {
                from_us: site.clock.now_us(),
                to_us: None,
                in_flight: stand_ins::in_flight(site),
            });
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            instance.resume()?;
            let pause = pauses.last_mut().expect("a pause was added");
            pause.to_us = Some(site.clock.now_us());
            anyhow::Ok(())
        };
        let (raced, paused) = tokio::join!(raced, paused);
        self.site.tools.behave(Behaviour::default());
        raced?;
        paused?;
        Ok(json!({"rounds": self.rounds.len() - first}))
    }

    fn pause(&mut self) -> anyhow::Result<()> {
        let in_flight = stand_ins::in_flight(self.site);
        self.cycle.instance().pause()?;
        self.book.pauses.push(Pause {
            from_us: self.site.clock.now_us(),
            to_us: None,
            in_flight,
        });
        Ok(())
    }

    fn resume(&mut self) -> anyhow::Result<()> {
        self.cycle.instance().resume()?;
        let now_us = self.site.clock.now_us();
        match self.book.pauses.last_mut() {
            Some(pause) if pause.to_us.is_none() => pause.to_us = Some(now_us),
            _ => bail!("the target was not paused"),
        }
        Ok(())
    }

    /// Another content for the config file, which a target that runs reads by itself, and the next
    /// start too.
    fn edit_config(&mut self, patch: &Value) -> anyhow::Result<()> {
        let instance = self.cycle.instance();
        let mut config = instance.setup().config.clone();
        merge(&mut config, patch);
        if self.running {
            let text = serde_json::to_vec_pretty(&config)?;
            instance.write_config(&text, Writing::Rename)?;
        }
        instance.edited(config);
        Ok(())
    }

    async fn wait(&mut self, until: Condition, within_ms: u64) -> anyhow::Result<Value> {
        let end = tokio::time::Instant::now() + Duration::from_millis(within_ms);
        loop {
            let seen = match until {
                Condition::Ready => self.healthy().await?,
                Condition::Mode(_) => self.mode().await?,
            };
            let expected = match until {
                Condition::Ready => json!(true),
                Condition::Mode(mode) => json!(mode),
            };
            if seen == expected {
                return Ok(seen);
            }
            let over = tokio::time::Instant::now() >= end;
            ensure!(
                !over,
                "got {seen} for {within_ms} ms, waited for {expected}"
            );
            tokio::time::sleep(WAIT_POLL).await;
        }
    }

    async fn burst(&mut self, client: &Client, times: u64, writes: u64) -> anyhow::Result<Value> {
        for _ in 0..times {
            let (number, from_us) = (self.book.bursts.len(), self.site.clock.now_us());
            let (instance, seen) = (self.cycle.instance(), &mut self.book.bursts);
            self.running = false;
            bursts::drive(instance, client, number, writes, seen).await?;
            self.running = true;
            self.cycle.was_restarted(from_us, self.site.clock.now_us());
        }
        Ok(json!({"kills": times}))
    }

    async fn crash(&mut self, at: &[Moment]) -> anyhow::Result<Value> {
        let stage = Stage::over(self.site, self.cycle.instance());
        let crew = Crew::at(self.lanes.len(), stage, at);
        self.lanes.push(survival::Lane::default());
        let lane = self.lanes.last_mut().expect("a lane was added");
        let driven = crew.drive_on(self.cycle.instance(), lane).await;
        for kill in &lane.kills {
            if let Some(ready_us) = kill.ready_us {
                self.cycle.was_restarted(kill.killed_us, ready_us);
            }
        }
        let kills = lane.kills.len();
        self.running = lane.kills.last().is_none_or(|kill| kill.ready_us.is_some());
        driven?;
        Ok(json!({"kills": kills}))
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.running = false;
        self.cycle.kill().await
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        if self.running {
            bail!("the target runs already: `kill` or `stop` it first");
        }
        self.cycle.start(&json!({})).await?;
        self.running = true;
        Ok(())
    }

    /// Whether every service that the target names answers for itself.
    async fn healthy(&mut self) -> anyhow::Result<Value> {
        let listening = self.cycle.instance().listening();
        let client = self.cycle.instance().client(Credential::None);
        ensure!(self.running, "the target does not run: `start` it first");
        ensure!(
            !listening.services.is_empty(),
            "the target names no service"
        );
        for service in listening.services.keys() {
            let exchange = client.send(Ask::get(service, "/healthz")).await;
            let body = exchange.answered();
            if exchange.status() != 200 || body["ok"] != true || body["service"] != *service {
                return Ok(json!(false));
            }
        }
        Ok(json!(true))
    }

    fn count(&self, of: Counted) -> u64 {
        let Seen {
            line,
            rounds,
            lanes,
            ..
        } = self.seen();
        let events = |kind: &str| {
            let reads = line.steps.iter().filter_map(|step| match step {
                Step::Read(read) => Some(read),
                _ => None,
            });
            let events = reads.flat_map(|read| &read.events);
            events.filter(|event| event.kind == kind).count() as u64
        };
        match of {
            Counted::Entered => events(Change::Entered.event()),
            Counted::Exited => events(Change::Exited.event()),
            Counted::WrongRounds => {
                let wrong =
                    |round: &&Round| !violations(round, self.ttl_ms, &mut Vec::new()).is_empty();
                rounds.iter().filter(wrong).count() as u64
            }
            Counted::SecondEffects => {
                let subjects = lanes
                    .iter()
                    .flat_map(|lane| lane.subjects.iter().map(move |subject| (lane, subject)));
                subjects
                    .map(|(lane, subject)| second_effects(&lane.backends.of(&subject.asked)))
                    .sum()
            }
            Counted::Violations => {
                let mut judgement = Judgement::default();
                self.book.judge(&mut judgement);
                judgement.violations.len() as u64
            }
            Counted::Kills => line
                .steps
                .iter()
                .filter(|step| matches!(step, Step::Killed { .. }))
                .count() as u64,
        }
    }
}

impl Record {
    /// What a world writes, and what the run writes beside it.
    pub(super) fn pages(&mut self) -> (Pages<'_>, Log<'_>) {
        let pages = Pages {
            ttl_ms: &mut self.ttl_ms,
            line: &mut self.line,
            rounds: &mut self.rounds,
            lanes: &mut self.lanes,
            book: &mut self.book,
        };
        let log = Log {
            before: &mut self.before,
            run: &mut self.run,
            during: &mut self.during,
            aborted: &mut self.aborted,
            after: &mut self.after,
            rollbacks: &mut self.rollbacks,
            trouble: &mut self.trouble,
        };
        (pages, log)
    }
}

/// The parts of a record that the run writes.
pub(super) struct Log<'r> {
    pub(super) before: &'r mut Option<super::record::Looked>,
    pub(super) run: &'r mut Vec<super::record::Step>,
    pub(super) during: &'r mut Vec<super::record::Looked>,
    pub(super) aborted: &'r mut bool,
    pub(super) after: &'r mut Option<super::record::Looked>,
    pub(super) rollbacks: &'r mut Vec<super::record::Step>,
    pub(super) trouble: &'r mut Option<String>,
}
