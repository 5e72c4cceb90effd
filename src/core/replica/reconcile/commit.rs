//! The asker's end: what is staged becomes visible, a bounded step at a time, and then the source's heads are taken over.
//!
//! That it was begun is a row, written before anything changes; after a crash every pass is begun anew, and comes to the
//! same. Meanwhile nobody writes in the space, and nothing of its logs is applied.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::super::draft::stored;
use super::super::farewell::endings_in;
use super::super::io::{Event, Output, Refusal, Table, View, ViewFault};
use super::super::ledger::{self, Cause};
use super::super::rows;
use super::super::state::{Replica, Work, each_row};
use super::super::trie::Item;
use super::merge::{Commit, DifferenceKind, Merge, MergeProgress, Pass, Step, Why};
use super::proof;
use super::source::live_entries;
use crate::catalog::{End, Ended, Federation, Put, Version, Versions};
use crate::changelog::{Change, Pruned, Stored, entry_hash};
use crate::model::{ArtifactPath, Context, Dot, Head, Heads, Incarnation, NodeId, Space};

/// Staged rows that are applied in one step.
const ROWS_MAX: usize = 64;

/// Versions that are dropped in one step.
const DROPS_MAX: usize = 500;

/// A commit under way: row `merge`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct MergeRow {
    source: NodeId,
    why: Why,
    federation: Federation,
    /// Whether this node had nothing of the space before.
    joins: bool,
    /// Whether the source had applied all that this node had: then what it has live was never deleted here.
    knows_all: bool,
    /// What the source had applied when it last answered.
    until: Context,
    /// Where its logs ended then.
    reach: Heads,
}

/// One log of the snapshot: row `merge-log`.
pub(super) type LogRow = (Head, Context, Context);

impl Replica {
    pub(super) fn begin_commit<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        federation: &Federation,
        heads: &Heads,
        known: &BTreeMap<Incarnation, (Context, Context)>,
        ends: Vec<Pruned>,
    ) -> Result<(), ViewFault> {
        let own = self.heads(&space);
        let (joins, knows_all) = (own.0.is_empty(), heads.cover_context(&own.to_context()));
        if self.merges.get(&space).is_some_and(|merge| merge.why == Why::Branch) {
            if !self.shows_the_way(&space, heads) {
                self.merges.remove(&space);
                return Ok(());
            }
            self.stand_again(work, space, heads);
            self.set_branches_aside(work, space)?;
        } else if own == *heads && self.is_belied(&space) {
            self.disbelieve(work, space);
            return Ok(());
        }
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        let (until, reach) = (merge.until.clone(), merge.reach.clone());
        let (source, why, federation) = (merge.source, merge.why, federation.clone());
        let row = MergeRow { source, why, federation, joins, knows_all, until, reach };
        work.draft.set(Table::Meta, rows::merge_key(&space), &row);
        for (incarnation, head) in &heads.0 {
            let (context, needs) = known.get(incarnation).cloned().unwrap_or_default();
            work.draft.set(Table::Meta, rows::merge_log_key(&space, incarnation), &(*head, context, needs));
        }
        for end in ends {
            let key = rows::stage_key(&space, &end.header.incarnation, end.header.first_sequence);
            proof::add_row(work, Table::Trie, key, end)?;
        }
        merge.step = Step::Commit(Commit::begin(merge.why));
        merge.still = 0;
        work.out.push(Output::Continue);
        Ok(())
    }

    /// Whether a source at the same heads shows something that is known here to have ended, among what isn't: it was lied to,
    /// or lies, and nothing that it has beyond this node, or hasn't, is to be believed.
    fn is_belied(&self, space: &Space) -> bool {
        self.merges
            .get(space)
            .is_some_and(|merge| matches!(merge.why, Why::Behind | Why::Asked) && merge.progress.deleted_here > 0)
    }

    /// Leaves a state sync with what is here as it is. A source that is on trial itself is to go by this node.
    fn disbelieve<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) {
        let Some(mut merge) = self.merges.remove(&space) else { return };
        let progress = &mut merge.progress;
        (progress.is_done, progress.take, progress.drop) = (true, 0, 0);
        progress.listed.retain(|difference| difference.kind == DifferenceKind::DeletedHere);
        self.merged.insert(space, merge.progress);
        self.rested.insert(space);
        if merge.why == Why::Asked {
            self.begin_sweep(work, space);
        }
        let said = self.peers.get(&merge.source).and_then(|peer| peer.states.get(&space));
        if said.is_some_and(|said| said.on_trial) {
            self.end_trial(work, &space);
        }
    }

    /// What is here is as good as any member's.
    pub(super) fn end_trial<V: View>(&mut self, work: &mut Work<'_, V>, space: &Space) {
        if self.on_trial.remove(space).is_some() {
            work.draft.remove(Table::Meta, rows::on_trial_key(space));
        }
    }

    /// What a state sync under way makes of a federation.
    pub(in super::super) fn coming_federation<V: View>(
        &self,
        work: &Work<'_, V>,
        space: &Space,
    ) -> Result<Option<Federation>, ViewFault> {
        Ok(match self.merges.get(space).map(|merge| &merge.step) {
            Some(Step::Snapshot(taken) | Step::Descend(taken, _) | Step::Tail(taken, _)) => taken.federation.clone(),
            Some(Step::Commit(_)) => {
                let row = work.draft.get(Table::Meta, &rows::merge_key(space))?;
                row.map(|value| stored(&value)).transpose()?.map(|row: MergeRow| row.federation)
            }
            Some(Step::Clear | Step::Listed) | None => None,
        })
    }

    /// One step of every state sync that has something to do by itself.
    pub(in super::super) fn continue_merges<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        self.sweep_some(work)?;
        if self.kept_untried && !self.catching_up.is_empty() {
            self.try_kept(work)?;
            if self.kept_untried {
                work.out.push(Output::Continue);
            }
        }
        let spaces: Vec<Space> = self.merges.keys().copied().collect();
        for space in spaces {
            match self.merges.get(&space).map(|merge| &merge.step) {
                Some(Step::Clear) => self.clear_staged(work, space)?,
                Some(Step::Descend(_, descent)) if !descent.look.is_empty() => self.look_on(work, space)?,
                Some(Step::Commit(_)) => self.commit_some(work, space)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what an earlier attempt staged.
    fn clear_staged<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        for prefix in [rows::stage_prefix(&space), rows::drop_prefix(&space), rows::tail_prefix(&space)] {
            let page = work.draft.range(Table::Trie, &prefix, &rows::end_of(&prefix), DROPS_MAX)?;
            let is_more = page.len() == DROPS_MAX;
            page.into_iter().for_each(|(key, _)| work.draft.remove(Table::Trie, key));
            if is_more {
                work.out.push(Output::Continue);
                return Ok(());
            }
        }
        if let Some(merge) = self.merges.get_mut(&space) {
            merge.step = Step::Snapshot(Box::default());
        }
        self.ask_snapshot(work, space)
    }

    fn commit_some<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let key = rows::merge_key(&space);
        let Some(row) = work.draft.get(Table::Meta, &key)? else { return Ok(()) };
        let row: MergeRow = stored(&row)?;
        let Some(mut merge) = self.merges.remove(&space) else { return Ok(()) };
        merge.still = 0;
        let Step::Commit(commit) = &mut merge.step else { return Ok(()) };
        let (before, ended) = (commit.pass, work.draft.ended());
        let next = match commit.pass {
            Pass::Puts => self.commit_puts(work, &space, &row, &mut commit.cursor)?,
            Pass::Edits => self.commit_edits(work, &space, row.why, &mut commit.cursor)?,
            Pass::Drops => self.commit_drops(work, &space, row.why)?,
            Pass::Logs => self.commit_logs(work, &space, &row)?,
            Pass::Tail if self.commit_tail(work, &space)? => Pass::Heads,
            Pass::Tail => Pass::Tail,
            Pass::Heads => {
                self.commit_heads(work, space, &row, merge)?;
                return Ok(());
            }
        };
        if next != before {
            *commit = Commit { pass: next, cursor: Vec::new() };
        }
        merge.progress.committed += 1;
        merge.progress.ended += work.draft.ended() - ended;
        self.merges.insert(space, merge);
        work.out.push(Output::Continue);
        Ok(())
    }

    /// The next rows of what is staged, after the cursor, which moves on.
    fn staged<V: View>(
        &self,
        work: &Work<'_, V>,
        space: &Space,
        cursor: &mut Vec<u8>,
    ) -> Result<Vec<(Vec<u8>, Pruned)>, ViewFault> {
        let prefix = rows::stage_prefix(space);
        let from = if cursor.is_empty() { prefix.clone() } else { [&cursor[..], &[0]].concat() };
        let page = work.draft.range(Table::Trie, &from, &rows::end_of(&prefix), ROWS_MAX)?;
        let fault = |error| ViewFault(format!("a staged segment of {space} is unreadable: {error}"));
        let read = |(key, value): (Vec<u8>, Vec<u8>)| Ok((key, Pruned::read(&value).map_err(fault)?));
        let page: Vec<(Vec<u8>, Pruned)> = page.into_iter().map(read).collect::<Result<_, _>>()?;
        if let Some((last, _)) = page.last() {
            cursor.clone_from(last);
        }
        Ok(page)
    }

    fn commit_puts<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: &Space,
        row: &MergeRow,
        cursor: &mut Vec<u8>,
    ) -> Result<Pass, ViewFault> {
        let page = self.staged(work, space, cursor)?;
        let own = self.heads(space);
        for (_, pruned) in &page {
            for (index, envelope) in pruned.entries() {
                let Ok(Change::Put(put)) = Change::read(envelope) else { continue };
                let dot = pruned.header.dot(index as usize);
                // What a log brought meanwhile was applied, and perhaps killed.
                let is_judged = !matches!(row.why, Why::Follow | Why::Branch) && !row.knows_all;
                let here = work.draft.versions(space, &put.path)?;
                let is_other = here.iter().any(|version| version.dot == dot && version.entry != entry_hash(envelope));
                let is_news = !is_judged || is_other || !own.cover(&dot);
                let is_here = here.iter().any(|version| version.dot == dot);
                let is_told = is_here || matches!(row.why, Why::Follow | Why::Branch);
                if !is_news || !is_told && self.is_known_dead(work, space, &put.path, &dot)? {
                    continue;
                }
                let is_forked = self.is_forked(space, &dot.incarnation);
                if is_forked && row.why != Why::Follow && self.is_killed_by_number(work, *space, &put.path, &dot)? {
                    continue;
                }
                if row.why == Why::Branch || is_here {
                    // Another entry may have borne its number, and its properties may have been edited by what is lost.
                    self.clear_place(work, space, &put.path, &dot, &entry_hash(envelope))?;
                }
                let before = work.draft.versions(space, &put.path)?;
                let (version, mut after) = (Version::of(dot, entry_hash(envelope), &put), before.clone());
                after.put(version.clone());
                if !after.fits_a_row() {
                    // Only a source and authors that lie together get here. Without it the digests differ, and that is told.
                    work.note(Event::Refused { from: Some(row.source), refusal: Refusal::Crowded(dot, put.path) });
                    continue;
                }
                if after != before {
                    taken_over(work, space, &put.path, &before, &after)?;
                    self.want(work, *space, &put.path, &version)?;
                }
            }
        }
        Ok(if page.len() < ROWS_MAX { Pass::Edits } else { Pass::Puts })
    }

    fn commit_edits<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: &Space,
        why: Why,
        cursor: &mut Vec<u8>,
    ) -> Result<Pass, ViewFault> {
        let page = self.staged(work, space, cursor)?;
        for (_, pruned) in &page {
            for (index, envelope) in pruned.entries() {
                let edit = match Change::read(envelope) {
                    Ok(Change::EditProperties(edit)) => edit,
                    // What a live version names as replaced is dead, whoever shows it.
                    Ok(Change::Put(put)) if !put.kills.is_empty() => {
                        self.kill_again(work, space, &put, pruned.header.dot(index as usize))?;
                        continue;
                    }
                    _ => continue,
                };
                let dot = pruned.header.dot(index as usize);
                let before = work.draft.versions(space, &edit.path)?;
                let mut after = before.clone();
                if after.edit(dot, &edit) && after != before && after.fits_a_row() {
                    work.draft.set_versions(space, &edit.path, &before, &after)?;
                }
            }
        }
        for (_, pruned) in page.iter().cloned() {
            let (incarnation, first) = (pruned.header.incarnation, pruned.header.first_sequence);
            let last = pruned.header.last_sequence();
            let endings = endings_in(Stored::Pruned(pruned.clone()));
            let live = live_entries(work, space, Stored::Pruned(pruned))?.united(&endings);
            let ends = work.draft.get(Table::Meta, &rows::merge_log_key(space, &incarnation))?;
            let ends: Option<LogRow> = ends.map(|value| stored(&value)).transpose()?;
            let is_end = ends.is_some_and(|(head, ..)| head.sequence == last);
            if is_end || live.entries().next().is_some() {
                proof::add_row(work, Table::Log, rows::segment_key(space, &incarnation, first), live)?;
            }
        }
        Ok(if page.len() < ROWS_MAX { Pass::Edits.next(why) } else { Pass::Edits })
    }

    fn kill_again<V: View>(&self, work: &mut Work<'_, V>, space: &Space, by: &Put, dot: Dot) -> Result<(), ViewFault> {
        let before = work.draft.versions(space, &by.path)?;
        let mut after = before.clone();
        if before.iter().all(|version| version.dot != dot) || after.kill(&by.kills).is_empty() {
            return Ok(());
        }
        taken_over(work, space, &by.path, &before, &after)
    }

    fn commit_drops<V: View>(&mut self, work: &mut Work<'_, V>, space: &Space, why: Why) -> Result<Pass, ViewFault> {
        let prefix = rows::drop_prefix(space);
        let page = work.draft.range(Table::Trie, &prefix, &rows::end_of(&prefix), DROPS_MAX)?;
        let is_last = page.len() < DROPS_MAX;
        for (key, value) in page {
            let item: Item = stored(&value)?;
            let before = work.draft.versions(space, &item.path)?;
            let mut after = before.clone();
            if !after.kill(&[item.dot]).is_empty() {
                taken_over(work, space, &item.path, &before, &after)?;
            }
            work.draft.remove(Table::Trie, key);
        }
        Ok(if is_last { Pass::Drops.next(why) } else { Pass::Drops })
    }

    /// At a follower the log ends where the source's does.
    fn commit_logs<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: &Space,
        row: &MergeRow,
    ) -> Result<Pass, ViewFault> {
        if row.why != Why::Follow {
            return Ok(Pass::Tail);
        }
        for incarnation in self.heads(space).0.keys() {
            let theirs = work.draft.get(Table::Meta, &rows::merge_log_key(space, incarnation))?;
            let theirs: Option<LogRow> = theirs.map(|value| stored(&value)).transpose()?;
            let end = theirs.map_or(0, |(head, ..)| head.sequence);
            let from = rows::segment_key(space, incarnation, end.saturating_add(1));
            let to = rows::segment_key(space, incarnation, u64::MAX);
            let page = work.draft.range(Table::Log, &from, &to, ROWS_MAX)?;
            if !page.is_empty() {
                page.into_iter().for_each(|(key, _)| work.draft.remove(Table::Log, key));
                return Ok(Pass::Logs);
            }
        }
        Ok(Pass::Tail)
    }

    fn commit_heads<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        row: &MergeRow,
        mut merge: Merge,
    ) -> Result<(), ViewFault> {
        let prefix = rows::stage_prefix(&space);
        let left = work.draft.range(Table::Trie, &prefix, &rows::end_of(&prefix), DROPS_MAX)?;
        if !left.is_empty() {
            left.into_iter().for_each(|(key, _)| work.draft.remove(Table::Trie, key));
            self.merges.insert(space, merge);
            work.out.push(Output::Continue);
            return Ok(());
        }
        let surplus = if row.why == Why::Branch { Some(self.surplus(work, space)?) } else { None };
        let theirs = self.adopt_logs(work, space, row.why)?;
        self.note_ended_lives(work, space);
        let state = self.spaces.entry(space).or_default();
        let own = state.federation.clone().filter(|_| surplus.is_some());
        match &mut state.federation {
            Some(federation) if !row.knows_all && !matches!(row.why, Why::Follow | Why::Branch) => {
                federation.merge(&row.federation);
            }
            slot => *slot = Some(row.federation.clone()),
        }
        if let Some(surplus) = &surplus {
            self.build_on(work, space, surplus, (own.as_ref(), &theirs))?;
            self.note_lost_branches(work, space)?;
            self.note_unfounded(work, space, &theirs)?;
        }
        self.save_federation(work, space);
        work.draft.remove(Table::Meta, rows::merge_key(&space));
        if row.joins {
            self.begin_space(work, &space);
        } else {
            self.watch_takeover(work, space, row.source, merge.progress.ended)?;
        }
        // What is kept may follow now, or never.
        self.count_kept(work, space)?;
        self.kept_untried = true;
        let MergeProgress { take, drop, deleted_here, .. } = merge.progress;
        if row.knows_all && deleted_here > 0 && take + drop == 0 {
            // All that the source has beyond this node is known here to have ended: let it go by this one.
            self.end_trial(work, &space);
        } else {
            self.on_trial.insert(space, 0);
            work.draft.set(Table::Meta, rows::on_trial_key(&space), &());
        }
        if row.joins && self.role() == Some(crate::trust::Role::Full) {
            self.unconfirmed.insert(space);
            work.draft.set(Table::Meta, rows::unconfirmed_key(&space), &());
        }
        let (until, _) = self.catching_up.entry(space).or_default();
        until.merge(&row.until);
        until.merge(&theirs.to_context());
        work.draft.set(Table::Meta, rows::catching_up_key(&space), &*until);
        merge.progress.is_done = true;
        self.rested.insert(space);
        self.followed |= row.why == Why::Follow;
        if row.why == Why::Asked {
            self.begin_sweep(work, space);
        }
        self.merged.insert(space, merge.progress);
        let peer = self.peers.entry(merge.source).or_default();
        peer.heads.insert(space, theirs);
        peer.spent.remove(&space);
        let source = merge.source;
        self.wishes.remove(&space);
        self.parked.forget(&space);
        self.dirty.insert(space);
        work.note(Event::Reconciled { space, source });
        work.out.push(Output::Continue);
        self.wish(work, space, source);
        self.welcome(work, space)?;
        if row.why == Why::Branch { self.begin_again(work, space) } else { Ok(()) }
    }

    /// Takes over how far the source's logs reach.
    fn adopt_logs<V: View>(&mut self, work: &mut Work<'_, V>, space: Space, why: Why) -> Result<Heads, ViewFault> {
        let prefix = rows::merge_logs_prefix(&space);
        let mut theirs: BTreeMap<Incarnation, LogRow> = BTreeMap::new();
        each_row(&work.draft, Table::Meta, &prefix, |key, value| {
            let incarnation = rows::incarnation_from(&key[prefix.len()..]);
            let incarnation = incarnation.ok_or_else(|| ViewFault("a merge row has a broken key".into()))?;
            theirs.insert(incarnation, stored(value)?);
            Ok(())
        })?;
        let own = self.heads(&space);
        let state = self.spaces.entry(space).or_default();
        let astray: BTreeSet<Incarnation> = state.astray.keys().filter(|_| why == Why::Branch).copied().collect();
        let is_replaced = |incarnation: &Incarnation| why == Why::Follow || astray.contains(incarnation);
        if why == Why::Follow || why == Why::Branch {
            let gone = |incarnation: &&Incarnation| is_replaced(incarnation) && !theirs.contains_key(incarnation);
            for incarnation in own.0.keys().filter(gone) {
                let state = self.spaces.entry(space).or_default();
                state.heads.0.remove(incarnation);
                state.known.remove(incarnation);
                work.draft.remove(Table::Meta, rows::head_key(&space, incarnation));
            }
        }
        for (incarnation, (head, context, needs)) in &theirs {
            work.draft.remove(Table::Meta, rows::merge_log_key(&space, incarnation));
            let mine = own.of(incarnation);
            let is_ahead = head.sequence > mine.sequence;
            if !is_ahead && (!is_replaced(incarnation) || mine == *head) {
                continue;
            }
            if *incarnation == self.incarnation {
                // Others know more of this life than this node does.
                self.live_anew(work, &head.chain);
            }
            let state = self.spaces.entry(space).or_default();
            state.heads.0.insert(*incarnation, *head);
            state.known.insert(*incarnation, (context.clone(), needs.clone()));
            state.floors.insert(*incarnation, head.sequence);
            work.draft.set(Table::Meta, rows::floor_key(&space, incarnation), &head.sequence);
            self.save_log(work, &space, incarnation);
            if why != Why::Branch
                && let Some(astray) = self.is_astray_for_all_it_knows(work, space, *incarnation)?
            {
                self.go_astray(work, space, *incarnation, astray);
            }
        }
        Ok(Heads(theirs.into_iter().map(|(incarnation, (head, ..))| (incarnation, head)).collect()))
    }

    /// Commits that a crash interrupted go on.
    pub(in super::super) fn resume_merges(&mut self, view: &impl View) -> Result<(), ViewFault> {
        let mut merges = BTreeMap::new();
        each_row(view, Table::Meta, rows::MERGES, |key, value| {
            let space = rows::space_from(&key[rows::MERGES.len()..]);
            let space = space.ok_or_else(|| ViewFault("a merge row has a broken key".into()))?;
            let row: MergeRow = stored(value)?;
            let mut merge = Merge::new(row.source, row.why);
            merge.step = Step::Commit(Commit::begin(row.why));
            (merge.until, merge.reach) = (row.until, row.reach);
            merges.insert(space, merge);
            Ok(())
        })?;
        self.merges = merges;
        each_row(view, Table::Meta, rows::CATCHING_UP, |key, value| {
            let space = rows::space_from(&key[rows::CATCHING_UP.len()..]);
            let space = space.ok_or_else(|| ViewFault("a merge row has a broken key".into()))?;
            self.catching_up.insert(space, (stored(value)?, 0));
            Ok(())
        })
    }
}

/// Makes `after` the versions of a path; what ended did so elsewhere, nobody here knows how.
pub(super) fn taken_over<V: View>(
    work: &mut Work<'_, V>,
    space: &Space,
    path: &ArtifactPath,
    before: &Versions,
    after: &Versions,
) -> Result<(), ViewFault> {
    let ended = Ended { how: End::Unknown, dot: None, by: String::new(), timestamp: work.now, at: work.now };
    let cause = Cause { ended, age: work.age, saw: &|_| true };
    ledger::change(&mut work.draft, space, path, before, after, &cause)
}
