//! How often each fault took effect, so that a run that proves nothing is noticed.

use std::collections::BTreeMap;

/// What must have happened, and how often at least per thousand histories: for each fault 20, so that it fires a hundred
/// times in five thousand; more for what is the daily bread.
const LEAST_PER_THOUSAND: &[(&str, u64)] = &[
    ("a bad link gave way", 20),
    ("a clone ran in place of the original", 20),
    ("a round of a chatty site", 1_000),
    ("a copied folder ran in place of the original", 20),
    ("acknowledged", 10_000),
    ("admitted again", 20),
    ("altered bytes refused", 100),
    ("applied from gossip", 500),
    ("applied from streams", 5_000),
    ("babble refused", 100),
    ("blobs wanted", 200),
    ("clock jump", 1_000),
    ("clock stuck", 200),
    ("connection broken with frames under way", 500),
    ("connection lost, unnoticed at one end", 200),
    ("crash after persist", 200),
    ("crash before persist", 100),
    ("crash between inputs", 1_000),
    ("dead items offered", 20),
    ("deleted by prefix", 100),
    ("entry of an edge refused", 20),
    ("entry of who may only look on refused", 20),
    ("false heads claimed", 100),
    ("far ahead", 200),
    ("foreign segment refused", 100),
    ("fork proved", 20),
    ("frame ahead of gossip", 200),
    ("frame over a slow link", 200),
    ("frames lost with a connection of which one end knew", 100),
    ("full sync asked for", 100),
    ("gossip ahead of streams", 200),
    ("gossip duplicated", 200),
    ("gossip lost", 200),
    ("gossip reordered", 200),
    ("history with a lost or restored node", 300),
    ("history with a membership change", 300),
    ("history with a true conflict", 300),
    ("joined in the middle", 50),
    ("kept for an upgrade", 20),
    ("key stolen", 30),
    ("kill of the unseen refused", 20),
    ("lost for good", 20),
    ("folders made", 200),
    ("mass delete released", 20),
    ("member removed by another", 20),
    ("moved", 200),
    ("own revocation heard", 20),
    ("paired again after it forgot", 50),
    ("pairing answer lost", 20),
    ("parked", 200),
    ("partition", 300),
    ("partition one way", 100),
    ("properties edited", 500),
    ("repository brought into a federation", 30),
    ("sealed logs", 100),
    ("segment replayed", 100),
    ("segments withheld", 20),
    ("set back to an old copy", 100),
    ("settings changed", 300),
    ("started with a version that knows less", 20),
    ("states compared", 5_000),
    ("upgraded", 20),
    ("wiped, keys kept", 20),
    ("written a year ahead", 20),
    ("written at the beginning of time", 20),
    ("written at the end of time", 20),
];

#[derive(Clone, Debug, Default)]
pub struct Faults(BTreeMap<&'static str, u64>);

impl Faults {
    pub fn count(&mut self, fault: &'static str, times: u64) {
        *self.0.entry(fault).or_default() += times;
    }

    pub fn add(&mut self, other: &Faults) {
        other.0.iter().for_each(|(fault, times)| self.count(fault, *times));
    }

    fn of(&self, fault: &'static str) -> u64 {
        self.0.get(fault).copied().unwrap_or(0)
    }

    pub fn table(&self) -> String {
        self.0.iter().map(|(fault, times)| format!("{times:>9}  {fault}\n")).collect()
    }

    /// What took effect less often in so many histories than a run needs to prove anything.
    pub fn lacking(&self, histories: u64) -> String {
        let least = LEAST_PER_THOUSAND.iter().map(|(fault, least)| (*fault, least * histories / 1_000));
        let lacking = least.filter(|(fault, least)| self.of(fault) < *least);
        lacking.map(|(fault, least)| format!("{:>9} of {least}  {fault}\n", self.of(fault))).collect()
    }
}
