//! What users ask for, and what they are told.

use std::collections::BTreeMap;

use crate::catalog::{ConfigChange, Content, EntryFault, RepositoryConfig};
use crate::clock::Timestamp;
use crate::model::{ArtifactPath, Dot, NodeId, RepoKey, Space};
use crate::trust::{Founding, PairingReason, PairingToken, TrustRefusal, VerifiedRequest};

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
    #[error("a node cannot revoke or remove itself: another member can")]
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
