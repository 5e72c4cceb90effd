//! One blob on its way here, shared by all who wait for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use artimesh_core::model::{ArtifactPath, Checksums, Digest, NodeId, Space};
use bytes::Bytes;
use tokio::sync::watch;

use super::peer::{self, PeerError};
use crate::engine::bulk::{GROUP_BYTES, Reference};
use crate::engine::error::FetchError;
use crate::engine::handle::Engine;
use crate::engine::shared::Shared;
use crate::store::{Batch, BlobReader, Fill, FillError, Priority, RowWrite};

/// What was fetched since the start.
#[derive(Debug, Default)]
pub struct FetchCounts {
    blobs: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
}

impl FetchCounts {
    pub(super) fn received(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
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

    /// Attempts that failed at all peers asked.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// One blob on its way here.
pub struct Flight {
    fill: Fill,
    /// The first group that a reader waits for.
    focus: AtomicU32,
    outcome: watch::Sender<Option<Result<(), FetchError>>>,
}

impl Flight {
    /// Waits until the blob is stored, or can't be had now.
    pub(super) async fn landed(&self) -> Result<(), FetchError> {
        let mut outcome = self.outcome.subscribe();
        loop {
            if let Some(result) = outcome.borrow_and_update().clone() {
                return result;
            }
            if outcome.changed().await.is_err() {
                return Err(FetchError::NobodyHasIt("the node is stopping".into()));
            }
        }
    }
}

/// Where a reader's bytes come from.
#[derive(Clone)]
pub enum Source {
    /// They are here.
    Stored(BlobReader),
    /// They are on their way; each piece is given as soon as it is verified.
    Arriving(Arc<Flight>),
}

impl Source {
    /// Bytes from `offset`, at most `most` and at most up to the next MiB boundary while they are still arriving.
    pub async fn read(&self, offset: u64, most: usize) -> Result<Bytes, FetchError> {
        match self {
            Source::Stored(reader) => Ok(reader.read_at(offset, most).await?),
            Source::Arriving(flight) => {
                let group = (offset / GROUP_BYTES) as u32;
                if !flight.fill.has(group) {
                    flight.focus.store(group, Ordering::Relaxed);
                }
                let not_had = |error: FillError| FetchError::NobodyHasIt(error.to_string());
                flight.fill.wait_group(group).await.map_err(not_had)?;
                let bytes =
                    flight.fill.read_group(group).await.map_err(|error| FetchError::Store(error.to_string()))?;
                let start = ((offset % GROUP_BYTES) as usize).min(bytes.len());
                let end = start.saturating_add(most).min(bytes.len());
                Ok(bytes.slice(start..end))
            }
        }
    }
}

/// A blob that somebody wants.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) reference: Reference,
    pub(super) size: u64,
    pub(super) checksums: Checksums,
    pub(super) author: NodeId,
    /// Written with the blob's commit.
    pub(super) rows: Vec<Vec<u8>>,
}

/// Joins the flight of a blob, or starts one.
pub(super) async fn depart(shared: &Arc<Shared>, wish: Wish) -> Result<Arc<Flight>, FetchError> {
    let digest = wish.reference.digest;
    let known = shared.flights.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
    if let Some(flight) = known {
        return Ok(flight);
    }
    let fill = shared.store.fill(digest, wish.size, wish.checksums).await?;
    let flight = {
        let mut flights = shared.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&digest) {
            return Ok(flight.clone());
        }
        let flight = Arc::new(Flight { fill, focus: AtomicU32::new(0), outcome: watch::channel(None).0 });
        flights.insert(digest, flight.clone());
        flight
    };
    let (task_shared, task_flight) = (shared.clone(), flight.clone());
    shared.tracker.spawn(async move {
        let stop = task_shared.stop.clone();
        let result = tokio::select! {
            result = fly(&task_shared, &task_flight, &wish) => result,
            () = stop.cancelled() => Err(FetchError::NobodyHasIt("the node is stopping".into())),
        };
        if let Err(error) = &result {
            task_shared.fetched.failed();
            tracing::info!(digest = %digest.short(), path = %wish.reference.path, %error, "a blob could not be fetched yet");
            task_flight.fill.fail(error.to_string());
        }
        task_shared.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        task_flight.outcome.send_replace(Some(result));
    });
    Ok(flight)
}

async fn fly(shared: &Arc<Shared>, flight: &Flight, wish: &Wish) -> Result<(), FetchError> {
    let dice = getrandom::u32().unwrap_or_default() as usize;
    let candidates = peer::candidates(shared, &wish.reference.space, wish.author, dice);
    if candidates.is_empty() {
        return Err(FetchError::NobodyConnected);
    }
    let mut reasons = Vec::new();
    for (node, key) in candidates {
        let focus = || flight.focus.load(Ordering::Relaxed);
        let filled = if flight.fill.group_count() > 1 {
            peer::fill_from(shared, key, &wish.reference, &flight.fill, focus).await.map(|_| ())
        } else {
            one_group(shared, key, wish, &flight.fill).await
        };
        match filled {
            Ok(()) => return store(shared, flight, wish).await,
            Err(PeerError::Store(reason)) => return Err(FetchError::Store(reason)),
            Err(error) => {
                if let PeerError::Wrong(reason) = &error {
                    tracing::error!(node = %node.short(), reason, "a peer sent bytes that are not what it was asked for");
                }
                reasons.push(format!("{}: {error}", node.short()));
            }
        }
    }
    Err(FetchError::NobodyHasIt(reasons.join("; ")))
}

async fn one_group(
    shared: &Arc<Shared>,
    key: artimesh_core::model::PublicKey,
    wish: &Wish,
    fill: &Fill,
) -> Result<(), PeerError> {
    let mut blobs = peer::whole_from(shared, key, vec![wish.reference.clone()]).await?;
    let bytes = blobs.pop().flatten().ok_or(PeerError::NotFound)?;
    fill.write_group(0, bytes).await?;
    Ok(())
}

async fn store(shared: &Arc<Shared>, flight: &Flight, wish: &Wish) -> Result<(), FetchError> {
    let staged = match flight.fill.finish().await {
        Ok(staged) => staged,
        // Somebody else sealed it and commits it.
        Err(FillError::Finished) => return Ok(()),
        Err(error) => return Err(FetchError::Store(error.to_string())),
    };
    let rows = wish.rows.iter().map(|key| RowWrite::delete(crate::store::Tree::Meta, key.clone())).collect();
    shared.store.commit(Batch { rows, blobs: vec![staged], priority: Priority::Normal, ..Batch::default() }).await?;
    shared.fetched.stored(1);
    Ok(())
}

impl Engine {
    /// Where the bytes of a version can be read from: here, or as they arrive from peers.
    pub async fn source(
        &self,
        space: Space,
        path: &ArtifactPath,
        digest: Digest,
        size: u64,
        checksums: Checksums,
        author: NodeId,
    ) -> Result<Source, FetchError> {
        if let Some(reader) = self.shared.store.reader(&digest)? {
            return Ok(Source::Stored(reader));
        }
        let reference = Reference { space, path: path.clone(), digest };
        let wish = Wish { reference, size, checksums, author, rows: Vec::new() };
        Ok(Source::Arriving(depart(&self.shared, wish).await?))
    }
}
