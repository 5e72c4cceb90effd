//! The circle: pairing, members, revocation.

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{CircleId, NodeId, NodeName, PublicKey, RepoKey, TokenId};
use artimesh_core::trust::Role;

use super::caller::Caller;
use super::error::ServiceError;
use super::service::Service;

/// What a new token should open.
#[derive(Clone, Debug)]
pub struct PairingWish {
    /// Full member or edge.
    pub role: Role,
    /// Only these repositories' federations; empty for all.
    pub repositories: Vec<RepoKey>,
    /// Extra capabilities by name: `admit`, `revoke`, `accounts`, `issue-tokens`.
    pub can: Vec<String>,
    /// How long the token holds, in seconds; 1 to 86,400.
    pub ttl_s: u64,
}

/// A token, to be shown once.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The one line.
    pub line: String,
    /// Its id.
    pub id: TokenId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What was joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The circle.
    pub circle: CircleId,
    /// As what.
    pub role: Role,
    /// Who admitted this node.
    pub issuer: NodeId,
    /// Its name.
    pub issuer_name: NodeName,
}

/// One node of the circle as seen from here.
#[derive(Clone, Debug)]
pub struct CircleMember {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Full or edge.
    pub role: Role,
    /// `self`, `connected`, `unreachable` or `revoked`.
    pub state: &'static str,
    /// Names of its capabilities.
    pub capabilities: Vec<String>,
    /// Who admitted it; `None` for the root.
    pub granted_by: Option<NodeId>,
}

/// The circle as seen from here.
#[derive(Clone, Debug)]
pub struct CircleView {
    /// Its id; `None` when this node is in none.
    pub circle: Option<CircleId>,
    /// Its root key.
    pub root: Option<PublicKey>,
    /// Every node ever granted.
    pub members: Vec<CircleMember>,
}

/// A revocation and who has heard of it.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// Whose.
    pub node: NodeId,
    /// Members that confirmed that they applied it.
    pub acknowledged: Vec<NodeName>,
    /// Members that didn't within the time asked for.
    pub pending: Vec<NodeName>,
}
