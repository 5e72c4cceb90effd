//! Signed states: members with equal heads must have equal digests, and tell each other.

use super::super::inspect::digest_of;
use super::super::io::{Event, Output, Refusal, Table, View, ViewFault};
use super::super::message::Message;
use super::super::rows;
use super::super::state::{Replica, Work};
use super::merge::{Merge, MergeProgress, Step, Why};
use super::snapshot::hash_of_logs;
use super::wire::{SignedState, StateBody, hash_of_heads};
use crate::clock::Timestamp;
use crate::model::{CircleId, Digest, Head, Heads, Incarnation, NodeId, Space};
use crate::trust::Role;

/// A source that doesn't answer for so many ticks is given up.
const STILL_MAX: u32 = 30;

/// Answers that didn't come for so many ticks are lost: a full queue drops what it can't hold.
const LOST_AFTER: u32 = 10;

/// What a source had last isn't waited for longer than so many ticks: it may be gone for good.
const CATCH_UP_MAX: u32 = 3600;

/// How many ticks lie between two looks at what is on trial.
const TRIAL_TICKS: u32 = 8;

/// How many members must have signed a joiner's digest before it writes, when there are so many.
const CONFIRMATIONS: usize = 2;

/// What a node has said of its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Said {
    pub(super) heads: Digest,
    pub(super) state: Digest,
    on_trial: bool,
}

impl Replica {
    pub(in super::super) fn circle_id(&self) -> CircleId {
        self.circle.as_ref().map_or(CircleId([0; 32]), |row| row.circle)
    }

    /// This node's state digest of a federation; `None` while it isn't computed, or between two states.
    pub fn digest(&self, space: &Space) -> Option<Digest> {
        let state = self.spaces.get(space)?;
        let live = state.live.filter(|_| !self.is_merging(space))?;
        Some(digest_of(&live, state.federation.as_ref()))
    }

    /// This node's signed word on its state.
    pub(super) fn own_state(&mut self, now: Timestamp, space: &Space) -> Option<SignedState> {
        let digest = self.digest(space)?;
        let state = self.spaces.get(space)?;
        let (heads, live) = (hash_of_heads(&state.heads), state.live.map_or(0, |live| live.count));
        let said = Said { heads, state: digest, on_trial: self.is_on_trial(space) };
        if let Some((_, signed)) = self.signed.get(space).filter(|(known, _)| *known == said) {
            return Some(signed.clone());
        }
        let logs = hash_of_logs(&state.heads, &state.known);
        let (author, key) = (self.me.node, self.me.keys.log);
        let body = StateBody {
            author,
            key,
            space: *space,
            heads,
            logs,
            state: digest,
            live,
            on_trial: said.on_trial,
            at: now,
        };
        let signed = SignedState::sign(body, &self.me.log_key, &self.circle_id());
        self.signed.insert(*space, (said, signed.clone()));
        Some(signed)
    }

    /// Tells connected members that share a space what its state is, when they haven't heard. Followers only listen.
    pub(in super::super) fn tell_states<V: View>(&mut self, work: &mut Work<'_, V>) {
        if self.role() != Some(Role::Full) {
            return;
        }
        let spaces: Vec<Space> =
            self.spaces.iter().filter(|(_, state)| state.federation.is_some()).map(|(space, _)| *space).collect();
        let peers: Vec<NodeId> = self.peers.iter().filter(|(_, peer)| peer.connected).map(|(node, _)| *node).collect();
        for space in spaces {
            let hearers: Vec<NodeId> = peers.iter().filter(|peer| self.shares(&space, peer)).copied().collect();
            if hearers.is_empty() {
                continue;
            }
            let Some(state) = self.own_state(work.now, &space) else { continue };
            let Some(said) = self.signed.get(&space).map(|(said, _)| *said) else { continue };
            for node in hearers {
                let peer = self.peers.entry(node).or_default();
                if peer.told.insert(space, said) != Some(said) {
                    work.out.push(Output::Send(node, Message::State(state.clone()).to_bytes()));
                }
            }
        }
    }

    pub(in super::super) fn take_state<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        signed: &SignedState,
    ) -> Result<(), ViewFault> {
        let opened = signed.open(&self.circle_id()).map_err(|error| Refusal::Message(error.to_string()));
        let body = match opened.and_then(|body| self.check_state(&from, &body.space, &body).map(|()| body)) {
            Ok(body) => body,
            Err(refusal) => {
                work.note(Event::Refused { from: Some(from), refusal });
                return Ok(());
            }
        };
        if !self.shares(&body.space, &from) {
            return Ok(());
        }
        self.settle(work)?;
        let space = body.space;
        let peer = self.peers.entry(from).or_default();
        if body.on_trial {
            // What it was told before may have come too early for it.
            peer.told.remove(&space);
        }
        peer.states.insert(space, body);
        self.judge_state(work, space, from);
        Ok(())
    }

    /// Whether `peer`, when it last told, had the same heads as this node has now, and then whether the digests are equal.
    pub fn agrees(&self, space: &Space, peer: &NodeId) -> Option<bool> {
        let told = self.peers.get(peer)?.states.get(space)?;
        let here = self.spaces.get(space)?;
        let digest = self.digest(space)?;
        (told.heads == hash_of_heads(&here.heads)).then_some(told.state == digest)
    }

    pub(super) fn judge_state<V: View>(&mut self, work: &mut Work<'_, V>, space: Space, peer: NodeId) {
        match self.agrees(&space, &peer) {
            Some(false) => self.differ(work, space, peer),
            Some(true) => {
                if self.is_word_enough(&space, &peer) {
                    self.end_trial(work, &space);
                }
                self.confirm(work, space);
            }
            None => {}
        }
    }

    /// Whether a member's word that its state is the same ends a trial. If it is on trial itself, both may have believed the
    /// same liar, or one of them the other: then all members must have said so, for who is away may know better.
    fn is_word_enough(&self, space: &Space, peer: &NodeId) -> bool {
        let said = self.peers.get(peer).and_then(|peer| peer.states.get(space));
        let is_sure = said.is_some_and(|said| !said.on_trial);
        let others = self.members_besides(space);
        is_sure || others.iter().all(|node| self.agrees(space, node) == Some(true))
    }

    /// This node has other states than a member at the same heads: one of them erred, or was lied to when it took its state
    /// over. Who is on trial goes by who isn't; of two, the greater goes by the lesser.
    fn differ<V: View>(&mut self, work: &mut Work<'_, V>, space: Space, peer: NodeId) {
        let said = self.peers.get(&peer).and_then(|peer| peer.states.get(&space));
        let theirs_may_change = said.is_some_and(|said| said.on_trial);
        let is_on_trial = self.is_on_trial(&space);
        if self.role() == Some(Role::Edge) || self.unconfirmed.contains(&space) {
            self.begin_merge(work, space, peer, Why::Follow);
        } else if is_on_trial && (!theirs_may_change || peer < self.me.node) {
            self.begin_merge(work, space, peer, Why::Asked);
        }
        if !is_on_trial && !theirs_may_change {
            work.note(Event::Diverged { space, peer });
        }
    }

    /// A joiner writes when enough members have signed what it has.
    fn confirm<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) {
        if !self.unconfirmed.contains(&space) {
            return;
        }
        let others = self.members_besides(&space);
        let agree = others.iter().filter(|node| self.agrees(&space, node) == Some(true)).count();
        if agree >= CONFIRMATIONS.min(others.len()) {
            self.unconfirmed.remove(&space);
            work.draft.remove(Table::Meta, rows::unconfirmed_key(&space));
        }
    }

    /// The full members of a federation in good standing, this node apart.
    fn members_besides(&self, space: &Space) -> Vec<NodeId> {
        let Some(trust) = &self.trust else { return Vec::new() };
        let federation = self.federation(space);
        let is_full = |node: &NodeId| trust.good(node).is_some_and(|member| member.role() == Role::Full);
        let members = federation.into_iter().flat_map(|federation| federation.members.keys());
        let counts = |node: &&NodeId| {
            **node != self.me.node && is_full(node) && federation.is_some_and(|federation| federation.is_member(node))
        };
        members.filter(counts).copied().collect()
    }

    /// Compares states with `source` and takes over what differs, unless that is under way already.
    pub(in super::super) fn begin_merge<V>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        source: NodeId,
        why: Why,
    ) -> bool {
        let is_busy = |merge: &Merge| !matches!(merge.step, Step::Listed);
        if self.merges.get(&space).is_some_and(is_busy) || work.open.contains_key(&space) {
            return false;
        }
        self.merges.insert(space, Merge::new(source, why));
        work.out.push(Output::Continue);
        true
    }

    /// The heads that the connected members of a space say they have.
    pub(super) fn told_by_members(&self, space: &Space) -> Vec<Heads> {
        let is_member = |node: &NodeId| self.source_of(space, Some(*node)).is_some();
        let told = self.peers.iter().filter(|(node, peer)| peer.connected && is_member(node));
        told.filter_map(|(_, peer)| peer.heads.get(space).cloned()).collect()
    }

    /// At an edge: words of an author that every connected member lacks, and that it can't pass on because its log
    /// isn't whole, are given up for a member's state; and so is a branch of a forked log on which no such member stands.
    /// Who has them after all will pass them on.
    pub(in super::super) fn shed_surplus<V: View>(&mut self, work: &mut Work<'_, V>) {
        if self.role() != Some(Role::Edge) {
            return;
        }
        let spaces: Vec<Space> =
            self.spaces.iter().filter(|(_, state)| state.federation.is_some()).map(|(s, _)| *s).collect();
        for space in spaces {
            let Some(source) = self.source_of(&space, None) else { continue };
            let told = self.told_by_members(&space);
            let most = |incarnation: &Incarnation| told.iter().map(|heads| heads.of(incarnation).sequence).max();
            let is_surplus =
                |(incarnation, floor): (&Incarnation, &u64)| most(incarnation).is_some_and(|most| most < *floor);
            let state = &self.spaces[&space];
            let stands_alone = |life: &Incarnation, from: u64| {
                let (mine, mut theirs) = (state.heads.of(life), told.iter().map(|heads| heads.of(life)));
                let agreed = theirs.next().filter(|first| first.sequence >= from && *first != mine);
                mine.sequence >= from && agreed.is_some_and(|first| theirs.all(|other| other == first))
            };
            // Where nothing proves a fork, that both end at the same number shows it.
            let ends_elsewhere = |(life, mine): (&Incarnation, &Head)| {
                let is_other = |other: &Head| other.sequence == mine.sequence && other.chain != mine.chain;
                stands_alone(life, mine.sequence) && told.iter().any(|heads| is_other(&heads.of(life)))
            };
            let is_parted = state.forks.iter().any(|(life, fork)| stands_alone(life, fork.sequence()))
                || state.heads.0.iter().any(ends_elsewhere);
            if is_parted || state.floors.iter().any(is_surplus) {
                self.begin_merge(work, space, source, Why::Follow);
            }
        }
    }

    /// Once a second: questions that nobody answers are asked again, or given up; what was caught up with is done.
    pub(in super::super) fn tend_merges<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        let spaces = &self.spaces;
        let mut caught_up = Vec::new();
        for (space, (until, ticks)) in &mut self.catching_up {
            *ticks += 1;
            let covers = spaces.get(space).is_some_and(|state| state.heads.cover_context(until));
            if covers || *ticks > CATCH_UP_MAX {
                caught_up.push(*space);
            }
        }
        self.tend_trials(work);
        for space in caught_up {
            self.catching_up.remove(&space);
            work.draft.remove(Table::Meta, rows::catching_up_key(&space));
        }
        let spaces: Vec<Space> = self.merges.keys().copied().collect();
        for space in spaces {
            let Some(merge) = self.merges.get_mut(&space) else { continue };
            let is_connected = self.peers.get(&merge.source).is_some_and(|peer| peer.connected);
            merge.still += 1;
            match &mut merge.step {
                Step::Commit(_) => work.out.push(Output::Continue),
                Step::Listed => {}
                _ if !is_connected || merge.still > STILL_MAX => {
                    self.merges.remove(&space);
                }
                Step::Clear => work.out.push(Output::Continue),
                Step::Snapshot(_) if merge.asked.is_empty() => self.ask_snapshot(work, space)?,
                Step::Descend(..) if merge.asked.is_empty() => self.go_on(work, space)?,
                Step::Descend(..) if merge.still % LOST_AFTER == 0 => self.ask_again(work, space)?,
                Step::Tail(..) => self.tend_tail(work, space)?,
                Step::Snapshot(_) | Step::Descend(..) => {}
            }
        }
        Ok(())
    }

    /// What was taken over is held against what members said of their states meanwhile, now and then again.
    fn tend_trials<V: View>(&mut self, work: &mut Work<'_, V>) {
        self.on_trial.values_mut().for_each(|ticks| *ticks = ticks.saturating_add(1));
        let due: Vec<Space> =
            self.on_trial.iter().filter(|(_, ticks)| **ticks % TRIAL_TICKS == 1).map(|(space, _)| *space).collect();
        let peers: Vec<NodeId> = self.peers.iter().filter(|(_, peer)| peer.connected).map(|(node, _)| *node).collect();
        for space in due {
            peers.iter().for_each(|peer| self.judge_state(work, space, *peer));
        }
    }

    /// Whether the state of a space was taken over, and no member has signed since that its own is the same.
    pub fn is_on_trial(&self, space: &Space) -> bool {
        self.on_trial.contains_key(space)
    }

    /// How the state sync of a space stands, or how the last one ended.
    pub fn merge_progress(&self, space: &Space) -> Option<&MergeProgress> {
        self.merges.get(space).map(Merge::progress).or_else(|| self.merged.get(space))
    }

    /// Whether any space's state was replaced by a member's since the start, or is being replaced.
    pub fn followed_a_member(&self) -> bool {
        self.followed || self.merges.values().any(|merge| merge.why == Why::Follow)
    }

    /// Whether what is live in a space is just being taken over, and not yet what the heads say.
    pub fn is_merging(&self, space: &Space) -> bool {
        self.merges.get(space).is_some_and(Merge::is_committing) || self.catching_up.contains_key(space)
    }

    /// A connected full member that shares a space: the one named, or any, best of all one that has shown what it has there.
    pub(in super::super) fn source_of(&self, space: &Space, member: Option<NodeId>) -> Option<NodeId> {
        let trust = self.trust.as_ref()?;
        let is_full = |node: &NodeId| trust.good(node).is_some_and(|member| member.role() == Role::Full);
        let connected = self.peers.iter().filter(|(_, peer)| peer.connected).map(|(node, _)| *node);
        let is_meant = |node: &NodeId| member.is_none_or(|member| member == *node);
        let sources = connected.filter(|node| is_meant(node) && is_full(node) && self.shares(space, node));
        let shows = |node: &NodeId| {
            let heads = self.peers.get(node).and_then(|peer| peer.heads.get(space));
            heads.is_some_and(|heads| !heads.0.is_empty())
        };
        // The first of the best: who is only invited has nothing to show.
        sources.min_by_key(|node| !shows(node))
    }

    /// Compares states with `source` because an operator asks; false when that is under way, or can't be.
    pub(in super::super) fn sync_with<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        source: NodeId,
        dry_run: bool,
    ) -> bool {
        self.merged.remove(&space);
        self.begin_merge(work, space, source, if dry_run { Why::DryRun } else { Why::Asked })
    }

    /// Whether this node hasn't yet the word of other members that what it took over is right.
    pub fn is_unconfirmed(&self, space: &Space) -> bool {
        self.unconfirmed.contains(space)
    }
}
