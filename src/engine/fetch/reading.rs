//! A reader of a blob: of what is here, or of what arrives.

use std::sync::Arc;

use artimesh_core::model::{ArtifactPath, Checksums, Digest, NodeId, Space};
use bytes::Bytes;

use super::flight::{self, Flight, Wish};
use super::schedule::ReaderId;
use crate::engine::bulk::{GROUP_BYTES, Reference};
use crate::engine::cache::Hold;
use crate::engine::error::FetchError;
use crate::engine::handle::Engine;
use crate::store::{BlobReader, FillError};

/// A reader's place on a flight. What it waits for comes first, from wherever it is; leaving stops nobody else.
pub struct Reading {
    flight: Arc<Flight>,
    id: ReaderId,
    /// Keeps what has arrived, should it be of the cache.
    hold: Option<Hold>,
}

impl Reading {
    pub(super) fn of(flight: Arc<Flight>, hold: Option<Hold>) -> Reading {
        let id = ReaderId(flight.enter());
        Reading { flight, id, hold }
    }

    /// The bytes of a group from `start` on, at most `most`, as soon as it is here.
    async fn read(&self, group: u32, start: usize, most: usize) -> Result<Bytes, FetchError> {
        self.flight.plan().wait(self.id, group);
        if !self.flight.has(group) {
            self.flight.changed.notify_waiters();
        }
        let not_had = |error: FillError| FetchError::NobodyHasIt(error.to_string());
        self.flight.fill().wait_group(group).await.map_err(not_had)?;
        let bytes = self.flight.fill().read_group(group).await;
        let bytes = bytes.map_err(|error| FetchError::Store(error.to_string()))?;
        let start = start.min(bytes.len());
        let end = start.saturating_add(most).min(bytes.len());
        Ok(bytes.slice(start..end))
    }
}

impl Clone for Reading {
    fn clone(&self) -> Reading {
        Reading::of(self.flight.clone(), self.hold.clone())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.flight.plan().stop_waiting(self.id);
        self.flight.leave();
    }
}

/// Where a reader's bytes come from.
#[derive(Clone)]
pub enum Source {
    /// They are here, and stay while they are read.
    Stored(BlobReader, Option<Hold>),
    /// They are on their way; each piece is given as soon as it is verified.
    Arriving(Reading),
}

impl Source {
    /// Bytes from `offset`, at most `most` and at most up to the next MiB boundary while they are still arriving.
    pub async fn read(&self, offset: u64, most: usize) -> Result<Bytes, FetchError> {
        match self {
            Source::Stored(reader, _) => Ok(reader.read_at(offset, most).await?),
            Source::Arriving(reading) => {
                let group = u32::try_from(offset / GROUP_BYTES).unwrap_or(u32::MAX);
                reading.read(group, (offset % GROUP_BYTES) as usize, most).await
            }
        }
    }
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
        let hold = self.shared.cache.hit(&digest, self.shared.clock.now().0);
        if let Some(reader) = self.shared.store.reader(&digest)? {
            return Ok(Source::Stored(reader, hold));
        }
        drop(hold);
        let reference = Reference { space, path: path.clone(), digest };
        let would_keep = self.shared.cache.would_keep(&self.shared.store, &space, size);
        let is_kept = self.shared.options.finishes_fetches && would_keep;
        let wish = Wish { reference, size, checksums, author, rows: Vec::new(), is_kept };
        Ok(Source::Arriving(flight::board(&self.shared, wish).await?))
    }
}
