//! A committed blob on its way out: piece by piece, verified lately, and never waiting for the disk on the caller's thread.
//!
//! # Why
//! - A thread that serves many connections must not wait for a disk. So a piece is handed out once its bytes are in the page
//!   cache: a few bytes of it are asked for with a read that may not wait (`RWF_NOWAIT`), and when one of them isn't there
//!   a blocking thread reads the piece first. That is also where a sector that can't be read becomes an error.
//! - A stream that was cold once is read ahead from then on, a few MiB and no more: else the disk would idle while the
//!   network works, and the other way round.
//! - A group that wasn't verified lately is hashed by the thread that reads it: see [`super::verified`].
//! - What is mapped is handed out by reference, so that a reader who doesn't read holds an address and no memory.

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use artimesh_core::model::Digest;
use blake3::Hasher;
use blake3::hazmat::HasherExt;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};

use super::account::{Account, Part};
use super::error::ReadError;
use super::groups::{self, ChainingValue, GROUP_BYTES};
use super::options::Options;
use super::reader::{BlobReader, OnDisk};
use super::verified::Verified;

/// The longest piece that is handed out by reference; it ends where a multiple of this does.
const PIECE_BYTES: u64 = 4 << 20;
/// The longest piece that is copied because it can't be mapped.
const COPY_BYTES: u32 = 256 << 10;
/// How much is read ahead at once, for a stream that is cold.
const AHEAD_BYTES: u64 = 2 << 20;
/// One byte in so many is asked for to find out what is in memory: what the kernel reads ahead at least.
const SAMPLE_BYTES: u64 = 128 << 10;
/// What a blocking thread reads at a time.
const SCRATCH_BYTES: usize = 64 << 10;
/// How many threads read for streams at once, whatever their number.
const READERS_MAX: usize = 64;

/// How the pieces of a stream are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// By reference to the mapped file where that is possible: to be sent by the kernel, never to be looked at. See
    /// [`super::mapping`].
    Mapped,
    /// As bytes of their own, in pieces of at most so many, and never more than a group.
    Copied {
        /// In bytes.
        bytes_max: u32,
    },
}

/// What the streams of one store share.
pub(super) struct Outflow {
    verified: Verified,
    readers: Arc<Semaphore>,
}

impl Outflow {
    pub(super) fn new(options: &Options) -> Outflow {
        Outflow { verified: Verified::new(options.verify_max_age), readers: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// As if nothing had been verified yet.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.verified.forget();
    }

    /// A place among those who read.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, ReadError> {
        self.readers.clone().acquire_owned().await.map_err(|_| ReadError::Cancelled)
    }

    /// Whether all of a blob was verified lately.
    pub(super) fn was_verified_lately(&self, reader: &BlobReader) -> bool {
        let digest = reader.digest();
        (0..reader.group_count()).all(|group| self.verified.has(&digest, group))
    }

    /// Verifies what wasn't verified lately of a blob on the disk. Blocks.
    pub(super) fn verify_whole(self: &Arc<Self>, reader: &BlobReader) -> Result<(), ReadError> {
        let blob = Blob { reader: reader.clone(), outflow: self.clone(), values: OnceLock::new() };
        let Some(disk) = blob.reader.on_disk() else { return Ok(()) };
        let (digest, mut prepared) = (blob.reader.digest(), Prepared::default());
        for group in (0..blob.reader.group_count()).filter(|group| !self.verified.has(&digest, *group)) {
            blob.verify(&disk, group, &mut prepared)?;
            self.verified.note(&digest, group);
        }
        Ok(())
    }
}

impl Outflow {
    /// All of a blob, if it can leave as it is.
    pub(super) fn at_hand(&self, reader: &BlobReader) -> Option<Bytes> {
        let range = 0..reader.info().size;
        let Some(disk) = reader.on_disk() else { return Some(reader.in_memory(&range)) };
        let is_ready = self.is_verified(reader, &range) && is_resident(&disk, &range);
        is_ready.then(|| disk.file.map(disk.start, range.end as usize)).flatten()
    }

    /// Whether all groups of a range were verified lately.
    fn is_verified(&self, reader: &BlobReader, range: &Range<u64>) -> bool {
        let digest = reader.digest();
        (group_of(range.start)..=group_of(range.end - 1)).all(|group| self.verified.has(&digest, group))
    }
}

/// A range of a blob, on its way out. Dropping it ends the work behind it.
pub struct BlobStream {
    source: Arc<Blob>,
    carriage: Carriage,
    left: Range<u64>,
    /// What comes before this was found verified and in memory.
    ready: u64,
    /// The disk was waited for, or nothing is known yet: pieces are short.
    is_cold: bool,
    ahead: Option<Ahead>,
    account: Account,
}

/// A read that is under way for a stream.
struct Ahead {
    until: u64,
    task: JoinHandle<Result<Prepared, ReadError>>,
}

/// What it took to make a range ready.
#[derive(Default)]
struct Prepared {
    /// Whether there was anything to do.
    has_worked: bool,
    read: Duration,
    hashed: Duration,
}

impl BlobStream {
    pub(super) fn new(reader: BlobReader, outflow: Arc<Outflow>, range: Range<u64>, carriage: Carriage) -> BlobStream {
        let left = range.start..range.end.min(reader.info().size);
        let source = Arc::new(Blob { reader, outflow, values: OnceLock::new() });
        BlobStream {
            ready: left.start,
            source,
            carriage,
            left,
            is_cold: true,
            ahead: None,
            account: Account::default(),
        }
    }

    /// The same, and what it makes its request wait for is noted there.
    pub fn noting(self, account: Account) -> BlobStream {
        BlobStream { account, ..self }
    }

    /// The next piece; `None` at the end. A dropped call loses nothing but what was read ahead.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        if self.left.is_empty() {
            return None;
        }
        let piece = self.piece().await;
        self.left.start = piece.as_ref().map_or(self.left.end, |bytes| self.left.start + bytes.len() as u64);
        Some(piece)
    }

    async fn piece(&mut self) -> Result<Bytes, ReadError> {
        let source = self.source.clone();
        let Some(disk) = source.reader.on_disk() else { return Ok(source.reader.in_memory(&self.left)) };
        let start = self.left.start;
        if self.carriage == Carriage::Mapped {
            let range = start..self.end_of(if self.is_cold { GROUP_BYTES as u64 } else { PIECE_BYTES });
            if let Some(bytes) = disk.file.map(disk.start + range.start, (range.end - range.start) as usize) {
                self.make_ready(range.end).await?;
                return Ok(bytes);
            }
        }
        let bytes_max = match self.carriage {
            Carriage::Mapped => COPY_BYTES,
            Carriage::Copied { bytes_max } => bytes_max.clamp(1, GROUP_BYTES as u32),
        };
        let end = self.end_of(u64::from(bytes_max));
        self.make_ready(end).await?;
        let mut bytes = vec![0; (end - start) as usize];
        if disk.file.read_resident(&mut bytes, disk.start + start).unwrap_or(false) {
            return Ok(bytes.into());
        }
        let source = self.source.clone();
        let read = move || source.reader.read_here(start, (end - start) as usize);
        self.account.during(Part::Disk, spawn_blocking(read)).await.map_err(|_| ReadError::Cancelled)?
    }

    /// Where a piece ends that starts at what is left: at the next multiple of `unit`, or at the end.
    fn end_of(&self, unit: u64) -> u64 {
        ((self.left.start / unit + 1) * unit).min(self.left.end)
    }

    /// Waits until everything up to `end` is verified and in memory, and sees to what comes next.
    async fn make_ready(&mut self, end: u64) -> Result<(), ReadError> {
        while self.ready < end {
            let ahead = match self.ahead.take() {
                Some(ahead) => ahead,
                None if self.source.is_ready(&(self.ready..end)) => {
                    (self.ready, self.is_cold) = (end, false);
                    break;
                }
                None => {
                    let permit = self.account.during(Part::Queue, self.source.outflow.permit()).await?;
                    self.source.prepare(self.ready..end, permit)
                }
            };
            let start = self.account.start();
            let prepared = ahead.task.await.map_err(|_| ReadError::Cancelled)??;
            self.account.divide(start, [(Part::Disk, prepared.read), (Part::Hash, prepared.hashed)]);
            self.is_cold = prepared.has_worked;
            self.ready = ahead.until;
        }
        let is_wanted = self.is_cold && self.ready < self.left.end && self.ready - end < AHEAD_BYTES;
        if is_wanted && self.ahead.is_none() {
            // Whoever can't read ahead because others do reads when it is time.
            let permit = self.source.outflow.readers.clone().try_acquire_owned().ok();
            let range = self.ready..self.left.end.min(self.ready + AHEAD_BYTES);
            self.ahead = permit.map(|permit| self.source.prepare(range, permit));
        }
        Ok(())
    }
}

/// A blob and what is known of it while it is streamed.
struct Blob {
    reader: BlobReader,
    outflow: Arc<Outflow>,
    values: OnceLock<Vec<ChainingValue>>,
}

impl Blob {
    /// Whether a range may leave as it is: without waiting for the disk.
    fn is_ready(&self, range: &Range<u64>) -> bool {
        let Some(disk) = self.reader.on_disk() else { return true };
        self.outflow.is_verified(&self.reader, range) && is_resident(&disk, range)
    }

    /// Starts to make a range ready.
    fn prepare(self: &Arc<Self>, range: Range<u64>, permit: OwnedSemaphorePermit) -> Ahead {
        let (source, until) = (self.clone(), range.end);
        let work = move || {
            let _permit = permit;
            source.prepare_here(range)
        };
        Ahead { until, task: spawn_blocking(work) }
    }

    /// Verifies what wasn't verified lately, and reads what isn't in memory. Blocks.
    fn prepare_here(&self, range: Range<u64>) -> Result<Prepared, ReadError> {
        let mut prepared = Prepared::default();
        let Some(disk) = self.reader.on_disk() else { return Ok(prepared) };
        let digest = self.reader.digest();
        let mut at = range.start;
        while at < range.end {
            let group = group_of(at);
            let end = range.end.min((u64::from(group) + 1) * GROUP_BYTES as u64);
            if !self.outflow.verified.has(&digest, group) {
                self.verify(&disk, group, &mut prepared)?;
                self.outflow.verified.note(&digest, group);
                prepared.has_worked = true;
            } else if !is_resident(&disk, &(at..end)) {
                read_through(&disk, at..end, &mut prepared, |_| {})?;
                prepared.has_worked = true;
            }
            at = end;
        }
        Ok(prepared)
    }

    fn verify(&self, disk: &OnDisk<'_>, group: u32, prepared: &mut Prepared) -> Result<(), ReadError> {
        let start = u64::from(group) * GROUP_BYTES as u64;
        let range = start..start + groups::length(group, self.reader.info().size) as u64;
        let mut hasher = Hasher::new();
        let holds = match self.values()?.get(group as usize) {
            None => {
                read_through(disk, range, prepared, |bytes| {
                    hasher.update(bytes);
                })?;
                Digest(*hasher.finalize().as_bytes()) == self.reader.digest()
            }
            Some(value) => {
                hasher.set_input_offset(start);
                read_through(disk, range, prepared, |bytes| {
                    hasher.update(bytes);
                })?;
                hasher.finalize_non_root() == *value
            }
        };
        let damaged = || ReadError::Damaged { path: disk.path.to_path_buf(), offset: disk.start + start };
        if holds { Ok(()) } else { Err(damaged()) }
    }

    /// The chaining values, read once for each stream; empty for a blob of one group.
    fn values(&self) -> Result<&Vec<ChainingValue>, ReadError> {
        if let Some(values) = self.values.get() {
            return Ok(values);
        }
        let values = self.reader.values()?;
        Ok(self.values.get_or_init(|| values))
    }
}

fn group_of(at: u64) -> u32 {
    (at / GROUP_BYTES as u64) as u32
}

/// Whether samples of a range of the blob, its last byte among them, can be read without waiting.
fn is_resident(disk: &OnDisk<'_>, range: &Range<u64>) -> bool {
    let mut byte = [0];
    let mut is_there = |at: u64| disk.file.read_resident(&mut byte, disk.start + at).unwrap_or(false);
    range.clone().step_by(SAMPLE_BYTES as usize).all(&mut is_there) && is_there(range.end - 1)
}

/// Shows a range of the blob to `look`, piece by piece.
fn read_through(
    disk: &OnDisk<'_>,
    range: Range<u64>,
    prepared: &mut Prepared,
    mut look: impl FnMut(&[u8]),
) -> Result<(), ReadError> {
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut at = range.start;
    while at < range.end {
        let bytes = &mut scratch[..((range.end - at) as usize).min(SCRATCH_BYTES)];
        let begun = Instant::now();
        disk.file.read_at(bytes, disk.start + at).map_err(ReadError::io(disk.path))?;
        let read = Instant::now();
        look(bytes);
        prepared.read += read - begun;
        prepared.hashed += read.elapsed();
        at += bytes.len() as u64;
    }
    Ok(())
}
