//! Ten thousand crash states: drawn work, drawn blows, and any part of what wasn't synced lost, torn or out of order.
//!
//! Unlike the crashes of [`super::crash`], which strike before each operation of one workload, these are few at each place and
//! everywhere. A seed is a history; the threads of a store are waited for between its steps, so that it takes the same course
//! again.
//!
//! `POWER_STATES=N` looks at so many states, `POWER_FIRST=N` begins with another seed, `POWER_SEED=N` tells one history. With
//! `POWER_TOGETHER=1` commits are handed over together, too; how those fall into groups differs from run to run.

mod contents;
mod dice;
mod drawing;
mod history;
mod seen;
mod steps;
mod tally;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

use crate::store::files::SyncPoint;
use history::History;
use tally::Tally;

/// How many states an ordinary run looks at.
const STATES: u64 = 10_000;
/// When commits that were handed over together made the difference, the same seed shows it in some of so many runs.
const REPLAYS: u64 = 20;

fn folder() -> PathBuf {
    PathBuf::from("/disk/store")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number: '{text}'")))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("threads can be started")
}

/// What some histories came to.
#[derive(Default)]
struct Findings {
    tally: Tally,
    histories: u64,
    /// Seeds, and what is wrong.
    failures: Vec<(u64, String)>,
}

/// Runs histories from seed `first` on, until they have looked at so many states, or one has failed.
fn run(first: u64, states: u64, omitted: Option<SyncPoint>) -> (u64, Findings) {
    let (next, looked, is_over) = (AtomicU64::new(first), AtomicU64::new(0), AtomicBool::new(false));
    let findings = Mutex::new(Findings::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let runtime = runtime();
                while looked.load(Ordering::Relaxed) < states && !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let mut history = History::new(&runtime, seed, false);
                    let outcome = catch_unwind(AssertUnwindSafe(|| history.run(omitted)));
                    looked.fetch_add(history.states, Ordering::Relaxed);
                    let mut findings = findings.lock().expect("no panic holds it");
                    findings.histories += 1;
                    findings.tally.add(&history.tally);
                    if let Err(what) = outcome.unwrap_or_else(|_| Err("it panicked".into())) {
                        findings.failures.push((seed, what));
                        is_over.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (looked.into_inner(), findings.into_inner().expect("all threads are done"))
}

fn replay(seed: u64) {
    let runtime = runtime();
    for number in 0..REPLAYS {
        println!("--- seed {seed}, run {number}");
        let mut history = History::new(&runtime, seed, true);
        let outcome = history.run(None);
        assert_eq!(outcome, Ok(()), "seed {seed}, in run {number}");
    }
}

#[test]
fn nothing_acknowledged_is_missing_in_ten_thousand_crash_states() {
    if let Some(seed) = number("POWER_SEED") {
        return replay(seed);
    }
    let (first, wanted) = (number("POWER_FIRST").unwrap_or(0), number("POWER_STATES").unwrap_or(STATES));
    let begun = Instant::now();
    let (states, findings) = run(first, wanted, None);
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{states} crash states of {} histories in {seconds:.0} s:\n{}",
        findings.histories,
        findings.tally.table()
    );
    for (seed, what) in &findings.failures {
        println!(
            "seed {seed}: {what}\n  replay: POWER_SEED={seed} cargo test --lib nothing_acknowledged_is_missing -- --nocapture"
        );
    }
    assert!(findings.failures.is_empty(), "a history failed: seed {}", findings.failures[0].0);
    if states >= STATES {
        let lacking = findings.tally.lacking(states);
        assert!(lacking.is_empty(), "too little happened:\n{lacking}");
    }
}

#[test]
fn leaving_out_any_kind_of_sync_is_noticed_within_ten_thousand_crash_states() {
    for point in SyncPoint::ALL {
        let (states, findings) = run(0, STATES, Some(point));
        let Some((seed, what)) = findings.failures.first() else {
            panic!("in {states} states nothing is lost when {point:?} is left out")
        };
        println!("{point:?} left out: noticed within {states} states, seed {seed}: {what:.200}");
    }
}
