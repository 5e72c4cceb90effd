//! The source's side: answers about its own state, to members that share the space. Nothing here changes anything.

use std::collections::BTreeMap;

use super::super::farewell::endings_in;
use super::super::io::{Output, Table, View, ViewFault};
use super::super::message::Message;
use super::super::state::{Replica, Work};
use super::super::sync::MESSAGE_BYTES_MAX;
use super::super::{rows, trie};
use super::wire::{
    AskSnapshot, Compare, Compared, Fetch, Hint, Items, LogState, Prefix, Salt, Shown, Snapshot, Wanted, hint,
};
use crate::catalog::{Version, Versions};
use crate::changelog::{Change, Pruned, Stored};
use crate::model::{Context, Dot, Incarnation, NodeId, Space, codec};

/// The most prefixes or wishes that one question is answered on.
pub(super) const ASKED_MAX: usize = 4096;

/// The most prefixes that are shown beside a snapshot: the root and its children.
pub(super) const TOP_MAX: usize = 17;

/// The longest prefix that can lead to an item.
const PREFIX_MAX: usize = 64;

/// The most items among which some are looked for by their hints. A leaf has few; if that many came to be where a leaf
/// was shown, all of them are the answer.
pub(super) const HINTED_MAX: usize = 8 * trie::LEAF_ITEMS_MAX;

/// About what a segment's header, signature and proof take.
const HEADER_BYTES: usize = 700;

/// Pruned segments being collected, each once.
#[derive(Default)]
struct Collected {
    segments: BTreeMap<(Incarnation, u64), Pruned>,
    bytes: usize,
}

impl Collected {
    fn add(&mut self, pruned: Pruned) {
        let slot = (pruned.header.incarnation, pruned.header.first_sequence);
        self.bytes += HEADER_BYTES + pruned.entries().map(|(_, entry)| entry.body.len() + 16).sum::<usize>();
        let united = match self.segments.remove(&slot) {
            Some(known) => known.united(&pruned),
            None => pruned,
        };
        self.segments.insert(slot, united);
    }

    fn is_full(&self) -> bool {
        self.bytes >= MESSAGE_BYTES_MAX
    }
}

impl Replica {
    /// Whether what is live here may be shown to `peer` as this node's state.
    fn may_show<V: View>(&mut self, work: &mut Work<'_, V>, space: &Space, peer: &NodeId) -> Result<bool, ViewFault> {
        if self.is_merging(space) || !self.shares(space, peer) || self.misleads(space, peer) {
            return Ok(false);
        }
        self.settle(work)?;
        Ok(self.spaces.get(space).is_some_and(|state| state.live.is_some()))
    }

    fn shown_heads(&self, space: &Space, peer: &NodeId) -> Context {
        if self.shares(space, peer) { self.heads(space).to_context() } else { Context::default() }
    }

    pub(in super::super) fn show_snapshot<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        to: NodeId,
        ask: &AskSnapshot,
    ) -> Result<(), ViewFault> {
        let (space, round) = (ask.space, ask.round);
        let (trust, logs, shown) = (Context::default(), Vec::new(), Vec::new());
        let mut answer = Snapshot { space, round, state: None, trust, federation: None, logs, more: false, shown };
        if self.may_show(work, &space, &to)? {
            answer.state = self.own_state(work.now, &space);
        }
        let has = self.signed.get(&space).map(|(said, _)| (said.heads, said.state));
        if answer.state.is_some() && (has.is_none() || ask.has != has) {
            answer.trust = self.heads(&Space::Trust).to_context();
            if ask.after.is_none() {
                let top = &ask.prefixes[..ask.prefixes.len().min(TOP_MAX)];
                answer.shown = show_all(work, &space, &ask.salt, top)?;
            }
            let state = &self.spaces[&space];
            answer.federation = state.federation.clone();
            let mut bytes = codec::encode(&answer.federation).len();
            for incarnation in state.heads.0.keys().filter(|i| ask.after.is_none_or(|after| **i > after)) {
                let Some(head) =
                    segment_at(work.draft.view(), &space, &Dot { incarnation: *incarnation, sequence: u64::MAX })?
                else {
                    continue;
                };
                let (context, needs) = state.known.get(incarnation).cloned().unwrap_or_default();
                let log = LogState { head: endings_in(head).to_bytes(), context, needs };
                bytes += codec::encode(&log).len();
                if bytes > MESSAGE_BYTES_MAX && !answer.logs.is_empty() {
                    answer.more = true;
                    break;
                }
                answer.logs.push((*incarnation, log));
            }
        }
        work.out.push(Output::Send(to, Message::Snapshot(Box::new(answer)).to_bytes()));
        Ok(())
    }

    pub(in super::super) fn show_nodes<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        to: NodeId,
        ask: &Compare,
    ) -> Result<(), ViewFault> {
        let mut shown = Vec::new();
        if self.may_show(work, &ask.space, &to)? {
            let prefixes = &ask.prefixes[..ask.prefixes.len().min(ASKED_MAX)];
            shown = show_all(work, &ask.space, &ask.salt, prefixes)?;
        }
        let answer = Compared { space: ask.space, round: ask.round, heads: self.shown_heads(&ask.space, &to), shown };
        work.out.push(Output::Send(to, Message::Compared(answer).to_bytes()));
        Ok(())
    }

    pub(in super::super) fn show_items<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        to: NodeId,
        ask: &Fetch,
    ) -> Result<(), ViewFault> {
        let mut answer = Items {
            space: ask.space,
            round: ask.round,
            heads: self.shown_heads(&ask.space, &to),
            segments: Vec::new(),
            done: 0,
            rest: None,
        };
        let mut collected = Collected::default();
        if self.may_show(work, &ask.space, &to)? {
            for wanted in ask.wanted.iter().take(ASKED_MAX) {
                if collected.is_full() {
                    break;
                }
                answer.rest = collect(work, &ask.space, &ask.salt, wanted, &mut collected)?;
                if answer.rest.is_some() {
                    break;
                }
                answer.done += 1;
            }
        }
        answer.segments = collected.segments.into_values().map(|pruned| pruned.to_bytes()).collect();
        work.out.push(Output::Send(to, Message::Items(answer).to_bytes()));
        Ok(())
    }
}

/// The stored segment that holds `dot`, or the last one before it.
pub(in super::super) fn segment_at(view: &impl View, space: &Space, dot: &Dot) -> Result<Option<Stored>, ViewFault> {
    let from = rows::segment_key(space, &dot.incarnation, 0);
    let to = rows::segment_key(space, &dot.incarnation, dot.sequence.saturating_add(1));
    let Some((_, value)) = view.last(Table::Log, &from, &to)? else { return Ok(None) };
    let fault = |error| ViewFault(format!("a stored segment of {space} is unreadable: {error}"));
    Stored::read(&value).map(Some).map_err(fault)
}

/// What is under the first of some prefixes, as much as fits; what can't be a prefix ends it.
fn show_all<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    salt: &Salt,
    prefixes: &[Prefix],
) -> Result<Vec<Shown>, ViewFault> {
    let (mut shown, mut bytes) = (Vec::new(), 0);
    for prefix in prefixes {
        if prefix.len() > PREFIX_MAX || prefix.iter().any(|nibble| *nibble > 15) || bytes > MESSAGE_BYTES_MAX {
            break;
        }
        let under = show(work, space, salt, prefix)?;
        bytes += codec::encode(&under).len();
        shown.push(under);
    }
    Ok(shown)
}

fn show<V: View>(work: &Work<'_, V>, space: &Space, salt: &Salt, prefix: &[u8]) -> Result<Shown, ViewFault> {
    if let Some(node) = trie::node(&work.draft, space, prefix)? {
        let here = (0_u16..16).filter(|child| node.0[usize::from(*child)].count > 0);
        let bits = here.clone().fold(0, |bits, child| bits | 1 << child);
        let hint_of = |child| hint(salt, &node.0[usize::from(child)].hash.0);
        return Ok(Shown::Node(bits, here.map(hint_of).collect()));
    }
    let items = trie::items(&work.draft, space, prefix, usize::MAX)?;
    Ok(Shown::Leaf(items.iter().map(|(key, item)| hints(salt, key, item)).collect()))
}

/// What stands for an item in a leaf.
pub(super) fn hints(salt: &Salt, key: &[u8; 32], item: &trie::Item) -> (Hint, Hint) {
    (hint(salt, key), hint(salt, &item.hash.0))
}

/// Collects what makes the versions of a wish; returns what is left of the wish when it is too much.
fn collect<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    salt: &Salt,
    wanted: &Wanted,
    collected: &mut Collected,
) -> Result<Option<Wanted>, ViewFault> {
    match wanted {
        Wanted::All(after) => collect_log(work, space, *after, collected),
        Wanted::Under(prefix, after) => {
            let (mut after, prefix) = (*after, prefix.get(..prefix.len().min(PREFIX_MAX)).unwrap_or_default());
            loop {
                let page = trie::items_after(&work.draft, space, prefix, after.as_ref(), 256)?;
                for (key, item) in &page {
                    collect_item(work, space, item, collected)?;
                    after = Some(*key);
                    if collected.is_full() {
                        return Ok(Some(Wanted::Under(prefix.to_vec(), after)));
                    }
                }
                if page.len() < 256 {
                    return Ok(None);
                }
            }
        }
        Wanted::Some(prefix, keys) => {
            let prefix = prefix.get(..prefix.len().min(PREFIX_MAX)).unwrap_or_default();
            let items = trie::items(&work.draft, space, prefix, HINTED_MAX + 1)?;
            if items.len() > HINTED_MAX {
                return collect(work, space, salt, &Wanted::Under(prefix.to_vec(), None), collected);
            }
            for (_, item) in items.iter().filter(|(key, _)| keys.contains(&hint(salt, key))) {
                collect_item(work, space, item, collected)?;
            }
            Ok(None)
        }
    }
}

/// The entries that make a live version: its put, and the edits of its properties that count.
fn entries_of(version: &Version) -> impl Iterator<Item = Dot> {
    std::iter::once(version.dot).chain(version.edits.iter().map(|(_, edit)| edit.dot))
}

fn collect_item<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    item: &trie::Item,
    collected: &mut Collected,
) -> Result<(), ViewFault> {
    let versions = work.draft.versions(space, &item.path)?;
    for dot in versions.iter().filter(|version| version.dot == item.dot).flat_map(entries_of) {
        let missing = || ViewFault(format!("no segment of {space} holds {dot:?}, which is live"));
        let segment = segment_at(work.draft.view(), space, &dot)?.ok_or_else(missing)?;
        let first = segment.header().first_sequence;
        collected.add(segment.narrowed(|index| first + u64::from(index) == dot.sequence));
    }
    Ok(())
}

/// Collects whatever in the log is live, segment by segment.
fn collect_log<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    after: Option<(Incarnation, u64)>,
    collected: &mut Collected,
) -> Result<Option<Wanted>, ViewFault> {
    let mut from = match after {
        Some((incarnation, first)) => rows::segment_key(space, &incarnation, first.saturating_add(1)),
        None => space.key().to_vec(),
    };
    let end = rows::end_of(&space.key());
    loop {
        let page = work.draft.view().range(Table::Log, &from, &end, 16)?;
        for (key, value) in &page {
            let fault = |error| ViewFault(format!("a stored segment of {space} is unreadable: {error}"));
            let segment = Stored::read(value).map_err(fault)?;
            let (incarnation, first) = (segment.header().incarnation, segment.header().first_sequence);
            let live = live_entries(work, space, segment)?;
            if live.entries().next().is_some() {
                collected.add(live);
            }
            from = [key.as_slice(), &[0]].concat();
            if collected.is_full() {
                return Ok(Some(Wanted::All(Some((incarnation, first)))));
            }
        }
        if page.len() < 16 {
            return Ok(None);
        }
    }
}

/// What of a segment is live: puts of live versions, and edits that count.
pub(in super::super) fn live_entries<V: View>(
    work: &Work<'_, V>,
    space: &Space,
    segment: Stored,
) -> Result<Pruned, ViewFault> {
    let all = segment.narrowed(|_| true);
    let mut live = std::collections::BTreeSet::new();
    for (index, envelope) in all.entries() {
        let dot = all.header.dot(index as usize);
        let is_live = match Change::read(envelope) {
            Ok(Change::Put(put)) => work.draft.versions(space, &put.path)?.iter().any(|version| version.dot == dot),
            Ok(Change::EditProperties(edit)) => {
                let versions: Versions = work.draft.versions(space, &edit.path)?;
                let edited = versions.iter().find(|version| version.dot == edit.version);
                edited.is_some_and(|version| version.edits.iter().any(|(_, last)| last.dot == dot))
            }
            _ => false,
        };
        if is_live {
            live.insert(index);
        }
    }
    Ok(all.narrowed(|index| live.contains(&index)))
}
