//! What was fetched since the start, for status, metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was fetched since the start.
#[derive(Debug, Default)]
pub struct FetchCounts {
    blobs: AtomicU64,
    bytes: AtomicU64,
    repeated_bytes: AtomicU64,
    wrong: AtomicU64,
    proved: AtomicU64,
    failures: AtomicU64,
}

impl FetchCounts {
    pub(super) fn received(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn repeated(&self, bytes: u64) {
        self.repeated_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn was_wrong(&self) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn was_proved(&self, blobs: u64) {
        self.proved.fetch_add(blobs, Ordering::Relaxed);
    }

    pub(super) fn stored(&self, blobs: u64) {
        self.blobs.fetch_add(blobs, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Blobs that were fetched and stored.
    pub fn blobs(&self) -> u64 {
        self.blobs.load(Ordering::Relaxed)
    }

    /// Bytes that were received, verified or not.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Those of them that another source had sent before.
    pub fn repeated_bytes(&self) -> u64 {
        self.repeated_bytes.load(Ordering::Relaxed)
    }

    /// How often a peer sent something else than it was asked for.
    pub fn wrong(&self) -> u64 {
        self.wrong.load(Ordering::Relaxed)
    }

    /// Blobs that were here through another space, and that a member proved to have in the one that names them.
    pub fn proved(&self) -> u64 {
        self.proved.load(Ordering::Relaxed)
    }

    /// Attempts that failed at all peers asked.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}
