//! Who may be asked for bytes, and what can go wrong with one of them.

use std::sync::PoisonError;

use artimesh_core::model::{Digest, NodeId, PublicKey, Space};
use artimesh_core::trust::Role;

use crate::engine::line::LaneError;
use crate::engine::shared::Shared;
use crate::store::FillError;

/// Why a peer is of no use for a blob now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PeerError {
    /// It doesn't have the blob, or won't give it.
    #[error("it does not have the bytes")]
    NotFound,
    /// It doesn't have what it said it has.
    #[error("it does not have the bytes that it said it has")]
    Untrue,
    /// The stream broke or timed out.
    #[error("{0}")]
    Broken(String),
    /// It sent something else than asked for.
    #[error("it sent wrong bytes: {0}")]
    Wrong(String),
    /// Not the peer's fault.
    #[error("the bytes could not be stored here: {0}")]
    Store(String),
}

impl From<FillError> for PeerError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::BadGroup { .. } | FillError::OutOfRange { .. } => PeerError::Wrong(error.to_string()),
            other => PeerError::Store(other.to_string()),
        }
    }
}

impl From<LaneError> for PeerError {
    fn from(error: LaneError) -> Self {
        match error {
            LaneError::Broken(reason) => PeerError::Broken(reason),
            LaneError::Nonsense => PeerError::Wrong(error.to_string()),
        }
    }
}

/// Connected full members of the space's federation that may be asked for a blob: `first` ahead of the others, which are
/// turned by `dice`, and behind all those that were wrong too often.
pub(in crate::engine) fn candidates(
    shared: &Shared,
    space: &Space,
    first: NodeId,
    digest: Option<&Digest>,
    dice: usize,
) -> Vec<(NodeId, PublicKey)> {
    let snapshot = shared.snapshot.borrow().clone();
    let connected = shared.swarm.connected();
    let federation = snapshot.federations.get(space);
    let holds = |node: &NodeId| federation.is_some_and(|federation| federation.is_member(node));
    let now = shared.started.elapsed();
    let standings = shared.standings.lock().unwrap_or_else(PoisonError::into_inner);
    let may_ask = |node: &NodeId| digest.is_none_or(|digest| standings.may_ask(node, digest, now));
    let mut found: Vec<(NodeId, PublicKey)> = snapshot
        .members
        .iter()
        .filter(|(node, (_, role, key))| *role == Role::Full && holds(node) && connected.contains(key))
        .filter(|(node, _)| may_ask(node))
        .map(|(node, (_, _, key))| (*node, *key))
        .collect();
    if !found.is_empty() {
        let turn = dice % found.len();
        found.rotate_left(turn);
    }
    found.sort_by_key(|(node, _)| (standings.is_doubtful(node, now), *node != first));
    found
}

/// Notes what a peer did as a source, in the log and for the status.
pub(super) fn note(shared: &Shared, node: NodeId, digest: Digest, what: &str, error: &PeerError) {
    let mut standings = shared.standings.lock().unwrap_or_else(PoisonError::into_inner);
    match error {
        PeerError::Wrong(reason) => {
            shared.fetched.was_wrong();
            tracing::error!(
                node = %node.short(), what, reason,
                "a peer sent bytes that are not what it was asked for: it is not asked for them again for 10 minutes"
            );
            standings.blame(node, digest, format!("{what}: {reason}"), shared.started.elapsed());
        }
        PeerError::Broken(_) | PeerError::Untrue => {
            tracing::debug!(node = %node.short(), what, %error, "a source broke off");
            standings.fault(node, format!("{what}: {error}"));
        }
        PeerError::NotFound | PeerError::Store(_) => {
            tracing::debug!(node = %node.short(), what, %error, "a source was of no use");
        }
    }
}
