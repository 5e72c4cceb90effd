//! Turns another node's claim about a blob's checksums into knowledge.

use artimesh_core::model::{Assurance, Digest};
use tokio::task::spawn_blocking;

use super::error::{ConfirmError, ReadError};
use super::groups::{self, GROUP_BYTES};
use super::handle::Store;
use super::large::confirmed;
use super::pack::record::Meta;
use super::reader::BlobReader;
use super::sums::{self, QuickLane, SlowLane};

impl Store {
    /// Reads a blob whose sums are claimed, computes them, and commits them as confirmed. Takes as long as the slowest
    /// hash, MD5: about 1.7 s per GB. May be cancelled.
    pub async fn confirm(&self, digest: &Digest) -> Result<(), ConfirmError> {
        let reader = self.reader(digest)?.ok_or(ConfirmError::Unknown)?;
        let info = reader.info();
        if info.assurance == Assurance::Confirmed {
            return Ok(());
        }
        let meta = computed(&reader).await?;
        if meta.checksums != info.checksums {
            let (claimed, computed) = (Box::new(info.checksums), Box::new(meta.checksums));
            return Err(ConfirmError::Mismatch { claimed, computed });
        }
        self.commit_confirmed(*digest, meta).await?;
        Ok(())
    }
}

async fn computed(reader: &BlobReader) -> Result<Meta, ConfirmError> {
    if reader.group_count() == 1 {
        let bytes = reader.read_at(0, GROUP_BYTES).await?;
        let hashed = spawn_blocking(move || sums::of_small(&[bytes])).await.map_err(|_| ReadError::Cancelled)?;
        return if hashed.0 == reader.digest() { Ok(confirmed(hashed.1)) } else { Err(ConfirmError::Rotten) };
    }
    let (mut quick, mut slow) = (QuickLane::default(), SlowLane::default());
    for index in 0..reader.group_count() {
        let bytes = reader.read_at(u64::from(index) * GROUP_BYTES as u64, GROUP_BYTES).await?;
        let other = bytes.clone();
        let first = spawn_blocking(move || {
            quick.update(&[bytes]);
            quick
        });
        let second = spawn_blocking(move || {
            slow.update(&[other]);
            slow
        });
        quick = first.await.map_err(|_| ReadError::Cancelled)?;
        slow = second.await.map_err(|_| ReadError::Cancelled)?;
    }
    let (checksums, values) = sums::finish(quick, slow);
    if groups::root(&values) != Some(reader.digest()) {
        return Err(ConfirmError::Rotten);
    }
    Ok(confirmed(checksums))
}
