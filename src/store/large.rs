//! Large files: a blob of more than 1 MiB owns a file, so that deleting it is an unlink.
//!
//! A header page, the bytes, then the table of chaining values with the checksums behind it. While it is written it
//! is called `.part`; it becomes `.blob` when it is complete and durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use artimesh_core::model::{Assurance, Checksums, Digest};

use super::files::{File, SyncPoint};
use super::groups::{self, ChainingValue};
use super::pack::record::{Input, META_BYTES, Meta};
use super::shared::Shared;

/// Where the bytes start.
pub const DATA_OFFSET: u64 = 4096;
const HEADER_BYTES: usize = 64;
const END_BYTES: usize = 96;
const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"ArtiBlob";

/// What a large file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// An upload of unknown length; worthless after a restart.
    Streaming,
    /// Filled by groups from peers; goes on after a restart.
    Filling,
    /// Complete.
    Sealed,
}

/// The first bytes of a large file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub state: State,
    /// The blob; zero while streaming.
    pub digest: Digest,
    /// The blob's size; 0 while streaming.
    pub size_bytes: u64,
}

impl Header {
    /// Magic, format, state, digest, size, crc.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        let state: u32 = match self.state {
            State::Streaming => 1,
            State::Filling => 2,
            State::Sealed => 3,
        };
        bytes[12..16].copy_from_slice(&state.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.digest.0);
        bytes[48..56].copy_from_slice(&self.size_bytes.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..56]);
        bytes[56..60].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when damaged or of a format that isn't known here.
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        let mut input = Input(bytes.get(..HEADER_BYTES)?);
        let whole = input.0;
        let magic: [u8; 8] = input.array()?;
        let format = input.u32()?;
        let state = match input.u32()? {
            1 => State::Streaming,
            2 => State::Filling,
            3 => State::Sealed,
            _ => return None,
        };
        let header = Header { state, digest: Digest(input.array()?), size_bytes: input.u64()? };
        let is_whole = input.u32()? == crc32fast::hash(&whole[..56]);
        (magic == MAGIC && format == FORMAT && is_whole).then_some(header)
    }

    /// The header of an open file, or `None`.
    pub fn read(file: &dyn File) -> Option<Header> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_at(&mut bytes, 0).ok()?;
        Header::decode(&bytes)
    }
}

/// The table of chaining values, as it stands behind the bytes.
pub fn encode_table(values: &[ChainingValue]) -> Vec<u8> {
    values.concat()
}

/// What stands behind the table: the blob's meta, the number of values, a crc over table and all of this.
pub fn encode_end(table: &[u8], meta: &Meta) -> [u8; END_BYTES] {
    let mut bytes = [0; END_BYTES];
    bytes[..META_BYTES].copy_from_slice(&meta.encode());
    bytes[META_BYTES..84].copy_from_slice(&((table.len() / 32) as u64).to_le_bytes());
    bytes[84..92].copy_from_slice(b"ArtiTail");
    let mut crc = crc32fast::Hasher::new();
    crc.update(table);
    crc.update(&bytes[..92]);
    bytes[92..].copy_from_slice(&crc.finalize().to_le_bytes());
    bytes
}

/// The chaining values of a blob of `size_bytes` out of its file; `None` when they don't merge to the digest.
pub fn read_table(file: &dyn File, digest: &Digest, size_bytes: u64) -> io::Result<Option<Vec<ChainingValue>>> {
    let mut table = vec![0; groups::count(size_bytes) as usize * 32];
    match file.read_at(&mut table, DATA_OFFSET + size_bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let values: Vec<ChainingValue> = table.as_chunks::<32>().0.to_vec();
    Ok((groups::root(&values) == Some(*digest)).then_some(values))
}

/// Where the file with this number lies.
pub fn path(folder: &Path, number: u64, extension: &str) -> PathBuf {
    folder.join(format!("{number:016x}.{extension}"))
}

/// A large file that isn't committed. Dropping it has the file removed, unless it was released.
pub struct Part {
    shared: Arc<Shared>,
    /// The number in its name.
    pub number: u64,
    /// The open file.
    pub file: Arc<dyn File>,
    counted_bytes: AtomicU64,
    is_kept: AtomicBool,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "large file {:016x}", self.number)
    }
}

impl Part {
    /// Makes a new `.part`. Blocks.
    pub fn create(shared: &Arc<Shared>, header: &Header) -> io::Result<Part> {
        let number = shared.open_large();
        let path = path(&shared.large_folder(), number, "part");
        let file = shared.files.create(&path).inspect_err(|_| shared.close_large(number))?;
        let part = Part::adopt(shared, number, file, 0);
        part.file.write_at(&header.encode(), 0)?;
        Ok(part)
    }

    /// Takes over a `.part` that exists, of which `counted_bytes` are counted already.
    pub fn adopt(shared: &Arc<Shared>, number: u64, file: Arc<dyn File>, counted_bytes: u64) -> Part {
        let counted_bytes = AtomicU64::new(counted_bytes);
        Part { shared: shared.clone(), number, file, counted_bytes, is_kept: false.into() }
    }

    /// All names that the files of this number may have.
    pub fn paths(shared: &Shared, number: u64) -> Vec<PathBuf> {
        let folder = shared.large_folder();
        ["part", "blob", "map"].iter().map(|extension| path(&folder, number, extension)).collect()
    }

    /// Counts bytes against the quota.
    pub fn count(&self, bytes: u64) {
        self.counted_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.counts.large_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Completes the file: trailer, header, fdatasync, final name, fsync of the folder. Blocks.
    pub fn seal(&self, digest: &Digest, size_bytes: u64, values: &[ChainingValue], meta: &Meta) -> io::Result<()> {
        let mut trailer = encode_table(values);
        let end = encode_end(&trailer, meta);
        trailer.extend_from_slice(&end);
        let header = Header { state: State::Sealed, digest: *digest, size_bytes };
        self.file.write_at(&trailer, DATA_OFFSET + size_bytes)?;
        self.file.set_size(DATA_OFFSET + size_bytes + trailer.len() as u64)?;
        self.file.write_at(&header.encode(), 0)?;
        let whole_bytes = DATA_OFFSET + size_bytes + trailer.len() as u64;
        self.count(whole_bytes.saturating_sub(self.counted_bytes.load(Ordering::Relaxed)));
        let begun = Instant::now();
        self.file.sync(SyncPoint::LargeFile)?;
        let folder = self.shared.large_folder();
        self.shared.files.rename(&path(&folder, self.number, "part"), &path(&folder, self.number, "blob"))?;
        self.shared.files.sync_folder(&folder, SyncPoint::LargeFolder)?;
        self.shared.syncs.large.note(begun.elapsed());
        Ok(())
    }

    /// Makes durable what was written so far, while more is. Blocks.
    pub fn sync_early(&self) -> io::Result<()> {
        let begun = Instant::now();
        self.file.sync_early()?;
        self.shared.syncs.large.note(begun.elapsed());
        Ok(())
    }

    /// The file stays, whatever happens to this value.
    pub fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// The file goes with this value after all.
    pub fn lend(&self) {
        self.is_kept.store(false, Ordering::Relaxed);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.is_kept.load(Ordering::Relaxed) {
            return;
        }
        let paths = Part::paths(&self.shared, self.number);
        self.shared.abandon(self.number, paths, self.counted_bytes.load(Ordering::Relaxed));
    }
}

/// What the sealed file of a blob takes.
pub fn sealed_bytes(size_bytes: u64) -> u64 {
    DATA_OFFSET + size_bytes + u64::from(groups::count(size_bytes)) * 32 + END_BYTES as u64
}

/// What a blob of `size_bytes` takes on the disk, about: in a file of its own, or as a record in a pack.
pub fn stored_bytes(size_bytes: u64) -> u64 {
    const RECORD_BYTES: u64 = 256;
    if groups::count(size_bytes) > 1 { sealed_bytes(size_bytes) } else { size_bytes + RECORD_BYTES }
}

/// A blob's meta whose sums were computed here.
pub fn confirmed(checksums: Checksums) -> Meta {
    Meta { checksums, assurance: Assurance::Confirmed }
}

/// A blob's meta whose sums are somebody's word, or of which one is still to be computed.
pub fn claimed(checksums: Checksums) -> Meta {
    Meta { checksums, assurance: Assurance::Claimed }
}
