//! Anti-entropy: exchanging heads and asking for what is missing; gossip as the fast path; telling peers what is new.

use super::io::{Event, Output, Refusal, Table, Verdict, View, ViewFault};
use super::message::{Announcement, HeadsMessage, Hello, Message, SegmentsMessage, SpaceHeads, WantMessage};
use super::receive::Taken;
use super::reconcile::Why;
use super::rows::{self, Introducer};
use super::state::{Replica, Wish, Work};
use crate::changelog::Sealed;
use crate::model::{Context, Digest, Head, Heads, Incarnation, NodeId, Space};
use crate::trust::{Capability, Role, State as Trust, TrustRefusal};

/// The most bytes of segments in one message.
pub(super) const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// The most logs whose heads go into one message: 80 bytes each.
const LOGS_MAX: usize = 6000;

/// The most federations that this node asks for at a time without holding them.
const NEW_SPACES_MAX: usize = 64;

/// A wish that isn't answered for so long goes to another peer. Milliseconds.
const WISH_MS_MAX: u64 = 10_000;

impl Replica {
    /// Whether `peer` may hold `space`, as far as this node knows.
    pub fn shares(&self, space: &Space, peer: &NodeId) -> bool {
        let Some(trust) = &self.trust else { return false };
        if *space == Space::Trust && self.introducer().is_some_and(|introducer| introducer.node == *peer) {
            return true;
        }
        if trust.good(peer).is_none() {
            return false;
        }
        match space {
            Space::Trust => true,
            Space::Accounts => false,
            Space::Federation(id) => {
                let federation = self.spaces.get(space).and_then(|state| state.federation.as_ref());
                federation.is_some_and(|federation| {
                    federation.may_hold(peer)
                        || trust.member(peer).is_some_and(|m| m.role() == Role::Edge)
                            && trust.follows(peer, &Capability::Follow(Some(*id)))
                })
            }
        }
    }

    /// What of a space `peer` may know: all, when it shares the space; and a node that left may have again what it had
    /// when it last wrote there, so that one set back to an old copy hears of its own leave. `None` for anybody else.
    pub(super) fn visible_to(&self, space: &Space, peer: &NodeId) -> Option<Heads> {
        let state = self.spaces.get(space)?;
        if self.shares(space, peer) {
            return Some(state.heads.clone());
        }
        if !self.was_member(space, peer) {
            return None;
        }
        let mut had = Context::default();
        for (incarnation, (context, _)) in state.known.iter().filter(|(incarnation, _)| incarnation.node == *peer) {
            had.merge(context);
            had.merge(&Context([(*incarnation, state.heads.of(incarnation).sequence)].into()));
        }
        if let Some(told) = state.removed.get(peer) {
            had.merge(told);
        }
        let known = |(incarnation, sequence): (Incarnation, u64)| {
            let head = state.heads.of(&incarnation);
            let chain = if head.sequence == sequence { head.chain } else { Digest::ZERO };
            (incarnation, Head { sequence: sequence.min(head.sequence), chain })
        };
        Some(Heads(had.0.into_iter().map(known).collect()))
    }

    /// Whether `peer`, in good standing, left a federation. What it wrote there is taken from it all the same: in a life
    /// that had forgotten the leave it may have accepted anew.
    fn was_member(&self, space: &Space, peer: &NodeId) -> bool {
        let federation = self.spaces.get(space).and_then(|state| state.federation.as_ref());
        let left = federation
            .and_then(|f| f.members.get(peer))
            .is_some_and(|membership| membership.endings().next().is_some());
        left && self.trust.as_ref().is_some_and(|trust| trust.good(peer).is_some())
    }

    /// Whether what `peer` says it has of `space` is worth asking for. Of a full member always: a federation's id is told to
    /// its members and invitees only, and the invitation may be just what this node lacks, because who wrote it told
    /// nobody else before it was revoked or lost.
    pub(super) fn may_offer(&self, space: &Space, peer: &NodeId) -> bool {
        let is_full = |trust: &Trust| trust.good(peer).is_some_and(|member| member.role() == Role::Full);
        self.shares(space, peer) || self.was_member(space, peer) || self.trust.as_ref().is_some_and(is_full)
    }

    /// Who admitted this node: a peer until its own grant has arrived, for until then the log may not name it.
    pub(super) fn introducer(&self) -> Option<&Introducer> {
        let arrived = self.trust.as_ref().is_some_and(|trust| trust.member(&self.me.node).is_some());
        self.circle.as_ref().filter(|_| !arrived)?.issuer.as_ref()
    }

    /// Whether this node takes a space that a peer offers. One that it left goes on as long as peers share it: they
    /// stop when they have heard of the leave, and begin again with a new invitation.
    fn takes_part(&self, space: &Space) -> bool {
        match space {
            Space::Trust => true,
            Space::Accounts => false,
            Space::Federation(_) => !self.declined.contains(space),
        }
    }

    pub(super) fn connected<V: View>(&mut self, work: &mut Work<'_, V>, node: NodeId, hello: Hello) {
        let known = self.addresses.get(&node);
        if known != Some(&hello.addresses) && !hello.addresses.control.is_empty() {
            work.draft.set(Table::Meta, rows::address_key(&node), &hello.addresses);
            self.addresses.insert(node, hello.addresses.clone());
            work.note(Event::Addresses(node, hello.addresses.clone()));
        }
        let peer = self.peers.entry(node).or_default();
        peer.connected = true;
        peer.hello = Some(hello);
        peer.spent.clear();
        peer.told.clear();
        peer.proved.clear();
        self.send_statements(work, node);
        self.send_heads(work, node, None, true);
        self.ask_time(work, node);
    }

    pub(super) fn disconnected(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.connected = false;
            peer.offset = None;
        }
        self.wishes.retain(|_, wish| wish.peer != node);
        self.merges.retain(|_, merge| merge.source != node || !merge.needs_source());
    }

    pub(super) fn connected_peers(&self) -> Vec<NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.connected).map(|(node, _)| *node).collect()
    }

    fn send_heads<V: View>(&self, work: &mut Work<'_, V>, to: NodeId, only: Option<Space>, reply: bool) {
        let shared = self.spaces.iter().filter(|(space, _)| only.is_none_or(|only| only == **space));
        let mut spaces: Vec<SpaceHeads> = shared
            .filter_map(|(space, _)| Some(SpaceHeads { space: *space, heads: self.visible_to(space, &to)? }))
            .collect();
        let nothing_yet = only.is_none_or(|only| only == Space::Trust) && !self.spaces.contains_key(&Space::Trust);
        if nothing_yet && self.shares(&Space::Trust, &to) {
            spaces.insert(0, SpaceHeads { space: Space::Trust, heads: Heads::default() });
        }
        let statements = self.statements_digest();
        let (mut batch, mut logs) = (Vec::new(), 0);
        for space in spaces {
            if logs + space.heads.0.len() > LOGS_MAX && !batch.is_empty() {
                let message = HeadsMessage { spaces: std::mem::take(&mut batch), statements, reply: false };
                work.out.push(Output::Send(to, Message::Heads(message).to_bytes()));
                logs = 0;
            }
            logs += space.heads.0.len() + 1;
            batch.push(space);
        }
        let message = Message::Heads(HeadsMessage { spaces: batch, statements, reply });
        work.out.push(Output::Send(to, message.to_bytes()));
        let kept = self.kept_for(&to, only);
        if !kept.is_empty() {
            work.out.push(Output::Send(to, Message::Kept(kept).to_bytes()));
        }
    }

    pub(super) fn frame<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<(), ViewFault> {
        if !self.shares(&Space::Trust, &from) {
            // Revoked, or not heard of: nothing of it is taken.
            work.note(Event::Refused { from: Some(from), refusal: Refusal::NotShared(Space::Trust) });
            return Ok(());
        }
        match Message::read(bytes) {
            Ok(Message::Heads(heads)) => self.take_heads(work, from, heads)?,
            Ok(Message::Want(want)) => self.serve(work, from, &want)?,
            Ok(Message::Segments(segments)) => self.take_segments(work, from, segments)?,
            Ok(Message::Statements(statements)) => self.take_statements(work, from, &statements),
            Ok(Message::Clock(clock)) => self.take_time(work, from, &clock),
            Ok(Message::Fork(proof)) => self.take_proof(work, Some(from), &proof)?,
            Ok(Message::Probe(probe)) => self.answer_probe(work, from, &probe)?,
            Ok(Message::Kept(spaces)) => self.take_kept(work, from, spaces),
            Ok(Message::Truncated(space)) => self.take_truncated(work, space, from)?,
            Ok(Message::State(state)) => self.take_state(work, from, &state)?,
            Ok(Message::AskSnapshot(ask)) => self.show_snapshot(work, from, &ask)?,
            Ok(Message::Snapshot(snapshot)) => self.take_snapshot(work, from, *snapshot)?,
            Ok(Message::Compare(ask)) => self.show_nodes(work, from, &ask)?,
            Ok(Message::Compared(answer)) => self.take_compared(work, from, answer)?,
            Ok(Message::Fetch(ask)) => self.show_items(work, from, &ask)?,
            Ok(Message::Items(answer)) => self.take_items(work, from, answer)?,
            Ok(Message::Farewell(farewell)) => self.take_farewell(work, from, &farewell)?,
            Ok(Message::AskFarewells(ask)) => self.show_farewells(work, from, &ask)?,
            Ok(Message::Unknown(_)) => {}
            Err(reason) => {
                work.note(Event::Refused { from: Some(from), refusal: Refusal::Message(reason) });
            }
        }
        Ok(())
    }

    fn take_heads<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        message: HeadsMessage,
    ) -> Result<(), ViewFault> {
        let now = work.now;
        for SpaceHeads { space, heads } in message.spaces {
            let held = self.spaces.get(&space);
            if held.is_some() && !self.may_offer(&space, &from) || !self.takes_part(&space) {
                continue;
            }
            let is_new = held.is_none() && space != Space::Trust;
            if is_new && self.wishes.keys().filter(|space| !self.spaces.contains_key(space)).count() >= NEW_SPACES_MAX {
                continue;
            }
            let has_more = self.lacks(&space, &heads);
            if held.is_some() {
                self.doubt_oneself(work, from, space, &heads);
            }
            if !heads.0.is_empty() {
                self.send_proofs(work, from, space);
            }
            self.compare_chains(work, from, space, &heads)?;
            let peer = self.peers.entry(from).or_default();
            peer.heads_at = Some(now);
            peer.spent.remove(&space);
            if !is_new {
                let before = peer.heads.insert(space, heads);
                if before.is_none_or(|before| before.0.is_empty()) {
                    // What it was told of a space that it didn't hold meant nothing to it.
                    peer.told.remove(&space);
                }
            }
            if has_more {
                self.wish(work, space, from);
            }
        }
        if message.statements != self.statements_digest() {
            self.send_statements(work, from);
        }
        if message.reply {
            self.send_heads(work, from, None, false);
            self.bid_farewell(work, from)?;
        }
        Ok(())
    }

    /// Whether `heads` name something that this node would apply and hasn't.
    pub(super) fn lacks(&self, space: &Space, heads: &Heads) -> bool {
        let wanted = self.admissible(space, heads);
        match self.spaces.get(space) {
            Some(state) => !state.reach().cover_context(&wanted),
            None => !Heads::default().cover_context(&wanted),
        }
    }

    /// Asks the next connected peer that said it has more of `space` and wasn't asked in vain since.
    fn pursue<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) {
        let has_more = |(node, peer): (&NodeId, &super::state::Peer)| {
            let told = [peer.heads.get(&space), peer.kept.get(&space)];
            let asks = peer.connected && !peer.spent.contains(&space) && self.may_offer(&space, node);
            (asks && told.into_iter().flatten().any(|told| self.lacks(&space, told))).then_some(*node)
        };
        if let Some(peer) = self.peers.iter().find_map(has_more) {
            self.wish(work, space, peer);
        }
    }

    pub(super) fn spend(&mut self, space: Space, peer: &NodeId) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.spent.insert(space);
        }
    }

    /// What of `heads` this node would apply: the logs of revoked authors only up to their seals.
    fn admissible(&self, space: &Space, heads: &Heads) -> Context {
        let mut context = heads.to_context();
        for (incarnation, sequence) in &mut context.0 {
            *sequence = (*sequence).min(self.admitted(*space, incarnation));
        }
        context
    }

    /// Asks `peer` for what is missing in `space`, unless somebody is being asked already, or it is gone.
    pub(super) fn wish<V: View>(&mut self, work: &mut Work<'_, V>, space: Space, peer: NodeId) {
        let waiting = |wish: &Wish| work.now.ms_since(wish.since) < WISH_MS_MAX && work.now >= wish.since;
        let is_connected = self.peers.get(&peer).is_some_and(|peer| peer.connected);
        if !is_connected || self.wishes.get(&space).is_some_and(waiting) {
            return;
        }
        self.wishes.insert(space, Wish { peer, since: work.now });
        let since = self.spaces.get(&space).map(|state| state.reach().to_context()).unwrap_or_default();
        work.out.push(Output::Send(peer, Message::Want(WantMessage { space, since }).to_bytes()));
    }

    /// A peer has no log of what is missing here.
    fn take_truncated<V: View>(&mut self, work: &mut Work<'_, V>, space: Space, from: NodeId) -> Result<(), ViewFault> {
        if self.awaits_tail(&space, &from) {
            return self.take_tail(work, space, from, None);
        }
        if self.wishes.get(&space).is_none_or(|wish| wish.peer != from) {
            return Ok(());
        }
        self.wishes.remove(&space);
        self.spend(space, &from);
        // One that ended just now has brought what there is: another one can't bring more before something has changed.
        let is_rested = !self.rested.contains(&space);
        if !is_rested || !self.begin_merge(work, space, from, Why::Behind) {
            self.pursue(work, space);
        }
        Ok(())
    }

    fn take_segments<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        message: SegmentsMessage,
    ) -> Result<(), ViewFault> {
        let space = message.space;
        if self.awaits_tail(&space, &from) {
            return self.take_tail(work, space, from, Some(&message));
        }
        let asked = self.wishes.get(&space).is_some_and(|wish| wish.peer == from);
        let mut progress = false;
        for bytes in &message.segments {
            match self.take(work, Some(from), bytes, false)? {
                Taken::Applied | Taken::Kept => progress = true,
                Taken::Refused(Refusal::NotAccepted(_)) => {
                    self.declined.insert(space);
                    self.parked.forget(&space);
                    break;
                }
                Taken::Duplicate | Taken::Parked | Taken::Refused(_) => {}
            }
        }
        if asked {
            self.wishes.remove(&space);
            if message.more && progress {
                self.wish(work, space, from);
            } else {
                if !progress {
                    self.spend(space, &from);
                }
                self.pursue(work, space);
            }
        }
        if space == Space::Trust && progress {
            // The acknowledgement of what was pushed.
            self.send_heads(work, from, Some(Space::Trust), false);
        }
        Ok(())
    }

    pub(super) fn gossip<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        bytes: &[u8],
    ) -> Result<(), ViewFault> {
        let verdict = match Announcement::read(bytes) {
            Err(_) => Verdict::Reject,
            Ok(None) => Verdict::Accept,
            Ok(Some(Announcement::Segment(segment))) => {
                if Sealed::read(&segment).is_ok_and(|read| read.header.space != space) {
                    Verdict::Reject
                } else {
                    match self.take(work, None, &segment, true)? {
                        Taken::Applied | Taken::Kept | Taken::Parked => Verdict::Accept,
                        Taken::Duplicate => Verdict::Ignore,
                        Taken::Refused(refusal) => verdict_on(&refusal),
                    }
                }
            }
            Ok(Some(Announcement::Head(incarnation, head))) => {
                let author = incarnation.node;
                let has = self.spaces.get(&space).map_or(0, |state| state.reach().of(&incarnation).sequence);
                if has < head.sequence && self.peers.get(&author).is_some_and(|peer| peer.connected) {
                    self.wish(work, space, author);
                }
                Verdict::Accept
            }
        };
        work.out.push(Output::Judge(verdict));
        Ok(())
    }

    /// Once a second: tells peers which heads moved; once a round also asks one peer for all of its heads.
    pub(super) fn tick<V: View>(&mut self, work: &mut Work<'_, V>, dice: u64, round: bool) -> Result<(), ViewFault> {
        self.expire(work)?;
        self.settle(work)?;
        self.rested.clear();
        self.tend_merges(work)?;
        self.shed_surplus(work);
        self.tell_states(work);
        self.compact(work)?;
        self.take_back(work)?;
        self.give_up_surplus(work)?;
        self.leave_astray(work, dice);
        self.go_on_adopting(work)?;
        self.take_invitations(work)?;
        self.pass_doubt();
        self.watch_clock(work, round);
        if round {
            self.settle_alarms(work, dice)?;
        }
        self.try_kept(work)?;
        let peers = self.connected_peers();
        for space in std::mem::take(&mut self.dirty) {
            for peer in peers.iter().filter(|peer| self.shares(&space, peer)) {
                self.send_heads(work, *peer, Some(space), false);
            }
        }
        let stale = |wish: &Wish| work.now.ms_since(wish.since) >= WISH_MS_MAX || work.now < wish.since;
        let unanswered: Vec<(Space, NodeId)> =
            self.wishes.iter().filter(|(_, wish)| stale(wish)).map(|(space, wish)| (*space, wish.peer)).collect();
        for (space, peer) in unanswered {
            self.wishes.remove(&space);
            self.spend(space, &peer);
        }
        let spaces: Vec<Space> = self.spaces.keys().copied().collect();
        for space in spaces {
            self.pursue(work, space);
        }
        if round {
            self.peers.values_mut().for_each(|peer| peer.probed.clear());
        }
        if round && !peers.is_empty() {
            let choice = peers[(dice % peers.len() as u64) as usize];
            self.send_heads(work, choice, None, true);
            self.bid_farewell(work, choice)?;
            self.ask_farewells(work, choice)?;
            self.ask_time(work, choice);
        }
        Ok(())
    }

    /// After an input: pushes own Trust segments, gossips the others, and tells invitees that they are invited.
    pub(super) fn announce<V: View>(&mut self, work: &mut Work<'_, V>) {
        let peers = self.connected_peers();
        for (space, bytes, publish) in std::mem::take(&mut work.sealed) {
            if space == Space::Trust {
                let message =
                    Message::Segments(SegmentsMessage { space, segments: vec![bytes], more: false }).to_bytes();
                // To those revoked just now too: they are connected still, and this is how they learn of it.
                for peer in &peers {
                    work.out.push(Output::Send(*peer, message.clone()));
                }
            } else {
                work.out.push(publish);
            }
        }
        for space in work.membership_changed.clone() {
            for peer in peers.iter().filter(|peer| self.shares(&space, peer)) {
                self.send_heads(work, *peer, Some(space), false);
            }
        }
    }
}

/// What the transport should think of whoever passed on a segment that is refused here.
fn verdict_on(refusal: &Refusal) -> Verdict {
    match refusal {
        Refusal::Held { .. } => Verdict::Accept,
        // A later version, a fork, a revocation it hasn't heard of, a space just left: not the fault of who passed it on.
        Refusal::UnknownKind(..)
        | Refusal::Fork(..)
        | Refusal::Trust(TrustRefusal::Sealed(_))
        | Refusal::Crowded(..)
        | Refusal::NotShared(_)
        | Refusal::NotAccepted(_) => Verdict::Ignore,
        Refusal::Segment(_)
        | Refusal::Message(_)
        | Refusal::Trust(_)
        | Refusal::Entry(..)
        | Refusal::Misplaced(..)
        | Refusal::Farewell(..) => Verdict::Reject,
    }
}
