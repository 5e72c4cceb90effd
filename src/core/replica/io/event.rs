//! Facts for the operator, and why something of a peer was refused.

use super::super::farewell::FarewellFault;
use crate::catalog::EntryFault;
use crate::changelog::SegmentError;
use crate::model::{ArtifactPath, Dot, FederationId, Incarnation, NodeId, RepoKey, Space};
use crate::trust::{Addresses, TrustRefusal};

/// Why a segment or message of a peer isn't applied. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its bytes are broken.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The message doesn't decode.
    #[error("malformed message: {0}")]
    Message(String),
    /// An entry isn't its author's to write.
    #[error(transparent)]
    Trust(#[from] TrustRefusal),
    /// An entry is out of bounds, or kills what its author hadn't seen.
    #[error("entry {0:?}: {1}")]
    Entry(Dot, EntryFault),
    /// An entry of a known kind doesn't decode, or stands where it can't.
    #[error("entry {0:?} is malformed or misplaced: {1}")]
    Misplaced(Dot, String),
    /// An entry of a kind that this version doesn't know: the author is parked here until the upgrade.
    #[error("entry {0:?} is of kind {1}, which this version does not know: upgrade this node")]
    UnknownKind(Dot, u16),
    /// Another segment with the same place in the log was applied before: proof of a fault of its author.
    #[error("two different logs of {0:?} reach sequence {1}")]
    Fork(Incarnation, u64),
    /// Its author would end more than one may in so short a time: it waits for an operator.
    #[error(
        "node {author} would end or overwrite {paths} paths within minutes, {allowed} at most may be: held until it is released"
    )]
    Held {
        /// Whose.
        author: NodeId,
        /// How many paths, with what it ended just before.
        paths: u64,
        /// How many it may.
        allowed: u64,
    },
    /// It would put more beside what is at a path than one path holds: it is asked for again later.
    #[error("entry {0:?} would put more beside what is at {1} than one path holds: overwrite or delete what is there")]
    Crowded(Dot, ArtifactPath),
    /// It was sent as what ended a membership, and isn't.
    #[error("entry {0:?} proves no end of a membership: {1}")]
    Farewell(Dot, FarewellFault),
    /// A space that this node and the peer don't share.
    #[error("{0} is not shared with that node")]
    NotShared(Space),
    /// The site's setting doesn't take federations of that node.
    #[error("federations founded by node {0} are not accepted here (replication.accept_federations)")]
    NotAccepted(NodeId),
}

/// A fact for the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The state of a space was compared with another member's, and what differed was taken over.
    Reconciled {
        /// Which.
        space: Space,
        /// Whose.
        source: NodeId,
    },
    /// Dead entries went from the log.
    Pruned {
        /// Of which space.
        space: Space,
        /// How many.
        entries: u64,
    },
    /// A member with the same heads has another digest: one of the two has lost something, or there is a fault in Artimesh.
    Diverged {
        /// In which space.
        space: Space,
        /// The other.
        peer: NodeId,
    },
    /// Entries were applied.
    Applied {
        /// Where.
        space: Space,
        /// Whose.
        author: NodeId,
        /// How many.
        entries: u32,
        /// Whether gossip brought them.
        gossip: bool,
    },
    /// Something of a peer was refused.
    Refused {
        /// Who sent it, when that is known.
        from: Option<NodeId>,
        /// Why.
        refusal: Refusal,
    },
    /// An author's clock is far ahead of ours.
    FarAhead {
        /// Whose.
        author: NodeId,
        /// Where.
        path: ArtifactPath,
        /// By how much.
        ahead_ms: u64,
    },
    /// This node's own clock is ahead of the others': it takes no writes until it is right.
    ClockAhead {
        /// By so much, in milliseconds.
        ahead_ms: u64,
    },
    /// This node's own clock is right again.
    ClockRight,
    /// An invitation can't be taken because its repository key is in use here.
    KeyTaken {
        /// The federation.
        federation: FederationId,
        /// The key.
        key: RepoKey,
    },
    /// This node was removed from a federation: it shows it no more.
    Removed {
        /// Which.
        space: Space,
        /// By whom.
        by: NodeId,
    },
    /// An author's deletes and overwrites are held until an operator releases them.
    Held {
        /// Where.
        space: Space,
        /// Whose.
        author: NodeId,
        /// How many paths it would end, with what it ended just before.
        paths: u64,
        /// How many it may.
        allowed: u64,
    },
    /// A member's state was taken over, and by that more paths ended or were overwritten here than one author might do:
    /// nothing is held, for a state is taken over whole or not at all.
    TookOver {
        /// Where.
        space: Space,
        /// Whose state.
        source: NodeId,
        /// At how many paths something ended.
        paths: u64,
        /// How many one author may end.
        allowed: u64,
    },
    /// This node learnt that it was revoked.
    SelfRevoked,
    /// A node was revoked.
    Revoked(NodeId),
    /// One life of a node was lived twice: two logs were written under its numbers. Proof is kept and passed on; the branch
    /// with the lesser hash is everybody's, up to what members have of it.
    Forked {
        /// Where.
        space: Space,
        /// Whose life.
        incarnation: Incarnation,
        /// The first sequence that two entries bear.
        sequence: u64,
    },
    /// What was applied of the losing branch was taken back; its segments are kept aside.
    TakenBack {
        /// Where.
        space: Space,
        /// Whose life.
        incarnation: Incarnation,
        /// From this sequence on.
        from: u64,
        /// So many entries.
        entries: u64,
    },
    /// An entry is of a kind that this version doesn't know: its log is kept and passed on, and waits for an upgrade.
    Kept {
        /// Where.
        space: Space,
        /// Which.
        dot: Dot,
        /// Of which kind.
        kind: u16,
    },
    /// A segment waits for what it depends on.
    Parked {
        /// Where.
        space: Space,
        /// Whose.
        incarnation: Incarnation,
    },
    /// A peer brought what this node wrote and has forgotten: its rows were set back to an old copy; or as an edge it gave
    /// up what it wrote as a member and nobody admits. It writes on in a new life.
    RolledBack {
        /// The life that others know more of.
        old: Incarnation,
        /// The life from now on.
        new: Incarnation,
    },
    /// A peer's addresses were learnt.
    Addresses(NodeId, Addresses),
}
