//! Reads a committed blob.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use artimesh_core::model::{Assurance, Checksums, Digest};
use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::error::ReadError;
use super::files::File;
use super::groups::{self, ChainingValue, GROUP_BYTES};
use super::large::{self, DATA_OFFSET};
use super::pack;
use super::shared::Shared;
use super::stream::{BlobStream, Carriage, Outflow};
use super::value::{BlobEntry, Place};

/// What is known of a committed blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its size in bytes.
    pub size: u64,
    /// Its three sums.
    pub checksums: Checksums,
    /// Who vouches for them.
    pub assurance: Assurance,
}

impl BlobInfo {
    pub(super) fn of(entry: &BlobEntry) -> BlobInfo {
        BlobInfo { size: entry.size_bytes(), checksums: entry.meta.checksums, assurance: entry.meta.assurance }
    }
}

/// A committed blob, open for reading; clones share the file.
#[derive(Clone)]
pub struct BlobReader {
    digest: Digest,
    info: BlobInfo,
    source: Source,
    outflow: Arc<Outflow>,
}

/// Where the bytes of a blob are that aren't in the index.
pub(super) struct OnDisk<'reader> {
    pub(super) file: &'reader dyn File,
    /// Where they start in it.
    pub(super) start: u64,
    pub(super) path: &'reader Path,
}

#[derive(Clone)]
enum Source {
    Memory(Bytes),
    File { file: Arc<dyn File>, offset: u64, path: PathBuf },
}

impl BlobReader {
    /// `None` when the bytes have moved, or gone, since `entry` was looked up.
    pub(super) fn new(shared: &Shared, digest: &Digest, entry: &BlobEntry) -> Result<Option<BlobReader>, ReadError> {
        let source = match &entry.place {
            Place::Inline(bytes) => Source::Memory(bytes.clone()),
            Place::Pack(extent) => {
                let Some(file) = shared.pack(extent.pack)? else { return Ok(None) };
                let path = pack::path(&shared.packs_folder(), extent.pack);
                Source::File { file, offset: extent.offset, path }
            }
            Place::Large { file, .. } => {
                let path = large::path(&shared.large_folder(), *file, "blob");
                let file = match shared.large_file(*file, &path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let is_current = shared.blob(digest)?.as_ref() == Some(entry);
                        return if is_current { Err(ReadError::io(&path)(error)) } else { Ok(None) };
                    }
                    other => other.map_err(ReadError::io(&path))?,
                };
                Source::File { file, offset: DATA_OFFSET, path }
            }
        };
        Ok(Some(BlobReader { digest: *digest, info: BlobInfo::of(entry), source, outflow: shared.outflow.clone() }))
    }

    /// Its address.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Size, sums, assurance.
    pub fn info(&self) -> BlobInfo {
        self.info
    }

    /// The file that holds its bytes, and where they start in it; `None` for a tiny blob, which is in the index. The
    /// file is never changed or truncated there, so the range of an open descriptor may be mapped or sent as it is. The
    /// *name* may stand for another, shorter file soon, or for none, when the blob was moved or deleted: whoever opens it
    /// and finds it too short asks the store for a new reader.
    pub fn extent(&self) -> Option<(&Path, u64)> {
        match &self.source {
            Source::Memory(_) => None,
            Source::File { offset, path, .. } => Some((path, *offset)),
        }
    }

    pub(super) fn on_disk(&self) -> Option<OnDisk<'_>> {
        match &self.source {
            Source::Memory(_) => None,
            Source::File { file, offset, path } => Some(OnDisk { file: file.as_ref(), start: *offset, path }),
        }
    }

    /// A range of a blob that is in the index; nothing of another.
    pub(super) fn in_memory(&self, range: &Range<u64>) -> Bytes {
        match &self.source {
            Source::Memory(all) => all.slice(range.start as usize..range.end as usize),
            Source::File { .. } => Bytes::new(),
        }
    }

    /// The bytes of `range`, as far as the blob goes, piece by piece. What wasn't verified lately is verified first; no call
    /// waits for the disk on the caller's thread.
    pub fn stream(&self, range: Range<u64>, carriage: Carriage) -> BlobStream {
        BlobStream::new(self.clone(), self.outflow.clone(), range, carriage)
    }

    /// The whole of a blob of up to 1 MiB, by reference to the mapped file, if it can leave as it is: verified lately, and
    /// in the kernel's memory. Doesn't block.
    pub fn at_hand(&self) -> Option<Bytes> {
        match self.info.size {
            bytes if bytes > 0 && bytes <= GROUP_BYTES as u64 => self.outflow.at_hand(self),
            _ => None,
        }
    }

    /// Whether no byte of it has to be verified before it leaves.
    pub(super) fn was_verified_lately(&self) -> bool {
        self.on_disk().is_some() && self.outflow.was_verified_lately(self)
    }

    /// Verifies what wasn't verified lately. Blocks.
    pub(super) fn verify_whole(&self) -> Result<(), ReadError> {
        match &self.source {
            Source::Memory(all) if Digest::of(all) != self.digest => {
                Err(ReadError::Damaged { path: PathBuf::from("index"), offset: 0 })
            }
            Source::Memory(_) => Ok(()),
            Source::File { .. } => self.outflow.verify_whole(self),
        }
    }

    /// How many 1 MiB groups it has.
    pub fn group_count(&self) -> u32 {
        groups::count(self.info.size)
    }

    /// The bytes from `offset`: at most `len`, at most 1 MiB, less only at the end. A blob of up to 1 MiB that is read
    /// as a whole is verified, others aren't: see [`BlobReader::verify_group`]. May be cancelled.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        if offset > self.info.size {
            return Err(ReadError::OutOfRange { offset, bytes: len as u64, size: self.info.size });
        }
        let bytes = (self.info.size - offset).min(len.min(GROUP_BYTES) as u64) as usize;
        match &self.source {
            Source::Memory(all) => Ok(all.slice(offset as usize..offset as usize + bytes)),
            Source::File { .. } if bytes == 0 => Ok(Bytes::new()),
            Source::File { .. } => {
                let reader = self.clone();
                spawn_blocking(move || reader.read_here(offset, bytes)).await.map_err(|_| ReadError::Cancelled)?
            }
        }
    }

    /// Fills memory of the caller's with the bytes from `offset`, of which there must be so many. None is verified. May be
    /// cancelled.
    pub async fn read_into<M>(&self, offset: u64, mut memory: M) -> Result<M, ReadError>
    where
        M: AsMut<[u8]> + Send + 'static,
    {
        let bytes = memory.as_mut().len() as u64;
        if offset.checked_add(bytes).is_none_or(|end| end > self.info.size) {
            return Err(ReadError::OutOfRange { offset, bytes, size: self.info.size });
        }
        let reader = self.clone();
        let filled = spawn_blocking(move || reader.fill(offset, memory.as_mut()).map(|()| memory));
        filled.await.map_err(|_| ReadError::Cancelled)?
    }

    /// The bytes of a group, after they were hashed; [`ReadError::Damaged`] when they rotted. May be cancelled.
    pub async fn verify_group(&self, index: u32) -> Result<Bytes, ReadError> {
        let reader = self.clone();
        spawn_blocking(move || reader.verify_here(index)).await.map_err(|_| ReadError::Cancelled)?
    }

    /// All bytes of a blob of at most 1 MiB, verified. Blocks: for whoever reads many at once.
    pub fn read_whole(&self) -> Result<Bytes, ReadError> {
        if self.info.size > GROUP_BYTES as u64 {
            return Err(ReadError::OutOfRange { offset: 0, bytes: self.info.size, size: self.info.size });
        }
        self.read_here(0, self.info.size as usize)
    }

    /// The chaining values; empty for a blob of one group. Blocks.
    pub(super) fn values(&self) -> Result<Vec<ChainingValue>, ReadError> {
        match &self.source {
            Source::File { file, path, .. } if self.group_count() > 1 => {
                let values = large::read_table(file.as_ref(), &self.digest, self.info.size);
                let offset = DATA_OFFSET + self.info.size;
                values.map_err(ReadError::io(path))?.ok_or(ReadError::Damaged { path: path.clone(), offset })
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Some bytes. Blocks.
    pub(super) fn read_here(&self, offset: u64, bytes: usize) -> Result<Bytes, ReadError> {
        match &self.source {
            Source::Memory(all) => Ok(all.slice(offset as usize..offset as usize + bytes)),
            Source::File { offset: start, path, .. } => {
                let mut buffer = vec![0; bytes];
                self.fill(offset, &mut buffer)?;
                if bytes as u64 == self.info.size && Digest::of(&buffer) != self.digest {
                    return Err(ReadError::Damaged { path: path.clone(), offset: *start });
                }
                Ok(buffer.into())
            }
        }
    }

    fn fill(&self, offset: u64, into: &mut [u8]) -> Result<(), ReadError> {
        match &self.source {
            Source::Memory(all) => into.copy_from_slice(&all[offset as usize..offset as usize + into.len()]),
            Source::File { file, offset: start, path } => {
                file.read_at(into, start + offset).map_err(ReadError::io(path))?;
            }
        }
        Ok(())
    }

    fn verify_here(&self, index: u32) -> Result<Bytes, ReadError> {
        let offset = u64::from(index) * GROUP_BYTES as u64;
        if index >= self.group_count() {
            return Err(ReadError::OutOfRange { offset, bytes: 0, size: self.info.size });
        }
        let group = self.read_here(offset, groups::length(index, self.info.size))?;
        if groups::matches(&self.digest, &self.values()?, index, &group) {
            return Ok(group);
        }
        Err(match &self.source {
            Source::Memory(_) => ReadError::Damaged { path: PathBuf::from("index"), offset: 0 },
            Source::File { offset: start, path, .. } => {
                ReadError::Damaged { path: path.clone(), offset: start + offset }
            }
        })
    }
}
