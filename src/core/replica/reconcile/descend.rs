//! The asker's middle: where the two states differ, and what to take over. What is found is staged, not yet visible.

use std::collections::BTreeSet;

use super::super::io::{Output, Refusal, Table, View, ViewFault};
use super::super::message::Message;
use super::super::state::{Replica, Work, stored_part};
use super::super::{rows, trie};
use super::merge::{Asked, Descent, DifferenceKind, Look, Merge, Step, Why};
use super::parting::{Logs, parts};
use super::proof;
use super::source::{HINTED_MAX, hints, live_entries};
use super::wire::{Compare, Compared, Fetch, Hint, Items, Prefix, Salt, Shown, Wanted, hint};
use crate::changelog::{Change, Pruned, Stored, entry_hash};
use crate::model::{Head, Heads, Incarnation, NodeId, Space};

/// The most questions that wait for their answers at a time: what a long link needs to be busy.
const ASKED_MAX: usize = 8;

/// The most prefixes in one question.
const COMPARED_MAX: usize = 512;

/// The most wishes in one question.
const FETCHED_MAX: usize = 512;

/// With more wishes, or own items to look through, than this nothing more is compared.
const WAITING_MAX: usize = 4096;

/// With more prefixes than this to ask about, the deepest come first, so that there don't come to be many more.
const WIDE_MAX: usize = 8192;

/// Own items that are looked through at a time.
const LOOKED_MAX: usize = 2000;

/// The most segments in one answer that are looked at.
const SEGMENTS_MAX: usize = 4096;

/// The most segments that logs brought meanwhile whose versions are compared at a time.
const HEARD_MAX: usize = 16;

impl Replica {
    /// Asks what can be asked now, or looks through own items, or commits.
    pub(super) fn go_on<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        while let Some(question) = next_question(merge, space) {
            work.out.push(Output::Send(merge.source, question.to_bytes()));
        }
        let Step::Descend(_, descent) = &merge.step else { return Ok(()) };
        if !descent.look.is_empty() {
            work.out.push(Output::Continue);
            return Ok(());
        }
        if descent.is_done() && merge.asked.is_empty() {
            return match self.heard_meanwhile(&space) {
                Some(life) => self.compare_meanwhile(work, space, life),
                None => self.end_descent(work, space),
            };
        }
        Ok(())
    }

    /// A log that has brought something since what is here was compared, which the snapshot covers.
    pub(super) fn heard_meanwhile(&self, space: &Space) -> Option<Incarnation> {
        let merge = self.merges.get(space).filter(|merge| merge.why != Why::DryRun)?;
        let (Step::Descend(taken, _) | Step::Tail(taken, _)) = &merge.step else { return None };
        let heads = &self.spaces.get(space)?.heads;
        let is_more = |(life, head): &(&Incarnation, &Head)| {
            head.sequence.min(taken.heads.of(life).sequence) > taken.compared.of(life).sequence
        };
        heads.0.iter().find(is_more).map(|(life, _)| *life)
    }

    /// The source may have ended that before its snapshot, in words that are passed over here: it is compared, too, a bounded
    /// part of one log at a time.
    fn compare_meanwhile<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        life: Incarnation,
    ) -> Result<(), ViewFault> {
        let own = self.heads(&space).of(&life);
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        let Step::Descend(taken, descent) = &mut merge.step else { return Ok(()) };
        let first = taken.compared.of(&life).sequence + 1;
        let (low, high) = (rows::segment_key(&space, &life, first), rows::segment_key(&space, &life, own.sequence + 1));
        let page = work.draft.range(Table::Log, &low, &high, HEARD_MAX)?;
        let is_last = page.len() < HEARD_MAX;
        let mut end = own;
        for (_, value) in page {
            let live = live_entries(work, &space, stored_part(&space, &value)?)?;
            for (index, envelope) in live.entries() {
                let Ok(Change::Put(put)) = Change::read(envelope) else { continue };
                let key = trie::key_of(&put.path, &live.header.dot(index as usize));
                descent.compare.push_back(trie::nibbles(&key));
            }
            if !is_last {
                end = Head { sequence: live.header.last_sequence(), chain: live.hash };
            }
        }
        taken.compared.0.insert(life, end);
        self.go_on(work, space)
    }

    /// The log brought something more while the source's was fetched.
    pub(super) fn descend_again<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        match std::mem::replace(&mut merge.step, Step::Clear) {
            Step::Tail(taken, _) => merge.step = Step::Descend(taken, Box::default()),
            step => merge.step = step,
        }
        self.go_on(work, space)
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
        let Some((mut merge, asked)) = self.answered(&space, &from, answer.round) else { return Ok(()) };
        if !merge.holds(&answer.heads) {
            // Its state went back: what it shows now isn't what the snapshot's heads stand for. Compared anew.
            return Ok(());
        }
        merge.until.merge(&answer.heads);
        let salt = merge.salt;
        let (Step::Descend(_, descent), Asked::Compare(mut asked)) = (&mut merge.step, asked) else {
            return self.abandon(work, &space, &from, Refusal::Message("an answer to another question".into()));
        };
        if answer.shown.len() > asked.len() {
            return self.abandon(work, &space, &from, Refusal::Message("more nodes than were asked for".into()));
        }
        let known = if is_settled { answer.shown.len() } else { 0 };
        let unanswered = asked.split_off(known);
        unanswered.into_iter().rev().for_each(|prefix| descent.compare.push_front(prefix));
        let mut failed = false;
        for (prefix, shown) in asked.into_iter().zip(answer.shown) {
            failed |= !compare(work, &space, &salt, descent, prefix, shown)?;
        }
        self.merges.insert(space, merge);
        if failed {
            return self.abandon(work, &space, &from, Refusal::Message("a malformed node".into()));
        }
        // Else one of the two is busy: asked again at the next tick.
        if known > 0 { self.go_on(work, space) } else { Ok(()) }
    }

    pub(in super::super) fn take_items<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        from: NodeId,
        answer: Items,
    ) -> Result<(), ViewFault> {
        let space = answer.space;
        let Some((mut merge, asked)) = self.answered(&space, &from, answer.round) else { return Ok(()) };
        if !merge.holds(&answer.heads) {
            return Ok(());
        }
        merge.until.merge(&answer.heads);
        let (Step::Descend(taken, descent), Asked::Fetch(mut wanted)) = (&mut merge.step, asked) else {
            return self.abandon(work, &space, &from, Refusal::Message("an answer to another question".into()));
        };
        let done = answer.done as usize;
        let is_lying =
            done > wanted.len() || answer.rest.is_some() && (answer.segments.is_empty() || done >= wanted.len());
        if is_lying || answer.segments.len() > SEGMENTS_MAX {
            return self.abandon(work, &space, &from, Refusal::Message("an answer to no question".into()));
        }
        let stands_still = done == 0 && answer.rest.is_none();
        let all: Vec<Wanted> = wanted.iter().take(done + 1).cloned().collect();
        wanted.drain(..done);
        if let (Some(rest), Some(first)) = (answer.rest, wanted.front_mut()) {
            if !first.goes_on_as(&rest) {
                return self.abandon(work, &space, &from, Refusal::Message("a rest of another wish".into()));
            }
            *first = rest;
        }
        wanted.into_iter().rev().for_each(|wish| descent.fetch.push_front(wish));
        let (heads, salt) = (taken.heads.clone(), merge.salt);
        let ends = taken.ends.clone();
        let is_wanted = |key: &[u8; 32]| all.iter().any(|wish| wish.covers(&salt, key));
        let mut shown = Logs::default();
        for bytes in &answer.segments {
            merge.progress.bytes += bytes.len() as u64;
            let pruned = match self.check_proof(&space, bytes, &heads) {
                Ok(pruned) => pruned,
                Err(refusal) => return self.abandon(work, &space, &from, refusal),
            };
            // Who shows what can't be in one log with what it showed before it, digs up what some other branch had.
            if !self.may_be_of(&pruned, &ends) || !shown.admit(&pruned) {
                continue;
            }
            let is_asked = pruned.entries().any(|(index, entry)| match Change::read(entry) {
                Ok(Change::Put(put)) => is_wanted(&trie::key_of(&put.path, &pruned.header.dot(index as usize))),
                _ => false,
            });
            // What wasn't asked for says nothing about where its sender stands: anybody may show what is signed.
            if is_asked && let Some(mine) = self.contradiction(work, merge.why, &pruned.header, &pruned.hash)? {
                return self.part_ways(work, from, &mine, &Stored::Pruned(pruned));
            }
            self.stage(work, &space, &pruned, &heads, &mut merge, &is_wanted)?;
        }
        self.merges.insert(space, merge);
        if stands_still { Ok(()) } else { self.go_on(work, space) }
    }

    /// Whether a segment can be in one log with what the source stands by.
    fn may_be_of(&self, pruned: &Pruned, ends: &[Pruned]) -> bool {
        let (header, hash) = (&pruned.header, &pruned.hash);
        let of_log = || ends.iter().filter(|end| end.header.incarnation == header.incarnation);
        // Of a longer log it doesn't show on which branch it is.
        let has_won = of_log().any(|end| self.is_on_winning_branch(&end.header, &end.hash));
        let is_lost = has_won && self.is_on_lost_branch(header, hash);
        !is_lost && !of_log().any(|end| parts(&end.header, &end.hash, header, hash))
    }

    /// What was asked and isn't answered is asked again, by new questions.
    pub(super) fn ask_again<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) -> Result<(), ViewFault> {
        let Some(merge) = self.merges.get_mut(&space) else { return Ok(()) };
        let Step::Descend(_, descent) = &mut merge.step else { return Ok(()) };
        for asked in std::mem::take(&mut merge.asked).into_values().rev() {
            match asked {
                Asked::Compare(prefixes) => prefixes.into_iter().rev().for_each(|at| descent.compare.push_front(at)),
                Asked::Fetch(wanted) => wanted.into_iter().rev().for_each(|wish| descent.fetch.push_front(wish)),
                Asked::Snapshot(_) => {}
            }
        }
        self.go_on(work, space)
    }

    /// Stages what of a proven segment is news here, and was asked for: what its author once signed may be dead long since.
    fn stage<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: &Space,
        pruned: &Pruned,
        theirs: &Heads,
        merge: &mut Merge,
        is_wanted: &impl Fn(&[u8; 32]) -> bool,
    ) -> Result<(), ViewFault> {
        let mut news = BTreeSet::new();
        let why = merge.why;
        let own = self.sound_heads(space, why);
        // Who has applied all that is applied here has live what is live: what is missing here was lost.
        let knows_all = theirs.cover_context(&own.to_context());
        for (index, envelope) in pruned.entries() {
            let dot = pruned.header.dot(index as usize);
            match Change::read(envelope) {
                Ok(Change::Put(put)) => {
                    let here = work.draft.versions(space, &put.path)?;
                    let here = here.iter().find(|version| version.dot == dot);
                    let is_here = here.is_some_and(|version| version.entry == entry_hash(envelope));
                    // With the source's properties it comes again, where they count for all that is here.
                    let comes_again = knows_all || matches!(why, Why::Branch | Why::Follow);
                    if is_here && !comes_again || !is_wanted(&trie::key_of(&put.path, &dot)) {
                        continue;
                    }
                    let was_here = match why {
                        Why::Follow => false,
                        Why::Branch => !is_here && self.stays_ended(work, space, &put.path, &dot, theirs)?,
                        _ if here.is_some() || !own.cover(&dot) => false,
                        _ => !knows_all || self.is_known_dead(work, space, &put.path, &dot)?,
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
        let (why, salt) = (merge.why, merge.salt);
        if let Step::Descend(taken, descent) = &mut merge.step {
            let mut left = LOOKED_MAX;
            while left > 0 {
                let Some(mut look) = descent.look.pop_front() else { break };
                let page = trie::items_after(&work.draft, &space, &look.prefix, look.after.as_ref(), left)?;
                for (key, item) in &page {
                    look.after = Some(*key);
                    if look.theirs.contains(&hint(&salt, key)) {
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
        self.begin_tail(work, space, taken)
    }

    fn check_proof(&self, space: &Space, bytes: &[u8], heads: &Heads) -> Result<Pruned, Refusal> {
        let trust = self.trust.as_ref().ok_or(Refusal::NotShared(*space))?;
        proof::check(trust, &self.circle_id(), space, bytes, heads)
    }
}

/// The next question, while few enough wait for their answers.
fn next_question(merge: &mut Merge, space: Space) -> Option<Message> {
    if merge.asked.len() >= ASKED_MAX {
        return None;
    }
    let Step::Descend(_, descent) = &mut merge.step else { return None };
    let is_comparing = merge.asked.values().any(|asked| matches!(asked, Asked::Compare(_)));
    let may_compare = !descent.compare.is_empty() && descent.fetch.len().max(descent.look.len()) <= WAITING_MAX;
    // Many wishes in one question: items of one segment share their proof.
    let is_last = descent.compare.is_empty() && !is_comparing;
    let salt = merge.salt;
    if descent.fetch.len() >= FETCHED_MAX || !descent.fetch.is_empty() && is_last {
        let count = descent.fetch.len().min(FETCHED_MAX);
        let wanted: Vec<Wanted> = descent.fetch.drain(..count).collect();
        let round = merge.ask(Asked::Fetch(wanted.clone().into()));
        return Some(Message::Fetch(Fetch { space, round, salt, wanted }));
    }
    if may_compare {
        let count = descent.compare.len().min(COMPARED_MAX);
        let prefixes: Vec<Prefix> = descent.compare.drain(..count).collect();
        let round = merge.ask(Asked::Compare(prefixes.clone()));
        return Some(Message::Compare(Compare { space, round, salt, prefixes }));
    }
    None
}

/// Takes note of where one node differs; false when it can't be one.
pub(super) fn compare<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    salt: &Salt,
    descent: &mut Descent,
    prefix: Prefix,
    shown: Shown,
) -> Result<bool, ViewFault> {
    match shown {
        Shown::Node(bits, hints) => compare_node(work, space, salt, descent, &prefix, (bits, hints)),
        Shown::Leaf(items) => compare_leaf(work, space, salt, descent, prefix, &items),
    }
}

fn compare_node<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    salt: &Salt,
    descent: &mut Descent,
    prefix: &[u8],
    (bits, hints): (u16, Vec<Hint>),
) -> Result<bool, ViewFault> {
    if hints.len() != bits.count_ones() as usize || prefix.len() >= 64 {
        return Ok(false);
    }
    let mine = trie::node(&work.draft, space, prefix)?;
    let mut hints = hints.into_iter();
    for child in 0..16_u8 {
        let theirs: Option<Hint> = if bits >> child & 1 == 1 { hints.next() } else { None };
        let at = [prefix, &[child]].concat();
        let sum = match &mine {
            Some(node) => node.0[usize::from(child)],
            None => trie::sum(&work.draft, space, &at)?,
        };
        match (theirs, sum.count) {
            (None, 0) => {}
            (None, _) => descent.look.push_back(Look { prefix: at, theirs: Default::default(), after: None }),
            (Some(_), 0) => descent.fetch.push_back(Wanted::Under(at, None)),
            (Some(theirs), _) if theirs == hint(salt, &sum.hash.0) => {}
            (Some(_), _) if descent.compare.len() > WIDE_MAX => descent.compare.push_front(at),
            (Some(_), _) => descent.compare.push_back(at),
        }
    }
    Ok(true)
}

fn compare_leaf<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    salt: &Salt,
    descent: &mut Descent,
    prefix: Prefix,
    theirs: &[(Hint, Hint)],
) -> Result<bool, ViewFault> {
    if theirs.len() > trie::LEAF_ITEMS_MAX {
        return Ok(false);
    }
    let mut missing = theirs.to_vec();
    let mine = trie::items(&work.draft, space, &prefix, HINTED_MAX + 1)?;
    // Where there are many more here, all of that leaf is asked for: what is here already is passed over when it comes.
    if mine.len() <= HINTED_MAX {
        let mine: BTreeSet<(Hint, Hint)> = mine.iter().map(|(key, item)| hints(salt, key, item)).collect();
        missing.retain(|item| !mine.contains(item));
    }
    if !missing.is_empty() {
        let keys = missing.into_iter().map(|(key, _)| key).collect();
        descent.fetch.push_back(Wanted::Some(prefix.clone(), keys));
    }
    let theirs = theirs.iter().map(|(key, _)| *key).collect();
    descent.look.push_back(Look { prefix, theirs, after: None });
    Ok(true)
}
