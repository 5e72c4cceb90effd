//! How long ago the oldest entry was written that a member lacks: what an operator means by its lag.
//!
//! Which entries it lacks, the mind knows; when they were written their segments say, which are read beside it.

use std::collections::BTreeMap;

use artimesh_core::changelog::Stored;
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Incarnation, NodeId, Space};
use artimesh_core::replica::{Replica, Table, View, ViewFault, rows};

/// Of each member that told what it has: of each log the first entry that it lacks.
pub(super) type Lacking = BTreeMap<NodeId, Vec<(Incarnation, u64)>>;

/// What members lack of a space, as far as they told.
pub(super) fn lacking(replica: &Replica, space: &Space) -> Lacking {
    let mine = replica.heads(space);
    let of = |(node, peer): (&NodeId, &artimesh_core::replica::Peer)| {
        let theirs = peer.heads.get(space)?;
        let has = |life: &Incarnation| theirs.of(life).sequence;
        let behind = mine.0.iter().filter(|(life, head)| head.sequence > has(life));
        Some((*node, behind.map(|(life, _)| (*life, has(life) + 1)).collect()))
    };
    replica.peers().iter().filter_map(of).collect()
}

/// When the oldest of it was written, by its author's clock. Reads rows.
pub(super) fn oldest(
    view: &impl View,
    space: &Space,
    lacking: &Lacking,
) -> Result<BTreeMap<NodeId, Timestamp>, ViewFault> {
    // Most lack the same.
    let mut known = BTreeMap::new();
    let mut oldest = BTreeMap::new();
    for (node, logs) in lacking {
        for (life, sequence) in logs {
            let written = match known.get(&(*life, *sequence)) {
                Some(written) => *written,
                None => *known.entry((*life, *sequence)).or_insert(written(view, space, life, *sequence)?),
            };
            if let Some(written) = written {
                let so_far = oldest.entry(*node).or_insert(written);
                *so_far = written.min(*so_far);
            }
        }
    }
    Ok(oldest)
}

/// When an entry was written, or the next one that is still in the log.
fn written(view: &impl View, space: &Space, life: &Incarnation, sequence: u64) -> Result<Option<Timestamp>, ViewFault> {
    let key = |sequence: u64| rows::segment_key(space, life, sequence);
    let header = |value: &[u8]| Stored::read(value).ok().map(|stored| stored.header().clone());
    let before = view.last(Table::Log, &key(0), &key(sequence.saturating_add(1)))?;
    let before = before.and_then(|(_, value)| header(&value)).filter(|header| header.last_sequence() >= sequence);
    if let Some(header) = before {
        return Ok(Some(header.written_at));
    }
    let next = view.range(Table::Log, &key(sequence), &key(u64::MAX), 1)?;
    Ok(next.first().and_then(|(_, value)| header(value)).map(|header| header.written_at))
}
