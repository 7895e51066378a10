//! Sets of slots. Nearly always one word is enough, and then a set is copied and not allocated.

use std::hash::Hash;

/// Which slots hold a linearized operation.
pub(super) trait Mask: Clone + Eq + Hash {
    /// No slot of `slots`.
    fn empty(slots: usize) -> Self;
    /// The words, slot 0 in the lowest bit of the first.
    fn words(&self) -> &[u64];
    /// The same, to be changed.
    fn words_mut(&mut self) -> &mut [u64];
    /// Bytes that it holds beyond its own size.
    fn heap(slots: usize) -> usize;

    /// Whether the slot is in it.
    fn has(&self, slot: usize) -> bool {
        self.words()[slot / 64] >> (slot % 64) & 1 == 1
    }

    /// Puts the slot in.
    fn set(&mut self, slot: usize) {
        self.words_mut()[slot / 64] |= 1 << (slot % 64);
    }

    /// Takes the slot out.
    fn clear(&mut self, slot: usize) {
        self.words_mut()[slot / 64] &= !(1 << (slot % 64));
    }

    /// How many slots are in it.
    fn count(&self) -> u32 {
        self.words().iter().map(|word| word.count_ones()).sum()
    }

    /// Whether every slot of it is in `other`.
    fn within(&self, other: &Self) -> bool {
        let mut pairs = self.words().iter().zip(other.words());
        pairs.all(|(own, other)| own & !other == 0)
    }

    /// Its slots below `low`, and the others.
    fn split(&self, low: usize) -> (Self, Self) {
        let (mut below, mut above) = (self.clone(), self.clone());
        let words = below.words_mut().iter_mut().zip(above.words_mut());
        for (index, (below, above)) in words.enumerate() {
            let kept = low.saturating_sub(index * 64).min(64);
            // Shifted by 64 there would be no shift at all.
            let bits = if kept == 64 {
                u64::MAX
            } else {
                (1 << kept) - 1
            };
            *below &= bits;
            *above &= !bits;
        }
        (below, above)
    }
}

impl<const N: usize> Mask for [u64; N] {
    fn empty(slots: usize) -> Self {
        debug_assert!(slots <= N * 64, "{slots} slots in {N} words");
        [0; N]
    }
    fn words(&self) -> &[u64] {
        self
    }
    fn words_mut(&mut self) -> &mut [u64] {
        self
    }
    fn heap(_slots: usize) -> usize {
        0
    }
}

impl Mask for Box<[u64]> {
    fn empty(slots: usize) -> Self {
        vec![0; slots.div_ceil(64)].into_boxed_slice()
    }
    fn words(&self) -> &[u64] {
        self
    }
    fn words_mut(&mut self) -> &mut [u64] {
        self
    }
    fn heap(slots: usize) -> usize {
        // The words, and what an allocator adds to them.
        slots.div_ceil(64) * 8 + 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds<M: Mask>(slots: usize, low: usize) {
        let mut mask = M::empty(slots);
        let chosen: Vec<usize> = (0..slots).step_by(3).collect();
        for &slot in &chosen {
            mask.set(slot);
        }
        assert_eq!(mask.count() as usize, chosen.len());
        let (below, above) = mask.split(low);
        for slot in 0..slots {
            assert_eq!(mask.has(slot), slot % 3 == 0);
            assert_eq!(below.has(slot), slot % 3 == 0 && slot < low);
            assert_eq!(above.has(slot), slot % 3 == 0 && slot >= low);
        }
        assert!(below.within(&mask) && above.within(&mask) && mask.within(&mask));
        assert!(low == 0 || !mask.within(&above), "slot 0 is below {low}");
        mask.clear(0);
        assert!(!mask.has(0) && mask.count() as usize == chosen.len() - 1);
    }

    #[test]
    fn every_width_is_the_same_set() {
        for low in [0, 1, 63, 64] {
            holds::<[u64; 1]>(64, low);
        }
        for low in [0, 5, 64, 65, 128, 200, 256] {
            holds::<[u64; 4]>(256, low);
            holds::<Box<[u64]>>(300, low);
        }
    }
}
