//! Gossip topics: one per federation, named and sealed by a key that only its members learn.
//!
//! # Limits
//! The key comes from the founding entry and never changes. Who leaves a federation or is removed from it stops listening,
//! and no member sends it entries or blobs any more; but it belongs to the circle still, passes gossip on like everybody, and
//! altered software there could go on reading what is announced: segments up to 32 KiB, with paths, checksums and users.
//! Revoking the node ends that at once, for nobody is connected to it any more. To keep it in the circle and have it read
//! nothing, found a new federation and let the others' repositories join that. Another key after each removal needs an
//! entry behind it that carries the key, and a row and a snapshot of the federation that hold the latest.

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
