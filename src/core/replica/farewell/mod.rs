//! Farewells: the entry by which a membership ended, shown to who hasn't heard of it.
//!
//! ```text
//!   member                                              former member, which was away, or was set back to an old copy
//!     its heads don't cover the entry that ended it ◀──── heads
//!     Farewell(signed header, entry, Merkle path) ──────▶ verified; the repository is shown no more
//! ```
//!
//! # Why
//! A former member may have what of the log was known when it was one, its own leave or removal included; but where that is
//! pruned there is nothing to send it, and states aren't shown to who is no member. Without more it would go on for itself
//! for ever. So logs keep the entries that end memberships whatever else is pruned. A state is shown with those that are in the
//! last segment of their log: a leave is the last word of its author, who may be the only one to have it, and be set back
//! just then. A member that has no such entry, because it took a state over, asks another for it (`ask_farewells`).
//!
//! What the author had seen is told in a header as a difference to the one before it, which may be gone. Whoever ends a
//! membership therefore states again how far it had seen that node's logs ([`restated`]): this says which acceptances are
//! meant, and that an invitation since then isn't undone.
//!
//! The entry comes without all that was before it. So the heads stay what they are, and the federation as those make it; what
//! this node was shown stands beside it (`own_membership`), until its log reaches the entry itself.
//!
//! # What is believed
//! The author's signature, by a key that the circle knows, up to the seals; and its rights, as of any removal. That the
//! author was a member, or is invited for the first time, must be known here; if it became one since, a member must pass
//! its word on; and it must hold the circle's right to revoke. What is said in a life that is known to have been lived
//! twice counts only in its log.
//!
//! What this doesn't cover: a removal that an earlier version wrote says less of what it had seen, and may not be enough; and
//! if nobody who is left has the entry, nobody can show it: a removal that only its author had, which wrote on after it and
//! was set back before it answered.

mod heed;
mod show;

use std::collections::{BTreeMap, BTreeSet};

use super::io::Refusal;
use crate::changelog::{Change, Pruned, Stored, kind};
use crate::model::{Context, Dot, Envelope, NodeId, Space};

pub(super) use heed::load_farewells;

/// The most entries that end a node's membership in one federation that are shown, or kept beside the log.
const ENDS_MAX: usize = 4;

/// Why an entry that should end a membership doesn't. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FarewellFault {
    /// It doesn't end any.
    #[error("it ends no membership")]
    EndsNothing,
    /// It is about a node whose membership, as far as is known here, it didn't end.
    #[error("it is about node {0}, whose membership it did not end")]
    Another(NodeId),
    /// Its author hadn't seen the acceptance that is in force.
    #[error("its author had not seen the present membership: it ended an earlier one")]
    Earlier,
    /// Its author isn't known as a member.
    #[error("its author is not known as a member of the federation")]
    Stranger,
    /// Its author's life was lived twice.
    #[error("its author's log is forked")]
    Forked,
}

/// An entry that ends a membership, with its proof.
struct Ending {
    proof: Pruned,
    dot: Dot,
    /// Whether another than the node itself ended it.
    is_removal: bool,
    /// Whose.
    node: NodeId,
    /// How far the author had seen that node's logs, at least.
    seen: Context,
}

impl Ending {
    /// Reads one entry and its proof: signatures and rights apart.
    fn read(space: &Space, bytes: &[u8]) -> Result<Ending, Refusal> {
        let proof = Pruned::read(bytes)?;
        let header = &proof.header;
        if header.space != *space {
            return Err(Refusal::NotShared(header.space));
        }
        let fault = |dot: Dot| Refusal::Farewell(dot, FarewellFault::EndsNothing);
        let mut entries = proof.entries();
        let (Some((index, entry)), None) = (entries.next(), entries.next()) else { return Err(fault(header.dot(0))) };
        let dot = header.dot(index as usize);
        let node = whose_end(entry, dot.incarnation.node).ok_or_else(|| fault(dot))?;
        let mut seen = of_node(&header.context, &node);
        if dot.incarnation.node == node {
            seen.merge(&Context(BTreeMap::from([(dot.incarnation, dot.sequence - 1)])));
        }
        let is_removal = entry.kind == kind::REMOVE;
        drop(entries);
        Ok(Ending { proof, dot, is_removal, node, seen })
    }

    /// Whether its author had surely seen `other`.
    fn saw(&self, other: &Dot) -> bool {
        let own_earlier = other.incarnation == self.dot.incarnation && other.sequence < self.dot.sequence;
        own_earlier || self.proof.header.context.cover(other)
    }
}

/// Whose membership an entry of `author` ends.
fn whose_end(entry: &Envelope, author: NodeId) -> Option<NodeId> {
    match Change::read(entry) {
        Ok(Change::Leave) => Some(author),
        Ok(Change::Remove(removal)) => Some(removal.node),
        _ => None,
    }
}

/// Of a segment only the entries that end memberships.
pub(super) fn endings_in(segment: Stored) -> Pruned {
    let all = segment.narrowed(|_| true);
    let author = all.header.incarnation.node;
    let ends: BTreeSet<u32> =
        all.entries().filter(|(_, entry)| whose_end(entry, author).is_some()).map(|(index, _)| index).collect();
    all.narrowed(|index| ends.contains(&index))
}

/// What of a context is about a node's own logs.
fn of_node(context: &Context, node: &NodeId) -> Context {
    Context(
        context.0.iter().filter(|(life, _)| life.node == *node).map(|(life, sequence)| (*life, *sequence)).collect(),
    )
}

/// What the header of a segment with these entries says again of what its author had seen: how far the logs of those whose
/// membership it ends, so that the entry proves that without the segments before it.
pub(super) fn restated(context: &Context, entries: &[Envelope], author: NodeId) -> Context {
    let mut again = Context::default();
    for node in entries.iter().filter_map(|entry| whose_end(entry, author)) {
        again.merge(&of_node(context, &node));
    }
    again
}
