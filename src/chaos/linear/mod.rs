//! Is there one order of these operations, in agreement with real time, that the specification
//! allows? (Linearizability, Herlihy and Wing 1990.)
//!
//! The search is just-in-time linearization (Lowe 2017) over the graph of Wing and Gong, memoised on
//! (set of linearized operations, state), one partition (key) at a time; what is legal apart is legal
//! together (P-compositionality, Horn and Kroening 2015). An operation is linearized only when a
//! return forces it, so the set is a small mask over the operations that are in flight plus a
//! position. Partitions are searched by a bounded pool of threads.
//!
//! The answer has three values and is bounded by a count of states and by a count of bytes, never by
//! time: the same history under the same bounds gives the same answer on any machine, however many
//! threads there are. Why a history is illegal can be looked at afterwards: [`Illegal::prefix`] is how
//! far it was explained, [`minimal`] which of its answers contradict each other, and [`bars`] and
//! [`page`] draw them.
//!
//! What it does not do: it reads no files and knows no HTTP. Who builds the operations says what an
//! answer meant; an answer that never came leaves its operation open.

mod mask;
mod memo;
mod plan;
mod pool;
mod search;
mod shrink;
mod timeline;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod shrink_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::Hash;

pub use shrink::{Minimal, minimal};
pub use timeline::{Mark, Row, bars, page};

/// A sequential specification: a pure state machine, one state a partition.
pub trait Spec: Sync {
    /// What partitions a history: operations on different keys never influence one another.
    type Key: Clone + Ord + Hash + fmt::Display + Send + Sync;
    /// The state of one partition.
    type State: Clone + Eq + Hash;
    /// What was asked, the key included.
    type Input: Eq + Hash + Sync;
    /// What was answered.
    type Output: Eq + Hash + Sync;

    /// The partition an operation belongs to.
    fn key(&self, input: &Self::Input) -> Self::Key;

    /// The state of a partition before its first operation.
    fn init(&self, key: &Self::Key) -> Self::State;

    /// Pushes every state that may follow when `input` takes effect in `state` and is answered by
    /// `output`; nothing pushed means that it cannot happen there. `None` is an operation that was
    /// never answered: push the states that follow under any answer (the checker itself adds the
    /// case that it never happens).
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
        next: &mut Vec<Self::State>,
    );

    /// Whether an operation answered so never changes any state, wherever it is legal (a read, a
    /// refusal). Such operations are placed without branching. Saying `true` of an operation that
    /// has an effect in some state makes the checker wrong; `false` only makes it slower.
    fn observes(&self, _input: &Self::Input, _output: &Self::Output) -> bool {
        false
    }

    /// Whether [`Spec::reaches`] tells anything.
    const LOOKS_AHEAD: bool = false;

    /// Whether an observer that comes later can still be legal: in `state`, or after some of `others`
    /// in some order. Saying `false` where it can makes the checker wrong; `true` only makes it
    /// slower. Where a state says much of its past (a text that grows), this is what ends a search
    /// that went astray early.
    fn reaches<'a>(
        &self,
        _state: &Self::State,
        _observer: (&Self::Input, &Self::Output),
        _others: impl Iterator<Item = &'a Self::Input>,
    ) -> bool
    where
        Self::Input: 'a,
    {
        true
    }

    /// Bytes that a state holds beyond its own size, such as the text of its strings: what the bound
    /// on memory counts.
    fn heap(&self, _state: &Self::State) -> usize {
        0
    }
}

/// One operation of a history, with the times at which its caller began and ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// What was asked.
    pub input: I,
    /// When the caller began, in any unit that all operations share.
    pub invoked: u64,
    /// The answer and when the caller had it; `None` stays open: it may have happened at any time
    /// since `invoked` with any answer, or never.
    pub answered: Option<(u64, O)>,
}

/// The operations of a specification.
pub type History<S> = [Operation<<S as Spec>::Input, <S as Spec>::Output>];

impl<I, O> Operation<I, O> {
    /// An operation that was answered.
    pub fn closed(input: I, output: O, invoked: u64, returned: u64) -> Self {
        Self {
            input,
            invoked,
            answered: Some((returned, output)),
        }
    }

    /// An operation whose outcome nobody knows.
    pub fn open(input: I, invoked: u64) -> Self {
        Self {
            input,
            invoked,
            answered: None,
        }
    }

    /// Its answer, if it had one.
    pub fn output(&self) -> Option<&O> {
        self.answered.as_ref().map(|(_, output)| output)
    }

    /// When it was over: no earlier than it began, and never without an answer.
    fn returned(&self) -> Option<u64> {
        let (returned, _) = self.answered.as_ref()?;
        Some((*returned).max(self.invoked))
    }
}

/// Where the search gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Distinct (linearized set, state) pairs that one partition may visit.
    pub states: u64,
    /// Bytes that one partition may hold, counted from the entries of its tables and not asked of the
    /// system, so that the answer is the same anywhere. Partitions that grow large take turns: all
    /// threads together hold this much once, and [`SMALL`] each.
    pub bytes: u64,
}

/// Bytes that a partition may hold beside others that do the same; for more it waits for its turn.
pub const SMALL: u64 = 32 << 20;

impl Bounds {
    /// Bounded by a count of states, with half a gibibyte to hold them.
    #[must_use]
    pub const fn of_states(states: u64) -> Self {
        Self {
            states,
            bytes: 512 << 20,
        }
    }
}

impl Default for Bounds {
    /// A million states a partition: about a second, and a hundred megabytes or two.
    fn default() -> Self {
        Self::of_states(1_000_000)
    }
}

/// What [`check`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every partition has an order that the specification allows.
    Ok {
        /// States visited, over all partitions.
        states: u64,
    },
    /// At least one partition has none.
    Illegal(Illegal),
    /// No partition is known to be illegal, but at least one was given up.
    Unknown {
        /// The first partition that was given up.
        key: String,
        /// States visited in it.
        states: u64,
    },
}

/// Why a history is not linearizable: the first partition, in the order of its keys, without an
/// explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// The partition.
    pub key: String,
    /// The longest legal prefix found: indices into the checked operations, in linearization order.
    pub prefix: Vec<usize>,
    /// The operation that no continuation of this prefix could place before its return.
    pub stuck: usize,
    /// States visited in this partition: all of them, hence the certainty.
    pub states: u64,
}

/// Checks a history against a specification, partition by partition.
///
/// Intervals are closed: a call invoked at the tick at which another returned is concurrent with it.
pub fn check<S: Spec>(spec: &S, history: &History<S>, bounds: Bounds) -> Outcome {
    let partitions = pool::partitions(spec, history);
    let answers = pool::search_all(spec, history, &partitions, bounds);
    let mut states = 0;
    let mut given_up = None;
    for (key, answer) in partitions.iter().map(|(key, _)| key).zip(answers) {
        match answer {
            search::Found::Legal { states: visited } => states += visited,
            search::Found::Illegal {
                prefix,
                stuck,
                states,
            } => {
                return Outcome::Illegal(Illegal {
                    key: key.to_string(),
                    prefix,
                    stuck,
                    states,
                });
            }
            search::Found::GivenUp { states: visited } => {
                given_up.get_or_insert((key.to_string(), visited));
            }
        }
    }
    match given_up {
        Some((key, states)) => Outcome::Unknown { key, states },
        None => Outcome::Ok { states },
    }
}
