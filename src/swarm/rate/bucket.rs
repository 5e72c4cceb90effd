//! A bucket of tokens, kept as the time at which all that was taken will have been paid for (a leaky bucket as a meter:
//! "virtual scheduling" of ITU-T I.371). It neither waits nor looks at a clock.

use std::time::Duration;

/// How much may pass at once after a pause, as time at the full rate.
const BURST: Duration = Duration::from_millis(50);

/// What moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Nobody waits for it now.
    #[default]
    Bulk,
    /// A reader waits for it.
    Urgent,
}

/// The urgent may use seven eighths of a limit, whatever bulk does; bulk gets what they leave, so it never stands still.
const URGENT_SHARE: (u32, u32) = (7, 8);

/// What was taken, and when that will have been paid for.
#[derive(Debug, Default)]
pub struct Bucket {
    all_until: Duration,
    urgent_until: Duration,
}

impl Bucket {
    /// Takes bytes at `now` (since any fixed moment) under a rate in bytes a second; how long to pause before more.
    pub fn take(&mut self, now: Duration, bytes: u64, rate: u64, class: Class) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let least = now.saturating_sub(BURST);
        self.all_until = self.all_until.max(least).saturating_add(cost);
        let until = match class {
            Class::Bulk => self.all_until,
            Class::Urgent => {
                let dearer = cost * URGENT_SHARE.1 / URGENT_SHARE.0;
                self.urgent_until = self.urgent_until.max(least).saturating_add(dearer);
                self.urgent_until.min(self.all_until.max(now))
            }
        };
        until.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1_000_000;

    /// Moves pieces of these classes for `seconds` of virtual time, each as soon as its last pause is over; bytes each.
    fn run(classes: &[Class], seconds: u64) -> Vec<u64> {
        let mut bucket = Bucket::default();
        let mut movers: Vec<(Duration, u64)> = vec![(Duration::ZERO, 0); classes.len()];
        loop {
            let next = (0..movers.len()).min_by_key(|index| movers[*index].0).expect("somebody moves");
            let (now, moved) = movers[next];
            if now >= Duration::from_secs(seconds) {
                return movers.into_iter().map(|(_, moved)| moved).collect();
            }
            let pause = bucket.take(now, 10_000, RATE, classes[next]);
            // Moving itself takes no time but a little.
            movers[next] = (now + pause.max(Duration::from_micros(10)), moved + 10_000);
        }
    }

    fn is_near(bytes: u64, expected: f64) -> bool {
        (bytes as f64 - expected).abs() < expected * 0.1
    }

    #[test]
    fn what_passes_in_ten_seconds_is_ten_times_the_rate_whoever_shares_it() {
        for count in [1, 2, 7] {
            let moved = run(&vec![Class::Bulk; count], 10);
            assert!(is_near(moved.iter().sum(), 1e7), "{count} movers: {moved:?}");
            assert!(moved.iter().all(|bytes| is_near(*bytes, 1e7 / count as f64)), "fair: {moved:?}");
        }
    }

    #[test]
    fn a_pause_saves_up_no_more_than_the_burst() {
        let mut bucket = Bucket::default();
        let now = Duration::from_secs(3600);
        assert_eq!(bucket.take(now, RATE / 20, RATE, Class::Bulk), Duration::ZERO);
        assert_eq!(bucket.take(now, RATE, RATE, Class::Bulk), Duration::from_secs(1));
    }

    #[test]
    fn the_urgent_have_most_of_the_rate_and_bulk_never_stands_still() {
        let moved = run(&[Class::Urgent, Class::Bulk, Class::Bulk, Class::Bulk], 10);
        assert!(moved[0] as f64 > 0.8e7, "{moved:?}");
        assert!(moved[1..].iter().all(|bytes| *bytes > 200_000), "{moved:?}");
        assert!(is_near(moved.iter().sum(), 1e7), "{moved:?}");
    }

    #[test]
    fn the_urgent_alone_use_all_of_it() {
        assert!(is_near(run(&[Class::Urgent], 10)[0], 1e7));
    }

    #[test]
    fn a_rate_of_nothing_waits_long_and_overflows_nothing() {
        let mut bucket = Bucket::default();
        assert!(bucket.take(Duration::ZERO, u64::from(u32::MAX), 0, Class::Bulk) > Duration::from_secs(1_000_000));
    }
}
