//! What a drive came to: FAIL iff a violation was seen, else UNKNOWN iff something stayed open,
//! else PASS. Pure.

use std::collections::BTreeMap;

use crate::checks::Judgement;
use crate::model::Status;

/// A status with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// FAIL, UNKNOWN or PASS.
    pub status: Status,
    /// One line with numbers, or the first reason.
    pub detail: String,
    /// Every violation.
    pub violations: Vec<String>,
    /// Every reason why it could not be decided.
    pub undecided: Vec<String>,
    /// What was exercised.
    pub exercised: BTreeMap<String, u64>,
}

impl Decision {
    /// Nothing could be judged.
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        let why = why.into();
        Self {
            status: Status::Unknown,
            detail: why.clone(),
            violations: Vec::new(),
            undecided: vec![why],
            exercised: BTreeMap::new(),
        }
    }

    /// The decision on what a judge said, how the drive ended, and what had to be exercised.
    pub(super) fn on(
        judgement: Judgement,
        stopped: Option<String>,
        minimum: &BTreeMap<String, u64>,
    ) -> Self {
        let Judgement {
            violations,
            exercised,
            undecided: open,
            detail,
        } = judgement;
        let mut undecided: Vec<String> = stopped.into_iter().chain(open).collect();
        for (name, wanted) in minimum {
            match exercised.get(name) {
                Some(got) if got >= wanted => {}
                Some(got) => undecided.push(format!("{name}: exercised {got}, expected {wanted}")),
                None => undecided.push(format!("{name}: not counted, expected {wanted}")),
            }
        }
        let status = match (violations.is_empty(), undecided.is_empty()) {
            (false, _) => Status::Fail,
            (true, false) => Status::Unknown,
            (true, true) => Status::Pass,
        };
        let detail = match status {
            Status::Fail => first_of(&violations),
            Status::Unknown => first_of(&undecided),
            _ => detail,
        };
        Self {
            status,
            detail,
            violations,
            undecided,
            exercised,
        }
    }
}

fn first_of(reasons: &[String]) -> String {
    match reasons {
        [] => String::new(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimum(rounds: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("rounds".to_owned(), rounds)])
    }

    fn good(rounds: u64) -> Judgement {
        let mut judgement = Judgement {
            detail: "all well".to_owned(),
            ..Judgement::default()
        };
        judgement.exercised("rounds", rounds);
        judgement
    }

    #[test]
    fn enough_exercise_and_nothing_against_it_is_pass() {
        let decision = Decision::on(good(3), None, &minimum(3));
        assert_eq!(
            (decision.status, decision.detail.as_str()),
            (Status::Pass, "all well")
        );
    }

    #[test]
    fn too_little_exercise_is_unknown_with_both_numbers() {
        let decision = Decision::on(good(2), None, &minimum(3));
        assert_eq!(decision.status, Status::Unknown);
        assert_eq!(decision.detail, "rounds: exercised 2, expected 3");
        let decision = Decision::on(Judgement::default(), None, &minimum(3));
        assert_eq!(decision.detail, "rounds: not counted, expected 3");
    }

    #[test]
    fn a_drive_that_stopped_or_an_open_question_is_unknown() {
        let stopped = Decision::on(good(3), Some("no port".to_owned()), &minimum(3));
        assert_eq!(
            (stopped.status, stopped.detail.as_str()),
            (Status::Unknown, "no port")
        );
        let mut open = good(3);
        open.undecided("the search was too long");
        assert_eq!(
            Decision::on(open, None, &minimum(3)).status,
            Status::Unknown
        );
    }

    #[test]
    fn a_violation_is_fail_whatever_else_stayed_open() {
        let mut bad = good(0);
        bad.violation("2 winners, expected 1");
        bad.violation("0 losers, expected 1");
        let decision = Decision::on(bad, Some("cut short".to_owned()), &minimum(3));
        assert_eq!(decision.status, Status::Fail);
        assert_eq!(decision.detail, "2 winners, expected 1 (and 1 more)");
    }
}
