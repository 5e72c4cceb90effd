//! Repositories: create, list, show, delete.

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{NodeId, NodeName, RepoKey, Space};
use artimesh_core::replica::Placement;

use super::caller::Caller;
use super::error::ServiceError;
use super::service::Service;

/// A repository to be created.
#[derive(Clone, Debug)]
pub struct RepositorySpec {
    /// Its key here and, proposed, elsewhere.
    pub key: RepoKey,
    /// `generic`, …
    pub package_type: String,
    /// For people.
    pub description: String,
    /// Names or ids of the nodes to invite.
    pub members: Vec<String>,
}

/// One member of a repository's federation.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// Its id.
    pub node: NodeId,
    /// Its name, when the circle knows it.
    pub name: Option<NodeName>,
    /// The repository's key there; the proposed one while it is only invited.
    pub repo_key: RepoKey,
    /// Whether it has accepted.
    pub accepted: bool,
}

/// A repository as seen from here.
#[derive(Clone, Debug)]
pub struct RepositoryView {
    /// Its key here.
    pub key: RepoKey,
    /// The federation it shows.
    pub space: Space,
    /// `generic`, …
    pub package_type: String,
    /// For people.
    pub description: String,
    /// Mirror or on demand.
    pub placement: Placement,
    /// When it appeared here.
    pub created: Timestamp,
    /// Members and invitees, this node too. One member means: a local repository.
    pub members: Vec<MemberView>,
}
