//! Taking back what was applied of a log, and making of the paths it touched what all other entries make of them.

use std::collections::BTreeSet;

use super::apply::{Entry, Stop};
use super::author::Failure;
use super::forks::Astray;
use super::io::{Event, Table, View, ViewFault};
use super::ledger::{self, Cause};
use super::reconcile::{Merge, segment_at};
use super::rows;
use super::state::{Peer, Replica, SpaceState, Work, stored_part, stored_segment};
use super::versions::sweep;
use crate::catalog::{Delete, End, Ended, Federation, Membership, Put, Version, Versions};
use crate::changelog::{Change, Sealed, Stored, entry_hash, kind};
use crate::model::{ArtifactPath, Context, Dot, Envelope, Head, Incarnation, NodeId, Space};
use crate::trust::Role;

/// An entry to be applied again, with all that its author knew.
pub(super) struct Again {
    /// Grows along every chain of cause and effect: a context covers all that its own causes cover, and them.
    weight: u128,
    pub(super) dot: Dot,
    pub(super) envelope: Envelope,
    pub(super) change: Change,
    pub(super) context: Context,
    pub(super) needs: Context,
}

/// Some entries of a log, and what its author knew before them.
pub(super) struct Run {
    pub(super) incarnation: Incarnation,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) context: Context,
    pub(super) needs: Context,
}

/// What entries touch.
#[derive(Default)]
struct Touched {
    paths: BTreeSet<ArtifactPath>,
    prefixes: Vec<String>,
}

impl Touched {
    fn add(&mut self, change: Change) {
        match change {
            Change::Put(put) => drop(self.paths.insert(put.path)),
            Change::Delete(delete) => drop(self.paths.insert(delete.path)),
            Change::EditProperties(edit) => drop(self.paths.insert(edit.path)),
            Change::DeletePrefix(delete) => self.prefixes.push(delete.prefix),
            _ => {}
        }
    }

    fn path(&self, path: &ArtifactPath) -> bool {
        self.paths.contains(path) || self.prefixes.iter().any(|prefix| path.as_str().starts_with(prefix))
    }

    /// Whether an entry has to do with what is touched. Prefix deletes all may.
    fn holds(&self, change: &Change) -> bool {
        match change {
            Change::Put(put) => self.path(&put.path),
            Change::Delete(delete) => self.path(&delete.path),
            Change::EditProperties(edit) => self.path(&edit.path),
            Change::DeletePrefix(_) => true,
            _ => false,
        }
    }
}

impl Replica {
    /// Takes back all that was applied of a log from sequence `from`, the first of a segment, on. The segments are kept
    /// aside. What was this node's own and live it writes again, in its present life.
    pub(super) fn give_up<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        incarnation: Incarnation,
        from: u64,
    ) -> Result<(), ViewFault> {
        let mine = self.drop_log(work, space, incarnation, from)?;
        self.write_again(work, space, mine)
    }

    /// The same, and returns what was this node's own and live, which is to be written again.
    fn drop_log<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        incarnation: Incarnation,
        from: u64,
    ) -> Result<Vec<(ArtifactPath, Version)>, ViewFault> {
        if !self.has_whole_logs(&space) {
            // What all other entries make of it can't be told from a log that isn't whole: a member's state can.
            self.go_astray(work, space, incarnation, Astray { from, is_lost: true });
            return Ok(Vec::new());
        }
        let high = rows::segment_key(&space, &incarnation, u64::MAX);
        let low = rows::segment_key(&space, &incarnation, from);
        let mut gone = Vec::new();
        for (key, value) in work.draft.range(Table::Log, &low, &high, usize::MAX)? {
            let segment = stored_segment(&space, &value)?;
            let aside = rows::taken_back_key(&space, &incarnation, segment.header.first_sequence, &segment.hash);
            work.draft.set_bytes(Table::Log, aside, value);
            work.draft.remove(Table::Log, key);
            gone.push(segment);
        }
        let entries = gone.iter().map(|segment| u64::from(segment.header.entries)).sum();
        work.note(Event::TakenBack { space, incarnation, from, entries });
        self.forget_kept(work, space, incarnation)?;
        self.compare_anew(&space);
        let mine = if incarnation.node == self.me.node { self.live_of(work, space, &gone)? } else { Vec::new() };
        self.shorten(work, space, incarnation, from)?;
        self.replay(work, space, &gone)?;
        if gone
            .iter()
            .flat_map(|segment| &segment.entries)
            .any(|entry| (kind::FOUND..=kind::REMOVE).contains(&entry.kind))
        {
            self.refold_members(work, space)?;
        }
        self.dirty.insert(space);
        Ok(mine)
    }

    /// The versions that these segments put and nothing killed.
    fn live_of<V: View>(
        &self,
        work: &Work<'_, V>,
        space: Space,
        segments: &[Sealed],
    ) -> Result<Vec<(ArtifactPath, Version)>, ViewFault> {
        let mut live = Vec::new();
        for segment in segments {
            for (index, envelope) in segment.entries.iter().enumerate() {
                let Ok(Change::Put(put)) = Change::read(envelope) else { continue };
                let versions = work.draft.versions(&space, &put.path)?;
                let found = versions.iter().find(|version| version.dot == segment.header.dot(index));
                live.extend(found.map(|version| (put.path.clone(), version.clone())));
            }
        }
        Ok(live)
    }

    /// Puts own versions again that went with a branch, unless their content is there anyhow.
    pub(super) fn write_again<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        versions: Vec<(ArtifactPath, Version)>,
    ) -> Result<(), ViewFault> {
        let own = self.own_membership(&space);
        if own.as_ref().is_some_and(Membership::is_pending) {
            // Its acceptance went with the branch: another one is on its way, or is made anew.
            return self.write_later(work, space, versions);
        }
        let is_member = own.is_some_and(|own| own.accepted().is_some());
        if !is_member || self.writer().is_err() {
            return Ok(());
        }
        for (path, version) in versions {
            let here = work.draft.versions(&space, &path)?;
            if here.iter().any(|other| other.content.digest == version.content.digest) {
                continue;
            }
            let put = Put {
                path,
                // Edits are bound to the version that goes.
                content: version.content_now(),
                timestamp: version.timestamp,
                kills: Vec::new(),
                created: version.created,
                created_by: version.created_by,
                modified_by: version.modified_by,
                moved_from: None,
            };
            if let Err(Failure::Fault(fault)) = self.write(work, space, &Change::Put(put)) {
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Ends a log before sequence `from`.
    fn shorten<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        incarnation: Incarnation,
        from: u64,
    ) -> Result<(), ViewFault> {
        let (mut head, mut context, mut needs) = (None, Context::default(), Context::default());
        let (low, high) = (rows::segment_key(&space, &incarnation, 0), rows::segment_key(&space, &incarnation, from));
        each_segment(work, &space, low, &high, |segment| {
            let header = segment.header();
            context.merge(&header.context);
            needs.merge(&header.needs);
            head = Some(Head { sequence: header.last_sequence(), chain: segment.hash() });
        })?;
        let state = self.spaces.entry(space).or_default();
        match head {
            Some(head) => {
                state.heads.0.insert(incarnation, head);
                state.known.insert(incarnation, (context, needs));
                self.save_log(work, &space, &incarnation);
            }
            None => {
                state.heads.0.remove(&incarnation);
                state.known.remove(&incarnation);
                work.draft.remove(Table::Meta, rows::head_key(&space, &incarnation));
            }
        }
        Ok(())
    }

    /// Whether all that was ever applied in a space is at rest here. The commit of a state sync puts what is left of logs
    /// among the rows before it sets their floors.
    fn has_whole_logs(&self, space: &Space) -> bool {
        let has_floors = self.spaces.get(space).is_some_and(|state| !state.floors.is_empty());
        !has_floors && !self.merges.get(space).is_some_and(Merge::is_committing)
    }

    /// Makes of every path that `segments` touch what all applied entries make of it, whatever order they came in; leaves
    /// them as they are where that can't be told any more.
    pub(super) fn replay<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        segments: &[Sealed],
    ) -> Result<(), ViewFault> {
        if !self.has_whole_logs(&space) {
            // What was pruned can't be applied again.
            return segments.iter().try_for_each(|segment| self.end_by_numbers(work, space, segment));
        }
        // What this input wrote itself must be in the log to be found there.
        self.seal_space(work, space);
        let mut touched = Touched::default();
        let entries = segments.iter().flat_map(|segment| &segment.entries);
        entries.filter_map(|entry| Change::read(entry).ok()).for_each(|change| touched.add(change));
        if touched.paths.is_empty() && touched.prefixes.is_empty() {
            return Ok(());
        }
        self.clear(work, space, &mut touched)?;
        let again = self.collect(work, space, |change| touched.holds(change))?;
        for entry in &again {
            let Again { dot, envelope, change, context, needs, .. } = entry;
            let hash = entry_hash(envelope);
            let entry = Entry { dot: *dot, hash, envelope, context, needs };
            let result = match change {
                // Elsewhere it has done its work, and would take what was put since for what outlived it.
                Change::DeletePrefix(delete) => sweep(work, space, &entry, delete, |path| touched.path(path)),
                _ => self.apply(work, space, &entry, change),
            };
            match result {
                // Refused: who wrote it is no member by what is left. It was verified when it was first applied.
                Ok(()) | Err(Stop::Refused(_)) => {}
                Err(Stop::Fault(fault)) => return Err(fault),
            }
            touched.paths.extend(path_of(change).cloned());
        }
        again.iter().try_for_each(|entry| kill_by_number(work, space, entry))?;
        touched.paths.iter().try_for_each(|path| ledger::tidy(&mut work.draft, &space, path, work.now))
    }

    /// Empties every path that is touched.
    fn clear<V: View>(&self, work: &mut Work<'_, V>, space: Space, touched: &mut Touched) -> Result<(), ViewFault> {
        for prefix in &touched.prefixes {
            ledger::forget_prefix_deletes(&mut work.draft, &space, prefix)?;
            let from = rows::catalog_prefix(&space, prefix);
            let live = work.draft.range(Table::Catalog, &from, &rows::end_of(&from), usize::MAX)?;
            touched.paths.extend(live.iter().filter_map(|(key, _)| rows::catalog_path(key)));
        }
        for path in &touched.paths {
            let before = work.draft.versions(&space, path)?;
            let ended = Ended { how: End::Unknown, dot: None, by: String::new(), timestamp: work.now, at: work.now };
            let cause = Cause { ended, age: work.age, saw: &|_| false };
            ledger::forget_deletes(&mut work.draft, &space, path)?;
            ledger::change(&mut work.draft, &space, path, &before, &Versions::default(), &cause)?;
        }
        Ok(())
    }

    /// Applied entries of a space, causes before effects.
    fn collect<V: View>(
        &self,
        work: &Work<'_, V>,
        space: Space,
        wanted: impl Fn(&Change) -> bool,
    ) -> Result<Vec<Again>, ViewFault> {
        let whole = |(incarnation, head): (&Incarnation, &Head)| {
            let (context, needs) = (Context::default(), Context::default());
            Run { incarnation: *incarnation, first: 0, last: head.sequence, context, needs }
        };
        collect_runs(work, space, self.spaces[&space].heads.0.iter().map(whole).collect(), wanted)
    }

    /// Where logs aren't whole: what a segment of a forked life put, and others had ended or edited by its number before it
    /// came.
    fn end_by_numbers<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        segment: &Sealed,
    ) -> Result<(), ViewFault> {
        for (index, envelope) in segment.entries.iter().enumerate() {
            let Ok(Change::Put(put)) = Change::read(envelope) else { continue };
            let dot = segment.header.dot(index);
            let before = work.draft.versions(&space, &put.path)?;
            let mut after = before.clone();
            if self.is_killed_by_number(work, space, &put.path, &dot)? {
                after.kill(&[dot]);
            }
            let edits = |change: &Change| matches!(change, Change::EditProperties(edit) if edit.version == dot && edit.path == put.path);
            for again in self.collect(work, space, edits)? {
                if let Change::EditProperties(edit) = &again.change {
                    after.edit(again.dot, edit);
                }
            }
            let ended = Ended { how: End::Unknown, dot: None, by: String::new(), timestamp: work.now, at: work.now };
            let cause = Cause { ended, age: work.age, saw: &|_| false };
            ledger::change(&mut work.draft, &space, &put.path, &before, &after, &cause)?;
        }
        Ok(())
    }

    /// Whether an entry that was applied here ended this number at this path, in whichever branch its author had seen it.
    pub(super) fn is_killed_by_number<V: View>(
        &self,
        work: &Work<'_, V>,
        space: Space,
        path: &ArtifactPath,
        dot: &Dot,
    ) -> Result<bool, ViewFault> {
        if !self.is_forked(&space, &dot.incarnation) {
            return Ok(false);
        }
        let names = |change: &Change| match change {
            Change::Put(put) => put.path == *path && put.kills.contains(dot),
            Change::Delete(delete) => delete.path == *path && delete.kills.contains(dot),
            Change::DeletePrefix(delete) => path.as_str().starts_with(&delete.prefix),
            _ => false,
        };
        // Who names a version has seen it; a prefix ends what its author had seen.
        let ends = |by: &Again| match by.change {
            Change::DeletePrefix(_) => by.context.cover(dot) || by.dot.incarnation == dot.incarnation && by.dot > *dot,
            _ => true,
        };
        if self.collect(work, space, names)?.iter().any(|by| ends(by) && by.dot != *dot) {
            return Ok(true);
        }
        let by = ledger::find(&work.draft, &space, path, dot)?.and_then(|historic| historic.ended.dot);
        Ok(by.is_some_and(|by| by.incarnation != dot.incarnation && self.heads(&space).cover(&by)))
    }

    /// Who the members are, by what is left of the log.
    fn refold_members<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        // What this input wrote itself must be in the log to be found there.
        self.seal_space(work, space);
        let is_membership = |change: &Change| {
            let kind = change.to_envelope().kind;
            (kind::FOUND..=kind::REMOVE).contains(&kind)
        };
        let again = self.collect(work, space, is_membership)?;
        let Some((founded, founding)) = again.iter().find_map(|entry| match &entry.change {
            Change::Found(founding) => Some((entry.dot, founding.clone())),
            _ => None,
        }) else {
            return Ok(());
        };
        let mut federation = Federation::found(founded, founding);
        fold_membership(&mut federation, &again);
        self.spaces.entry(space).or_default().federation = Some(federation);
        self.save_federation(work, space);
        Ok(())
    }

    /// Of its own forked lives a node gives up what no other member has, once those it is connected with have said what
    /// they have: it writes that again.
    pub(super) fn give_up_surplus<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        let own = self.spaces.iter().filter(|(space, _)| **space != Space::Trust).flat_map(|(space, state)| {
            let mine = state.forks.keys().filter(|life| life.node == self.me.node);
            mine.map(|life| (*space, *life, state.heads.of(life).sequence))
        });
        let surplus: Vec<_> = own
            .filter(|(space, life, head)| *life != self.incarnation && *head > self.admitted(*space, life))
            .collect();
        let (mut surplus, mut outside) = (surplus, self.lost_acceptances());
        surplus.retain(|(space, life, _)| self.is_fenced_by_all(space, life));
        outside.retain(|space| self.own_forks(space).iter().all(|life| self.is_fenced_by_all(space, life)));
        if self.role() != Some(Role::Full) {
            return Ok(());
        }
        for (space, life, _) in surplus {
            let beyond = Dot { incarnation: life, sequence: self.admitted(space, &life) + 1 };
            // All of a segment or nothing.
            let part = segment_at(work.draft.view(), &space, &beyond)?;
            let first = part.filter(|part| part.header().last_sequence() >= beyond.sequence);
            let from = first.map_or(beyond.sequence, |part| part.header().first_sequence);
            self.give_up(work, space, life, from)?;
        }
        outside.into_iter().try_for_each(|space| self.accept_anew(work, space))?;
        let forked: Vec<Space> =
            self.spaces.keys().filter(|space| !self.own_forks(space).is_empty()).copied().collect();
        forked.into_iter().try_for_each(|space| self.write_what_waits(work, space))
    }

    /// The own lives that were lived twice in a space.
    pub(super) fn own_forks(&self, space: &Space) -> Vec<Incarnation> {
        let forks = self.spaces.get(space).into_iter().flat_map(|state| state.forks.keys());
        forks.filter(|life| life.node == self.me.node).copied().collect()
    }

    /// Whether connected members have said what they have of a forked log, all who share its space.
    fn is_fenced_by_all(&self, space: &Space, life: &Incarnation) -> bool {
        let Some(trust) = &self.trust else { return false };
        let states = |node: &NodeId, peer: &Peer| {
            let Some(seal) = trust.stated_seal(*node, life.node) else { return false };
            let has_some = peer.heads.get(space).is_some_and(|heads| heads.0.contains_key(life));
            !has_some || seal.heads.iter().any(|(of, whose, _)| of == space && whose == life)
        };
        let counts = |node: &NodeId| {
            let is_full = trust.good(node).is_some_and(|member| member.role() == Role::Full);
            is_full && self.federation(space).is_some_and(|federation| federation.may_hold(node))
        };
        let members = self.peers.iter().filter(|(node, peer)| peer.connected && counts(node));
        let mut stated = members.map(|(node, peer)| states(node, peer)).peekable();
        stated.peek().is_some() && stated.all(|stated| stated)
    }

    /// Federations whose repository is shown here, and whose invitation this node answered in a forked life alone, with words
    /// that nobody else has.
    fn lost_acceptances(&self) -> Vec<Space> {
        let is_lost = |(space, state): &(&Space, &SpaceState)| {
            let forked = self.own_forks(space);
            let membership = state.federation.as_ref().and_then(|federation| federation.members.get(&self.me.node));
            !forked.is_empty()
                && membership.is_some_and(Membership::is_pending)
                && self.repository_of(space).is_some()
                && forked.iter().all(|life| self.admitted(**space, life) <= state.heads.of(life).sequence)
        };
        self.spaces.iter().filter(is_lost).map(|(space, _)| *space).collect()
    }

    /// What this node wrote on the strength of an acceptance that went is refused by everybody: it goes too, and is written
    /// again in a life that begins by accepting.
    fn accept_anew<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        if !self.has_whole_logs(&space) || self.writer().is_err() {
            return Ok(());
        }
        self.seal_open(work);
        let lives = self.heads(&space);
        let last = lives.of(&self.incarnation).chain;
        let mut mine = Vec::new();
        let node = self.me.node;
        for life in lives.0.keys().filter(|life| life.node == node) {
            mine.extend(self.drop_log(work, space, *life, 1)?);
        }
        if lives.0.contains_key(&self.incarnation) {
            self.live_anew(work, &last);
        }
        let membership = self.federation(&space).and_then(|federation| federation.members.get(&self.me.node));
        if let Some(key) = membership.and_then(Membership::pending).cloned() {
            let key = self.repository_of(&space).map_or(key, |repository| repository.key.clone());
            self.accept_invitation(work, space, &key)?;
        }
        self.write_again(work, space, mine)?;
        self.own_forks(&space).into_iter().try_for_each(|life| self.state_rebirth(work, space, life))
    }
}

/// What an entry names as ended is dead, though it was applied before that: it had seen the other bearer of the number, and
/// its weight says nothing about this one.
fn kill_by_number<V: View>(work: &mut Work<'_, V>, space: Space, by: &Again) -> Result<(), ViewFault> {
    let (path, kills, how, who, timestamp) = match &by.change {
        Change::Put(put) => (&put.path, &put.kills, End::Replaced, &put.modified_by, put.timestamp),
        Change::Delete(delete) => (&delete.path, &delete.kills, End::Deleted, &delete.by, delete.timestamp),
        _ => return Ok(()),
    };
    let before = work.draft.versions(&space, path)?;
    let mut after = before.clone();
    if after.kill(kills).is_empty() {
        return Ok(());
    }
    let ended = Ended { how, dot: Some(by.dot), by: who.clone(), timestamp, at: work.now };
    let saw = |dot: &Dot| kills.contains(dot);
    ledger::change(&mut work.draft, &space, path, &before, &after, &Cause { ended, age: work.age, saw: &saw })
}

/// Entries of these runs, causes before effects.
pub(super) fn collect_runs<V: View>(
    work: &Work<'_, V>,
    space: Space,
    runs: Vec<Run>,
    wanted: impl Fn(&Change) -> bool,
) -> Result<Vec<Again>, ViewFault> {
    let mut again = Vec::new();
    for Run { incarnation, first, last, mut context, mut needs } in runs {
        let low = rows::segment_key(&space, &incarnation, first);
        let high = rows::segment_key(&space, &incarnation, last + 1);
        each_segment(work, &space, low, &high, |segment| {
            let header = segment.header().clone();
            context.merge(&header.context);
            needs.merge(&header.needs);
            let known: u128 = context.0.values().map(|sequence| u128::from(*sequence)).sum();
            for (index, envelope) in segment.narrowed(|_| true).entries() {
                let Some(change) = Change::read(envelope).ok().filter(&wanted) else { continue };
                let dot = header.dot(index as usize);
                let (context, needs) = (context.clone(), needs.clone());
                let weight = known + u128::from(dot.sequence);
                again.push(Again { weight, dot, envelope: envelope.clone(), change, context, needs });
            }
        })?;
    }
    again.sort_by_key(|entry| (entry.weight, entry.dot));
    Ok(again)
}

/// Tells a federation what entries say about its members and its settings.
pub(super) fn fold_membership(federation: &mut Federation, again: &[Again]) {
    // Invitations, then what ends them, then what answers them, then what ends that: an author that took a part of its own
    // log back has seen less of it than those whom it answers, so weights don't tell who comes first.
    let is_in = |step: u8, change: &Change| match change {
        Change::Invite(_) => step == 0,
        Change::Accept(_) => step == 2,
        _ => step == 1 || step == 3,
    };
    let in_steps = (0..=3).flat_map(|now| again.iter().filter(move |entry| is_in(now, &entry.change)));
    for Again { dot, change, context, .. } in in_steps {
        let saw =
            |other: &Dot| context.cover(other) || other.incarnation == dot.incarnation && other.sequence < dot.sequence;
        match change {
            Change::Invite(invitation) => federation.invite(*dot, invitation),
            Change::Accept(accept) => {
                // One that answers an invitation which was taken back ends with it; nor does one count that had seen the end.
                let _ = federation.accept(*dot, &accept.repo_key, saw);
            }
            Change::Leave => federation.leave(*dot, saw),
            Change::Remove(removal) => federation.remove(*dot, &removal.node, saw),
            Change::Configure(configure) => federation.configuration.apply(*dot, configure),
            _ => {}
        }
    }
}

/// Visits stored segments in order.
fn each_segment<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    mut low: Vec<u8>,
    high: &[u8],
    mut visit: impl FnMut(Stored),
) -> Result<(), ViewFault> {
    loop {
        let page = work.draft.range(Table::Log, &low, high, 64)?;
        for (_, value) in &page {
            visit(stored_part(space, value)?);
        }
        match page.last() {
            Some((last, _)) if page.len() == 64 => low = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// Where versions begin or end by a change.
pub(super) fn path_of(change: &Change) -> Option<&ArtifactPath> {
    match change {
        Change::Put(Put { path, .. }) | Change::Delete(Delete { path, .. }) => Some(path),
        _ => None,
    }
}
