//! What actions and probes do: one target on a site, with the driving that the gates use.

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::record::Record;
use super::vocabulary::{Action, Counted, Probe};
use crate::chaos::Site;
use crate::chaos::approvals::round::{Round, violations};
use crate::chaos::approvals::{guarded_calls, race, session};
use crate::chaos::crash::Moment;
use crate::chaos::degrade::lane::{WINDOW_TURNS, slo_by_count};
use crate::chaos::degrade::machine::{DEFAULT_BREACH_WINDOWS, DEFAULT_RECOVER_WINDOWS};
use crate::chaos::degrade::{Change, Cycle, Injection, Lane, Step, Timeline, Went, Work};
use crate::chaos::keyed::drive::Crew;
use crate::chaos::keyed::requests::{Stage, script};
use crate::chaos::keyed::survival::{self, second_effects};
use crate::doubles::Behaviour;
use crate::target::{Ask, Credential};

/// How long a decision stays open: far longer than a drill.
const TTL_MS: u64 = 600_000;
/// How soon an operation in doubt is tried again after a KILL.
const RETRY_MS: u64 = 10;
/// What is asked for to see the mode: the first two are shed while degraded, the third never.
const WORKS: [Work; 3] = [
    Work::VisionFrame,
    Work::MemoryWriteLow,
    Work::MemoryWriteNormal,
];

/// The target of a drill, and what it leaves in the record.
pub(super) struct World<'r> {
    site: &'r Site,
    cycle: Cycle<'r>,
    rounds: &'r mut Vec<Round>,
    lanes: &'r mut Vec<survival::Lane>,
    ttl_ms: u64,
    running: bool,
    storms: u64,
}

/// The parts of a record that a world writes.
pub(super) struct Pages<'r> {
    pub(super) ttl_ms: &'r mut u64,
    pub(super) line: &'r mut Timeline,
    pub(super) rounds: &'r mut Vec<Round>,
    pub(super) lanes: &'r mut Vec<survival::Lane>,
}

impl<'r> World<'r> {
    /// Starts the target, a link between it and the double of its model.
    pub(super) async fn open(site: &'r mut Site, pages: Pages<'r>) -> anyhow::Result<Self> {
        *pages.ttl_ms = TTL_MS;
        site.models.script(guarded_calls);
        let setup = site.setup(json!({
            "slo": slo_by_count(),
            "confirmations": {"ttl_ms": TTL_MS},
            "operations": {"retry_ms": RETRY_MS},
        }));
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
            ttl_ms: TTL_MS,
            running: true,
            storms: 0,
        })
    }

    /// What was seen so far.
    pub(super) fn seen(&self) -> (&Timeline, &[Round], &[survival::Lane]) {
        (self.cycle.line(), self.rounds, self.lanes)
    }

    /// Does it, and says what came of it.
    pub(super) async fn act(&mut self, action: &Action) -> anyhow::Result<Value> {
        let starts = matches!(action, Action::Start | Action::Heal);
        ensure!(
            self.running || starts,
            "the target does not run: `start` it first"
        );
        match action {
            Action::InjectLatency { at } => self.cycle.inject_at(*at),
            Action::Heal => self.cycle.relieve(),
            Action::Traffic { windows } => return self.traffic(*windows).await,
            Action::TrafficUntil { mode } => return self.traffic_until(*mode).await,
            Action::ProbeWork => return self.mode().await,
            Action::Storm { rounds, tool_ms } => return self.storm(*rounds, *tool_ms).await,
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
        }
        Ok(Value::Null)
    }

    /// Looks, and says what there is to see.
    pub(super) async fn look(&mut self, probe: Probe) -> anyhow::Result<Value> {
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

    async fn storm(&mut self, rounds: u64, tool_ms: u64) -> anyhow::Result<Value> {
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
        let raced = raced.await;
        self.site.tools.behave(Behaviour::default());
        raced?;
        Ok(json!({"rounds": self.rounds.len() - first}))
    }

    async fn crash(&mut self, at: &[Moment]) -> anyhow::Result<Value> {
        self.site.models.script(script);
        let stage = Stage::over(self.site, self.cycle.instance());
        let crew = Crew::at(self.lanes.len(), stage, at);
        self.lanes.push(survival::Lane::default());
        let lane = self.lanes.last_mut().expect("a lane was added");
        let driven = crew.drive_on(self.cycle.instance(), lane).await;
        self.site.models.script(guarded_calls);
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
        let (line, rounds, lanes) = self.seen();
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
        };
        let log = Log {
            before: &mut self.before,
            run: &mut self.run,
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
    pub(super) after: &'r mut Option<super::record::Looked>,
    pub(super) rollbacks: &'r mut Vec<super::record::Step>,
    pub(super) trouble: &'r mut Option<String>,
}
