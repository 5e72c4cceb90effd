//! Lives lived twice: proof, who hears of it, and which of the two logs is everybody's.
//!
//! A log is forked when one segment has two successors, both signed with a key of its author: a node's store was set back
//! or copied and nobody told it, or its key is in a thief's hands.
//!
//! - **Proof** ([`ForkProof`]) is kept at rest and passed on to all who share the space.
//! - **The branch** whose first segment has the lesser hash is everybody's. Whoever applied the other takes it back
//!   ([`super::take_back`]) and fetches this one, or takes a state that has it.
//! - **The fence**: of a forked log only that is admitted which some full member has of that branch, its author apart:
//!   members state it as they do of a revoked node ([`Replica::admitted`]). The author writes on in a new life, and says so.
//! - Where two logs part isn't known to whoever sees only that they differ: it *probes* the peer, which answers with its
//!   segments from where they part.
//!
//! # Why
//! Whatever was built on either branch names numbers, not hashes; it stays valid, and every member comes to the same state,
//! for what the admitted segments make of a path doesn't depend on the order in which they came ([`Replica::replay`]).
//!
//! Where logs aren't whole any more (pruned, or taken over by a state sync) nothing can be applied again: whoever applied
//! the branch that lost is *astray* ([`Astray`]), shows its state to nobody who isn't, and takes the state of a member that
//! stands right (`reconcile::branch`). What it applied beyond that member is applied on top. Whether a segment that is
//! pruned was the winner's may not be told any more: then whoever differs is right.
//!
//! The author itself gives up what nobody else has of its forked life, once all members of the space have said what they
//! have, and writes it again. If its acceptance of an invitation was among that, nobody would take the words of its new
//! life: it accepts anew in one more, before it writes anything else ([`Replica::give_up_surplus`]). What it is to write again
//! waits at rest until then, or until the acceptance of the other branch has come.
//!
//! Where nothing proves a fork any more, for what follows the common segment is pruned everywhere, two who see that their
//! logs can't be one go by the lesser name (`reconcile::parting`). Where nobody is left who stands on the branch that won,
//! all come to stand on the one that the least of them took (`reconcile::branch`), and follow should another be shown.
//!
//! What this doesn't cover: a fork in the Trust space, and one of a federation's very first segment. They are proved, fenced
//! and told to the operator, but nothing is taken back: members that applied different branches differ there, until the
//! author is revoked and the federation founded anew. A member that was invited on a losing branch alone stays a member
//! only where its acceptance had been applied. What a losing branch ended, or edited, and everybody has pruned since, can't
//! be brought back: nobody has it. Who gives a life of its own up writes again what it had put there, with its properties, and
//! not what settings it had changed, what it had deleted, or that it had left. Of a fork that is past proving the state that all agree on may mix the branches. A delete
//! of a folder that was pruned before the fork was known, or whose author's word that it had seen that life was, ends nothing
//! that bears, in the branch that won, a number that the author had seen in the other branch: whoever deleted hadn't seen
//! that, and it stays. Nor does a source show what it ended
//! by number in one branch to who takes over its state and has the other one beyond it: there it stays, on trial, until both
//! have the same of that log. And who leaves a branch for a state whose source hasn't heard that something was ended, and
//! knows of that end from a state alone, has it back with that. Where nothing proves a fork any more, who applied an end that is
//! of one branch alone and then took over a state of the other keeps it ended, and stays on trial against who has it live.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::draft::stored;
use super::io::{Event, Output, Refusal, Table, View, ViewFault};
use super::message::{Message, Probe, SegmentsMessage};
use super::receive::Taken;
use super::rows;
use super::state::{Replica, SpaceState, Work, each_row, stored_part};
use super::sync::MESSAGE_BYTES_MAX;
use crate::changelog::{Change, ForkProof, Header, Sealed, Stored, kind};
use crate::clock::Timestamp;
use crate::model::{Context, Digest, Head, Heads, Incarnation, NodeId, Space};

/// The most points at which one life is known to have parted: the earliest count.
const POINTS_MAX: usize = 16;

/// The most segment ends that a probe names.
const ENDS_MAX: usize = 128;

/// The latest ends are named one by one, the earlier ones ever further apart.
const NEAR_ENDS: usize = 64;

/// One life lived twice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fork {
    /// By the first sequence that two entries bear, and what both follow.
    points: BTreeMap<(u64, Digest), ForkProof>,
    /// When this node learnt of it, by its wall clock.
    pub since: Timestamp,
}

impl Fork {
    /// The first sequence that two entries bear.
    pub fn sequence(&self) -> u64 {
        self.points.keys().next().map_or(0, |(sequence, _)| *sequence)
    }

    /// The proofs.
    pub fn proofs(&self) -> impl Iterator<Item = &ForkProof> {
        self.points.values()
    }

    /// Takes a proof about `(first sequence, previous)`; says whether it changes anything.
    fn take(&mut self, point: (u64, Digest), proof: &ForkProof) -> bool {
        let known = self.points.get(&point);
        if known.is_some_and(|known| known.winner.hash() <= proof.winner.hash()) {
            return false;
        }
        self.points.insert(point, proof.clone());
        while self.points.len() > POINTS_MAX {
            self.points.pop_last();
        }
        self.points.contains_key(&point)
    }
}

/// What of a forked life this node can't stand by: what its log, which isn't whole, leaves no way to take back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Astray {
    /// From this sequence on.
    pub from: u64,
    /// Whether that is known to have lost; else what is left of the log doesn't tell which branch it was.
    pub is_lost: bool,
}

impl rows::Stored for Astray {}

/// Of forked logs, up to where the segments are awaited that others' contexts name.
pub(super) type Commons = BTreeMap<Incarnation, u64>;

/// Whether all of `context` is within these heads, forked logs apart from where they part.
pub(super) fn is_covered(heads: &Heads, commons: &Commons, context: &Context) -> bool {
    let is_here = |(life, sequence): (&Incarnation, &u64)| {
        let common = commons.get(life).copied().unwrap_or(u64::MAX);
        (*sequence).min(common) <= heads.of(life).sequence
    };
    context.0.iter().all(is_here)
}

impl Replica {
    /// Whether all of `context` is applied, forked logs apart from where they part or nobody has them: what is built on
    /// those counts by its numbers, and comes into its own should they come after it.
    pub(super) fn covers(&self, space: &Space, context: &Context) -> bool {
        self.spaces.get(space).is_none_or(|state| is_covered(&state.heads, &self.commons(space), context))
    }

    pub(super) fn commons(&self, space: &Space) -> Commons {
        let forks = self.spaces.get(space).into_iter().flat_map(|state| &state.forks);
        forks.map(|(life, fork)| (*life, (fork.sequence() - 1).min(self.admitted(*space, life)))).collect()
    }

    /// Up to which sequence entries of this log are admitted: see [`crate::trust::State::admitted`]; of a forked log, what
    /// some full member has.
    pub(super) fn admitted(&self, space: Space, incarnation: &Incarnation) -> u64 {
        let Some(trust) = &self.trust else { return u64::MAX };
        let by_trust = trust.admitted(space, incarnation);
        if self.is_forked(&space, incarnation) { by_trust.min(trust.sealed_at(space, incarnation)) } else { by_trust }
    }

    pub(super) fn is_forked(&self, space: &Space, incarnation: &Incarnation) -> bool {
        self.spaces.get(space).is_some_and(|state| state.forks.contains_key(incarnation))
    }

    /// Whether a segment is known to be of a branch that lost: one that begins it, or the next.
    pub(super) fn is_on_lost_branch(&self, header: &Header, hash: &Digest) -> bool {
        let fork = self.spaces.get(&header.space).and_then(|state| state.forks.get(&header.incarnation));
        let begins = |point: &(u64, Digest), proof: &ForkProof| {
            *point == (header.first_sequence, header.previous) && proof.winner.hash() != *hash
        };
        let mut points = fork.into_iter().flat_map(|fork| &fork.points);
        points.any(|(point, proof)| begins(point, proof) || header.previous == proof.loser.hash())
    }

    /// Whether a segment is known to be of the branch that won, in the same way.
    pub(super) fn is_on_winning_branch(&self, header: &Header, hash: &Digest) -> bool {
        let fork = self.spaces.get(&header.space).and_then(|state| state.forks.get(&header.incarnation));
        let wins = |proof: &ForkProof| [*hash, header.previous].contains(&proof.winner.hash());
        fork.is_some_and(|fork| fork.proofs().any(wins))
    }

    /// A segment that contradicts what was applied: its author's fault if one of its author's keys signed it, else its
    /// sender's.
    pub(super) fn refuse_fork<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: Option<NodeId>,
        segment: &Sealed,
    ) -> Result<Taken, ViewFault> {
        let header = &segment.header;
        let (space, incarnation) = (header.space, header.incarnation);
        if let Err(refusal) = self.check_signed(segment) {
            return Ok(self.refuse(work, from, refusal));
        }
        let taken = self.refuse(work, from, Refusal::Fork(incarnation, header.first_sequence));
        let applied = rows::segment_key(&space, &incarnation, header.first_sequence);
        let kept = rows::kept_key(&space, &incarnation, header.first_sequence);
        for key in [applied, kept] {
            let Some(bytes) = work.draft.get(Table::Log, &key)? else { continue };
            let mine = stored_part(&space, &bytes)?;
            if let Some(proof) = ForkProof::of(mine.claim(), segment.claim()) {
                // Its sender has one half of it, as this node had the other: it is told like everybody else.
                self.take_proof(work, None, &proof)?;
                return Ok(taken);
            }
        }
        if let Some(peer) = from {
            // Once a round: what comes of it may contradict this log again.
            let is_asked = self.peers.get(&peer).is_some_and(|peer| peer.probed.contains(&(space, incarnation)));
            self.probe(work, peer, space, incarnation)?;
            if !is_asked {
                self.compare_as_lesser(work, peer, space, &incarnation);
            }
        }
        Ok(taken)
    }

    /// Keeps a proof, passes it on, and does what follows from it; nothing, when it is known.
    pub(super) fn take_proof<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: Option<NodeId>,
        proof: &ForkProof,
    ) -> Result<(), ViewFault> {
        let Some(circle) = self.circle.as_ref().map(|row| row.circle) else { return Ok(()) };
        let (winner, loser) = match proof.verify(&circle) {
            Ok(headers) => headers,
            Err(error) => {
                self.refuse(work, from, error.into());
                return Ok(());
            }
        };
        let (space, incarnation) = (winner.space, winner.incarnation);
        let is_known = |header: &Header| {
            let trust = self.trust.as_ref();
            trust.is_some_and(|t| t.member(&incarnation.node).is_some() && t.may_be_key(&incarnation.node, &header.key))
        };
        if !self.spaces.contains_key(&space) || !is_known(&winner) || !is_known(&loser) {
            return Ok(());
        }
        let now = work.now;
        let state = self.spaces.entry(space).or_default();
        let fork = state.forks.entry(incarnation).or_insert(Fork { points: BTreeMap::new(), since: now });
        let point = (winner.first_sequence, winner.previous);
        if !fork.take(point, proof) {
            return Ok(());
        }
        work.draft.set(Table::Meta, rows::life_key(rows::FORKS, &space, &incarnation), fork);
        work.note(Event::Forked { space, incarnation, sequence: winner.first_sequence });
        if incarnation == self.incarnation {
            self.seal_open(work);
            let last = self.heads(&space).of(&incarnation).chain;
            self.live_anew(work, &last);
        }
        for peer in self.connected_peers().into_iter().filter(|peer| Some(*peer) != from) {
            if self.shares(&space, &peer) {
                work.out.push(Output::Send(peer, Message::Fork(proof.clone()).to_bytes()));
            }
        }
        self.leave_branch(work, space, incarnation, &winner, &proof.winner.hash())
    }

    /// Takes back what was applied of the branch that lost.
    fn leave_branch<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        incarnation: Incarnation,
        winner: &Header,
        hash: &Digest,
    ) -> Result<(), ViewFault> {
        let key = rows::segment_key(&space, &incarnation, winner.first_sequence);
        if let Some(bytes) = work.draft.get(Table::Log, &key)? {
            let mine = stored_part(&space, &bytes)?;
            let is_other = mine.hash() != *hash && mine.header().previous == winner.previous;
            let founds = mine.narrowed(|_| true).entries().any(|(_, entry)| entry.kind == kind::FOUND);
            if is_other && space != Space::Trust && !founds {
                self.give_up(work, space, incarnation, winner.first_sequence)?;
            }
        } else if let Some(astray) = self.is_astray_for_all_it_knows(work, space, incarnation)? {
            self.go_astray(work, space, incarnation, astray);
        }
        if incarnation.node == self.me.node {
            self.state_rebirth(work, space, incarnation)?;
        }
        self.wishes.remove(&space);
        self.peers.values_mut().for_each(|peer| {
            peer.spent.remove(&space);
        });
        Ok(())
    }

    /// From where on a forked log was applied of which what is left doesn't show that it was the winner.
    pub(super) fn is_astray_for_all_it_knows<V: View>(
        &self,
        work: &Work<'_, V>,
        space: Space,
        incarnation: Incarnation,
    ) -> Result<Option<Astray>, ViewFault> {
        let head = self.heads(&space).of(&incarnation);
        let Some(fork) = self.spaces.get(&space).and_then(|state| state.forks.get(&incarnation)) else {
            return Ok(None);
        };
        for ((from, _), proof) in &fork.points {
            let winner = proof.winner.hash();
            if head.sequence < *from || head.chain == winner || space == Space::Trust {
                continue;
            }
            let (low, high) =
                (rows::segment_key(&space, &incarnation, *from), rows::segment_key(&space, &incarnation, u64::MAX));
            let (mut is_winner, mut is_lost) = (false, false);
            for (_, value) in work.draft.range(Table::Log, &low, &high, 2)? {
                let part = stored_part(&space, &value)?;
                is_winner |= part.hash() == winner || part.header().previous == winner;
                is_lost |= self.is_on_lost_branch(part.header(), &part.hash());
            }
            if !is_winner {
                return Ok(Some(Astray { from: *from, is_lost }));
            }
        }
        Ok(None)
    }

    /// Remembers what of a forked log can't be stood by, until a member's state has taken its place.
    pub(super) fn go_astray<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        incarnation: Incarnation,
        astray: Astray,
    ) {
        let state = self.spaces.entry(space).or_default();
        let known = state.astray.get(&incarnation).copied().unwrap_or(astray);
        let worst = Astray { from: known.from.min(astray.from), is_lost: known.is_lost || astray.is_lost };
        if state.astray.insert(incarnation, worst) != Some(worst) {
            self.compare_anew(&space);
            work.draft.set(Table::Meta, rows::life_key(rows::ASTRAY, &space, &incarnation), &worst);
        }
    }

    /// Says in its present life that the old one has ended, if all members understand that.
    pub(super) fn state_rebirth<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        old: Incarnation,
    ) -> Result<(), ViewFault> {
        let is_member = self.is_member(&space);
        let is_said = self.spaces.get(&space).is_some_and(|state| state.ended.contains(&old));
        if old == self.incarnation || is_said || !is_member || self.writer().is_err() {
            return Ok(());
        }
        match self.write(work, space, &Change::Reborn(old)) {
            Err(super::author::Failure::Fault(fault)) => Err(fault),
            // Refused: some member doesn't know such entries. The fork stays unrepaired to the eye, and harmless.
            Ok(_) | Err(super::author::Failure::Refused(_)) => Ok(()),
        }
    }

    /// Tells a peer of the forks in a space once it has shown that it holds it: before, a proof means nothing to it.
    pub(super) fn send_proofs<V: View>(&mut self, work: &mut Work<'_, V>, to: NodeId, space: Space) {
        let is_proved = self.spaces.get(&space).is_some_and(|state| !state.forks.is_empty());
        if !is_proved || !self.shares(&space, &to) || !self.peers.entry(to).or_default().proved.insert(space) {
            return;
        }
        for proof in self.spaces[&space].forks.values().flat_map(Fork::proofs) {
            work.out.push(Output::Send(to, Message::Fork(proof.clone()).to_bytes()));
        }
    }

    /// Logs that end at the same sequence with different hashes have parted somewhere.
    pub(super) fn compare_chains<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        space: Space,
        theirs: &Heads,
    ) -> Result<(), ViewFault> {
        let Some(state) = self.spaces.get(&space) else { return Ok(()) };
        let differs = |(life, head): &(&Incarnation, &Head)| {
            let mine = state.heads.of(life);
            mine.sequence == head.sequence
                && mine.chain != head.chain
                && head.chain != Digest::ZERO
                && head.sequence > 0
        };
        let parted: Vec<Incarnation> = theirs.0.iter().filter(differs).map(|(life, _)| *life).collect();
        // One at a time: a peer that claims many such is at fault itself, and whoever is right is asked again next time.
        if let Some(incarnation) = parted.first() {
            let proofs = self.spaces[&space].forks.get(incarnation);
            for proof in proofs.into_iter().flat_map(Fork::proofs) {
                work.out.push(Output::Send(from, Message::Fork(proof.clone()).to_bytes()));
            }
            self.probe(work, from, space, *incarnation)?;
        }
        Ok(())
    }

    /// Asks `peer` for its segments from where its log and ours part.
    pub(super) fn probe<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        peer: NodeId,
        space: Space,
        incarnation: Incarnation,
    ) -> Result<(), ViewFault> {
        // Its answer may contradict our log again: once a round is enough.
        if !self.peers.entry(peer).or_default().probed.insert((space, incarnation)) {
            return Ok(());
        }
        let low = rows::segment_key(&space, &incarnation, 0);
        let (mut ends, mut before, mut step) = (Vec::new(), u64::MAX, 1_u64);
        while ends.len() < ENDS_MAX {
            let high = rows::segment_key(&space, &incarnation, before);
            let Some((_, bytes)) = work.draft.view().last(Table::Log, &low, &high)? else { break };
            let segment = stored_part(&space, &bytes)?;
            ends.push(Head { sequence: segment.header().last_sequence(), chain: segment.hash() });
            step = if ends.len() > NEAR_ENDS { step.saturating_mul(2) } else { 1 };
            // Strictly before this segment, further and further back.
            before = segment.header().first_sequence.saturating_sub(step - 1);
        }
        let probe = Message::Probe(Probe { space, incarnation, ends });
        work.out.push(Output::Send(peer, probe.to_bytes()));
        Ok(())
    }

    /// Sends segments of the asked log from the last one that the asker has too.
    pub(super) fn answer_probe<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        probe: &Probe,
    ) -> Result<(), ViewFault> {
        let (space, incarnation) = (probe.space, probe.incarnation);
        if !self.shares(&space, &from) || !self.spaces.contains_key(&space) {
            return Ok(());
        }
        self.give_way(work, from, probe)?;
        let low = rows::segment_key(&space, &incarnation, 0);
        let mut first = 1;
        for end in probe.ends.iter().take(ENDS_MAX) {
            let high = rows::segment_key(&space, &incarnation, end.sequence.saturating_add(1));
            let Some((_, bytes)) = work.draft.view().last(Table::Log, &low, &high)? else { continue };
            let segment = stored_part(&space, &bytes)?;
            if segment.header().last_sequence() == end.sequence && segment.hash() == end.chain {
                first = end.sequence + 1;
                break;
            }
        }
        let (mut segments, mut bytes) = (Vec::new(), 0);
        let high = rows::segment_key(&space, &incarnation, u64::MAX);
        let mut low = rows::segment_key(&space, &incarnation, first);
        while bytes < MESSAGE_BYTES_MAX / 2 {
            let Some((key, value)) = work.draft.view().range(Table::Log, &low, &high, 1)?.pop() else { break };
            low = [&key[..], &[0]].concat();
            if matches!(stored_part(&space, &value)?, Stored::Pruned(_)) {
                continue;
            }
            bytes += value.len();
            segments.push(value);
        }
        let message = Message::Segments(SegmentsMessage { space, segments, more: false });
        work.out.push(Output::Send(from, message.to_bytes()));
        Ok(())
    }

    /// Lives that were lived twice, as far as this node knows; and whether their nodes have ended them.
    pub fn forks(&self) -> impl Iterator<Item = (&Space, &Incarnation, &Fork, bool)> {
        self.spaces.iter().flat_map(|(space, state)| {
            state.forks.iter().map(move |(life, fork)| (space, life, fork, state.ended.contains(life)))
        })
    }
}

/// Finds proofs again, and which lives have ended.
pub(super) fn load_forks(view: &impl View, spaces: &mut BTreeMap<Space, SpaceState>) -> Result<(), ViewFault> {
    let broken = || ViewFault("the row of a fork has a broken key".into());
    each_row(view, Table::Meta, rows::FORKS, |key, value| {
        let (space, life) = rows::life_from(key, rows::FORKS).ok_or_else(broken)?;
        spaces.entry(space).or_default().forks.insert(life, stored(value)?);
        Ok(())
    })?;
    each_row(view, Table::Meta, rows::ASTRAY, |key, value| {
        let (space, life) = rows::life_from(key, rows::ASTRAY).ok_or_else(broken)?;
        spaces.entry(space).or_default().astray.insert(life, stored(value)?);
        Ok(())
    })?;
    each_row(view, Table::Meta, rows::ENDED, |key, _| {
        let (space, life) = rows::life_from(key, rows::ENDED).ok_or_else(broken)?;
        spaces.entry(space).or_default().ended.insert(life);
        Ok(())
    })
}
