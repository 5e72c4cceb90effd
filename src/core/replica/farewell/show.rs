//! Who remembers: the entries that ended memberships are found, shown to whom they concern, and asked for.

use std::collections::BTreeSet;

use super::super::io::{Output, Table, View, ViewFault};
use super::super::message::{AskFarewells, Farewell, Message};
use super::super::rows;
use super::super::state::{Replica, Work, stored_part};
use super::super::sync::MESSAGE_BYTES_MAX;
use super::{ENDS_MAX, whose_end};
use crate::catalog::Federation;
use crate::changelog::Pruned;
use crate::model::{Dot, NodeId, Space};

/// The most federations about which a peer is told, or nodes about which one is asked, at a time: the others come next.
const SUBJECTS_MAX: usize = 16;

impl Replica {
    /// Shows a former member what ended its membership, where it isn't known to have that.
    pub(in super::super) fn bid_farewell<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        to: NodeId,
    ) -> Result<(), ViewFault> {
        let after = self.peers.get(&to).and_then(|peer| peer.farewell);
        let due: Vec<Space> = self.spaces.keys().filter(|space| self.has_forgotten(space, &to)).copied().collect();
        let start = due.partition_point(|space| Some(*space) <= after);
        let (mut last, mut bytes) = (None, 0);
        for space in due[start..].iter().chain(&due[..start]).take(SUBJECTS_MAX) {
            bytes += self.send_farewells(work, *space, &to, to)?;
            last = Some(*space);
            if bytes > MESSAGE_BYTES_MAX {
                break;
            }
        }
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.farewell = last;
        }
        Ok(())
    }

    /// Whether a node is no member of a federation any more, and hasn't told heads that cover why.
    fn has_forgotten(&self, space: &Space, node: &NodeId) -> bool {
        let Some(federation) = self.federation(space) else { return false };
        if self.shares(space, node) || self.trust.as_ref().is_none_or(|trust| trust.good(node).is_none()) {
            return false;
        }
        let Some(membership) = federation.members.get(node) else { return false };
        let told = self.peers.get(node).and_then(|peer| peer.heads.get(space)).cloned().unwrap_or_default();
        membership.endings().any(|(_, ends)| !ends.iter().any(|end| told.cover(end)))
    }

    /// Sends what ended the membership of `node`; how many bytes that was.
    fn send_farewells<V: View>(
        &self,
        work: &mut Work<'_, V>,
        space: Space,
        node: &NodeId,
        to: NodeId,
    ) -> Result<usize, ViewFault> {
        let Some(federation) = self.federation(&space) else { return Ok(0) };
        let mut bytes = 0;
        for proof in self.proofs_about(work, &space, federation, node)? {
            let message = Message::Farewell(Farewell { space, entry: proof.to_bytes() }).to_bytes();
            bytes += message.len();
            work.out.push(Output::Send(to, message));
        }
        Ok(bytes)
    }

    /// The entries that ended a node's acceptances, the latest first, as far as they are here.
    pub(super) fn proofs_about<V: View>(
        &self,
        work: &Work<'_, V>,
        space: &Space,
        federation: &Federation,
        node: &NodeId,
    ) -> Result<Vec<Pruned>, ViewFault> {
        let Some(membership) = federation.members.get(node) else { return Ok(Vec::new()) };
        let (mut shown, mut proofs) = (BTreeSet::new(), Vec::new());
        for (_, ends) in membership.endings().rev() {
            if proofs.len() < ENDS_MAX && ends.is_disjoint(&shown) {
                for end in ends.iter().rev() {
                    if let Some(proof) = self.proof_of(work, space, end, node)? {
                        proofs.push(proof);
                        shown.insert(*end);
                        break;
                    }
                }
            }
        }
        Ok(proofs)
    }

    /// The entry `dot` with its proof, if it ends the membership of `node` and is here: in the log, or beside it.
    fn proof_of<V: View>(
        &self,
        work: &Work<'_, V>,
        space: &Space,
        dot: &Dot,
        node: &NodeId,
    ) -> Result<Option<Pruned>, ViewFault> {
        let low = rows::segment_key(space, &dot.incarnation, 0);
        let high = rows::segment_key(space, &dot.incarnation, dot.sequence.saturating_add(1));
        let in_log = work.draft.last(Table::Log, &low, &high)?;
        let beside = work.draft.get(Table::Meta, &rows::farewell_key(space, dot))?;
        for value in in_log.map(|(_, value)| value).into_iter().chain(beside) {
            let part = stored_part(space, &value)?;
            let first = part.header().first_sequence;
            let proof = part.narrowed(|index| first + u64::from(index) == dot.sequence);
            if proof.entry(dot).and_then(|entry| whose_end(entry, dot.incarnation.node)) == Some(*node) {
                return Ok(Some(proof));
            }
        }
        Ok(None)
    }

    /// Asks a member for what ended memberships, where this node took over a state that says so without the entries.
    pub(in super::super) fn ask_farewells<V: View>(
        &self,
        work: &mut Work<'_, V>,
        from: NodeId,
    ) -> Result<(), ViewFault> {
        for space in self.spaces.keys().filter(|space| self.shares(space, &from)) {
            if let Some(federation) = self.federation(space) {
                self.ask_farewells_of(work, space, from, federation)?;
            }
        }
        Ok(())
    }

    /// The same in one federation as it is known, or about to be.
    pub(in super::super) fn ask_farewells_of<V: View>(
        &self,
        work: &mut Work<'_, V>,
        space: &Space,
        from: NodeId,
        federation: &Federation,
    ) -> Result<(), ViewFault> {
        let mut of = Vec::new();
        for (node, membership) in &federation.members {
            let is_over = membership.endings().next().is_some() && !federation.may_hold(node) && *node != self.me.node;
            if is_over && of.len() < SUBJECTS_MAX && self.proofs_about(work, space, federation, node)?.is_empty() {
                of.push(*node);
            }
        }
        if !of.is_empty() {
            work.out.push(Output::Send(from, Message::AskFarewells(AskFarewells { space: *space, of }).to_bytes()));
        }
        Ok(())
    }

    /// Answers a member that asks.
    pub(in super::super) fn show_farewells<V: View>(
        &self,
        work: &mut Work<'_, V>,
        to: NodeId,
        ask: &AskFarewells,
    ) -> Result<(), ViewFault> {
        if !self.shares(&ask.space, &to) {
            return Ok(());
        }
        let mut bytes = 0;
        for node in ask.of.iter().take(SUBJECTS_MAX) {
            if bytes <= MESSAGE_BYTES_MAX {
                bytes += self.send_farewells(work, ask.space, node, to)?;
            }
        }
        Ok(())
    }
}
