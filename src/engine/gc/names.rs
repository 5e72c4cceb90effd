//! The digests in use, as far as they fit: a sorted list of prefixes over a range of digests.

use artimesh_core::model::Digest;

/// The low bits of a prefix hold the kind of root.
const KIND_BITS: u64 = 0b111;

/// The digests from one on, in use, up to where there is no more room: what is beyond is for the next pass.
pub struct Names {
    from: u64,
    to: u64,
    held: Vec<u64>,
    room: usize,
}

/// What stands for a digest, without the low bits.
pub fn prefix(digest: &Digest) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.0[..8]);
    u64::from_be_bytes(bytes) & !KIND_BITS
}

impl Names {
    /// An empty list for digests with the prefix `from` and above; it never holds more than `room`, at least 2.
    pub fn new(from: u64, room: usize) -> Names {
        Names { from, to: u64::MAX, held: Vec::new(), room: room.max(2) }
    }

    /// Adds a digest that a root of this kind, below 8, names.
    pub fn add(&mut self, digest: &Digest, kind: usize) {
        let prefix = prefix(digest);
        if prefix < self.from || prefix > self.to {
            return;
        }
        if self.held.len() == self.room {
            self.tighten();
            if prefix > self.to {
                return;
            }
        }
        if self.held.capacity() == self.held.len() {
            // Doubling by itself would reach beyond the room.
            let more = self.held.len().max(1024).min(self.room - self.held.len());
            self.held.reserve_exact(more);
        }
        self.held.push(prefix | (kind as u64 & KIND_BITS));
    }

    /// Ends the adding.
    pub fn settle(&mut self) {
        self.held.sort_unstable();
        // The smaller kind comes first, and stays.
        self.held.dedup_by_key(|held| *held & !KIND_BITS);
    }

    /// The kind of the first root that names it, or another digest with the same prefix. Only when settled.
    pub fn find(&self, digest: &Digest) -> Option<usize> {
        let prefix = prefix(digest);
        let at = self.held.partition_point(|held| *held < prefix);
        let held = *self.held.get(at)?;
        (held & !KIND_BITS == prefix).then_some((held & KIND_BITS) as usize)
    }

    /// Whether the list says anything of it.
    pub fn covers(&self, digest: &Digest) -> bool {
        (self.from..=self.to).contains(&prefix(digest))
    }

    /// Where the next pass begins; `None` when this was the last.
    pub fn next(&self) -> Option<u64> {
        (self.to | KIND_BITS).checked_add(1)
    }

    /// Gives up the upper half of what is held when it is all different.
    fn tighten(&mut self) {
        self.settle();
        let half = self.room / 2;
        if self.held.len() > half {
            self.to = self.held[half - 1] & !KIND_BITS;
            self.held.truncate(half);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn digest(seed: u64) -> Digest {
        Digest::of(&seed.to_le_bytes())
    }

    #[test]
    fn passes_over_ranges_find_all_that_is_named_and_nothing_else() {
        for room in [2, 3, 10, 100, 100_000] {
            let named: BTreeSet<u64> = (0..2000).map(|i| i * 3).collect();
            let mut seen = BTreeSet::new();
            let (mut from, mut passes) = (Some(0), 0);
            while let Some(start) = from {
                let mut names = Names::new(start, room);
                for round in 0..2 {
                    named.iter().for_each(|seed| names.add(&digest(*seed), if seed % 2 == 0 { 2 - round } else { 2 }));
                }
                names.settle();
                assert!(names.held.len() <= room && names.held.capacity() <= room.max(1024));
                for seed in (0..6000).filter(|seed| names.covers(&digest(*seed))) {
                    let expected = named.contains(&seed).then_some(if seed % 2 == 0 { 1 } else { 2 });
                    assert_eq!(names.find(&digest(seed)), expected, "{room}: {seed}");
                    assert!(seen.insert(seed), "no digest is covered twice");
                }
                from = names.next();
                passes += 1;
            }
            assert_eq!(seen.len(), 6000, "{room}");
            assert!(passes <= 2 + 2 * 2000 * 2 / room, "{room}: {passes} passes");
        }
    }
}
