//! Which answers of an illegal history contradict each other: a sub-history that is still illegal
//! and from which nothing more can be forgotten.
//!
//! To forget an operation is to say less of it: one that only observed is left out, any other may
//! have happened, at any time since it was invoked, or not at all. A history that is legal stays
//! legal when something is forgotten, so what is illegal after forgetting was illegal before, and the
//! operations that remain are a reason. (Were operations simply dropped, a read of 1 alone would
//! remain of every stale read: "nobody wrote 1" is true of what is left and not of what happened.)
//! Forgetting more never makes a legal history illegal, hence one pass over single operations ends at
//! a minimum: of the answers in it each is needed.

use std::sync::Mutex;

use rustc_hash::FxHashSet;

use super::plan::Part;
use super::search::{self, Found};
use super::{Bounds, History, Illegal, Operation, Spec};

/// States that one attempt may visit, if the history itself did not need more; one that needs more
/// has not shown that something can be forgotten.
const ATTEMPT: u64 = 20_000;
/// Steps that all attempts together may take, a second or two of them. A state costs as many as there
/// are operations that may have happened, and some.
const WORK: u64 = 50_000_000;
/// The "some".
const STATE: u64 = 16;

/// The operations whose answers contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimal {
    /// Indices into the checked operations, in order of invocation. As a history of their own they
    /// are illegal too.
    pub operations: Vec<usize>,
    /// Whether each of them is known to be needed. Otherwise the bounds ended the reduction.
    pub complete: bool,
}

/// Reduces an illegal history, which `illegal` was found of, to what makes it so.
pub fn minimal<S: Spec>(spec: &S, history: &History<S>, illegal: &Illegal) -> Minimal {
    let key = |op: &usize| spec.key(&history[*op].input);
    let stuck = key(&illegal.stuck);
    let members = (0..history.len()).filter(|op| key(op) == stuck);
    let members: Vec<u32> = members.map(|op| op as u32).collect();
    let recorded = members.iter().map(|op| Part::of(history, *op));
    let mut reduction = Reduction {
        spec,
        history,
        key: stuck,
        parts: recorded.collect(),
        attempt: ATTEMPT.max(2 * illegal.states),
        work: WORK,
        complete: true,
    };
    let demanded = demanded(history, &members, illegal.stuck);
    if reduction.try_out(&demanded) == Some(true) {
        reduction.parts = demanded;
    }
    reduction.run()
}

/// What had been answered when the search was stuck. What was in flight then is forgotten; if that
/// explains it after all, its answer is a part of the reason.
fn demanded<I, O>(history: &[Operation<I, O>], members: &[u32], stuck: usize) -> Vec<Part> {
    let over = |op: usize| history[op].returned().map(|returned| (returned, op));
    let last = over(stuck);
    let until = last.map_or(u64::MAX, |(returned, _)| returned);
    let members = members.iter();
    let invoked = members.filter(|op| history[**op as usize].invoked <= until);
    invoked
        .map(|&op| Part {
            op,
            open: over(op as usize).is_none_or(|over| last.is_some_and(|last| over > last)),
        })
        .collect()
}

struct Reduction<'a, S: Spec> {
    spec: &'a S,
    history: &'a History<S>,
    key: S::Key,
    /// What is left, forgotten operations that may have happened among it.
    parts: Vec<Part>,
    /// States that one attempt may visit.
    attempt: u64,
    work: u64,
    complete: bool,
}

impl<S: Spec> Reduction<'_, S> {
    fn run(mut self) -> Minimal {
        // What was observed goes first: each observation left out makes the next attempt cheaper.
        let mut size = self.parts.len().next_power_of_two();
        while size > 0 {
            for observers in [true, false] {
                self.pass(size, observers);
            }
            size /= 2;
        }
        let kept = self.parts.iter().filter(|part| !part.open);
        let mut operations: Vec<usize> = kept.map(|part| part.op as usize).collect();
        operations.sort_by_key(|&op| (self.history[op].invoked, op));
        Minimal {
            operations,
            complete: self.complete,
        }
    }

    /// Tries to forget each group of `size` in turn, the earliest first.
    fn pass(&mut self, size: usize, observers: bool) {
        let kept = self.parts.iter().filter(|part| !part.open);
        let of_kind = kept.filter(|part| self.observes(**part) == observers);
        let candidates: Vec<u32> = of_kind.map(|part| part.op).collect();
        for group in candidates.chunks(size) {
            // A larger group that fails may still hide a smaller one that can be forgotten.
            self.forget(group, size == 1);
        }
    }

    /// Forgets a group if the rest stays illegal. Whether it does matters in the end for single
    /// operations alone.
    fn forget(&mut self, group: &[u32], single: bool) {
        let group: FxHashSet<u32> = group.iter().copied().collect();
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            if part.open || !group.contains(&part.op) {
                parts.push(*part);
            } else if !self.observes(*part) {
                parts.push(Part {
                    open: true,
                    ..*part
                });
            }
        }
        match self.try_out(&parts) {
            Some(true) => self.parts = parts,
            Some(false) => {}
            None => self.complete &= !single,
        }
    }

    /// Whether these are illegal; `None` when that takes too long to say.
    fn try_out(&mut self, parts: &[Part]) -> Option<bool> {
        let opens = parts.iter().filter(|part| part.open).count() as u64;
        self.work = self.work.checked_sub(parts.len() as u64)?;
        let bounds = Bounds::of_states(self.attempt.min(self.work / (opens + STATE)));
        let init = self.spec.init(&self.key);
        let turn = Mutex::new(());
        let found = search::run(self.spec, self.history, parts, init, bounds, &turn);
        let (states, illegal) = match found {
            Found::Legal { states } => (states, Some(false)),
            Found::Illegal { states, .. } => (states, Some(true)),
            Found::GivenUp { states } => (states, None),
        };
        self.work = self.work.saturating_sub(states * (opens + STATE));
        illegal
    }

    fn observes(&self, part: Part) -> bool {
        let operation = &self.history[part.op as usize];
        let output = operation.output();
        output.is_some_and(|output| self.spec.observes(&operation.input, output))
    }
}
