//! Compaction: what was killed goes from the log, what is live keeps its proof.
//!
//! # Why
//! Nobody's absence holds anything back: a member that comes back after its missing segments were pruned compares states
//! instead (`reconcile`). The floor of a log is where it stops being whole; who wants something below it is told so.
//! Deletes stay longer than what they killed, for a signed delete says more than an absence.

use super::forks::Fork;
use super::io::{Event, Table, View, ViewFault};
use super::reconcile::live_entries;
use super::rows;
use super::state::{Replica, SpaceState, Work};
use crate::changelog::{Change, Header, Pruned, Stored, kind};
use crate::clock::Timestamp;
use crate::model::{Dot, Envelope, Heads, Incarnation, NodeId, Space};
use crate::trust::Role;

/// Segments looked at in one input.
const SEGMENTS_MAX: usize = 16;

/// A pass over the logs begins at most so often. Milliseconds.
const PASS_MS: u64 = 60 * 60 * 1000;

/// How long the log stays whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// A segment is left as it is for so long after it was written. Milliseconds.
    pub whole_ms: u64,
    /// Deletes are left in it for so long. Milliseconds.
    pub deletes_ms: u64,
}

impl Default for Retention {
    /// 30 days, and a year.
    fn default() -> Retention {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        Retention { whole_ms: 30 * DAY_MS, deletes_ms: 365 * DAY_MS }
    }
}

/// Where the present pass stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Compaction {
    /// The next row to look at; `None` between two passes.
    next: Option<Vec<u8>>,
    /// When the last pass began.
    began: Option<Timestamp>,
}

impl Replica {
    /// Once a second: looks at the next few segments, and prunes those of which half or more is dead.
    pub(super) fn compact<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        let began = self.compaction.began;
        let period = PASS_MS.min(self.retention.whole_ms);
        if self.compaction.next.is_none()
            && began.is_none_or(|began| work.now.ms_since(began) >= period || work.now < began)
        {
            // Federations come after the other spaces, and before what is kept for an upgrade.
            self.compaction = Compaction { next: Some(vec![3]), began: Some(work.now) };
        }
        let Some(from) = self.compaction.next.take() else { return Ok(()) };
        let page = work.draft.view().range(Table::Log, &from, &[4], SEGMENTS_MAX)?;
        for (key, value) in &page {
            let space = rows::space_from(key).ok_or_else(|| ViewFault("a log row has a broken key".into()))?;
            self.compact_one(work, &space, key, value)?;
        }
        if let Some((last, _)) = page.last().filter(|_| page.len() == SEGMENTS_MAX) {
            self.compaction.next = Some([last.as_slice(), &[0]].concat());
        }
        Ok(())
    }

    fn compact_one<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: &Space,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ViewFault> {
        let fault = |error| ViewFault(format!("a stored segment of {space} is unreadable: {error}"));
        let segment = Stored::read(value).map_err(fault)?;
        let header = segment.header().clone();
        let Some(state) = self.spaces.get(space) else { return Ok(()) };
        let (head, age_ms) = (state.heads.of(&header.incarnation), work.now.ms_since(header.written_at));
        let is_merging = self.merges.contains_key(space);
        if age_ms < self.retention.whole_ms || header.last_sequence() > head.sequence || is_merging {
            return Ok(());
        }
        if self.role() != Some(Role::Full) && !self.is_told_by_member(space, &header) {
            return Ok(());
        }
        let is_end = header.last_sequence() == head.sequence;
        let count = |pruned: &Pruned| pruned.entries().count();
        let all = segment.narrowed(|_| true);
        let live = live_entries(work, space, Stored::Pruned(all.clone()))?;
        let live: std::collections::BTreeSet<u32> = live.entries().map(|(index, _)| index).collect();
        let keeps_deletes = age_ms < self.retention.deletes_ms;
        let stays: std::collections::BTreeSet<u32> = all
            .entries()
            .filter(|(index, entry)| {
                live.contains(index) || is_kept(entry.kind, keeps_deletes) || names_fork(state, entry)
            })
            .map(|(index, _)| index)
            .collect();
        let (before, after) = (count(&all), stays.len());
        let stays_bare = is_end || speaks_of_fork(state, &header);
        if 2 * after > before || before == 0 && stays_bare {
            return Ok(());
        }
        if after == 0 && !stays_bare {
            work.draft.remove(Table::Log, key.to_vec());
        } else {
            let left = all.narrowed(|index| stays.contains(&index));
            work.draft.set_bytes(Table::Log, key.to_vec(), left.to_bytes());
        }
        self.raise_floor(work, space, &header.incarnation, header.last_sequence());
        work.note(Event::Pruned { space: *space, entries: (before - after) as u64 });
        Ok(())
    }

    /// Whether a full member said that it has applied a segment. Nobody takes over a follower's state, so what it alone
    /// has heard must stay whole in its log until a member has it.
    fn is_told_by_member(&self, space: &Space, header: &Header) -> bool {
        let is_full = |node: &NodeId| {
            self.trust.as_ref().and_then(|trust| trust.good(node)).is_some_and(|member| member.role() == Role::Full)
        };
        let has = |heads: &Heads| heads.of(&header.incarnation).sequence >= header.last_sequence();
        self.peers.iter().any(|(node, peer)| is_full(node) && peer.heads.get(space).is_some_and(has))
    }

    fn raise_floor<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: &Space,
        incarnation: &Incarnation,
        sequence: u64,
    ) {
        let Some(state) = self.spaces.get_mut(space) else { return };
        let floor = state.floors.entry(*incarnation).or_default();
        if *floor < sequence {
            *floor = sequence;
            work.draft.set(Table::Meta, rows::floor_key(space, incarnation), &sequence);
        }
    }
}

/// Whether an entry names a number of a forked life: it says the same of a version that is yet to come.
fn names_fork(state: &SpaceState, entry: &Envelope) -> bool {
    let is_twice = |dot: &Dot| state.forks.contains_key(&dot.incarnation);
    if state.forks.is_empty() {
        return false;
    }
    match Change::read(entry) {
        Ok(Change::Put(put)) => put.kills.iter().any(is_twice),
        Ok(Change::Delete(delete)) => delete.kills.iter().any(is_twice),
        Ok(Change::EditProperties(edit)) => is_twice(&edit.version),
        Ok(Change::DeletePrefix(_)) => true,
        _ => false,
    }
}

/// Whether a header tells of a forked life: that its author had seen some of it, for what it deleted by prefix later goes by
/// that; or which branch was applied.
fn speaks_of_fork(state: &SpaceState, header: &Header) -> bool {
    let is_of_branch = |fork: &Fork| header.last_sequence() >= fork.sequence();
    state.forks.get(&header.incarnation).is_some_and(is_of_branch)
        || header.context.0.keys().any(|life| state.forks.contains_key(life))
}

/// Whether an entry that is no part of a live version stays all the same: what makes the federation (who was removed or left
/// is shown that entry, however late it comes back: `farewell`), kinds of a later version, and deletes for their time.
fn is_kept(entry: u16, keeps_deletes: bool) -> bool {
    match entry {
        kind::PUT | kind::FOLDER | kind::PROPERTIES => false,
        kind::DELETE | kind::DELETE_PREFIX => keeps_deletes,
        _ => true,
    }
}
