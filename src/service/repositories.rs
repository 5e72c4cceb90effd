//! Repositories: create, list, show, delete.

use artimesh_core::access::{self, Action};
use artimesh_core::catalog::{ConfigChange, RepositoryConfig};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{NodeId, NodeName, RepoKey, Space};
use artimesh_core::replica::{Command, Placement, Repository};

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

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

impl Service {
    /// Creates a repository here, and invites the members that are named. It is there and durable when this returns;
    /// the members create theirs when they hear of it.
    pub async fn create_repository(
        &self,
        caller: &Caller,
        spec: RepositorySpec,
    ) -> Result<RepositoryView, ServiceError> {
        self.administer(caller)?;
        if self.is_edge() {
            return Err(ServiceError::Edge);
        }
        if spec.package_type.len() > 64 || spec.description.len() > 1024 {
            let reason = "at most 64 bytes of packageType and 1024 of description".to_owned();
            return Err(ServiceError::BadField { field: "description", reason });
        }
        let me = self.engine().identity();
        let is_self = |text: &&String| text.as_str() == me.name.as_str() || **text == me.node.to_string();
        let others = spec.members.iter().filter(|text| !is_self(text));
        let invite = others.map(|text| self.node_named(text)).collect::<Result<_, _>>()?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| ServiceError::Unavailable(error.to_string()))?;
        let config = RepositoryConfig { package_type: spec.package_type, description: spec.description };
        let command = Command::CreateRepository { key: spec.key.clone(), config, invite, secret };
        self.done(caller, "create repository", spec.key.as_str(), command, None).await?;
        self.repository(caller, &spec.key).await
    }

    /// All repositories that the caller may read, by key.
    pub async fn repositories(&self, caller: &Caller) -> Result<Vec<RepositoryView>, ServiceError> {
        let snapshot = self.snapshot();
        let readable = |repository: &&Repository| access::may(&caller.principal, Action::Read(&repository.key)).is_ok();
        let keys: Vec<RepoKey> = snapshot.repositories.values().filter(readable).map(|r| r.key.clone()).collect();
        let mut views = Vec::with_capacity(keys.len());
        for key in keys {
            views.push(self.repository(caller, &key).await?);
        }
        Ok(views)
    }

    /// One repository.
    pub async fn repository(&self, caller: &Caller, key: &RepoKey) -> Result<RepositoryView, ServiceError> {
        let repository = self.readable(caller, key)?;
        let snapshot = self.snapshot();
        let federation = snapshot.federations.get(&repository.space);
        let federation = federation.ok_or_else(|| ServiceError::NoRepository(key.clone()))?;
        let me = self.engine().identity();
        let name = |node: &NodeId| {
            let other = snapshot.members.get(node).map(|(name, _, _)| name.clone());
            other.or_else(|| (*node == me.node).then(|| me.name.clone()))
        };
        let members = federation.members.iter().filter_map(|(node, membership)| {
            let accepted = membership.accepted().map(|(_, key)| key.clone());
            let proposed = membership.invitations.values().next_back().cloned().filter(|_| membership.is_pending());
            let is_accepted = accepted.is_some();
            Some(MemberView { node: *node, name: name(node), repo_key: accepted.or(proposed)?, accepted: is_accepted })
        });
        let config = federation.configuration.config();
        Ok(RepositoryView {
            key: repository.key,
            space: repository.space,
            package_type: config.package_type,
            description: config.description,
            placement: repository.placement,
            created: repository.created,
            members: members.collect(),
        })
    }

    /// Changes what a repository is set to, at all members.
    pub async fn configure_repository(
        &self,
        caller: &Caller,
        key: &RepoKey,
        set: ConfigChange,
    ) -> Result<(), ServiceError> {
        self.administer(caller)?;
        let by = caller.principal.name().to_owned();
        let command = Command::Configure { key: key.clone(), set, by };
        let done = self.done(caller, "configure", key.as_str(), command, None).await;
        done.map(|_| ()).map_err(|error| error.in_repository(key))
    }

    /// Leaves the repository's federation and forgets the repository here. Other members keep theirs.
    pub async fn delete_repository(&self, caller: &Caller, key: &RepoKey) -> Result<(), ServiceError> {
        self.administer(caller)?;
        let command = Command::DeleteRepository(key.clone());
        let done = self.done(caller, "delete repository", key.as_str(), command, None).await;
        done.map(|_| ()).map_err(|error| error.in_repository(key))
    }
}
