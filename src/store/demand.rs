//! How busy the store is with what somebody waits for: what works in the background looks here, and steps aside.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long background work waits at most for those who wait, before it does its next piece all the same.
const ASIDE_MAX: Duration = Duration::from_millis(200);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(2);
/// No nap is longer, so that a store that is closed need not wait for it.
const NAP_MAX: Duration = Duration::from_millis(50);

/// So many tiny pieces of work count as one.
const GATHERED_MAX: u64 = 512;
/// So many bytes of them do.
const GATHERED_BYTES_MAX: u64 = 1 << 20;

/// Commits, and what comes and goes, counted.
#[derive(Default)]
pub struct Demand {
    waiting: AtomicU64,
    uses: AtomicU64,
    is_closing: AtomicBool,
}

/// Somebody who waits for a commit.
pub struct Waiting<'a>(&'a Demand);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Demand {
    /// Somebody waits for a commit while the value lives.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Somebody reads, or brings bytes.
    pub fn used(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// The store is about to be closed: background work ends.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Waits, for a while, until nobody waits for a commit and nobody has just begun to read or brought bytes. Blocks.
    pub fn step_aside(&self) {
        let since = Instant::now();
        let mut uses = self.uses.load(Ordering::Relaxed);
        while since.elapsed() < ASIDE_MAX && !self.is_closing() {
            sleep(LOOK);
            let uses_now = self.uses.load(Ordering::Relaxed);
            if self.waiting.load(Ordering::Relaxed) == 0 && uses_now == uses {
                return;
            }
            uses = uses_now;
        }
    }
}

/// Keeps background work to a rate, and out of the way of those who wait.
pub struct Pace<'a> {
    demand: &'a Demand,
    bytes_per_s: Option<u64>,
    started: Instant,
    bytes: u64,
    uses_seen: u64,
    gathered: u64,
    gathered_bytes: u64,
}

impl<'a> Pace<'a> {
    /// At most `bytes_per_s`; without a limit only those who wait hold it up.
    pub fn new(demand: &'a Demand, bytes_per_s: Option<u64>) -> Pace<'a> {
        Pace {
            demand,
            bytes_per_s,
            started: Instant::now(),
            bytes: 0,
            uses_seen: demand.uses.load(Ordering::Relaxed),
            gathered: 0,
            gathered_bytes: 0,
        }
    }

    /// The same for pieces that may be tiny: some of them together count as one.
    pub fn worked_a_little(&mut self, bytes: u64) -> bool {
        self.gathered += 1;
        self.gathered_bytes += bytes;
        if self.gathered < GATHERED_MAX && self.gathered_bytes < GATHERED_BYTES_MAX {
            return true;
        }
        self.gathered = 0;
        let bytes = std::mem::take(&mut self.gathered_bytes);
        self.worked(bytes)
    }

    /// Call it after each piece of at most some megabytes. Blocks. `false` when the work must end: the store is closing.
    pub fn worked(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let uses = self.demand.uses.load(Ordering::Relaxed);
        if self.demand.waiting.load(Ordering::Relaxed) > 0 || uses != self.uses_seen {
            self.uses_seen = uses;
            self.demand.step_aside();
        }
        let due = self
            .bytes_per_s
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(self.bytes as f64 / rate.max(1) as f64));
        while !self.demand.is_closing() {
            let left = due.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return true;
            }
            sleep(left.min(NAP_MAX));
        }
        false
    }
}
