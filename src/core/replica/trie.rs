//! The Merkle trie over what is live in a space: 16-ary, keyed by the hash of path and dot. Its root stands for the
//! whole state; where two members differ is found by descending only where their nodes differ.
//!
//! ```text
//! item    key = H(path, dot), hash = H(path, version)      one row per live version
//! leaf    at most LEAF_ITEMS_MAX items under a prefix      no row: its hash is taken over its items
//! node    more of them: 16 children, each count and hash   one row
//! mark    items under it changed since its nodes were made one row, until the trie is settled
//! ```
//!
//! # Why
//! A put touches two rows here, an item and a mark; the nodes above are computed once for all puts since the last time
//! somebody asked. What the nodes are is a function of the set of items alone: no order of arrival, no rebalancing.
//! Sums of hashes would be cheaper to keep, and whoever chooses entries can make two sets collide.

use serde::{Deserialize, Serialize};

use super::draft::{Draft, stored};
use super::io::{KeyValue, Page, Table, View, ViewFault};
use super::rows;
use crate::catalog::{Version, Versions};
use crate::model::{ArtifactPath, Digest, Dot, Space, codec};

/// A subtree with more items is a node with children.
pub(super) const LEAF_ITEMS_MAX: usize = 32;

/// How many bytes of an item's key a mark names.
const MARK_BYTES: usize = 4;

/// The nibbles from the root to a subtree, each below 16.
pub(super) type Prefix = Vec<u8>;

/// What a subtree holds: equal sums stand for equal items.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sum {
    /// How many items.
    pub count: u64,
    /// Over all of them; [`Digest::ZERO`] for none.
    pub hash: Digest,
}

/// One live version as the trie knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Item {
    /// Over path and version.
    pub(super) hash: Digest,
    pub(super) dot: Dot,
    pub(super) path: ArtifactPath,
}

/// The children of an inner node, by nibble.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Node(pub(super) [Sum; 16]);

impl rows::Stored for Item {}
impl rows::Stored for Node {}

impl Node {
    pub(super) fn sum(&self) -> Sum {
        let count = self.0.iter().map(|child| child.count).sum();
        Sum { count, hash: Digest::derived("artimesh/trie-node/v1", &codec::encode(self)) }
    }
}

/// Where the version `dot` of `path` stands in the trie.
pub(super) fn key_of(path: &ArtifactPath, dot: &Dot) -> [u8; 32] {
    Digest::derived("artimesh/trie-key/v1", &codec::encode(&(path, dot))).0
}

pub(super) fn item_of(path: &ArtifactPath, version: &Version) -> Item {
    let hash = Digest::derived("artimesh/trie-item/v1", &codec::encode(&(path, version)));
    Item { hash, dot: version.dot, path: path.clone() }
}

/// The sum of a leaf, whose items come in the order of their keys.
pub(super) fn leaf_sum<'a>(items: impl Iterator<Item = (&'a [u8], &'a Digest)>) -> Sum {
    let mut hasher = blake3::Hasher::new_derive_key("artimesh/trie-leaf/v1");
    let mut count = 0;
    for (key, hash) in items {
        hasher.update(key);
        hasher.update(&hash.0);
        count += 1;
    }
    if count == 0 { Sum::default() } else { Sum { count, hash: Digest(*hasher.finalize().as_bytes()) } }
}

/// Takes over that the live versions of a path changed.
pub(super) fn changed<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    path: &ArtifactPath,
    before: &Versions,
    after: &Versions,
) {
    let mark = |draft: &mut Draft<'_, V>, key: &[u8; 32]| {
        draft.set_bytes(Table::Trie, rows::mark_key(space, &key[..MARK_BYTES]), Vec::new());
    };
    for gone in before.iter().filter(|old| after.iter().all(|new| new.dot != old.dot)) {
        let key = key_of(path, &gone.dot);
        draft.remove(Table::Trie, rows::item_key(space, &key));
        mark(draft, &key);
    }
    for here in after.iter().filter(|new| before.iter().all(|old| old != *new)) {
        let key = key_of(path, &here.dot);
        draft.set(Table::Trie, rows::item_key(space, &key), &item_of(path, here));
        mark(draft, &key);
    }
}

/// Computes the nodes above at most `marks_max` marks; returns the root's sum once no mark is left.
pub(super) fn settle<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    marks_max: usize,
) -> Result<Option<Sum>, ViewFault> {
    let first = rows::mark_key(space, &[]);
    let page = draft.range(Table::Trie, &first, &rows::end_of(&first), marks_max.saturating_add(1))?;
    let is_all = page.len() <= marks_max;
    let marks: Vec<Prefix> = page.iter().take(marks_max).map(|(key, _)| nibbles(&key[first.len()..])).collect();
    let root = if marks.is_empty() { sum(draft, space, &[])? } else { renew(draft, space, &mut Vec::new(), &marks)? };
    for (key, _) in page.into_iter().take(marks_max) {
        draft.remove(Table::Trie, key);
    }
    Ok(is_all.then_some(root))
}

/// What a settled trie holds under a prefix.
pub(super) fn sum<V: View>(draft: &Draft<'_, V>, space: &Space, prefix: &[u8]) -> Result<Sum, ViewFault> {
    match node(draft, space, prefix)? {
        Some(node) => Ok(node.sum()),
        None => Ok(sum_of(&items(draft, space, prefix, usize::MAX)?)),
    }
}

/// The inner node at a prefix; `None` when there is a leaf.
pub(super) fn node<V: View>(draft: &Draft<'_, V>, space: &Space, prefix: &[u8]) -> Result<Option<Node>, ViewFault> {
    draft.get(Table::Trie, &rows::node_key(space, prefix))?.map(|value| stored(&value)).transpose()
}

/// Up to `limit` items under a prefix with their keys, in order.
pub(super) fn items<V: View>(
    draft: &Draft<'_, V>,
    space: &Space,
    prefix: &[u8],
    limit: usize,
) -> Result<Vec<([u8; 32], Item)>, ViewFault> {
    let (from, to) = bounds(space, prefix);
    read(draft.range(Table::Trie, &from, &to, limit)?)
}

fn read(page: Page) -> Result<Vec<([u8; 32], Item)>, ViewFault> {
    let item = |(key, value): KeyValue| {
        let key = key[key.len() - 32..].try_into().map_err(|_| ViewFault("a trie row has a broken key".into()))?;
        Ok((key, stored(&value)?))
    };
    page.into_iter().map(item).collect()
}

fn sum_of(items: &[([u8; 32], Item)]) -> Sum {
    leaf_sum(items.iter().map(|(key, item)| (&key[..], &item.hash)))
}

/// Up to `limit` items under a prefix whose keys come after `after`.
pub(super) fn items_after<V: View>(
    draft: &Draft<'_, V>,
    space: &Space,
    prefix: &[u8],
    after: Option<&[u8; 32]>,
    limit: usize,
) -> Result<Vec<([u8; 32], Item)>, ViewFault> {
    let (mut from, to) = bounds(space, prefix);
    if let Some(after) = after {
        from = from.max([&rows::item_key(space, after)[..], &[0]].concat());
    }
    read(draft.range(Table::Trie, &from, &to, limit)?)
}

/// The keys of the items under a prefix: from, and up to but without.
fn bounds(space: &Space, prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut packed: Vec<u8> = prefix.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)).collect();
    let from = rows::item_key(space, &packed);
    if let (1, Some(last)) = (prefix.len() % 2, packed.last_mut()) {
        *last |= 15;
    }
    (from, rows::end_of(&rows::item_key(space, &packed)))
}

pub(super) fn nibbles(bytes: &[u8]) -> Prefix {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect()
}

/// Computes the subtree at `prefix` anew where marks lead into it.
fn renew<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    prefix: &mut Prefix,
    marks: &[Prefix],
) -> Result<Sum, ViewFault> {
    let depth = prefix.len();
    if let Some(mut node) = node(draft, space, prefix)? {
        for nibble in 0..16 {
            let under = under(marks, depth, nibble);
            if !under.is_empty() {
                prefix.push(nibble);
                node.0[usize::from(nibble)] = renew(draft, space, prefix, under)?;
                prefix.pop();
            }
        }
        if node.sum().count > LEAF_ITEMS_MAX as u64 {
            draft.set(Table::Trie, rows::node_key(space, prefix), &node);
            return Ok(node.sum());
        }
    }
    build(draft, space, prefix)
}

/// Those of the sorted `marks`, which are alike before `depth`, that lead to the child `nibble` there. Marks that end
/// before lead to every child.
fn under(marks: &[Prefix], depth: usize, nibble: u8) -> &[Prefix] {
    if depth >= 2 * MARK_BYTES {
        return marks;
    }
    let from = marks.partition_point(|mark| mark[depth] < nibble);
    let to = marks.partition_point(|mark| mark[depth] <= nibble);
    &marks[from..to]
}

/// Computes the subtree at `prefix` from its items alone. Nodes further down that belong to nothing any more are
/// overwritten when a node grows above them.
fn build<V: View>(draft: &mut Draft<'_, V>, space: &Space, prefix: &mut Prefix) -> Result<Sum, ViewFault> {
    let few = items(draft, space, prefix, LEAF_ITEMS_MAX + 1)?;
    let key = rows::node_key(space, prefix);
    if few.len() <= LEAF_ITEMS_MAX {
        if draft.get(Table::Trie, &key)?.is_some() {
            draft.remove(Table::Trie, key);
        }
        return Ok(sum_of(&few));
    }
    let mut node = Node::default();
    for nibble in 0..16 {
        prefix.push(nibble);
        node.0[usize::from(nibble)] = build(draft, space, prefix)?;
        prefix.pop();
    }
    draft.set(Table::Trie, key, &node);
    Ok(node.sum())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::io::Row;
    use super::*;
    use crate::model::{FederationId, Incarnation, NodeId};

    #[derive(Default)]
    struct Rows(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

    impl Rows {
        fn apply(&mut self, rows: Vec<Row>) {
            for Row { table, key, value } in rows {
                match value {
                    Some(value) => self.0.insert((table, key), value),
                    None => self.0.remove(&(table, key)),
                };
            }
        }

        fn count(&self, tag: u8) -> usize {
            self.0.keys().filter(|(table, key)| *table == Table::Trie && key[33] == tag).count()
        }
    }

    impl View for Rows {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ViewFault> {
            Ok(self.0.get(&(table, key.to_vec())).cloned())
        }

        fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewFault> {
            let rows = self.0.range((table, from.to_vec())..(table, to.to_vec())).take(limit);
            Ok(rows.map(|((_, key), value)| (key.clone(), value.clone())).collect())
        }

        fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<KeyValue>, ViewFault> {
            let last = self.0.range((table, from.to_vec())..(table, to.to_vec())).next_back();
            Ok(last.map(|((_, key), value)| (key.clone(), value.clone())))
        }

        fn has_blob(&self, _: &Digest) -> Result<bool, ViewFault> {
            Ok(true)
        }
    }

    const SPACE: Space = Space::Federation(FederationId([7; 32]));

    fn path(number: usize) -> ArtifactPath {
        format!("p/{number}").parse().expect("a fine path")
    }

    /// Adds (or takes out) the item `number` as a put would.
    fn change(draft: &mut Draft<'_, Rows>, number: usize, is_there: bool) {
        let incarnation = Incarnation { node: NodeId([1; 32]), number: 1 };
        let dot = Dot { incarnation, sequence: number as u64 + 1 };
        let key = key_of(&path(number), &dot);
        let slot = rows::item_key(&SPACE, &key);
        if is_there {
            let hash = Digest::of(&number.to_le_bytes());
            draft.set(Table::Trie, slot, &Item { hash, dot, path: path(number) });
        } else {
            draft.remove(Table::Trie, slot);
        }
        draft.set_bytes(Table::Trie, rows::mark_key(&SPACE, &key[..MARK_BYTES]), Vec::new());
    }

    fn fresh(rows: &Rows) -> Sum {
        build(&mut Draft::new(rows), &SPACE, &mut Vec::new()).expect("rows in memory")
    }

    /// Settles a bounded step at a time, each step at rest before the next.
    fn settled(rows: &mut Rows, marks_max: usize) -> Sum {
        loop {
            let mut draft = Draft::new(&*rows);
            let root = settle(&mut draft, &SPACE, marks_max).expect("rows in memory");
            let written = draft.into_rows();
            rows.apply(written);
            if let Some(root) = root {
                return root;
            }
        }
    }

    #[test]
    fn a_trie_kept_up_step_by_step_is_the_one_built_at_once() {
        let mut rows = Rows::default();
        let mut dice = 1_u64;
        for round in 0..60 {
            let mut draft = Draft::new(&rows);
            for _ in 0..40 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Grows for half of the rounds and shrinks for the other.
                let is_there = (dice >> 60) < if round < 30 { 14 } else { 2 };
                change(&mut draft, (dice >> 33) as usize % 1_500, is_there);
            }
            let written = draft.into_rows();
            rows.apply(written);
            if round % 3 > 0 {
                assert_eq!(settled(&mut rows, 7 + round), fresh(&rows), "round {round}");
                assert_eq!(rows.count(2), 0, "no mark is left");
            }
        }
        let mut draft = Draft::new(&rows);
        (0..1_500).for_each(|number| change(&mut draft, number, false));
        let written = draft.into_rows();
        rows.apply(written);
        assert_eq!(settled(&mut rows, 100), Sum::default());
        assert_eq!(rows.count(0), 0, "an empty trie has no nodes");
    }

    #[test]
    fn equal_sets_have_equal_roots_whatever_the_order() {
        let root_of = |order: &mut dyn Iterator<Item = usize>| {
            let mut rows = Rows::default();
            for number in order {
                let mut draft = Draft::new(&rows);
                change(&mut draft, number, true);
                let written = draft.into_rows();
                rows.apply(written);
                settled(&mut rows, 1);
            }
            settled(&mut rows, 1)
        };
        let forwards = root_of(&mut (0..200));
        assert_eq!(forwards, root_of(&mut (0..200).rev()));
        assert_ne!(forwards, root_of(&mut (0..199)));
        assert_eq!(forwards.count, 200);
    }
}
