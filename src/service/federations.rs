//! Who shares a repository.

use artimesh_core::model::{NodeId, RepoKey};
use artimesh_core::replica::{self, Command, Hold};

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

impl Service {
    /// Invites a node, by name or id, to share a repository; it becomes a member when it accepts.
    pub async fn invite(&self, caller: &Caller, key: &RepoKey, node: &str) -> Result<NodeId, ServiceError> {
        self.administer(caller)?;
        let node = self.node_named(node)?;
        let command = Command::Invite(key.clone(), node);
        self.done(caller, "invite", &format!("{node} into {key}"), command, None).await?;
        Ok(node)
    }

    /// Ends another node's membership, by name or id: it shows the repository no more, and the others keep theirs.
    pub async fn remove_member(&self, caller: &Caller, key: &RepoKey, node: &str) -> Result<NodeId, ServiceError> {
        self.administer(caller)?;
        // Not only nodes in good standing: a revoked one can be a member still.
        let members = self.repository(caller, key).await?.members;
        let is_meant = |name: Option<&str>, id: &NodeId| name == Some(node) || id.to_string() == node;
        let mut named = members.iter().filter(|m| is_meant(m.name.as_ref().map(|name| name.as_str()), &m.node));
        let (Some(member), None) = (named.next(), named.next()) else {
            return Err(ServiceError::NoSuchNode(node.chars().take(80).collect()));
        };
        let by = caller.principal.name().to_owned();
        let command = Command::Remove { key: key.clone(), node: member.node, by };
        self.done(caller, "remove member", &format!("{} from {key}", member.node), command, None).await?;
        Ok(member.node)
    }

    /// The authors whose deletes and overwrites are held in a repository here.
    pub async fn holds(&self, caller: &Caller, key: &RepoKey) -> Result<Vec<Hold>, ServiceError> {
        self.administer(caller)?;
        let space = self.readable(caller, key)?.space;
        self.walk(move |view| replica::holds(view, &space)).await
    }

    /// Lets through what is held of one author, by name or id, or of all.
    pub async fn release(&self, caller: &Caller, key: &RepoKey, author: Option<&str>) -> Result<(), ServiceError> {
        self.administer(caller)?;
        // An id also of who is no member any more: its deletes may wait still.
        let named = |text: &str| text.parse::<NodeId>().or_else(|_| self.node_named(text));
        let author = author.map(named).transpose()?;
        let whose = author.map_or_else(|| "all".to_owned(), |author| author.to_string());
        let command = Command::Release { key: key.clone(), author };
        self.done(caller, "release", &format!("{whose} in {key}"), command, None).await?;
        Ok(())
    }
}
