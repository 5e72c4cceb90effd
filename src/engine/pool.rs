//! Bulk streams to each peer: how many may be in use, and the idle ones, kept for the next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use artimesh_core::model::PublicKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::swarm::BulkStream;

/// Streams in use at once per peer; whoever needs one more waits. A peer takes 16, and closed ones count until it
/// has noticed.
const IN_USE_MAX: usize = 12;

/// Idle streams kept per peer.
const IDLE_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<HashMap<PublicKey, Streams>>);

#[derive(Debug)]
struct Streams {
    idle: Vec<BulkStream>,
    turns: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        Streams { idle: Vec::new(), turns: Arc::new(Semaphore::new(IN_USE_MAX)) }
    }
}

/// The right to use one stream to a peer.
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    fn streams(&self) -> MutexGuard<'_, HashMap<PublicKey, Streams>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more stream to the peer may be used.
    pub(super) async fn turn(&self, peer: &PublicKey) -> Turn {
        let turns = self.streams().entry(*peer).or_default().turns.clone();
        let permit = turns.acquire_owned().await.expect("nobody closes it");
        Turn { _permit: permit }
    }

    pub(super) fn take(&self, peer: &PublicKey) -> Option<BulkStream> {
        self.streams().get_mut(peer)?.idle.pop()
    }

    /// Keeps a stream whose last exchange was finished.
    pub(super) fn give(&self, peer: PublicKey, stream: BulkStream) {
        let mut streams = self.streams();
        let idle = &mut streams.entry(peer).or_default().idle;
        if idle.len() < IDLE_MAX {
            idle.push(stream);
        }
    }

    pub(super) fn forget(&self, peer: &PublicKey) {
        if let Some(streams) = self.streams().get_mut(peer) {
            streams.idle.clear();
        }
    }
}
