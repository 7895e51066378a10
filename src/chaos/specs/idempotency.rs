//! One idempotency key: its first request executes and fixes the answer, the same request later gets
//! that stored answer, or is told that the first is in progress, another request is refused, and
//! nothing executes twice while the key lives.
//!
//! An execution is not one point in time: between its claim and its end others are told that it is
//! in progress. [`operations`] therefore turns each request that executed, or may have, into two
//! operations with the same interval: the claim and the finish.

use super::Ttl;
use crate::chaos::linear::{Operation, Spec};

/// A request under a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Endpoint and key.
    pub key: String,
    /// What else identifies the request (fingerprint, actor included).
    pub request: String,
    /// Whether an answer stored earlier can have expired while this request was under way.
    pub ttl: Ttl,
}

/// How a request was answered. What is never stored (400, 401, 403, 429, 503) has no place here: it
/// neither claims nor reads the key's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Executed, with this answer.
    Executed(String),
    /// A stored answer.
    Replayed(String),
    /// 409 KEY_IN_PROGRESS.
    InProgress,
    /// 422: the key belongs to another request.
    Reused,
}

/// Half an execution, or a look at the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The key is taken, execution begins.
    Claim,
    /// Execution ends, the answer is stored.
    Finish,
    /// Anything that executes nothing.
    Look,
}

/// An operation of the specification.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    /// The request.
    pub request: Request,
    /// Which part of it.
    pub part: Part,
    /// Which request of the history: a finish belongs to its own claim.
    pub number: usize,
}

/// How far a key is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Never seen, or expired and taken by nobody since.
    Free,
    /// Its first request is executing.
    Claimed {
        /// What was claimed.
        request: String,
        /// By which request of the history.
        by: usize,
    },
    /// Executed.
    Stored {
        /// What was executed.
        request: String,
        /// Its answer; `None` until somebody was told.
        answer: Option<String>,
    },
}

/// Keys, all free at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys;

/// Turns requests, as (request, invoked, answer with its time), into operations.
pub fn operations(
    requests: impl IntoIterator<Item = (Request, u64, Option<(u64, Answer)>)>,
) -> Vec<Operation<Input, Answer>> {
    let mut operations = Vec::new();
    for (number, (request, invoked, answered)) in requests.into_iter().enumerate() {
        let executes = matches!(answered, None | Some((_, Answer::Executed(_))));
        let parts: &[Part] = if executes {
            &[Part::Claim, Part::Finish]
        } else {
            &[Part::Look]
        };
        operations.extend(parts.iter().map(|part| Operation {
            input: Input {
                request: request.clone(),
                part: part.clone(),
                number,
            },
            invoked,
            answered: answered.clone(),
        }));
    }
    operations
}

impl Spec for Keys {
    type Key = String;
    type State = State;
    type Input = Input;
    type Output = Answer;

    fn key(&self, input: &Input) -> String {
        input.request.key.clone()
    }

    fn init(&self, _key: &String) -> State {
        State::Free
    }

    fn step(&self, state: &State, input: &Input, output: Option<&Answer>, next: &mut Vec<State>) {
        next.extend(match input.part {
            Part::Claim => claim(state, input),
            Part::Finish => finish(state, input, output),
            Part::Look => look(state, input, output),
        });
    }

    fn observes(&self, _input: &Input, output: &Answer) -> bool {
        // Not Replayed: it may be the first to tell the answer of an execution nobody heard of.
        matches!(output, Answer::InProgress | Answer::Reused)
    }
}

fn claim(state: &State, input: &Input) -> Option<State> {
    let free = match state {
        State::Free => true,
        State::Claimed { .. } => false,
        State::Stored { .. } => input.request.ttl.may_have_passed(),
    };
    free.then(|| State::Claimed {
        request: input.request.request.clone(),
        by: input.number,
    })
}

fn finish(state: &State, input: &Input, output: Option<&Answer>) -> Option<State> {
    match state {
        State::Claimed { request, by } if *by == input.number => {
            let answer = match output {
                Some(Answer::Executed(answer)) => Some(answer.clone()),
                _ => None,
            };
            Some(State::Stored {
                request: request.clone(),
                answer,
            })
        }
        _ => None,
    }
}

fn look(state: &State, input: &Input, output: Option<&Answer>) -> Option<State> {
    let mine = &input.request.request;
    let ttl = input.request.ttl;
    match (state, output?) {
        (State::Claimed { request, .. }, Answer::InProgress) => {
            (request == mine).then(|| state.clone())
        }
        (State::Claimed { request, .. }, Answer::Reused) => {
            (request != mine).then(|| state.clone())
        }
        (State::Stored { request, .. }, Answer::Reused) => {
            (request != mine && ttl.may_run()).then(|| state.clone())
        }
        (State::Stored { request, answer }, Answer::Replayed(told)) => {
            let same = request == mine && answer.as_ref().is_none_or(|answer| answer == told);
            (same && ttl.may_run()).then(|| State::Stored {
                request: request.clone(),
                answer: Some(told.clone()),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::linear::{Bounds, Outcome, check};

    /// What was requested, when, and the answer with its time.
    type Row<'a> = (&'a str, u64, Option<(u64, Answer)>);

    fn legal(ttl: Ttl, history: &[Row<'_>]) -> bool {
        let requests = history.iter().map(|(request, invoked, answered)| {
            let request = Request {
                key: "k".into(),
                request: (*request).into(),
                ttl,
            };
            (request, *invoked, answered.clone())
        });
        let outcome = check(&Keys, &operations(requests), Bounds::default());
        matches!(outcome, Outcome::Ok { .. })
    }

    fn executed(answer: &str) -> Answer {
        Answer::Executed(answer.into())
    }

    fn replayed(answer: &str) -> Answer {
        Answer::Replayed(answer.into())
    }

    #[test]
    fn one_execution_and_its_answer_again() {
        let first = ("a", 0, Some((5, executed("x"))));
        assert!(legal(
            Ttl::Running,
            &[first.clone(), ("a", 6, Some((7, replayed("x"))))]
        ));
        assert!(!legal(
            Ttl::Running,
            &[first.clone(), ("a", 6, Some((7, replayed("y"))))]
        ));
        assert!(!legal(
            Ttl::Running,
            &[first.clone(), ("a", 6, Some((7, executed("x"))))]
        ));
        assert!(
            !legal(Ttl::Running, &[first, ("a", 2, Some((7, executed("x"))))]),
            "in a race too"
        );
    }

    #[test]
    fn in_progress_only_while_the_first_is_under_way() {
        let first = ("a", 0, Some((5, executed("x"))));
        let told = |from, to| ("a", from, Some((to, Answer::InProgress)));
        assert!(legal(Ttl::Running, &[first.clone(), told(1, 2)]));
        assert!(
            !legal(Ttl::Running, &[first.clone(), told(6, 7)]),
            "it had answered"
        );
        let replay = ("a", 1, Some((2, replayed("x"))));
        assert!(legal(
            Ttl::Running,
            &[first.clone(), replay.clone(), told(1, 2)]
        ));
        assert!(
            !legal(Ttl::Running, &[first, replay, told(3, 4)]),
            "the answer was out already"
        );
    }

    #[test]
    fn another_request_is_refused_and_the_same_one_is_not() {
        let first = ("a", 0, Some((5, executed("x"))));
        assert!(legal(
            Ttl::Running,
            &[first.clone(), ("b", 6, Some((7, Answer::Reused)))]
        ));
        assert!(!legal(
            Ttl::Running,
            &[first.clone(), ("a", 6, Some((7, Answer::Reused)))]
        ));
        assert!(!legal(
            Ttl::Running,
            &[first, ("b", 6, Some((7, replayed("x"))))]
        ));
    }

    #[test]
    fn an_unanswered_request_may_have_executed_or_not() {
        let open = ("a", 0, None);
        assert!(legal(
            Ttl::Running,
            &[open.clone(), ("a", 6, Some((7, replayed("x"))))]
        ));
        assert!(legal(
            Ttl::Running,
            &[open.clone(), ("a", 6, Some((7, executed("x"))))]
        ));
        assert!(legal(
            Ttl::Running,
            &[open.clone(), ("a", 6, Some((7, Answer::InProgress)))]
        ));
        let two = [
            open,
            ("a", 6, Some((7, replayed("x")))),
            ("a", 8, Some((9, replayed("y")))),
        ];
        assert!(!legal(Ttl::Running, &two), "one execution has one answer");
        assert!(
            !legal(Ttl::Running, &[("a", 6, Some((7, replayed("x"))))]),
            "of what?"
        );
    }

    #[test]
    fn after_its_time_a_key_executes_again_and_not_before() {
        let first = ("a", 0, Some((5, executed("x"))));
        let again = [first.clone(), ("a", 6, Some((7, executed("y"))))];
        assert!(legal(Ttl::MayHavePassed, &again));
        assert!(legal(Ttl::Passed, &again));
        assert!(!legal(Ttl::Running, &again));
        let stored = [first, ("a", 6, Some((7, replayed("x"))))];
        assert!(legal(Ttl::MayHavePassed, &stored));
        assert!(
            !legal(Ttl::Passed, &stored),
            "a stored answer outlived its key"
        );
    }
}
