//! One peer as a source of bytes.

use std::sync::Arc;
use std::time::Duration;

use artimesh_core::model::{NodeId, PublicKey, Space};
use artimesh_core::trust::Role;
use bytes::Bytes;
use tokio::time::timeout;

use crate::engine::bulk::{Answer, Reference, Request};
use crate::engine::pool::Turn;
use crate::engine::shared::Shared;
use crate::store::{Fill, FillError};
use crate::swarm::BulkStream;

/// How long a peer may take for one frame.
const FRAME_WAIT: Duration = Duration::from_secs(30);

/// Groups asked for in one request: 16 MiB.
const GROUPS_AT_ONCE: u32 = 16;

/// Why a peer is of no use for a blob now.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// It doesn't have the blob, or won't give it.
    #[error("it does not have the bytes")]
    NotFound,
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

/// Connected full members of the space's federation; `first` ahead of the others, which are turned by `dice`.
pub(super) fn candidates(shared: &Shared, space: &Space, first: NodeId, dice: usize) -> Vec<(NodeId, PublicKey)> {
    let snapshot = shared.snapshot.borrow().clone();
    let connected = shared.swarm.connected();
    let federation = snapshot.federations.get(space);
    let holds = |node: &NodeId| federation.is_some_and(|federation| federation.is_member(node));
    let mut found: Vec<(NodeId, PublicKey)> = snapshot
        .members
        .iter()
        .filter(|(node, (_, role, key))| *role == Role::Full && holds(node) && connected.contains(key))
        .map(|(node, (_, _, key))| (*node, *key))
        .collect();
    if !found.is_empty() {
        let turn = dice % found.len();
        found.rotate_left(turn);
    }
    found.sort_by_key(|(node, _)| *node != first);
    found
}

/// A request under way on a stream to one peer.
pub(super) struct Exchange {
    peer: PublicKey,
    stream: BulkStream,
    turn: Turn,
}

impl Exchange {
    /// Sends a request on an idle stream, or a new one. Waits while too many are in use.
    pub(super) async fn begin(shared: &Shared, peer: PublicKey, request: &Request) -> Result<Exchange, PeerError> {
        let broken = |error: &dyn std::fmt::Display| PeerError::Broken(error.to_string());
        let mut turn = shared.pool.turn(&peer).await;
        if let Some(stream) = shared.pool.take(&peer) {
            let mut exchange = Exchange { peer, stream, turn };
            // An idle stream may have died unnoticed: then a new one is tried.
            if exchange.send(request).await.is_ok() {
                return Ok(exchange);
            }
            turn = exchange.turn;
        }
        let stream = shared.swarm.open_bulk(&peer).await.map_err(|error| broken(&error))?;
        let mut exchange = Exchange { peer, stream, turn };
        exchange.send(request).await?;
        Ok(exchange)
    }

    async fn send(&mut self, request: &Request) -> Result<(), PeerError> {
        let sent = async {
            self.stream.send(request.to_frame()).await?;
            self.stream.flush().await
        };
        match timeout(FRAME_WAIT, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(PeerError::Broken(error.to_string())),
            Err(_) => Err(PeerError::Broken("it took no request in 30 s".into())),
        }
    }

    /// The next answer.
    pub(super) async fn next(&mut self) -> Result<Answer, PeerError> {
        match timeout(FRAME_WAIT, self.stream.recv()).await {
            Ok(Ok(Some(frame))) => Answer::read(&frame).ok_or_else(|| PeerError::Wrong("an unknown answer".into())),
            Ok(Ok(None)) => Err(PeerError::Broken("it ended the stream".into())),
            Ok(Err(error)) => Err(PeerError::Broken(error.to_string())),
            Err(_) => Err(PeerError::Broken("it sent nothing for 30 s".into())),
        }
    }

    /// Keeps the stream for later: all answers have been received.
    pub(super) fn end(self, shared: &Shared) {
        shared.pool.give(self.peer, self.stream);
        drop(self.turn);
    }
}

/// Fills what is missing of a blob from one peer, what readers wait for first.
pub(super) async fn fill_from(
    shared: &Arc<Shared>,
    peer: PublicKey,
    reference: &Reference,
    fill: &Fill,
    focus: impl Fn() -> u32,
) -> Result<u64, PeerError> {
    if !fill.has_groups() {
        let values = values_from(shared, peer, reference, fill.group_count()).await?;
        fill.set_groups(values).await.map_err(|error| PeerError::Wrong(error.to_string()))?;
    }
    let mut bytes_total = 0;
    while let Some((first, count)) = next_range(fill, focus()) {
        let request = Request::Groups(reference.clone(), first, count);
        let mut exchange = Exchange::begin(shared, peer, &request).await?;
        for index in first..first + count {
            match exchange.next().await? {
                Answer::Group(bytes) => {
                    bytes_total += bytes.len() as u64;
                    shared.fetched.received(bytes.len() as u64);
                    fill.write_group(index, bytes).await?;
                }
                Answer::NotFound => return Err(PeerError::NotFound),
                Answer::Whole(_) | Answer::Values(_) => return Err(PeerError::Wrong("not a group".into())),
            }
        }
        exchange.end(shared);
    }
    Ok(bytes_total)
}

/// The first missing groups at or after `focus`, else the first missing at all.
fn next_range(fill: &Fill, focus: u32) -> Option<(u32, u32)> {
    let missing = fill.missing();
    let ahead = missing.iter().find(|range| range.end > focus).map(|range| range.start.max(focus)..range.end);
    let range = ahead.or_else(|| missing.first().cloned())?;
    Some((range.start, (range.end - range.start).min(GROUPS_AT_ONCE)))
}

async fn values_from(
    shared: &Arc<Shared>,
    peer: PublicKey,
    reference: &Reference,
    count: u32,
) -> Result<Vec<[u8; 32]>, PeerError> {
    let mut values = Vec::new();
    while values.len() < count as usize {
        let request = Request::Values(reference.clone(), values.len() as u32);
        let mut exchange = Exchange::begin(shared, peer, &request).await?;
        match exchange.next().await? {
            Answer::Values(more) if more.is_empty() => {
                return Err(PeerError::Wrong("too few chaining values".into()));
            }
            Answer::Values(more) => values.extend(more),
            Answer::NotFound => return Err(PeerError::NotFound),
            Answer::Whole(_) | Answer::Group(_) => return Err(PeerError::Wrong("not chaining values".into())),
        }
        exchange.end(shared);
    }
    Ok(values)
}

/// Asks one peer for several small blobs at once; `None` for those it doesn't have.
pub(super) async fn whole_from(
    shared: &Arc<Shared>,
    peer: PublicKey,
    references: Vec<Reference>,
) -> Result<Vec<Option<Bytes>>, PeerError> {
    let count = references.len();
    let mut exchange = Exchange::begin(shared, peer, &Request::Whole(references)).await?;
    let mut blobs = Vec::with_capacity(count);
    for _ in 0..count {
        match exchange.next().await? {
            Answer::Whole(bytes) => {
                shared.fetched.received(bytes.len() as u64);
                blobs.push(Some(bytes));
            }
            Answer::NotFound => blobs.push(None),
            Answer::Values(_) | Answer::Group(_) => return Err(PeerError::Wrong("not a blob".into())),
        }
    }
    exchange.end(shared);
    Ok(blobs)
}
