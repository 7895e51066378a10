//! Circuit breakers, one a dependency and process: while one is open nobody waits for what is not
//! there, and a call that is not made is one that the dependency has not seen.
//!
//! They stand before each backend of the configuration and before the memory engine. The other
//! services of the stack have none: they answer for the backends behind them, and a person's
//! decision waits for one that is being restarted.

pub mod machine;
mod routes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::mpsc;

pub use machine::{Input, Next, Phase, Rule, State, Step, Transition, Went, step};
pub use routes::routes;

use super::config::Config;
use super::service::Service;
use crate::base::ids::random_id;

/// Changes that may wait to be written down.
const TOLD: usize = 1024;

/// The service that has a breaker beside the backends.
const MEMORY: &str = "memory-engine";

/// The breakers of a process.
pub struct Breakers {
    all: Vec<Breaker>,
    told: Mutex<Option<mpsc::Receiver<Told>>>,
}

/// One breaker; clones are the same one.
#[derive(Clone)]
pub struct Breaker(Arc<Inner>);

struct Inner {
    dependency: String,
    step: Step,
    rule: Rule,
    started: Instant,
    state: Mutex<State>,
    tell: mpsc::Sender<Told>,
}

/// A change to be written down.
struct Told {
    dependency: String,
    transition: Transition,
    reason: Option<String>,
}

impl Breakers {
    /// All closed.
    pub fn new(config: &Config, step: Step) -> Self {
        let keys = &config.breaker;
        let rule = Rule {
            failures: keys.failures,
            open_ms: keys.open_ms,
            successes: keys.successes,
        };
        let (tell, told) = mpsc::channel(TOLD);
        let started = Instant::now();
        let breaker = |dependency: String| {
            Breaker(Arc::new(Inner {
                dependency,
                step,
                rule,
                started,
                state: Mutex::new(State::default()),
                tell: tell.clone(),
            }))
        };
        Self {
            all: dependencies(config).into_iter().map(breaker).collect(),
            told: Mutex::new(Some(told)),
        }
    }

    /// All of them, in the order in which they are shown.
    pub fn all(&self) -> &[Breaker] {
        &self.all
    }

    /// That of a dependency.
    pub fn of(&self, dependency: &str) -> Option<&Breaker> {
        self.all
            .iter()
            .find(|breaker| breaker.0.dependency == dependency)
    }

    /// Writes every change down as an event of this service, in order, as long as the process
    /// runs. Only the first caller does.
    pub async fn tell(&self, svc: Arc<Service>) {
        let told = self
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut told) = told else {
            return;
        };
        while let Some(Told {
            dependency,
            transition: Transition { from, to },
            reason,
        }) = told.recv().await
        {
            let kind = match to {
                Phase::Closed => "breaker.closed",
                Phase::Open => "breaker.opened",
                Phase::HalfOpen => "breaker.half_opened",
            };
            let mut data = json!({"dependency": dependency, "from": from.word()});
            if to == Phase::Open {
                data["reason"] = json!(reason);
            }
            let id = random_id("brk_", &mut rand::rng());
            let written = svc.store.write(move |tx| tx.event(kind, &id, data));
            if let Err(error) = written.await {
                tracing::warn!(%error, dependency, kind, "a change of a breaker was not written down");
            }
        }
    }
}

/// Each backend of the configuration, and the memory engine.
fn dependencies(config: &Config) -> Vec<String> {
    let backends = serde_json::to_value(&config.backends).unwrap_or(Value::Null);
    let backends = backends.as_object().into_iter().flat_map(|all| all.keys());
    backends.cloned().chain([MEMORY.to_owned()]).collect()
}

impl Breaker {
    /// Lets a call through.
    ///
    /// # Errors
    /// Why it is not to be made.
    pub fn ask(&self) -> Result<Ticket, String> {
        let (admitted, transitions) = self.input(&Input::Ask);
        if admitted {
            let breaker = self.clone();
            return Ok(Ticket {
                breaker,
                transitions,
                over: false,
            });
        }
        let state = self.state();
        let why = state.reason.as_deref().unwrap_or("it failed too often");
        Err(format!("the breaker is open: {why}"))
    }

    /// Whether a call would not be made now.
    pub fn refuses(&self) -> bool {
        let (now_ms, state) = (self.now_ms(), self.state());
        !(self.0.step)(&state, &Input::Ask, now_ms, &self.0.rule).admitted
    }

    /// `closed`, `open` or `half_open`.
    pub fn shown(&self) -> Value {
        json!({"dependency": self.0.dependency, "state": self.state().phase.word()})
    }

    /// Everything about it.
    pub fn view(&self) -> Value {
        let now_ms = self.now_ms();
        let state = self.state();
        let retry_after_ms = match state.phase {
            Phase::Open => (state.since_ms + self.0.rule.open_ms).saturating_sub(now_ms),
            Phase::Closed | Phase::HalfOpen => 0,
        };
        json!({
            "dependency": self.0.dependency,
            "state": state.phase.word(),
            "failures": state.failures,
            "successes": state.successes,
            "transitions": state.transitions,
            "retry_after_ms": retry_after_ms,
            "reason": state.reason,
        })
    }

    /// Takes an input: whether a call is let through, and the number that it carries.
    fn input(&self, input: &Input) -> (bool, u64) {
        // Told under the lock, so that changes are written down in their order.
        let mut state = self.guard();
        let next = (self.0.step)(&state, input, self.now_ms(), &self.0.rule);
        *state = next.state;
        if let Some(transition) = next.transition {
            let told = Told {
                dependency: self.0.dependency.clone(),
                transition,
                reason: state.reason.clone(),
            };
            if self.0.tell.try_send(told).is_err() {
                tracing::warn!(dependency = self.0.dependency, "a change was not told");
            }
        }
        (next.admitted, state.transitions)
    }

    fn state(&self) -> State {
        self.guard().clone()
    }

    fn guard(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A call that was let through. Dropped without a word it went nowhere.
pub struct Ticket {
    breaker: Breaker,
    transitions: u64,
    over: bool,
}

impl Ticket {
    /// Says how it went.
    pub fn over(mut self, went: Went) {
        self.over = true;
        self.breaker.input(&Input::Over(self.transitions, went));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.over {
            let nowhere = Input::Over(self.transitions, Went::Nowhere);
            self.breaker.input(&nowhere);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breakers() -> Breakers {
        let mut config = Config::default();
        config.breaker.failures = 1;
        Breakers::new(&config, step)
    }

    #[test]
    fn every_backend_has_one_and_the_memory_engine() {
        let config = Config::default();
        let names = dependencies(&config);
        for name in ["models", "tools", MEMORY] {
            assert!(names.iter().any(|own| own == name), "{name}: {names:?}");
        }
        assert!(breakers().of("nobody").is_none());
    }

    #[test]
    fn what_goes_wrong_with_one_is_no_matter_of_another() {
        let breakers = breakers();
        let (models, tools) = (
            breakers.of("models").unwrap(),
            breakers.of("tools").unwrap(),
        );
        let wrong = Went::Wrong("status 503".to_owned());
        models.ask().unwrap().over(wrong);
        assert!(models.ask().is_err_and(|why| why.contains("status 503")));
        assert!(models.refuses() && !tools.refuses());
        drop(tools.ask().unwrap());
        let view = models.view();
        assert_eq!(
            (&view["state"], &view["transitions"]),
            (&json!("open"), &json!(1))
        );
        assert_eq!(tools.shown()["state"], "closed");
    }
}
