//! What a follower takes back: words of revoked authors about the circle that no member goes by.
//!
//! # Why
//! A full member states at once what it has applied of a revoked author, so whatever it applied is admitted. An edge's word
//! doesn't count. One that alone heard a node revoke others, before that node was revoked itself, would go by those
//! revocations for ever: refuse what good members write, and stand still. It owes nobody what it applied, so it folds the
//! trust log anew without what is beyond the seals. Artifacts are another matter: what it has beyond the seals there
//! holds nothing back.

use std::collections::BTreeSet;

use super::io::{Table, View, ViewFault};
use super::rows;
use super::state::{Folded, Replica, Work, fold_log, read_trust_log};
use crate::changelog::Sealed;
use crate::model::{NodeId, Space};
use crate::trust::Role;

impl Replica {
    /// At an edge: gives up the entries of Trust beyond the seals, once the members it is connected with have stated
    /// theirs. What they come to admit after all is fetched again.
    pub(super) fn take_back<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        if self.role() != Some(Role::Edge) {
            return Ok(());
        }
        let (Some(trust), Some(state)) = (&self.trust, self.spaces.get(&Space::Trust)) else { return Ok(()) };
        let beyond = |segment: &Sealed| {
            let header = &segment.header;
            header.last_sequence() > self.admitted(Space::Trust, &header.incarnation)
        };
        let surplus = state.heads.0.iter().filter(|(i, head)| head.sequence > self.admitted(Space::Trust, i));
        let authors: BTreeSet<NodeId> = surplus.map(|(incarnation, _)| incarnation.node).collect();
        if authors.is_empty() || !authors.iter().all(|author| self.is_sealed_by_all(author)) {
            return Ok(());
        }
        let kept = read_trust_log(work.draft.view())?.into_iter().filter(|segment| !beyond(segment)).collect();
        let (mut folded, _) = fold_log(trust.circle(), kept)?;
        if folded.trust.member(&self.me.node).is_none() {
            // Nobody that counts knows of this node: there is nothing better to go by.
            return Ok(());
        }
        for statement in trust.statements() {
            // One that isn't understood without what is given up says nothing to anybody.
            let _ = folded.trust.apply_statement(statement);
        }
        self.go_by(work, folded)
    }

    /// Whether all members that are connected, and there are some, have stated what they applied of a revoked node.
    pub(super) fn is_sealed_by_all(&self, target: &NodeId) -> bool {
        let Some(trust) = &self.trust else { return false };
        let counts = |node: &&NodeId| trust.good(node).is_some_and(|member| member.role() == Role::Full);
        let connected = self.peers.iter().filter(|(_, peer)| peer.connected).map(|(node, _)| node);
        let mut stated = connected.filter(counts).map(|node| trust.stated_seal(*node, *target).is_some()).peekable();
        stated.peek().is_some() && stated.all(|stated| stated)
    }

    /// Replaces what this node knows of the circle, at rest too.
    fn go_by<V: View>(&mut self, work: &mut Work<'_, V>, folded: Folded) -> Result<(), ViewFault> {
        let space = Space::Trust;
        let state = self.spaces.entry(space).or_default();
        for segment in read_trust_log(work.draft.view())? {
            let header = &segment.header;
            if header.first_sequence > folded.heads.of(&header.incarnation).sequence {
                let key = rows::segment_key(&space, &header.incarnation, header.first_sequence);
                work.draft.remove(Table::Log, key);
            }
        }
        let before = std::mem::replace(&mut state.heads, folded.heads);
        state.known = folded.known.into_iter().map(|(i, context)| (i, (context, Default::default()))).collect();
        for incarnation in before.0.keys() {
            if self.spaces[&space].heads.0.contains_key(incarnation) {
                self.save_log(work, &space, incarnation);
            } else {
                work.draft.remove(Table::Meta, rows::head_key(&space, incarnation));
            }
        }
        self.trust = Some(folded.trust);
        let mine = before.of(&self.incarnation);
        if mine != self.spaces[&space].heads.of(&self.incarnation) {
            // Of the time when it was a member. Another edge may know it: no other words may ever bear these numbers.
            self.live_anew(work, &mine.chain);
        }
        work.trust_changed = true;
        self.dirty.insert(space);
        // What was refused may be admitted now.
        self.wishes.remove(&space);
        self.peers.values_mut().for_each(|peer| peer.spent.clear());
        Ok(())
    }
}
