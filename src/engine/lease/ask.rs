//! The side that asks: what another member says of some blobs.

use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::PublicKey;
use tokio::time::timeout;

use super::statement::{Terms, Word};
use crate::engine::bulk::{Answer, Reference, Request};
use crate::engine::line::{Expected, LaneError, Urgency};
use crate::engine::proof;
use crate::engine::shared::Shared;

/// How long a member may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A term of nothing: what is there is to be told, and nothing to be promised.
pub(in crate::engine) const NOTHING_PROMISED: Duration = Duration::ZERO;

/// Terms that were never used; `None` when the system has no randomness.
pub(in crate::engine) fn terms(term: Duration) -> Option<Terms> {
    let term_ms = u32::try_from(term.as_millis()).unwrap_or(u32::MAX);
    proof::nonce().map(|nonce| Terms { nonce, term_ms })
}

/// What a peer says of up to [`WHOLE_MAX`](crate::engine::bulk::WHOLE_MAX) blobs, one word for each; `None` when it says
/// nothing in time, or is of an older release.
pub(in crate::engine) async fn words(
    shared: &Arc<Shared>,
    peer: &PublicKey,
    references: &[Reference],
    terms: Terms,
) -> Option<Vec<Word>> {
    let request = Request::Lease(references.to_vec(), terms);
    match timeout(PATIENCE, exchange(shared, peer, &request)).await {
        Ok(Ok(Answer::Words(words))) if words.len() == references.len() => Some(words),
        Ok(Ok(_)) | Err(_) => None,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a member said nothing of blobs that it was asked about");
            None
        }
    }
}

async fn exchange(shared: &Arc<Shared>, peer: &PublicKey, request: &Request) -> Result<Answer, LaneError> {
    let line = shared.lines.of(peer);
    // A lane of readers': nothing large is ahead of it.
    let permit = line.admit(shared, 0, Urgency::Urgent).await;
    let expected = Expected { answers: 1, ends_when_not_found: true };
    line.ask(shared, request, expected, permit).await?.next().await
}
