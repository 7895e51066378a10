//! Drives one target through degrade cycles: batches of concurrent turns, each awaited, so that
//! windows that close by count hold exactly one batch.
//!
//! It records into a [`Timeline`] and decides nothing. It looks at the events only to know when to
//! go on; whether they are right is for the judge.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::lane::{Injection, LEAST_BOUND, PATIENCE, SESSIONS, WINDOW_TURNS, thresholds};
use super::machine::Change;
use super::timeline::{Batch, Event, Hanging, Read, Speed, Step, Timeline, Turn};
use crate::base::Clock;
use crate::base::json::merge;
use crate::chaos::link::{Delay, Direction, Faults, Link};
use crate::doubles::{Behaviour, Double, Point};
use crate::target::{Ask, Client, Credential, Exchange, Instance};

/// Between two looks at something awaited.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Events a page.
const PAGE: usize = 1000;
/// What is said in a turn, and in one that is slow among others.
const TEXT: &str = "how late is it";
const SLOW_TEXT: &str = "how late will it be";
/// Quick turns under way at once, among slow ones.
const AT_ONCE: usize = 2;
/// How much the delay on the wire varies, to both sides.
const WIRE_JITTER_MS: u64 = 20;

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
    pub(super) line: &'a mut Timeline,
    pub(super) instance: Instance,
    pub(super) models: Double,
    link: Option<Link>,
    /// Where latency comes from.
    at: Injection,
    /// What a turn may take.
    threshold_ms: u64,
    injecting: bool,
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) sessions: Vec<String>,
    /// How long it took to open them.
    pub(super) opened_in: Duration,
    /// Held while turns are under way that are to be quick: cycles that share it do not make each
    /// other's slow.
    undisturbed: Arc<Mutex<()>>,
    /// The last event that was read.
    after: u64,
    /// The last change of mode that was read.
    last: Option<Change>,
    /// Turns sent since the last start.
    sent: u64,
    /// Samples of the windows read since the last start.
    sampled: u64,
}

impl<'a> Cycle<'a> {
    /// A target that runs. It has no sessions yet.
    pub(super) fn over(
        line: &'a mut Timeline,
        instance: Instance,
        models: Double,
        link: Option<Link>,
        clock: Clock,
        threshold_ms: u64,
    ) -> Cycle<'a> {
        Cycle {
            line,
            client: instance.client(Credential::Operator(1)),
            instance,
            models,
            at: match &link {
                None => Injection::Double,
                Some(_) => Injection::Wire,
            },
            link,
            threshold_ms,
            injecting: false,
            clock,
            sessions: Vec::new(),
            opened_in: Duration::ZERO,
            undisturbed: Arc::default(),
            after: 0,
            last: None,
            sent: 0,
            sampled: 0,
        }
    }

    /// Quick turns wait for those of other cycles that share this.
    #[must_use]
    pub fn sharing(mut self, undisturbed: &Arc<Mutex<()>>) -> Self {
        self.undisturbed = Arc::clone(undisturbed);
        self
    }

    /// What was seen so far.
    pub fn line(&self) -> &Timeline {
        self.line
    }

    /// Asks as an operator.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A session that has turns.
    pub fn session(&self) -> &str {
        &self.sessions[0]
    }

    /// Whether the last change of mode that was read was an entry.
    pub fn degraded(&self) -> bool {
        self.last == Some(Change::Entered)
    }

    /// Slows every turn from now on.
    pub fn inject(&mut self) {
        self.injecting = true;
        match self.wire() {
            None => self.models.behave(Behaviour::slow(self.injected_ms())),
            Some(link) => {
                // Never less than what is injected, whatever the jitter is.
                let delay = Delay {
                    delay_ms: self.injected_ms() + WIRE_JITTER_MS,
                    jitter_ms: WIRE_JITTER_MS,
                };
                link.faults(Faults::one_way(Direction::ToUpstream, delay));
            }
        }
    }

    /// Slows every turn from now on, and fails it in the end.
    pub fn fail(&mut self) {
        self.injecting = true;
        self.models.behave(Behaviour {
            fail: Some(503),
            ..Behaviour::slow(self.injected_ms())
        });
    }

    /// Has every turn take at least so long, whatever the limits are.
    pub fn hold_each(&mut self, held_ms: u64) {
        self.models.behave(Behaviour::slow(held_ms));
    }

    /// Slows every turn from now on, here. Without a link there is only the double.
    pub fn inject_at(&mut self, at: Injection) {
        self.relieve();
        self.at = at;
        self.inject();
    }

    /// The link to the model, if there is one: for faults that are no latency.
    pub fn link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    /// The link, when it is where latency comes from.
    fn wire(&self) -> Option<&Link> {
        self.link.as_ref().filter(|_| self.at == Injection::Wire)
    }

    /// What a slow turn takes at least: a tenth more than it may.
    fn injected_ms(&self) -> u64 {
        self.threshold_ms + self.threshold_ms / 10
    }

    /// Allows turns twice the time, for a machine too busy for the time they had: restarts the
    /// target with other thresholds, which takes nothing away from its modes.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn allow_twice_the_time(&mut self) -> anyhow::Result<()> {
        self.threshold_ms *= 2;
        let slo = json!({"thresholds": thresholds(self.threshold_ms)});
        self.kill_and_start(&slo).await?;
        self.open_sessions().await
    }

    /// Slows them no more.
    pub fn relieve(&mut self) {
        self.injecting = false;
        self.models.behave(Behaviour::default());
        if let Some(link) = &self.link {
            link.heal();
        }
    }

    /// Sends `turns` at once and awaits all, then reads the events until the windows that they
    /// fill are there, and `expect` too.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn turns(&mut self, turns: usize, expect: Option<Change>) -> anyhow::Result<Went> {
        let speed = self.batch(turns).await;
        if self.events_of(WINDOW_TURNS as u64, expect).await? == Went::Silent {
            return Ok(Went::Silent);
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

    /// Reads until fewer turns than fill a window of this many are in none, and `expect` is there.
    async fn events_of(&mut self, window: u64, expect: Option<Change>) -> anyhow::Result<Went> {
        let end_us = self.clock.now_us() + LEAST_BOUND.as_micros() as u64;
        loop {
            self.read().await?;
            let open = self.sent.saturating_sub(self.sampled);
            if open < window && expect.is_none_or(|change| self.last == Some(change)) {
                return Ok(Went::Clean);
            }
            if self.clock.now_us() > end_us {
                return Ok(Went::Silent);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
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
        let undisturbed = Arc::clone(&self.undisturbed);
        let _quick = match self.injecting {
            true => None,
            false => Some(undisturbed.lock().await),
        };
        let known = self.models.calls().len();
        let invoked_us = self.clock.now_us();
        let asks = (0..turns).map(|turn| self.turn(turn % self.sessions.len(), TEXT));
        let answers = join_all(asks).await;
        self.record(invoked_us, known, &answers)
    }

    /// Turns of two speeds at once, `slow` of them as slow as turns are while injected, then the
    /// events until those of the one window that they fill are there, and `expect` too. The others
    /// go [`AT_ONCE`] at a time, so that they stay quick.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn mixed(
        &mut self,
        (slow, slow_ms): (usize, u64),
        turns: usize,
        expect: Option<Change>,
    ) -> anyhow::Result<Went> {
        self.models.behave_by(move |request| {
            let held = request["input_text"] == SLOW_TEXT;
            Behaviour::slow(if held { slow_ms } else { 0 })
        });
        let (known, invoked_us) = (self.models.calls().len(), self.clock.now_us());
        let held = join_all((0..slow).map(|turn| self.turn(turn, SLOW_TEXT)));
        let others = self.sessions.len() - slow;
        let quick = stream::iter(slow..turns).map(|turn| self.turn(slow + turn % others, TEXT));
        let quick = async {
            let _quick = self.undisturbed.lock().await;
            quick.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await
        };
        let (mut answers, quick) = tokio::join!(held, quick);
        answers.extend(quick);
        self.record(invoked_us, known, &answers);
        self.models.behave(Behaviour::default());
        if self.events_of(turns as u64, expect).await? == Went::Silent {
            return Ok(Went::Silent);
        }
        let thresholds = &self.instance.setup().config["slo"]["thresholds"];
        let class = self
            .line
            .batches()
            .last()
            .and_then(|batch| batch.class(thresholds));
        Ok(if class.is_some() {
            Went::Clean
        } else {
            Went::Uncertain
        })
    }

    /// Reads the log, without any turn, for this long.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn look_on(&mut self, time: Duration) -> anyhow::Result<()> {
        let end_us = self.clock.now_us() + time.as_micros() as u64;
        while self.clock.now_us() < end_us {
            tokio::time::sleep(POLL_INTERVAL * 4).await;
            self.read().await?;
        }
        Ok(())
    }

    /// Turns that the model holds, until the entry is read, at most `bound` long: true when it is.
    /// They are never answered; the target is done with.
    ///
    /// # Errors
    /// When the log cannot be read, or the model did not get the turns.
    pub async fn hang(&mut self, turns: usize, bound: Duration) -> anyhow::Result<bool> {
        self.models.behave(Behaviour::hold(Point::Arrived));
        let invoked_us = self.clock.now_us();
        let (client, sessions) = (self.client.clone(), self.sessions.clone());
        let asks = (0..turns).map(|turn| {
            let body = json!({"session_id": sessions[turn % sessions.len()], "input_text": TEXT});
            client.send(Ask::post("api-gateway", "/v3/turn", body).within(bound * 2))
        });
        let hanging = join_all(asks);
        let models = self.models.clone();
        let watch = async {
            models.held(turns, LEAST_BOUND).await?;
            self.line.push(Step::Hanging(Hanging {
                invoked_us,
                held: turns,
                held_us: self.clock.now_us(),
            }));
            self.watch_for(Change::Entered, bound).await
        };
        tokio::select! {
            entered = watch => entered,
            _ = hanging => bail!("turns ended that the model held"),
        }
    }

    fn turn(&self, session: usize, text: &'static str) -> impl Future<Output = Exchange> + use<> {
        let body = json!({"session_id": self.sessions[session], "input_text": text});
        let client = self.client.clone();
        async move {
            client
                .send(Ask::post("api-gateway", "/v3/turn", body))
                .await
        }
    }

    /// A batch that is over, since the model had `known` calls, and how fast it certainly was.
    fn record(&mut self, invoked_us: u64, known: usize, answers: &[Exchange]) -> Speed {
        let model_calls = self.models.calls().into_iter().skip(known);
        let batch = Batch {
            invoked_us,
            returned_us: self.clock.now_us(),
            turns: answers.iter().map(turn).collect(),
            model_calls: model_calls
                .filter(|call| !call.probe)
                .filter_map(|call| Some((call.at_us, call.committed_us.or(call.answered_us)?)))
                .collect(),
            wire_delay_ms: if self.injecting && self.wire().is_some() {
                self.injected_ms()
            } else {
                0
            },
        };
        let speed = batch.speed(self.threshold_ms as f64);
        self.sent += answers.len() as u64;
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

    /// SIGKILL, and a start on the same data with this change of the `slo` key.
    ///
    /// # Errors
    /// When it cannot be killed or does not come back (which is then an incident).
    pub async fn kill_and_start(&mut self, slo: &Value) -> anyhow::Result<()> {
        self.kill().await?;
        self.start(slo).await
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.line.push(Step::Killed {
            at_us: self.clock.now_us(),
        });
        Ok(self.instance.kill().await?)
    }

    /// A start on the same data, with this change of the `slo` key.
    ///
    /// # Errors
    /// When it does not come back (which is then an incident).
    pub async fn start(&mut self, slo: &Value) -> anyhow::Result<()> {
        let mut config = self.instance.setup().config.clone();
        merge(&mut config, &json!({"slo": slo}));
        let slo = config["slo"].clone();
        let from_us = self.clock.now_us();
        self.instance.start_again_with(config).await?;
        self.started(slo, from_us, self.clock.now_us());
        Ok(())
    }

    fn started(&mut self, slo: Value, from_us: u64, ready_us: u64) {
        self.line.push(Step::Started {
            from_us,
            ready_us,
            slo,
        });
        (self.sent, self.sampled) = (0, 0);
    }

    /// The target, for what is no turn. Whoever kills it and starts it again says so with
    /// [`Cycle::was_restarted`].
    pub fn instance(&mut self) -> &mut Instance {
        &mut self.instance
    }

    /// Notes a KILL and a start that somebody else saw to.
    pub fn was_restarted(&mut self, killed_us: u64, ready_us: u64) {
        self.line.push(Step::Killed { at_us: killed_us });
        let slo = self.instance.setup().config["slo"].clone();
        self.started(slo, killed_us, ready_us);
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
        let began = Instant::now();
        let exchanges = join_all(asks).await;
        self.opened_in = began.elapsed();
        for exchange in exchanges {
            match exchange.answered()["session_id"].as_str() {
                Some(session_id) => sessions.push(session_id.to_owned()),
                None => bail!("no session was opened: {}", exchange.line()),
            }
        }
        self.sessions = sessions;
        Ok(())
    }

    /// Whether requests that nothing slows took more than twice this long when the sessions were
    /// opened, so that no window could be told to be healthy under such a limit.
    #[must_use]
    pub fn too_busy_for(&self, limit_ms: u64) -> bool {
        self.opened_in > Duration::from_millis(limit_ms) * 2
    }
}

fn turn(exchange: &Exchange) -> Turn {
    Turn {
        invoked_us: exchange.invoked_us,
        returned_us: exchange.returned_us,
        status: exchange.status(),
        code: exchange.code().to_owned(),
    }
}
