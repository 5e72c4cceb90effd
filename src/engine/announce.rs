//! Gossip topics: one per federation, named and sealed by a key that only its members learn.

use std::collections::BTreeMap;

use artimesh_core::model::{Digest, Space};
use artimesh_core::replica::message::PROTOCOL;

use super::snapshot::Snapshot;

/// What is needed to speak and understand a space's gossip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Topic {
    pub(super) name: [u8; 32],
    pub(super) key: [u8; 32],
}

/// The topics of the federations that have a repository here.
pub(super) fn topics(snapshot: &Snapshot) -> BTreeMap<Space, Topic> {
    // Those who refuse each other's frames don't gossip with each other either.
    let domain = format!("artimesh/gossip-topic/v{PROTOCOL}");
    let shown = |space: &Space| snapshot.repository_of(space).is_some();
    let of = |(space, federation): (&Space, &artimesh_core::catalog::Federation)| {
        let key = federation.gossip_key();
        (*space, Topic { name: Digest::derived(&domain, &key).0, key })
    };
    snapshot.federations.iter().filter(|(space, _)| shown(space)).map(of).collect()
}
