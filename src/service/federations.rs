//! Who shares a repository.

use artimesh_core::model::{NodeId, RepoKey, Space};
use artimesh_core::replica::{self, Command, Hold, Receipt, Replica};

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

/// Paths that one call brings along.
const PATHS: usize = 256;

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

    /// Brings some more of a repository into the federation that waits for its key; of several that wait, the one that
    /// `from`, a node by name or id, founded. [`Receipt::more`] says whether to call again; the node goes on by itself too.
    pub async fn adopt(&self, caller: &Caller, key: &RepoKey, from: Option<&str>) -> Result<Receipt, ServiceError> {
        self.administer(caller)?;
        let founder = match from {
            Some(text) => Some(self.author_named(text).await?),
            None => None,
        };
        let (wanted, me) = (key.clone(), self.engine().identity().node);
        let waiting = self.engine().inspect(move |replica, _| waiting_for(replica, &wanted, founder, me)).await?;
        let into = match waiting[..] {
            [into] => into,
            [] => {
                let what = format!("no federation waits for the key '{key}' here: see `artimesh status`");
                return Err(ServiceError::Absent(what));
            }
            _ => {
                let reason = format!("several federations wait for the key '{key}': name the node that founded one");
                return Err(ServiceError::BadField { field: "from", reason });
            }
        };
        let by = caller.principal.name().to_owned();
        let command = Command::Adopt { key: key.clone(), into, most: PATHS, by };
        self.done(caller, "adopt", &format!("{key} into {into}"), command, None).await
    }
}

/// The federations that a repository of this key is on its way into, or could join; else the one that it has joined.
fn waiting_for(replica: &Replica, key: &RepoKey, founder: Option<NodeId>, me: NodeId) -> Vec<Space> {
    let begun = replica.adoptions().find(|(_, adoption)| adoption.key.folded() == key.folded());
    if let Some((_, adoption)) = begun {
        return vec![adoption.into];
    }
    let waiting = replica.waiting_invitations().into_iter().filter(|waiting| waiting.key.folded() == key.folded());
    let spaces = waiting.map(|waiting| waiting.space);
    let is_meant = |space: &Space| {
        let federation = replica.federation(space);
        founder.is_none_or(|node| federation.is_some_and(|federation| federation.founder == node))
    };
    let meant: Vec<Space> = spaces.filter(is_meant).collect();
    if !meant.is_empty() {
        return meant;
    }
    // The node went on by itself, and is done: the repository shows what somebody else founded.
    let shown = replica.repositories().get(&key.folded()).map(|repository| repository.space);
    let is_joined = |space: &Space| replica.federation(space).is_some_and(|federation| federation.founder != me);
    shown.filter(is_meant).filter(is_joined).into_iter().collect()
}

impl Service {
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
