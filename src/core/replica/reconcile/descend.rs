//! The asker's middle: where the two states differ, and what to take over. What is found is staged, not yet visible.

use super::super::io::{Output, Refusal, Table, View, ViewFault};
use super::super::message::Message;
use super::super::state::{Replica, Work};
use super::super::{rows, trie};
use super::merge::{Descent, DifferenceKind, Look, Merge, Step, Taken, Why, hint_of};
use super::proof;
use super::source::half;
use super::wire::{Compare, Compared, Fetch, Hint, Items, Prefix, Shown, Wanted};
use crate::changelog::{Change, Pruned};
use crate::model::{Heads, NodeId, Space};

/// The most prefixes in one question: as many nodes as about fit the answer.
const COMPARED_MAX: usize = 1800;

/// The most wishes in one question.
const FETCHED_MAX: usize = 1024;

/// Own items that are looked through at a time.
const LOOKED_MAX: usize = 2000;

/// The most segments in one answer that are looked at.
const SEGMENTS_MAX: usize = 4096;

impl Replica {
    /// Asks the next question, or looks through own items, or commits.
    pub(super) fn go_on<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let Some(merge) = self.merges.get_mut(&space).filter(|merge| !merge.is_asking) else { return Ok(()) };
        let Step::Descend(_, descent) = &mut merge.step else { return Ok(()) };
        if !descent.look.is_empty() {
            work.out.push(Output::Continue);
            return Ok(());
        }
        if descent.is_done() {
            return self.end_descent(work, space);
        }
        merge.round = merge.round.wrapping_add(1);
        merge.is_asking = true;
        let round = merge.round;
        let question = if descent.fetch.is_empty() {
            let count = descent.compare.len().min(COMPARED_MAX);
            let prefixes: Vec<Prefix> = descent.compare.drain(..count).collect();
            descent.comparing.clone_from(&prefixes);
            Message::Compare(Compare { space, round, prefixes })
        } else {
            let wanted = descent.fetch.iter().take(FETCHED_MAX).cloned().collect();
            Message::Fetch(Fetch { space, round, wanted })
        };
        work.out.push(Output::Send(merge.source, question.to_bytes()));
        Ok(())
    }

    pub(in super::super) fn take_compared<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        answer: Compared,
    ) -> Result<(), ViewFault> {
        let space = answer.space;
        self.settle(work)?;
        let is_settled = self.spaces.get(&space).is_none_or(|state| state.live.is_some());
        let Some(mut merge) = self.answered(&space, &from, answer.round) else { return Ok(()) };
        merge.until.merge(&answer.heads);
        let Step::Descend(_, descent) = &mut merge.step else { return Ok(()) };
        let mut asked = std::mem::take(&mut descent.comparing);
        if answer.shown.len() > asked.len() {
            return self.abandon(work, &space, &from, Refusal::Message("more nodes than were asked for".into()));
        }
        let known = if is_settled { answer.shown.len() } else { 0 };
        let unanswered = asked.split_off(known);
        unanswered.into_iter().rev().for_each(|prefix| descent.compare.push_front(prefix));
        let mut failed = false;
        for (prefix, shown) in asked.into_iter().zip(answer.shown) {
            failed |= !compare(work, &space, descent, prefix, shown)?;
        }
        let stands_still = known == 0;
        self.merges.insert(space, merge);
        if failed {
            self.abandon(work, &space, &from, Refusal::Message("a malformed node".into()))?;
        } else if !stands_still {
            self.go_on(work, space)?;
        }
        // Else one of the two is busy: asked again at the next tick.
        Ok(())
    }

    pub(in super::super) fn take_items<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        answer: Items,
    ) -> Result<(), ViewFault> {
        let space = answer.space;
        let Some(mut merge) = self.answered(&space, &from, answer.round) else { return Ok(()) };
        merge.until.merge(&answer.heads);
        let Step::Descend(taken, descent) = &mut merge.step else { return Ok(()) };
        let done = answer.done as usize;
        let is_lying = done > descent.fetch.len().min(FETCHED_MAX)
            || answer.rest.is_some() && (answer.segments.is_empty() || done >= descent.fetch.len());
        if is_lying || answer.segments.len() > SEGMENTS_MAX {
            return self.abandon(work, &space, &from, Refusal::Message("an answer to no question".into()));
        }
        let stands_still = done == 0 && answer.rest.is_none();
        descent.fetch.drain(..done);
        if let (Some(rest), Some(first)) = (answer.rest, descent.fetch.front_mut()) {
            *first = rest;
        }
        let (why, heads) = (merge.why, taken.heads.clone());
        for bytes in &answer.segments {
            merge.progress.bytes += bytes.len() as u64;
            match self.check_proof(&space, bytes, &heads) {
                Ok(pruned) => self.stage(work, &space, why, &pruned, &heads, &mut merge)?,
                Err(refusal) => return self.abandon(work, &space, &from, refusal),
            }
        }
        self.merges.insert(space, merge);
        if stands_still { Ok(()) } else { self.go_on(work, space) }
    }

    /// Stages what of a proven segment is news here.
    fn stage<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: &Space,
        why: Why,
        pruned: &Pruned,
        theirs: &Heads,
        merge: &mut Merge,
    ) -> Result<(), ViewFault> {
        let mut news = std::collections::BTreeSet::new();
        let own = self.sound_heads(space, why);
        for (index, envelope) in pruned.entries() {
            let dot = pruned.header.dot(index as usize);
            match Change::read(envelope) {
                Ok(Change::Put(put)) => {
                    let is_here = work.draft.versions(space, &put.path)?.iter().any(|version| version.dot == dot);
                    if is_here && why != Why::Branch {
                        continue;
                    }
                    let was_here = match why {
                        Why::Follow => false,
                        Why::Branch => !is_here && self.has_ended(work, space, &put.path, &dot, theirs)?,
                        _ => own.cover(&dot),
                    };
                    let kind = if was_here { DifferenceKind::DeletedHere } else { DifferenceKind::Take };
                    merge.progress.count(kind, &put.path);
                    if !was_here {
                        news.insert(index);
                    }
                }
                Ok(_) => {
                    news.insert(index);
                }
                Err(_) => {}
            }
        }
        if news.is_empty() || why == Why::DryRun {
            return Ok(());
        }
        let key = rows::stage_key(space, &pruned.header.incarnation, pruned.header.first_sequence);
        proof::add_row(work, Table::Trie, key, pruned.clone().narrowed(|index| news.contains(&index)))
    }

    /// Looks through some own items for what the source lacks.
    pub(super) fn look_on<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let Some(mut merge) = self.merges.remove(&space) else { return Ok(()) };
        let why = merge.why;
        if let Step::Descend(taken, descent) = &mut merge.step {
            let mut left = LOOKED_MAX;
            while left > 0 {
                let Some(mut look) = descent.look.pop_front() else { break };
                let page = trie::items_after(&work.draft, &space, &look.prefix, look.after.as_ref(), left)?;
                for (key, item) in &page {
                    look.after = Some(*key);
                    if look.theirs.contains(&key[..8]) {
                        continue;
                    }
                    let is_lost = why == Why::Branch && self.is_lost(&space, &item.dot);
                    let drop = why == Why::Follow || is_lost || taken.heads.cover(&item.dot);
                    let kind = if drop { DifferenceKind::Drop } else { DifferenceKind::Give };
                    merge.progress.count(kind, &item.path);
                    if drop && why != Why::DryRun {
                        work.draft.set(Table::Trie, rows::drop_key(&space, key), item);
                    }
                }
                if page.len() == left {
                    descent.look.push_front(look);
                }
                left -= page.len();
            }
            merge.still = 0;
        }
        self.merges.insert(space, merge);
        self.go_on(work, space)
    }

    fn end_descent<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        if merge.why == Why::DryRun {
            (merge.step, merge.progress.is_done) = (Step::Listed, true);
            return Ok(());
        }
        let Step::Descend(taken, _) = std::mem::replace(&mut merge.step, Step::Clear) else { return Ok(()) };
        let Taken { federation: Some(federation), heads, known, ends, .. } = *taken else { return Ok(()) };
        self.begin_commit(work, space, &federation, &heads, &known, ends)
    }

    fn check_proof(&self, space: &Space, bytes: &[u8], heads: &Heads) -> Result<Pruned, Refusal> {
        let trust = self.trust.as_ref().ok_or(Refusal::NotShared(*space))?;
        proof::check(trust, &self.circle_id(), space, bytes, heads)
    }
}

/// Takes note of where one node differs; false when it can't be one.
fn compare<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    descent: &mut Descent,
    prefix: Prefix,
    shown: Shown,
) -> Result<bool, ViewFault> {
    match shown {
        Shown::Node(bits, hints) => {
            if hints.len() != bits.count_ones() as usize || prefix.len() >= 64 {
                return Ok(false);
            }
            let mut hints = hints.into_iter();
            for child in 0..16_u8 {
                let theirs: Option<Hint> = if bits >> child & 1 == 1 { hints.next() } else { None };
                let at = [&prefix[..], &[child]].concat();
                let sum = trie::sum(&work.draft, space, &at)?;
                match (theirs, sum.count) {
                    (None, 0) => {}
                    (None, _) => descent.look.push_back(Look { prefix: at, theirs: Default::default(), after: None }),
                    (Some(_), 0) => descent.fetch.push_back(Wanted::Under(at, None)),
                    (Some(hint), _) if hint == half(&sum) => {}
                    (Some(_), _) => descent.compare.push_back(at),
                }
            }
        }
        Shown::Leaf(hints) => {
            if hints.len() > trie::LEAF_ITEMS_MAX {
                return Ok(false);
            }
            let mut theirs = std::collections::BTreeSet::new();
            for hint in hints {
                let key: [u8; 8] = hint[..8].try_into().expect("8 of 16 bytes");
                theirs.insert(key);
                let mine = trie::items(&work.draft, space, &trie::nibbles(&key), 1)?;
                if mine.first().is_none_or(|(key, item)| hint_of(key, &item.hash) != hint) {
                    descent.fetch.push_back(Wanted::One(key));
                }
            }
            descent.look.push_back(Look { prefix, theirs, after: None });
        }
    }
    Ok(true)
}
