//! A federation: its founding, and who its members are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::configuration::{Configuration, RepositoryConfig};
use crate::clock::Timestamp;
use crate::model::{Digest, Dot, Envelope, FederationId, NodeId, RepoKey};

/// The first entry of a federation; its hash is the federation's id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Founding {
    /// The repository's key at the founder.
    pub repo_key: RepoKey,
    /// What it is set to.
    pub config: RepositoryConfig,
    /// When.
    pub founded: Timestamp,
    /// 32 random bytes that only members learn: makes the id unguessable and keys what is gossiped.
    pub secret: [u8; 32],
}

/// The founder, or a member, names a node that may become a member under a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// Who.
    pub node: NodeId,
    /// The repository's key that is proposed for there.
    pub repo_key: RepoKey,
}

/// A member with the right ends another's membership.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Removal {
    /// Whose.
    pub node: NodeId,
    /// Who of the author's users asked for it.
    pub by: String,
}

/// One node's place in a federation: a function of the set of applied entries, for each entry counts for what its
/// author had seen.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Membership {
    /// The invitations it got, by their dots, with the key proposed.
    pub invitations: BTreeMap<Dot, RepoKey>,
    /// Its own acceptances, with the key it chose.
    pub acceptances: BTreeMap<Dot, RepoKey>,
    /// What ended, with the entries that ended it: of an acceptance every leave and removal, see [`Membership::endings`]; of
    /// an invitation the first of each life that ended it, so that there are at most as many as lives.
    pub left: BTreeMap<Dot, BTreeSet<Dot>>,
    /// Invitations that it had seen when it accepted or left.
    pub answered: BTreeSet<Dot>,
}

impl Membership {
    /// The acceptance in force: the greatest that wasn't left.
    pub fn accepted(&self) -> Option<(&Dot, &RepoKey)> {
        self.acceptances.iter().rfind(|(dot, _)| !self.left.contains_key(dot))
    }

    /// Not a member, and invited since it last answered.
    pub fn is_pending(&self) -> bool {
        self.pending().is_some()
    }

    /// The key proposed by the invitation that waits for an answer.
    pub fn pending(&self) -> Option<&RepoKey> {
        let open = || self.invitations.iter().rfind(|(dot, _)| !self.answered.contains(dot));
        if self.accepted().is_some() { None } else { open().map(|(_, key)| key) }
    }

    /// The acceptances that ended, with the leaves and removals that ended them.
    pub fn endings(&self) -> impl DoubleEndedIterator<Item = (&Dot, &BTreeSet<Dot>)> {
        self.left.iter().filter(|(dot, _)| self.acceptances.contains_key(dot))
    }

    fn merge_some(&mut self, other: &Membership, counts: impl Fn(&Dot) -> bool) {
        let some = |all: &BTreeMap<Dot, RepoKey>| -> Vec<(Dot, RepoKey)> {
            all.iter().filter(|(dot, _)| counts(dot)).map(|(dot, key)| (*dot, key.clone())).collect()
        };
        self.invitations.extend(some(&other.invitations));
        self.acceptances.extend(some(&other.acceptances));
        for (of, ends) in &other.left {
            ends.iter().filter(|end| counts(end)).for_each(|end| self.note_end(*of, *end));
        }
        if other.acceptances.keys().chain(other.left.values().flatten()).any(&counts) {
            self.answered.extend(&other.answered);
        }
    }

    /// Takes the entry `dot`, whose author `saw` these dots: ends the acceptances among them, and the invitations.
    pub fn end(&mut self, dot: Dot, saw: impl Fn(&Dot) -> bool) {
        let seen: Vec<Dot> =
            self.acceptances.keys().chain(self.invitations.keys()).filter(|of| saw(of)).copied().collect();
        for of in seen {
            self.note_end(of, dot);
        }
        self.answer(saw);
    }

    /// Whoever saw a later entry of a life saw its earlier ones: to tell who saw an invitation end, the first is enough.
    fn note_end(&mut self, of: Dot, by: Dot) {
        let ends = self.left.entry(of).or_default();
        ends.insert(by);
        if !self.acceptances.contains_key(&of) {
            let first = ends.iter().find(|end| end.incarnation == by.incarnation).copied();
            ends.retain(|end| end.incarnation != by.incarnation || Some(*end) == first);
        }
    }

    /// Whether the author of an acceptance, who `saw` these dots, was invited: it saw an invitation, and none of the entries
    /// that ended it. A leave or a removal ends the invitations that its own author had seen, whether they were answered
    /// or not, so who goes in again needs one that this end didn't cover. What the author hadn't seen doesn't count: who
    /// accepts while it is removed elsewhere is a member, and who claims not to have seen its removal can't be told from it.
    fn admits(&self, saw: impl Fn(&Dot) -> bool) -> Result<(), Uninvited> {
        let ended = |dot: &Dot| self.left.get(dot).is_some_and(|ends| ends.iter().any(&saw));
        let mut seen = self.invitations.keys().filter(|dot| saw(dot)).peekable();
        seen.peek().ok_or(Uninvited::Never)?;
        if seen.all(ended) { Err(Uninvited::Ended) } else { Ok(()) }
    }

    fn answer(&mut self, saw: impl Fn(&Dot) -> bool) {
        self.answered.extend(self.invitations.keys().filter(|dot| saw(dot)));
    }
}

/// Why an acceptance doesn't count; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Uninvited {
    /// Its author had seen no invitation of its own.
    #[error("its author was not invited")]
    Never,
    /// Of each invitation that its author had seen it had also seen the end.
    #[error("its author left or was removed, and was not invited again")]
    Ended,
}

/// What the applied entries say of a federation apart from its artifacts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Federation {
    /// How it began.
    pub founding: Founding,
    /// By whom.
    pub founder: NodeId,
    /// Everybody who was ever invited, and the founder.
    pub members: BTreeMap<NodeId, Membership>,
    /// What it is set to now.
    pub configuration: Configuration,
}

impl Federation {
    /// The federation that the entry `dot` founds.
    pub fn found(dot: Dot, founding: Founding) -> Federation {
        let founder = dot.incarnation.node;
        let acceptances = BTreeMap::from([(dot, founding.repo_key.clone())]);
        let membership = Membership { acceptances, ..Membership::default() };
        let configuration = Configuration::founded(founder, &founding);
        Federation { founding, founder, members: BTreeMap::from([(founder, membership)]), configuration }
    }

    /// The id of the federation whose founding entry is `entry`.
    pub fn id_of(entry: &Envelope) -> FederationId {
        FederationId(Digest::derived("artimesh/federation-id/v1", &entry.to_bytes()).0)
    }

    /// The key for what is gossiped about this federation, and for its topic's name. Former members have it too.
    pub fn gossip_key(&self) -> [u8; 32] {
        Digest::derived("artimesh/gossip-key/v1", &self.founding.secret).0
    }

    /// Whether `node` is a member now.
    pub fn is_member(&self, node: &NodeId) -> bool {
        self.members.get(node).is_some_and(|membership| membership.accepted().is_some())
    }

    /// Whether `node` may hold the federation's log: a member, or one that was invited and hasn't answered.
    pub fn may_hold(&self, node: &NodeId) -> bool {
        self.members.get(node).is_some_and(|membership| membership.accepted().is_some() || membership.is_pending())
    }

    /// The repository's key at `node`, when it is a member.
    pub fn repo_key_at(&self, node: &NodeId) -> Option<&RepoKey> {
        self.members.get(node)?.accepted().map(|(_, key)| key)
    }

    /// Takes over all that `other`, a state of the same federation, knows more. Law: commutative, associative, idempotent.
    pub fn merge(&mut self, other: &Federation) {
        self.merge_some(other, |_| true);
    }

    /// The same, of those entries alone that count.
    pub fn merge_some(&mut self, other: &Federation, counts: impl Fn(&Dot) -> bool) {
        for (node, theirs) in &other.members {
            let said =
                || theirs.invitations.keys().chain(theirs.acceptances.keys()).chain(theirs.left.values().flatten());
            if said().any(&counts) {
                self.members.entry(*node).or_default().merge_some(theirs, &counts);
            }
        }
        self.configuration.merge_some(&other.configuration, counts);
    }

    /// Takes an invitation, entry `dot`.
    pub fn invite(&mut self, dot: Dot, invitation: &Invitation) {
        let membership = self.members.entry(invitation.node).or_default();
        membership.invitations.insert(dot, invitation.repo_key.clone());
    }

    /// Whether `node` was a member as far as the author of an entry that `saw` these dots could know.
    pub fn was_member(&self, node: &NodeId, saw: impl Fn(&Dot) -> bool) -> bool {
        let ended = |dot| self.members[node].left.get(dot).is_some_and(|leaves| leaves.iter().any(&saw));
        let membership = self.members.get(node);
        membership.is_some_and(|membership| membership.acceptances.keys().any(|dot| saw(dot) && !ended(dot)))
    }

    /// Takes the acceptance of the author of `dot`, who `saw` these dots, unless it had seen no invitation that was open as
    /// far as it knew.
    pub fn accept(&mut self, dot: Dot, repo_key: &RepoKey, saw: impl Fn(&Dot) -> bool) -> Result<(), Uninvited> {
        let membership = self.members.get_mut(&dot.incarnation.node).ok_or(Uninvited::Never)?;
        membership.admits(&saw)?;
        membership.acceptances.insert(dot, repo_key.clone());
        membership.answer(saw);
        Ok(())
    }

    /// Takes the leave of the author of `dot`, who `saw` these dots: ends the acceptances among them, and the invitations.
    pub fn leave(&mut self, dot: Dot, saw: impl Fn(&Dot) -> bool) {
        self.remove(dot, &dot.incarnation.node, saw);
    }

    /// Takes the removal of `node` by the author of `dot`, who `saw` these dots: ends the acceptances among them, and the
    /// invitations.
    pub fn remove(&mut self, dot: Dot, node: &NodeId, saw: impl Fn(&Dot) -> bool) {
        if let Some(membership) = self.members.get_mut(node) {
            membership.end(dot, saw);
        }
    }
}

/// A federation as rows of version 1 hold it: its configuration is the founding's.
#[derive(Deserialize)]
pub struct FederationV1 {
    founding: Founding,
    founder: NodeId,
    members: BTreeMap<NodeId, Membership>,
}

impl From<FederationV1> for Federation {
    fn from(old: FederationV1) -> Federation {
        let FederationV1 { founding, founder, members } = old;
        let configuration = Configuration::founded(founder, &founding);
        Federation { founding, founder, members, configuration }
    }
}
