//! How long to wait before dialling again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(10);

/// Doubles from 0.2 s to 10 s; a half of each step is random, so that peers that lost each other at the same moment
/// don't meet at the same moment for ever.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let mut dice = [0; 4];
        // Without randomness the wait is merely regular.
        let _ = getrandom::fill(&mut dice);
        self.step(u32::from_le_bytes(dice))
    }

    /// A connection proved good.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    fn step(&mut self, dice: u32) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(6)).min(LAST);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        half + half.mul_f64(f64::from(dice) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_start_again_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.step(u32::MAX).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.step(0).as_millis(), 5_000);
        backoff.reset();
        assert_eq!(backoff.step(0).as_millis(), 100);
    }
}
