//! What an operator sees of the cache, and has it do.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use artimesh_core::model::Digest;

use super::super::handle::Engine;
use super::pins::{self, PINS_MAX};
use super::{Held, Limits, Pin};
use crate::store::{CommitError, ReadError};

/// What the cache holds and did since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheStatus {
    /// Whether a repository here is kept on demand.
    pub is_used: bool,
    /// What it may take now.
    pub limit_bytes: u64,
    /// What it holds.
    pub held: Held,
    /// What is on its way.
    pub incoming_bytes: u64,
    /// Downloads whose bytes were here.
    pub hits: u64,
    /// Downloads whose bytes were not.
    pub misses: u64,
    /// Blobs that went.
    pub evicted_blobs: u64,
    /// What they took.
    pub evicted_bytes: u64,
    /// When the last ones went, in milliseconds since 1970; 0: none did.
    pub evicted_ms: u64,
}

/// A pin can't be made or ended. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// There is no such pin.
    #[error("there is no such pin")]
    NoPin,
    /// There are too many.
    #[error("there are {PINS_MAX} pins already, and more would slow every write down: pin a folder instead of files")]
    TooMany,
    /// The store didn't take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Engine {
    /// What the cache holds, and what it did since the start. Counts; asks the device.
    pub fn cache_status(&self) -> CacheStatus {
        let cache = &self.shared.cache;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CacheStatus {
            is_used: !cache.places().is_empty(),
            limit_bytes: cache.limit_bytes(&self.shared.store),
            held: cache.ledger.held(),
            incoming_bytes: cache.incoming_bytes(),
            hits: count(&cache.counts.hits),
            misses: count(&cache.counts.misses),
            evicted_blobs: count(&cache.counts.evicted_blobs),
            evicted_bytes: count(&cache.counts.evicted_bytes),
            evicted_ms: count(&cache.counts.evicted_ms),
        }
    }

    /// The bounds of the cache, as set.
    pub fn cache_limits(&self) -> Limits {
        self.shared.cache.limits
    }

    /// A body was served out of memory that the store may have, too.
    pub fn was_read(&self, digest: &Digest) {
        self.shared.cache.was_read(digest, self.shared.clock.now().0);
    }

    /// What is pinned.
    pub fn pins(&self) -> BTreeSet<Pin> {
        self.shared.cache.rules.lock().unwrap_or_else(PoisonError::into_inner).pins.clone()
    }

    /// Has what is here of a path stay, and what comes there. Durable when it returns; again is fine.
    pub async fn pin(&self, pin: Pin) -> Result<(), PinError> {
        let cache = &self.shared.cache;
        let _turn = cache.pinning.lock().await;
        if self.pins().len() >= PINS_MAX && !self.pins().contains(&pin) {
            return Err(PinError::TooMany);
        }
        pins::put(&self.shared.store, &pin, self.shared.clock.now().0).await?;
        cache.change_rules(|pins, _| pins.extend([pin]));
        Ok(())
    }

    /// Lets it go when its time comes. Durable when it returns.
    pub async fn unpin(&self, pin: &Pin) -> Result<(), PinError> {
        let cache = &self.shared.cache;
        let _turn = cache.pinning.lock().await;
        if !self.pins().contains(pin) {
            return Err(PinError::NoPin);
        }
        pins::delete(&self.shared.store, pin).await?;
        cache.change_rules(|pins, _| pins.retain(|known| known != pin));
        Ok(())
    }
}
