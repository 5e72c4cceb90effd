//! What is done in the background, by itself: garbage is collected, packs are compacted, all is scrubbed.

use std::sync::Arc;
use std::time::Duration;

use super::cache;
use super::gc::{self, CollectError, Collection};
use super::scrub;
use super::shared::Shared;
use crate::store::{Compaction, Scrub};

/// What is done in the background, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upkeep {
    /// Between collections of garbage.
    pub gc_interval: Duration,
    /// How long garbage stays.
    pub gc_grace: Duration,
    /// Packs of which fewer per cent are live are compacted.
    pub compact_below_percent: u8,
    /// Between scrubs.
    pub scrub_interval: Duration,
    /// How many bytes a scrub reads in a second.
    pub scrub_bytes_per_s: u64,
}

impl Default for Upkeep {
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        Upkeep {
            gc_interval: day,
            gc_grace: day,
            compact_below_percent: 50,
            scrub_interval: 7 * day,
            scrub_bytes_per_s: 32 << 20,
        }
    }
}

impl Upkeep {
    /// A collection as it is done by itself.
    pub fn collection(&self) -> Collection {
        let compaction = Compaction { live_percent: self.compact_below_percent, ..Compaction::default() };
        Collection { is_dry: false, grace: self.gc_grace, compaction }
    }
}

/// The first collection isn't put off for longer, so that a node that is restarted often collects, too.
const FIRST_COLLECTION: Duration = Duration::from_secs(600);
/// How often it is looked whether something is due to be verified.
const SCRUB_LOOK: Duration = Duration::from_secs(3600);

/// Verifies what is due, until the engine stops.
pub(super) async fn scrubbing(shared: Arc<Shared>) {
    let upkeep = shared.options.upkeep;
    loop {
        tokio::select! {
            () = tokio::time::sleep(upkeep.scrub_interval.min(SCRUB_LOOK)) => {}
            () = shared.stop.cancelled() => return,
        }
        let interval_ms = u64::try_from(upkeep.scrub_interval.as_millis()).unwrap_or(u64::MAX);
        let due_before_ms = Some(shared.clock.now().0.saturating_sub(interval_ms));
        let due = Scrub { bytes_per_s: Some(upkeep.scrub_bytes_per_s), due_before_ms };
        scrub::tell(&scrub::scrub(&shared, due).await);
    }
}

/// Collects garbage, until the engine stops.
pub(super) async fn collecting(shared: Arc<Shared>) {
    let upkeep = shared.options.upkeep;
    let mut wait = upkeep.gc_interval.min(FIRST_COLLECTION);
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.stop.cancelled() => return,
        }
        wait = upkeep.gc_interval;
        match gc::collect(&shared, upkeep.collection()).await {
            Ok(done) => {
                cache::recount(&shared);
                tracing::info!(
                    removed = done.removed.blobs,
                    bytes = done.removed.bytes,
                    packs = done.compacted.compacted,
                    freed = done.compacted.freed_bytes,
                    "garbage was collected"
                );
            }
            Err(CollectError::Stopping) => return,
            Err(error @ CollectError::Busy) => tracing::debug!(%error, "no collection now"),
            Err(error) => tracing::error!(%error, "garbage could not be collected"),
        }
    }
}
