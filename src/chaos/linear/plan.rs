//! One partition laid out for the search: its returns in order, and for each return the operations
//! in flight at that moment. Which operations are in flight depends only on the position, so the
//! search shares this table between all its branches.
//!
//! Operations that never return are in flight for ever. They stand in one list for all positions,
//! because a list for each would be as long as the history times the unknown outcomes in it.

use std::mem::size_of;

use rustc_hash::FxHashMap;

use super::{History, Operation, Spec};

/// No twin.
const NONE: u32 = u32::MAX;

/// What a partition is made of: an index into the history, and whether its answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Index into the history.
    pub(super) op: u32,
    /// Its answer does not count, or never came.
    pub(super) open: bool,
}

impl Part {
    /// An operation as it was recorded.
    pub(super) fn of<I, O>(history: &[Operation<I, O>], op: u32) -> Self {
        let open = history[op as usize].answered.is_none();
        Self { op, open }
    }
}

/// An answered operation in flight at a return.
#[derive(Clone, Copy)]
pub(super) struct Flight {
    /// Index into the history.
    pub(super) op: u32,
    /// Its class.
    pub(super) class: u32,
    /// Bit of this operation in a mask; reused after its return.
    pub(super) slot: u32,
    /// The number of the first return at which it is in flight.
    pub(super) since: u32,
    /// The nearest earlier flight in the same list with equal input and answer, or [`NONE`].
    twin: u32,
}

impl Flight {
    /// The nearest earlier flight in the same list with equal input and answer.
    pub(super) fn twin(self) -> Option<usize> {
        (self.twin != NONE).then_some(self.twin as usize)
    }
}

/// An operation without an answer; its slot in a mask is its place in the list.
pub(super) struct Open {
    /// Index into the history.
    pub(super) op: u32,
    /// Its class.
    pub(super) class: u32,
    /// The nearest earlier one with equal input.
    pub(super) twin: Option<u32>,
}

/// Operations with equal input and answer: to the specification they are one.
pub(super) struct Class {
    /// One of them.
    pub(super) op: usize,
    /// Whether they have no answer.
    pub(super) open: bool,
    /// They never change a state and can be placed as soon as they are legal.
    pub(super) observer: bool,
}

/// A partition's returns, in order of time.
pub(super) struct Plan {
    flights: Vec<Flight>,
    /// For each return, where its flights start; the returning operation is the first of them.
    starts: Vec<usize>,
    /// Those without an answer that were invoked before the last return, in order of invocation.
    opens: Vec<Open>,
    /// For each return, how many of them had been invoked.
    opened: Vec<u32>,
    /// The returns of observers, in order.
    observers: Vec<u32>,
    classes: Vec<Class>,
    slots: usize,
}

/// One end of an operation. Closed intervals: at one tick calls come before returns, since the
/// clock may give the same tick twice and those two calls were concurrent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    at: u64,
    is_return: bool,
    part: u32,
}

/// An answered operation that is in flight.
struct Pending {
    returned: u64,
    part: u32,
    slot: u32,
    since: u32,
}

impl Plan {
    /// Lays out a partition; `None` when that takes more than `bytes`.
    pub(super) fn new<S: Spec>(
        spec: &S,
        history: &History<S>,
        parts: &[Part],
        bytes: u64,
    ) -> Option<Self> {
        let edges = edges(history, parts);
        let (flights, slots) = sizes(&edges, parts);
        if flights.saturating_mul(size_of::<Flight>()) as u64 > bytes {
            return None;
        }
        let (classes, class_of) = classes(spec, history, parts);
        let mut plan = Self {
            flights: Vec::with_capacity(flights),
            starts: vec![0],
            opens: Vec::new(),
            opened: Vec::new(),
            observers: Vec::new(),
            classes,
            slots,
        };
        plan.lay_out(&edges, parts, &class_of);
        // Nothing demands what was invoked after the last return.
        let last = plan.opened.last().map_or(0, |&opened| opened as usize);
        plan.opens.truncate(last);
        plan.slots += last;
        for flight in &mut plan.flights {
            flight.slot += last as u32;
        }
        Some(plan)
    }

    fn lay_out(&mut self, edges: &[Edge], parts: &[Part], class_of: &[u32]) {
        // Slots are handed out lowest first.
        let mut free: Vec<u32> = (0..self.slots as u32).rev().collect();
        // Kept sorted: who returns first stands first.
        let mut pending: Vec<Pending> = Vec::new();
        let mut twins = Twins::new(self.classes.len());
        let mut last_open: FxHashMap<u32, u32> = FxHashMap::default();
        let returns = returns(edges, parts.len());
        for edge in edges {
            let part = parts[edge.part as usize];
            let class = class_of[edge.part as usize];
            if edge.is_return {
                self.push_return(&pending, parts, class_of, &mut twins);
                let first = pending.remove(0);
                debug_assert_eq!(first.part, edge.part, "who returns first stands first");
                free.push(first.slot);
            } else if part.open {
                let number = self.opens.len() as u32;
                let twin = last_open.insert(class, number);
                let op = part.op;
                self.opens.push(Open { op, class, twin });
            } else {
                let slot = free.pop().expect("the slots were counted");
                let returned = returns[edge.part as usize];
                let entry = (returned, edge.part);
                let at = pending.partition_point(|other| (other.returned, other.part) < entry);
                let (returned, part) = entry;
                let entry = Pending {
                    returned,
                    part,
                    slot,
                    since: self.returns() as u32,
                };
                pending.insert(at, entry);
            }
        }
    }

    fn push_return(
        &mut self,
        pending: &[Pending],
        parts: &[Part],
        class_of: &[u32],
        twins: &mut Twins,
    ) {
        twins.begin();
        for (position, entry) in pending.iter().enumerate() {
            let class = class_of[entry.part as usize];
            self.flights.push(Flight {
                op: parts[entry.part as usize].op,
                class,
                slot: entry.slot,
                since: entry.since,
                twin: twins.swap(class, position as u32),
            });
        }
        let returning = class_of[pending[0].part as usize];
        if self.class(returning).observer {
            self.observers.push(self.returns() as u32);
        }
        self.starts.push(self.flights.len());
        self.opened.push(self.opens.len() as u32);
    }

    /// How many returns there are.
    pub(super) fn returns(&self) -> usize {
        self.starts.len() - 1
    }

    /// The answered operations in flight at the return number `at`, the returning one first.
    pub(super) fn flights(&self, at: u32) -> &[Flight] {
        &self.flights[self.starts[at as usize]..self.starts[at as usize + 1]]
    }

    /// The operations without an answer that had been invoked by the return number `at`.
    pub(super) fn opened(&self, at: u32) -> &[Open] {
        &self.opens[..self.opened[at as usize] as usize]
    }

    /// The returns of observers from the return number `at` on.
    pub(super) fn observers(&self, at: u32) -> &[u32] {
        &self.observers[self.observers.partition_point(|number| *number < at)..]
    }

    /// How many operations have no answer; their slots come first.
    pub(super) fn opens(&self) -> usize {
        self.opens.len()
    }

    /// Slots in all.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// What is known of a class.
    pub(super) fn class(&self, class: u32) -> &Class {
        &self.classes[class as usize]
    }

    /// Bytes of the table.
    pub(super) fn bytes(&self) -> usize {
        self.flights.len() * size_of::<Flight>()
            + self.opens.len() * size_of::<Open>()
            + self.starts.len() * 16
            + self.classes.len() * size_of::<Class>()
    }
}

/// In one list of flights, where each class was last seen. Begun anew for each list without being
/// emptied: what is from an earlier list does not count.
struct Twins {
    list: u32,
    /// (list, position) by class.
    last: Vec<(u32, u32)>,
}

impl Twins {
    fn new(classes: usize) -> Self {
        Self {
            list: 0,
            last: vec![(0, NONE); classes],
        }
    }

    fn begin(&mut self) {
        self.list += 1;
    }

    fn swap(&mut self, class: u32, position: u32) -> u32 {
        let last = &mut self.last[class as usize];
        let (list, before) = std::mem::replace(last, (self.list, position));
        if list == self.list { before } else { NONE }
    }
}

/// The ends of operations, in order.
fn edges<I, O>(history: &[Operation<I, O>], parts: &[Part]) -> Vec<Edge> {
    let mut edges = Vec::with_capacity(parts.len() * 2);
    for (number, part) in parts.iter().enumerate() {
        let operation = &history[part.op as usize];
        let edge = |at, is_return| Edge {
            at,
            is_return,
            part: number as u32,
        };
        edges.push(edge(operation.invoked, false));
        if let Some(returned) = operation.returned().filter(|_| !part.open) {
            edges.push(edge(returned, true));
        }
    }
    edges.sort_unstable();
    edges
}

/// How many flights there are over all returns, and how many are in flight at once.
fn sizes(edges: &[Edge], parts: &[Part]) -> (usize, usize) {
    let (mut now, mut most, mut flights) = (0_usize, 0, 0_usize);
    for edge in edges {
        if edge.is_return {
            flights = flights.saturating_add(now);
            now -= 1;
        } else if !parts[edge.part as usize].open {
            now += 1;
            most = most.max(now);
        }
    }
    (flights, most)
}

/// When each part returns.
fn returns(edges: &[Edge], parts: usize) -> Vec<u64> {
    let mut returns = vec![u64::MAX; parts];
    for edge in edges.iter().filter(|edge| edge.is_return) {
        returns[edge.part as usize] = edge.at;
    }
    returns
}

/// Numbers operations so that two have the same number exactly when input and answer are equal.
fn classes<S: Spec>(spec: &S, history: &History<S>, parts: &[Part]) -> (Vec<Class>, Vec<u32>) {
    let mut known = FxHashMap::default();
    let mut classes = Vec::new();
    let mut numbers = Vec::with_capacity(parts.len());
    for part in parts {
        let operation = &history[part.op as usize];
        let output = operation.output().filter(|_| !part.open);
        let number = *known.entry((&operation.input, output)).or_insert_with(|| {
            classes.push(Class {
                op: part.op as usize,
                open: part.open,
                observer: output.is_some_and(|output| spec.observes(&operation.input, output)),
            });
            classes.len() as u32 - 1
        });
        numbers.push(number);
    }
    (classes, numbers)
}
