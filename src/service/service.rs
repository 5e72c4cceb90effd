//! The service itself.

use std::net::IpAddr;
use std::sync::Arc;

use artimesh_core::access::Principal;

use super::audit::Audit;
use super::caller::Credential;
use super::error::ServiceError;
use super::metrics::Metrics;

/// Settings of the service.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether strangers may read artifacts.
    pub anonymous_read: bool,
}

/// Whether the node can do its work.
#[derive(Clone, Debug)]
pub enum Health {
    /// It can.
    Ready,
    /// It can't, and why.
    NotReady(String),
}

#[derive(Debug)]
struct Inner {
    options: Options,
    metrics: Metrics,
    audit: Audit,
}

/// What a node does for its user. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service(Arc<Inner>);

#[allow(missing_docs, unused_variables, clippy::todo)]
impl Service {
    // --- API as the http room may rely on; bodies follow from the lead ---
    pub fn metrics(&self) -> &Metrics { &self.0.metrics }
    /// Finds out who holds a credential. `remote` is the connection's peer address.
    pub fn authenticate(&self, credential: &Credential, remote: IpAddr) -> Result<Principal, ServiceError> { todo!() }
    pub fn health(&self) -> Health { todo!() }
    /// Whether this node is an edge (its write routes answer 403).
    pub fn is_edge(&self) -> bool { todo!() }
    /// JSON of `GET /artifactory/api/mesh/status`, as the CLI contract says.
    pub async fn status(&self, caller: &super::Caller) -> Result<serde_json::Value, ServiceError> { todo!() }

    /// Admission before the body is read: rights, repository, edge, free space. `media_type` is decided by the caller (formats).
    pub async fn upload(&self, caller: &super::Caller, repo: &artimesh_core::model::RepoKey, path: &artimesh_core::model::ArtifactPath, size: Option<u64>) -> Result<super::Upload, ServiceError> { todo!() }
    /// The file or folder at a path; `None` path is the repository's root. Children of folders are only listed, not descended.
    pub async fn find(&self, caller: &super::Caller, repo: &artimesh_core::model::RepoKey, path: Option<&artimesh_core::model::ArtifactPath>) -> Result<super::Found, ServiceError> { todo!() }
    /// Metadata of the shown version, for HEAD and conditional requests, and for GET before `download`.
    pub async fn item(&self, caller: &super::Caller, repo: &artimesh_core::model::RepoKey, path: &artimesh_core::model::ArtifactPath) -> Result<super::Item, ServiceError> { todo!() }
    /// Streams `range` (bytes, end exclusive) of the item's blob, fetching it from peers when it isn't here.
    pub async fn download(&self, caller: &super::Caller, item: &super::Item, range: std::ops::Range<u64>) -> Result<super::Download, ServiceError> { todo!() }
    pub async fn delete(&self, caller: &super::Caller, repo: &artimesh_core::model::RepoKey, path: &artimesh_core::model::ArtifactPath) -> Result<(), ServiceError> { todo!() }
    /// All files under a prefix, by path, at most `limit` after `after`.
    pub async fn list(&self, caller: &super::Caller, repo: &artimesh_core::model::RepoKey, prefix: Option<&artimesh_core::model::ArtifactPath>, after: Option<&artimesh_core::model::ArtifactPath>, limit: usize) -> Result<Vec<super::Item>, ServiceError> { todo!() }

    pub async fn create_repository(&self, caller: &super::Caller, spec: super::RepositorySpec) -> Result<super::RepositoryView, ServiceError> { todo!() }
    pub async fn repositories(&self, caller: &super::Caller) -> Result<Vec<super::RepositoryView>, ServiceError> { todo!() }
    pub async fn repository(&self, caller: &super::Caller, key: &artimesh_core::model::RepoKey) -> Result<super::RepositoryView, ServiceError> { todo!() }
    pub async fn delete_repository(&self, caller: &super::Caller, key: &artimesh_core::model::RepoKey) -> Result<(), ServiceError> { todo!() }

    pub async fn create_pairing(&self, caller: &super::Caller, wish: super::PairingWish) -> Result<super::Issued, ServiceError> { todo!() }
    pub async fn accept_pairing(&self, caller: &super::Caller, line: &str) -> Result<super::Joined, ServiceError> { todo!() }
    pub async fn circle(&self, caller: &super::Caller) -> Result<super::CircleView, ServiceError> { todo!() }
    /// `node` is a name or an id; waits up to `wait` for connected members to confirm.
    pub async fn revoke(&self, caller: &super::Caller, node: &str, reason: &str, wait: std::time::Duration) -> Result<super::Revoked, ServiceError> { todo!() }
}
