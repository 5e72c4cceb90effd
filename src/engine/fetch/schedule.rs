//! Which groups of a blob are asked of whom next. Neither waits nor looks at a clock nor rolls dice.
//!
//! # Why
//! - **What readers wait for comes first,** from wherever each of them is, in turns; a group that a reader waits for and
//!   that was asked of somebody slow is asked of another as well.
//! - **What nobody else has is asked of who has everything.** Of eight sites that fetch the same, each takes a share of
//!   its own from the one that has it, and the rest from the others. If some don't bring their shares, this node has nothing
//!   left to ask for and is idle for a while; then all of it is anybody's.
//! - **In the end whoever is idle repeats what has been under way longest,** so that one slow source doesn't decide when
//!   the last group comes. A group is under way from two sources at most.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::bits::{Bits, Side};
use crate::engine::line::Urgency;

/// How far ahead of a reader is fetched for it before anything else.
const READ_AHEAD: u32 = 8;

/// Groups under way from one source at most.
pub const UNDER_WAY_MAX: usize = 64;

/// Sources that a group is asked of at once.
const ASKED_MAX: usize = 2;

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SourceId(pub u64);

/// Who waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ReaderId(pub u64);

/// What to ask for next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// These groups.
    pub groups: Range<u32>,
    /// For whom.
    pub urgency: Urgency,
}

/// When and of whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asked {
    source: SourceId,
    at: Duration,
}

struct Source {
    /// `None`: everything.
    has: Option<Bits>,
    /// Whether it said so itself.
    told: bool,
    under_way: usize,
}

/// What is here, under way, and wanted of one blob.
pub struct Schedule {
    count: u32,
    /// Neither here nor under way.
    free: Bits,
    left: u32,
    asked: BTreeMap<u32, Vec<Asked>>,
    sources: BTreeMap<SourceId, Source>,
    /// Where each reader waits.
    readers: BTreeMap<ReaderId, u32>,
    turn: usize,
    /// What this node had better take itself from who has everything; `None`: nobody else fetches the blob.
    share: Option<Bits>,
    /// Since when nothing has been under way.
    idle_since: Option<Duration>,
    /// How long a group is under way, as a running mean.
    typical: Duration,
}

/// What may be asked for, and how.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// At most so many groups.
    pub most: u32,
    /// Since any fixed moment.
    pub now: Duration,
    /// How long a group that a reader waits for may be under way before another source is asked for it too.
    pub patience: Duration,
    /// The same for one that nobody waits for, when nothing else is left to ask for. Longer: what is sent twice is lost to
    /// others.
    pub repeat_after: Duration,
    /// Any number: where to begin, where it doesn't matter. `None`: at the first that is missing.
    pub dice: Option<u32>,
}

impl Schedule {
    /// For a blob of `count` groups of which these are missing.
    pub fn new(count: u32, missing: &[Range<u32>]) -> Schedule {
        let mut free = Bits::none(count);
        missing.iter().for_each(|range| free.set_range(range.clone()));
        let left = free.count();
        Schedule {
            count,
            free,
            left,
            asked: BTreeMap::new(),
            sources: BTreeMap::new(),
            readers: BTreeMap::new(),
            turn: 0,
            share: None,
            idle_since: None,
            typical: Duration::ZERO,
        }
    }

    /// Whether all groups are here.
    pub fn is_complete(&self) -> bool {
        self.left == 0
    }

    /// How many aren't here.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// How long a group was under way lately.
    pub fn typical(&self) -> Duration {
        self.typical
    }

    /// A source has come that has everything, as far as is known.
    pub fn join(&mut self, source: SourceId) {
        self.sources.insert(source, Source { has: None, told: false, under_way: 0 });
    }

    /// What a source has now.
    pub fn learn(&mut self, source: SourceId, has: Bits) {
        let has = (has.count() < self.count).then_some(has);
        if let Some(source) = self.sources.get_mut(&source) {
            source.has = has;
            source.told = true;
        }
    }

    /// Whether a source has said that it has everything.
    pub fn is_whole(&self, source: SourceId) -> bool {
        self.sources.get(&source).is_some_and(|source| source.told && source.has.is_none())
    }

    /// Others fetch the same blob: of who has everything, this node takes these groups first and leaves it the others.
    pub fn set_share(&mut self, share: Option<Bits>) {
        self.share = share;
    }

    /// Notices that the others don't bring their shares: call it now and then.
    pub fn reconsider(&mut self, ask: Ask) {
        if !self.asked.is_empty() {
            self.idle_since = None;
            return;
        }
        let since = *self.idle_since.get_or_insert(ask.now);
        if ask.now.saturating_sub(since) >= ask.patience.max(self.typical) {
            self.share = None;
        }
    }

    /// Whether a source is known to have only a part.
    pub fn is_partial(&self, source: SourceId) -> bool {
        self.sources.get(&source).is_some_and(|source| source.has.is_some())
    }

    /// Whether any source has only a part: then others fetch the same blob at the same time.
    pub fn is_shared(&self) -> bool {
        self.sources.values().any(|source| source.has.is_some())
    }

    /// A source is gone: what was under way from it alone is free again.
    pub fn leave(&mut self, source: SourceId) {
        self.sources.remove(&source);
        let theirs: Vec<u32> =
            self.asked.iter().filter(|(_, asked)| asked.iter().any(|a| a.source == source)).map(|(i, _)| *i).collect();
        theirs.into_iter().for_each(|index| self.forget(source, index));
    }

    /// A reader waits for a group, or goes on to it.
    pub fn wait(&mut self, reader: ReaderId, index: u32) {
        self.readers.insert(reader, index);
    }

    /// A reader waits no more.
    pub fn stop_waiting(&mut self, reader: ReaderId) {
        self.readers.remove(&reader);
    }

    /// A group was verified and is here, from whomever.
    pub fn arrived(&mut self, index: u32, now: Duration) {
        let was_free = self.free.clear(index);
        let asked = self.asked.remove(&index);
        if let Some(first) = asked.iter().flatten().map(|asked| asked.at).min() {
            let took = now.saturating_sub(first);
            self.typical = if self.typical.is_zero() { took } else { (self.typical * 7 + took) / 8 };
        }
        for Asked { source, .. } in asked.iter().flatten() {
            if let Some(source) = self.sources.get_mut(source) {
                source.under_way = source.under_way.saturating_sub(1);
            }
        }
        if was_free || asked.is_some() {
            self.left -= 1;
        }
    }

    /// A source didn't give a group that was asked of it.
    pub fn failed(&mut self, source: SourceId, index: u32) {
        self.forget(source, index);
        if let Some(Source { has: Some(has), .. }) = self.sources.get_mut(&source) {
            has.clear(index);
        }
    }

    fn forget(&mut self, source: SourceId, index: u32) {
        let Some(asked) = self.asked.get_mut(&index) else { return };
        let before = asked.len();
        asked.retain(|asked| asked.source != source);
        let taken = before - asked.len();
        if asked.is_empty() {
            self.asked.remove(&index);
            self.free.set(index);
        }
        if let Some(source) = self.sources.get_mut(&source) {
            source.under_way = source.under_way.saturating_sub(taken);
        }
    }

    /// For whom the next task of a source would be, if there is one.
    pub fn outlook(&self, source: SourceId, ask: Ask) -> Option<Urgency> {
        self.choose(source, Ask { most: 1, ..ask }).map(|task| task.urgency)
    }

    /// The next task of a source, under way from now on.
    pub fn next(&mut self, source: SourceId, ask: Ask) -> Option<Task> {
        let task = self.choose(source, ask)?;
        if task.urgency == Urgency::Urgent {
            self.turn += 1;
        }
        for index in task.groups.clone() {
            self.free.clear(index);
            self.asked.entry(index).or_default().push(Asked { source, at: ask.now });
        }
        if let Some(source) = self.sources.get_mut(&source) {
            source.under_way += task.groups.len();
        }
        Some(task)
    }

    fn choose(&self, id: SourceId, ask: Ask) -> Option<Task> {
        let source = self.sources.get(&id)?;
        let room = UNDER_WAY_MAX.saturating_sub(source.under_way);
        let most = ask.most.min(u32::try_from(room).unwrap_or(u32::MAX));
        if most == 0 || self.left == 0 {
            return None;
        }
        let ask = Ask { most, ..ask };
        let urgent = self.for_readers(id, source, ask).map(|groups| Task { groups, urgency: Urgency::Urgent });
        let bulk = || self.in_order(source, ask).or_else(|| self.repeat(id, source, ask));
        urgent.or_else(|| bulk().map(|groups| Task { groups, urgency: Urgency::Bulk }))
    }

    /// What the readers wait for, beginning with another one each time.
    fn for_readers(&self, id: SourceId, source: &Source, ask: Ask) -> Option<Range<u32>> {
        let readers: Vec<u32> = self.readers.values().copied().collect();
        (0..readers.len()).find_map(|at| {
            let from = readers[(at + self.turn) % readers.len()];
            let ahead = from..from.saturating_add(READ_AHEAD).min(self.count);
            let late = ahead.clone().find(|index| self.is_late(id, source, *index, ask.now, ask.patience));
            let free = self.first_free(source, ahead.clone(), &[]);
            match (late, free) {
                (Some(late), free) if free.is_none_or(|free| late < free) => Some(late..late + 1),
                (_, Some(free)) => Some(self.run(source, free, ahead.end, ask.most)),
                _ => None,
            }
        })
    }

    /// Whether a group has been under way from others for too long, and this source could give it.
    fn is_late(&self, id: SourceId, source: &Source, index: u32, now: Duration, patience: Duration) -> bool {
        let Some(asked) = self.asked.get(&index) else { return false };
        let is_new = asked.len() < ASKED_MAX && asked.iter().all(|asked| asked.source != id);
        let is_late = asked.iter().all(|asked| now.saturating_sub(asked.at) >= patience);
        is_new && is_late && source.has.as_ref().is_none_or(|has| has.has(index))
    }

    fn first_free(&self, source: &Source, range: Range<u32>, others: &[(&Bits, Side)]) -> Option<u32> {
        let mut all: Vec<(&Bits, Side)> = source.has.iter().map(|has| (has, Side::In)).collect();
        all.extend_from_slice(others);
        self.free.first(range, &all)
    }

    /// The free groups that the source has, from `first` on.
    fn run(&self, source: &Source, first: u32, end: u32, most: u32) -> Range<u32> {
        let fits = |index: &u32| self.free.has(*index) && source.has.as_ref().is_none_or(|has| has.has(*index));
        let last = (first..end.min(first.saturating_add(most))).take_while(fits).last().unwrap_or(first);
        first..last + 1
    }

    /// What is free: after the first reader, or from anywhere, or from the start. Of who has everything first what nobody
    /// else has.
    fn in_order(&self, source: &Source, ask: Ask) -> Option<Range<u32>> {
        let start = match (self.readers.values().next(), ask.dice) {
            (Some(reader), _) => (*reader).min(self.count),
            (None, Some(dice)) => dice % self.count.max(1),
            (None, None) => 0,
        };
        let around = |others: &[(&Bits, Side)]| {
            let later = self.first_free(source, start..self.count, others);
            later.or_else(|| self.first_free(source, 0..start, others))
        };
        if source.has.is_some() {
            return around(&[]).map(|first| self.run(source, first, self.count, ask.most));
        }
        let mut wanted: Vec<(&Bits, Side)> =
            self.sources.values().filter_map(|other| other.has.as_ref()).map(|has| (has, Side::Out)).collect();
        let rare = |wanted: &[(&Bits, Side)]| (!wanted.is_empty()).then(|| around(wanted)).flatten();
        // What is rare is taken one by one: beside it there may be what others have.
        let one = |first: u32| first..first + 1;
        match &self.share {
            Some(share) => {
                wanted.push((share, Side::In));
                rare(&wanted).map(one)
            }
            None => {
                let any = || around(&[]).map(|first| self.run(source, first, self.count, ask.most));
                rare(&wanted).map(one).or_else(any)
            }
        }
    }

    /// What has been under way from others for longest, when nothing is free.
    fn repeat(&self, id: SourceId, source: &Source, ask: Ask) -> Option<Range<u32>> {
        let is_late = |index: u32| self.is_late(id, source, index, ask.now, ask.repeat_after);
        let late = self.asked.iter().filter(|(index, _)| is_late(**index));
        let (index, _) = late.min_by_key(|(_, asked)| asked.iter().map(|asked| asked.at).min())?;
        Some(*index..*index + 1)
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
