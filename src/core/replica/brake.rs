//! The brake on mass deletes: what one author ends of a repository in a short time, beyond a bound, waits for an operator.
//!
//! # Why
//! A thief with one key, or a script with a wrong prefix, could empty a repository at every site within seconds. Held
//! segments aren't applied and aren't acknowledged; they are fetched again when the operator lets them through. That one
//! site holds what another has applied only delays: equal heads still mean equal states. The time is the author's own, by
//! what its segments say of it, so that a site that was away for a week doesn't take a week's work for a burst; an author
//! who lies about it is for revocation, not for the brake.
//!
//! What this doesn't cover: a state that is taken over (`reconcile`) is taken over whole, with all that ended in it, for it
//! doesn't say who ended what. That happens to who was away for so long that the logs were pruned meanwhile, and to who
//! held something for so long: a hold is a month's time to think, not a veto. The operator is told ([`Event::TookOver`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::apply::Stop;
use super::author::{Failure, receipt};
use super::draft::stored;
use super::io::{CommandError, Event, Receipt, Refusal, Table, View, ViewFault};
use super::receive::Taken;
use super::rows;
use super::state::{Replica, Work};
use crate::changelog::Header;
use crate::clock::Timestamp;
use crate::model::{Dot, Incarnation, NodeId, RepoKey, Space};

const MINUTE_MS: u64 = 60_000;

/// The most minutes of an author's doings that are remembered, the latest.
const MINUTES_MAX: usize = 32;

/// What an author ended lately.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Burst {
    /// How many paths, by the minute in which its segments say they were written.
    minutes: BTreeMap<u64, u64>,
    /// What it wrote up to then is let through.
    released: Timestamp,
}

impl Burst {
    fn around(&self, written: Timestamp, burst_ms: u64) -> u64 {
        let (from, to) =
            (written.0.saturating_sub(burst_ms) / MINUTE_MS, written.0.saturating_add(burst_ms) / MINUTE_MS);
        self.minutes.range(from..=to).map(|(_, paths)| paths).sum()
    }

    fn add(&mut self, written: Timestamp, paths: u64) {
        *self.minutes.entry(written.0 / MINUTE_MS).or_default() += paths;
        while self.minutes.len() > MINUTES_MAX {
            self.minutes.pop_first();
        }
    }
}

/// An author whose segments wait for an operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// Whose.
    pub author: NodeId,
    /// When this node first held one, by its wall clock.
    pub since: Timestamp,
    /// How many paths it would have ended or overwritten, the first segment that was held included.
    pub paths: u64,
    /// How many it may.
    pub allowed: u64,
    /// When the latest segment that was held was written, as its author says.
    written: Timestamp,
    /// The log that stands still, the latest if there are several.
    incarnation: Incarnation,
}

/// The authors that are held in a space.
pub fn holds(view: &impl View, space: &Space) -> Result<Vec<Hold>, ViewFault> {
    let first = rows::hold_key(space, &[]);
    let page = view.range(Table::Meta, &first, &rows::end_of(&first), usize::MAX)?;
    page.iter().map(|(_, value)| stored(value)).collect()
}

impl Replica {
    /// Refuses, for now, a segment whose entries were just applied, if it ends too much.
    pub(super) fn brake<V: View>(&self, work: &mut Work<'_, V>, header: &Header) -> Result<(), Stop> {
        let (space, author, written) = (header.space, header.incarnation.node, header.written_at);
        let ended = work.draft.ended();
        // A space that no repository shows is nobody's here to release, and shows nobody that anything is gone.
        let is_exempt = author == self.me.node || self.repository_of(&space).is_none() || self.completes(header);
        if ended == 0 || is_exempt {
            return Ok(());
        }
        let joined = work.draft.get(Table::Meta, &rows::joined_key(&space))?;
        let joined: Timestamp = joined.map_or(Ok(Timestamp::default()), |value| stored(&value))?;
        let key = rows::burst_key(&space, &author);
        let burst = work.draft.get(Table::Meta, &key)?;
        let mut burst: Burst = burst.map_or(Ok(Burst::default()), |value| stored(&value))?;
        if written <= burst.released || written.ms_since(joined) <= self.limits.burst_ms && joined.0 > 0 {
            return Ok(());
        }
        let paths = burst.around(written, self.limits.burst_ms) + ended;
        let allowed = self.allowed(work, &space, paths)?;
        if paths > allowed {
            return Err(Stop::Refused(Refusal::Held { author, paths, allowed }));
        }
        burst.add(written, ended);
        work.draft.set(Table::Meta, key, &burst);
        Ok(())
    }

    /// Whether a segment belongs to a state that was taken over: what is live there lacks already what this one ends, or is
    /// no state at all without it.
    fn completes(&self, header: &Header) -> bool {
        let until = self.catching_up.get(&header.space).map(|(until, _)| until);
        until.is_some_and(|until| until.cover(&header.dot(0)))
    }

    /// How many paths may end at a time in a space that had `paths` more.
    fn allowed<V: View>(&self, work: &Work<'_, V>, space: &Space, paths: u64) -> Result<u64, ViewFault> {
        let all = work.draft.live_paths(space)? + paths;
        Ok(self.limits.burst_least.max(all * self.limits.burst_percent / 100))
    }

    /// A state was taken over, and `paths` ended by that: nothing is held back of it, but the operator is told when it is
    /// more than the brake lets one author end. What is held still says so again.
    pub(super) fn watch_takeover<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        source: NodeId,
        paths: u64,
    ) -> Result<(), ViewFault> {
        let first = rows::hold_key(&space, &[]);
        for (row, _) in work.draft.range(Table::Meta, &first, &rows::end_of(&first), usize::MAX)? {
            work.draft.remove(Table::Meta, row);
        }
        let allowed = self.allowed(work, &space, paths)?;
        if paths > allowed {
            work.note(Event::TookOver { space, source, paths, allowed });
        }
        Ok(())
    }

    /// Whether this very log is held.
    pub(super) fn is_held<V: View>(&self, work: &Work<'_, V>, header: &Header) -> Result<bool, ViewFault> {
        let key = rows::hold_key(&header.space, &header.incarnation.node.0);
        let hold: Option<Hold> = work.draft.get(Table::Meta, &key)?.map(|value| stored(&value)).transpose()?;
        Ok(hold.is_some_and(|hold| hold.incarnation == header.incarnation))
    }

    /// A segment was applied: its log isn't held any more, whatever it was that let it through.
    pub(super) fn end_hold<V: View>(&self, work: &mut Work<'_, V>, header: &Header) -> Result<(), ViewFault> {
        if self.is_held(work, header)? {
            work.draft.remove(Table::Meta, rows::hold_key(&header.space, &header.incarnation.node.0));
        }
        Ok(())
    }

    /// Notes that a segment is held.
    pub(super) fn hold<V: View>(
        &self,
        work: &mut Work<'_, V>,
        header: &Header,
        paths: u64,
        allowed: u64,
    ) -> Result<Taken, ViewFault> {
        let (space, author, written) = (header.space, header.incarnation.node, header.written_at);
        let key = rows::hold_key(&space, &author.0);
        let before: Option<Hold> = work.draft.get(Table::Meta, &key)?.map(|value| stored(&value)).transpose()?;
        let incarnation = header.incarnation;
        let mut hold = before.clone().unwrap_or(Hold { author, since: work.now, paths, allowed, written, incarnation });
        hold.written = hold.written.max(written);
        hold.incarnation = incarnation;
        if before.as_ref() != Some(&hold) {
            work.draft.set(Table::Meta, key, &hold);
        }
        if before.is_none() {
            work.note(Event::Held { space, author, paths, allowed });
        }
        Ok(Taken::Refused(Refusal::Held { author, paths, allowed }))
    }

    /// This node begins to hold a space: what was done there before is no burst to it.
    pub(super) fn begin_space<V: View>(&self, work: &mut Work<'_, V>, space: &Space) {
        let now = work.now;
        if matches!(space, Space::Federation(_)) {
            work.draft.set(Table::Meta, rows::joined_key(space), &now);
        }
    }

    /// Lets through what is held of one author, or of all.
    pub(super) fn release<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        author: Option<NodeId>,
    ) -> Result<Receipt, Failure> {
        let missing = || CommandError::NoRepository(key.clone());
        let space = self.repositories.get(&key.folded()).ok_or_else(missing)?.space;
        let first = rows::hold_key(&space, &[]);
        let page = work.draft.range(Table::Meta, &first, &rows::end_of(&first), usize::MAX).map_err(Failure::Fault)?;
        let mut is_any = false;
        for (row, value) in page {
            let hold: Hold = stored(&value).map_err(Failure::Fault)?;
            if author.is_some_and(|author| author != hold.author) {
                continue;
            }
            is_any = true;
            // All of this burst, though not the next: the author may still be at it, and its clock may be ahead.
            let through = hold.written.max(work.now).0.saturating_add(self.limits.burst_ms);
            let burst = Burst { minutes: BTreeMap::new(), released: Timestamp(through) };
            work.draft.set(Table::Meta, rows::burst_key(&space, &hold.author), &burst);
            work.draft.remove(Table::Meta, row);
        }
        if !is_any {
            return Err(CommandError::NothingHeld(key.clone()).into());
        }
        // Whoever brought it in vain may bring it now, and it may be here.
        self.kept_untried = true;
        self.wishes.remove(&space);
        self.peers.values_mut().for_each(|peer| {
            peer.spent.remove(&space);
        });
        let dot = Dot { incarnation: self.incarnation, sequence: 0 };
        Ok(receipt(work.now, dot, space))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_a_burst_is_what_it_was() {
        let burst = Burst { minutes: BTreeMap::from([(28_333_333, 5), (28_333_334, 300)]), released: Timestamp(7) };
        let golden = include_bytes!("../../../tests/golden/core/row-burst.bin");
        assert_eq!(rows::write(&burst), golden);
        assert_eq!(rows::read::<Burst>(golden).expect("read for ever"), burst);
    }
}
