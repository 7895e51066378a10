//! The rule that makes a verdict of rows and proof. It knows no exit codes and prints nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::plan::Class;
use super::status::{Status, Summary};

/// What a run says about a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every gate ran and is PASS, every gate is proven, nothing was mutated, the counts are right.
    Promote,
    /// Anything less.
    Hold,
    /// A selection of gates: it says nothing about the release.
    Partial,
}

impl Verdict {
    /// The word in reports and on the terminal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Promote => "PROMOTE",
            Self::Hold => "HOLD",
            Self::Partial => "PARTIAL",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What a verdict is made of.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// Name, class and status of every row.
    pub rows: Vec<(&'a str, Class, Status)>,
    /// How many floor and delta gates the release states; the rows are counted against it.
    pub expected: (usize, usize),
    /// Whether every gate of the release was selected.
    pub whole: bool,
    /// Whether the target was made wrong on purpose.
    pub mutated: bool,
    /// Whether the run was cut short.
    pub interrupted: bool,
    /// Gates that no mutant was seen to break (looked at in whole, unmutated runs only).
    pub unproven: Vec<String>,
    /// What whoever gathered the rows has against them.
    pub objections: Vec<String>,
}

/// A verdict and its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The verdict.
    pub verdict: Verdict,
    /// The counts.
    pub summary: Summary,
    /// Gates that FAIL.
    pub blockers: Vec<String>,
    /// Gates that are UNKNOWN.
    pub undecided: Vec<String>,
    /// Gates without a proof that they can fail; empty where none is asked for.
    pub unproven: Vec<String>,
    /// Reasons that are about no single gate.
    pub remarks: Vec<String>,
    /// Whether every selected gate is green and nothing else stands in the way.
    pub green: bool,
}

impl Facts<'_> {
    /// The ruling. Pure.
    #[must_use]
    pub fn rule(&self) -> Ruling {
        let named = |status| {
            let rows = self.rows.iter().filter(move |row| row.2 == status);
            rows.map(|row| row.0.to_owned()).collect::<Vec<_>>()
        };
        let summary = Summary::of(self.rows.iter().map(|row| (row.1, row.2)));
        let (blockers, undecided) = (named(Status::Fail), named(Status::Unknown));
        let proof_counts = self.whole && !self.mutated;
        let unproven = if proof_counts {
            self.unproven.clone()
        } else {
            Vec::new()
        };
        let remarks = self.remarks(&summary);
        // A run in which nothing was selected has nothing to be green.
        let all_pass = blockers.is_empty() && undecided.is_empty() && summary.all.pass > 0;
        let green = all_pass && unproven.is_empty() && remarks.is_empty();
        let verdict = match (self.whole, green && summary.all.skip == 0) {
            (false, _) => Verdict::Partial,
            (true, true) => Verdict::Promote,
            (true, false) => Verdict::Hold,
        };
        Ruling {
            verdict,
            summary,
            blockers,
            undecided,
            unproven,
            remarks,
            green,
        }
    }

    fn remarks(&self, summary: &Summary) -> Vec<String> {
        let mut remarks = Vec::new();
        let got = (summary.floor.total(), summary.delta.total());
        if got != self.expected {
            remarks.push(format!(
                "{} floor and {} delta rows, expected {} and {}",
                got.0, got.1, self.expected.0, self.expected.1
            ));
        }
        if self.interrupted {
            remarks.push("the run was interrupted".to_owned());
        }
        if self.mutated {
            remarks.push("the target was made wrong on purpose".to_owned());
        }
        remarks.extend(self.objections.iter().cloned());
        remarks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(rows: &[(Class, Status)]) -> Facts<'static> {
        let floor = rows.iter().filter(|row| row.0 == Class::Floor).count();
        Facts {
            rows: rows
                .iter()
                .map(|(class, status)| ("gate", *class, *status))
                .collect(),
            expected: (floor, rows.len() - floor),
            whole: true,
            ..Facts::default()
        }
    }

    fn green() -> Facts<'static> {
        facts(&[(Class::Floor, Status::Pass), (Class::Delta, Status::Pass)])
    }

    #[test]
    fn an_objection_holds_what_is_all_green() {
        let rows = [(Class::Floor, Status::Pass), (Class::Delta, Status::Pass)];
        assert_eq!(facts(&rows).rule().verdict, Verdict::Promote);
        let ruling = Facts {
            objections: vec!["part 2/3 is missing".to_owned()],
            ..facts(&rows)
        }
        .rule();
        assert_eq!((ruling.verdict, ruling.green), (Verdict::Hold, false));
        assert_eq!(ruling.remarks, ["part 2/3 is missing"]);
    }

    #[test]
    fn all_green_and_proven_is_promoted() {
        let ruling = green().rule();
        assert_eq!((ruling.verdict, ruling.green), (Verdict::Promote, true));
    }

    #[test]
    fn anything_less_is_held() {
        let held = [
            facts(&[(Class::Floor, Status::Fail), (Class::Delta, Status::Pass)]),
            facts(&[
                (Class::Floor, Status::Unknown),
                (Class::Delta, Status::Pass),
            ]),
            facts(&[(Class::Floor, Status::Skip), (Class::Delta, Status::Pass)]),
            facts(&[]),
            Facts {
                unproven: vec!["gate".to_owned()],
                ..green()
            },
            Facts {
                interrupted: true,
                ..green()
            },
            Facts {
                mutated: true,
                ..green()
            },
            Facts {
                expected: (2, 1),
                ..green()
            },
            Facts {
                expected: (0, 2),
                ..green()
            },
        ];
        for facts in held {
            assert_eq!(facts.rule().verdict, Verdict::Hold, "{facts:?}");
        }
    }

    #[test]
    fn a_selection_is_partial_whatever_it_found_and_needs_no_proof() {
        let rows = [(Class::Floor, Status::Skip), (Class::Delta, Status::Pass)];
        let some = Facts {
            whole: false,
            unproven: vec!["gate".to_owned()],
            ..facts(&rows)
        };
        let ruling = some.rule();
        assert_eq!((ruling.verdict, ruling.green), (Verdict::Partial, true));
        assert!(ruling.unproven.is_empty());
        let rows = [(Class::Floor, Status::Skip), (Class::Delta, Status::Fail)];
        let ruling = Facts {
            whole: false,
            ..facts(&rows)
        }
        .rule();
        assert_eq!((ruling.verdict, ruling.green), (Verdict::Partial, false));
    }

    #[test]
    fn a_green_mutant_is_not_green() {
        assert!(
            !Facts {
                mutated: true,
                ..green()
            }
            .rule()
            .green
        );
    }

    #[test]
    fn the_counts_add_up() {
        use Status::{Fail, Pass, Skip, Unknown};
        let rows = [
            (Class::Floor, Pass),
            (Class::Floor, Fail),
            (Class::Delta, Unknown),
            (Class::Delta, Skip),
        ];
        let summary = facts(&rows).rule().summary;
        assert_eq!(
            summary.all,
            Counts {
                pass: 1,
                fail: 1,
                unknown: 1,
                skip: 1
            }
        );
        assert_eq!(
            summary.floor,
            Counts {
                pass: 1,
                fail: 1,
                ..Counts::default()
            }
        );
        assert_eq!(
            summary.delta,
            Counts {
                unknown: 1,
                skip: 1,
                ..Counts::default()
            }
        );
    }

    use super::super::status::Counts;
}
