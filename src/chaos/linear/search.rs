//! The search through one partition: depth first, with an explicit stack.
//!
//! A configuration is (position, mask, state): every operation that returned before the position is
//! linearized, the mask says which of those in flight are. Three reductions keep it small, and each
//! is without loss of generality:
//! - an operation is linearized only when a return demands one that is not (any order can be shifted
//!   right up to the next return without leaving an interval);
//! - one that never changes a state is placed as soon as it is legal;
//! - of operations in flight with equal input and answer only the one that returns first is tried
//!   (exchange the two: both are in flight now, and the earlier deadline goes to the earlier place).

use std::collections::HashSet;
use std::hash::Hash;

use super::plan::{Flight, Plan};
use super::{Bounds, Operation, Spec};

/// What the search through one partition found.
pub(super) enum Found {
    Legal {
        states: u64,
    },
    Illegal {
        prefix: Vec<usize>,
        stuck: usize,
        states: u64,
    },
    GivenUp {
        states: u64,
    },
}

/// Searches one partition from its initial state.
pub(super) fn run<S: Spec>(
    spec: &S,
    history: &[Operation<S::Input, S::Output>],
    plan: &Plan,
    init: S::State,
    bounds: Bounds,
) -> Found {
    if plan.slots <= 64 {
        Search::<S, u64>::new(spec, history, plan).run(init, bounds)
    } else {
        Search::<S, Box<[u64]>>::new(spec, history, plan).run(init, bounds)
    }
}

/// Which slots hold a linearized operation.
trait Mask: Clone + Eq + Hash {
    fn empty(slots: usize) -> Self;
    fn has(&self, slot: usize) -> bool;
    fn set(&mut self, slot: usize);
    fn clear(&mut self, slot: usize);
}

impl Mask for u64 {
    fn empty(_slots: usize) -> Self {
        0
    }
    fn has(&self, slot: usize) -> bool {
        self >> slot & 1 == 1
    }
    fn set(&mut self, slot: usize) {
        *self |= 1 << slot;
    }
    fn clear(&mut self, slot: usize) {
        *self &= !(1 << slot);
    }
}

impl Mask for Box<[u64]> {
    fn empty(slots: usize) -> Self {
        vec![0; slots.div_ceil(64)].into_boxed_slice()
    }
    fn has(&self, slot: usize) -> bool {
        self[slot / 64].has(slot % 64)
    }
    fn set(&mut self, slot: usize) {
        self[slot / 64].set(slot % 64);
    }
    fn clear(&mut self, slot: usize) {
        self[slot / 64].clear(slot % 64);
    }
}

/// A configuration that waits for its return number `at`, and which of its successors come next.
struct Frame<M, T> {
    at: usize,
    mask: M,
    state: T,
    /// Last step of the path that led here.
    step: usize,
    /// Flight to try next, and which of the states that follow it.
    flight: usize,
    alternative: usize,
}

/// A step of a path: the step before it and the operation linearized. Number 0 is the empty path.
struct Step {
    before: usize,
    op: usize,
}

struct Search<'a, S: Spec, M> {
    spec: &'a S,
    history: &'a [Operation<S::Input, S::Output>],
    plan: &'a Plan,
    visited: HashSet<(usize, M, S::State)>,
    steps: Vec<Step>,
    /// Reused by every call of the specification.
    next: Vec<S::State>,
    /// The dead end that got furthest: position and path.
    furthest: Option<(usize, usize)>,
}

impl<'a, S: Spec, M: Mask> Search<'a, S, M> {
    fn new(spec: &'a S, history: &'a [Operation<S::Input, S::Output>], plan: &'a Plan) -> Self {
        Self {
            spec,
            history,
            plan,
            visited: HashSet::new(),
            steps: vec![Step {
                before: 0,
                op: usize::MAX,
            }],
            next: Vec::new(),
            furthest: None,
        }
    }

    fn run(mut self, init: S::State, bounds: Bounds) -> Found {
        let root = Frame {
            at: 0,
            mask: M::empty(self.plan.slots),
            state: init,
            step: 0,
            flight: 0,
            alternative: 0,
        };
        let mut stack = Vec::new();
        let mut candidate = Some(root);
        loop {
            if let Some(frame) = candidate.take() {
                let Some(frame) = self.settle(frame) else {
                    return Found::Legal {
                        states: self.states(),
                    };
                };
                let configuration = (frame.at, frame.mask.clone(), frame.state.clone());
                if self.visited.insert(configuration) {
                    if self.states() > bounds.states {
                        return Found::GivenUp {
                            states: self.states() - 1,
                        };
                    }
                    stack.push(frame);
                }
            }
            let Some(frame) = stack.last_mut() else { break };
            candidate = self.successor(frame);
            if candidate.is_none() {
                self.dead_end(frame.at, frame.step);
                stack.pop();
            }
        }
        let (at, step) = self
            .furthest
            .expect("a search that ends has met a dead end");
        let stuck = self.plan.flights(at)[0].op;
        Found::Illegal {
            prefix: self.path(step),
            stuck,
            states: self.states(),
        }
    }

    fn states(&self) -> u64 {
        self.visited.len() as u64
    }

    /// Moves past every return whose operation is linearized, placing observers that are legal on
    /// the way; `None` when no return is left.
    fn settle(&mut self, mut frame: Frame<M, S::State>) -> Option<Frame<M, S::State>> {
        while frame.at < self.plan.returns() {
            let flights = self.plan.flights(frame.at);
            if !frame.mask.has(flights[0].slot) {
                self.observe(&mut frame, flights);
            }
            if !frame.mask.has(flights[0].slot) {
                return Some(frame);
            }
            frame.mask.clear(flights[0].slot);
            frame.at += 1;
        }
        None
    }

    fn observe(&mut self, frame: &mut Frame<M, S::State>, flights: &[Flight]) {
        for flight in flights.iter().filter(|flight| flight.observer) {
            if !frame.mask.has(flight.slot) && self.follow(&frame.state, flight.op) > 0 {
                frame.mask.set(flight.slot);
                frame.step = self.extend(frame.step, flight.op);
            }
        }
    }

    /// The next configuration after linearizing one more operation in flight.
    fn successor(&mut self, frame: &mut Frame<M, S::State>) -> Option<Frame<M, S::State>> {
        let flights = self.plan.flights(frame.at);
        while frame.flight < flights.len() {
            let flight = &flights[frame.flight];
            let skip = flight.observer
                || frame.mask.has(flight.slot)
                || waits_for_twin(&frame.mask, flights, flight);
            if !skip && frame.alternative < self.follow(&frame.state, flight.op) {
                let state = self.next.swap_remove(frame.alternative);
                frame.alternative += 1;
                // Without an answer and without an effect it need not have happened.
                if self.history[flight.op].answered.is_none() && state == frame.state {
                    continue;
                }
                let mut mask = frame.mask.clone();
                mask.set(flight.slot);
                let step = self.extend(frame.step, flight.op);
                return Some(Frame {
                    at: frame.at,
                    mask,
                    state,
                    step,
                    flight: 0,
                    alternative: 0,
                });
            }
            frame.flight += 1;
            frame.alternative = 0;
        }
        None
    }

    /// Fills `next` with the states that may follow `op` in `state`, and counts them.
    fn follow(&mut self, state: &S::State, op: usize) -> usize {
        let operation = &self.history[op];
        self.next.clear();
        self.spec
            .step(state, &operation.input, operation.output(), &mut self.next);
        self.next.len()
    }

    fn extend(&mut self, before: usize, op: usize) -> usize {
        self.steps.push(Step { before, op });
        self.steps.len() - 1
    }

    fn dead_end(&mut self, at: usize, step: usize) {
        if self.furthest.is_none_or(|(furthest, _)| at > furthest) {
            self.furthest = Some((at, step));
        }
    }

    fn path(&self, mut step: usize) -> Vec<usize> {
        let mut path = Vec::new();
        while step != 0 {
            path.push(self.steps[step].op);
            step = self.steps[step].before;
        }
        path.reverse();
        path
    }
}

/// Whether an equal operation that returns earlier is not linearized yet.
fn waits_for_twin<M: Mask>(mask: &M, flights: &[Flight], flight: &Flight) -> bool {
    let mut twin = flight.twin;
    while let Some(position) = twin {
        if !mask.has(flights[position].slot) {
            return true;
        }
        twin = flights[position].twin;
    }
    false
}
