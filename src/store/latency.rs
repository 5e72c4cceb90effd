//! How long syncs took, in fixed classes: what the disk is asked to make durable is what writers wait for most.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the classes, in microseconds; what took longer is in one more.
const BOUNDS_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// Counts of one kind of sync.
#[derive(Debug, Default)]
pub struct Histogram {
    classes: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

/// What a [`Histogram`] held at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies {
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
    /// How many took at most so long, and longer than the class before; the last class has no bound.
    pub classes: Vec<(Option<Duration>, u64)>,
}

impl Histogram {
    /// Notes one.
    pub fn note(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS_US.partition_point(|bound| *bound < us);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was noted so far.
    pub fn read(&self) -> Latencies {
        let bounds = BOUNDS_US.iter().map(|us| Some(Duration::from_micros(*us))).chain([None]);
        let counts = self.classes.iter().map(|class| class.load(Ordering::Relaxed));
        let classes: Vec<(Option<Duration>, u64)> = bounds.zip(counts).collect();
        let count = classes.iter().map(|(_, count)| count).sum();
        Latencies { count, sum: Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)), classes }
    }
}

impl Latencies {
    /// The bound of the class in which the one is that so many per cent took at most as long as; `None` when there were
    /// none, or it is in the class without a bound.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let class = self.classes.iter().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        class.and_then(|(bound, _)| *bound)
    }
}

/// The syncs that somebody waits for.
#[derive(Debug, Default)]
pub struct Syncs {
    /// fdatasync of a pack, behind a group of commits.
    pub commit: Histogram,
    /// Of a large file: meanwhile, and at its end with its name.
    pub large: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_in_the_class_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().percentile(50), None);
        for us in [0, 50, 51, 100, 101, 10_000_001] {
            histogram.note(Duration::from_micros(us));
        }
        let read = histogram.read();
        let counts: Vec<u64> = read.classes.iter().map(|(_, count)| *count).collect();
        assert_eq!(&counts[..4], &[2, 2, 1, 0]);
        assert_eq!((read.count, counts.last()), (6, Some(&1)));
        assert_eq!(read.percentile(50), Some(Duration::from_micros(100)));
        assert_eq!(read.percentile(80), Some(Duration::from_micros(250)));
        assert_eq!(read.percentile(99), None, "longer than any bound");
        assert_eq!(read.sum, Duration::from_micros(10_000_303));
    }
}
