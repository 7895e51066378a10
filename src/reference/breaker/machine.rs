//! What a breaker does, as one pure function: closed it counts what goes wrong in a row, open it lets
//! nothing through for a while, half open it lets one call at a time through to see.

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Every call is made.
    #[default]
    Closed,
    /// None is.
    Open,
    /// One at a time is, to see.
    HalfOpen,
}

impl Phase {
    /// The word of routes and events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// When a breaker opens and closes: `breaker.*` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// So many calls in a row that went wrong open it.
    pub failures: u64,
    /// So long it stays open.
    pub open_ms: u64,
    /// So many trials in a row that went well close it.
    pub successes: u64,
}

/// All that a breaker remembers. By default it is closed, and nothing has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Where it stands.
    pub phase: Phase,
    /// Since when, in milliseconds on the clock that the inputs are timed by.
    pub since_ms: u64,
    /// Calls in a row that went wrong.
    pub failures: u64,
    /// Trials in a row that went well, since it is half open.
    pub successes: u64,
    /// Whether a trial is under way.
    pub trying: bool,
    /// How often it has changed. A call carries the number under which it was let through: what is
    /// heard of it after the next change says nothing about the present.
    pub transitions: u64,
    /// What went wrong last, as long as it is not closed.
    pub reason: Option<String>,
}

impl State {
    fn to(&self, phase: Phase, now_ms: u64) -> Self {
        Self {
            phase,
            since_ms: now_ms,
            successes: 0,
            trying: false,
            transitions: self.transitions + 1,
            ..self.clone()
        }
    }
}

/// How a call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Went {
    /// It was answered.
    Well,
    /// It was not, for this reason.
    Wrong(String),
    /// Whoever made it lost interest.
    Nowhere,
}

/// What happens to a breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A call wants to be made.
    Ask,
    /// One that was let through at this number of transitions is over.
    Over(u64, Went),
}

/// One change of phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// From.
    pub from: Phase,
    /// To.
    pub to: Phase,
}

/// What an input leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The state after it.
    pub state: State,
    /// Whether the call that asked is made.
    pub admitted: bool,
    /// The change, if there was one.
    pub transition: Option<Transition>,
}

/// The machine.
pub type Step = fn(&State, &Input, u64, &Rule) -> Next;

/// The machine of the contract.
pub fn step(state: &State, input: &Input, now_ms: u64, rule: &Rule) -> Next {
    let (next, admitted) = match input {
        Input::Ask => ask(state, now_ms, rule),
        Input::Over(number, went) if *number == state.transitions => {
            (over(state, went, now_ms, rule), false)
        }
        Input::Over(..) => (state.clone(), false),
    };
    let changed = next.phase != state.phase;
    let transition = Transition {
        from: state.phase,
        to: next.phase,
    };
    Next {
        state: next,
        admitted,
        transition: changed.then_some(transition),
    }
}

fn ask(state: &State, now_ms: u64, rule: &Rule) -> (State, bool) {
    let waits = now_ms.saturating_sub(state.since_ms) < rule.open_ms;
    let (half_open, admitted) = match state.phase {
        Phase::Closed => return (state.clone(), true),
        Phase::Open if waits => return (state.clone(), false),
        Phase::Open => (state.to(Phase::HalfOpen, now_ms), true),
        Phase::HalfOpen => (state.clone(), !state.trying),
    };
    let trying = State {
        trying: true,
        ..half_open
    };
    (trying, admitted)
}

fn over(state: &State, went: &Went, now_ms: u64, rule: &Rule) -> State {
    let mut next = State {
        trying: false,
        ..state.clone()
    };
    match went {
        Went::Nowhere => return next,
        Went::Well => next.failures = 0,
        Went::Wrong(reason) => {
            next.failures += 1;
            next.reason = Some(reason.clone());
        }
    }
    let well = *went == Went::Well;
    match state.phase {
        Phase::Closed if next.failures >= rule.failures => next.to(Phase::Open, now_ms),
        Phase::Closed => State {
            reason: None,
            ..next
        },
        Phase::HalfOpen if !well => next.to(Phase::Open, now_ms),
        Phase::HalfOpen if next.successes + 1 >= rule.successes => State {
            reason: None,
            ..next.to(Phase::Closed, now_ms)
        },
        Phase::HalfOpen => State {
            successes: next.successes + 1,
            ..next
        },
        // Nothing is let through while it is open, so nothing of that number can be over.
        Phase::Open => next,
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
