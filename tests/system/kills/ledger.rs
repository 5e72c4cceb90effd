//! What was acknowledged, written down outside of the nodes.

use std::collections::BTreeMap;

use crate::harness::Content;

/// One content of one path; `None` is a delete.
pub type Written = Option<Content>;

/// What a path may show.
#[derive(Clone, Debug, Default)]
struct Fate {
    /// Acknowledged, and not overwritten by anything acknowledged that had seen it.
    settled: Vec<Written>,
    /// Asked for, and never answered: the node was killed before it could say what became of it.
    unknown: Vec<Written>,
    /// Written in this round.
    is_touched: bool,
}

/// All paths.
#[derive(Default)]
pub struct Ledger {
    fates: BTreeMap<String, Fate>,
    acknowledged: u64,
    unknown: u64,
}

impl Ledger {
    /// A write at the only node that writes this path in this round: it replaces what was there.
    pub fn acknowledged(&mut self, path: &str, written: Written) {
        self.acknowledged += 1;
        *self.fate(path) = Fate { settled: vec![written], unknown: Vec::new(), is_touched: true };
    }

    /// A write of a path that several nodes write in this round: any of these may win, what was there before may not.
    pub fn acknowledged_among_others(&mut self, path: &str, written: Written) {
        self.acknowledged += 1;
        let fate = self.fate(path);
        if !std::mem::replace(&mut fate.is_touched, true) {
            fate.settled.clear();
        }
        fate.settled.push(written);
    }

    /// A write that was never answered.
    pub fn unanswered(&mut self, path: &str, written: Written) {
        self.unknown += 1;
        self.fate(path).unknown.push(written);
    }

    fn fate(&mut self, path: &str) -> &mut Fate {
        // Before its first write a path shows nothing.
        self.fates.entry(path.to_owned()).or_insert_with(|| Fate { settled: vec![None], ..Fate::default() })
    }

    /// Whether something is known to be at the path.
    pub fn is_there(&self, path: &str) -> bool {
        self.fates.get(path).is_some_and(|fate| fate.unknown.is_empty() && matches!(fate.settled[..], [Some(_)]))
    }

    /// The paths of this round, with what each may show.
    pub fn touched(&self) -> Vec<(String, Vec<Written>)> {
        let touched = self.fates.iter().filter(|(_, fate)| fate.is_touched || !fate.unknown.is_empty());
        touched.map(|(path, fate)| (path.clone(), fate.allowed())).collect()
    }

    /// All paths, with what each may show.
    pub fn all(&self) -> Vec<(String, Vec<Written>)> {
        self.fates.iter().map(|(path, fate)| (path.clone(), fate.allowed())).collect()
    }

    /// All nodes show this now, so it stays.
    pub fn settle(&mut self, path: &str, shown: Written) {
        *self.fate(path) = Fate { settled: vec![shown], unknown: Vec::new(), is_touched: false };
    }

    /// How many writes were acknowledged, and how many never answered.
    pub fn counts(&self) -> (u64, u64) {
        (self.acknowledged, self.unknown)
    }
}

impl Fate {
    fn allowed(&self) -> Vec<Written> {
        self.settled.iter().chain(&self.unknown).copied().collect()
    }
}
