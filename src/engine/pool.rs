//! Idle bulk streams, kept for the next request to the same peer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use artimesh_core::model::PublicKey;

use crate::swarm::BulkStream;

/// Idle streams kept per peer.
const IDLE_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<HashMap<PublicKey, Vec<BulkStream>>>);

impl Pool {
    pub(super) fn take(&self, peer: &PublicKey) -> Option<BulkStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(peer)?.pop()
    }

    /// Keeps a stream whose last exchange was finished.
    pub(super) fn give(&self, peer: PublicKey, stream: BulkStream) {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pool.entry(peer).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(stream);
        }
    }

    pub(super) fn forget(&self, peer: &PublicKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }
}
