//! What readers need of the replica's state without asking the mind: renewed whenever it changes.

use std::collections::BTreeMap;

use artimesh_core::catalog::Federation;
use artimesh_core::model::{CircleId, NodeId, NodeName, PublicKey, RepoKey, Space};
use artimesh_core::replica::{Replica, Repository};
use artimesh_core::trust::{Role, Standing};

/// Where this node is in its life with the circle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// In no circle.
    Alone,
    /// Admitted, but its grant hasn't arrived.
    Joining,
    /// A member in good standing.
    Member(Role),
    /// Revoked.
    Revoked,
}

/// Repositories, federations and members as of the last change.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where this node stands.
    pub life: Life,
    /// Its circle.
    pub circle: Option<CircleId>,
    /// By folded key.
    pub repositories: BTreeMap<String, Repository>,
    /// By space.
    pub federations: BTreeMap<Space, Federation>,
    /// Members in good standing, this node apart: name, role, transport key.
    pub members: BTreeMap<NodeId, (NodeName, Role, PublicKey)>,
}

impl Snapshot {
    pub(super) fn of(replica: &Replica) -> Snapshot {
        let me = replica.identity().node;
        let life = match replica.trust().map(|trust| trust.member(&me)) {
            None => Life::Alone,
            Some(None) => Life::Joining,
            Some(Some(member)) if member.standing() == Standing::Revoked => Life::Revoked,
            Some(Some(member)) => Life::Member(member.role()),
        };
        let federation = |(space, _, federation): (&Space, _, Option<&Federation>)| Some((*space, federation?.clone()));
        let trust = replica.trust();
        let others = trust.into_iter().flat_map(|trust| trust.members().filter(|(node, _)| trust.good(node).is_some()));
        let members = others.filter(|(node, _)| **node != me).map(|(node, member)| {
            let grant = member.grant();
            (*node, (grant.name.clone(), grant.role, grant.keys.transport))
        });
        Snapshot {
            life,
            circle: replica.circle(),
            repositories: replica.repositories().clone(),
            federations: replica.spaces().filter_map(federation).collect(),
            members: members.collect(),
        }
    }

    /// The repository of this key.
    pub fn repository(&self, key: &RepoKey) -> Option<&Repository> {
        let text = key.as_str();
        // Most keys are folded as they are, and downloads come here.
        match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            false => self.repositories.get(text),
            true => self.repositories.get(&key.folded()),
        }
    }

    /// The repository that shows a space here.
    pub fn repository_of(&self, space: &Space) -> Option<&Repository> {
        self.repositories.values().find(|repository| repository.space == *space)
    }
}
