//! Turns another node's claim about a blob's checksums into knowledge, and completes those of which one was put off.

use artimesh_core::model::{Assurance, Checksums, Digest};
use tokio::task::spawn_blocking;

use super::demand::Pace;
use super::error::{ConfirmError, ReadError};
use super::groups::{self, GROUP_BYTES};
use super::handle::Store;
use super::large::confirmed;
use super::pack::record::Meta;
use super::reader::BlobReader;
use super::sums::{self, Md5Turn, has_md5};

impl Store {
    /// Reads a blob whose sums are claimed, computes them, and commits them as confirmed, whatever was claimed; that it was
    /// wrong is an error all the same. Takes as long as the slowest hash, MD5: about 1.7 s per GB. May be cancelled.
    pub async fn confirm(&self, digest: &Digest) -> Result<(), ConfirmError> {
        let reader = self.reader(digest)?.ok_or(ConfirmError::Unknown)?;
        let info = reader.info();
        if info.assurance == Assurance::Confirmed {
            return Ok(());
        }
        let meta = computed(&reader).await?;
        self.commit_confirmed(vec![(*digest, meta)], vec![*digest]).await?;
        compare(&info.checksums, &meta.checksums)
    }
}

/// Whether what was claimed is what was computed. Of an MD5 that was put off nobody has claimed anything.
pub(super) fn compare(claimed: &Checksums, computed: &Checksums) -> Result<(), ConfirmError> {
    let claimed_all = if has_md5(claimed) { *claimed } else { Checksums { md5: computed.md5, ..*claimed } };
    if claimed_all == *computed {
        return Ok(());
    }
    Err(ConfirmError::Mismatch { claimed: Box::new(*claimed), computed: Box::new(*computed) })
}

async fn computed(reader: &BlobReader) -> Result<Meta, ConfirmError> {
    if reader.group_count() == 1 {
        let bytes = reader.read_at(0, GROUP_BYTES).await?;
        let hashed = spawn_blocking(move || sums::of_small(&[bytes])).await.map_err(|_| ReadError::Cancelled)?;
        return if hashed.0 == reader.digest() { Ok(confirmed(hashed.1)) } else { Err(ConfirmError::Rotten) };
    }
    let (mut quick, mut slow) = sums::lanes(Md5Turn::Inline);
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

/// The same in one thread, as work that steps aside for whoever waits. Blocks.
pub(super) fn computed_here(reader: &BlobReader, pace: &mut Pace<'_>) -> Result<Meta, ConfirmError> {
    let size = reader.info().size;
    if reader.group_count() == 1 {
        let (digest, checksums) = sums::of_small(&[reader.read_whole()?]);
        let goes_on = pace.worked_a_little(size);
        return match goes_on {
            _ if digest != reader.digest() => Err(ConfirmError::Rotten),
            true => Ok(confirmed(checksums)),
            false => Err(ReadError::Cancelled.into()),
        };
    }
    let (mut quick, mut slow) = sums::lanes(Md5Turn::Inline);
    for index in 0..reader.group_count() {
        let group = [reader.read_here(u64::from(index) * GROUP_BYTES as u64, groups::length(index, size))?];
        quick.update(&group);
        slow.update(&group);
        if !pace.worked(group[0].len() as u64) {
            return Err(ReadError::Cancelled.into());
        }
    }
    let (checksums, values) = sums::finish(quick, slow);
    if groups::root(&values) == Some(reader.digest()) { Ok(confirmed(checksums)) } else { Err(ConfirmError::Rotten) }
}
