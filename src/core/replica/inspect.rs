//! Questions that the service asks of the replica: nothing here changes anything.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::io::{View, ViewFault};
use super::rows::Repository;
use super::state::{Identity, Peer, Replica};
use super::trie;
use crate::catalog::Federation;
use crate::model::{CircleId, Digest, Heads, Incarnation, NodeId, PublicKey, Space, codec};
use crate::trust::{Addresses, State as Trust};

/// How far a member is behind this node in one space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemberLag {
    /// Entries that we have applied and it hasn't, as far as it told; `None` when it never told.
    pub entries: Option<u64>,
    /// How long ago it told, in milliseconds by our wall clock.
    pub told_ms_ago: Option<u64>,
}

impl Replica {
    /// Who this node is.
    pub fn identity(&self) -> &Identity {
        &self.me
    }

    /// This node's present life.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The circle it belongs to, if any.
    pub fn circle(&self) -> Option<CircleId> {
        self.circle.as_ref().map(|row| row.circle)
    }

    /// The circle's root key.
    pub fn root(&self) -> Option<PublicKey> {
        self.circle.as_ref().map(|row| row.root)
    }

    /// What it knows of the circle.
    pub fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// Its repositories by folded key.
    pub fn repositories(&self) -> &BTreeMap<String, Repository> {
        &self.repositories
    }

    /// The spaces it holds, with their heads and (for federations) members.
    pub fn spaces(&self) -> impl Iterator<Item = (&Space, &Heads, Option<&Federation>)> {
        self.spaces.iter().map(|(space, state)| (space, &state.heads, state.federation.as_ref()))
    }

    /// One federation.
    pub fn federation(&self, space: &Space) -> Option<&Federation> {
        self.spaces.get(space)?.federation.as_ref()
    }

    /// What is applied in a space.
    pub fn heads(&self, space: &Space) -> Heads {
        self.spaces.get(space).map(|state| state.heads.clone()).unwrap_or_default()
    }

    /// The peers it has met.
    pub fn peers(&self) -> &BTreeMap<NodeId, Peer> {
        &self.peers
    }

    /// Which features this node announces.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Logs that wait here for an upgrade: how far they are kept, unapplied.
    pub fn kept(&self) -> impl Iterator<Item = (&Space, &Heads)> {
        let kept = self.spaces.iter().map(|(space, state)| (space, &state.kept.heads));
        kept.filter(|(_, heads)| !heads.0.is_empty())
    }

    /// In how many spaces a peer was asked for what is missing, and hasn't answered yet.
    pub fn wishes(&self) -> usize {
        self.wishes.len()
    }

    /// How many segments wait for what they depend on.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// How many bytes wait so.
    pub fn parked_bytes(&self) -> usize {
        self.parked.bytes()
    }

    /// Which nodes may be peers now, with their transport keys and where they may be reached.
    pub fn admitted_peers(&self) -> Vec<(NodeId, PublicKey, Addresses)> {
        let Some(trust) = &self.trust else { return Vec::new() };
        let told = |node: &NodeId| self.addresses.get(node).cloned();
        let introducer = self.circle.as_ref().and_then(|row| row.issuer.as_ref());
        let mut peers = Vec::new();
        if let Some(issuer) = self.introducer().filter(|issuer| trust.good(&issuer.node).is_none()) {
            let addresses = told(&issuer.node).unwrap_or_else(|| issuer.addresses.clone());
            peers.push((issuer.node, issuer.keys.transport, addresses));
        }
        let others = trust.members().filter(|(node, _)| **node != self.me.node && trust.good(node).is_some());
        peers.extend(others.map(|(node, member)| {
            let grant = member.grant();
            let from_token = || introducer.filter(|i| i.node == *node).map(|i| i.addresses.clone());
            let addresses = told(node).or_else(from_token).unwrap_or_else(|| grant.addresses.clone());
            (*node, grant.keys.transport, addresses)
        }));
        peers
    }

    /// How far `peer` is behind in `space`, as far as it told.
    pub fn lag(&self, space: &Space, peer: &NodeId, now: crate::clock::Timestamp) -> MemberLag {
        let known = self.peers.get(peer);
        let mine = self.heads(space);
        let entries = known
            .and_then(|peer| peer.heads.get(space))
            .map(|theirs| mine.0.iter().map(|(i, head)| head.sequence.saturating_sub(theirs.of(i).sequence)).sum());
        let told_ms_ago = known.and_then(|peer| peer.heads_at).map(|at| now.ms_since(at));
        MemberLag { entries, told_ms_ago }
    }

    /// A digest of what is known of the circle: equal on two nodes that applied the same Trust entries.
    pub fn trust_digest(&self) -> Digest {
        let Some(trust) = &self.trust else { return Digest::ZERO };
        let heads = self.heads(&Space::Trust);
        let used: Vec<_> = trust.used_tokens().copied().collect();
        let revoked: Vec<_> = trust.members().map(|(n, _)| *n).filter(|n| trust.is_revoked(n)).collect();
        Digest::derived("artimesh/trust-state/v1", &codec::encode(&(heads, used, revoked)))
    }
}

/// A digest of a federation's state: a function of the set of applied entries, conflicts included.
///
/// Cheap when the trie is settled, else as dear as settling it.
pub fn state_digest(view: &impl View, space: &Space, federation: Option<&Federation>) -> Result<Digest, ViewFault> {
    let settled = trie::settle(&mut Draft::new(view), space, usize::MAX)?;
    Ok(digest_of(&settled.unwrap_or_default(), federation))
}

/// The state digest over what is live and what is known of the federation.
pub(super) fn digest_of(live: &trie::Sum, federation: Option<&Federation>) -> Digest {
    Digest::derived("artimesh/space-state/v2", &codec::encode(&(live, federation)))
}
