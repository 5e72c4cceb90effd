//! Bodies on their way out: from memory, from the store, or as they arrive from peers.

use std::ops::Range;

use artimesh_core::access::{self, Principal, Right};
use bytes::Bytes;

use super::artifacts::Item;
use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use super::lost::Wanted;
use super::shown::Seen;
use super::small::SMALL_BYTES_MAX;
use crate::engine::{Hold, Source};
use crate::store::{Account, BlobReader, BlobStream, Carriage, Part};

/// The most bytes of one piece of what is still arriving.
const PIECE_BYTES: u64 = 1 << 20;

/// A body on its way out.
pub struct Download(Supply);

enum Supply {
    /// All of it, once.
    Whole(Bytes),
    /// The bytes are here, and stay while they are read.
    Stored { stream: BlobStream, _hold: Option<Hold> },
    /// They are on their way.
    Arriving { source: Source, wanted: Box<Wanted>, left: Range<u64>, account: Account },
}

impl Download {
    /// The next piece, up to some MiB; `None` at the end. An error in the middle must break the connection off.
    pub async fn next(&mut self) -> Option<Result<Bytes, ServiceError>> {
        match &mut self.0 {
            Supply::Whole(bytes) => {
                Some(Ok(std::mem::take(bytes))).filter(|piece| !matches!(piece, Ok(bytes) if bytes.is_empty()))
            }
            Supply::Stored { stream, .. } => Some(stream.next().await?.map_err(ServiceError::from)),
            Supply::Arriving { left, .. } if left.is_empty() => None,
            Supply::Arriving { source, wanted, left, account } => {
                let most = (left.end - left.start).min(PIECE_BYTES) as usize;
                let piece = match account.during(Part::Peer, source.read(left.start, most)).await {
                    Ok(bytes) if bytes.is_empty() => {
                        Err(ServiceError::Unavailable("the stored bytes end too early".into()))
                    }
                    Ok(bytes) => Ok(bytes),
                    // Rare, and large while it waits.
                    Err(error) => Err(Box::pin(wanted.why(error)).await),
                };
                left.start = piece.as_ref().map_or(left.end, |bytes| left.start + bytes.len() as u64);
                Some(piece)
            }
        }
    }
}

impl Service {
    /// Streams `range` (bytes, end exclusive) of an item's blob, fetching it from peers when it isn't here. The pieces come
    /// as `carriage` says, where they are stored.
    pub async fn download(
        &self,
        caller: &Caller,
        item: &Item,
        range: Range<u64>,
        carriage: Carriage,
    ) -> Result<Download, ServiceError> {
        self.readable_at(caller, &item.repo, &item.path)?;
        self.refuse_lost(item)?;
        let range = range.start.min(item.size)..range.end.min(item.size);
        let kept = (item.size <= SMALL_BYTES_MAX).then(|| self.small_bodies().find(&item.digest)).flatten();
        Ok(Download(match kept {
            Some(body) => {
                self.engine().was_read(&item.digest);
                Supply::Whole(body.slice(range.start as usize..range.end as usize))
            }
            // What it takes to have bytes fetched is large, and most don't need it.
            None => Box::pin(self.supply(&caller.account, item, range, carriage)).await?,
        }))
    }

    /// All bytes of a file, if it is still what was seen and they can leave without waiting: those of a small one are in
    /// memory, a larger one's were verified lately, and the kernel has them at hand.
    pub fn at_hand(&self, principal: &Principal, seen: &Seen, carriage: Carriage) -> Option<Bytes> {
        let item = &seen.item;
        let may_read = access::may_at(principal, Right::Read, &item.repo, item.path.as_str());
        if !may_read || !self.is_current(seen) || self.refuse_lost(item).is_err() {
            return None;
        }
        let body = if item.size <= SMALL_BYTES_MAX {
            self.small_bodies().at_hand(&item.digest)?
        } else {
            // What is mapped may only be sent by the kernel.
            let reader = (carriage == Carriage::Mapped).then(|| self.engine().store().reader(&item.digest));
            reader?.ok()??.at_hand()?
        };
        self.engine().was_read(&item.digest);
        self.count_download(principal, item);
        Some(body)
    }

    async fn supply(
        &self,
        account: &Account,
        item: &Item,
        range: Range<u64>,
        carriage: Carriage,
    ) -> Result<Supply, ServiceError> {
        let Item { space, path, digest, size, checksums, .. } = item;
        let start = account.start();
        let source = self.engine().source(*space, path, *digest, *size, *checksums, item.author()).await;
        let waited = if matches!(source, Ok(Source::Stored(..))) { Part::Index } else { Part::Peer };
        account.add(waited, start.map(|start| start.elapsed()).unwrap_or_default());
        let source = match source {
            Ok(source) => source,
            Err(error) => return Err(Wanted::of(self.engine(), item).why(error).await),
        };
        Ok(match source {
            Source::Stored(reader, _) if *size <= SMALL_BYTES_MAX => {
                Supply::Whole(self.small_body(account, &reader, range).await?)
            }
            Source::Stored(reader, _hold) => {
                Supply::Stored { stream: reader.stream(range, carriage).noting(account.clone()), _hold }
            }
            source => {
                let wanted = Box::new(Wanted::of(self.engine(), item));
                Supply::Arriving { source, wanted, left: range, account: account.clone() }
            }
        })
    }

    /// A range of a small blob, all of which is kept for whoever comes next.
    async fn small_body(
        &self,
        account: &Account,
        reader: &BlobReader,
        range: Range<u64>,
    ) -> Result<Bytes, ServiceError> {
        let size = reader.info().size;
        let carriage = Carriage::Copied { bytes_max: SMALL_BYTES_MAX as u32 };
        let mut stream = reader.stream(0..size, carriage).noting(account.clone());
        let body = stream.next().await.transpose()?.unwrap_or_default();
        let damaged = || ServiceError::Unavailable("the stored bytes are damaged".into());
        let body = self.small_bodies().keep(&reader.digest(), &body).ok_or_else(damaged)?;
        Ok(body.slice(range.start as usize..range.end as usize))
    }
}
