//! Which groups of a blob are asked of whom next. Neither waits nor looks at a clock nor rolls dice.
//!
//! # Why
//! - **What readers wait for comes first,** from wherever each of them is, in turns; a group that a reader waits for and
//!   that was asked of somebody slow is asked of another as well.
//! - **What nobody else has is asked of who has everything.** Of eight sites that fetch the same, each takes a share of
//!   its own from the one that has it, and the rest from the others, so that it sends little more than one copy. Who is
//!   done with its share, and sees that one is idle, goes on with what is next in rank for it and nobody has brought yet:
//!   shares aren't equal, and neither are links. What others have is asked of one that has everything only when nothing
//!   comes from anybody any more.
//! - **Who says that it has something must bring it.** What a source claims keeps others from being asked for it, so a
//!   claim counts only until something that was asked of it has been under way for too long; from then on it isn't asked
//!   for anything either, until something comes from it after all.
//! - **In the end whoever is idle repeats what has been under way longest,** so that one slow source doesn't decide when
//!   the last group comes. A group is under way from two sources at most.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::bits::{Bits, Side};
use super::share::Share;
use crate::engine::line::Urgency;

/// How far ahead of a reader is fetched for it before anything else.
const READ_AHEAD: u32 = 8;

/// Groups under way from one source at most.
pub const UNDER_WAY_MAX: usize = 64;

/// Sources that a group is asked of at once.
const ASKED_MAX: usize = 2;

/// How long a group may be under way from somebody before another is asked too: at least and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Patience as long as no rate is known.
const PATIENCE_UNKNOWN: Duration = Duration::from_secs(1);

/// How many times as long as a group asked of a source now would take one may be under way, if a reader waits for it.
const WAITS: u32 = 4;

/// How many times as long as groups typically are one may be under way, if nobody waits for it.
const TYPICAL_TIMES: u32 = 3;

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

#[derive(Default)]
struct Source {
    /// `None`: everything.
    has: Option<Bits>,
    /// Whether it said so itself.
    told: bool,
    under_way: usize,
    /// What was asked of it and it hasn't sent, though it may have come from another meanwhile.
    owed: usize,
    /// When it sent something last, or was asked while it owed nothing.
    heard_at: Duration,
    /// How long it may owe something without sending anything, as things were when it was last asked.
    silence_max: Duration,
}

impl Source {
    /// Whether it has owed something for so long without sending anything.
    fn is_stuck(&self, now: Duration) -> bool {
        self.owed > 0 && now.saturating_sub(self.heard_at) >= self.silence_max
    }

    fn paid(&mut self, now: Duration) {
        self.owed = self.owed.saturating_sub(1);
        self.heard_at = self.heard_at.max(now);
    }
}

/// What is asked of who has everything while others fetch the same blob.
struct Restraint {
    share: Share,
    /// Of these groups those that nobody else has.
    groups: Bits,
    reach: u8,
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
    /// What this node leaves to others; `None`: nothing.
    restraint: Option<Restraint>,
    /// Since when nothing has been under way from who has everything.
    idle_since: Option<Duration>,
    /// When the last group came.
    came_at: Duration,
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

impl Ask {
    /// How long a source is waited for follows from how long one group more is expected to take there (`None`: nothing
    /// came from it yet) and from how long groups of this blob typically take.
    pub fn of(most: u32, now: Duration, expected: Option<Duration>, typical: Duration, dice: Option<u32>) -> Ask {
        let patience = expected.map_or(PATIENCE_UNKNOWN, |wait| (wait * WAITS).clamp(PATIENCE.0, PATIENCE.1));
        let repeat_after = (typical * TYPICAL_TIMES).max(patience).min(PATIENCE.1);
        Ask { most, now, patience, repeat_after, dice }
    }
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
            restraint: None,
            idle_since: None,
            came_at: Duration::ZERO,
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
        self.sources.insert(source, Source::default());
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

    /// Whether a source has said what it has.
    pub fn has_told(&self, source: SourceId) -> bool {
        self.sources.get(&source).is_some_and(|source| source.told)
    }

    /// Others fetch the same blob: of who has everything, this node takes these groups first and leaves it the others.
    pub fn set_share(&mut self, share: Option<Share>) {
        self.restraint = share.map(|share| Restraint { groups: share.within(1), share, reach: 1 });
    }

    /// Notices that the others don't bring their shares: call it now and then, for each source.
    pub fn reconsider(&mut self, source: SourceId, ask: Ask) {
        let is_whole = |source: &Source| source.has.is_none();
        let Some(source) = self.sources.get(&source).filter(|source| is_whole(source)) else { return };
        if self.restraint.is_none() || source.under_way > 0 {
            self.idle_since = None;
            return;
        }
        let idle = ask.now.saturating_sub(*self.idle_since.get_or_insert(ask.now));
        if idle < ask.patience {
            return;
        }
        let stands_still = ask.now.saturating_sub(self.came_at);
        if self.reach_further(ask) {
            self.idle_since = None;
        } else if idle.min(stands_still) >= ask.patience.max(self.typical) {
            self.restraint = None;
        }
    }

    /// Takes on what others before this node haven't brought, as far as there is any; says whether there is. If nobody
    /// brings anything, it takes on all.
    fn reach_further(&mut self, ask: Ask) -> bool {
        let is_alone = !self.is_shared();
        let Some(mut restraint) = self.restraint.take() else { return false };
        let finds = loop {
            let mut others = self.claims(ask);
            others.push((&restraint.groups, Side::In));
            let finds = self.free.first(0..self.count, &others).is_some();
            if finds || restraint.reach == restraint.share.sharers() {
                break finds;
            }
            restraint.reach = if is_alone { restraint.share.sharers() } else { restraint.reach + 1 };
            restraint.groups = restraint.share.within(restraint.reach);
        };
        self.restraint = Some(restraint);
        finds
    }

    /// What others have that may be counted on.
    fn claims(&self, ask: Ask) -> Vec<(&Bits, Side)> {
        let sources = self.sources.values().filter(|source| !source.is_stuck(ask.now));
        sources.filter_map(|source| source.has.as_ref()).map(|has| (has, Side::Out)).collect()
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

    /// A group came from a source, was verified and is here.
    pub fn arrived(&mut self, index: u32, source: SourceId, now: Duration) {
        if let Some(source) = self.sources.get_mut(&source) {
            source.paid(now);
        }
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
            self.came_at = now;
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
            if source.owed == 0 {
                source.heard_at = ask.now;
            }
            source.silence_max = ask.repeat_after;
            source.under_way += task.groups.len();
            source.owed += task.groups.len();
        }
        Some(task)
    }

    fn choose(&self, id: SourceId, ask: Ask) -> Option<Task> {
        let source = self.sources.get(&id)?;
        let room = UNDER_WAY_MAX.saturating_sub(source.under_way);
        let most = ask.most.min(u32::try_from(room).unwrap_or(u32::MAX));
        if most == 0 || self.left == 0 || self.is_passed_over(source, ask.now) {
            return None;
        }
        let ask = Ask { most, ..ask };
        let urgent = self.for_readers(id, source, ask).map(|groups| Task { groups, urgency: Urgency::Urgent });
        let bulk = || self.in_order(source, ask).or_else(|| self.repeat(id, source, ask));
        urgent.or_else(|| bulk().map(|groups| Task { groups, urgency: Urgency::Bulk }))
    }

    /// Whether a source had better bring what it owes before it is asked for more, while there are others.
    fn is_passed_over(&self, source: &Source, now: Duration) -> bool {
        source.is_stuck(now) && self.sources.values().any(|other| !other.is_stuck(now))
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
        let mut wanted = self.claims(ask);
        // What is rare is taken one by one: beside it there may be what others have.
        let rare = |wanted: &[(&Bits, Side)]| around(wanted).map(|first| first..first + 1);
        if let Some(Restraint { groups, .. }) = &self.restraint {
            wanted.push((groups, Side::In));
            return rare(&wanted);
        }
        let any = || around(&[]).map(|first| self.run(source, first, self.count, ask.most));
        if wanted.is_empty() { any() } else { rare(&wanted).or_else(any) }
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
