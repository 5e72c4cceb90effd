//! Which step comes next.

use std::collections::BTreeSet;

use artimesh_core::model::Assurance;

use super::contents::{self, FIRST_LARGE, Number, POOL};
use super::dice::Dice;
use super::seen::Seen;
use super::steps::{Commit, Step, Way};
use crate::store::sums::Md5Turn;
use crate::store::{RowWrite, Store, Tree};

const TREES: [Tree; 5] = [Tree::Catalog, Tree::Catalog, Tree::Log, Tree::Meta, Tree::History];
/// Rows that all commits write.
const KEYS: u64 = 10;

/// Draws a step that makes sense where the store is now; `stamp` is a number of its own.
pub fn step(dice: &mut Dice, seen: &Seen, rotten: &BTreeSet<Number>, store: &Store, stamp: u64) -> Step {
    match dice.roll(100) {
        0..52 => Step::Commits(vec![commit(dice, seen, rotten)]),
        52..62 if std::env::var_os("POWER_TOGETHER").is_some() => {
            Step::Commits((0..2 + dice.roll(3)).map(|_| commit(dice, seen, rotten)).collect())
        }
        52..62 => Step::Commits(vec![commit(dice, seen, rotten)]),
        62..65 => Step::GiveUp(large(dice)),
        65..70 => match large(dice) {
            number if seen.blobs.contains_key(&number) => Step::Commits(vec![commit(dice, seen, rotten)]),
            number => Step::FillSome(number),
        },
        70..72 => match store.fills_at_rest().first().and_then(|(digest, _)| contents::number_of(digest)) {
            Some(number) => Step::DiscardFill(number),
            None => Step::FillSome(large(dice)),
        },
        72..77 => Step::Collect(some(dice, seen, rotten), stamp),
        77..81 => Step::Evict(some(dice, seen, rotten), stamp),
        81..86 => sums(dice, seen, rotten),
        86..94 => Step::Compact([50, 90, 100][dice.roll(3) as usize]),
        94..96 => Step::Scrub(None),
        _ => {
            let shown: Vec<Number> = seen.blobs.keys().copied().filter(|number| *number >= FIRST_LARGE).collect();
            // One at a time, so that one commit takes it out of use.
            let number = if rotten.is_empty() { dice.pick(&shown).copied() } else { None };
            Step::Scrub(number)
        }
    }
}

fn large(dice: &mut Dice) -> Number {
    FIRST_LARGE + dice.roll(contents::count() - FIRST_LARGE as u64) as usize
}

/// Some of the blobs that are there; one that may not be, if none is. What rotted only a scrub takes out of use.
fn some(dice: &mut Dice, seen: &Seen, rotten: &BTreeSet<Number>) -> Vec<Number> {
    let is_well = |number: &Number| !rotten.contains(number);
    let mut some: Vec<Number> = seen.blobs.keys().copied().filter(is_well).filter(|_| dice.roll(3) == 0).collect();
    if some.is_empty() {
        some.push(dice.roll(FIRST_LARGE as u64) as Number);
    }
    some
}

fn sums(dice: &mut Dice, seen: &Seen, rotten: &BTreeSet<Number>) -> Step {
    let claimed: Vec<Number> = seen
        .blobs
        .iter()
        .filter(|(number, assurance)| **assurance == Assurance::Claimed && !rotten.contains(*number))
        .map(|(number, _)| *number)
        .collect();
    let is_listed = seen.rows.keys().any(|(tree, key)| *tree == Tree::Meta && key.starts_with(b"unsummed/"));
    match dice.pick(&claimed) {
        // What rotted would stay listed.
        _ if is_listed && rotten.is_empty() && dice.roll(2) == 0 => Step::Sum,
        Some(number) => Step::Confirm(*number),
        None => Step::Commits(vec![commit(dice, seen, rotten)]),
    }
}

fn commit(dice: &mut Dice, seen: &Seen, rotten: &BTreeSet<Number>) -> Commit {
    let mut commit = Commit::default();
    match dice.roll(10) {
        0..3 => {}
        3..8 => {
            let number = if dice.roll(3) == 0 { large(dice) } else { dice.roll(FIRST_LARGE as u64) as Number };
            let way = [Way::Upload(Md5Turn::Inline), Way::Upload(Md5Turn::Deferred), Way::Peer][dice.roll(3) as usize];
            // Bytes that are put onto a rotten copy take its place: `duplicates` strikes at that.
            if !rotten.contains(&number) {
                commit.brought.push((number, way));
            }
        }
        _ => commit.dropped = some(dice, seen, rotten),
    }
    let rows = if commit.brought.is_empty() && commit.dropped.is_empty() { 1 + dice.roll(6) } else { dice.roll(3) };
    commit.rows = (0..rows).map(|_| row(dice)).collect();
    commit
}

fn row(dice: &mut Dice) -> RowWrite {
    let tree = TREES[dice.roll(TREES.len() as u64) as usize];
    let key = format!("key {}", dice.roll(KEYS));
    if dice.roll(4) == 0 {
        return RowWrite::delete(tree, key);
    }
    // Some stand in the index, some only in a pack.
    let bytes = [0, 20, 300, 1020 + dice.roll(10), 3000, 9000][dice.roll(6) as usize];
    let start = dice.roll(POOL[FIRST_LARGE].bytes.len() as u64 - bytes) as usize;
    RowWrite::put(tree, key, &POOL[FIRST_LARGE].bytes[start..start + bytes as usize])
}
