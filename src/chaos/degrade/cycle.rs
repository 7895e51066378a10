//! Drives one target through degrade cycles: batches of concurrent turns, each awaited, so that
//! windows that close by count hold exactly one batch.
//!
//! It records into a [`Timeline`] and decides nothing. It looks at the events only to know when to
//! go on; whether they are right is for the judge.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::machine::Change;
use super::timeline::{Batch, Event, Probe, Read, Speed, Status, Step, Timeline, Turn, Work};
use crate::base::json::merge;
use crate::base::{Clock, Seed};
use crate::chaos::link::{Delay, Direction, Faults, Link};
use crate::doubles::{Behaviour, Double};
use crate::target::{Ask, Client, Credential, Exchange, Incident, Instance, Launcher, Setup};

/// Turns in a window: `window_max_samples` and `min_samples` of every config here.
pub const WINDOW_TURNS: usize = 5;
/// What a turn may take, in milliseconds.
pub const THRESHOLD_MS: u64 = 250;
/// What a slow turn takes, in milliseconds.
pub const INJECTED_MS: u64 = 300;
/// The same on the wire; with the jitter it is never less than [`INJECTED_MS`].
const ON_WIRE: Delay = Delay {
    delay_ms: INJECTED_MS + 20,
    jitter_ms: 20,
};
/// A window that never closes by time within a drive.
pub const LONG_WINDOW_MS: u64 = 600_000;
/// The least time in which something that must happen may happen.
pub const LEAST_BOUND: Duration = Duration::from_secs(2);
/// How many times its own measure the product may take for it.
pub const PATIENCE: usize = 10;
/// How often a pattern is driven again when load spoiled it.
pub const TRIES: usize = 4;
/// Between two looks at something awaited.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Sessions that turns are spread over: turns of one session may be served one after the other.
const SESSIONS: usize = 15;
/// Events a page.
const PAGE: usize = 1000;

/// The `slo` key that every drive begins with: windows by count, one batch each.
pub fn slo_by_count() -> Value {
    json!({
        "window_ms": LONG_WINDOW_MS,
        "window_max_samples": WINDOW_TURNS,
        "min_samples": WINDOW_TURNS,
        "thresholds": {"total": {"p95": THRESHOLD_MS, "p99": THRESHOLD_MS}},
    })
}

/// Where the latency comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injection {
    /// The model's double answers late.
    Double,
    /// A link between target and double delays the bytes.
    Wire,
}

/// What a drive starts from.
pub struct Lane {
    /// Starts the target.
    pub launcher: Launcher,
    /// What it is started with; `backends.models.url` is set by the lane.
    pub setup: Setup,
    /// The model of this target alone.
    pub models: Double,
    /// Where latency comes from.
    pub injection: Injection,
    /// Faults of the link.
    pub seed: Seed,
}

/// How turns went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// Certainly as fast or as slow as wanted, and the events that they cause are there.
    Clean,
    /// The events are there, but the times do not say how fast the turns were.
    Uncertain,
    /// The events did not come within [`LEAST_BOUND`].
    Silent,
}

/// A target, its model and what was seen of them.
pub struct Cycle<'a> {
    line: &'a mut Timeline,
    instance: Instance,
    models: Double,
    link: Option<Link>,
    injecting: bool,
    client: Client,
    clock: Clock,
    sessions: Vec<String>,
    /// The last event that was read.
    after: u64,
    /// The last change of mode that was read.
    last: Option<Change>,
    /// Turns sent since the last start.
    sent: u64,
    /// Samples of the windows read since the last start.
    sampled: u64,
}

impl Lane {
    /// Starts the target and opens sessions in it.
    ///
    /// # Errors
    /// When there is nothing to drive.
    pub async fn open(mut self, line: &mut Timeline) -> anyhow::Result<Cycle<'_>> {
        let link = match self.injection {
            Injection::Double => None,
            Injection::Wire => Some(Link::open(address(&self.models)?, self.seed).await?),
        };
        let url = match &link {
            None => self.models.url(),
            Some(link) => link.url(),
        };
        merge(
            &mut self.setup.config,
            &json!({"backends": {"models": {"url": url}}}),
        );
        let (clock, incidents) = (self.setup.clock, self.setup.incidents.clone());
        let (from_us, slo) = (clock.now_us(), self.setup.config["slo"].clone());
        let instance = match self.launcher.start(self.setup).await {
            Ok(instance) => instance,
            Err(error) => {
                if error.by_target() {
                    let (at_us, why) = (clock.now_us(), error.to_string());
                    incidents.push(Incident::DidNotStart { at_us, why });
                }
                return Err(error.into());
            }
        };
        line.push(Step::Started {
            from_us,
            ready_us: clock.now_us(),
            slo,
        });
        let mut cycle = Cycle {
            line,
            client: instance.client(Credential::Operator(1)),
            instance,
            models: self.models,
            link,
            injecting: false,
            clock,
            sessions: Vec::new(),
            after: 0,
            last: None,
            sent: 0,
            sampled: 0,
        };
        cycle.open_sessions().await?;
        Ok(cycle)
    }
}

fn address(models: &Double) -> anyhow::Result<SocketAddr> {
    let url = models.url();
    url.trim_start_matches("http://")
        .parse()
        .with_context(|| format!("{url} is no address"))
}

impl Cycle<'_> {
    /// What was seen so far.
    pub fn line(&self) -> &Timeline {
        self.line
    }

    /// Whether the last change of mode that was read was an entry.
    pub fn degraded(&self) -> bool {
        self.last == Some(Change::Entered)
    }

    /// Slows every turn from now on.
    pub fn inject(&mut self) {
        self.injecting = true;
        match &self.link {
            None => self.models.behave(Behaviour::slow(INJECTED_MS)),
            Some(link) => link.faults(Faults::one_way(Direction::ToUpstream, ON_WIRE)),
        }
    }

    /// Slows them no more.
    pub fn relieve(&mut self) {
        self.injecting = false;
        match &self.link {
            None => self.models.behave(Behaviour::default()),
            Some(link) => link.heal(),
        }
    }

    /// Sends `turns` at once and awaits all, then reads the events until the windows that they
    /// fill are there, and `expect` too.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn turns(&mut self, turns: usize, expect: Option<Change>) -> anyhow::Result<Went> {
        let speed = self.batch(turns).await;
        let end_us = self.clock.now_us() + LEAST_BOUND.as_micros() as u64;
        loop {
            self.read().await?;
            let open = self.sent.saturating_sub(self.sampled);
            if open < WINDOW_TURNS as u64 && expect.is_none_or(|change| self.last == Some(change)) {
                break;
            }
            if self.clock.now_us() > end_us {
                return Ok(Went::Silent);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let wanted = if self.injecting {
            Speed::Slow
        } else {
            Speed::Fast
        };
        Ok(if speed == wanted {
            Went::Clean
        } else {
            Went::Uncertain
        })
    }

    /// Turns until a change is read. It gives up after [`PATIENCE`] times `windows` windows full
    /// of turns, but not before [`LEAST_BOUND`]. True when the change came.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn turns_until(&mut self, change: Change, windows: usize) -> anyhow::Result<bool> {
        let end_us = self.clock.now_us() + LEAST_BOUND.as_micros() as u64;
        let mut left = PATIENCE * windows;
        while self.last != Some(change) {
            if left == 0 && self.clock.now_us() > end_us {
                return Ok(false);
            }
            // Slow windows last long, so that several go at once.
            let turns = if self.injecting {
                SESSIONS
            } else {
                WINDOW_TURNS
            };
            self.batch(turns).await;
            self.read().await?;
            left = left.saturating_sub(turns / WINDOW_TURNS);
        }
        Ok(true)
    }

    /// Slows turns until the target is degraded: `windows` windows full of turns at once, then as
    /// many as patience allows. True when it is.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn degrade(&mut self, windows: usize) -> anyhow::Result<bool> {
        self.inject();
        let went = self
            .turns(windows * WINDOW_TURNS, Some(Change::Entered))
            .await?;
        let entered = went != Went::Silent || self.turns_until(Change::Entered, windows).await?;
        self.relieve();
        Ok(entered)
    }

    /// One batch, recorded, and how fast it certainly was.
    async fn batch(&mut self, turns: usize) -> Speed {
        let known = self.models.calls().len();
        let invoked_us = self.clock.now_us();
        let asks = (0..turns).map(|turn| {
            let session_id = &self.sessions[turn % self.sessions.len()];
            let body = json!({"session_id": session_id, "input_text": "how late is it"});
            self.client.send(Ask::post("api-gateway", "/v3/turn", body))
        });
        let answers = join_all(asks).await;
        let model_calls = self.models.calls().into_iter().skip(known);
        let batch = Batch {
            invoked_us,
            returned_us: self.clock.now_us(),
            turns: answers.iter().map(turn).collect(),
            model_calls: model_calls
                .filter_map(|call| Some((call.at_us, call.committed_us?)))
                .collect(),
            wire_delay_ms: if self.injecting && self.link.is_some() {
                INJECTED_MS
            } else {
                0
            },
        };
        let speed = batch.speed(THRESHOLD_MS as f64);
        self.sent += turns as u64;
        self.line.push(Step::Batch(batch));
        speed
    }

    /// Reads what is new in the event log.
    ///
    /// # Errors
    /// When the answer is no page of events.
    pub async fn read(&mut self) -> anyhow::Result<()> {
        let path = format!("/v3/events?after={}&limit={PAGE}", self.after);
        let exchange = self.client.send(Ask::get("api-gateway", &path)).await;
        let page: Option<Vec<Event>> =
            serde_json::from_value(exchange.answered()["events"].clone()).ok();
        let events: Vec<Event> = page.clone().unwrap_or_default();
        self.after = events
            .iter()
            .map(|event| event.seq)
            .max()
            .unwrap_or(0)
            .max(self.after);
        let events: Vec<Event> = events
            .into_iter()
            .filter(|event| event.kind.starts_with("slo."))
            .collect();
        for event in &events {
            match event.kind.as_str() {
                "slo.window" => self.sampled += event.data["samples"].as_u64().unwrap_or(0),
                "slo.degrade.entered" => self.last = Some(Change::Entered),
                "slo.degrade.exited" => self.last = Some(Change::Exited),
                _ => {}
            }
        }
        self.line.push(Step::Read(Read {
            invoked_us: exchange.invoked_us,
            returned_us: self.clock.now_us(),
            reads: 1,
            status: exchange.status(),
            events,
        }));
        match page {
            Some(_) => Ok(()),
            None => bail!("no page of events: {}", exchange.line()),
        }
    }

    /// Reads the log, without any turn, until a change is there or the bound is over. True when
    /// it is.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn watch_for(&mut self, change: Change, bound: Duration) -> anyhow::Result<bool> {
        let end_us = self.clock.now_us() + bound.as_micros() as u64;
        loop {
            self.read().await?;
            if self.last == Some(change) {
                return Ok(true);
            }
            if self.clock.now_us() > end_us {
                return Ok(false);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Probes what is shed, and reads the log, without any turn, for this long.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn probe_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end_us = self.clock.now_us() + time.as_micros() as u64;
        while self.clock.now_us() < end_us {
            self.probe(&[Work::VisionFrame, Work::MemoryWriteLow]).await;
            self.read().await?;
            tokio::time::sleep(POLL_INTERVAL * 4).await;
        }
        Ok(())
    }

    /// Asks for work that may be shed. While the answers are not what the last change that was
    /// read asks for, it asks again, at most [`LEAST_BOUND`] long.
    pub async fn probe(&mut self, works: &[Work]) {
        let end_us = self.clock.now_us() + LEAST_BOUND.as_micros() as u64;
        for work in works {
            loop {
                let probe = self.ask_for(*work).await;
                let shed = self.degraded() && *work != Work::MemoryWriteNormal;
                let settled = if shed { probe.shed() } else { probe.served() };
                self.line.push(Step::Probe(probe));
                if settled || self.clock.now_us() > end_us {
                    break;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }

    async fn ask_for(&self, work: Work) -> Probe {
        let session_id = &self.sessions[0];
        let write = |priority: &str| {
            let body = json!({"type": "fact", "content": "tea at four", "priority": priority});
            Ask::post("memory-engine", "/store", body)
        };
        let ask = match work {
            Work::VisionFrame => {
                let body = json!({"session_id": session_id, "data": "AAECAw=="});
                Ask::post("vision-capture", "/v1/vision/frames", body)
            }
            Work::MemoryWriteLow => write("low"),
            Work::MemoryWriteNormal => write("normal"),
        };
        let exchange = self.client.send(ask).await;
        let answer = exchange.answer.as_ref();
        Probe {
            work,
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            code: exchange.code().to_owned(),
            retry_after: answer.is_some_and(|answer| answer.headers.contains_key("retry-after")),
        }
    }

    /// Reads a status route.
    pub async fn status(&mut self, path: &str, credential: Credential) {
        let status = status(self.client.under(credential), path).await;
        self.line.push(Step::Status(status));
    }

    /// Turns, and while they run one read of each of these status routes.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn turns_while_reading(&mut self, paths: &[&str]) -> anyhow::Result<Went> {
        let client = self.client.clone();
        let (models, known) = (self.models.clone(), self.models.calls().len());
        let reading = async move {
            // In the middle of the turns: when the model has the first of them.
            let end = tokio::time::Instant::now() + LEAST_BOUND;
            while models.calls().len() == known && tokio::time::Instant::now() < end {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            join_all(paths.iter().map(|path| status(client.clone(), path))).await
        };
        let (went, seen) = tokio::join!(self.turns(WINDOW_TURNS, None), reading);
        for status in seen {
            self.line.push(Step::Status(status));
        }
        went
    }

    /// SIGKILL, and a start on the same data with this change of the `slo` key.
    ///
    /// # Errors
    /// When it cannot be killed or does not come back (which is then an incident).
    pub async fn kill_and_start(&mut self, slo: &Value) -> anyhow::Result<()> {
        let mut config = self.instance.setup().config.clone();
        merge(&mut config, &json!({"slo": slo}));
        let slo = config["slo"].clone();
        self.line.push(Step::Killed {
            at_us: self.clock.now_us(),
        });
        self.instance.kill().await?;
        let from_us = self.clock.now_us();
        self.instance.start_again_with(config).await?;
        self.line.push(Step::Started {
            from_us,
            ready_us: self.clock.now_us(),
            slo,
        });
        (self.sent, self.sampled) = (0, 0);
        Ok(())
    }

    /// Opens sessions, after a start or a restart: whether old ones survive is not asked here.
    ///
    /// # Errors
    /// When the target opens none.
    pub async fn open_sessions(&mut self) -> anyhow::Result<()> {
        let asks = (0..SESSIONS).map(|number| {
            let body = json!({"user_id": format!("u-{number}"), "conversation_id": "c-1"});
            self.client
                .send(Ask::post("api-gateway", "/v3/sessions", body))
        });
        let mut sessions = Vec::new();
        for exchange in join_all(asks).await {
            match exchange.answered()["session_id"].as_str() {
                Some(session_id) => sessions.push(session_id.to_owned()),
                None => bail!("no session was opened: {}", exchange.line()),
            }
        }
        self.sessions = sessions;
        Ok(())
    }
}

async fn status(client: Client, path: &str) -> Status {
    let credentials = *client.credential() != Credential::None;
    let exchange = client.send(Ask::get("api-gateway", path)).await;
    Status {
        path: path.to_owned(),
        credentials,
        invoked_us: exchange.invoked_us,
        returned_us: exchange.returned_us,
        status: exchange.status(),
        body: exchange.answered().clone(),
    }
}

fn turn(exchange: &Exchange) -> Turn {
    Turn {
        invoked_us: exchange.invoked_us,
        returned_us: exchange.returned_us,
        status: exchange.status(),
    }
}
