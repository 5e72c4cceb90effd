//! Not more than so many bytes a second, all transfers together.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When the next bytes may go; time is told to it.
#[derive(Debug)]
struct Schedule {
    bytes_per_s: u64,
    /// When all bytes so far are gone at that rate.
    free_at: Duration,
}

impl Schedule {
    /// How long to wait before `bytes` may go, which from then on count as gone.
    fn reserve(&mut self, now: Duration, bytes: u64) -> Duration {
        let from = self.free_at.max(now);
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_s.max(1));
        self.free_at = from + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        from - now
    }
}

/// The limit, or none.
#[derive(Debug)]
pub(in crate::cli) struct Pace {
    schedule: Option<Mutex<Schedule>>,
    start: Instant,
    /// How many bytes go at once.
    pub(in crate::cli) chunk_bytes: usize,
}

/// How many bytes go at once when they may.
const CHUNK_BYTES: u64 = 256 << 10;
/// The fewest, so that a slow line isn't all overhead.
const CHUNK_BYTES_LEAST: u64 = 4 << 10;

impl Pace {
    /// So many bytes a second, or as many as go.
    pub(in crate::cli) fn new(bytes_per_s: Option<u64>) -> Pace {
        let chunk = bytes_per_s.map_or(CHUNK_BYTES, |rate| (rate / 8).clamp(CHUNK_BYTES_LEAST, CHUNK_BYTES));
        let schedule = bytes_per_s.map(|bytes_per_s| Mutex::new(Schedule { bytes_per_s, free_at: Duration::ZERO }));
        Pace { schedule, start: Instant::now(), chunk_bytes: chunk as usize }
    }

    /// Waits until `bytes` may go.
    pub(in crate::cli) async fn wait(&self, bytes: usize) {
        let Some(schedule) = &self.schedule else { return };
        let now = self.start.elapsed();
        let wait = schedule.lock().unwrap_or_else(PoisonError::into_inner).reserve(now, bytes as u64);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn bytes_wait_for_those_before_them_and_time_that_passed_isnt_saved_up() {
        let mut schedule = Schedule { bytes_per_s: 100, free_at: Duration::ZERO };
        assert_eq!(schedule.reserve(s(0), 200), s(0), "the first goes at once");
        assert_eq!(schedule.reserve(s(0), 100), s(2));
        assert_eq!(schedule.reserve(s(1), 100), s(2));
        assert_eq!(schedule.reserve(s(60), 100), s(0), "nothing waits any more");
        assert_eq!(schedule.reserve(s(60), 100), s(1), "and an hour of silence is no burst");
    }

    #[test]
    fn a_slow_pace_takes_small_steps() {
        assert_eq!(Pace::new(None).chunk_bytes, 256 << 10);
        assert_eq!(Pace::new(Some(64 << 10)).chunk_bytes, 8 << 10);
        assert_eq!(Pace::new(Some(1)).chunk_bytes, 4 << 10);
    }
}
