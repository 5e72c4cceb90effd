//! Who has forgotten: a farewell is judged, and heeded.

use std::collections::BTreeMap;

use super::super::io::{Event, Refusal, Table, View, ViewFault};
use super::super::message::Farewell;
use super::super::reconcile::Merge;
use super::super::rows;
use super::super::state::{Replica, SpaceState, Work, each_row};
use super::{ENDS_MAX, Ending, FarewellFault};
use crate::catalog::{Federation, Membership};
use crate::model::{Context, Dot, NodeId, Space};
use crate::trust::{Capability, TrustRefusal};

/// Ends in `membership` what an entry ended whose author had seen `seen` of the node's own logs. Any invitation known here
/// counts as answered: whoever was invited since then shares the log, and that will say so.
fn end(membership: &mut Membership, node: &NodeId, dot: Dot, seen: &Context) {
    membership.end(dot, |other| other.incarnation.node != *node || seen.cover(other));
}

impl SpaceState {
    /// Whether a farewell counts: not once the log itself has come so far, nor when its number was borne twice.
    fn counts(&self, farewell: &Dot) -> bool {
        !self.heads.cover(farewell) && !self.is_forked_at(farewell)
    }

    fn is_forked_at(&self, dot: &Dot) -> bool {
        self.forks.get(&dot.incarnation).is_some_and(|fork| fork.sequence() <= dot.sequence)
    }
}

impl Replica {
    /// This node's place in a federation by all that it knows: by its logs, and by farewells beyond those.
    pub(in super::super) fn own_membership(&self, space: &Space) -> Option<Membership> {
        let state = self.spaces.get(space)?;
        let me = &self.me.node;
        let mut membership = state.federation.as_ref()?.members.get(me)?.clone();
        for (dot, seen) in state.farewells.iter().filter(|(dot, _)| state.counts(dot)) {
            end(&mut membership, me, *dot, seen);
        }
        Some(membership)
    }

    /// Whether this node is a member of a federation, by all that it knows.
    pub fn is_member(&self, space: &Space) -> bool {
        self.own_membership(space).is_some_and(|membership| membership.accepted().is_some())
    }

    /// How many entries that this node was shown end a membership of its own, and aren't in its log.
    pub fn farewells(&self) -> usize {
        let of_space = |state: &SpaceState| state.farewells.keys().filter(|dot| state.counts(dot)).count();
        self.spaces.values().map(of_space).sum()
    }

    /// Takes the proof that this node's membership ended, or another's, if that was asked for.
    pub(in super::super) fn take_farewell<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        farewell: &Farewell,
    ) -> Result<(), ViewFault> {
        let space = farewell.space;
        let known = [self.federation(&space).cloned(), self.coming_federation(work, &space)?];
        let Some(federation) = known.iter().flatten().next() else {
            // A space that isn't held here: nothing that this node could have forgotten.
            return Ok(());
        };
        let ending = match Ending::read(&space, &farewell.entry) {
            Ok(ending) => ending,
            Err(refusal) => {
                self.refuse(work, Some(from), refusal);
                return Ok(());
            }
        };
        let is_own = ending.node == self.me.node;
        if is_own && self.merges.get(&space).is_some_and(Merge::keeps_still) {
            // The rows are between two states. It will be told again.
            return Ok(());
        }
        let is_news =
            if is_own { self.ends_own(&space, &ending) } else { ended_another(known.iter().flatten(), &ending) };
        let is_believed = |is_news| Ok(is_news && self.is_believed(federation, &space, &from, &ending)?);
        match is_news.and_then(is_believed) {
            Err(refusal) => drop(self.refuse(work, Some(from), refusal)),
            Ok(true) if is_own => self.heed(work, space, ending)?,
            Ok(true) => self.keep_farewell(work, &space, &ending, known.iter().flatten())?,
            Ok(false) => {}
        }
        Ok(())
    }

    /// Keeps what ended another's membership, where the log doesn't.
    fn keep_farewell<'a, V: View>(
        &self,
        work: &mut Work<'_, V>,
        space: &Space,
        ending: &Ending,
        known: impl Iterator<Item = &'a Federation>,
    ) -> Result<(), ViewFault> {
        for federation in known {
            let here = self.proofs_about(work, space, federation, &ending.node)?;
            if here.len() >= ENDS_MAX || here.iter().any(|proof| proof.entry(&ending.dot).is_some()) {
                return Ok(());
            }
        }
        work.draft.set_bytes(Table::Meta, rows::farewell_key(space, &ending.dot), ending.proof.to_bytes());
        Ok(())
    }

    /// Whether an entry ends something of this node's that is in force here.
    fn ends_own(&self, space: &Space, ending: &Ending) -> Result<bool, Refusal> {
        let Some(state) = self.spaces.get(space) else { return Ok(false) };
        if state.heads.cover(&ending.dot) || state.farewells.contains_key(&ending.dot) {
            return Ok(false);
        }
        let Some(before) = self.own_membership(space).filter(|mine| mine.accepted().is_some()) else {
            return Ok(false);
        };
        let mut after = before.clone();
        end(&mut after, &ending.node, ending.dot, &ending.seen);
        // What was ended already, and is ended once more, is no news.
        if after.endings().count() == before.endings().count() {
            return Err(Refusal::Farewell(ending.dot, FarewellFault::Earlier));
        }
        Ok(true)
    }

    /// Whether its author wrote it, and might; `false` when that can't be told before more of the circle is known here.
    fn is_believed(
        &self,
        federation: &Federation,
        space: &Space,
        from: &NodeId,
        ending: &Ending,
    ) -> Result<bool, Refusal> {
        let (header, author) = (&ending.proof.header, ending.dot.incarnation.node);
        let (Some(trust), Space::Federation(id)) = (&self.trust, space) else {
            return Err(Refusal::NotShared(*space));
        };
        if !self.heads(&Space::Trust).cover_context(&header.needs) {
            return Ok(false);
        }
        ending.proof.verify(&self.circle_id())?;
        if trust.member(&author).is_none() || !trust.may_be_key(&author, &header.key) {
            return Err(TrustRefusal::WrongKey(author).into());
        }
        if self.spaces.get(space).is_some_and(|state| state.is_forked_at(&ending.dot)) {
            return Err(Refusal::Farewell(ending.dot, FarewellFault::Forked));
        }
        if header.last_sequence() > self.admitted(*space, &header.incarnation) {
            return Err(TrustRefusal::Sealed(author).into());
        }
        let is_founder = federation.founder == author;
        let removes = (ending.is_removal && !is_founder).then_some(Capability::Revoke);
        for right in [Some(Capability::Write(Some(*id))), removes].into_iter().flatten() {
            if !trust.holds(&author, &right, None) {
                return Err(TrustRefusal::NotAllowed(author, right.name()).into());
            }
        }
        let is_passed_on = !is_founder && federation.is_member(from);
        if ending.is_removal && !was_member(federation, ending) && !is_passed_on {
            return Err(Refusal::Farewell(ending.dot, FarewellFault::Stranger));
        }
        Ok(true)
    }

    /// Does what the entry would have done in the log: this node is no member any more.
    fn heed<V: View>(&mut self, work: &mut Work<'_, V>, space: Space, ending: Ending) -> Result<(), ViewFault> {
        let Ending { proof, dot, is_removal, seen, .. } = ending;
        if dot.incarnation == self.incarnation {
            // Our own words, beyond what we remember: we were set back to an old copy.
            self.live_anew(work, &proof.hash);
        }
        work.draft.set_bytes(Table::Meta, rows::farewell_key(&space, &dot), proof.to_bytes());
        self.spaces.entry(space).or_default().farewells.insert(dot, seen);
        if is_removal {
            work.note(Event::Removed { space, by: dot.incarnation.node });
        }
        work.membership_changed.insert(space);
        self.welcome(work, space)
    }
}

/// Whether an entry is known to have ended another's membership.
fn ended_another<'a>(mut known: impl Iterator<Item = &'a Federation>, ending: &Ending) -> Result<bool, Refusal> {
    let did_end = |federation: &Federation| {
        let other = federation.members.get(&ending.node);
        other.is_some_and(|other| other.endings().any(|(_, ends)| ends.contains(&ending.dot)))
    };
    if known.any(did_end) {
        return Ok(true);
    }
    Err(Refusal::Farewell(ending.dot, FarewellFault::Another(ending.node)))
}

/// Whether the author of an entry was a member when it wrote, as far as is known here. Who is invited for the first time may
/// have become one since, by a word of its own.
fn was_member(federation: &Federation, ending: &Ending) -> bool {
    let Some(author) = federation.members.get(&ending.dot.incarnation.node) else { return false };
    author.acceptances.is_empty() && author.is_pending()
        || author.acceptances.keys().any(|open| {
            let is_later = open.incarnation == ending.dot.incarnation && open.sequence > ending.dot.sequence;
            let had_ended = author.left.get(open).is_some_and(|ends| ends.iter().any(|end| ending.saw(end)));
            !is_later && !had_ended
        })
}

/// Finds again what this node was shown of its own memberships.
pub(in super::super) fn load_farewells(
    view: &impl View,
    spaces: &mut BTreeMap<Space, SpaceState>,
    me: &NodeId,
) -> Result<(), ViewFault> {
    each_row(view, Table::Meta, rows::FAREWELLS, |key, value| {
        let space = rows::space_from(&key[rows::FAREWELLS.len()..]);
        let space = space.ok_or_else(|| ViewFault("the row of a farewell has a broken key".into()))?;
        let read = Ending::read(&space, value);
        let ending = read.map_err(|error| ViewFault(format!("a farewell of {space} is unreadable: {error}")))?;
        if ending.node == *me {
            spaces.entry(space).or_default().farewells.insert(ending.dot, ending.seen);
        }
        Ok(())
    })
}
