//! One decision: a confirmation, an action or an eva-os approval, with fence tokens.
//!
//! Rules (contract, gateway): one decision wins and every other one is told the winner's verdict; a
//! fence must equal the current one; a decision without a fence carries the fence of the first issue
//! and is good until a reissue; a reissue (of a pending or an expired one) raises the fence and
//! starts a new time to live; one that shows a fence must show the current one. The state of a
//! decision is looked at before its fence: decided, then expired (for a reissue not), then stale.

use std::collections::BTreeMap;

use super::Ttl;
use crate::chaos::linear::Spec;

/// How a decision was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The call may run, once.
    Approved,
    /// The call never runs.
    Denied,
}

/// What is asked of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Approve, with the fence that was shown; `None` stands for the first issue's.
    Approve {
        /// The fence sent.
        fence: Option<u64>,
    },
    /// Deny, likewise.
    Deny {
        /// The fence sent.
        fence: Option<u64>,
    },
    /// Give it a new fence and a new time to live.
    Reissue {
        /// The fence sent; none is needed.
        fence: Option<u64>,
    },
}

impl Call {
    /// The fence sent and the verdict wanted, if this decides.
    fn decides(self) -> Option<(Option<u64>, Verdict)> {
        match self {
            Self::Approve { fence } => Some((fence, Verdict::Approved)),
            Self::Deny { fence } => Some((fence, Verdict::Denied)),
            Self::Reissue { .. } => None,
        }
    }
}

/// A call on one decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    /// The decision's id.
    pub id: String,
    /// What is asked of it.
    pub call: Call,
    /// Whether its time to live can have ended while this call was under way. After a reissue that
    /// the caller cannot place in time, `MayHavePassed` is the honest answer.
    pub ttl: Ttl,
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// 200: this call decided.
    Won,
    /// 409 ALREADY_DECIDED, with the verdict it named.
    Decided(Verdict),
    /// 409 FENCE_STALE.
    Stale,
    /// 409 CONFIRMATION_EXPIRED.
    Expired,
    /// 404.
    NotFound,
    /// 200: reissued with this fence.
    Reissued {
        /// The new fence.
        fence: u64,
    },
}

/// How far a decision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// There is none with this id.
    Absent,
    /// Open.
    Pending,
    /// Its time ran out, and somebody saw it.
    Expired,
    /// Decided, for ever.
    Decided(Verdict),
}

/// The current fence, as far as answers told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fence {
    /// It is this.
    Known(u64),
    /// A reissue that was never answered set it to something greater than this.
    Above(u64),
}

impl Fence {
    fn may_be(self, fence: u64) -> bool {
        match self {
            Self::Known(current) => fence == current,
            Self::Above(floor) => fence > floor,
        }
    }

    fn may_differ_from(self, fence: u64) -> bool {
        self != Self::Known(fence)
    }

    /// Whether a reissue may have answered `fence`.
    fn may_rise_to(self, fence: u64) -> bool {
        match self {
            Self::Known(current) => fence > current,
            // The unknown fence is at least floor + 1, and this one is greater than that.
            Self::Above(floor) => fence > floor + 1,
        }
    }

    fn raised_unseen(self) -> Self {
        match self {
            Self::Known(current) => Self::Above(current),
            Self::Above(floor) => Self::Above(floor + 1),
        }
    }
}

/// A decision's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// How far it is.
    pub phase: Phase,
    /// The current fence.
    pub fence: Fence,
    /// No reissue yet: a decision without a fence is still good.
    pub first_issue_valid: bool,
}

impl State {
    fn in_phase(&self, phase: Phase) -> Self {
        Self {
            phase,
            ..self.clone()
        }
    }

    fn fits(&self, fence: Option<u64>) -> bool {
        match fence {
            Some(fence) => self.fence.may_be(fence),
            None => self.first_issue_valid,
        }
    }

    fn may_be_stale(&self, fence: Option<u64>) -> bool {
        match fence {
            Some(fence) => self.fence.may_differ_from(fence),
            None => !self.first_issue_valid,
        }
    }
}

/// Decisions by id, each with the fence of its first issue. An id that is not here was never issued.
#[derive(Clone, Debug, Default)]
pub struct Confirmations {
    /// The fence of the first issue of each decision.
    pub first_fences: BTreeMap<String, u64>,
}

impl Confirmations {
    /// A specification that knows one decision.
    pub fn one(id: &str, first_fence: u64) -> Self {
        Self {
            first_fences: BTreeMap::from([(id.to_owned(), first_fence)]),
        }
    }
}

impl Spec for Confirmations {
    type Key = String;
    type State = State;
    type Input = Input;
    type Output = Output;

    fn key(&self, input: &Input) -> String {
        input.id.clone()
    }

    fn init(&self, id: &String) -> State {
        match self.first_fences.get(id) {
            Some(&fence) => State {
                phase: Phase::Pending,
                fence: Fence::Known(fence),
                first_issue_valid: true,
            },
            None => State {
                phase: Phase::Absent,
                fence: Fence::Known(0),
                first_issue_valid: false,
            },
        }
    }

    fn step(&self, state: &State, input: &Input, output: Option<&Output>, next: &mut Vec<State>) {
        match output {
            Some(output) => next.extend(answered(state, input, *output)),
            // Only what has an effect matters: without one the call need not have happened.
            None => next.extend(unanswered(state, input)),
        }
    }

    fn observes(&self, _input: &Input, output: &Output) -> bool {
        // Not Expired: the first one to see it fixes that it is over.
        matches!(
            output,
            Output::Decided(_) | Output::Stale | Output::NotFound
        )
    }
}

fn answered(state: &State, input: &Input, output: Output) -> Option<State> {
    let same = || state.clone();
    let open = state.phase == Phase::Pending && input.ttl.may_run();
    match output {
        Output::Won => wins(state, input),
        Output::Decided(verdict) => (state.phase == Phase::Decided(verdict)).then(same),
        Output::NotFound => (state.phase == Phase::Absent).then(same),
        Output::Stale => {
            let stale = match input.call {
                Call::Approve { fence } | Call::Deny { fence } => open && state.may_be_stale(fence),
                Call::Reissue { fence } => {
                    reissuable(state)
                        && fence.is_some_and(|fence| state.fence.may_differ_from(fence))
                }
            };
            stale.then(same)
        }
        Output::Expired => {
            input.call.decides()?;
            let over = state.phase == Phase::Expired
                || state.phase == Phase::Pending && input.ttl.may_have_passed();
            over.then(|| state.in_phase(Phase::Expired))
        }
        Output::Reissued { fence } => {
            let from = reissued_from(state, input)?;
            from.may_rise_to(fence).then_some(State {
                phase: Phase::Pending,
                fence: Fence::Known(fence),
                first_issue_valid: false,
            })
        }
    }
}

fn unanswered(state: &State, input: &Input) -> Option<State> {
    if let Some(from) = reissued_from(state, input) {
        return Some(State {
            phase: Phase::Pending,
            fence: from.raised_unseen(),
            first_issue_valid: false,
        });
    }
    wins(state, input)
}

/// The fence that a reissue raises, if `input` is one that can happen.
fn reissued_from(state: &State, input: &Input) -> Option<Fence> {
    let Call::Reissue { fence } = input.call else {
        return None;
    };
    let fits = fence.is_none_or(|fence| state.fence.may_be(fence));
    // Being let through with a fence says what the current one is.
    let from = fence.map_or(state.fence, Fence::Known);
    (reissuable(state) && fits).then_some(from)
}

fn reissuable(state: &State) -> bool {
    matches!(state.phase, Phase::Pending | Phase::Expired)
}

/// The state after `input` decided, if it can.
fn wins(state: &State, input: &Input) -> Option<State> {
    let (fence, verdict) = input.call.decides()?;
    let open = state.phase == Phase::Pending && input.ttl.may_run();
    if !open || !state.fits(fence) {
        return None;
    }
    // Winning with a fence says what the current one is.
    let fence = fence.map_or(state.fence, Fence::Known);
    Some(State {
        fence,
        ..state.in_phase(Phase::Decided(verdict))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::linear::{Bounds, Operation, Outcome, check};

    const APPROVE: Call = Call::Approve { fence: None };
    const DENY: Call = Call::Deny { fence: None };
    const REISSUE: Call = Call::Reissue { fence: None };

    fn at(ttl: Ttl, call: Call) -> Input {
        Input {
            id: "cnf_1".into(),
            call,
            ttl,
        }
    }

    /// A history of one decision with first fence 41, as (call, answer, invoked, returned).
    fn legal(history: &[(Call, Output, u64, u64)]) -> bool {
        legal_with(Ttl::Running, history, &[])
    }

    fn legal_with(ttl: Ttl, history: &[(Call, Output, u64, u64)], open: &[(Call, u64)]) -> bool {
        let mut operations: Vec<_> = history
            .iter()
            .map(|&(call, output, from, to)| Operation::closed(at(ttl, call), output, from, to))
            .collect();
        operations.extend(
            open.iter()
                .map(|&(call, from)| Operation::open(at(ttl, call), from)),
        );
        let spec = Confirmations::one("cnf_1", 41);
        matches!(
            check(&spec, &operations, Bounds::default()),
            Outcome::Ok { .. }
        )
    }

    fn approve(fence: u64) -> Call {
        Call::Approve { fence: Some(fence) }
    }

    #[test]
    fn one_winner_and_losers_that_name_it() {
        let approved = Output::Decided(Verdict::Approved);
        assert!(legal(&[
            (APPROVE, Output::Won, 0, 9),
            (DENY, approved, 0, 9)
        ]));
        assert!(!legal(&[
            (APPROVE, Output::Won, 0, 9),
            (DENY, Output::Won, 0, 9)
        ]));
        assert!(!legal(&[
            (APPROVE, Output::Won, 0, 9),
            (APPROVE, Output::Won, 0, 9)
        ]));
    }

    #[test]
    fn a_loser_names_the_winners_verdict_and_no_other() {
        let denied = Output::Decided(Verdict::Denied);
        assert!(legal(&[(DENY, Output::Won, 0, 9), (APPROVE, denied, 0, 9)]));
        assert!(!legal(&[
            (APPROVE, Output::Won, 0, 9),
            (APPROVE, denied, 0, 9)
        ]));
    }

    #[test]
    fn a_loser_that_returned_before_any_winner_began_has_no_explanation() {
        let approved = Output::Decided(Verdict::Approved);
        assert!(legal(&[
            (DENY, approved, 0, 5),
            (APPROVE, Output::Won, 5, 9)
        ]));
        assert!(!legal(&[
            (DENY, approved, 0, 4),
            (APPROVE, Output::Won, 5, 9)
        ]));
    }

    #[test]
    fn the_fence_must_be_equal_not_merely_newer() {
        assert!(legal(&[(approve(41), Output::Won, 0, 9)]));
        assert!(!legal(&[(approve(42), Output::Won, 0, 9)]));
        assert!(legal(&[(approve(42), Output::Stale, 0, 9)]));
        assert!(!legal(&[(approve(41), Output::Stale, 0, 9)]));
    }

    #[test]
    fn a_reissue_raises_the_fence_and_voids_the_old_one_and_the_fence_less_decision() {
        let reissued = (REISSUE, Output::Reissued { fence: 42 }, 0, 1);
        assert!(legal(&[reissued, (approve(42), Output::Won, 2, 3)]));
        assert!(!legal(&[reissued, (approve(41), Output::Won, 2, 3)]));
        assert!(!legal(&[reissued, (APPROVE, Output::Won, 2, 3)]));
        assert!(legal(&[reissued, (APPROVE, Output::Stale, 2, 3)]));
        assert!(!legal(&[(REISSUE, Output::Reissued { fence: 41 }, 0, 1)]));
        let again = (REISSUE, Output::Reissued { fence: 42 }, 2, 3);
        assert!(!legal(&[reissued, again]), "the same fence twice");
    }

    #[test]
    fn of_two_reissues_with_one_fence_one_is_too_late() {
        let with = |fence| Call::Reissue { fence: Some(fence) };
        let first = (with(41), Output::Reissued { fence: 42 }, 0, 9);
        assert!(legal(&[first, (with(41), Output::Stale, 0, 9)]));
        let second = Output::Reissued { fence: 43 };
        assert!(!legal(&[first, (with(41), second, 0, 9)]));
        assert!(legal(&[first, (with(42), second, 0, 9)]));
        assert!(!legal(&[(with(41), Output::Stale, 0, 9)]));
        assert!(!legal(&[(REISSUE, Output::Stale, 0, 9)]), "none is needed");
        let open = [(with(40), 0)];
        let still = [(approve(41), Output::Won, 5, 9)];
        assert!(legal_with(Ttl::Running, &still, &open));
        let void = [(approve(41), Output::Stale, 5, 9)];
        assert!(
            !legal_with(Ttl::Running, &void, &open),
            "it had another fence"
        );
    }

    #[test]
    fn a_race_with_a_reissue_has_two_outcomes() {
        let reissued = Output::Reissued { fence: 42 };
        assert!(legal(&[
            (approve(41), Output::Stale, 0, 9),
            (REISSUE, reissued, 0, 9)
        ]));
        let lost = Output::Decided(Verdict::Approved);
        assert!(legal(&[
            (approve(41), Output::Won, 0, 9),
            (REISSUE, lost, 0, 9)
        ]));
        assert!(!legal(&[
            (approve(41), Output::Won, 0, 9),
            (REISSUE, reissued, 0, 9)
        ]));
    }

    #[test]
    fn nothing_expires_before_its_time_and_nothing_wins_after_it() {
        let expired = [(APPROVE, Output::Expired, 0, 9)];
        let won = [(APPROVE, Output::Won, 0, 9)];
        assert!(!legal_with(Ttl::Running, &expired, &[]));
        assert!(legal_with(Ttl::MayHavePassed, &expired, &[]));
        assert!(legal_with(Ttl::MayHavePassed, &won, &[]));
        assert!(!legal_with(Ttl::Passed, &won, &[]));
    }

    #[test]
    fn what_was_seen_expired_stays_so_until_a_reissue() {
        let expired = (APPROVE, Output::Expired, 0, 1);
        assert!(!legal_with(
            Ttl::MayHavePassed,
            &[expired, (APPROVE, Output::Won, 2, 3)],
            &[]
        ));
        let reissued = (REISSUE, Output::Reissued { fence: 50 }, 2, 3);
        let won = (approve(50), Output::Won, 4, 5);
        assert!(legal_with(
            Ttl::MayHavePassed,
            &[expired, reissued, won],
            &[]
        ));
    }

    #[test]
    fn a_call_without_an_answer_may_have_decided_or_never_happened() {
        let approved = Output::Decided(Verdict::Approved);
        let lost = [(DENY, approved, 5, 9)];
        assert!(legal_with(Ttl::Running, &lost, &[(APPROVE, 0)]));
        assert!(!legal_with(Ttl::Running, &lost, &[(DENY, 0)]));
        assert!(
            !legal_with(Ttl::Running, &lost, &[(APPROVE, 10)]),
            "it began too late"
        );
        assert!(legal_with(
            Ttl::Running,
            &[(DENY, Output::Won, 5, 9)],
            &[(APPROVE, 0)]
        ));
    }

    #[test]
    fn an_unanswered_reissue_makes_the_fence_unknown_but_never_lower() {
        let open = [(REISSUE, 0)];
        assert!(legal_with(
            Ttl::Running,
            &[(approve(41), Output::Stale, 5, 9)],
            &open
        ));
        assert!(legal_with(
            Ttl::Running,
            &[(approve(57), Output::Won, 5, 9)],
            &open
        ));
        assert!(!legal_with(
            Ttl::Running,
            &[(approve(40), Output::Won, 5, 9)],
            &open
        ));
    }

    #[test]
    fn an_id_that_was_never_issued_is_not_found_and_one_that_was_is() {
        let unknown = Input {
            id: "cnf_0".into(),
            call: APPROVE,
            ttl: Ttl::Running,
        };
        let spec = Confirmations::one("cnf_1", 41);
        let history = [Operation::closed(unknown, Output::NotFound, 0, 1)];
        assert!(matches!(
            check(&spec, &history, Bounds::default()),
            Outcome::Ok { .. }
        ));
        assert!(!legal(&[(APPROVE, Output::NotFound, 0, 1)]));
    }

    #[test]
    fn sixty_four_racers_with_two_winners_are_refuted_in_a_handful_of_states() {
        let approved = Output::Decided(Verdict::Approved);
        let mut race = vec![(APPROVE, Output::Won, 0, 100), (DENY, Output::Won, 0, 100)];
        race.extend((0..62).map(|i| (APPROVE, approved, i, 50 + i)));
        let operations: Vec<_> = race
            .iter()
            .map(|&(call, output, from, to)| {
                Operation::closed(at(Ttl::Running, call), output, from, to)
            })
            .collect();
        let spec = Confirmations::one("cnf_1", 41);
        let outcome = check(&spec, &operations, Bounds::of_states(1_000));
        let Outcome::Illegal(illegal) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(illegal.stuck, 1, "the deny that also won");
    }
}
