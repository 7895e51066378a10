//! What a judge says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// FAIL iff there is a violation; else UNKNOWN iff something is undecided, the drive was cut
/// short, or less was exercised than the gate asks for; else PASS. Who runs the check draws
/// this conclusion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// What contradicts the claim, each with got and expected.
    pub violations: Vec<String>,
    /// How often what matters happened, by the names of the gate's minimum.
    pub exercised: BTreeMap<String, u64>,
    /// What could not be decided, and why.
    pub undecided: Vec<String>,
    /// One line with the numbers of the whole.
    pub detail: String,
}

impl Judgement {
    /// Adds a violation.
    pub fn violation(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }

    /// Adds a violation unless `holds`.
    pub fn expect(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(text());
        }
    }

    /// Counts `n` more of `what` as exercised. Call it with 0 too: a name that is missing from
    /// the count was never looked for.
    pub fn exercised(&mut self, what: &str, n: u64) {
        *self.exercised.entry(what.to_owned()).or_default() += n;
    }

    /// Adds something that could not be decided.
    pub fn undecided(&mut self, text: impl Into<String>) {
        self.undecided.push(text.into());
    }
}

/// Adds a violation in the words of `format!`.
#[macro_export]
macro_rules! violation {
    ($judgement:expr, $($text:tt)+) => {
        $judgement.violation(format!($($text)+))
    };
}
