//! One pass over an upload: hash it four ways while it is written, or three, and MD5 later.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use artimesh_core::model::Digest;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinHandle, spawn_blocking};

use super::account::{Account, Part as Waited};
use super::batch::Priority;
use super::duplicate;
use super::error::CommitError;
use super::files::is_full;
use super::groups::{self, GROUP_BYTES};
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

/// Groups of all uploads that are hashed and written at once: memory and threads, whoever uploads. Each has three jobs; it is
/// more than the cores can do, and nobody holds a place while a client is awaited.
pub fn groups_at_work_max() -> usize {
    const FOR_EACH_CORE: usize = 4;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (cores * FOR_EACH_CORE).clamp(8, 64)
}

/// An upload in progress. Dropping it leaves nothing behind.
///
/// Up to 1 MiB stays in memory; what is longer goes to a file of its own, group by group: one group is hashed in two
/// lanes and written while the next arrives, so that at most about 3 MiB are held, and what was written is synced
/// meanwhile. No thread waits for the client.
pub struct Ingest {
    shared: Arc<Shared>,
    account: Account,
    md5: Md5Turn,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    total_bytes: u64,
    spill: Option<Spill>,
}

struct Spill {
    part: Arc<Part>,
    quick: Lane<QuickLane>,
    slow: Lane<SlowLane>,
    write: Lane<Result<(), CommitError>>,
    sync: Lane<Result<(), CommitError>>,
    written_bytes: u64,
    /// Of which the sync lane was told.
    synced_bytes: u64,
}

/// One group on its way through the lanes, and its place among those at work.
struct Group {
    pieces: Vec<Bytes>,
    _place: OwnedSemaphorePermit,
}

/// State that one blocking job at a time works on; `None` only inside of [`Lane::run`].
enum Lane<S> {
    Idle(Option<S>),
    Busy(JoinHandle<S>),
}

impl<S: Send + 'static> Lane<S> {
    fn new(state: S) -> Self {
        Lane::Idle(Some(state))
    }

    async fn take(&mut self) -> Result<S, CommitError> {
        match std::mem::replace(self, Lane::Idle(None)) {
            Lane::Idle(state) => state.ok_or(CommitError::Closed),
            Lane::Busy(job) => job.await.map_err(|_| CommitError::Closed),
        }
    }

    async fn run(&mut self, job: impl FnOnce(S) -> S + Send + 'static) -> Result<(), CommitError> {
        let state = self.take().await?;
        *self = Lane::Busy(spawn_blocking(move || job(state)));
        Ok(())
    }
}

impl Spill {
    /// Has what was written synced when it is much. A sync that is slower than the upload makes the upload wait: else
    /// all of it would be left to the end, or fill the memory that the kernel has for it.
    async fn sync_meanwhile(&mut self, shared: &Arc<Shared>, account: &Account) -> Result<(), CommitError> {
        let bytes = self.written_bytes - self.synced_bytes;
        if bytes < SYNC_BYTES {
            return Ok(());
        }
        account.during(Waited::Sync, self.sync.take()).await??;
        self.synced_bytes = self.written_bytes;
        let (shared, part) = (shared.clone(), self.part.clone());
        let sync = move || part.sync_early().map_err(|error| large_failed(&shared, &error, bytes));
        self.sync = Lane::Busy(spawn_blocking(sync));
        Ok(())
    }
}

impl Ingest {
    pub(super) fn new(shared: Arc<Shared>) -> Ingest {
        let (account, md5) = (Account::default(), Md5Turn::Inline);
        Ingest { shared, account, md5, pending: Vec::new(), pending_bytes: 0, total_bytes: 0, spill: None }
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
        if self.spill.is_some() {
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
        let taken = group.clone();
        let update_slow = move |mut lane: SlowLane| {
            lane.update(&taken.pieces);
            lane
        };
        account.during(Waited::Hash, spill.slow.run(update_slow)).await?;
        let taken = group.clone();
        let update_quick = move |mut lane: QuickLane| {
            lane.update(&taken.pieces);
            lane
        };
        account.during(Waited::Hash, spill.quick.run(update_quick)).await?;
        account.during(Waited::Disk, spill.write.take()).await??;
        spill.sync_meanwhile(&self.shared, account).await?;
        let (shared, part, at) = (self.shared.clone(), spill.part.clone(), DATA_OFFSET + spill.written_bytes);
        spill.written_bytes += group_bytes;
        let write = move || {
            shared.check_room(group_bytes, Priority::Normal)?;
            write_group(&part, &group.pieces, at).map_err(|error| large_failed(&shared, &error, group_bytes))
        };
        spill.write = Lane::Busy(spawn_blocking(write));
        Ok(())
    }

    async fn open_spill(&self) -> Result<Spill, CommitError> {
        self.shared.check()?;
        let shared = self.shared.clone();
        let header = Header { state: State::Streaming, digest: Digest::ZERO, size_bytes: 0 };
        let created = spawn_blocking(move || Part::create(&shared, &header)).await.map_err(|_| CommitError::Closed)?;
        let part = Arc::new(created.map_err(|error| large_failed(&self.shared, &error, self.total_bytes))?);
        let (quick, slow) = sums::lanes(self.md5);
        let (quick, slow) = (Lane::new(quick), Lane::new(slow));
        let (write, sync) = (Lane::new(Ok(())), Lane::new(Ok(())));
        Ok(Spill { part, quick, slow, write, sync, written_bytes: 0, synced_bytes: 0 })
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

    async fn finish_large(self, mut spill: Spill) -> Result<Staged, CommitError> {
        let (size_bytes, account) = (self.total_bytes, self.account);
        let quick = account.during(Waited::Hash, spill.quick.take()).await?;
        let slow = account.during(Waited::Hash, spill.slow.take()).await?;
        account.during(Waited::Disk, spill.write.take()).await??;
        account.during(Waited::Sync, spill.sync.take()).await??;
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
