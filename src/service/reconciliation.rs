//! Comparing a repository's state with other members', and taking over what differs.

use std::time::Duration;

use artimesh_core::model::{Digest, Heads, NodeId, NodeName, RepoKey, Space};
use artimesh_core::replica::{Command, MergeProgress, Replica};
use tokio::time::{Instant, sleep};

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use super::relocation::Effect;

/// How often it is looked whether all have confirmed.
const LOOK: Duration = Duration::from_millis(200);

/// What one member says of a state.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// Who.
    pub node: NodeId,
    /// What it is called.
    pub name: Option<NodeName>,
    /// Whether it has all of it.
    pub confirmed: bool,
    /// Whether it is connected now.
    pub connected: bool,
    /// Entries that it lacks, as far as it told; `None` when it never told.
    pub behind_entries: Option<u64>,
    /// Whether it has the same entries and another state.
    pub diverged: bool,
}

/// A state, and who has it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The state's digest, when it is settled.
    pub digest: Option<Digest>,
    /// The other members.
    pub members: Vec<Confirmation>,
}

impl Checkpoint {
    /// Whether all members have it.
    pub fn is_confirmed(&self) -> bool {
        self.members.iter().all(|member| member.confirmed)
    }
}

impl Service {
    /// Begins to compare a repository's state with a member's, by name or id, or with any that is connected; and unless it is a
    /// dry run takes over what differs. [`Service::sync_progress`] tells how it goes.
    pub async fn sync(
        &self,
        caller: &Caller,
        key: &RepoKey,
        member: Option<&str>,
        effect: Effect,
    ) -> Result<(), ServiceError> {
        self.administer(caller)?;
        let member = member.map(|text| self.node_named(text)).transpose()?;
        let command = Command::Sync { key: key.clone(), member, dry_run: effect == Effect::Dry };
        let done = self.done(caller, "sync", key.as_str(), command, None).await;
        done.map(|_| ()).map_err(|error| error.in_repository(key))
    }

    /// How far the last comparison of a repository has come; `None` when there was none since the start.
    pub async fn sync_progress(&self, caller: &Caller, key: &RepoKey) -> Result<Option<MergeProgress>, ServiceError> {
        self.administer(caller)?;
        let space = self.readable(caller, key)?.space;
        Ok(self.engine().inspect(move |replica, _| replica.merge_progress(&space).cloned()).await?)
    }

    /// Waits until all other members have what this node has now, at most so long; says who has and who lacks what.
    pub async fn checkpoint(&self, caller: &Caller, key: &RepoKey, wait: Duration) -> Result<Checkpoint, ServiceError> {
        self.administer(caller)?;
        let space = self.readable(caller, key)?.space;
        let heads = self.engine().inspect(move |replica, _| replica.heads(&space)).await?;
        let deadline = Instant::now() + wait;
        loop {
            let wanted = heads.clone();
            let seen = self.engine().inspect(move |replica, _| checkpoint(replica, &space, &wanted)).await?;
            if seen.is_confirmed() || Instant::now() >= deadline {
                return Ok(seen);
            }
            sleep(LOOK).await;
        }
    }
}

fn checkpoint(replica: &Replica, space: &Space, wanted: &Heads) -> Checkpoint {
    let me = replica.identity().node;
    let federation = replica.federation(space);
    let members = federation.into_iter().flat_map(|federation| &federation.members);
    let others = members.filter(|(node, membership)| **node != me && membership.accepted().is_some());
    let has_moved_on = replica.heads(space) != *wanted;
    let confirmations = others.map(|(node, _)| {
        let peer = replica.peers().get(node);
        let behind_entries = peer.and_then(|peer| peer.heads.get(space)).map(|theirs| {
            wanted.0.iter().map(|(life, head)| head.sequence.saturating_sub(theirs.of(life).sequence)).sum()
        });
        let agrees = replica.agrees(space, node);
        Confirmation {
            node: *node,
            name: replica.trust().and_then(|trust| trust.member(node)).map(|member| member.grant().name.clone()),
            // While writing goes on there is no moment at which digests of one state can be compared.
            confirmed: behind_entries == Some(0) && (agrees == Some(true) || (has_moved_on && agrees.is_none())),
            connected: peer.is_some_and(|peer| peer.connected),
            behind_entries,
            diverged: agrees == Some(false),
        }
    });
    Checkpoint { digest: replica.digest(space), members: confirmations.collect() }
}
