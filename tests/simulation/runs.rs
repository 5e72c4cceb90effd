//! Many histories on all cores: what happened, what failed, and a digest of every thousand.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use artimesh_core::model::Digest;

use super::faults::Faults;
use super::history::{self, Outcome};
use super::world::Mutation;

/// How many histories share a digest.
pub const SLICE: u64 = 1_000;

/// Which histories to run.
#[derive(Clone, Copy)]
pub struct Run {
    pub first: u64,
    pub count: u64,
    pub mutation: Mutation,
    /// The run ends with so many failures.
    pub failures_max: usize,
    /// Says how far it is after every thousand.
    pub shows_progress: bool,
}

/// What a run came to.
#[derive(Default)]
pub struct Findings {
    pub faults: Faults,
    /// Seeds and what is wrong, least first.
    pub failures: Vec<(u64, String)>,
    /// First seed → chained digest of the final states of its thousand, for each that was run whole.
    pub slices: BTreeMap<u64, Digest>,
    pub per_second: f64,
    done: u64,
    /// The states of slices that are not complete yet.
    open: BTreeMap<u64, BTreeMap<u64, Digest>>,
}

/// Runs them.
pub fn run(run: Run) -> Findings {
    let (next, begun, findings) = (AtomicU64::new(run.first), Instant::now(), Mutex::new(Findings::default()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_enough = findings.lock().expect("no panic holds it").failures.len() >= run.failures_max;
                    if seed >= run.first + run.count || is_enough {
                        break;
                    }
                    // A panic in the replica is a failure of the seed like any other.
                    let outcome = std::panic::catch_unwind(|| history::run(seed, run.mutation)).ok();
                    let mut findings = findings.lock().expect("no panic holds it");
                    findings.take(seed, outcome);
                    if run.shows_progress && findings.done.is_multiple_of(SLICE) {
                        findings.show(begun);
                    }
                }
            });
        }
    });
    let mut findings = findings.into_inner().expect("all threads are done");
    findings.failures.sort();
    findings.per_second = findings.done as f64 / begun.elapsed().as_secs_f64();
    findings
}

impl Findings {
    fn take(&mut self, seed: u64, outcome: Option<Outcome>) {
        self.done += 1;
        let Some(outcome) = outcome else { return self.failures.push((seed, "panicked".to_owned())) };
        self.faults.add(&outcome.faults);
        self.failures.extend(outcome.result.err().map(|fault| (seed, fault)));
        let first = seed - seed % SLICE;
        let slice = self.open.entry(first).or_default();
        slice.insert(seed, outcome.state);
        if slice.len() as u64 == SLICE {
            let states = self.open.remove(&first).unwrap_or_default();
            let chained = states.iter().fold(Digest::ZERO, |before, (seed, state)| {
                let link = [&before.0[..], &seed.to_le_bytes(), &state.0].concat();
                Digest::derived("artimesh/simulated-slice/v1", &link)
            });
            self.slices.insert(first, chained);
        }
    }

    fn show(&self, begun: Instant) {
        let (seconds, failed) = (begun.elapsed().as_secs_f64(), self.failures.len());
        println!("{:>9} histories, {:.0} a second, {failed} failed", self.done, self.done as f64 / seconds);
    }
}
