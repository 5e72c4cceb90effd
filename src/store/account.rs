//! Where the time of one request goes.
//!
//! # Why
//! Each layer notes what *it* made a request wait for, in the account that the request brought along; so nothing has to be
//! handed back through return values, and what is done in the background for many is on nobody's account. Only waiting
//! counts: of bytes that were read ahead, the time until they were there, and of a hash that ran beside the network nothing.
//! Whoever is served from memory waits for nothing, and reads no clock for it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its turn, behind others.
    Queue,
    /// Rows to be found.
    Index,
    /// Bytes to be read or written.
    Disk,
    /// Bytes to be hashed.
    Hash,
    /// What was written to be durable.
    Sync,
    /// Bytes from other members.
    Peer,
}

impl Part {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Part; 6] = [Part::Queue, Part::Index, Part::Disk, Part::Hash, Part::Sync, Part::Peer];

    /// For headers and logs.
    pub fn name(self) -> &'static str {
        match self {
            Part::Queue => "queue",
            Part::Index => "index",
            Part::Disk => "disk",
            Part::Hash => "hash",
            Part::Sync => "sync",
            Part::Peer => "peer",
        }
    }
}

/// The account of one request, shared by all who work for it; or none, and then nothing is noted.
#[derive(Debug, Clone, Default)]
pub struct Account(Option<Arc<[AtomicU64; Part::ALL.len()]>>);

impl Account {
    /// An empty one.
    pub fn open() -> Account {
        Account(Some(Arc::default()))
    }

    /// Notes that the request waited so long.
    pub fn add(&self, part: Part, time: Duration) {
        if let Some(nanoseconds) = &self.0 {
            let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            nanoseconds[part as usize].fetch_add(time, Ordering::Relaxed);
        }
    }

    /// Notes how long some work took.
    pub fn time<T>(&self, part: Part, work: impl FnOnce() -> T) -> T {
        let Some(since) = self.start() else { return work() };
        let done = work();
        self.add(part, since.elapsed());
        done
    }

    /// Notes how long something was waited for. A dropped call notes nothing.
    pub async fn during<T>(&self, part: Part, work: impl Future<Output = T>) -> T {
        let Some(since) = self.start() else { return work.await };
        let done = work.await;
        self.add(part, since.elapsed());
        done
    }

    /// The time from which something is measured, if it is noted at all.
    pub fn start(&self) -> Option<Instant> {
        self.0.as_ref().map(|_| Instant::now())
    }

    /// Notes what was waited for since `start`, divided as the work was that it was waited for.
    pub fn divide(&self, start: Option<Instant>, work: [(Part, Duration); 2]) {
        let (Some(start), [(first, one), (second, other)]) = (start, work) else { return };
        let (waited, whole) = (start.elapsed(), (one + other).as_secs_f64());
        let share = if whole > 0.0 { one.as_secs_f64() / whole } else { 1.0 };
        let of_first = waited.mul_f64(share.clamp(0.0, 1.0));
        self.add(first, of_first);
        self.add(second, waited.saturating_sub(of_first));
    }

    /// How long the request has waited for this.
    pub fn of(&self, part: Part) -> Duration {
        let noted = self.0.as_ref().map(|nanoseconds| nanoseconds[part as usize].load(Ordering::Relaxed));
        Duration::from_nanos(noted.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_adds_up_for_all_who_share_the_account_and_none_notes_nothing() {
        let (account, none) = (Account::open(), Account::default());
        let shared = account.clone();
        for other in [&account, &shared, &none] {
            other.add(Part::Disk, Duration::from_micros(3));
        }
        assert_eq!(account.of(Part::Disk), Duration::from_micros(6));
        assert_eq!(account.of(Part::Queue), Duration::ZERO);
        assert_eq!(none.of(Part::Disk), Duration::ZERO);
        assert!(none.start().is_none());
        assert_eq!(none.time(Part::Hash, || 7), 7);
    }

    #[test]
    fn a_wait_is_divided_as_the_work_was() {
        let account = Account::open();
        let start = account.start();
        std::thread::sleep(Duration::from_millis(4));
        account.divide(start, [(Part::Disk, Duration::from_secs(3)), (Part::Hash, Duration::from_secs(1))]);
        let (disk, hash) = (account.of(Part::Disk), account.of(Part::Hash));
        assert!(disk + hash >= Duration::from_millis(4));
        assert!(disk.as_nanos().abs_diff(3 * hash.as_nanos()) < 10, "{disk:?} {hash:?}");
        account.divide(account.start(), [(Part::Disk, Duration::ZERO), (Part::Hash, Duration::ZERO)]);
        assert_eq!(account.of(Part::Hash), hash, "what was done without work is the first one's");
    }

    #[test]
    fn each_part_has_a_place_of_its_own() {
        let places: Vec<usize> = Part::ALL.iter().map(|part| *part as usize).collect();
        assert_eq!(places, [0, 1, 2, 3, 4, 5]);
    }
}
