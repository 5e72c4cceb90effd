//! Timestamps: a Lamport clock over what a write replaces, carried by the wall clock.
//!
//! # Why
//! The wall clock alone would let a site with a slow clock lose every race, even against what it had just read. A full
//! Lamport clock would let one wrong clock push everybody's time forward for ever. So the only thing remembered is the
//! timestamp of what a write kills: a clock that was wrong and is repaired leaves no trace once its writes are replaced.

use serde::{Deserialize, Serialize};

/// An entry this far ahead of our own wall clock raises an alarm that names its author. Milliseconds.
pub const AHEAD_MS_MAX: u64 = 5 * 60 * 1000;

/// Milliseconds since the Unix epoch, UTC, leap seconds ignored (POSIX).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The timestamp of a write made at wall-clock time `wall` that replaces versions stamped `killed`.
    ///
    /// Law: greater than every one of `killed`, so a write that had seen another always beats it.
    pub fn of_write(wall: Timestamp, killed: impl Iterator<Item = Timestamp>) -> Timestamp {
        killed.map(|seen| Timestamp(seen.0.saturating_add(1))).fold(wall, Ord::max)
    }

    /// How many milliseconds this is after `other`; 0 when it isn't.
    pub fn ms_since(self, other: Timestamp) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_beats_what_it_replaces_whatever_the_wall_clock_says() {
        let seen = [Timestamp(900), Timestamp(5_000)];
        assert_eq!(Timestamp::of_write(Timestamp(10), seen.into_iter()), Timestamp(5_001));
        assert_eq!(Timestamp::of_write(Timestamp(9_000), seen.into_iter()), Timestamp(9_000));
    }
}
