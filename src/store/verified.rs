//! Which groups were verified lately, so that they may leave as they are.
//!
//! # Why
//! Disks rot. A group that is served is hashed first, unless that was done within `verify_max_age`. What was verified is
//! remembered in memory only: after a start everything is hashed once more, in the background of its first download,
//! and no record on the disk could vouch for a disk. Sixty-four groups share one time, the oldest of theirs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use artimesh_core::model::Digest;

/// How many marks are kept at most: twice this many, of 64 groups each.
const GENERATION: usize = 32 * 1024;

/// Shared by all readers.
pub struct Verified {
    max_age: Duration,
    marks: Mutex<Generations>,
}

/// The groups of one blob whose numbers divided by 64 are the same.
type Key = (Digest, u32);

#[derive(Clone, Copy)]
struct Mark {
    since: Instant,
    groups: u64,
}

/// Those that were marked or found lately, and those before; the latter go when the former are many.
#[derive(Default)]
struct Generations {
    young: HashMap<Key, Mark>,
    old: HashMap<Key, Mark>,
}

impl Verified {
    /// Nothing is verified yet; later nothing counts as verified for longer than `max_age`.
    pub fn new(max_age: Duration) -> Verified {
        Verified { max_age, marks: Mutex::default() }
    }

    /// Whether a group was verified lately.
    pub fn has(&self, digest: &Digest, group: u32) -> bool {
        let key = (*digest, group / 64);
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = marks.find(&key);
        mark.is_some_and(|mark| mark.groups >> (group % 64) & 1 == 1 && mark.since.elapsed() < self.max_age)
    }

    /// Nothing is verified any more.
    #[cfg(test)]
    pub fn forget(&self) {
        *self.marks.lock().unwrap_or_else(PoisonError::into_inner) = Generations::default();
    }

    /// A group was read from the disk and verified just now.
    pub fn note(&self, digest: &Digest, group: u32) {
        let key = (*digest, group / 64);
        let bit = 1 << (group % 64);
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = match marks.find(&key).filter(|mark| mark.since.elapsed() < self.max_age) {
            // Verified again before its time is up: the time is still that of the others.
            Some(mark) => Mark { groups: mark.groups | bit, ..mark },
            None => Mark { since: Instant::now(), groups: bit },
        };
        marks.insert(key, mark);
    }
}

impl Generations {
    fn find(&mut self, key: &Key) -> Option<Mark> {
        if let Some(mark) = self.young.get(key) {
            return Some(*mark);
        }
        let mark = self.old.remove(key)?;
        self.insert(*key, mark);
        Some(mark)
    }

    fn insert(&mut self, key: Key, mark: Mark) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_counts_as_verified_until_its_time_is_up() {
        let (verified, digest) = (Verified::new(Duration::from_secs(3600)), Digest([1; 32]));
        assert!(!verified.has(&digest, 0));
        verified.note(&digest, 0);
        verified.note(&digest, 65);
        assert!(verified.has(&digest, 0) && verified.has(&digest, 65));
        assert!(!verified.has(&digest, 1) && !verified.has(&digest, 64) && !verified.has(&Digest([2; 32]), 0));
        let strict = Verified::new(Duration::ZERO);
        strict.note(&digest, 0);
        assert!(!strict.has(&digest, 0), "nothing is remembered");
    }

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let verified = Verified::new(Duration::from_secs(3600));
        let digest = |number: u32| Digest(std::array::from_fn(|at| number.to_le_bytes()[at % 4]));
        for number in 0..3 * GENERATION as u32 {
            verified.note(&digest(number), 0);
            assert!(verified.has(&digest(0), 0), "it is asked for all the time");
        }
        let marks = verified.marks.lock().expect("unpoisoned");
        assert!(marks.young.len() <= GENERATION && marks.old.len() <= GENERATION);
        assert!(!marks.young.contains_key(&(digest(1), 0)) && !marks.old.contains_key(&(digest(1), 0)));
    }
}
