//! One partition laid out for the search: its returns in order, and for each return the operations
//! in flight at that moment. Which operations are in flight depends only on the position, so the
//! search shares this table between all its branches.

use std::collections::HashMap;

use super::{Operation, Spec};

/// An operation in flight at a return.
pub(super) struct Flight {
    /// Index into the history.
    pub(super) op: usize,
    /// Bit of this operation in a mask; reused after its return.
    pub(super) slot: usize,
    /// It never changes a state and can be placed as soon as it is legal.
    pub(super) observer: bool,
    /// The nearest earlier flight in the same list with equal input and answer.
    pub(super) twin: Option<usize>,
}

/// A partition's returns, in order of time.
pub(super) struct Plan {
    flights: Vec<Flight>,
    /// For each return, where its flights start; the returning operation is the first of them.
    starts: Vec<usize>,
    /// Slots needed at once.
    pub(super) slots: usize,
}

impl Plan {
    /// Lays out the operations `members` of `history`.
    pub(super) fn new<S: Spec>(
        spec: &S,
        history: &[Operation<S::Input, S::Output>],
        members: &[usize],
    ) -> Self {
        let classes = classes::<S>(history, members);
        let mut plan = Self {
            flights: Vec::new(),
            starts: vec![0],
            slots: 0,
        };
        let mut free: Vec<usize> = Vec::new();
        // (return time or never, index, slot, class), kept sorted: who returns first stands first.
        let mut pending: Vec<(u64, usize, usize, usize)> = Vec::new();
        for (_, is_return, member) in events(history, members) {
            let op = members[member];
            if is_return {
                plan.push_return(spec, history, &pending);
                let (_, first, slot, _) = pending.remove(0);
                debug_assert_eq!(
                    first, op,
                    "returns leave in the order in which they are sorted"
                );
                free.push(slot);
            } else {
                let slot = free.pop().unwrap_or_else(|| {
                    plan.slots += 1;
                    plan.slots - 1
                });
                let flight = (returned(&history[op]), op, slot, classes[member]);
                let at = pending.partition_point(|other| (other.0, other.1) < (flight.0, op));
                pending.insert(at, flight);
            }
        }
        plan
    }

    fn push_return<S: Spec>(
        &mut self,
        spec: &S,
        history: &[Operation<S::Input, S::Output>],
        pending: &[(u64, usize, usize, usize)],
    ) {
        for (position, &(_, op, slot, class)) in pending.iter().enumerate() {
            let operation = &history[op];
            let observer = operation
                .output()
                .is_some_and(|output| spec.observes(&operation.input, output));
            let twin = pending[..position]
                .iter()
                .rposition(|other| other.3 == class);
            self.flights.push(Flight {
                op,
                slot,
                observer,
                twin,
            });
        }
        self.starts.push(self.flights.len());
    }

    /// How many returns there are.
    pub(super) fn returns(&self) -> usize {
        self.starts.len() - 1
    }

    /// The operations in flight at the return number `at`, the returning one first, those that
    /// never return last.
    pub(super) fn flights(&self, at: usize) -> &[Flight] {
        &self.flights[self.starts[at]..self.starts[at + 1]]
    }
}

fn returned<I, O>(operation: &Operation<I, O>) -> u64 {
    match &operation.answered {
        Some((returned, _)) => (*returned).max(operation.invoked),
        None => u64::MAX,
    }
}

/// (time, is it a return, member), in order. Closed intervals: at one tick calls come before
/// returns, since the clock may give the same tick twice and those two calls were concurrent.
fn events<I, O>(history: &[Operation<I, O>], members: &[usize]) -> Vec<(u64, bool, usize)> {
    let mut events = Vec::with_capacity(members.len() * 2);
    for (member, &op) in members.iter().enumerate() {
        events.push((history[op].invoked, false, member));
        if history[op].answered.is_some() {
            events.push((returned(&history[op]), true, member));
        }
    }
    events.sort_unstable();
    events
}

/// Numbers operations so that two have the same number exactly when input and answer are equal.
fn classes<S: Spec>(history: &[Operation<S::Input, S::Output>], members: &[usize]) -> Vec<usize> {
    let mut known = HashMap::new();
    members
        .iter()
        .map(|&op| {
            let next = known.len();
            *known
                .entry((&history[op].input, history[op].output()))
                .or_insert(next)
        })
        .collect()
}
