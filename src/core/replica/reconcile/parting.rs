//! A source that stands on another branch of a log than this node.
//!
//! Numbers say nothing about its state then: what it has under a number isn't what this node has. A log parts where two
//! segments of it overlap and aren't the same, or one follows another that the other side hasn't.
//!
//! # Why
//! Two successors of one segment are a proof, and everybody comes to the same by that ([`super::super::forks`]). Where logs
//! are pruned, two that differ may only be able to show each other that they do: then the one with the greater name goes by
//! the other. Which of the two it is says nothing about who is right. That they agree is what counts; and what this node
//! wrote itself it writes again. A follower goes by members that say the same.

use std::collections::BTreeMap;

use super::super::forks::Astray;
use super::super::io::{Refusal, Table, View, ViewFault};
use super::super::message::Probe;
use super::super::rows;
use super::super::state::{Replica, Work, stored_part};
use super::merge::{Merge, Why};
use super::source::segment_at;
use crate::changelog::{ForkProof, Header, Pruned, Stored};
use crate::model::{Digest, Dot, Head, Incarnation, NodeId, Space};
use crate::trust::Role;

/// Whether two segments can't be of one log, as far as that shows.
pub(super) fn parts(one: &Header, one_hash: &Digest, other: &Header, other_hash: &Digest) -> bool {
    let follows = |first: &Header, hash: &Digest, next: &Header| {
        first.last_sequence() + 1 == next.first_sequence && next.previous != *hash
    };
    let overlaps = one.first_sequence <= other.last_sequence() && other.first_sequence <= one.last_sequence();
    one.incarnation == other.incarnation
        && (overlaps && one_hash != other_hash || follows(one, one_hash, other) || follows(other, other_hash, one))
}

/// The segments of one answer that can be of the logs of one source, by where they begin.
#[derive(Default)]
pub(super) struct Logs(BTreeMap<(Incarnation, u64), (Header, Digest)>);

impl Logs {
    /// Takes a segment, unless one that was taken parts from it; says whether it did.
    pub(super) fn admit(&mut self, segment: &Pruned) -> bool {
        let (header, hash) = (&segment.header, &segment.hash);
        let (life, last) = (header.incarnation, header.last_sequence());
        let before = self.0.range((life, 0)..=(life, last)).next_back();
        let next = self.0.get(&(life, last.saturating_add(1)));
        let parts_from = |known: &(Header, Digest)| parts(&known.0, &known.1, header, hash);
        if before.is_some_and(|(_, known)| parts_from(known)) || next.is_some_and(parts_from) {
            return false;
        }
        self.0.insert((life, header.first_sequence), (header.clone(), *hash));
        true
    }
}

impl Replica {
    /// What is in the log here and can't be in one log with a segment of the source's. Who follows, or leaves a branch,
    /// takes what comes of those logs.
    pub(super) fn contradiction<V: View>(
        &self,
        work: &Work<'_, V>,
        why: Why,
        theirs: &Header,
        hash: &Digest,
    ) -> Result<Option<Stored>, ViewFault> {
        let (space, incarnation) = (theirs.space, theirs.incarnation);
        let is_left = self.spaces.get(&space).is_some_and(|state| state.astray.contains_key(&incarnation));
        if why == Why::Follow || why == Why::Branch && is_left {
            return Ok(None);
        }
        let last = theirs.last_sequence();
        if let Some(before) = segment_at(work.draft.view(), &space, &Dot { incarnation, sequence: last })?
            && parts(before.header(), &before.hash(), theirs, hash)
        {
            return Ok(Some(before));
        }
        let (low, high) = (
            rows::segment_key(&space, &incarnation, last.saturating_add(1)),
            rows::segment_key(&space, &incarnation, last.saturating_add(2)),
        );
        let next = work.draft.range(Table::Log, &low, &high, 1)?.pop();
        let next = next.map(|(_, value)| stored_part(&space, &value)).transpose()?;
        Ok(next.filter(|next| parts(next.header(), &next.hash(), theirs, hash)))
    }

    /// Gives up the comparison with a source whose log can't be this node's, and does about it what can be done.
    pub(super) fn part_ways<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        mine: &Stored,
        theirs: &Stored,
    ) -> Result<(), ViewFault> {
        let header = theirs.header().clone();
        let (space, incarnation) = (header.space, header.incarnation);
        self.abandon(work, &space, &from, Refusal::Fork(incarnation, header.first_sequence))?;
        if let Some(proof) = ForkProof::of(mine.claim(), theirs.claim()) {
            return self.take_proof(work, None, &proof);
        }
        if self.goes_by(&from) && !self.is_forked(&space, &incarnation) {
            self.go_astray(work, space, incarnation, Astray { from: 1, is_lost: false });
            self.begin_merge(work, space, from, Why::Branch);
            return Ok(());
        }
        if self.role() == Some(Role::Edge) && self.is_agreed(&space, &incarnation) {
            self.begin_merge(work, space, from, Why::Follow);
            return Ok(());
        }
        self.probe(work, from, space, incarnation)
    }

    /// Whether all members that are connected say the same of where a log ends.
    fn is_agreed(&self, space: &Space, life: &Incarnation) -> bool {
        let told = self.told_by_members(space);
        let first = told.first().map(|heads| heads.of(life));
        told.iter().all(|heads| Some(heads.of(life)) == first)
    }

    /// What this node has applied isn't what a comparison under way went by.
    pub(in super::super) fn compare_anew(&mut self, space: &Space) {
        if self.merges.get(space).is_some_and(Merge::needs_source) {
            self.merges.remove(space);
        }
    }

    /// Whether this node gives way where two differ and neither can prove anything.
    fn goes_by(&self, other: &NodeId) -> bool {
        *other < self.me.node && self.role() == Some(Role::Full)
    }

    /// A peer shows where its log ends: compares states with it, if that can't be and this node is to give way.
    pub(in super::super) fn give_way<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        probe: &Probe,
    ) -> Result<(), ViewFault> {
        let (space, life) = (probe.space, probe.incarnation);
        let Some(end) = probe.ends.first() else { return Ok(()) };
        if self.ends_elsewhere(work, &space, &life, end)? {
            self.compare_as_lesser(work, from, space, &life);
        }
        Ok(())
    }

    /// Compares states with a member whose log can't be this node's, if this node is to give way.
    pub(in super::super) fn compare_as_lesser<V>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        space: Space,
        life: &Incarnation,
    ) {
        let is_shown = self.federation(&space).is_some() && self.source_of(&space, Some(from)).is_some();
        if is_shown && self.goes_by(&from) && !self.is_forked(&space, life) {
            self.begin_merge(work, space, from, Why::Behind);
        }
    }

    /// Whether a log that ends so can't be this node's, as far as that shows.
    fn ends_elsewhere<V: View>(
        &self,
        work: &Work<'_, V>,
        space: &Space,
        life: &Incarnation,
        end: &Head,
    ) -> Result<bool, ViewFault> {
        let at = Dot { incarnation: *life, sequence: end.sequence.saturating_add(1) };
        let Some(part) = segment_at(work.draft.view(), space, &at)? else { return Ok(false) };
        let header = part.header();
        if header.first_sequence == at.sequence {
            return Ok(header.previous != end.chain);
        }
        let last = header.last_sequence();
        Ok(last > end.sequence || last == end.sequence && part.hash() != end.chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::Sealed;
    use crate::clock::Timestamp;
    use crate::model::{CircleId, Context, Envelope, KeyPair};

    /// `entries` that follow what ends with `previous`.
    fn segment(first_sequence: u64, previous: Digest, entries: &[u8]) -> Pruned {
        let key = KeyPair::from_secret(&[3; 32]);
        let header = Header {
            space: Space::Trust,
            incarnation: Incarnation { node: NodeId::of(&key.public()), number: 5 },
            key: key.public(),
            first_sequence,
            entries: 0,
            previous,
            context: Context::default(),
            needs: Context::default(),
            root: Digest::ZERO,
            written_at: Timestamp(1),
        };
        let entries = entries.iter().map(|what| Envelope { kind: 60_000, body: vec![*what] }).collect();
        Pruned::of(&Sealed::sign(header, entries, &key, &CircleId([9; 32])), |_| true)
    }

    #[test]
    fn an_answer_shows_one_branch_of_a_log() {
        let begin = segment(1, Digest::ZERO, &[1]);
        let (two, other_two) = (segment(2, begin.hash, &[2, 3]), segment(2, begin.hash, &[4]));
        let other_three = segment(3, other_two.hash, &[5]);
        // What was between them is pruned.
        let far = segment(6, Digest([7; 32]), &[6]);
        for order in [[&begin, &two, &far], [&far, &two, &begin]] {
            let mut logs = Logs::default();
            assert!(order.iter().all(|segment| logs.admit(segment)));
            assert!(logs.admit(&two), "what it showed before it may show again");
            assert!(!logs.admit(&other_two), "another one in its place");
            assert!(!logs.admit(&other_three), "it ends where another ends");
            assert!(!logs.admit(&segment(4, other_three.hash, &[8])), "it follows another");
            assert!(logs.admit(&segment(4, two.hash, &[8])));
        }
        let mut logs = Logs::default();
        assert!(logs.admit(&other_three) && !logs.admit(&two) && logs.admit(&other_two));
    }
}
