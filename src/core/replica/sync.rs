//! Anti-entropy: exchanging heads and streaming what is missing; gossip as the fast path; telling peers what is new.

use super::io::{Event, Output, Refusal, Table, Verdict, View, ViewFault};
use super::message::{Announcement, HeadsMessage, Hello, Message, SegmentsMessage, SpaceHeads, WantMessage};
use super::receive::Taken;
use super::rows;
use super::state::{Replica, Wish, Work};
use crate::changelog::Sealed;
use crate::model::{Context, Heads, NodeId, Space};
use crate::trust::Capability;

/// The most bytes of segments in one message.
const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// A wish that isn't answered for so long goes to another peer. Milliseconds.
const WISH_MS_MAX: u64 = 10_000;

impl Replica {
    /// Whether `peer` may hold `space`, as far as this node knows.
    pub fn shares(&self, space: &Space, peer: &NodeId) -> bool {
        let Some(trust) = &self.trust else { return false };
        let introducer = self.circle.as_ref().and_then(|row| row.issuer.as_ref());
        if *space == Space::Trust && trust.root().is_none() {
            // Until the circle's log has arrived, who admitted us is who we talk to.
            return introducer.is_some_and(|introducer| introducer.node == *peer);
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
                        || trust.member(peer).is_some_and(|m| m.role() == crate::trust::Role::Edge)
                            && trust.follows(peer, &Capability::Follow(Some(*id)))
                })
            }
        }
    }

    /// Whether this node still takes part in a space: it has a repository that shows it, or hasn't answered yet.
    fn takes_part(&self, space: &Space) -> bool {
        match space {
            Space::Trust => true,
            Space::Accounts => false,
            Space::Federation(_) => {
                let federation = self.spaces.get(space).and_then(|state| state.federation.as_ref());
                let left = federation.is_some_and(|federation| {
                    let mine = federation.members.get(&self.me.node);
                    mine.is_some_and(|membership| !membership.is_pending() && membership.accepted().is_none())
                });
                !left && !self.declined.contains(space)
            }
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
        self.send_statements(work, node);
        self.send_heads(work, node, None, true);
    }

    pub(super) fn disconnected(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.connected = false;
        }
        self.wishes.retain(|_, wish| wish.peer != node);
    }

    fn connected_peers(&self) -> Vec<NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.connected).map(|(node, _)| *node).collect()
    }

    fn send_heads<V: View>(&self, work: &mut Work<'_, V>, to: NodeId, only: Option<Space>, reply: bool) {
        let shared = self.spaces.iter().filter(|(space, _)| only.is_none_or(|only| only == **space));
        let mut spaces: Vec<SpaceHeads> = shared
            .filter(|(space, _)| self.shares(space, &to))
            .map(|(space, state)| SpaceHeads { space: *space, heads: state.heads.clone() })
            .collect();
        let nothing_yet = only.is_none_or(|only| only == Space::Trust) && !self.spaces.contains_key(&Space::Trust);
        if nothing_yet && self.shares(&Space::Trust, &to) {
            spaces.insert(0, SpaceHeads { space: Space::Trust, heads: Heads::default() });
        }
        let statements = self.statements_digest();
        let message = Message::Heads(HeadsMessage { spaces, statements, reply });
        work.out.push(Output::Send(to, message.to_bytes()));
    }

    pub(super) fn frame<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<(), ViewFault> {
        match Message::read(bytes) {
            Ok(Message::Heads(heads)) => self.take_heads(work, from, heads),
            Ok(Message::Want(want)) => self.serve(work, from, &want)?,
            Ok(Message::Segments(segments)) => self.take_segments(work, from, segments)?,
            Ok(Message::Statements(statements)) => self.take_statements(work, from, &statements),
            Ok(Message::Unknown(_)) => {}
            Err(reason) => {
                work.note(Event::Refused { from: Some(from), refusal: Refusal::Message(reason) });
            }
        }
        Ok(())
    }

    fn take_heads<V: View>(&mut self, work: &mut Work<'_, V>, from: NodeId, message: HeadsMessage) {
        let now = work.now;
        for SpaceHeads { space, heads } in message.spaces {
            let held = self.spaces.get(&space);
            if held.is_some() && !self.shares(&space, &from) || !self.takes_part(&space) {
                continue;
            }
            let mine = held.map(|state| state.heads.clone()).unwrap_or_default();
            let has_more = !mine.cover_context(&self.admissible(&space, &heads));
            let peer = self.peers.entry(from).or_default();
            peer.heads.insert(space, heads);
            peer.heads_at = Some(now);
            if has_more {
                self.wish(work, space, from);
            }
        }
        if message.statements != self.statements_digest() {
            self.send_statements(work, from);
        }
        if message.reply {
            self.send_heads(work, from, None, false);
        }
    }

    /// What of `heads` this node would apply: the logs of revoked authors only up to their seals.
    fn admissible(&self, space: &Space, heads: &Heads) -> Context {
        let mut context = heads.to_context();
        context.0.remove(&self.incarnation);
        if let Some(trust) = &self.trust {
            for (incarnation, sequence) in &mut context.0 {
                *sequence = (*sequence).min(trust.admitted(*space, incarnation));
            }
        }
        context
    }

    /// Asks `peer` for what is missing in `space`, unless somebody is being asked already.
    fn wish<V: View>(&mut self, work: &mut Work<'_, V>, space: Space, peer: NodeId) {
        let waiting = |wish: &Wish| work.now.ms_since(wish.since) < WISH_MS_MAX && work.now >= wish.since;
        if self.wishes.get(&space).is_some_and(waiting) {
            return;
        }
        self.wishes.insert(space, Wish { peer, since: work.now });
        let since = self.spaces.get(&space).map(|state| state.heads.to_context()).unwrap_or_default();
        work.out.push(Output::Send(peer, Message::Want(WantMessage { space, since }).to_bytes()));
    }

    /// Streams segments that the asker lacks, a fair share of each log, oldest first.
    fn serve<V: View>(&mut self, work: &mut Work<'_, V>, to: NodeId, want: &WantMessage) -> Result<(), ViewFault> {
        let space = want.space;
        if !self.shares(&space, &to) {
            work.note(Event::Refused { from: Some(to), refusal: Refusal::NotShared(space) });
            return Ok(());
        }
        let Some(state) = self.spaces.get(&space) else { return Ok(()) };
        let behind: Vec<_> = state
            .heads
            .0
            .iter()
            .map(|(incarnation, head)| {
                (*incarnation, want.since.0.get(incarnation).copied().unwrap_or(0), head.sequence)
            })
            .filter(|(_, has, head)| has < head)
            .collect();
        let share = MESSAGE_BYTES_MAX / behind.len().max(1);
        let mut found: Vec<Sealed> = Vec::new();
        let mut more = false;
        for (incarnation, has, head) in behind {
            let (mut from, mut bytes) = (has + 1, 0);
            while from <= head && bytes < share {
                let (low, high) =
                    (rows::segment_key(&space, &incarnation, from), rows::segment_key(&space, &incarnation, u64::MAX));
                let Some((_, stored)) = work.draft.view().range(Table::Log, &low, &high, 1)?.pop() else { break };
                let fault = |error| ViewFault(format!("a stored segment of {space} is unreadable: {error}"));
                let segment = Sealed::read(&stored).map_err(fault)?;
                from = segment.header.last_sequence() + 1;
                bytes += stored.len();
                found.push(segment);
            }
            more |= from <= head;
        }
        found.sort_by_key(|segment| {
            (segment.header.written_at, segment.header.incarnation, segment.header.first_sequence)
        });
        let mut batch = Vec::new();
        let mut bytes = 0;
        for segment in found {
            if bytes > 0 && bytes + segment.bytes().len() > MESSAGE_BYTES_MAX {
                more = true;
                break;
            }
            bytes += segment.bytes().len();
            batch.push(segment.bytes().to_vec());
        }
        let message = Message::Segments(SegmentsMessage { space, segments: batch, more });
        work.out.push(Output::Send(to, message.to_bytes()));
        Ok(())
    }

    fn take_segments<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        message: SegmentsMessage,
    ) -> Result<(), ViewFault> {
        let space = message.space;
        let asked = self.wishes.get(&space).is_some_and(|wish| wish.peer == from);
        let mut progress = false;
        for bytes in &message.segments {
            match self.take(work, Some(from), bytes, false)? {
                Taken::Applied => progress = true,
                Taken::Refused(Refusal::NotAccepted(_)) => {
                    self.declined.insert(space);
                    break;
                }
                Taken::Duplicate | Taken::Parked | Taken::Refused(_) => {}
            }
        }
        if asked {
            self.wishes.remove(&space);
            if message.more && progress {
                self.wish(work, space, from);
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
            Ok(Some(Announcement::Segment(segment))) => match self.take(work, None, &segment, true)? {
                Taken::Applied | Taken::Parked => Verdict::Accept,
                Taken::Duplicate => Verdict::Ignore,
                Taken::Refused(_) => Verdict::Reject,
            },
            Ok(Some(Announcement::Head(incarnation, head))) => {
                let author = incarnation.node;
                let has = self.spaces.get(&space).map_or(0, |state| state.heads.of(&incarnation).sequence);
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
    pub(super) fn tick<V: View>(&mut self, work: &mut Work<'_, V>, dice: u64, round: bool) {
        let peers = self.connected_peers();
        for space in std::mem::take(&mut self.dirty) {
            for peer in peers.iter().filter(|peer| self.shares(&space, peer)) {
                self.send_heads(work, *peer, Some(space), false);
            }
        }
        let stale = |wish: &Wish| work.now.ms_since(wish.since) >= WISH_MS_MAX || work.now < wish.since;
        self.wishes.retain(|_, wish| !stale(wish));
        if round && !peers.is_empty() {
            let choice = peers[(dice % peers.len() as u64) as usize];
            self.send_heads(work, choice, None, true);
        }
    }

    /// After an input: pushes own Trust segments, gossips the others, and tells invitees that they are invited.
    pub(super) fn announce<V: View>(&mut self, work: &mut Work<'_, V>) {
        let peers = self.connected_peers();
        for (space, bytes, publish) in std::mem::take(&mut work.sealed) {
            if space == Space::Trust {
                let message =
                    Message::Segments(SegmentsMessage { space, segments: vec![bytes], more: false }).to_bytes();
                for peer in peers.iter().filter(|peer| self.shares(&space, peer)) {
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
