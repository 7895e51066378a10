//! What a gate came to, and how many came to what.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::plan::Class;

/// What a gate came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// The claim was exercised and nothing contradicted it.
    Pass,
    /// A violation was seen.
    Fail,
    /// It could not be decided.
    Unknown,
    /// It was not selected.
    Skip,
}

impl Status {
    /// The word in reports and on the terminal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Unknown => "UNKNOWN",
            Self::Skip => "SKIP",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How many gates came to what; the four always add up to the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// PASS.
    pub pass: usize,
    /// FAIL.
    pub fail: usize,
    /// UNKNOWN.
    pub unknown: usize,
    /// SKIP.
    pub skip: usize,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(self) -> usize {
        self.pass + self.fail + self.unknown + self.skip
    }

    /// Counts one more.
    pub fn add(&mut self, status: Status) {
        *match status {
            Status::Pass => &mut self.pass,
            Status::Fail => &mut self.fail,
            Status::Unknown => &mut self.unknown,
            Status::Skip => &mut self.skip,
        } += 1;
    }
}

/// The counts of a run: all of it, its floor and its delta.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Every row.
    pub all: Counts,
    /// Inherited gates.
    pub floor: Counts,
    /// The release's own gates.
    pub delta: Counts,
}

impl Summary {
    /// Counts rows of (class, status).
    #[must_use]
    pub fn of(rows: impl IntoIterator<Item = (Class, Status)>) -> Self {
        let mut summary = Self::default();
        for (class, status) in rows {
            summary.all.add(status);
            match class {
                Class::Floor => summary.floor.add(status),
                Class::Delta => summary.delta.add(status),
            }
        }
        summary
    }
}
