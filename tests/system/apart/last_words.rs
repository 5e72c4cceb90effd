//! What may be shown in the end, by what was acknowledged where, and who knew what by then.

use std::collections::BTreeMap;
use std::fmt;

/// The content that was put; `None` is a delete.
pub type Written = Option<String>;

/// One acknowledged write.
#[derive(Clone, Debug)]
struct Said {
    site: usize,
    /// Counts up when the site is set back: it has forgotten what it said before.
    life: u32,
    /// How many times all had agreed by then.
    at: u32,
    /// How many of these agreements the site had seen.
    knew: u32,
    written: Written,
}

impl Said {
    /// Whether the earlier one was surely known to the site when it said this one, and so replaced by it.
    fn replaces(&self, earlier: &Said) -> bool {
        (self.site == earlier.site && self.life == earlier.life) || earlier.at < self.knew
    }
}

/// All that was acknowledged.
#[derive(Default)]
pub struct LastWords {
    paths: BTreeMap<String, Vec<Said>>,
    agreements: u32,
    lives: [u32; 3],
    /// The agreements that a site remembers, when these aren't all.
    set_back: [Option<u32>; 3],
    counts: BTreeMap<&'static str, u64>,
}

impl LastWords {
    pub fn said(&mut self, site: usize, path: &str, written: Written) {
        let knew = self.set_back[site].unwrap_or(self.agreements);
        let said = Said { site, life: self.lives[site], at: self.agreements, knew, written };
        let words = self.paths.entry(path.to_owned()).or_default();
        words.retain(|earlier| !said.replaces(earlier));
        words.push(said);
    }

    pub fn count(&mut self, what: &'static str) {
        self.count_more(what, 1);
    }

    pub fn count_more(&mut self, what: &'static str, more: u64) {
        *self.counts.entry(what).or_default() += more;
    }

    pub fn agreements(&self) -> u32 {
        self.agreements
    }

    /// All have the same heads: what anyone says from now on, it says in view of all that was said before.
    pub fn agreed(&mut self) {
        self.agreements += 1;
        self.set_back = [None; 3];
    }

    /// The site knows only what it knew after so many agreements.
    pub fn set_back(&mut self, site: usize, agreements: u32) {
        self.lives[site] += 1;
        self.set_back[site] = Some(agreements);
    }

    /// What each path may show: the last words of those who didn't know of each other's.
    pub fn paths(&self) -> impl Iterator<Item = (&String, Vec<&Written>)> {
        self.paths.iter().map(|(path, words)| (path, words.iter().map(|said| &said.written).collect()))
    }
}

impl fmt::Display for LastWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} paths, {} agreements", self.paths.len(), self.agreements)?;
        self.counts.iter().try_for_each(|(what, count)| write!(f, ", {count} {what}"))
    }
}
