//! Many seeds on a few threads; and that the checkers bite when something is broken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::faults::Faults;
use super::history;
use super::world::Mutation;

const THREADS: usize = 2;

/// How many histories an ordinary run has.
const SEEDS: u64 = 5_000;

/// A run of fewer histories says too little to hold it to what must happen.
const SEEDS_TO_COUNT: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number: '{text}'")))
}

/// Runs the seeds from `first`; returns what happened, and the failures with their seeds, least first.
fn run(first: u64, count: u64, mutation: Mutation, failures_max: usize) -> (Faults, Vec<(u64, String)>) {
    let (next, faults, failures) = (AtomicU64::new(first), Mutex::new(Faults::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut mine = Faults::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failures.lock().expect("no panic holds it").len() >= failures_max {
                        break;
                    }
                    // A panic in the replica is a failure of the seed like any other.
                    let outcome = std::panic::catch_unwind(|| history::run(seed, mutation));
                    match outcome {
                        Ok(outcome) => {
                            mine.add(&outcome.faults);
                            if let Err(fault) = outcome.result {
                                failures.lock().expect("no panic holds it").push((seed, fault));
                            }
                        }
                        Err(_) => failures.lock().expect("no panic holds it").push((seed, "panicked".to_owned())),
                    }
                }
                faults.lock().expect("no panic holds it").add(&mine);
            });
        }
    });
    let mut failures = failures.into_inner().expect("all threads are done");
    failures.sort();
    (faults.into_inner().expect("all threads are done"), failures)
}

#[test]
fn every_history_converges_and_keeps_every_promise() {
    if let Some(seed) = number("ARTIMESH_SEED") {
        let outcome = history::run(seed, Mutation::Nothing);
        println!("{}", outcome.faults.table());
        for (name, notes) in &outcome.notes {
            let last = notes.iter().rev().take(12).rev();
            println!("{name}:\n{}", last.map(|note| format!("  {note:?}\n")).collect::<String>());
        }
        assert_eq!(outcome.result, Ok(()), "seed {seed}");
        return;
    }
    let count = number("ARTIMESH_SEEDS").unwrap_or(SEEDS);
    let first = number("ARTIMESH_FIRST").unwrap_or(0);
    let (faults, failures) = run(first, count, Mutation::Nothing, 10);
    println!("{count} histories from seed {first}:\n{}", faults.table());
    for (seed, fault) in &failures {
        println!(
            "seed {seed}: {fault}\n  replay: ARTIMESH_SEED={seed} cargo test -p artimesh-core --test simulation every_history -- --nocapture"
        );
    }
    assert!(failures.is_empty(), "{} histories failed, the first with seed {}", failures.len(), failures[0].0);
    if count >= SEEDS_TO_COUNT {
        let lacking = faults.lacking(count);
        assert!(lacking.is_empty(), "too little happened:\n{lacking}");
    }
}

#[test]
fn a_seed_is_a_history() {
    for seed in [3, 4] {
        let (first, second) = (history::run(seed, Mutation::Nothing), history::run(seed, Mutation::Nothing));
        assert_eq!(first.faults.table(), second.faults.table());
        assert_eq!(first.state, second.state);
        assert_eq!(first.result, second.result);
    }
}

/// Some seed among the first few notices the mutation.
fn is_noticed(mutation: Mutation) {
    let (_, failures) = run(0, 400, mutation, 1);
    assert!(!failures.is_empty(), "{mutation:?} went unnoticed");
    println!("{mutation:?}: seed {}: {}", failures[0].0, failures[0].1);
}

#[test]
fn a_swapped_tie_break_is_noticed() {
    is_noticed(Mutation::TieBreak);
}

#[test]
fn a_lost_row_is_noticed() {
    is_noticed(Mutation::DroppedWrite);
}

#[test]
fn a_reply_before_the_rows_are_durable_is_noticed() {
    is_noticed(Mutation::ReplyBeforePersist);
}

#[test]
fn a_backup_restored_without_a_new_incarnation_is_noticed() {
    is_noticed(Mutation::SameIncarnation);
}

#[test]
fn a_disk_that_lies_is_noticed() {
    is_noticed(Mutation::LyingDisk);
}
