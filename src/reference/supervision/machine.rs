//! What becomes of one supervised service: a pure function of what is known of it, what was just
//! seen, the settings and the time. It asks for the budget when a restart is due, and is told it as
//! an observation, so that nothing is restarted on a guess.

use crate::reference::config::Supervisor as Settings;

/// Microseconds of a millisecond.
const MS: i64 = 1000;

/// How a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It was started, and has not been seen well often enough yet.
    Starting,
    /// The last probes went well.
    Healthy,
    /// A probe failed.
    Degraded,
    /// So many failed in a row that it counts as gone.
    Unreachable,
}

impl Health {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unreachable => "unreachable",
        }
    }
}

/// How far its restart is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Nothing to be done.
    Armed,
    /// The restart of this number is due then.
    Waiting {
        /// Which one in the window, from 1.
        number: u64,
        /// When, in microseconds since 1970.
        due_us: i64,
    },
    /// A process is being made, or was made and is not ready yet.
    Starting {
        /// Which one in the window; none when somebody asked for it.
        number: Option<u64>,
    },
    /// The budget is spent until then.
    Exhausted {
        /// When the window ends, in microseconds since 1970.
        until_us: i64,
    },
    /// Nobody knows what is spent.
    Refused,
}

impl Restart {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Waiting { .. } => "waiting",
            Self::Starting { .. } => "starting",
            Self::Exhausted { .. } => "exhausted",
            Self::Refused => "refused",
        }
    }
}

/// What is known of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// How it is.
    pub health: Health,
    /// Probes that failed in a row.
    pub failures: u64,
    /// Probes that went well in a row.
    pub successes: u64,
    /// How far its restart is.
    pub restart: Restart,
}

impl State {
    /// A service that was started just now, and is ready.
    pub fn started() -> Self {
        Self {
            health: Health::Starting,
            failures: 0,
            successes: 0,
            restart: Restart::Armed,
        }
    }

    /// Whether it is probed: between a restart that is due and a process that is ready there is
    /// nothing to be seen.
    pub fn is_probed(&self) -> bool {
        !matches!(
            self.restart,
            Restart::Waiting { .. } | Restart::Starting { .. }
        )
    }
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A probe, and why it failed.
    Probe(Result<(), String>),
    /// The time of what is waited for may have come.
    Due,
    /// When this service was restarted, as the store has it, or why nobody knows.
    Budget(Result<Vec<i64>, String>),
    /// A process was made.
    Made {
        /// Which one.
        pid: u32,
    },
    /// The process is ready.
    Ready,
    /// No process could be made, or it ended before it was ready, or took too long.
    NotReady(String),
    /// An operator wants a restart.
    Asked,
    /// Maintenance is over.
    Resumed,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the budget, and come back with it.
    Consult,
    /// Write down a restart, now, before anything else is done.
    Spend {
        /// Which one in the window.
        number: u64,
    },
    /// End the process that is there, and make another.
    Start,
}

/// A transition, to be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Enough probes went well.
    Healthy,
    /// A probe failed.
    Degraded {
        /// Why.
        reason: String,
    },
    /// So many failed that it counts as gone.
    Unreachable {
        /// Why the last one failed.
        reason: String,
    },
    /// Another process was made.
    Restarted {
        /// Which one.
        pid: u32,
        /// Which restart of the window; none when somebody asked for it.
        number: Option<u64>,
    },
    /// The budget is spent.
    Exhausted {
        /// When the window ends.
        until_us: i64,
    },
    /// Nobody knows what is spent.
    Refused {
        /// Why.
        reason: String,
    },
}

/// What an observation led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// What is known now.
    pub state: State,
    /// What is to be done, in order.
    pub actions: Vec<Action>,
    /// What is to be announced, in order.
    pub events: Vec<Event>,
}

/// One step. In maintenance nothing is restarted but what an operator asks for.
pub fn step(
    state: &State,
    seen: &Observation,
    settings: &Settings,
    maintenance: bool,
    now_us: i64,
) -> Stepped {
    let mut next = Stepped {
        state: state.clone(),
        actions: Vec::new(),
        events: Vec::new(),
    };
    match seen {
        // One that was on its way when the restart came due says nothing of the process to come.
        Observation::Probe(_) if !state.is_probed() => {}
        Observation::Probe(Ok(())) => next.well(settings),
        Observation::Probe(Err(reason)) => next.failed(reason, settings, maintenance),
        Observation::Due => next.due(maintenance, now_us),
        Observation::Budget(Ok(spent)) => next.budget(spent, settings, now_us),
        Observation::Budget(Err(reason)) => {
            if next.state.restart != Restart::Refused {
                let reason = reason.clone();
                next.events.push(Event::Refused { reason });
            }
            next.state.restart = Restart::Refused;
        }
        Observation::Made { pid } => next.made(*pid),
        Observation::Ready => next.state.restart = Restart::Armed,
        Observation::NotReady(reason) => next.gone(reason, maintenance),
        Observation::Asked => next.start(None),
        Observation::Resumed => {
            let waits = next.state.restart == Restart::Armed;
            if waits && next.state.health == Health::Unreachable {
                next.actions.push(Action::Consult);
            }
        }
    }
    next
}

impl Stepped {
    fn well(&mut self, settings: &Settings) {
        let state = &mut self.state;
        state.failures = 0;
        state.successes += 1;
        if state.successes >= settings.healthy_after && state.health != Health::Healthy {
            state.health = Health::Healthy;
            state.restart = Restart::Armed;
            self.events.push(Event::Healthy);
        }
    }

    fn failed(&mut self, reason: &str, settings: &Settings, maintenance: bool) {
        let state = &mut self.state;
        state.successes = 0;
        state.failures += 1;
        if state.health == Health::Unreachable {
            return;
        }
        if state.failures >= settings.degraded_after && state.health != Health::Degraded {
            state.health = Health::Degraded;
            let reason = reason.to_owned();
            self.events.push(Event::Degraded { reason });
        }
        if self.state.failures >= settings.unreachable_after {
            self.gone(reason, maintenance);
        }
    }

    /// It counts as gone; whether it may be restarted is what the budget says.
    fn gone(&mut self, reason: &str, maintenance: bool) {
        if self.state.health != Health::Unreachable {
            let reason = reason.to_owned();
            self.events.push(Event::Unreachable { reason });
        }
        self.state.health = Health::Unreachable;
        self.state.restart = Restart::Armed;
        if !maintenance {
            self.actions.push(Action::Consult);
        }
    }

    fn due(&mut self, maintenance: bool, now_us: i64) {
        match self.state.restart {
            Restart::Waiting { due_us, .. } | Restart::Exhausted { until_us: due_us }
                if now_us >= due_us && maintenance =>
            {
                self.state.restart = Restart::Armed;
            }
            Restart::Waiting { number, due_us } if now_us >= due_us => {
                self.actions.push(Action::Spend { number });
                self.start(Some(number));
            }
            Restart::Exhausted { until_us } if now_us >= until_us => {
                self.actions.push(Action::Consult);
            }
            _ => {}
        }
    }

    /// The window slides: there are never more restarts in it than are allowed.
    fn budget(&mut self, spent: &[i64], settings: &Settings, now_us: i64) {
        let window_us = micros(settings.window_ms);
        let mut spent: Vec<i64> = spent.to_vec();
        spent.retain(|at_us| at_us.saturating_add(window_us) > now_us);
        spent.sort_unstable();
        let (count, most) = (spent.len(), index(settings.max_restarts));
        if count >= most {
            // When the oldest of those that fill it falls out.
            let oldest = spent.get(count - most);
            let until_us = oldest.map_or(i64::MAX, |at_us| at_us.saturating_add(window_us));
            if !matches!(self.state.restart, Restart::Exhausted { .. }) {
                self.events.push(Event::Exhausted { until_us });
            }
            self.state.restart = Restart::Exhausted { until_us };
            return;
        }
        let waits = settings
            .backoff_ms
            .get(count)
            .or(settings.backoff_ms.last());
        let due_us = now_us.saturating_add(micros(waits.copied().unwrap_or(0)));
        let number = count as u64 + 1;
        self.state.restart = Restart::Waiting { number, due_us };
    }

    /// One process at a time.
    fn start(&mut self, number: Option<u64>) {
        if !matches!(self.state.restart, Restart::Starting { .. }) {
            self.state.restart = Restart::Starting { number };
            self.actions.push(Action::Start);
        }
    }

    fn made(&mut self, pid: u32) {
        let number = match self.state.restart {
            Restart::Starting { number } => number,
            _ => None,
        };
        self.state = State {
            restart: self.state.restart,
            ..State::started()
        };
        self.events.push(Event::Restarted { pid, number });
    }
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(MS)
}

fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
