//! The search through one partition: depth first from return to return, and between two returns
//! breadth first, with explicit stacks.
//!
//! A configuration is (position, mask, state): every operation that returned before the position is
//! linearized, the mask says which of those in flight are. Five reductions keep it small, and each
//! is without loss of generality:
//! - an operation is linearized only when a return demands one that is not (any order can be shifted
//!   right up to the next return without leaving an interval);
//! - one that never changes a state is placed as soon as it is legal;
//! - of operations in flight with equal input and answer only the one that returns first is tried
//!   (exchange the two: both are in flight now, and the earlier deadline goes to the earlier place);
//! - of unanswered ones with equal input only the one invoked first, likewise;
//! - one that used up more unanswered operations than another, and is the same otherwise, is not
//!   looked at (what has not happened yet may still, and need not). Between two returns fewer
//!   operations are tried before more, so that the better one is usually met first.
//!
//! Where the specification can look ahead, a configuration after which one of the next observers can
//! never be legal is given up at once, and not only when that observer returns.

use std::mem::size_of;
use std::sync::{Mutex, MutexGuard};

use super::mask::Mask;
use super::memo::{Steps, Visited, vec_bytes};
use super::plan::{Flight, Part, Plan};
use super::{Bounds, History, SMALL, Spec};

/// New configurations between two looks at the bound on memory.
const LOOK_EVERY: u64 = 64;

/// What the search through one partition found.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Searches one partition from its initial state. Whoever holds more than [`SMALL`] holds `turn`.
pub(super) fn run<S: Spec>(
    spec: &S,
    history: &History<S>,
    parts: &[Part],
    init: S::State,
    bounds: Bounds,
    turn: &Mutex<()>,
) -> Found {
    let Some(plan) = Plan::new(spec, history, parts, bounds.bytes) else {
        return Found::GivenUp { states: 0 };
    };
    let steps = Steps::new(spec, history, &plan);
    match plan.slots() {
        ..=64 => Search::<S, [u64; 1]>::new(&plan, steps, bounds, turn).run(init),
        65..=256 => Search::<S, [u64; 4]>::new(&plan, steps, bounds, turn).run(init),
        _ => Search::<S, Box<[u64]>>::new(&plan, steps, bounds, turn).run(init),
    }
}

/// Where the search is, or was.
#[derive(Clone)]
struct Configuration<M> {
    /// The return that it waits for.
    at: u32,
    state: u32,
    mask: M,
    /// Last step of the path that led here.
    step: u32,
}

/// The configurations that wait for one return: a stretch of the queue.
#[derive(Default)]
struct Frame {
    /// Where the stretch begins; it reaches to the end of the queue while this frame is the last.
    start: usize,
    /// Which of them is being looked at.
    head: usize,
    /// Which operation in flight comes next: answered ones first.
    next: usize,
    /// Which of the states that follow it.
    alternative: u32,
}

/// A step of a path: the step before it and the operation linearized. Number 0 is the empty path.
struct Step {
    before: u32,
    op: u32,
}

/// Observers that are looked ahead to: the next ones to return.
const AHEAD: usize = 4;

/// The longest path so far.
#[derive(Clone, Copy, Default)]
struct Furthest {
    /// The return that nothing led past.
    stuck: u32,
    /// Operations placed.
    placed: u32,
    /// Its last step.
    step: u32,
}

struct Search<'a, S: Spec, M> {
    plan: &'a Plan,
    bounds: Bounds,
    turn: &'a Mutex<()>,
    held: Option<MutexGuard<'a, ()>>,
    follow: Steps<'a, S>,
    visited: Visited<M>,
    queue: Vec<Configuration<M>>,
    frames: Vec<Frame>,
    steps: Vec<Step>,
    furthest: Furthest,
}

/// How a step of the search ended.
enum Ended {
    Legal,
    GivenUp,
}

impl<'a, S: Spec, M: Mask> Search<'a, S, M> {
    fn new(plan: &'a Plan, follow: Steps<'a, S>, bounds: Bounds, turn: &'a Mutex<()>) -> Self {
        Self {
            plan,
            bounds,
            turn,
            held: None,
            follow,
            visited: Visited::new(plan),
            queue: Vec::new(),
            frames: Vec::new(),
            steps: vec![Step {
                before: 0,
                op: u32::MAX,
            }],
            furthest: Furthest::default(),
        }
    }

    fn run(mut self, init: S::State) -> Found {
        let root = Configuration {
            at: 0,
            state: self.follow.number(init),
            mask: M::empty(self.plan.slots()),
            step: 0,
        };
        let bound = self.bounds.states;
        let ended = self.look(root, None).and_then(|()| self.search());
        let states = self.visited.count();
        match ended {
            Err(Ended::Legal) => Found::Legal { states },
            Err(Ended::GivenUp) => Found::GivenUp {
                states: states.min(bound),
            },
            Ok(()) => {
                let Furthest { stuck, step, .. } = self.furthest;
                Found::Illegal {
                    prefix: self.path(step),
                    stuck: self.plan.flights(stuck)[0].op as usize,
                    states,
                }
            }
        }
    }

    /// Until nothing is left to look at.
    fn search(&mut self) -> Result<(), Ended> {
        while let Some(frame) = self.frames.last() {
            if frame.head == self.queue.len() {
                self.queue.truncate(frame.start);
                self.frames.pop();
                continue;
            }
            let from = self.queue[frame.head].clone();
            match self.successor(&from) {
                Some(next) => self.look(next, Some(from.at))?,
                None => {
                    let frame = self.frames.last_mut().expect("it was there");
                    (frame.head, frame.next, frame.alternative) = (frame.head + 1, 0, 0);
                }
            }
        }
        Ok(())
    }

    /// Settles a configuration and, if it is new, queues it: with those it came from while it waits
    /// for the same return, else in a frame of its own.
    fn look(&mut self, mut one: Configuration<M>, from: Option<u32>) -> Result<(), Ended> {
        // The step that led here comes before those of `settle`; of a known one none is kept.
        let mark = self.steps.len() - usize::from(from.is_some());
        if !self.settle(&mut one) {
            return Err(Ended::Legal);
        }
        if !self.visited.insert(one.at, one.state, &one.mask) {
            self.steps.truncate(mark);
            return Ok(());
        }
        self.visited_one()?;
        let at = one.at;
        let doom = self.doom(&one);
        let (stuck, placed) = (doom.unwrap_or(at), at + one.mask.count());
        if (stuck, placed) > (self.furthest.stuck, self.furthest.placed) {
            let step = one.step;
            self.furthest = Furthest {
                stuck,
                placed,
                step,
            };
        }
        if doom.is_some() {
            return Ok(());
        }
        if from != Some(at) {
            self.frames.push(Frame {
                start: self.queue.len(),
                head: self.queue.len(),
                ..Frame::default()
            });
        }
        self.queue.push(one);
        Ok(())
    }

    /// Holds what was visited against the bounds.
    fn visited_one(&mut self) -> Result<(), Ended> {
        let count = self.visited.count();
        if count > self.bounds.states {
            return Err(Ended::GivenUp);
        }
        if count % LOOK_EVERY == 1 {
            let bytes = self.bytes() as u64;
            if bytes > self.bounds.bytes {
                return Err(Ended::GivenUp);
            }
            if bytes > SMALL && self.held.is_none() {
                // Who panicked while holding it left nothing behind that could be wrong.
                let turn = self.turn.lock();
                self.held = Some(turn.unwrap_or_else(std::sync::PoisonError::into_inner));
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let waiting = size_of::<Configuration<M>>() + M::heap(self.plan.slots());
        self.plan.bytes()
            + self.follow.bytes()
            + self.visited.bytes()
            + vec_bytes(self.queue.len(), waiting)
            + vec_bytes(self.frames.len(), size_of::<Frame>())
            + vec_bytes(self.steps.len(), size_of::<Step>())
    }

    /// The return of an observer that can never be legal from here on, if one of the next is such.
    fn doom(&self, one: &Configuration<M>) -> Option<u32> {
        if !S::LOOKS_AHEAD {
            return None;
        }
        let next = self.plan.observers(one.at).iter().take(AHEAD).copied();
        let mut next = next.filter(|&number| {
            let observer = self.plan.flights(number)[0];
            !placed(one, observer)
        });
        next.find(|&number| !self.reaches(one, number))
    }

    /// Whether the observer that returns at `number` may be legal after some of the operations that
    /// can come before it.
    fn reaches(&self, one: &Configuration<M>, number: u32) -> bool {
        let (plan, history) = (self.plan, self.follow.history);
        let returned = (one.at..number).map(|earlier| plan.flights(earlier)[0]);
        let in_flight = plan.flights(number).iter().copied();
        let answered = returned.chain(in_flight);
        let answered = answered.filter(|flight| !placed(one, *flight));
        let opened = plan.opened(number).iter().enumerate();
        let opened = opened.filter(|(slot, _)| !one.mask.has(*slot));
        let others = answered.map(|flight| flight.op);
        let others = others.chain(opened.map(|(_, open)| open.op));
        let observer = &history[plan.flights(number)[0].op as usize];
        let Some(output) = observer.output() else {
            return true;
        };
        let state = self.follow.state(one.state);
        let others = others.map(|op| &history[op as usize].input);
        let observer = (&observer.input, output);
        self.follow.spec.reaches(state, observer, others)
    }

    /// Moves past every return whose operation is linearized, placing observers that are legal on
    /// the way; `false` when no return is left.
    fn settle(&mut self, one: &mut Configuration<M>) -> bool {
        let plan = self.plan;
        while (one.at as usize) < plan.returns() {
            let flights = plan.flights(one.at);
            let returning = flights[0].slot as usize;
            if !one.mask.has(returning) {
                for flight in flights {
                    let slot = flight.slot as usize;
                    let places = plan.class(flight.class).observer
                        && !one.mask.has(slot)
                        && !self.follow.follow(one.state, flight.class).is_empty();
                    if places {
                        one.mask.set(slot);
                        one.step = self.extend(one.step, flight.op);
                    }
                }
            }
            if !one.mask.has(returning) {
                return true;
            }
            one.mask.clear(returning);
            one.at += 1;
        }
        false
    }

    /// The next configuration after linearizing one more operation in flight.
    fn successor(&mut self, from: &Configuration<M>) -> Option<Configuration<M>> {
        let plan = self.plan;
        let flights = plan.flights(from.at);
        let opened = plan.opened(from.at);
        let frame = self.frames.last_mut().expect("a successor is of a frame");
        while frame.next < flights.len() + opened.len() {
            let (op, class, slot, skip) = match flights.get(frame.next) {
                Some(flight) => {
                    let skip = plan.class(flight.class).observer
                        || waits_for_twin(&from.mask, flights, *flight);
                    (flight.op, flight.class, flight.slot as usize, skip)
                }
                None => {
                    let slot = frame.next - flights.len();
                    let open = &opened[slot];
                    let used = |twin: u32| from.mask.has(twin as usize);
                    (open.op, open.class, slot, !open.twin.is_none_or(used))
                }
            };
            if !skip && !from.mask.has(slot) {
                let ends = self.follow.follow(from.state, class);
                let end = ends.start + frame.alternative;
                if end < ends.end {
                    frame.alternative += 1;
                    let mut mask = from.mask.clone();
                    mask.set(slot);
                    return Some(Configuration {
                        at: from.at,
                        state: self.follow.end(end),
                        mask,
                        step: self.extend(from.step, op),
                    });
                }
            }
            (frame.next, frame.alternative) = (frame.next + 1, 0);
        }
        None
    }

    fn extend(&mut self, before: u32, op: u32) -> u32 {
        let number = u32::try_from(self.steps.len()).expect("the bounds are far below");
        self.steps.push(Step { before, op });
        number
    }

    fn path(&self, mut step: u32) -> Vec<usize> {
        let mut path = Vec::new();
        while step != 0 {
            let Step { before, op } = self.steps[step as usize];
            path.push(op as usize);
            step = before;
        }
        path.reverse();
        path
    }
}

/// Whether an operation is linearized; one that is not in flight yet has a slot that is another's.
fn placed<M: Mask>(one: &Configuration<M>, flight: Flight) -> bool {
    flight.since <= one.at && one.mask.has(flight.slot as usize)
}

/// Whether an equal operation that returns earlier is not linearized yet.
fn waits_for_twin<M: Mask>(mask: &M, flights: &[Flight], flight: Flight) -> bool {
    let mut twin = flight.twin();
    while let Some(position) = twin {
        if !mask.has(flights[position].slot as usize) {
            return true;
        }
        twin = flights[position].twin();
    }
    false
}
