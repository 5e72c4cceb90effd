//! What goes into the replica and what comes out.

use std::collections::BTreeMap;

use crate::catalog::{ConfigChange, Content, EntryFault, RepositoryConfig};
use crate::changelog::SegmentError;
use crate::clock::Timestamp;
use crate::model::{ArtifactPath, Checksums, Digest, Dot, FederationId, Incarnation, NodeId, RepoKey, Space};
use crate::trust::{Addresses, Founding, PairingReason, PairingToken, TrustRefusal, VerifiedRequest};

use super::farewell::FarewellFault;
use super::message::Hello;

/// A table of rows at rest; each is ordered by key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Table {
    /// Few and small: heads, federations, repositories, statements, wanted blobs.
    Meta,
    /// One row per path: its live versions.
    Catalog,
    /// One row per segment.
    Log,
    /// One row per version that was replaced or deleted, for a time.
    History,
    /// The Merkle trie over what is live in a space: what is compared with other members.
    Trie,
}

/// One row to write; `None` removes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Where.
    pub table: Table,
    /// See [`super::rows`].
    pub key: Vec<u8>,
    /// See [`super::rows`].
    pub value: Option<Vec<u8>>,
}

/// Rows can't be read: the node must stop, or rebuild its index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store cannot be read: {0}")]
pub struct ViewFault(pub String);

/// A row's key and value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// Keys and values, in the order of keys.
pub type Page = Vec<KeyValue>;

/// The rows at rest, as of all outputs performed so far.
pub trait View {
    /// One row's value.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ViewFault>;
    /// Up to `limit` rows with `from <= key < to`, in order.
    fn range(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Page, ViewFault>;
    /// The last row with `from <= key < to`.
    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<KeyValue>, ViewFault>;
    /// Whether the blob's bytes are all here.
    fn has_blob(&self, digest: &Digest) -> Result<bool, ViewFault>;
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// Changes that this node's users ask for, each under a ticket for its reply; they share segments.
    Local(Vec<(u64, Command)>),
    /// An admitted peer is connected and has said hello.
    Connected(NodeId, Hello),
    /// It is gone.
    Disconnected(NodeId),
    /// A frame of a connected peer's control stream.
    Frame(NodeId, Vec<u8>),
    /// What was gossiped in a space, whoever passed it on.
    Gossip(Space, Vec<u8>),
    /// About once a second. `dice` are fresh random bits.
    Tick {
        /// Chooses the peer of this round.
        dice: u64,
        /// Whether it is time for a round of anti-entropy.
        round: bool,
    },
    /// The answer to [`Output::Continue`], as soon as nothing more pressing waits.
    Continue,
}

/// A change that a user of this node asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Found the circle that the root granted to this node.
    FoundCircle(Founding),
    /// Become part of the circle of a token whose issuer has admitted this node.
    Join(PairingToken),
    /// Admit the newcomer that asks with a verified request.
    Admit(VerifiedRequest),
    /// Revoke a node, with a reason for people.
    Revoke(NodeId, String),
    /// Found a federation: a repository here, and invitations.
    CreateRepository {
        /// Its key here, proposed to the others too.
        key: RepoKey,
        /// What it is set to.
        config: RepositoryConfig,
        /// Who is invited.
        invite: Vec<NodeId>,
        /// 32 random bytes.
        secret: [u8; 32],
    },
    /// Bring a repository that nobody else shares, with all that is live in it, into a federation that waits for its key.
    /// [`Receipt::more`] says whether paths are left; then ask again, though it goes on by itself too.
    Adopt {
        /// The repository.
        key: RepoKey,
        /// A federation that this node is invited to.
        into: Space,
        /// At most so many paths at once, and at most 256.
        most: usize,
        /// Who.
        by: String,
    },
    /// Compare the state of the repository with another member's and take over what differs, whatever the logs say.
    Sync {
        /// The repository.
        key: RepoKey,
        /// With whom; any connected full member when `None`.
        member: Option<NodeId>,
        /// Only find the differences.
        dry_run: bool,
    },
    /// Invite a node into the repository's federation.
    Invite(RepoKey, NodeId),
    /// End another node's membership in the repository's federation.
    Remove {
        /// The repository.
        key: RepoKey,
        /// Whose membership.
        node: NodeId,
        /// Who asks.
        by: String,
    },
    /// Leave the repository's federation and forget the repository here.
    DeleteRepository(RepoKey),
    /// Put a version whose bytes are (about to be) at rest here.
    Put {
        /// The repository.
        key: RepoKey,
        /// Where in it.
        path: ArtifactPath,
        /// What.
        content: Content,
        /// Who.
        by: String,
    },
    /// Delete the versions of a path.
    Delete {
        /// The repository.
        key: RepoKey,
        /// Where in it.
        path: ArtifactPath,
        /// Only while this version is the one that is shown.
        only: Option<Dot>,
        /// Who.
        by: String,
    },
    /// Change properties of the version that is shown.
    SetProperties {
        /// The repository.
        key: RepoKey,
        /// Where in it.
        path: ArtifactPath,
        /// Name → values, or `None` to remove.
        set: BTreeMap<String, Option<Vec<String>>>,
        /// Who.
        by: String,
    },
    /// Delete the versions of many paths. [`Receipt::more`] says whether some are left; then ask again.
    DeleteUnder {
        /// The repository.
        key: RepoKey,
        /// How the paths begin, byte by byte; empty stands for all.
        prefix: String,
        /// At most so many paths, and at most [`crate::catalog::PREFIX_PATHS_MAX`].
        most: usize,
        /// Who.
        by: String,
    },
    /// Move the version that is shown, with its properties; nothing stays at its old path.
    Move {
        /// The repository.
        key: RepoKey,
        /// From where.
        from: ArtifactPath,
        /// To where; it replaces what is there.
        to: ArtifactPath,
        /// Who.
        by: String,
    },
    /// Put a version again that is a sibling, or in the history here; it replaces all that are live.
    Restore {
        /// The repository.
        key: RepoKey,
        /// Where in it.
        path: ArtifactPath,
        /// Which.
        version: Dot,
        /// Who.
        by: String,
    },
    /// End siblings, so that the rest of the path's versions stays; and strike survivors and versions that were lost off
    /// this node's list of conflicts.
    Dismiss {
        /// The repository.
        key: RepoKey,
        /// Where in it.
        path: ArtifactPath,
        /// Which; none stands for all but the version that is shown.
        versions: Vec<Dot>,
        /// Who.
        by: String,
    },
    /// Let through what the brake on mass deletes holds here.
    Release {
        /// The repository.
        key: RepoKey,
        /// Whose; `None` for all.
        author: Option<NodeId>,
    },
    /// Change what the repository is set to, at all members.
    Configure {
        /// The repository.
        key: RepoKey,
        /// Which fields, and to what.
        set: ConfigChange,
        /// Who.
        by: String,
    },
}

/// What a command did. It is durable when the reply is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The entry that records it; for several, the first.
    pub dot: Dot,
    /// The entry's timestamp (puts and deletes), else the wall clock.
    pub timestamp: Timestamp,
    /// The federation that was founded, or in which it happened.
    pub space: Space,
    /// Whether the path had a live version before (puts).
    pub replaced: bool,
    /// When the path was first put (puts), else the same as `timestamp`.
    pub created: Timestamp,
    /// By whom then.
    pub created_by: String,
    /// Whether there is more of the same to do (deletes under a prefix): the command should be given again.
    pub more: bool,
}

/// Why a command is refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// This node has no circle yet.
    #[error(
        "this node is in no circle yet: join one with `artimesh pair accept`, or make one with `artimesh init --new-circle`"
    )]
    NoCircle,
    /// It has one already.
    #[error("this node already belongs to a circle and cannot be captured by another")]
    InCircle,
    /// It has one, but its own grant hasn't arrived yet.
    #[error("this node has not received its grant yet")]
    NotGranted,
    /// It was revoked.
    #[error("this node was revoked from its circle")]
    SelfRevoked,
    /// It is an edge.
    #[error("Deployment to an Edge Artifactory node is not supported.")]
    Follower,
    /// No repository of that key here.
    #[error("repository '{0}' does not exist")]
    NoRepository(RepoKey),
    /// One is there.
    #[error("repository '{0}' already exists")]
    RepositoryExists(RepoKey),
    /// Nothing live at the path.
    #[error("'{0}' does not exist")]
    NoArtifact(ArtifactPath),
    /// Nothing live under the prefix.
    #[error("there is nothing under '{0}'")]
    NothingUnder(String),
    /// No such version of the path, live or in the history that is kept here.
    #[error("'{0}' has no version {1}, and had none within the history that is kept here")]
    NoVersion(ArtifactPath, Dot),
    /// It was replaced meanwhile.
    #[error("'{0}' was replaced meanwhile and was not deleted: look at it and try again")]
    Replaced(ArtifactPath),
    /// The path has no versions beside the one that is shown.
    #[error("'{0}' has no conflict")]
    NoConflict(ArtifactPath),
    /// The brake holds nothing, or nothing of that author.
    #[error("nothing is held in '{0}'")]
    NothingHeld(RepoKey),
    /// Dismissing all versions of a path would delete it.
    #[error("one version of '{0}' must stay: delete it instead")]
    OneMustStay(ArtifactPath),
    /// A move to where it is.
    #[error("'{0}' cannot be moved onto itself")]
    OntoItself(ArtifactPath),
    /// It is on its way into a federation: soon.
    #[error("repository '{0}' is joining a federation: it can be read meanwhile, and written again shortly")]
    Adopting(RepoKey),
    /// Only a repository of one can join another federation.
    #[error(
        "repository '{0}' has other members or invitations: only one that nobody else shares can join a federation"
    )]
    SharedAlready(RepoKey),
    /// The federation doesn't wait for a repository here.
    #[error("{0} has not invited this node, or is shown by another repository here")]
    NotInvited(Space),
    /// No such node in good standing.
    #[error("node {0} is not a member of the circle in good standing")]
    NoSuchNode(NodeId),
    /// An edge can't be a member.
    #[error("node {0} is an edge: it follows federations and cannot be a member of one")]
    IsEdge(NodeId),
    /// It is this node itself.
    #[error("a node cannot revoke itself")]
    Oneself,
    /// The repository is shown here, but this node is no member of its federation.
    #[error("this node is not a member of {0} and cannot write in it")]
    NotAMember(Space),
    /// It is there already.
    #[error("node {0} is a member already")]
    AlreadyMember(NodeId),
    /// A peer claims more of this node's log than there is here; it is asked for it. Retry in some seconds.
    #[error(
        "another node has more of this node's own log than it has itself: its store may have been set back; this is being reconciled, try again in some seconds"
    )]
    Reconciling,
    /// This node's clock is ahead of the other members'. It recovers by itself when the clock is set back.
    #[error(
        "this node's clock is {ahead_ms} ms ahead of the median of the full members (measured against {against}): no writes are taken until it is set right"
    )]
    ClockAhead {
        /// By how much, in milliseconds.
        ahead_ms: u64,
        /// Names of some that were measured.
        against: String,
    },
    /// The store may be older than what this node told others, and no other member was heard since. Retry.
    #[error(
        "this node's store may be older than what it has told others, and no other member of {0} was reached yet: try again once one is connected, or start with --alone"
    )]
    AsksFirst(Space),
    /// A member of the federation has not said that it knows entries of the kind that this would write.
    #[error(
        "member '{name}' ({node}) does not know {feature}: upgrade that node and let it connect once, or remove it from the federation"
    )]
    NeedsUpgrade {
        /// Who.
        node: NodeId,
        /// What it is called.
        name: String,
        /// What it would have to know.
        feature: &'static str,
    },
    /// Nobody to compare states with.
    #[error("no full member of the federation of '{0}' is connected to compare states with")]
    NoSource(RepoKey),
    /// The state of the repository is being taken over from another member: soon.
    #[error("the repository's state is being taken over from another member: try again shortly")]
    Merging(Space),
    /// The circle's rules forbid it.
    #[error(transparent)]
    Trust(#[from] TrustRefusal),
    /// The pairing is refused; the newcomer is told why.
    #[error(transparent)]
    Pairing(#[from] PairingReason),
    /// A field is out of bounds.
    #[error(transparent)]
    Entry(#[from] EntryFault),
}

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

/// Whose federations become repositories here by themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AcceptPolicy {
    /// Every member's.
    Any,
    /// Nobody's.
    None,
    /// Those of these nodes, by name or id.
    Of(Vec<String>),
}

/// What the transport should do with a gossiped message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Neither pass on nor blame.
    Ignore,
    /// Its source is at fault.
    Reject,
}

/// What the replica wants done, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Make these rows durable, atomically.
    Persist(Vec<Row>),
    /// Tell the user.
    Reply(u64, Result<Receipt, CommandError>),
    /// Send a frame on the peer's control stream; if it can't be sent, anti-entropy will make up for it.
    Send(NodeId, Vec<u8>),
    /// Gossip this in a space.
    Publish(Space, Vec<u8>),
    /// The answer to [`Input::Gossip`].
    Judge(Verdict),
    /// There is more to do than fitted one input: hand in [`Input::Continue`] soon. Once is enough for several.
    Continue,
    /// Who is a member, or where members can be reached, has changed.
    Members,
    /// Which spaces and repositories are held has changed.
    Spaces,
    /// Fetch a blob that an applied entry names; also at rest as a [`super::rows::Want`].
    Wanted {
        /// Fetch it inside this space.
        space: Space,
        /// The version that names it.
        dot: Dot,
        /// Its path, by which the asked node finds the reference.
        path: ArtifactPath,
        /// The blob.
        digest: Digest,
        /// Its length.
        size: u64,
        /// Claimed by the author.
        checksums: Checksums,
    },
    /// A fact for the operator.
    Note(Event),
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
