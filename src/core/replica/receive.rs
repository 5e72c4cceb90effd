//! What peers send: segments are verified, applied in causal order, or parked.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{Entry, Stop};
use super::forks::{Commons, is_covered};
use super::io::{AcceptPolicy, Event, Refusal, Table, View, ViewFault};
use super::parking::Parking;
use super::reconcile::Merge;
use super::rows;
use super::state::{Replica, Work};
use crate::catalog::{Federation, Membership};
use crate::changelog::{Change, ChangeError, Sealed, Stored, entry_hash, kind};
use crate::model::{Context, Digest, Head, Heads, Incarnation, NodeId, Space};
use crate::trust::{Capability, Role, TrustRefusal};

/// What became of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    Applied,
    Duplicate,
    Kept,
    Parked,
    Refused(Refusal),
}

impl Replica {
    /// Takes one segment, and whatever waited for it.
    pub(super) fn take<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: Option<NodeId>,
        bytes: &[u8],
        gossip: bool,
    ) -> Result<Taken, ViewFault> {
        let segment = match Sealed::read(bytes) {
            Ok(segment) => segment,
            Err(error) => return Ok(self.refuse(work, from, error.into())),
        };
        let taken = self.take_one(work, from, segment, gossip)?;
        if matches!(taken, Taken::Applied | Taken::Kept) {
            self.take_parked(work)?;
        }
        Ok(taken)
    }

    pub(super) fn take_parked<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        // Each try takes one out, so there are no more tries than there were segments.
        for _ in 0..self.parked.len() {
            let Some(ready) = self.next_parked() else { break };
            let slot = Parking::slot(&ready);
            if self.take_one(work, None, ready, false)? == Taken::Parked {
                // It follows neither what is applied nor what is kept: parked again it would be ready again, for ever.
                self.parked.drop_one(&slot);
            }
        }
        Ok(())
    }

    pub(super) fn refuse<V: View>(&mut self, work: &mut Work<'_, V>, from: Option<NodeId>, refusal: Refusal) -> Taken {
        work.note(Event::Refused { from, refusal: refusal.clone() });
        Taken::Refused(refusal)
    }

    fn next_parked(&mut self) -> Option<Sealed> {
        if self.parked.len() == 0 {
            return None;
        }
        let reach: BTreeMap<&Space, (Heads, Commons)> =
            self.spaces.iter().map(|(space, state)| (space, (state.reach(), self.commons(space)))).collect();
        let trust = self.spaces.get(&Space::Trust).map(|state| &state.heads);
        self.parked.take_ready(|segment| {
            let header = &segment.header;
            reach.get(&header.space).is_some_and(|(heads, commons)| {
                header.first_sequence <= heads.of(&header.incarnation).sequence + 1
                    && is_covered(heads, commons, &header.context)
                    && trust.is_some_and(|trust| trust.cover_context(&header.needs))
            })
        })
    }

    fn take_one<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: Option<NodeId>,
        segment: Sealed,
        gossip: bool,
    ) -> Result<Taken, ViewFault> {
        let header = &segment.header;
        let (space, incarnation) = (header.space, header.incarnation);
        if let Err(refusal) = self.check_scope(&segment) {
            return Ok(self.refuse(work, from, refusal));
        }
        if self.merges.get(&space).is_some_and(Merge::keeps_still) {
            // The rows are between two states, or about to be: fetched again in a moment.
            return Ok(Taken::Parked);
        }
        let state = self.spaces.get(&space).cloned_heads();
        let head = state.of(&incarnation);
        if header.last_sequence() <= head.sequence {
            return self.check_duplicate(work, from, &segment, head);
        }
        if incarnation == self.incarnation {
            // Our own words, beyond what we remember: we were set back to an old copy. From here on that life is another's.
            if !self.begin_new_life(work, &segment) {
                return self.refuse_fork(work, from, &segment);
            }
        }
        if let Some(taken) = self.keep(work, from, &segment)? {
            return Ok(taken);
        }
        let trust_heads = self.spaces.get(&Space::Trust).cloned_heads();
        let depends = self.covers(&space, &header.context) && trust_heads.cover_context(&header.needs);
        if header.first_sequence > head.sequence + 1 || !depends {
            if let Err(refusal) = self.check_before_parking(&segment) {
                return Ok(self.refuse(work, from, refusal));
            }
            let parked = self.parked.park(segment);
            if parked {
                work.note(Event::Parked { space, incarnation });
            }
            return Ok(Taken::Parked);
        }
        if header.first_sequence != head.sequence + 1 || header.previous != head.chain {
            return self.refuse_fork(work, from, &segment);
        }
        if self.is_on_lost_branch(&segment.header, &segment.hash) {
            let refusal = Refusal::Fork(incarnation, header.first_sequence);
            return Ok(self.refuse(work, from, refusal));
        }
        match self.verify_and_apply(work, &segment) {
            Ok(()) => {
                let entries = segment.header.entries;
                work.note(Event::Applied { space, author: incarnation.node, entries, gossip });
                // What is kept may have waited for this.
                self.kept_untried |= self.spaces.values().any(|state| !state.kept.heads.0.is_empty());
                Ok(Taken::Applied)
            }
            Err(Stop::Fault(fault)) => Err(fault),
            Err(Stop::Refused(Refusal::Held { paths, allowed, .. })) => {
                self.hold(work, &segment.header, paths, allowed)
            }
            Err(Stop::Refused(refusal)) => Ok(self.refuse(work, from, refusal)),
        }
    }

    /// Ends this node's present life, because `proof` is signed by its own key and it has forgotten writing that. False
    /// when it proves nothing.
    fn begin_new_life<V: View>(&mut self, work: &mut Work<'_, V>, proof: &Sealed) -> bool {
        let signed = self.circle.as_ref().is_some_and(|row| proof.verify(&row.circle).is_ok());
        if !signed || proof.header.key != self.me.keys.log || !work.open.is_empty() {
            return false;
        }
        self.live_anew(work, &proof.hash);
        true
    }

    /// From here on this node's words are of another life: it won't stand by those from `last` on, or has forgotten them.
    pub(super) fn live_anew<V: View>(&mut self, work: &mut Work<'_, V>, last: &Digest) {
        let old = self.incarnation;
        // Nobody else makes a number from this old one, this hash and this start's own random bits: not a copy either.
        let seed = [&old.number.to_le_bytes()[..], &self.fresh.to_le_bytes(), &last.0].concat();
        let digest = Digest::derived("artimesh/next-incarnation/v1", &seed);
        let number = u64::from_le_bytes(digest.0[..8].try_into().expect("8 of 32 bytes"));
        self.incarnation = Incarnation { number, ..old };
        self.doubt = None;
        work.draft.set(Table::Meta, rows::INCARNATION.into(), &number);
        work.note(Event::RolledBack { old, new: self.incarnation });
    }

    /// Whether this node holds the segment's space, or would begin to hold it with this segment.
    fn check_scope(&self, segment: &Sealed) -> Result<(), Refusal> {
        let space = segment.header.space;
        let held = match space {
            Space::Trust => self.trust.is_some(),
            Space::Accounts => false,
            Space::Federation(_) => self.spaces.get(&space).is_some_and(|state| state.federation.is_some()),
        };
        if held {
            return Ok(());
        }
        // Only a space we asked for may be new, and its founding decides.
        if !self.wishes.contains_key(&space) {
            return Err(Refusal::NotShared(space));
        }
        let founds = segment.header.first_sequence == 1 && segment.entries[0].kind == kind::FOUND;
        let founder = segment.header.incarnation.node;
        if founds && !self.accepts(&founder) {
            let is_known = self.trust.as_ref().is_some_and(|trust| trust.member(&founder).is_some());
            // Who isn't known yet may be accepted once it is.
            return Err(if is_known { Refusal::NotAccepted(founder) } else { Refusal::NotShared(space) });
        }
        Ok(())
    }

    pub(super) fn accepts(&self, founder: &NodeId) -> bool {
        if self.role() == Some(Role::Edge) || *founder == self.me.node {
            return true;
        }
        match &self.accept {
            AcceptPolicy::Any => true,
            AcceptPolicy::None => false,
            AcceptPolicy::Of(list) => {
                let name =
                    self.trust.as_ref().and_then(|trust| trust.member(founder)).map(|m| m.grant().name.to_string());
                list.iter().any(|text| *text == founder.to_string() || Some(text) == name.as_ref())
            }
        }
    }

    /// A segment at or below the head is an echo, unless its bytes differ from what was applied: then its author forked.
    fn check_duplicate<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: Option<NodeId>,
        segment: &Sealed,
        head: Head,
    ) -> Result<Taken, ViewFault> {
        let header = &segment.header;
        let same = if header.last_sequence() == head.sequence {
            head.chain == segment.hash
        } else {
            let key = rows::segment_key(&header.space, &header.incarnation, header.first_sequence);
            match work.draft.get(Table::Log, &key)?.map(|stored| Stored::read(&stored)) {
                Some(Ok(stored)) => stored.hash() == segment.hash,
                Some(Err(_)) => false,
                // Pruned away: whatever it was, it was applied.
                None => {
                    let floor = self.spaces.get(&header.space).and_then(|state| state.floors.get(&header.incarnation));
                    floor.is_some_and(|floor| header.last_sequence() <= *floor)
                }
            }
        };
        if same {
            return Ok(Taken::Duplicate);
        }
        self.refuse_fork(work, from, segment)
    }

    /// What can be checked of a segment before all that it depends on is here: that it is signed, by a key of its author
    /// if the author is known, and that it could be admitted. So nobody fills the parking with another's name.
    pub(super) fn check_before_parking(&self, segment: &Sealed) -> Result<(), Refusal> {
        self.check_signed(segment)?;
        let header = &segment.header;
        if header.last_sequence() > self.admitted(header.space, &header.incarnation) {
            return Err(TrustRefusal::Sealed(header.incarnation.node).into());
        }
        Ok(())
    }

    /// That it is signed, and by a key of its author if the author is known.
    pub(super) fn check_signed(&self, segment: &Sealed) -> Result<(), Refusal> {
        let header = &segment.header;
        let circle = self.circle.as_ref().map(|row| row.circle).ok_or(Refusal::NotShared(header.space))?;
        segment.verify(&circle)?;
        let Some(trust) = &self.trust else { return Ok(()) };
        let author = header.incarnation.node;
        if !trust.may_be_key(&author, &header.key) {
            return Err(TrustRefusal::WrongKey(author).into());
        }
        Ok(())
    }

    /// Applies all entries or none.
    pub(super) fn verify_and_apply<V: View>(&mut self, work: &mut Work<'_, V>, segment: &Sealed) -> Result<(), Stop> {
        let header = &segment.header;
        let (space, incarnation) = (header.space, header.incarnation);
        let not_shared = || Stop::Refused(Refusal::NotShared(space));
        let circle = self.circle.as_ref().map(|row| row.circle).ok_or_else(not_shared)?;
        segment.verify(&circle).map_err(|error| Stop::Refused(error.into()))?;

        let (mut context, mut needs) =
            self.spaces.get(&space).and_then(|state| state.known.get(&incarnation)).cloned().unwrap_or_default();
        context.merge(&header.context);
        needs.merge(&header.needs);

        let trust = self.trust.as_ref().ok_or_else(not_shared)?;
        if header.last_sequence() > self.admitted(space, &incarnation) {
            return Err(TrustRefusal::Sealed(incarnation.node).into());
        }
        let founds_circle =
            space == Space::Trust && segment.entries[0].kind == kind::ROOT && header.first_sequence == 1;
        if !founds_circle {
            let knew = if space == Space::Trust { own_log_too(&context, segment) } else { needs.clone() };
            trust.check_key(&incarnation.node, &header.key, &knew)?;
        }

        let saved = (self.trust.clone().filter(|_| space == Space::Trust), self.saved_membership(&space, segment));
        let (notes, changed, membership) = (work.out.len(), work.trust_changed, work.membership_changed.clone());
        work.draft.mark();
        if matches!(saved.1, Saved::NoSpace) {
            self.begin_space(work, &space);
        }
        let result =
            self.apply_entries(work, segment, &context, &needs, founds_circle).and_then(|()| self.brake(work, header));
        if result.is_err() {
            work.draft.roll_back();
            work.out.truncate(notes);
            work.trust_changed = changed;
            work.membership_changed = membership;
            if let Some(trust) = saved.0 {
                self.trust = Some(trust);
            }
            match saved.1 {
                Saved::Untouched => {}
                Saved::Membership(saved) => {
                    let state = self.spaces.entry(space).or_default();
                    let SavedMembership { federation, ended, removed } = *saved;
                    (state.federation, state.ended, state.removed) = (federation, ended, removed);
                }
                Saved::NoSpace => {
                    self.spaces.remove(&space);
                }
            }
            return result;
        }
        self.end_hold(work, header)?;
        self.advance(work, segment, context, needs);
        if self.is_forked(&space, &incarnation) {
            // Others may have built on these numbers before: what they killed must be dead whatever came first.
            self.replay(work, space, std::slice::from_ref(segment))?;
        }
        self.welcome(work, space)?;
        Ok(())
    }

    fn saved_membership(&self, space: &Space, segment: &Sealed) -> Saved {
        let membership = |entry: &crate::model::Envelope| (kind::FOUND..=kind::REMOVE).contains(&entry.kind);
        match self.spaces.get(space) {
            None => Saved::NoSpace,
            Some(state) if segment.entries.iter().any(membership) => Saved::Membership(Box::new(SavedMembership {
                federation: state.federation.clone(),
                ended: state.ended.clone(),
                removed: state.removed.clone(),
            })),
            Some(_) => Saved::Untouched,
        }
    }

    fn apply_entries<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        segment: &Sealed,
        context: &Context,
        needs: &Context,
        founds_circle: bool,
    ) -> Result<(), Stop> {
        for (index, envelope) in segment.entries.iter().enumerate() {
            let dot = segment.header.dot(index);
            let change = Change::read(envelope).map_err(|error| {
                Stop::Refused(match error {
                    ChangeError::UnknownKind(kind) => Refusal::UnknownKind(dot, kind),
                    at_fault => Refusal::Misplaced(dot, at_fault.to_string()),
                })
            })?;
            if index > 0 && envelope.kind == kind::DELETE_PREFIX {
                return Err(Stop::Refused(Refusal::Misplaced(dot, "a prefix delete begins its segment".into())));
            }
            let entry = Entry { dot, hash: entry_hash(envelope), envelope, context, needs };
            self.apply(work, segment.header.space, &entry, &change)?;
        }
        if founds_circle {
            let trust = self.trust.as_ref().expect("checked by the caller");
            // Only the root's grant to the author in this very segment counts.
            let knew = Context([(segment.header.incarnation, segment.header.last_sequence())].into());
            trust.check_key(&segment.header.incarnation.node, &segment.header.key, &knew)?;
        }
        Ok(())
    }

    fn advance<V: View>(&mut self, work: &mut Work<'_, V>, segment: &Sealed, context: Context, needs: Context) {
        let header = &segment.header;
        let (space, incarnation) = (header.space, header.incarnation);
        let state = self.spaces.entry(space).or_default();
        let head = Head { sequence: header.last_sequence(), chain: segment.hash };
        state.heads.0.insert(incarnation, head);
        state.known.insert(incarnation, (context, needs));
        self.save_log(work, &space, &incarnation);
        let key = rows::segment_key(&space, &incarnation, header.first_sequence);
        work.draft.set_bytes(Table::Log, key, segment.bytes().to_vec());
        self.dirty.insert(space);
    }

    /// What a federation asks of this node when its membership changed: a repository that shows it, and an acceptance;
    /// or that the repository goes, because this node left in an earlier life.
    pub(super) fn welcome<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let Space::Federation(id) = space else { return Ok(()) };
        if !work.membership_changed.contains(&space) {
            return Ok(());
        }
        let Some(federation) = self.spaces.get(&space).and_then(|state| state.federation.as_ref()) else {
            return Ok(());
        };
        let is_edge = self.role() == Some(Role::Edge);
        let followed =
            is_edge && self.trust.as_ref().is_some_and(|t| t.follows(&self.me.node, &Capability::Follow(Some(id))));
        let own = self.own_membership(&space).filter(|_| !is_edge);
        let accepted = own.as_ref().and_then(Membership::accepted).map(|(_, key)| key.clone());
        let pending = own.as_ref().and_then(Membership::pending).cloned();
        let shown = self.repository_of(&space).map(|repository| repository.key.clone());
        let key = match (&accepted, &pending) {
            (Some(key), _) | (None, Some(key)) => key.clone(),
            (None, None) if followed => federation.founding.repo_key.clone(),
            (None, None) => {
                if let Some(key) = shown.filter(|_| !is_edge) {
                    self.forget_repository(work, &key);
                }
                return Ok(());
            }
        };
        if shown.is_some() {
            Ok(())
        } else if self.repositories.contains_key(&key.folded()) {
            work.note(Event::KeyTaken { federation: id, key });
            Ok(())
        } else if followed || accepted.is_some() {
            self.add_repository(work, &key, space);
            Ok(())
        } else {
            self.accept_invitation(work, space, &key)
        }
    }
}

/// What to put back when a segment turns out to be refused.
enum Saved {
    Untouched,
    Membership(Box<SavedMembership>),
    NoSpace,
}

/// What entries about the members of a federation may change of its [`SpaceState`].
struct SavedMembership {
    federation: Option<Federation>,
    ended: BTreeSet<Incarnation>,
    removed: BTreeMap<NodeId, Context>,
}

/// The author's knowledge of a space with its own log up to before this segment.
fn own_log_too(context: &Context, segment: &Sealed) -> Context {
    let mut knew = context.clone();
    knew.0.insert(segment.header.incarnation, segment.header.first_sequence - 1);
    knew
}

trait HeadsOf {
    fn cloned_heads(self) -> crate::model::Heads;
}

impl HeadsOf for Option<&super::state::SpaceState> {
    fn cloned_heads(self) -> crate::model::Heads {
        self.map(|state| state.heads.clone()).unwrap_or_default()
    }
}
