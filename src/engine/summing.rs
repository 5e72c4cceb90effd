//! The sums that were put off: computed one blob after the other, as soon as nobody waits for the node.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::Digest;
use tokio::time::Instant;

use super::shared::Shared;
use crate::store::{ConfirmError, ReadError, Summed};

/// How often it is looked whether there is something to do.
const LOOK: Duration = Duration::from_secs(1);
/// How long a blob is left alone that couldn't be read: a scrub may find and mend it meanwhile.
const RETRY: Duration = Duration::from_secs(3600);
/// So many such blobs are remembered.
const SKIP_MAX: usize = 4096;

/// Computes what is missing, until the engine stops.
pub(super) async fn summing(shared: Arc<Shared>) {
    let (mut skip, mut forget_at) = (HashSet::new(), Instant::now() + RETRY);
    let mut after = None;
    loop {
        let found = tokio::select! {
            found = shared.store.sum_some(after, skip.clone()) => found,
            () = shared.stop.cancelled() => return,
        };
        after = match found {
            Ok(summed) => noted(&summed, &mut skip),
            // The store says itself what ails it.
            Err(error) => {
                tracing::debug!(%error, "sums that were put off could not be computed");
                None
            }
        };
        if Instant::now() >= forget_at || skip.len() > SKIP_MAX {
            skip.clear();
            forget_at = Instant::now() + RETRY;
        }
        if after.is_none() {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = shared.stop.cancelled() => return,
            }
        }
    }
}

/// Tells what came of it, and where to go on.
fn noted(summed: &Summed, skip: &mut HashSet<Digest>) -> Option<Digest> {
    for (digest, error) in &summed.failed {
        match error {
            ConfirmError::Mismatch { .. } => {
                tracing::error!(%digest, %error, "a blob's author claimed other checksums than it has: {error}");
            }
            ConfirmError::Read(ReadError::Cancelled) => {}
            _ => {
                skip.insert(*digest);
                tracing::error!(%digest, %error, "the checksums of a blob cannot be computed: {error}; scrub the store");
            }
        }
    }
    if summed.confirmed > 0 {
        tracing::debug!(blobs = summed.confirmed, "sums that were put off were computed");
    }
    summed.next
}
