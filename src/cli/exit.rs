//! The exit codes, and how a command ends early: with one error line and one hint.

use std::panic;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use super::screen;
use crate::model::ModelError;
use crate::runner;

/// Whether something panicked that no row tells of.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Promoted, or everything selected is green.
    Green = 0,
    /// At least one FAIL, a survivor, a bystander.
    Red = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// No FAIL, but something is undecided, unproven or interrupted.
    Open = 3,
    /// A bug in the harness.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A reason to end now: what is wrong, where it is known, and what to do.
#[derive(Debug)]
pub(super) struct Stop {
    what: String,
    hint: Option<String>,
    exit: Exit,
}

impl Stop {
    /// Wrong usage or configuration.
    pub(super) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: Some(hint.into()),
            exit: Exit::Usage,
        }
    }

    /// The same with the exit code of tools that have only one for everything that went wrong.
    pub(super) fn leniently(self) -> Self {
        Self {
            exit: Exit::Red,
            ..self
        }
    }

    /// Says it on stderr.
    pub(super) fn say(self) -> Exit {
        screen::complain("error", &self.what);
        if let Some(hint) = self.hint {
            screen::complain("hint", &hint);
        }
        self.exit
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<ModelError> for Stop {
    fn from(error: ModelError) -> Self {
        Self::usage(error.to_string(), error.hint)
    }
}

/// Panics of checks become rows and are not printed; every other one is a bug of ours.
pub(super) fn report_panics() {
    panic::set_hook(Box::new(|info| {
        if runner::in_check() {
            return;
        }
        PANICKED.store(true, Ordering::SeqCst);
        screen::complain("bug", &format!("sonia-gate panicked: {info}"));
        screen::complain(
            "hint",
            "this is no verdict; run it again with the same seed and report it",
        );
    }));
}

/// Whether a bug showed, in whatever thread.
pub(super) fn panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}
