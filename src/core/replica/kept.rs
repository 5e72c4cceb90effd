//! Segments that this version can't apply: kept at rest, passed on, and tried again after an upgrade.
//!
//! # Why
//! A node that isn't upgraded yet may be the only bridge between two that are. It holds an author's log up at the first
//! entry that it doesn't know, and what others built on that; but it keeps and serves all of it, and counts none of it
//! in its heads.

use super::forks::is_covered;
use super::io::{Event, Refusal, Table, View, ViewFault};
use super::message::SpaceHeads;
use super::receive::Taken;
use super::reconcile::Merge;
use super::rows;
use super::state::{Replica, SpaceState, Work, each_row, stored_segment};
use crate::changelog::{Change, ChangeError, Sealed, feature_of};
use crate::model::{Dot, Envelope, Head, Heads, Incarnation, NodeId, Space};
use std::collections::BTreeMap;

use super::apply::Stop;

/// The most bytes of segments that are kept in one space.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most kept segments that are tried again in one input.
const TRIES_MAX: usize = 256;

/// What is kept of one space.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// Where each kept log ends.
    pub(super) heads: Heads,
    /// How much it is.
    bytes: usize,
}

impl Kept {
    /// One more segment, the latest of its log.
    pub(super) fn count(&mut self, segment: &Sealed) {
        let header = &segment.header;
        self.bytes += segment.bytes().len();
        self.heads.0.insert(header.incarnation, Head { sequence: header.last_sequence(), chain: segment.hash });
    }
}

impl SpaceState {
    /// Heads with what is kept beyond them: what need not be asked for.
    pub(super) fn reach(&self) -> Heads {
        let mut reach = self.heads.clone();
        // A state that was taken over may have gone beyond what is kept.
        let beyond = self.kept.heads.0.iter().filter(|(life, head)| head.sequence > self.heads.of(life).sequence);
        reach.0.extend(beyond.map(|(life, head)| (*life, *head)));
        reach
    }
}

impl Replica {
    /// The first entry of a segment whose kind this node doesn't know at its feature level.
    fn unknown_kind(&self, segment: &Sealed) -> Option<(Dot, u16)> {
        let unknown = |entry: &Envelope| {
            feature_of(entry.kind).is_some_and(|feature| self.features & feature.bit == 0)
                || matches!(Change::read(entry), Err(ChangeError::UnknownKind(_)))
        };
        let index = segment.entries.iter().position(unknown)?;
        Some((segment.header.dot(index), segment.entries[index].kind))
    }

    /// Keeps a segment that has an unknown kind, or that depends on one that is kept. `None` when it is to be applied, or
    /// parked, or is at fault.
    pub(super) fn keep<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: Option<NodeId>,
        segment: &Sealed,
    ) -> Result<Option<Taken>, ViewFault> {
        let header = &segment.header;
        let (space, incarnation) = (header.space, header.incarnation);
        let unknown = self.unknown_kind(segment);
        let refused = |dot_kind: (Dot, u16)| Refusal::UnknownKind(dot_kind.0, dot_kind.1);
        let is_held = space == Space::Trust || self.federation(&space).is_some();
        let Some(state) = self.spaces.get(&space).filter(|_| is_held) else {
            return Ok(unknown.map(|what| self.refuse(work, from, refused(what))));
        };
        let (reach, head) = (state.reach(), state.heads.of(&incarnation));
        let tail = reach.of(&incarnation);
        if header.last_sequence() <= tail.sequence {
            let key = rows::kept_key(&space, &incarnation, header.first_sequence);
            let same = work.draft.get(Table::Log, &key)?.is_some_and(|kept| kept == segment.bytes());
            return Ok(Some(if same { Taken::Duplicate } else { self.refuse_fork(work, from, segment)? }));
        }
        let follows = header.first_sequence == tail.sequence + 1 && header.previous == tail.chain;
        let built_on_kept = tail.sequence > head.sequence || !self.covers(&space, &header.context);
        let trust = self.heads(&Space::Trust);
        let depends = is_covered(&reach, &self.commons(&space), &header.context) && trust.cover_context(&header.needs);
        if !follows || !depends || unknown.is_none() && !built_on_kept {
            return Ok(None);
        }
        if let Err(refusal) = self.check_before_parking(segment) {
            return Ok(Some(self.refuse(work, from, refusal)));
        }
        let size = segment.bytes().len();
        if state.kept.bytes + size > KEPT_BYTES_MAX {
            return Ok(unknown.map(|what| self.refuse(work, from, refused(what))));
        }
        let key = rows::kept_key(&space, &incarnation, header.first_sequence);
        work.draft.set_bytes(Table::Log, key, segment.bytes().to_vec());
        self.spaces.entry(space).or_default().kept.count(segment);
        self.dirty.insert(space);
        if let Some((dot, kind)) = unknown {
            work.note(Event::Kept { space, dot, kind });
        }
        Ok(Some(Taken::Kept))
    }

    /// After a start, which may be the first of a later version, and after a release: applies what is kept and now known.
    pub(super) fn try_kept<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        for _ in 0..TRIES_MAX {
            if !self.kept_untried {
                return Ok(());
            }
            self.kept_untried = self.try_one_kept(work)?;
        }
        Ok(())
    }

    /// Says whether one was applied or dropped, so that others may follow.
    fn try_one_kept<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<bool, ViewFault> {
        let logs = self.spaces.iter().flat_map(|(space, state)| state.kept.heads.0.keys().map(|log| (*space, *log)));
        let logs: Vec<(Space, Incarnation)> = logs.collect();
        for (space, incarnation) in logs {
            if self.merges.get(&space).is_some_and(Merge::keeps_still) {
                continue;
            }
            let head = self.heads(&space).of(&incarnation);
            let key = rows::kept_key(&space, &incarnation, head.sequence + 1);
            let Some(bytes) = work.draft.get(Table::Log, &key)? else {
                // Its log ends elsewhere by now: what is kept can never follow.
                self.forget_kept(work, space, incarnation)?;
                return Ok(true);
            };
            let segment = stored_segment(&space, &bytes)?;
            let trust = self.heads(&Space::Trust);
            let header = &segment.header;
            let depends = self.covers(&space, &header.context) && trust.cover_context(&header.needs);
            let waits = self.is_held(work, header)?;
            if self.unknown_kind(&segment).is_some() || !depends || waits {
                continue;
            }
            let is_lost = self.is_on_lost_branch(header, &segment.hash);
            let result = if header.previous == head.chain && !is_lost {
                self.verify_and_apply(work, &segment)
            } else {
                Err(Stop::Refused(Refusal::Fork(incarnation, header.first_sequence)))
            };
            match result {
                Ok(()) => self.unkeep(work, &segment),
                Err(Stop::Fault(fault)) => return Err(fault),
                Err(Stop::Refused(Refusal::Held { paths, allowed, .. })) => {
                    // It stays kept until it is released.
                    self.hold(work, &segment.header, paths, allowed)?;
                    continue;
                }
                Err(Stop::Refused(refusal)) => {
                    work.note(Event::Refused { from: None, refusal });
                    self.forget_kept(work, space, incarnation)?;
                }
            }
            self.take_parked(work)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn unkeep<V: View>(&mut self, work: &mut Work<'_, V>, segment: &Sealed) {
        let header = &segment.header;
        let (space, author) = (header.space, header.incarnation.node);
        work.note(Event::Applied { space, author, entries: header.entries, gossip: false });
        work.draft.remove(Table::Log, rows::kept_key(&space, &header.incarnation, header.first_sequence));
        let kept = &mut self.spaces.entry(space).or_default().kept;
        kept.bytes = kept.bytes.saturating_sub(segment.bytes().len());
        if kept.heads.of(&header.incarnation).sequence <= header.last_sequence() {
            kept.heads.0.remove(&header.incarnation);
        }
    }

    pub(super) fn forget_kept<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        incarnation: Incarnation,
    ) -> Result<(), ViewFault> {
        let (mut from, to) = (rows::kept_key(&space, &incarnation, 0), rows::kept_key(&space, &incarnation, u64::MAX));
        let mut bytes = 0;
        while let Some((key, value)) = work.draft.view().range(Table::Log, &from, &to, 1)?.pop() {
            bytes += value.len();
            from = [&key[..], &[0]].concat();
            work.draft.remove(Table::Log, key);
        }
        let kept = &mut self.spaces.entry(space).or_default().kept;
        kept.bytes = kept.bytes.saturating_sub(bytes);
        kept.heads.0.remove(&incarnation);
        Ok(())
    }

    /// What `to` may be told that this node keeps.
    pub(super) fn kept_for(&self, to: &NodeId, only: Option<Space>) -> Vec<SpaceHeads> {
        let shared = self.spaces.iter().filter(|(space, state)| {
            only.is_none_or(|only| only == **space) && !state.kept.heads.0.is_empty() && self.shares(space, to)
        });
        shared.map(|(space, state)| SpaceHeads { space: *space, heads: state.kept.heads.clone() }).collect()
    }

    /// A peer says what it keeps beyond its heads.
    pub(super) fn take_kept<V: View>(&mut self, work: &mut Work<'_, V>, from: NodeId, spaces: Vec<SpaceHeads>) {
        for SpaceHeads { space, heads } in spaces {
            if !self.spaces.contains_key(&space) || !self.may_offer(&space, &from) {
                continue;
            }
            let has_more = self.lacks(&space, &heads);
            let peer = self.peers.entry(from).or_default();
            peer.kept.insert(space, heads);
            peer.spent.remove(&space);
            if has_more {
                self.wish(work, space, from);
            }
        }
    }
}

/// Finds again what is kept of each space.
pub(super) fn load_kept(view: &impl View, spaces: &mut BTreeMap<Space, SpaceState>) -> Result<(), ViewFault> {
    each_row(view, Table::Log, rows::KEPT, |_, value| {
        let segment = stored_segment(&"what is kept", value)?;
        let space = segment.header.space;
        // Of a state that is being taken over they are counted when it is.
        if view.get(Table::Meta, &rows::merge_key(&space))?.is_none() {
            spaces.entry(space).or_default().kept.count(&segment);
        }
        Ok(())
    })
}
