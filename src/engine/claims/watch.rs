//! The task that walks whenever something may have been claimed.

use std::sync::Arc;
use std::time::Duration;

use super::walk::{Unfinished, is_shared, walk};
use crate::engine::shared::Shared;
use crate::store::Tree;

/// How often it is looked whether there is something to do; and the shortest pause.
const LOOK: Duration = Duration::from_secs(1);
/// The pause behind a walk, for each version that it compared: that takes a fiftieth of it.
pub(super) const PAUSE_EACH: Duration = Duration::from_micros(250);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// What a walk saw, or would see now: how often rows of the catalog have changed, and blobs have come.
type Seen = (u64, u64);

/// Walks until the engine stops.
pub(in crate::engine) async fn watch(shared: Arc<Shared>) {
    let mut seen = None;
    let mut pause = LOOK;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.stop.cancelled() => return,
        }
        pause = LOOK;
        let now = now(&shared);
        if seen == Some(now) && !is_doubted(&shared).await {
            continue;
        }
        let snapshot = shared.snapshot.borrow().clone();
        if !snapshot.repositories.values().any(|repository| is_shared(&snapshot, &repository.space)) {
            continue;
        }
        let walked = tokio::select! {
            walked = walk(&shared) => walked,
            () = shared.stop.cancelled() => return,
        };
        match walked {
            Ok(walked) => {
                seen = Some(now).filter(|_| !walked.waits);
                pause = PAUSE_EACH.saturating_mul(walked.versions).clamp(LOOK, PAUSE_MAX);
            }
            Err(Unfinished::Stopping) => {}
            // The store says itself what ails it.
            Err(Unfinished::Store(error)) => tracing::debug!(%error, "claimed checksums could not be confirmed"),
        }
    }
}

fn now(shared: &Shared) -> Seen {
    (shared.store.changes(Tree::Catalog), shared.fetched.blobs())
}

/// Whether somebody came upon a false claim since the last time.
async fn is_doubted(shared: &Shared) -> bool {
    tokio::time::timeout(Duration::ZERO, shared.claims.doubted.notified()).await.is_ok()
}
