//! The asker's first step: what the source has applied, and that it really was written.

use super::super::farewell::endings_in;
use super::super::io::{Event, Output, Refusal, View, ViewFault};
use super::super::message::Message;
use super::super::state::{Replica, Work};
use super::super::trie::LEAF_ITEMS_MAX;
use super::descend::compare;
use super::merge::{Asked, Descent, Merge, Step, Taken, Why};
use super::wire::{AskSnapshot, LogState, Prefix, Salt, Shown, Snapshot, StateBody, Wanted, hash_of_heads};
use crate::catalog::Federation;
use crate::changelog::{Change, Pruned, Stored};
use crate::model::{Digest, Head, Incarnation, NodeId, Space, codec};
use crate::trust::{Role, TrustRefusal};

/// With more live versions than this, the root's children are surely nodes, or nearly so.
const TOP_LEAST: u64 = 16 * LEAF_ITEMS_MAX as u64;

impl Replica {
    pub(super) fn ask_snapshot<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        self.settle(work)?;
        let has = self.has(&space);
        let live = self.spaces.get(&space).and_then(|state| state.live).map_or(0, |live| live.count);
        let incarnation = self.incarnation;
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        let Step::Snapshot(taken) = &merge.step else { return Ok(()) };
        let after = taken.heads.0.keys().next_back().copied();
        let mut prefixes = Vec::new();
        if after.is_none() {
            let salt = Digest::derived("artimesh/hint-salt/v1", &codec::encode(&(has, incarnation, work.now)));
            merge.salt.copy_from_slice(&salt.0[..16]);
            if live > 0 {
                prefixes.push(Prefix::new());
            }
            if live > TOP_LEAST {
                prefixes.extend((0..16).map(|child| vec![child]));
            }
        }
        let (salt, round) = (merge.salt, merge.ask(Asked::Snapshot(prefixes.clone())));
        let ask = AskSnapshot { space, round, after, has, salt, prefixes };
        work.out.push(Output::Send(merge.source, Message::AskSnapshot(ask).to_bytes()));
        Ok(())
    }

    /// What stands for this node's heads and for its state, if it can tell just now.
    fn has(&self, space: &Space) -> Option<(Digest, Digest)> {
        Some((hash_of_heads(&self.spaces.get(space)?.heads), self.digest(space)?))
    }

    pub(in super::super) fn take_snapshot<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        part: Snapshot,
    ) -> Result<(), ViewFault> {
        let space = part.space;
        let still = self.merges.get(&space).map_or(0, |merge| merge.still);
        let Some((mut merge, asked)) = self.answered(&space, &from, part.round) else { return Ok(()) };
        let (Step::Snapshot(taken), Asked::Snapshot(asked)) = (&mut merge.step, asked) else {
            return self.abandon(work, &space, &from, Refusal::Message("an answer to another question".into()));
        };
        let covers = self.heads(&Space::Trust).cover_context(&part.trust);
        let Some(state) = part.state.as_ref().filter(|_| covers) else {
            // It can't tell, or knows more of the circle than this node: asked again at the next tick. Who left a branch
            // asks somebody else then: this one may stand on it.
            if merge.why != Why::Branch || part.state.is_some() {
                merge.still = still;
                self.merges.insert(space, merge);
            }
            return Ok(());
        };
        let opened = state.open(&self.circle_id()).map_err(|error| Refusal::Message(error.to_string()));
        let checked = opened.and_then(|body| self.check_state(&from, &space, &body).map(|()| body));
        if part.federation.is_none()
            && let Ok(body) = checked
        {
            merge.still = still;
            return self.take_equal(work, merge, body);
        }
        let checked = checked.and_then(|body| Ok((body, self.check_logs(&space, &part.logs)?)));
        let (body, logs) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return self.abandon(work, &space, &from, refusal),
        };
        if taken.state.as_ref().is_some_and(|known| known.logs != body.logs) {
            // It moved on between two parts.
            **taken = Taken::default();
            self.merges.insert(space, merge);
            return self.ask_snapshot(work, space);
        }
        taken.top.extend(asked.into_iter().zip(part.shown));
        for (end, LogState { context, needs, .. }) in logs {
            let incarnation = end.header.incarnation;
            taken.heads.0.insert(incarnation, Head { sequence: end.header.last_sequence(), chain: end.hash });
            taken.known.insert(incarnation, (context, needs));
            taken.ends.push(end);
        }
        taken.state = Some(body);
        taken.federation = part.federation;
        let is_whole = !part.more;
        self.merges.insert(space, merge);
        if is_whole {
            return self.begin_descent(work, space, from);
        }
        self.ask_snapshot(work, space)
    }

    /// The source says that it has the same, and signed what it has.
    fn take_equal<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        mut merge: Merge,
        body: StateBody,
    ) -> Result<(), ViewFault> {
        let (space, source) = (body.space, merge.source);
        if self.has(&space) != Some((body.heads, body.state)) {
            // This node has moved on since it asked: asked again at the next tick.
            self.merges.insert(space, merge);
            return Ok(());
        }
        merge.progress.is_done = true;
        match merge.why {
            Why::DryRun => {
                merge.step = Step::Listed;
                self.merges.insert(space, merge);
            }
            why => {
                self.merged.insert(space, merge.progress);
                self.rested.insert(space);
                if why == Why::Asked {
                    self.begin_sweep(work, space);
                }
            }
        }
        self.peers.entry(source).or_default().states.insert(space, body);
        self.judge_state(work, space, source);
        Ok(())
    }

    /// Whether `body` is the word of `from`, a full member in good standing, on this space.
    pub(super) fn check_state(&self, from: &NodeId, space: &Space, body: &StateBody) -> Result<(), Refusal> {
        let trust = self.trust.as_ref().ok_or(Refusal::NotShared(*space))?;
        let is_full = trust.good(from).is_some_and(|member| member.role() == Role::Full);
        if body.author != *from || body.space != *space || !is_full || !trust.may_be_key(from, &body.key) {
            return Err(TrustRefusal::WrongKey(*from).into());
        }
        Ok(())
    }

    /// Reads the ends of logs: that each author signed that its log reaches so far, and that it counts so far.
    fn check_logs(&self, space: &Space, logs: &[(Incarnation, LogState)]) -> Result<Vec<(Pruned, LogState)>, Refusal> {
        let trust = self.trust.as_ref().ok_or(Refusal::NotShared(*space))?;
        let circle = self.circle_id();
        let mut ends = Vec::new();
        for (incarnation, log) in logs {
            let end = Pruned::read(&log.head)?;
            end.verify(&circle)?;
            let header = &end.header;
            let author = header.incarnation.node;
            let is_key = trust.member(&author).is_some() && trust.may_be_key(&author, &header.key);
            if header.space != *space || header.incarnation != *incarnation || !is_key {
                return Err(TrustRefusal::WrongKey(author).into());
            }
            if header.last_sequence() > trust.admitted(*space, incarnation) {
                return Err(TrustRefusal::Sealed(author).into());
            }
            ends.push((endings_in(Stored::Pruned(end)), log.clone()));
        }
        Ok(ends)
    }

    fn begin_descent<V: View>(&mut self, work: &mut Work<'_, V>, space: Space, from: NodeId) -> Result<(), ViewFault> {
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        let Step::Snapshot(taken) = &mut merge.step else { return Ok(()) };
        let whole = taken.state.as_ref().is_some_and(|body| {
            body.heads == hash_of_heads(&taken.heads) && body.logs == hash_of_logs(&taken.heads, &taken.known)
        });
        let founds = |federation: &Federation| {
            Space::Federation(Federation::id_of(&Change::Found(federation.founding.clone()).to_envelope())) == space
        };
        let federation = taken.federation.as_ref().filter(|federation| founds(federation));
        let Some(founder) = federation.map(|federation| federation.founder).filter(|_| whole) else {
            let refusal = Refusal::Message("a snapshot that is not what its source signed".into());
            return self.abandon(work, &space, &from, refusal);
        };
        let mut taken = Box::new(std::mem::take(&mut **taken));
        taken.compared = self.spaces.get(&space).map(|state| state.heads.clone()).unwrap_or_default();
        let live = self.spaces.get(&space).map_or(Some(0), |state| state.live.map(|live| live.count));
        let mut descent = Descent::from_root();
        if live == Some(0) {
            descent.compare.clear();
            descent.fetch.push_back(Wanted::All(None));
        }
        let top = std::mem::take(&mut taken.top);
        if live.is_some_and(|live| live > 0) && !compare_top(work, &space, &merge.salt, &mut descent, top)? {
            return self.abandon(work, &space, &from, Refusal::Message("a malformed node".into()));
        }
        merge.step = Step::Descend(taken, Box::new(descent));
        let is_dry = merge.why == Why::DryRun;
        let (why, ends) = (merge.why, taken_ends(merge));
        for end in ends {
            if let Some(mine) = self.contradiction(work, why, &end.header, &end.hash)? {
                return self.part_ways(work, from, &mine, &Stored::Pruned(end));
            }
        }
        if !self.spaces.contains_key(&space) && !self.accepts(&founder) && !is_dry {
            self.declined.insert(space);
            return self.abandon(work, &space, &from, Refusal::NotAccepted(founder));
        }
        // What it ended may be known to the source alone.
        if let Some(federation) = self.coming_federation(work, &space)? {
            self.ask_farewells_of(work, &space, from, &federation)?;
        }
        self.go_on(work, space)
    }

    /// The merge that waits for this answer, taken out; its clock is set.
    pub(super) fn answered(&mut self, space: &Space, from: &NodeId, round: u32) -> Option<(Merge, Asked)> {
        let merge = self.merges.get_mut(space).filter(|merge| merge.source == *from)?;
        let asked = merge.asked.remove(&round)?;
        merge.still = 0;
        merge.progress.rounds += 1;
        Some((self.merges.remove(space)?, asked))
    }

    /// Gives up a state sync that has committed nothing yet.
    pub(super) fn abandon<V>(
        &mut self,
        work: &mut Work<'_, V>,
        space: &Space,
        from: &NodeId,
        refusal: Refusal,
    ) -> Result<(), ViewFault> {
        self.merges.remove(space);
        self.wishes.remove(space);
        self.spend(*space, from);
        work.out.push(Output::Note(Event::Refused { from: Some(*from), refusal }));
        Ok(())
    }
}

/// The ends of the source's logs.
fn taken_ends(merge: &Merge) -> Vec<Pruned> {
    let Step::Descend(taken, _) = &merge.step else { return Vec::new() };
    taken.ends.clone()
}

/// Compares what the source showed of the top of its trie: below the root only where that differs.
fn compare_top<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    salt: &Salt,
    descent: &mut Descent,
    top: Vec<(Prefix, Shown)>,
) -> Result<bool, ViewFault> {
    for (prefix, shown) in top {
        let Some(place) = descent.compare.iter().position(|waiting| *waiting == prefix) else { continue };
        descent.compare.remove(place);
        if !compare(work, space, salt, descent, prefix, shown)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The hash that stands for heads and for what each author knew.
pub(super) fn hash_of_logs(
    heads: &crate::model::Heads,
    known: &std::collections::BTreeMap<Incarnation, (crate::model::Context, crate::model::Context)>,
) -> crate::model::Digest {
    let of = |incarnation: &Incarnation| known.get(incarnation).cloned().unwrap_or_default();
    let all: Vec<_> = heads.0.iter().map(|(incarnation, head)| (*incarnation, *head, of(incarnation))).collect();
    crate::model::Digest::derived("artimesh/logs/v1", &crate::model::codec::encode(&all))
}
