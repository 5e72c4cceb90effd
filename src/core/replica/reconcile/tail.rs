//! The asker, before its commit: what the source applied while the two compared is fetched first.
//!
//! # Why
//! Items are shown as the source has them when it answers, and it moves on between two answers: what it ended meanwhile is
//! never shown. The snapshot's heads alone would then stand beside a state in which that is missing, until the log is
//! replayed that far; and a source that is revoked or lost in between never gets to tell. So nothing is committed before
//! the log of that time is here too, at rest: then the commit, and what follows from it, needs nobody any more.
//!
//! What is fetched is kept as a later version's segments are ([`super::super::kept`]), and applied in the same way.

use super::super::io::{Output, Refusal, Table, View, ViewFault};
use super::super::message::{Message, SegmentsMessage, WantMessage};
use super::super::rows;
use super::super::state::{Replica, SpaceState, Work, each_row, stored_segment};
use super::merge::{Merge, Step, Taken};
use crate::changelog::Sealed;
use crate::model::{Context, Head, Heads, NodeId, Space};
use crate::trust::TrustRefusal;

/// The most bytes of log that a comparison may take to be told of; who needs more begins anew, nearer to the source.
const TAIL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Rows that are moved in one step.
const ROWS_MAX: usize = 64;

/// The source's logs after its snapshot, as far as they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    /// Where each log ends by now.
    reach: Heads,
    /// What they depend on of Trust.
    needs: Context,
    bytes: usize,
    is_asking: bool,
}

impl Replica {
    /// The comparison is done: what the source applied meanwhile comes next.
    pub(super) fn begin_tail<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        taken: Box<Taken>,
    ) -> Result<(), ViewFault> {
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        let tail = Tail { reach: taken.heads.clone(), ..Tail::default() };
        merge.step = Step::Tail(taken, Box::new(tail));
        self.go_on_with_tail(work, space)
    }

    /// Asks for what is missing, or begins the commit.
    pub(super) fn go_on_with_tail<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let trust_heads = self.heads(&Space::Trust);
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        let (source, until) = (merge.source, merge.until.clone());
        let Step::Tail(_, tail) = &mut merge.step else { return Ok(()) };
        if !tail.reach.cover_context(&until) {
            if !tail.is_asking {
                tail.is_asking = true;
                let since = tail.reach.to_context();
                work.out.push(Output::Send(source, Message::Want(WantMessage { space, since }).to_bytes()));
            }
            return Ok(());
        }
        if !trust_heads.cover_context(&tail.needs) {
            // Trust is on its way: tried again at the next tick.
            return Ok(());
        }
        let reach = tail.reach.clone();
        let trust = self.trust.as_ref();
        let is_beyond =
            |(life, head): &(&_, &Head)| trust.is_none_or(|trust| head.sequence > trust.admitted(space, life));
        if let Some((life, _)) = reach.0.iter().find(is_beyond) {
            return self.abandon(work, &space, &source, TrustRefusal::Sealed(life.node).into());
        }
        if self.heard_meanwhile(&space).is_some() {
            return self.descend_again(work, space);
        }
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        let Step::Tail(taken, _) = std::mem::replace(&mut merge.step, Step::Clear) else { return Ok(()) };
        let Taken { federation: Some(federation), heads, known, ends, .. } = *taken else { return Ok(()) };
        merge.reach = reach;
        self.begin_commit(work, space, &federation, &heads, &known, ends)
    }

    /// Once a second: a question that brought nothing is asked again.
    pub(super) fn tend_tail<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        if let Some(Step::Tail(_, tail)) = self.merges.get_mut(&space).map(|merge| &mut merge.step) {
            tail.is_asking = false;
        }
        self.go_on_with_tail(work, space)
    }

    /// Whether segments of this space that come from there are awaited by a comparison.
    pub(in super::super) fn awaits_tail(&self, space: &Space, from: &NodeId) -> bool {
        let merge = self.merges.get(space).filter(|merge| merge.source == *from);
        merge.is_some_and(|merge| matches!(&merge.step, Step::Tail(_, tail) if tail.is_asking))
    }

    /// The source's log since then, or a part of it; `None` when it hasn't got that either any more.
    pub(in super::super) fn take_tail<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        from: NodeId,
        message: Option<&SegmentsMessage>,
    ) -> Result<(), ViewFault> {
        let Some(mut merge) = self.merges.remove(&space) else { return Ok(()) };
        // It may have been the answer to a wish: that is asked anew.
        self.wishes.remove(&space);
        merge.still = 0;
        let result = match message {
            Some(message) => self.stage_tail(work, space, &mut merge, &message.segments),
            None => Err(Refusal::Message("the log since the snapshot is gone".into())),
        };
        let is_news = matches!(result, Ok(true));
        self.merges.insert(space, merge);
        match result {
            Err(refusal) => self.abandon(work, &space, &from, refusal),
            // What brought nothing is asked for again at the next tick only.
            Ok(_) if is_news => self.go_on_with_tail(work, space),
            Ok(_) => Ok(()),
        }
    }

    /// Stages what follows; says whether any did.
    fn stage_tail<V: View>(
        &self,
        work: &mut Work<'_, V>,
        space: Space,
        merge: &mut Merge,
        segments: &[Vec<u8>],
    ) -> Result<bool, Refusal> {
        let Step::Tail(_, tail) = &mut merge.step else { return Ok(false) };
        tail.is_asking = false;
        let mut is_news = false;
        for bytes in segments {
            let segment = Sealed::read(bytes)?;
            let header = &segment.header;
            let end = tail.reach.of(&header.incarnation);
            let is_wanted = merge.until.0.get(&header.incarnation).is_some_and(|until| *until > end.sequence);
            let follows = header.first_sequence == end.sequence + 1 && header.previous == end.chain;
            if header.space != space || !is_wanted || !follows {
                continue;
            }
            self.check_before_parking(&segment)?;
            tail.bytes += bytes.len();
            if tail.bytes > TAIL_BYTES_MAX {
                return Err(Refusal::Message("more happened meanwhile than can be kept".into()));
            }
            tail.needs.merge(&header.needs);
            tail.reach.0.insert(header.incarnation, Head { sequence: header.last_sequence(), chain: segment.hash });
            let key = rows::tail_key(&space, &header.incarnation, header.first_sequence);
            work.draft.set_bytes(Table::Trie, key, bytes.clone());
            is_news = true;
        }
        Ok(is_news)
    }

    /// A step of the commit: staged segments become kept ones; says whether all are.
    pub(super) fn commit_tail<V: View>(&self, work: &mut Work<'_, V>, space: &Space) -> Result<bool, ViewFault> {
        let prefix = rows::tail_prefix(space);
        let page = work.draft.range(Table::Trie, &prefix, &rows::end_of(&prefix), ROWS_MAX)?;
        let is_last = page.len() < ROWS_MAX;
        for (key, value) in page {
            let header = stored_segment(space, &value)?.header;
            let kept = rows::kept_key(space, &header.incarnation, header.first_sequence);
            work.draft.set_bytes(Table::Log, kept, value);
            work.draft.remove(Table::Trie, key);
        }
        Ok(is_last)
    }

    /// Counts what is kept of a space anew.
    pub(super) fn count_kept<V: View>(&mut self, work: &Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let kept = &mut self.spaces.entry(space).or_default().kept;
        *kept = Default::default();
        each_row(&work.draft, Table::Log, &[rows::KEPT, &space.key()].concat(), |_, value| {
            kept.count(&stored_segment(&space, value)?);
            Ok(())
        })
    }

    /// What is applied of a space, or will be whatever happens: the end of what a commit under way takes over.
    pub(in super::super) fn certain_heads(&self, space: &Space, state: &SpaceState) -> Heads {
        let mut certain = state.heads.clone();
        let committing = self.merges.get(space).filter(|merge| merge.is_committing()).map(|merge| &merge.reach);
        let mut add = |life: &_, head: &Head| {
            if head.sequence > certain.of(life).sequence {
                certain.0.insert(*life, *head);
            }
        };
        committing.into_iter().flat_map(|reach| &reach.0).for_each(|(life, head)| add(life, head));
        if let Some((until, _)) = self.catching_up.get(space) {
            let is_part = |(life, head): &(&_, &Head)| until.0.get(life).is_some_and(|until| head.sequence <= *until);
            state.kept.heads.0.iter().filter(is_part).for_each(|(life, head)| add(life, head));
        }
        certain
    }
}
