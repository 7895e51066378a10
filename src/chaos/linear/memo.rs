//! What a search remembers: states and steps by number, and where it has been.
//!
//! Everything that is remembered is counted in bytes, from the lengths of the tables alone, so that
//! the bound on memory falls at the same place on every machine.

use std::hash::{BuildHasher, Hash};
use std::mem::size_of;

use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use super::mask::Mask;
use super::plan::Plan;
use super::{History, Spec};

/// Bytes of a hash table with `len` entries, the half-sized one that it grew out of included.
pub(super) fn table_bytes(len: usize, entry: usize) -> usize {
    if len == 0 {
        return 0;
    }
    (len * 8 / 7 + 1).next_power_of_two() * (entry + 1) * 3 / 2
}

/// Bytes of a vector that grew to `len` entries, likewise.
pub(super) fn vec_bytes(len: usize, entry: usize) -> usize {
    if len == 0 {
        return 0;
    }
    len.next_power_of_two() * entry * 3 / 2
}

/// The states of a partition by number, and where each operation leads from each of them: asked of
/// the specification once.
pub(super) struct Steps<'a, S: Spec> {
    pub(super) spec: &'a S,
    pub(super) history: &'a History<S>,
    plan: &'a Plan,
    states: Vec<S::State>,
    /// By hash, so that a state is held once.
    numbers: FxHashMap<u64, u32>,
    /// Bytes that the states hold beyond their size.
    heap: usize,
    /// Of (state, class), where in `ends` the states that follow are.
    known: FxHashMap<(u32, u32), (u32, u32)>,
    ends: Vec<u32>,
    /// Reused by every call of the specification.
    next: Vec<S::State>,
}

impl<'a, S: Spec> Steps<'a, S> {
    pub(super) fn new(spec: &'a S, history: &'a History<S>, plan: &'a Plan) -> Self {
        Self {
            spec,
            history,
            plan,
            states: Vec::new(),
            numbers: FxHashMap::default(),
            heap: 0,
            known: FxHashMap::default(),
            ends: Vec::new(),
            next: Vec::new(),
        }
    }

    /// The number of a state.
    pub(super) fn number(&mut self, state: S::State) -> u32 {
        let mut hash = FxBuildHasher.hash_one(&state);
        // Of two states with one hash the later one stands at the next free number after it.
        while let Some(&number) = self.numbers.get(&hash) {
            if self.states[number as usize] == state {
                return number;
            }
            hash = hash.wrapping_add(1);
        }
        let number = u32::try_from(self.states.len()).expect("the bounds are far below");
        self.heap += self.spec.heap(&state);
        self.numbers.insert(hash, number);
        self.states.push(state);
        number
    }

    /// The state of a number.
    pub(super) fn state(&self, number: u32) -> &S::State {
        &self.states[number as usize]
    }

    /// Where in [`Steps::end`] the states are that may follow an operation of this class in `state`.
    pub(super) fn follow(&mut self, state: u32, class: u32) -> std::ops::Range<u32> {
        if let Some(&(from, to)) = self.known.get(&(state, class)) {
            return from..to;
        }
        let class_of = self.plan.class(class);
        let operation = &self.history[class_of.op];
        let output = operation.output().filter(|_| !class_of.open);
        let mut next = std::mem::take(&mut self.next);
        let before = &self.states[state as usize];
        self.spec.step(before, &operation.input, output, &mut next);
        let from = self.ends.len() as u32;
        for after in next.drain(..) {
            let after = self.number(after);
            // Without an answer and without an effect it need not have happened.
            if !(class_of.open && after == state) {
                self.ends.push(after);
            }
        }
        self.next = next;
        let to = self.ends.len() as u32;
        self.known.insert((state, class), (from, to));
        from..to
    }

    /// A state that follows.
    pub(super) fn end(&self, index: u32) -> u32 {
        self.ends[index as usize]
    }

    pub(super) fn bytes(&self) -> usize {
        let (states, known) = (self.states.len(), self.known.len());
        let state = size_of::<S::State>();
        vec_bytes(states, state)
            + table_bytes(states, 16)
            + self.heap
            + table_bytes(known, 16)
            + vec_bytes(self.ends.len(), 4)
    }
}

/// Position, state, and the slots of closed operations.
type Place<M> = (u32, u32, M);

/// Where the search has been.
///
/// Of two configurations that differ only in which open operations they used up, the one that used
/// fewer can do all that the other can: an open operation may always stay without effect. So only
/// the smallest sets are kept, and one that contains a kept one was, in effect, visited.
pub(super) struct Visited<M> {
    /// Slots below this belong to open operations.
    opens: usize,
    slots: usize,
    /// Without open operations: the places.
    places: FxHashSet<Place<M>>,
    /// With some: for each place the first of its used-up sets in `sets`.
    heads: FxHashMap<Place<M>, u32>,
    /// A set of used-up open operations, and the next one of the same place.
    sets: Vec<(M, u32)>,
    /// How many configurations were new.
    count: u64,
}

/// No further set.
const END: u32 = u32::MAX;

impl<M: Mask + Hash> Visited<M> {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            opens: plan.opens(),
            slots: plan.slots(),
            places: FxHashSet::default(),
            heads: FxHashMap::default(),
            sets: Vec::new(),
            count: 0,
        }
    }

    /// Whether this is new; from then on it is not.
    pub(super) fn insert(&mut self, at: u32, state: u32, mask: &M) -> bool {
        let new = if self.opens == 0 {
            self.places.insert((at, state, mask.clone()))
        } else {
            self.insert_set(at, state, mask)
        };
        self.count += u64::from(new);
        new
    }

    fn insert_set(&mut self, at: u32, state: u32, mask: &M) -> bool {
        let (used, closed) = mask.split(self.opens);
        let head = self.heads.entry((at, state, closed)).or_insert(END);
        let (mut previous, mut current) = (END, *head);
        while current != END {
            let (known, next) = &self.sets[current as usize];
            let next = *next;
            if known.within(&used) {
                return false;
            }
            if used.within(known) {
                // The new set stands for this one: it leaves the list.
                match previous {
                    END => *head = next,
                    previous => self.sets[previous as usize].1 = next,
                }
            } else {
                previous = current;
            }
            current = next;
        }
        let number = u32::try_from(self.sets.len()).expect("the bounds are far below");
        self.sets.push((used, *head));
        *head = number;
        true
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn bytes(&self) -> usize {
        let place = size_of::<Place<M>>();
        let heap = M::heap(self.slots);
        table_bytes(self.places.len(), place)
            + table_bytes(self.heads.len(), place + 4)
            + vec_bytes(self.sets.len(), size_of::<(M, u32)>())
            + heap * (self.places.len() + self.heads.len() + self.sets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visited(opens: usize) -> Visited<[u64; 1]> {
        Visited {
            opens,
            slots: 8,
            places: FxHashSet::default(),
            heads: FxHashMap::default(),
            sets: Vec::new(),
            count: 0,
        }
    }

    #[test]
    fn a_place_is_new_once() {
        let mut visited = visited(0);
        assert!(visited.insert(1, 2, &[3]));
        assert!(!visited.insert(1, 2, &[3]));
        for (at, state, mask) in [(0, 2, [3]), (1, 0, [3]), (1, 2, [1])] {
            assert!(visited.insert(at, state, &mask));
        }
        assert_eq!(visited.count(), 4);
    }

    #[test]
    fn who_used_up_more_open_operations_was_there_and_who_used_fewer_was_not() {
        let mut visited = visited(3);
        assert!(visited.insert(0, 0, &[0b01_011]));
        assert!(!visited.insert(0, 0, &[0b01_111]), "more");
        assert!(visited.insert(0, 0, &[0b10_111]), "other closed ones");
        assert!(visited.insert(0, 0, &[0b01_101]), "others");
        assert!(visited.insert(0, 0, &[0b01_001]), "fewer than either");
        assert!(!visited.insert(0, 0, &[0b01_011]), "it was replaced");
        assert!(!visited.insert(0, 0, &[0b01_101]));
        assert!(visited.insert(0, 0, &[0b01_010]));
        assert!(visited.insert(0, 0, &[0b01_000]));
        for used in 0..8 {
            assert!(!visited.insert(0, 0, &[0b01_000 | used]));
        }
    }

    #[test]
    fn bytes_grow_with_what_is_held_and_are_not_less_than_it() {
        for len in [1, 7, 100, 5_000] {
            assert!(vec_bytes(len, 8) >= len * 8);
            assert!(table_bytes(len, 8) >= len * 9);
            assert!(table_bytes(2 * len, 8) > table_bytes(len, 8));
        }
        assert_eq!((vec_bytes(0, 8), table_bytes(0, 8)), (0, 0));
    }
}
