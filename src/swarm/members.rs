//! Who may talk, as both swarms and every handshake look it up.

use std::{
    collections::{HashMap, HashSet},
    sync::{PoisonError, RwLock},
};

use libp2p::PeerId;
use tokio_util::sync::CancellationToken;

/// The members. Each has a token that is cancelled when it is removed, so that whatever runs for it ends at once.
#[derive(Debug, Default)]
pub(super) struct Members {
    tokens: RwLock<HashMap<PeerId, CancellationToken>>,
    root: CancellationToken,
}

impl Members {
    /// No members yet; `root` cuts everybody off.
    pub(super) fn new(root: CancellationToken) -> Members {
        Members { tokens: RwLock::default(), root }
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).contains_key(peer)
    }

    /// The token of a member.
    pub(super) fn token(&self, peer: &PeerId) -> Option<CancellationToken> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(peer).cloned()
    }

    /// Makes `peers` the members. Those who were and aren't any more are cut off.
    pub(super) fn replace(&self, peers: &HashSet<PeerId>) {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|peer, token| {
            let stays = peers.contains(peer);
            if !stays {
                token.cancel();
            }
            stays
        });
        for peer in peers {
            tokens.entry(*peer).or_insert_with(|| self.root.child_token());
        }
    }
}
