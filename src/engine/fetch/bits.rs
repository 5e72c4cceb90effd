//! One bit for each group of a blob.

use std::ops::Range;

const WORD: u32 = 64;

/// A set of groups, of a number that is fixed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bits {
    words: Vec<u64>,
    length: u32,
}

impl Bits {
    /// None of `length`.
    pub fn none(length: u32) -> Bits {
        Bits { words: vec![0; length.div_ceil(WORD) as usize], length }
    }

    /// All of `length`.
    #[cfg(test)]
    pub fn all(length: u32) -> Bits {
        let mut bits = Bits::none(length);
        bits.set_range(0..length);
        bits
    }

    /// How many groups there are, in it or not.
    #[cfg(test)]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Whether `index` is in it.
    pub fn has(&self, index: u32) -> bool {
        index < self.length && self.words[(index / WORD) as usize] >> (index % WORD) & 1 == 1
    }

    /// Puts one in; says whether it wasn't.
    pub fn set(&mut self, index: u32) -> bool {
        let is_new = index < self.length && !self.has(index);
        if is_new {
            self.words[(index / WORD) as usize] |= 1 << (index % WORD);
        }
        is_new
    }

    /// Takes one out; says whether it was in.
    pub fn clear(&mut self, index: u32) -> bool {
        let was = self.has(index);
        if was {
            self.words[(index / WORD) as usize] &= !(1 << (index % WORD));
        }
        was
    }

    /// Puts a range in.
    pub fn set_range(&mut self, range: Range<u32>) {
        range.for_each(|index| {
            self.set(index);
        });
    }

    /// How many are in it.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Puts in what a peer tells: eight groups a byte, the lowest bit first, from `first` on.
    pub fn learn(&mut self, first: u32, bytes: &[u8]) {
        for (at, byte) in (0_u32..).zip(bytes) {
            for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                self.set(first.saturating_add(at.saturating_mul(8)).saturating_add(bit));
            }
        }
    }

    /// The first in `range` that is in this set and, for each of `others`, in that one too; each is a set and whether it
    /// counts the other way round.
    pub fn first(&self, range: Range<u32>, others: &[(&Bits, Side)]) -> Option<u32> {
        let end = range.end.min(self.length);
        let mut at = range.start;
        while at < end {
            let index = (at / WORD) as usize;
            let mut word = self.words[index] & (u64::MAX << (at % WORD));
            for (other, side) in others {
                let theirs = other.words.get(index).copied().unwrap_or_default();
                word &= if *side == Side::In { theirs } else { !theirs };
            }
            if word != 0 {
                let found = index as u32 * WORD + word.trailing_zeros();
                return (found < end).then_some(found);
            }
            at = (index as u32 + 1) * WORD;
        }
        None
    }
}

/// On which side of another set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// In it.
    In,
    /// Not in it.
    Out,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_peer_tells_is_read_lowest_bit_first_and_nothing_beyond_the_end() {
        let mut bits = Bits::none(12);
        bits.learn(2, &[0b1000_0001, 0xff]);
        assert_eq!((0..20).filter(|index| bits.has(*index)).collect::<Vec<_>>(), [2, 9, 10, 11]);
        bits.learn(u32::MAX - 1, &[0xff]);
        assert_eq!(bits.count(), 4);
        assert_eq!(Bits::all(130).count(), 130);
    }

    proptest! {
        #[test]
        fn the_first_is_that_of_the_sets(
            one in proptest::collection::btree_set(0_u32..200, 0..60),
            with in proptest::collection::btree_set(0_u32..200, 0..150),
            without in proptest::collection::btree_set(0_u32..200, 0..60),
            start in 0_u32..220, length in 0_u32..220,
        ) {
            let bits = |set: &BTreeSet<u32>| {
                let mut bits = Bits::none(200);
                set.iter().for_each(|index| { bits.set(*index); });
                bits
            };
            let range = start..start + length;
            let expected = one.iter().find(|i| range.contains(*i) && with.contains(i) && !without.contains(i));
            let found = bits(&one).first(range.clone(), &[(&bits(&with), Side::In), (&bits(&without), Side::Out)]);
            prop_assert_eq!(found.as_ref(), expected);
            let mut cleared = bits(&one);
            let all_were_in = one.iter().all(|index| cleared.clear(*index));
            prop_assert!(all_were_in && cleared.count() == 0);
        }
    }
}
