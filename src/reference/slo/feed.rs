//! The runtime of the SLO machine: operations begin and end, windows close, the machine counts.
//!
//! A window is closed by the operation whose sample fills it, or by the ticker. It is counted
//! once, in the order of closing: state, history and events go to the ledger in one commit, and
//! only then does the new mode show. A ledger that refuses keeps the window waiting.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::machine::{Event, Mode, State};
use super::operation::Operation;
use super::shedding::Refusals;
use super::status::Breach;
use super::window::{Closed, Running, Sample, Window};
use crate::reference::config::Slo as Settings;

/// The step function of the machine: `machine::step`, unless a deployment swaps it.
pub type Step = Arc<dyn Fn(&State, &Closed, &Settings) -> (State, Vec<Event>) + Send + Sync>;
/// What every sample passes on its way into a window; None takes it out.
pub type Samples = Arc<dyn Fn(Sample) -> Option<Sample> + Send + Sync>;
/// The settings of the moment and the generation of the config they come from.
pub type Current = Arc<dyn Fn() -> (Arc<Settings>, u64) + Send + Sync>;

/// Closed windows that may wait for a ledger that refuses; past it the oldest is given up.
const WAITING_WINDOWS: usize = 256;

/// What one counted window changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The state after it.
    pub state: State,
    /// The window.
    pub index: u64,
    /// Wall time of its close, microseconds since 1970.
    pub at_us: i64,
    /// Events, in order.
    pub events: Vec<Event>,
    /// The entry of the breach history, when it was breached.
    pub breach: Option<Breach>,
    /// How many entries of the history are kept.
    pub history_limit: usize,
}

/// Where changes are kept.
pub trait Ledger: Send + Sync {
    /// Writes all of it or nothing. The error is for a log line.
    fn commit(&self, change: Change) -> BoxFuture<'static, Result<(), String>>;
}

/// An effect-free call of our own on the measured path.
pub trait Probe: Send + Sync {
    /// Calls the model backend once. An error is an answer that says nothing about latency.
    fn call(&self) -> BoxFuture<'static, Result<(), String>>;
}

/// What was kept by a ledger.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// The state after the last counted window.
    pub state: State,
    /// The breach history, newest last.
    pub history: VecDeque<Breach>,
    /// The last window that was kept, and when it closed; None when there was none.
    pub last: Option<(u64, i64)>,
}

/// What the feed is connected to.
#[derive(Clone)]
pub struct Wiring {
    /// Settings of the moment.
    pub current: Current,
    /// The machine.
    pub step: Step,
    /// The way of the samples.
    pub samples: Samples,
    /// Where changes are kept.
    pub ledger: Arc<dyn Ledger>,
    /// Calls of our own.
    pub probe: Arc<dyn Probe>,
    /// Wall time, microseconds since 1970.
    pub wall_us: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Monotonic time since any fixed moment.
    pub monotonic: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// A handle to the running SLO machine.
#[derive(Clone)]
pub struct Slo {
    pub(super) feed: Arc<Feed>,
}

pub(super) struct Feed {
    pub(super) wiring: Wiring,
    open: Mutex<Open>,
    applied: RwLock<Applied>,
    /// Held while a closed window is counted, so that they are counted in order.
    counting: tokio::sync::Mutex<()>,
    pub(super) refusals: Refusals,
    /// Rung when a window is opened and when the feed is gone.
    pub(super) bell: Arc<Notify>,
}

/// The window that takes samples, and what is on its way into it or out of it.
pub(super) struct Open {
    pub(super) window: Window,
    pub(super) running: BTreeMap<u64, Underway>,
    pub(super) closed: VecDeque<Waiting>,
    next_operation: u64,
}

/// A closed window that is not counted yet.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) window: Closed,
    pub(super) opened: Duration,
    pub(super) settings: Arc<Settings>,
    pub(super) generation: u64,
}

/// A running operation and the stages it has passed.
pub(super) struct Underway {
    pub(super) running: Running,
    pub(super) stages: Vec<(String, Duration)>,
}

/// What the counted windows have led to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Applied {
    pub(super) state: State,
    pub(super) history: VecDeque<Breach>,
}

impl Slo {
    /// A feed that goes on from what was kept. Nothing ticks yet: see [`Slo::start`].
    pub fn new(wiring: Wiring, restored: Restored) -> Self {
        let (settings, generation) = (wiring.current)();
        let index = next_index(restored.last, (wiring.wall_us)(), settings.window_ms);
        let window = Window::open(index, (wiring.monotonic)(), settings, generation);
        let open = Open {
            window,
            running: BTreeMap::new(),
            closed: VecDeque::new(),
            next_operation: 0,
        };
        let applied = Applied {
            state: restored.state,
            history: restored.history,
        };
        let feed = Feed {
            wiring,
            open: Mutex::new(open),
            applied: RwLock::new(applied),
            counting: tokio::sync::Mutex::new(()),
            refusals: Refusals::default(),
            bell: Arc::new(Notify::new()),
        };
        Self {
            feed: Arc::new(feed),
        }
    }

    /// An operation begins. It ends with [`Operation::end`], or when the guard is dropped.
    pub fn begin(&self) -> Operation {
        Operation::begin(self.clone(), false)
    }

    /// The mode after the last counted window.
    pub fn mode(&self) -> Mode {
        self.feed.applied(|applied| applied.state.mode)
    }

    /// Counts the closed windows that wait, in a task of its own: an operation whose client goes
    /// away while its window is being counted must not leave it half counted.
    pub(super) async fn settle(&self) {
        let feed = Arc::clone(&self.feed);
        match tokio::spawn(async move { feed.count_closed().await }).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a closed SLO window could not be kept"),
            Err(error) => tracing::error!(%error, "counting an SLO window panicked"),
        }
    }
}

impl Feed {
    pub(super) fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn applied<T>(&self, look: impl FnOnce(&Applied) -> T) -> T {
        look(&self.applied.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn now(&self) -> Duration {
        (self.wiring.monotonic)()
    }

    /// Steps the machine over each closed window, oldest first, until none waits.
    async fn count_closed(&self) -> Result<(), String> {
        let _in_order = self.counting.lock().await;
        loop {
            let Some(waiting) = self.open().closed.front().cloned() else {
                return Ok(());
            };
            let (window, settings) = (&waiting.window, &waiting.settings);
            let before = self.applied(|applied| applied.state.clone());
            let (state, events) = (self.wiring.step)(&before, window, settings);
            let change = change(state, events, window, settings);
            // An empty window that changes nothing is not written: an idle service is silent.
            if window.samples > 0 || !change.events.is_empty() || change.state != before {
                self.wiring.ledger.commit(change.clone()).await?;
            }
            self.apply(change);
        }
    }

    /// Shows what a counted window has led to. It stops waiting in the same moment: whoever looks
    /// sees the mode and the window of one moment.
    fn apply(&self, change: Change) {
        let mut open = self.open();
        let mut applied = self.applied.write().unwrap_or_else(PoisonError::into_inner);
        if open
            .closed
            .front()
            .is_some_and(|first| first.window.index == change.index)
        {
            open.closed.pop_front();
        }
        applied.state = change.state;
        applied.history.extend(change.breach);
        let surplus = applied.history.len().saturating_sub(change.history_limit);
        applied.history.drain(..surplus);
    }

    /// Registers a running operation.
    pub(super) fn enter(&self, probe: bool) -> u64 {
        let began = self.now();
        let mut open = self.open();
        open.next_operation += 1;
        let id = open.next_operation;
        let running = Running {
            began,
            stage: None,
            probe,
        };
        open.running.insert(
            id,
            Underway {
                running,
                stages: Vec::new(),
            },
        );
        id
    }

    /// Takes an operation out, as a sample when `counts`. True when that closed a window.
    pub(super) fn leave(&self, id: u64, counts: bool) -> bool {
        let now = self.now();
        let mut open = self.open();
        let Some(underway) = open.running.remove(&id) else {
            return false;
        };
        if !counts {
            return false;
        }
        let total = Some(now.saturating_sub(underway.running.began));
        let probe = underway.running.probe;
        open.record(
            &self.wiring,
            Sample {
                total,
                stages: underway.stages,
                probe,
            },
        );
        let full = open.window.is_full();
        if full {
            self.close(&mut open, now);
        }
        full
    }

    /// Closes the open window and opens the next with the settings of the moment.
    pub(super) fn close(&self, open: &mut Open, now: Duration) {
        let overdue: Vec<Sample> = open.overdue(now).collect();
        for sample in overdue {
            open.record(&self.wiring, sample);
        }
        let (settings, generation) = (self.wiring.current)();
        let next = Window::open(open.window.index + 1, now, settings, generation);
        let window = std::mem::replace(&mut open.window, next);
        let waiting = Waiting {
            opened: window.opened,
            settings: Arc::clone(&window.settings),
            generation: window.generation,
            window: window.close((self.wiring.wall_us)()),
        };
        if open.closed.len() >= WAITING_WINDOWS {
            let given_up = open.closed.pop_front().map(|first| first.window.index);
            tracing::warn!(?given_up, "too many closed SLO windows wait to be kept");
        }
        open.closed.push_back(waiting);
        self.bell.notify_waiters();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.bell.notify_waiters();
    }
}

impl Open {
    /// What the running operations would count for if the window closed now.
    pub(super) fn overdue(&self, now: Duration) -> impl Iterator<Item = Sample> {
        self.running
            .values()
            .filter_map(move |each| self.window.overdue(&each.running, now))
    }

    fn record(&mut self, wiring: &Wiring, sample: Sample) {
        if let Some(sample) = (wiring.samples)(sample) {
            self.window.record(&sample);
        }
    }
}

fn change(state: State, events: Vec<Event>, window: &Closed, settings: &Settings) -> Change {
    let breach = events
        .iter()
        .find_map(|event| Breach::of(event, window.at_us));
    let history_limit = settings.history_limit;
    Change {
        state,
        index: window.index,
        at_us: window.at_us,
        events,
        breach,
        history_limit,
    }
}

/// The number of the first window after a start. Empty windows are not kept, so those that can
/// have closed since the last kept one are skipped: a number that was shown never comes again.
fn next_index(last: Option<(u64, i64)>, now_us: i64, window_ms: u64) -> u64 {
    let Some((index, closed_us)) = last else {
        return 1;
    };
    let away_ms = u64::try_from(now_us.saturating_sub(closed_us).max(0)).unwrap_or(0) / 1000;
    index + 1 + away_ms / window_ms.max(1)
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
