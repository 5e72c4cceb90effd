//! One pass over an upload: hash it four ways while it is written, or three, and MD5 later.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use artimesh_core::model::Digest;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::account::{Account, Part as Waited};
use super::batch::Priority;
use super::duplicate;
use super::error::CommitError;
use super::files::is_full;
use super::groups::{self, GROUP_BYTES};
use super::lane::{Broken, Lane};
use super::large::{self, DATA_OFFSET, Header, Part, State, claimed, confirmed};
use super::shared::Shared;
use super::staged::{Body, Staged};
use super::sums::{self, Md5Turn, QuickLane, SlowLane};

/// Pieces smaller than this are copied together, so that many tiny frames stay cheap.
const TINY_BYTES: usize = 4096;
/// Blobs up to this are hashed where they are finished; it takes less than handing them over.
const HASH_HERE_BYTES: u64 = 16 << 10;

/// So much is written before it is made durable while the upload goes on, so that little is left to do at its end.
const SYNC_BYTES: u64 = 32 << 20;

/// Groups of all uploads that are hashed and written at once: memory and threads, whoever uploads. Each has two jobs; it is
/// more than the cores can do, and nobody holds a place while a client is awaited.
pub fn groups_at_work_max() -> usize {
    const FOR_EACH_CORE: usize = 4;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (cores * FOR_EACH_CORE).clamp(8, 64)
}

/// An upload in progress. Dropping it leaves nothing behind.
///
/// Up to 1 MiB stays in memory; what is longer goes to a file of its own, group by group: groups are hashed in two
/// lanes and written while the next arrives, so that at most about 4 MiB are held, and what was written is synced
/// meanwhile. No thread waits for the client.
pub struct Ingest {
    shared: Arc<Shared>,
    account: Account,
    md5: Md5Turn,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    total_bytes: u64,
    spill: Option<Spill>,
    /// A group went only part of its way: nothing that comes later makes this whole.
    is_lost: bool,
}

struct Spill {
    part: Arc<Part>,
    slow: Lane<SlowLane>,
    /// Writes, too: together they take less than the slow one, and fewer threads leave that one more of the cores.
    quick: Lane<QuickLane>,
    sync: Lane<()>,
    written_bytes: u64,
    /// Of which the sync lane was told.
    synced_bytes: u64,
    /// The first write or sync that failed.
    failed: Arc<OnceLock<CommitError>>,
}

/// One group on its way through the lanes, and its place among those at work.
struct Group {
    pieces: Vec<Bytes>,
    _place: OwnedSemaphorePermit,
}

/// So many groups of an upload are at work or wait in each lane: while the slow lane has one, the next is brought.
const GROUPS_IN_LANE: u32 = 2;

impl Spill {
    fn check(&self) -> Result<(), CommitError> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Has what was written synced when it is much. A sync that is slower than the upload makes the upload wait: else
    /// all of it would be left to the end, or fill the memory that the kernel has for it.
    async fn sync_meanwhile(&mut self, shared: &Arc<Shared>, account: &Account) -> Result<(), CommitError> {
        let bytes = self.written_bytes - self.synced_bytes;
        if bytes < SYNC_BYTES {
            return Ok(());
        }
        self.synced_bytes = self.written_bytes;
        let (shared, part, failed) = (shared.clone(), self.part.clone(), self.failed.clone());
        let sync = move |(): &mut ()| {
            if let Err(error) = part.sync_early() {
                let _ = failed.set(large_failed(&shared, &error, bytes));
            }
        };
        account.during(Waited::Sync, self.sync.send(sync)).await?;
        Ok(())
    }
}

impl Ingest {
    pub(super) fn new(shared: Arc<Shared>) -> Ingest {
        let (account, md5) = (Account::default(), Md5Turn::Inline);
        Ingest {
            shared,
            account,
            md5,
            pending: Vec::new(),
            pending_bytes: 0,
            total_bytes: 0,
            spill: None,
            is_lost: false,
        }
    }

    /// The same, and what it makes its request wait for is noted there.
    pub fn noting(self, account: Account) -> Ingest {
        Ingest { account, ..self }
    }

    /// The same, with its MD5 computed then.
    pub fn with_md5(self, md5: Md5Turn) -> Ingest {
        Ingest { md5, ..self }
    }

    /// Takes the next bytes; waits while the ones before are hashed and written. A dropped call loses the upload.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), CommitError> {
        let mut rest = bytes;
        self.total_bytes += rest.len() as u64;
        while !rest.is_empty() {
            if self.pending_bytes == GROUP_BYTES {
                self.dispatch().await?;
            }
            let piece = rest.split_to(rest.len().min(GROUP_BYTES - self.pending_bytes));
            self.pending_bytes += piece.len();
            self.hold(piece);
        }
        Ok(())
    }

    /// How many bytes were taken.
    pub fn size(&self) -> u64 {
        self.total_bytes
    }

    /// Ends the upload: the blob is whole, durable if it is large, and waits to be committed. If the store has it already,
    /// and that copy wasn't verified lately, it is verified now; these bytes replace one that rotted.
    pub async fn finish(mut self) -> Result<Staged, CommitError> {
        if self.spill.is_some() || self.is_lost {
            self.dispatch().await?;
        }
        let (shared, account) = (self.shared.clone(), self.account.clone());
        let staged = match self.spill.take() {
            None => self.finish_small().await,
            Some(spill) => self.finish_large(spill).await,
        }?;
        let replaces = duplicate::find_rotten(&shared, &staged.digest, &account).await?;
        Ok(Staged { replaces, ..staged })
    }

    fn hold(&mut self, piece: Bytes) {
        match self.pending.last_mut() {
            Some(last) if piece.len() < TINY_BYTES && last.len() < 16 * TINY_BYTES => {
                let mut joined =
                    std::mem::take(last).try_into_mut().unwrap_or_else(|shared| bytes::BytesMut::from(shared.as_ref()));
                joined.extend_from_slice(&piece);
                *last = joined.freeze();
            }
            _ => self.pending.push(piece),
        }
    }

    async fn dispatch(&mut self) -> Result<(), CommitError> {
        if std::mem::replace(&mut self.is_lost, true) {
            return Err(CommitError::Closed);
        }
        if self.spill.is_none() {
            self.spill = Some(self.open_spill().await?);
        }
        let account = &self.account;
        let place = self.shared.groups_at_work.clone().acquire_owned();
        let place = account.during(Waited::Queue, place).await.map_err(|_| CommitError::Closed)?;
        self.shared.demand.used();
        let group = Arc::new(Group { pieces: std::mem::take(&mut self.pending), _place: place });
        let group_bytes = std::mem::take(&mut self.pending_bytes) as u64;
        let Some(spill) = self.spill.as_mut() else { return Err(CommitError::Closed) };
        spill.check()?;
        let taken = group.clone();
        account.during(Waited::Hash, spill.slow.send(move |lane| lane.update(&taken.pieces))).await?;
        let (shared, part, at) = (self.shared.clone(), spill.part.clone(), DATA_OFFSET + spill.written_bytes);
        let failed = spill.failed.clone();
        let write_and_update = move |lane: &mut QuickLane| {
            let room = shared.check_room(group_bytes, Priority::Normal);
            let written = room.and_then(|()| {
                write_group(&part, &group.pieces, at).map_err(|error| large_failed(&shared, &error, group_bytes))
            });
            if let Err(error) = written {
                let _ = failed.set(error);
            }
            lane.update(&group.pieces);
        };
        account.during(Waited::Disk, spill.quick.send(write_and_update)).await?;
        spill.written_bytes += group_bytes;
        spill.sync_meanwhile(&self.shared, account).await?;
        self.is_lost = false;
        Ok(())
    }

    async fn open_spill(&self) -> Result<Spill, CommitError> {
        self.shared.check()?;
        let shared = self.shared.clone();
        let header = Header { state: State::Streaming, digest: Digest::ZERO, size_bytes: 0 };
        let created = spawn_blocking(move || Part::create(&shared, &header)).await.map_err(|_| CommitError::Closed)?;
        let part = Arc::new(created.map_err(|error| large_failed(&self.shared, &error, self.total_bytes))?);
        let (quick, slow) = sums::lanes(self.md5);
        let (quick, slow) = (Lane::new(quick, GROUPS_IN_LANE), Lane::new(slow, GROUPS_IN_LANE));
        let (sync, failed) = (Lane::new((), 1), Arc::default());
        Ok(Spill { part, slow, quick, sync, written_bytes: 0, synced_bytes: 0, failed })
    }

    async fn finish_small(self) -> Result<Staged, CommitError> {
        let Ingest { pending, total_bytes, account, .. } = self;
        let hash = move || (sums::of_small(&pending), pending);
        let ((digest, checksums), pieces) = if total_bytes <= HASH_HERE_BYTES {
            account.time(Waited::Hash, hash)
        } else {
            account.during(Waited::Hash, spawn_blocking(hash)).await.map_err(|_| CommitError::Closed)?
        };
        let (meta, body) = (confirmed(checksums), Body::Memory(pieces));
        Ok(Staged { digest, size_bytes: total_bytes, meta, body, replaces: None })
    }

    async fn finish_large(self, spill: Spill) -> Result<Staged, CommitError> {
        let (size_bytes, account) = (self.total_bytes, self.account);
        let slow = account.during(Waited::Hash, spill.slow.finish()).await?;
        let quick = account.during(Waited::Disk, spill.quick.finish()).await?;
        account.during(Waited::Sync, spill.sync.finish()).await?;
        spill.failed.get().map_or(Ok(()), |error| Err(error.clone()))?;
        let (checksums, values) = sums::finish(quick, slow);
        let digest = groups::root(&values).expect("what was spilled has more than one group");
        let meta = match self.md5 {
            Md5Turn::Inline => confirmed(checksums),
            Md5Turn::Deferred => claimed(checksums),
        };
        let part = spill.part;
        let seal = move || {
            let sealed = part.seal(&digest, size_bytes, &values, &meta);
            sealed.map(|()| part)
        };
        let sealed = account.during(Waited::Sync, spawn_blocking(seal)).await.map_err(|_| CommitError::Closed)?;
        let part = sealed.map_err(|error| large_failed(&self.shared, &error, size_bytes))?;
        Ok(Staged { digest, size_bytes, meta, body: Body::Large(part), replaces: None })
    }
}

impl From<Broken> for CommitError {
    fn from(_: Broken) -> CommitError {
        CommitError::Closed
    }
}

fn write_group(part: &Part, pieces: &[Bytes], at: u64) -> io::Result<()> {
    let mut at = at;
    for piece in pieces {
        part.file.write_at(piece, at)?;
        part.count(piece.len() as u64);
        at += piece.len() as u64;
    }
    Ok(())
}

/// A write that failed before anything was synced: the upload is lost, the store goes on.
pub(super) fn write_failed(error: &io::Error, needed_bytes: u64) -> CommitError {
    if is_full(error) {
        CommitError::NoSpace { needed_bytes, free_bytes: 0 }
    } else {
        CommitError::Failed { reason: format!("writing a large file: {error}") }
    }
}

/// A large file couldn't be sealed: unless the disk is full, an fsync may have failed, and the store with it.
pub(super) fn large_failed(shared: &Shared, error: &io::Error, needed_bytes: u64) -> CommitError {
    let failed = write_failed(error, needed_bytes);
    if let CommitError::Failed { reason } = &failed {
        shared.fail(reason.clone());
    }
    failed
}

/// What a large blob takes on the disk.
pub(super) fn file_bytes(size_bytes: u64) -> u64 {
    large::DATA_OFFSET + size_bytes + u64::from(groups::count(size_bytes)) * 32
}
