//! The ledger of final states: a digest for every thousand seeds, kept in a file, so that a slice can be run again and
//! compared.
//!
//! The first line names the rules under which the digests came about; each other line holds a first seed and a digest.

use std::collections::BTreeMap;
use std::path::Path;

use artimesh_core::model::Digest;

use super::runs::SLICE;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// The sources that made it.
    rules: String,
    slices: BTreeMap<u64, String>,
}

impl Ledger {
    /// What a file holds; empty when there is none.
    pub fn read(file: &Path) -> Ledger {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut lines = text.lines();
        let rules = lines.next().unwrap_or_default().to_owned();
        let slice = |line: &str| {
            let (seed, digest) = line.split_once(' ').unwrap_or_else(|| panic!("'{line}' is no seed and digest"));
            (seed.parse().unwrap_or_else(|_| panic!("'{seed}' is no seed")), digest.to_owned())
        };
        Ledger { rules, slices: lines.map(slice).collect() }
    }

    pub fn write(&self, file: &Path) {
        let slices = self.slices.iter().map(|(first, digest)| format!("{first} {digest}\n"));
        let text = format!("{}\n{}", self.rules, slices.collect::<String>());
        std::fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Takes in what a run under `rules` came to. Digests of other rules go: they can't be had again.
    pub fn take(&mut self, rules: &str, slices: &BTreeMap<u64, Digest>) {
        if self.rules != rules {
            *self = Ledger { rules: rules.to_owned(), slices: BTreeMap::new() };
        }
        self.slices.extend(slices.iter().map(|(first, digest)| (*first, short(digest))));
    }

    /// How many of a run's slices are known here; or which differ.
    pub fn compare(&self, rules: &str, slices: &BTreeMap<u64, Digest>) -> Result<usize, String> {
        let known = slices.iter().filter_map(|(first, digest)| Some((first, self.slices.get(first)?, short(digest))));
        let (same, other): (Vec<_>, Vec<_>) = known.partition(|(_, before, now)| *before == now);
        if other.is_empty() {
            return Ok(same.len());
        }
        let why = if self.rules == rules {
            "The sources are the same: something here isn't a function of the seed."
        } else {
            "The sources have changed since; if the states were to change with them, write the digests anew."
        };
        let differing = other.iter().map(|(first, before, now)| {
            format!("seeds {first} to {} end in {now}, in the file in {before}\n", *first + SLICE - 1)
        });
        Err(format!("{}the file is of: {}\nthese are:      {rules}\n{why}", differing.collect::<String>(), self.rules))
    }
}

/// As much of a digest as nobody collides by accident.
fn short(digest: &Digest) -> String {
    digest.to_string()[..32].to_owned()
}

#[test]
fn a_ledger_remembers_its_rules_and_notices_a_slice_that_differs() {
    let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
    let mut ledger = Ledger::default();
    ledger.take("rules 1", &BTreeMap::from([(0, one), (1_000, one)]));
    assert_eq!(ledger.compare("rules 1", &BTreeMap::from([(1_000, one), (9_000, other)])), Ok(1));
    assert!(ledger.compare("rules 1", &BTreeMap::from([(1_000, other)])).is_err_and(|why| why.contains("function")));
    assert!(ledger.compare("rules 2", &BTreeMap::from([(0, other)])).is_err_and(|why| why.contains("changed")));
    ledger.take("rules 2", &BTreeMap::from([(0, other)]));
    assert_eq!(ledger.compare("rules 2", &BTreeMap::from([(0, other), (1_000, one)])), Ok(1));
}
