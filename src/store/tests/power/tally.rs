//! What took effect and how often, so that a run that proves little is noticed.

use std::collections::BTreeMap;

use crate::store::files::Lost;

/// What must have happened, and how often at least in a thousand states: about half of what did when this was written.
const LEAST_PER_THOUSAND: &[(&str, u64)] = &[
    ("a sync failed while it opened", 60),
    ("a sync failed: Carry", 1),
    ("a sync failed: Commit", 2),
    ("a sync failed: HollowFolder", 1),
    ("a sync failed: HollowPack", 1),
    ("a sync failed: LargeFile", 1),
    ("a sync failed: LargeFolder", 1),
    ("a sync failed: LargeRemoved", 2),
    ("a sync failed: PackFolder", 2),
    ("a sync failed: PackHeader", 2),
    ("a torn tail was cut off", 15),
    ("changes of names were lost", 150),
    ("changes of names were overtaken by later ones", 50),
    ("done: a collection", 30),
    ("done: a compaction", 50),
    ("done: a delete", 60),
    ("done: a fill from peers", 15),
    ("done: a fill that is discarded", 3),
    ("done: a fill that is left", 30),
    ("done: a large upload", 35),
    ("done: a quarantine", 10),
    ("done: a scrub", 25),
    ("done: a small blob", 100),
    ("done: an eviction", 20),
    ("done: an upload that is given up", 20),
    ("done: rows", 100),
    ("done: sums computed later", 15),
    ("files of nobody were removed", 120),
    ("files were longer than their bytes", 80),
    ("fills could go on", 120),
    ("struck in a collection", 7),
    ("struck in a compaction", 15),
    ("struck in a delete", 6),
    ("struck in a fill from peers", 6),
    ("struck in a fill that is left", 5),
    ("struck in a large upload", 12),
    ("struck in a quarantine", 1),
    ("struck in a scrub", 2),
    ("struck in a small blob", 12),
    ("struck in an eviction", 4),
    ("struck in an upload that is given up", 2),
    ("struck in rows", 12),
    ("struck in sums computed later", 1),
    ("struck when it had just shown something", 130),
    ("struck when some of a step was acknowledged", 5),
    ("struck while it opened", 60),
    ("the index was brought up", 200),
    ("the index was built anew", 90),
    ("the index was up to date", 220),
    ("the power failed", 480),
    ("the process was killed", 140),
    ("unanswered, and not there", 230),
    ("unanswered, and there", 20),
    ("writes were lost", 210),
    ("writes were overtaken by later ones", 50),
    ("writes were torn", 40),
];

#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub fn count_if(&mut self, took_effect: bool, what: &str) {
        if took_effect {
            self.count(what);
        }
    }

    /// What a power failure took.
    pub fn count_lost(&mut self, lost: Lost) {
        self.count("the power failed");
        self.count_if(lost.writes > 0, "writes were lost");
        self.count_if(lost.torn > 0, "writes were torn");
        self.count_if(lost.overtaken > 0, "writes were overtaken by later ones");
        self.count_if(lost.stretched > 0, "files were longer than their bytes");
        self.count_if(lost.names > 0, "changes of names were lost");
        self.count_if(lost.names_overtaken > 0, "changes of names were overtaken by later ones");
        self.count_if(lost == Lost::default(), "nothing was lost");
    }

    pub fn add(&mut self, other: &Tally) {
        for (what, times) in &other.0 {
            *self.0.entry(what.clone()).or_default() += times;
        }
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    pub fn table(&self) -> String {
        self.0.iter().map(|(what, times)| format!("{times:>9}  {what}\n")).collect()
    }

    /// What happened less often in so many states than it must.
    pub fn lacking(&self, states: u64) -> String {
        let least = LEAST_PER_THOUSAND.iter().map(|(what, least)| (*what, least * states / 1000));
        let lacking = least.filter(|(what, least)| self.of(what) < *least);
        lacking.map(|(what, least)| format!("{:>9} of {least}  {what}\n", self.of(what))).collect()
    }
}
