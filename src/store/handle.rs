//! The store's handle.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use artimesh_core::model::{Checksums, Digest};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::batch::{Batch, KEY_BYTES_MAX, Priority, RowWrite, Tree, VALUE_BYTES_MAX};
use super::committer::{Committer, Request, Work};
use super::error::{CommitError, OpenError, ReadError};
use super::files::FileSystem;
use super::fill::{Fill, FillState};
use super::find::Finder;
use super::groups::ChainingValue;
use super::index::Row;
use super::indexer;
use super::ingest::Ingest;
use super::latency::Latencies;
use super::options::Options;
use super::pack::record::Meta;
use super::reader::{BlobInfo, BlobReader};
use super::recovery::{self, Recovery};
use super::shared::Shared;
use super::value::{BlobEntry, Table};

/// How many batches may wait for the committer before callers wait.
const QUEUE_BATCHES: usize = 256;

/// An open store; clones are the same store. Dropping the last one ends its threads, as [`Store::close`] does, but
/// blocks meanwhile.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Work>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a store holds and how it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in packs.
    pub pack_bytes: u64,
    /// Bytes in large files, uploads and fills included.
    pub large_bytes: u64,
    /// Bytes that the index takes on the disk.
    pub index_bytes: u64,
    /// Packs.
    pub packs: u64,
    /// Committed blobs.
    pub blobs: u64,
    /// Bytes of rows that wait for the index.
    pub overlay_bytes: u64,
    /// The number of the last commit.
    pub last_commit: u64,
    /// Bytes of large blobs from peers that were written past the operating system's cache since the start.
    pub past_cache_bytes: u64,
    /// Why nothing more is committed.
    pub failed: Option<String>,
}

impl Store {
    /// Opens the store in `folder`, or makes one with the id `fresh_id`. Blocks. That nobody else has it open is the
    /// caller's to see to.
    pub fn open(
        folder: &Path,
        options: Options,
        files: Arc<dyn FileSystem>,
        fresh_id: [u8; 16],
    ) -> Result<(Store, Recovery), OpenError> {
        let mut threads = Vec::new();
        let opened = recovery::open(folder, options, files, fresh_id, |shared| {
            let shared = shared.clone();
            threads.push(spawn_thread("store-indexer", move || indexer::run(&shared)));
        });
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                join(threads);
                return Err(error);
            }
        };
        let (queue, requests) = mpsc::channel(QUEUE_BATCHES);
        let recovery = opened.recovery;
        let committer = Committer::new(opened.shared.clone(), opened.writer, recovery.last_commit, opened.is_sealed);
        threads.push(spawn_thread("store-committer", move || committer.run(requests)));
        let inner = Inner { shared: opened.shared, queue: Mutex::new(Some(queue)), threads: Mutex::new(threads) };
        Ok((Store(Arc::new(inner)), recovery))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// The 128-bit id that was made with the store.
    pub fn store_id(&self) -> [u8; 16] {
        self.0.shared.store_id
    }

    /// The value of a key.
    pub fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let shared = &self.0.shared;
        shared.settled(|| match shared.lookup(tree.into(), key)? {
            Some(value) => Ok(shared.resolve(&value)?.map(Some)),
            None => Ok(Some(None)),
        })
    }

    /// How often rows of a tree have changed since the start. What was read after this was asked for is current as long as
    /// the answer is the same.
    pub fn changes(&self, tree: Tree) -> u64 {
        self.0.shared.overlay.changes(tree.into())
    }

    /// At most `limit` rows from `from` up to but without `to`, in the order of their keys, as of one moment.
    pub fn range(&self, tree: Tree, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, ReadError> {
        let shared = &self.0.shared;
        let resolve = |(key, value): Row| Ok(shared.resolve(&value)?.map(|value| (key, value)));
        shared.settled(|| shared.scan(tree.into(), from, to, limit)?.into_iter().map(resolve).collect())
    }

    /// The last row from `from` up to but without `to`.
    pub fn last(&self, tree: Tree, from: &[u8], to: &[u8]) -> Result<Option<Row>, ReadError> {
        let shared = &self.0.shared;
        shared.settled(|| match shared.last(tree.into(), from, to)? {
            Some((key, value)) => Ok(shared.resolve(&value)?.map(|value| Some((key, value)))),
            None => Ok(Some(None)),
        })
    }

    /// At most `limit` [derived](super::derived) keys from `from` up to but without `to`, in order. Some may be of rows that
    /// have changed since: whoever finds one looks at the row itself.
    pub fn derived(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        self.0.shared.derived(from, to, limit)
    }

    /// Commits a batch: when this returns its rows and blobs are durable and visible, all of them. Returns the number
    /// of the commit, which it may share with others. A dropped call leaves open whether it was committed.
    pub async fn commit(&self, batch: Batch) -> Result<u64, CommitError> {
        batch.rows.iter().try_for_each(check_sizes)?;
        self.send(batch, Vec::new(), Vec::new()).await
    }

    /// Commits sums that were computed here; `settled` are looked at once more, whether they need be listed.
    pub(super) async fn commit_confirmed(
        &self,
        confirmed: Vec<(Digest, Meta)>,
        settled: Vec<Digest>,
    ) -> Result<u64, CommitError> {
        self.send(Batch::default(), confirmed, settled).await
    }

    async fn send(
        &self,
        batch: Batch,
        confirmed: Vec<(Digest, Meta)>,
        settled: Vec<Digest>,
    ) -> Result<u64, CommitError> {
        self.0.shared.check()?;
        let queue = self.queue()?;
        let _waiting = self.0.shared.demand.wait();
        let (reply, answer) = oneshot::channel();
        let request = Request { batch, confirmed, settled, since: Instant::now(), reply };
        queue.send(Work::Commit(request)).await.map_err(|_| CommitError::Closed)?;
        drop(queue);
        answer.await.map_err(|_| CommitError::Closed)?
    }

    /// Where the committer is reached.
    pub(super) fn queue(&self) -> Result<mpsc::Sender<Work>, CommitError> {
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        queue.ok_or(CommitError::Closed)
    }

    /// Whether `bytes` more would be taken now: so that an upload can be refused before its body is sent.
    pub fn check_room(&self, bytes: u64) -> Result<(), CommitError> {
        self.0.shared.check()?;
        self.0.shared.check_room(bytes, Priority::Normal)
    }

    /// Starts an upload.
    pub fn ingest(&self) -> Result<Ingest, CommitError> {
        self.0.shared.check()?;
        Ok(Ingest::new(self.0.shared.clone()))
    }

    /// What is known of a blob, if it is stored.
    pub fn blob(&self, digest: &Digest) -> Result<Option<BlobInfo>, ReadError> {
        Ok(self.0.shared.blob(digest)?.map(|entry| BlobInfo::of(&entry)))
    }

    /// At most `limit` stored blobs from `from` on, in the order of their digests, with their sizes.
    pub fn blobs(&self, from: &Digest, limit: usize) -> Result<Vec<(Digest, u64)>, ReadError> {
        const BEHIND_ALL: [u8; 33] = [u8::MAX; 33];
        let shared = &self.0.shared;
        let rows = shared.scan(Table::Blobs, &from.0, &BEHIND_ALL, limit)?;
        let decode = |(key, value): Row| {
            let digest = Digest(key.as_slice().try_into().ok()?);
            Some((digest, BlobEntry::decode(&value)?.size_bytes()))
        };
        rows.into_iter().map(|row| decode(row).ok_or_else(|| shared.bad_row())).collect()
    }

    /// Has work in the background end soon: compaction and scrubbing stop where they are.
    pub fn end_background(&self) {
        self.0.shared.demand.close();
    }

    /// Waits, for a moment, for whoever waits for the store; `false` when it is about to be closed. For work in the
    /// background, between its pieces. Blocks.
    pub fn step_aside(&self) -> bool {
        self.0.shared.demand.step_aside();
        !self.0.shared.demand.is_closing()
    }

    /// How many bytes of blobs could still be stored: what quota and device leave, apart from the reserve. Asks the device.
    pub fn room_bytes(&self) -> u64 {
        self.0.shared.room_bytes()
    }

    /// The most that blobs could take: the quota, or without one what they take and what is free.
    pub fn capacity_bytes(&self) -> u64 {
        let shared = &self.0.shared;
        shared.options.quota_bytes.unwrap_or_else(|| shared.used_bytes().saturating_add(shared.room_bytes()))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.0.shared.folder
    }

    /// Large blobs of which a part is here, left by fills that ended early or still run, with the bytes that they take.
    pub fn fills_at_rest(&self) -> Vec<(Digest, u64)> {
        self.0.shared.fills_at_rest()
    }

    /// Removes what an unfinished fill left; `false` when there is nothing, or somebody goes on with it.
    pub fn discard_fill(&self, digest: &Digest) -> bool {
        self.0.shared.discard_fill(digest)
    }

    /// Opens a blob for reading, if it is stored.
    pub fn reader(&self, digest: &Digest) -> Result<Option<BlobReader>, ReadError> {
        let shared = &self.0.shared;
        shared.demand.used();
        shared.settled(|| match shared.blob(digest)? {
            Some(entry) => Ok(BlobReader::new(shared, digest, &entry)?.map(Some)),
            None => Ok(Some(None)),
        })
    }

    /// The chaining values of a stored blob, empty for one of up to 1 MiB. Blocks for 32 KiB per GiB.
    pub fn groups(&self, digest: &Digest) -> Result<Option<Vec<ChainingValue>>, ReadError> {
        self.reader(digest)?.map(|reader| reader.values()).transpose()
    }

    /// Starts to fill a blob from others, joins a fill that runs, or goes on with what an earlier one left; what that
    /// left is hashed first. `claimed` are the sums that the blob's author stated.
    pub async fn fill(&self, digest: Digest, size: u64, claimed: Checksums) -> Result<Fill, CommitError> {
        let shared = &self.0.shared;
        shared.check()?;
        let start = |at_rest| Ok(Arc::new(FillState::new(shared.clone(), digest, size, claimed, at_rest)));
        let fill = Fill(shared.fill_of::<CommitError>(&digest, start)?);
        fill.prepare().await?;
        Ok(fill)
    }

    /// Commits what was handed over, brings the index up to date and ends the threads. What comes later gets
    /// [`CommitError::Closed`]; reading goes on. May be called again.
    pub async fn close(&self) {
        let threads = self.0.stop();
        // A cancelled join leaves the threads to end on their own.
        let _ = spawn_blocking(move || join(threads)).await;
    }

    /// Sizes, counts, and whether it has failed.
    pub fn usage(&self) -> Usage {
        let shared = &self.0.shared;
        let counts = &shared.counts;
        Usage {
            pack_bytes: counts.pack_bytes.load(Ordering::Relaxed),
            large_bytes: counts.large_bytes.load(Ordering::Relaxed),
            index_bytes: shared.index.size_bytes() + shared.finder.as_ref().map_or(0, Finder::size_bytes),
            packs: counts.packs.load(Ordering::Relaxed),
            blobs: counts.blobs.load(Ordering::Relaxed),
            overlay_bytes: shared.overlay.bytes() as u64,
            last_commit: counts.last_commit.load(Ordering::Relaxed),
            past_cache_bytes: counts.past_cache_bytes.load(Ordering::Relaxed),
            failed: shared.failure().map(str::to_owned),
        }
    }
}

impl Store {
    /// How long syncs took since the start, by what was made durable.
    pub fn syncs(&self) -> [(&'static str, Latencies); 2] {
        let syncs = &self.0.shared.syncs;
        [("commit", syncs.commit.read()), ("large", syncs.large.read())]
    }
}

impl Inner {
    /// Closes the queue; the threads end when it is empty.
    fn stop(&self) -> Vec<JoinHandle<()>> {
        self.shared.demand.close();
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        join(self.stop());
    }
}

fn check_sizes(row: &RowWrite) -> Result<(), CommitError> {
    let check = |what, bytes, limit_bytes| {
        if bytes > limit_bytes { Err(CommitError::TooLarge { what, bytes, limit_bytes }) } else { Ok(()) }
    };
    check("key", row.key.len(), KEY_BYTES_MAX)?;
    check("value", row.value.as_ref().map_or(0, Vec::len), VALUE_BYTES_MAX)
}

fn spawn_thread(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    Builder::new().name(name.into()).spawn(run).expect("a process that just opened its files can start a thread")
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the store panicked");
        }
    }
}
