//! A state sync away from a branch that lost, where logs aren't whole and nothing can be applied again.
//!
//! ```text
//!  astray     heads here: common | lost branch of L ────┐        source: common | winner of L, or L not so far
//!  stage      what the source has counts as news, however far the heads here reach: the lost branch may have ended it
//!  aside      the lost segments leave the log; what was this node's own and live among them is remembered
//!  commit     what the source covers and hasn't goes, and whatever bears a lost number; what it has comes
//!  heads      L's from the source, though it isn't greater; what this node has beyond the source is applied again
//! ```
//!
//! # Why
//! Which version a lost entry ended, and who else did, can't be told from a log that isn't whole. The source can: its state
//! is what all entries that it has applied make of each path, and the lost ones are none of them. So its state is taken
//! as it is; and what this node has applied beyond the source's heads (mostly seconds old, and therefore whole in the
//! log) is applied on top, causes before effects, by the numbers that it names. Where even that was pruned here, its live
//! versions stay, and what it may have ended stays dead: all that was applied here and isn't live, unless the history says
//! that the lost branch ended it. In doubt a version that somebody ended in either branch is gone, rather than one that was
//! deleted back. What this node knew of members and settings stays, too.
//!
//! Who stands on a lost branch, or may, shows its state to nobody who doesn't ([`Replica::misleads`]): its absences may be
//! the lost branch's work. Members that all stand on it agree with each other, until somebody brings the other one.
//!
//! Where nobody stands right, somebody must be gone by all the same: after [`STUCK_TICKS`] a member shows its state to those
//! whose names are greater than its own, and to those who have nothing of what parts there: they stand nowhere, and would
//! stay behind for ever. Who takes it over stands on the lost branch, too, and knows it: both follow as soon as
//! somebody comes who stands right.
//!
//! Who can't tell which branch it took over goes by whoever differs from it; should that one not know either, they are
//! stuck, and the greater name goes by the lesser.
//!
//! Words that had seen what nothing proved to be a branch can't be stood by once that was left. A proof that comes later
//! lets them stand again: what is built on a branch counts by its numbers.

use super::super::apply::{Entry, Stop};
use super::super::draft::stored;
use super::super::forks::Astray;
use super::super::io::{Event, Table, View, ViewFault};
use super::super::ledger::{self, Cause};
use super::super::rows;
use super::super::state::{Replica, Work, each_row, stored_part};
use super::super::take_back::{Again, Run, collect_runs, fold_membership, path_of};
use super::super::versions::{apply_delete, apply_edit, sweep};
use super::commit::{LogRow, taken_over};
use super::merge::Why;
use super::source::segment_at;
use crate::catalog::{End, Ended, Federation, Membership, Put, Version};
use crate::changelog::{Change, entry_hash};
use crate::model::{ArtifactPath, Context, Digest, Dot, Head, Heads, Incarnation, NodeId, Space};
use crate::trust::Role;

/// A member that stands on a lost branch shows its state only when it has met nobody who doesn't for so long.
const STUCK_TICKS: u32 = 5;

/// What this node has applied beyond a source.
pub(super) struct Surplus {
    entries: Vec<Again>,
    /// Whether all of it is in the log.
    is_whole: bool,
}

impl Replica {
    /// Whether a version's number is one that this node can't stand by.
    pub(super) fn is_lost(&self, space: &Space, dot: &Dot) -> bool {
        let astray = self.spaces.get(space).and_then(|state| state.astray.get(&dot.incarnation));
        astray.is_some_and(|astray| dot.sequence >= astray.from)
    }

    /// Heads here; for who leaves a branch, as far as it stands by them.
    pub(super) fn sound_heads(&self, space: &Space, why: Why) -> Heads {
        let mut heads = self.heads(space);
        if let Some(state) = self.spaces.get(space).filter(|_| why == Why::Branch) {
            for (life, astray) in &state.astray {
                if let Some(head) = heads.0.get_mut(life).filter(|head| head.sequence >= astray.from) {
                    *head = Head { sequence: astray.from - 1, chain: Digest::ZERO };
                }
            }
            heads.0.retain(|_, head| head.sequence > 0);
        }
        heads
    }

    /// Whether what is missing here may have been ended by what may be a lost branch, and `peer` doesn't stand on the same.
    /// A follower goes by members, wherever they stand.
    pub(super) fn misleads(&self, space: &Space, peer: &NodeId) -> bool {
        let Some(state) = self.spaces.get(space) else { return false };
        if self.trust.as_ref().and_then(|trust| trust.good(peer)).is_some_and(|member| member.role() == Role::Edge) {
            return false;
        }
        let told = self.peers.get(peer).and_then(|peer| peer.heads.get(space)).filter(|told| !told.0.is_empty());
        let Some(told) = told else { return false };
        let is_stuck = self.stuck.get(space).is_some_and(|ticks| *ticks >= STUCK_TICKS);
        let differs = |(life, astray): (&Incarnation, &Astray)| {
            let theirs = told.of(life);
            let is_shown = is_stuck && (*peer > self.me.node || theirs.sequence < astray.from);
            theirs != state.heads.of(life) && !is_shown
        };
        state.astray.iter().any(differs)
    }

    /// Whether somebody with these heads has what parts here, and not the same as this node beyond, or what that had seen.
    pub(super) fn shows_the_way(&self, space: &Space, heads: &Heads) -> bool {
        let Some(state) = self.spaces.get(space) else { return false };
        state.astray.iter().all(|(life, astray)| {
            let theirs = heads.of(life);
            theirs.sequence + 1 >= astray.from && (theirs.sequence < astray.from || theirs != state.heads.of(life))
                || self.founds(space, life, heads)
        })
    }

    /// Whether somebody with these heads has the same words of a life that can't be stood by here only because what they had
    /// seen was left; and that as well, as far as it can be had.
    fn founds(&self, space: &Space, life: &Incarnation, heads: &Heads) -> bool {
        let Some(state) = self.spaces.get(space) else { return false };
        let knew = state.known.get(life).map(|(context, _)| context);
        // Of a life that is known by now to have been lived twice what they had seen counts by its number.
        let has = |(seen, last): (&Incarnation, &u64)| heads.of(seen).sequence >= *last || self.is_forked(space, seen);
        let is_founded = |knew: &Context| !state.heads.cover_context(knew) && knew.0.iter().all(has);
        heads.of(life) == state.heads.of(life) && !self.is_forked(space, life) && knew.is_some_and(is_founded)
    }

    /// Stands again by words that a source has, and what they had seen.
    pub(super) fn stand_again<V: View>(&mut self, work: &mut Work<'_, V>, space: Space, heads: &Heads) {
        let Some(state) = self.spaces.get(&space) else { return };
        let founded = state.astray.keys().filter(|life| self.founds(&space, life, heads));
        for life in founded.copied().collect::<Vec<_>>() {
            self.spaces.entry(space).or_default().astray.remove(&life);
            work.draft.remove(Table::Meta, rows::life_key(rows::ASTRAY, &space, &life));
        }
    }

    /// Once a second: who can't take a branch back itself takes a member's state, best of one that has all else that is here.
    pub(in super::super) fn leave_astray<V: View>(&mut self, work: &mut Work<'_, V>, dice: u64) {
        let astray = self.spaces.iter().filter(|(_, state)| !state.astray.is_empty() && state.federation.is_some());
        let spaces: Vec<Space> = astray.map(|(space, _)| *space).collect();
        self.stuck.retain(|space, _| spaces.contains(space));
        for space in spaces {
            if self.source_of(&space, None).is_some() {
                let ticks = self.stuck.entry(space).or_default();
                *ticks = ticks.saturating_add(1);
            }
            let sound = self.sound_heads(&space, Why::Branch).to_context();
            let told = |node: &NodeId| self.peers.get(node).and_then(|peer| peer.heads.get(&space));
            let may = |node: &&NodeId| {
                self.source_of(&space, Some(**node)).is_some()
                    && told(node).is_some_and(|heads| self.shows_the_way(&space, heads))
            };
            let sources: Vec<NodeId> = self.peers.keys().filter(may).copied().collect();
            let covers = |node: &&NodeId| told(node).is_some_and(|heads| heads.cover_context(&sound));
            let best: Vec<NodeId> = sources.iter().filter(covers).copied().collect();
            let choice = if best.is_empty() { sources } else { best };
            if !choice.is_empty() {
                let source = choice[(dice % choice.len() as u64) as usize];
                self.begin_merge(work, space, source, Why::Branch);
            }
        }
    }

    /// Whether who leaves a branch leaves a version dead that the source has: what ended it isn't of the branch, or may not be.
    pub(super) fn stays_ended<V: View>(
        &self,
        work: &Work<'_, V>,
        space: &Space,
        path: &ArtifactPath,
        dot: &Dot,
        theirs: &Heads,
    ) -> Result<bool, ViewFault> {
        let sound = self.sound_heads(space, Why::Branch);
        let by = ledger::find(&work.draft, space, path, dot)?.and_then(|historic| historic.ended.dot);
        Ok(match by {
            Some(by) => !self.is_lost(space, &by) && !theirs.cover(&by),
            None => sound.cover(dot) && !self.is_whole_beyond(space, &sound, theirs),
        })
    }

    /// Whether all that goes beyond these heads is in the log.
    fn is_whole_beyond(&self, space: &Space, sound: &Heads, theirs: &Heads) -> bool {
        let floors = self.spaces.get(space).map(|state| &state.floors);
        let floor = |life: &Incarnation| floors.and_then(|floors| floors.get(life)).copied().unwrap_or_default();
        sound.0.iter().all(|(life, head)| {
            let end = theirs.of(life).sequence;
            head.sequence <= end || floor(life) <= end
        })
    }

    /// Whether this node knows by which entry a version ended: then it wasn't lost here, whatever a source shows.
    pub(super) fn is_known_dead<V: View>(
        &self,
        work: &Work<'_, V>,
        space: &Space,
        path: &ArtifactPath,
        dot: &Dot,
    ) -> Result<bool, ViewFault> {
        let by = ledger::find(&work.draft, space, path, dot)?.and_then(|historic| historic.ended.dot);
        // A word of a life that was lived twice may have been taken back since.
        Ok(by.is_some_and(|by| self.heads(space).cover(&by) && !self.is_forked(space, &by.incarnation)))
    }

    /// Takes the lost segments out of the log, and remembers what was this node's own and live there.
    pub(super) fn set_branches_aside<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
    ) -> Result<(), ViewFault> {
        let mut number = unwritten(work, &space)?;
        for (incarnation, astray) in self.spaces[&space].astray.clone() {
            let from = astray.from;
            let (low, high) =
                (rows::segment_key(&space, &incarnation, from), rows::segment_key(&space, &incarnation, u64::MAX));
            for (key, value) in work.draft.range(Table::Log, &low, &high, usize::MAX)? {
                let part = stored_part(&space, &value)?;
                let aside = rows::taken_back_key(&space, &incarnation, part.header().first_sequence, &part.hash());
                work.draft.set_bytes(Table::Log, aside, value);
                work.draft.remove(Table::Log, key);
                if incarnation.node != self.me.node {
                    continue;
                }
                let all = part.narrowed(|_| true);
                for (index, envelope) in all.entries() {
                    let Ok(Change::Put(Put { path, .. })) = Change::read(envelope) else { continue };
                    let live = work.draft.versions(&space, &path)?;
                    let dot = all.header.dot(index as usize);
                    if let Some(version) = live.iter().find(|version| version.dot == dot).cloned() {
                        work.draft.set(Table::Meta, again_key(&space, number), &rows::Unwritten { path, version });
                        number += 1;
                    }
                }
            }
            let entries = (self.heads(&space).of(&incarnation).sequence + 1).saturating_sub(from);
            work.note(Event::TakenBack { space, incarnation, from, entries });
            self.forget_kept(work, space, incarnation)?;
        }
        Ok(())
    }

    /// Makes room for a version that the source has: what bears its number here goes, whatever it is.
    pub(super) fn clear_place<V: View>(
        &self,
        work: &mut Work<'_, V>,
        space: &Space,
        path: &ArtifactPath,
        dot: &Dot,
        entry: &Digest,
    ) -> Result<(), ViewFault> {
        let before = work.draft.versions(space, path)?;
        let mut after = before.clone();
        let gone = after.kill(&[*dot]);
        match gone.first() {
            None => Ok(()),
            // The same version comes back in a moment, with the source's properties.
            Some(version) if version.entry == *entry => work.draft.set_versions(space, path, &before, &after),
            Some(_) => taken_over(work, space, path, &before, &after),
        }
    }

    /// What of the log goes beyond the source's heads, causes before effects. To be asked before those are taken over.
    pub(super) fn surplus<V: View>(&self, work: &Work<'_, V>, space: Space) -> Result<Surplus, ViewFault> {
        let (mut runs, mut is_whole) = (Vec::new(), true);
        for (incarnation, head) in self.sound_heads(&space, Why::Branch).0 {
            let theirs = work.draft.get(Table::Meta, &rows::merge_log_key(&space, &incarnation))?;
            let theirs: Option<LogRow> = theirs.map(|value| stored(&value)).transpose()?;
            let nothing = || (Head { sequence: 0, chain: Digest::ZERO }, Context::default(), Context::default());
            let (end, context, needs) = theirs.unwrap_or_else(nothing);
            if head.sequence <= end.sequence {
                continue;
            }
            let floor = self.spaces[&space].floors.get(&incarnation).copied().unwrap_or_default();
            is_whole &= floor <= end.sequence;
            runs.push(Run { incarnation, first: end.sequence + 1, last: head.sequence, context, needs });
        }
        Ok(Surplus { entries: collect_runs(work, space, runs, |_| true)?, is_whole })
    }

    /// Applies again what this node has beyond the state that it took over. The federation is the source's by now; `own` is
    /// what it was here.
    pub(super) fn build_on<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        surplus: &Surplus,
        (own, theirs): (Option<&Federation>, &Heads),
    ) -> Result<(), ViewFault> {
        for entry in &surplus.entries {
            match self.apply_again(work, space, entry, surplus.is_whole) {
                // Refused: it was verified when it was first applied.
                Ok(()) | Err(Stop::Refused(_)) => {}
                Err(Stop::Fault(fault)) => return Err(fault),
            }
        }
        let astray = self.spaces.get(&space).map(|state| state.astray.clone()).unwrap_or_default();
        let is_lost = |dot: &Dot| astray.get(&dot.incarnation).is_some_and(|astray| dot.sequence >= astray.from);
        if let Some(federation) = self.spaces.get_mut(&space).and_then(|state| state.federation.as_mut()) {
            fold_membership(federation, &surplus.entries);
            if let Some(own) = own.filter(|_| !surplus.is_whole) {
                // Of what was taken over earlier the log holds what is live, and no word of members and settings.
                federation.merge_some(own, |dot| !theirs.cover(dot) && !is_lost(dot));
            }
        }
        for path in surplus.entries.iter().filter_map(|entry| path_of(&entry.change)) {
            ledger::tidy(&mut work.draft, &space, path, work.now)?;
        }
        let state = self.spaces.entry(space).or_default();
        for life in std::mem::take(&mut state.astray).into_keys() {
            work.draft.remove(Table::Meta, rows::life_key(rows::ASTRAY, &space, &life));
        }
        Ok(())
    }

    /// Whoever took over what is known to be of a lost branch stands there, as its source does.
    pub(super) fn note_lost_branches<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
    ) -> Result<(), ViewFault> {
        let forks: Vec<(Incarnation, u64)> =
            self.spaces[&space].forks.iter().map(|(life, fork)| (*life, fork.sequence())).collect();
        for (incarnation, from) in forks {
            let sequence = self.heads(&space).of(&incarnation).sequence;
            let end = segment_at(work.draft.view(), &space, &Dot { incarnation, sequence })?;
            if end.is_some_and(|end| self.is_on_lost_branch(end.header(), &end.hash())) {
                self.go_astray(work, space, incarnation, Astray { from, is_lost: true });
            }
        }
        Ok(())
    }

    /// Whoever left what nothing proves to be a branch can't stand by words of authors that had seen it: nobody else will
    /// ever apply those. Its own are written again, in another life; unless a member that is gone by has both.
    pub(super) fn note_unfounded<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        theirs: &Heads,
    ) -> Result<(), ViewFault> {
        for (incarnation, head) in self.heads(&space).0 {
            let end = theirs.of(&incarnation).sequence;
            let knew = self.spaces[&space].known.get(&incarnation).map(|(context, _)| context);
            if head.sequence <= end || knew.is_none_or(|knew| self.covers(&space, knew)) {
                continue;
            }
            let mut low = rows::segment_key(&space, &incarnation, end + 1);
            let high = rows::segment_key(&space, &incarnation, head.sequence.saturating_add(1));
            let mut from = None;
            while let Some((key, value)) = work.draft.range(Table::Log, &low, &high, 1)?.pop() {
                low = [&key[..], &[0]].concat();
                let part = stored_part(&space, &value)?;
                if !self.covers(&space, &part.header().context) {
                    from = Some(part.header().first_sequence);
                    break;
                }
            }
            if incarnation == self.incarnation {
                self.live_anew(work, &head.chain);
            }
            let from = from.unwrap_or(end + 1);
            self.go_astray(work, space, incarnation, Astray { from, is_lost: false });
        }
        Ok(())
    }

    fn apply_again<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        again: &Again,
        is_whole: bool,
    ) -> Result<(), Stop> {
        let Again { dot, envelope, change, context, needs, .. } = again;
        let hash = entry_hash(envelope);
        // Headers that said what its author had seen may be pruned: it had seen what it names.
        let mut context = context.clone();
        named(change).iter().for_each(|of| context.merge(&Context([(of.incarnation, of.sequence)].into())));
        let entry = Entry { dot: *dot, hash, envelope, context: &context, needs };
        match change {
            Change::Put(put) if is_whole || self.lives_on(work, &space, put, dot)? => {
                self.apply_put(work, space, &entry, put)
            }
            // Who ended it was pruned: what it replaced stays replaced all the same.
            Change::Put(put) => {
                let before = work.draft.versions(&space, &put.path)?;
                let mut after = before.clone();
                after.kill(&put.kills);
                let (how, by) = (End::Replaced, put.modified_by.clone());
                let ended = Ended { how, dot: Some(*dot), by, timestamp: put.timestamp, at: work.now };
                let cause = Cause { ended, age: work.age, saw: &|dot| entry.saw(dot) };
                Ok(ledger::change(&mut work.draft, &space, &put.path, &before, &after, &cause)?)
            }
            Change::Delete(delete) => apply_delete(work, space, &entry, delete),
            Change::EditProperties(edit) => apply_edit(work, space, &entry, edit),
            Change::DeletePrefix(delete) => sweep(work, space, &entry, delete, |_| true),
            _ => Ok(()),
        }
    }

    /// Whether a version is live, or would be but for a lost branch.
    fn lives_on<V: View>(&self, work: &Work<'_, V>, space: &Space, put: &Put, dot: &Dot) -> Result<bool, ViewFault> {
        if work.draft.versions(space, &put.path)?.iter().any(|version| version.dot == *dot) {
            return Ok(true);
        }
        let by = ledger::find(&work.draft, space, &put.path, dot)?.and_then(|historic| historic.ended.dot);
        Ok(by.is_some_and(|by| self.is_lost(space, &by)))
    }

    /// Words that end a life aren't among what a state says. Whoever writes in another life and knew of a forked one has
    /// ended that.
    pub(super) fn note_ended_lives<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) {
        let Some(state) = self.spaces.get_mut(&space) else { return };
        for old in state.forks.keys().filter(|old| !state.ended.contains(old)).copied().collect::<Vec<_>>() {
            let knew = |(life, (context, _)): &(&Incarnation, &(Context, Context))| {
                life.node == old.node && **life != old && context.0.contains_key(&old)
            };
            if let Some((life, _)) = state.known.iter().find(knew) {
                let dot = Dot { incarnation: *life, sequence: state.heads.of(life).sequence };
                work.draft.set(Table::Meta, rows::life_key(rows::ENDED, &space, &old), &dot);
                state.ended.insert(old);
            }
        }
    }

    /// After such a sync: what was this node's own is put again in its present life, which says that the old one has ended.
    /// Not while there is more to leave: it would say that it has seen that.
    pub(super) fn begin_again<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        if self.spaces.get(&space).is_some_and(|state| !state.astray.is_empty()) {
            return Ok(());
        }
        self.write_unwritten(work, space)?;
        self.own_forks(&space).into_iter().try_for_each(|life| self.state_rebirth(work, space, life))
    }

    /// Remembers own versions that went with a branch, until this node is a member again.
    pub(in super::super) fn write_later<V: View>(
        &self,
        work: &mut Work<'_, V>,
        space: Space,
        versions: Vec<(ArtifactPath, Version)>,
    ) -> Result<(), ViewFault> {
        for (number, (path, version)) in (unwritten(work, &space)?..).zip(versions) {
            work.draft.set(Table::Meta, again_key(&space, number), &rows::Unwritten { path, version });
        }
        Ok(())
    }

    /// Once a second: who is a member again puts what it couldn't before, and who won't be forgets it.
    pub(in super::super) fn write_what_waits<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
    ) -> Result<(), ViewFault> {
        let membership = self.federation(&space).and_then(|federation| federation.members.get(&self.me.node));
        let is_astray = self.spaces.get(&space).is_some_and(|state| !state.astray.is_empty());
        let waits = is_astray || membership.is_some_and(Membership::is_pending) || self.merges.contains_key(&space);
        if waits { Ok(()) } else { self.write_unwritten(work, space) }
    }

    fn write_unwritten<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let mut versions = Vec::new();
        let mut keys = Vec::new();
        each_row(&work.draft, Table::Meta, &again_prefix(&space), |key, value| {
            let rows::Unwritten { path, version } = stored(value)?;
            versions.push((path, version));
            keys.push(key.to_vec());
            Ok(())
        })?;
        keys.into_iter().for_each(|key| work.draft.remove(Table::Meta, key));
        self.write_again(work, space, versions)
    }
}

/// The versions that an entry names.
fn named(change: &Change) -> &[Dot] {
    match change {
        Change::Put(put) => &put.kills,
        Change::Delete(delete) => &delete.kills,
        Change::EditProperties(edit) => std::slice::from_ref(&edit.version),
        _ => &[],
    }
}

/// How many own versions wait to be written again, which is the next one's number: they go all at once.
fn unwritten<V: View>(work: &Work<'_, V>, space: &Space) -> Result<u32, ViewFault> {
    let mut count = 0;
    each_row(&work.draft, Table::Meta, &again_prefix(space), |_, _| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

fn again_prefix(space: &Space) -> Vec<u8> {
    [rows::AGAIN, &space.key()].concat()
}

fn again_key(space: &Space, number: u32) -> Vec<u8> {
    [&again_prefix(space)[..], &number.to_be_bytes()].concat()
}
