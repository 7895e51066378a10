//! What a target did that nobody asked for: it exited, or would not start. An incident is an
//! observation; a judge says what it means.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// One such observation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "incident", rename_all = "snake_case")]
pub enum Incident {
    /// It ended while nobody had asked it to.
    ExitedUnasked {
        /// When this was seen, on the clock of the run.
        at_us: u64,
        /// `exit status: 1`, `signal: 6 (SIGABRT)`.
        status: String,
        /// The last lines it wrote to stderr.
        stderr_tail: String,
    },
    /// It was started and never became ready.
    DidNotStart {
        /// When this was seen, on the clock of the run.
        at_us: u64,
        /// What happened instead.
        why: String,
    },
    /// It was asked to stop and did not.
    DidNotStop {
        /// When this was seen, on the clock of the run.
        at_us: u64,
        /// What happened instead.
        why: String,
    },
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitedUnasked {
                status,
                stderr_tail,
                ..
            } => {
                write!(f, "the target exited unasked ({status})")?;
                match stderr_tail.lines().last() {
                    Some(last) => write!(f, ": {last}"),
                    None => Ok(()),
                }
            }
            Self::DidNotStart { why, .. } => write!(f, "the target did not start: {why}"),
            Self::DidNotStop { why, .. } => write!(f, "the target did not stop: {why}"),
        }
    }
}

/// A list that every instance of one drive appends to.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    list: Arc<Mutex<Vec<Incident>>>,
}

impl Incidents {
    /// Appends one.
    pub fn push(&self, incident: Incident) {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(incident);
    }

    /// All so far, in order.
    #[must_use]
    pub fn all(&self) -> Vec<Incident> {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
