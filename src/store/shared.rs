//! What the threads, uploads, fills and readers of one store hold in common.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use artimesh_core::model::Digest;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::backup::Mark;
use super::batch::Priority;
use super::demand::Demand;
use super::error::{CommitError, IndexError, ReadError};
use super::files::{File, FileSystem};
use super::fill::FillState;
use super::find::Finder;
use super::index::{Checkpoint, Index, Row};
use super::index_recovery;
use super::ingest::groups_at_work_max;
use super::large;
use super::latency::Syncs;
use super::options::Options;
use super::overlay::Overlay;
use super::pack;
use super::removal::Removal;
use super::scrub::{Scrubbed, Verified};
use super::stream::Outflow;
use super::value::{BlobEntry, RowValue, Table};

/// How many packs are held open for reading.
const OPEN_PACKS_MAX: usize = 256;

/// The common part.
pub struct Shared {
    /// The store's folder.
    pub folder: PathBuf,
    /// Its 128-bit id.
    pub store_id: [u8; 16],
    /// Limits.
    pub options: Options,
    /// All file calls.
    pub files: Arc<dyn FileSystem>,
    /// The index.
    pub index: Box<dyn Index>,
    /// Derived keys, where any are.
    pub finder: Option<Finder>,
    /// What the index may not have yet.
    pub overlay: Overlay,
    /// Sizes and counts.
    pub counts: Counts,
    /// How long syncs took.
    pub syncs: Syncs,
    /// Places for groups of uploads that are hashed and written.
    pub groups_at_work: Arc<Semaphore>,
    /// The first failure; once set, nothing more is committed.
    failed: OnceLock<String>,
    packs: Mutex<HashMap<u64, Arc<dyn File>>>,
    /// Large files that somebody reads; their numbers are never used again.
    open_large_files: Mutex<HashMap<u64, Weak<dyn File>>>,
    /// What the streams of blobs share.
    pub outflow: Arc<Outflow>,
    large: Mutex<LargeNumbers>,
    fills: Mutex<Fills>,
    /// Large files that are to be removed, and who keeps them.
    pub removal: Removal,
    /// How busy the store is with what somebody waits for.
    pub demand: Demand,
    /// The pack in which the index's checkpoint stands, durably: older ones may be compacted.
    pub indexed_pack: AtomicU64,
    /// Held by the one compaction that runs.
    pub compacting: Mutex<()>,
    /// Held by the one scrub that runs.
    pub scrubbing: Mutex<()>,
    /// When what was verified.
    pub verified: Mutex<Verified>,
    scrubbed: Mutex<Scrubbed>,
    /// Damaged records, by pack and place, whose blobs were written once more.
    mended: Mutex<HashSet<(u64, u64)>>,
    hollow: Mutex<HashSet<u64>>,
    /// Held by whoever appends to a journal.
    pub journalling: Mutex<()>,
    mark: Mutex<Mark>,
}

/// Sizes and counts, for status.
#[derive(Default)]
pub struct Counts {
    /// Bytes in packs.
    pub pack_bytes: AtomicU64,
    /// Bytes in large files.
    pub large_bytes: AtomicU64,
    /// Blobs.
    pub blobs: AtomicU64,
    /// The number of the last commit.
    pub last_commit: AtomicU64,
    /// Packs.
    pub packs: AtomicU64,
    /// Bytes that were written past the operating system's cache since the start.
    pub past_cache_bytes: AtomicU64,
}

#[derive(Default)]
struct LargeNumbers {
    next: u64,
    open: BTreeSet<u64>,
}

#[derive(Default)]
struct Fills {
    active: HashMap<Digest, Weak<FillState>>,
    at_rest: HashMap<Digest, Rest>,
}

/// What an unfinished fill left.
#[derive(Clone, Copy)]
struct Rest {
    /// The number of its file.
    number: u64,
    /// The blob's size, which is what the file takes.
    bytes: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Over an opened index.
    pub fn new(
        folder: &Path,
        store_id: [u8; 16],
        options: Options,
        files: Arc<dyn FileSystem>,
        index: Box<dyn Index>,
        finder: Option<Finder>,
    ) -> Shared {
        Shared {
            folder: folder.to_path_buf(),
            store_id,
            overlay: Overlay::new(options.overlay_bytes),
            outflow: Arc::new(Outflow::new(&options)),
            options,
            files,
            index,
            finder,
            counts: Counts::default(),
            syncs: Syncs::default(),
            groups_at_work: Arc::new(Semaphore::new(groups_at_work_max())),
            failed: OnceLock::new(),
            packs: Mutex::default(),
            open_large_files: Mutex::default(),
            large: Mutex::default(),
            fills: Mutex::default(),
            removal: Removal::default(),
            demand: Demand::default(),
            indexed_pack: AtomicU64::new(0),
            compacting: Mutex::default(),
            scrubbing: Mutex::default(),
            verified: Mutex::default(),
            scrubbed: Mutex::default(),
            mended: Mutex::default(),
            hollow: Mutex::default(),
            journalling: Mutex::default(),
            mark: Mutex::default(),
        }
    }

    /// Where the packs are.
    pub fn packs_folder(&self) -> PathBuf {
        self.folder.join("packs")
    }

    /// Where the large files are.
    pub fn large_folder(&self) -> PathBuf {
        self.folder.join("large")
    }

    /// Notes the first failure.
    pub fn fail(&self, reason: String) {
        if self.failed.set(reason).is_ok() {
            tracing::error!(reason = self.failed.get(), "the store has failed and takes no more writes");
        }
    }

    /// An index that broke takes the store with it: the next open builds it anew.
    pub fn index_failed(&self, error: &IndexError) {
        if error.is_damage {
            index_recovery::distrust(&self.folder, self.files.as_ref());
        }
        self.fail(error.to_string());
    }

    /// The first failure.
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// An error when the store has failed.
    pub fn check(&self) -> Result<(), CommitError> {
        match self.failed.get() {
            Some(reason) => Err(CommitError::Failed { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Whether `needed_bytes` more may be written. Asks the device.
    pub fn check_room(&self, needed_bytes: u64, priority: Priority) -> Result<(), CommitError> {
        if priority == Priority::Vital {
            return Ok(());
        }
        let free_bytes = self.room_bytes();
        if needed_bytes > free_bytes {
            return Err(CommitError::NoSpace { needed_bytes, free_bytes });
        }
        Ok(())
    }

    /// What packs and large files take.
    pub fn used_bytes(&self) -> u64 {
        self.counts.pack_bytes.load(Ordering::Relaxed) + self.counts.large_bytes.load(Ordering::Relaxed)
    }

    /// How much may still be written, by the quota and the device.
    pub fn room_bytes(&self) -> u64 {
        let within_quota = self.options.quota_bytes.map_or(u64::MAX, |quota| quota.saturating_sub(self.used_bytes()));
        let on_device = self.files.free_bytes(&self.folder).unwrap_or(u64::MAX);
        within_quota.min(on_device.saturating_sub(self.options.reserve_bytes))
    }

    /// A pack, open for reading; `None` when its records were repeated elsewhere: then whoever was sent here looked up
    /// before that, and must look up again.
    pub fn pack(&self, number: u64) -> Result<Option<Arc<dyn File>>, ReadError> {
        let mut packs = lock(&self.packs);
        if let Some(file) = packs.get(&number) {
            return Ok(Some(file.clone()));
        }
        if lock(&self.hollow).contains(&number) {
            return Ok(None);
        }
        let path = pack::path(&self.packs_folder(), number);
        let file = self.files.open(&path).map_err(ReadError::io(&path))?;
        if packs.len() >= OPEN_PACKS_MAX {
            let oldest = packs.keys().min().copied();
            oldest.and_then(|oldest| packs.remove(&oldest));
        }
        packs.insert(number, file.clone());
        Ok(Some(file))
    }

    /// Whether a pack was compacted since the start.
    pub fn is_hollow(&self, number: u64) -> bool {
        lock(&self.hollow).contains(&number)
    }

    /// Nobody opens this pack from now on. Who has it open goes on.
    pub fn close_pack(&self, number: u64) {
        let mut packs = lock(&self.packs);
        lock(&self.hollow).insert(number);
        packs.remove(&number);
    }

    /// A committed large file, open for reading: one descriptor and one mapping for all who read it at the same time.
    pub fn large_file(&self, number: u64, path: &Path) -> io::Result<Arc<dyn File>> {
        if let Some(file) = lock(&self.open_large_files).get(&number).and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = self.files.open(path)?;
        let mut open = lock(&self.open_large_files);
        if open.len() >= open.capacity() {
            open.retain(|_, file| file.strong_count() > 0);
        }
        open.insert(number, Arc::downgrade(&file));
        Ok(file)
    }

    /// The encoded index value of a key.
    pub fn lookup(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        if let Some(pending) = self.overlay.rows().get(table, key) {
            return Ok(pending.value.clone());
        }
        let found = self.index.get(table, key).inspect_err(|error| self.index_failed(error))?;
        Ok(found.map(Bytes::from))
    }

    /// What is known of a blob.
    pub fn blob(&self, digest: &Digest) -> Result<Option<BlobEntry>, ReadError> {
        let Some(value) = self.lookup(Table::Blobs, &digest.0)? else { return Ok(None) };
        BlobEntry::decode(&value).map(Some).ok_or_else(|| self.bad_row())
    }

    /// The bytes that an encoded row value stands for; `None` when they have moved since it was looked up.
    pub fn resolve(&self, value: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match RowValue::decode(value).ok_or_else(|| self.bad_row())? {
            RowValue::Inline(value) => Ok(Some(value.to_vec())),
            RowValue::Pointer(extent, crc) => {
                let Some(file) = self.pack(extent.pack)? else { return Ok(None) };
                let path = pack::path(&self.packs_folder(), extent.pack);
                let mut value = vec![0; extent.bytes as usize];
                file.read_at(&mut value, extent.offset).map_err(ReadError::io(&path))?;
                if crc32fast::hash(&value) != crc {
                    return Err(ReadError::Damaged { path, offset: extent.offset });
                }
                Ok(Some(value))
            }
        }
    }

    /// Looks up and resolves, again when what was found has moved meanwhile: that happens once for each compaction that
    /// overtakes the lookup.
    pub fn settled<T>(&self, look: impl Fn() -> Result<Option<T>, ReadError>) -> Result<T, ReadError> {
        const LOOKUPS_MAX: usize = 16;
        for _ in 0..LOOKUPS_MAX {
            if let Some(found) = look()? {
                return Ok(found);
            }
        }
        Err(self.bad_row())
    }

    /// At most `limit` live rows of a range with their encoded values, as of one moment.
    pub fn scan(&self, table: Table, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, ReadError> {
        const CHUNK_ROWS: usize = 512;
        let mut found = Vec::new();
        if from >= to || limit == 0 {
            return Ok(found);
        }
        let rows = self.overlay.rows();
        let mut pending = rows.range(table, from, to).peekable();
        let mut start = from.to_vec();
        loop {
            let chunk_rows = CHUNK_ROWS.min(limit - found.len());
            let chunk =
                self.index.range(table, &start, to, chunk_rows).inspect_err(|error| self.index_failed(error))?;
            let is_last = chunk.len() < chunk_rows;
            if let Some((key, _)) = chunk.last() {
                start = [key.as_slice(), &[0]].concat();
            }
            for (key, value) in chunk {
                while let Some((newer, row)) = pending.next_if(|(newer, _)| newer.as_ref() < key.as_slice()) {
                    found.extend(row.value.as_ref().map(|value| (newer.to_vec(), value.to_vec())));
                }
                match pending.next_if(|(newer, _)| newer.as_ref() == key.as_slice()) {
                    Some((_, row)) => found.extend(row.value.as_ref().map(|value| (key, value.to_vec()))),
                    None => found.push((key, value)),
                }
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
            if is_last {
                break;
            }
        }
        let rest = pending.filter_map(|(key, row)| Some((key.to_vec(), row.value.as_ref()?.to_vec())));
        found.extend(rest.take(limit - found.len()));
        Ok(found)
    }

    /// At most `limit` derived keys of a range.
    pub fn derived(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        let Some(finder) = self.finder.as_ref().filter(|_| from < to) else { return Ok(Vec::new()) };
        // What waits is forgotten only when it is there: so it is asked first.
        let rows = self.overlay.rows();
        let waiting = rows.range(Table::Find, from, to).take(limit);
        let waiting = waiting.map(|(key, row)| (key.to_vec(), row.value.is_some())).collect();
        drop(rows);
        Ok(finder.scan(from, to, limit, waiting).inspect_err(|error| self.index_failed(error))?)
    }

    /// The last live row of a range with its encoded value.
    pub fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, ReadError> {
        if from >= to {
            return Ok(None);
        }
        let rows = self.overlay.rows();
        let newest = rows.range(table, from, to).rev().find_map(|(key, row)| Some((key, row.value.as_ref()?)));
        let mut end = to.to_vec();
        loop {
            let indexed = self.index.last(table, from, &end).inspect_err(|error| self.index_failed(error))?;
            return Ok(match (indexed, newest) {
                // What waits in the overlay is newer than what the index has, deletes too.
                (Some((key, _)), _) if rows.get(table, &key).is_some_and(|row| row.value.is_none()) => {
                    end = key;
                    continue;
                }
                (Some((key, _)), Some((newer, value))) if newer.as_ref() >= key.as_slice() => {
                    Some((newer.to_vec(), value.to_vec()))
                }
                (Some(row), _) => Some(row),
                (None, newest) => newest.map(|(key, value)| (key.to_vec(), value.to_vec())),
            });
        }
    }

    /// The index has a row that makes no sense.
    pub fn bad_row(&self) -> ReadError {
        ReadError::Damaged { path: self.folder.join("index"), offset: 0 }
    }

    /// A number for a new large file; it counts as open until it is committed or removed.
    pub fn open_large(&self) -> u64 {
        let mut large = lock(&self.large);
        let number = large.next;
        large.next += 1;
        large.open.insert(number);
        number
    }

    /// A file found at open, which waits for its commit as before.
    pub fn reopen_large(&self, number: u64) {
        let mut large = lock(&self.large);
        large.next = large.next.max(number + 1);
        large.open.insert(number);
    }

    /// No new file gets a number below `next`.
    pub fn reserve_large(&self, next: u64) {
        let mut large = lock(&self.large);
        large.next = large.next.max(next);
    }

    /// The commit that refers to the file is durable.
    pub fn close_large(&self, number: u64) {
        lock(&self.large).open.remove(&number);
    }

    /// The next number, and the first below which no file waits for its commit.
    pub fn large_numbers(&self) -> (u64, u64) {
        let large = lock(&self.large);
        (large.next, large.open.first().copied().unwrap_or(large.next))
    }

    /// Changes what is known of the scrub that runs.
    pub fn note_scrub(&self, change: impl FnOnce(&mut Scrubbed)) {
        change(&mut lock(&self.scrubbed));
    }

    /// Notes that a record is mended; `false` when it was before.
    pub fn note_mended(&self, pack: u64, offset: u64) -> bool {
        lock(&self.mended).insert((pack, offset))
    }

    /// What is known of it.
    pub fn scrubbed(&self) -> Scrubbed {
        lock(&self.scrubbed).clone()
    }

    /// What the last commit reached: what a backup covers.
    pub fn mark(&self) -> Mark {
        lock(&self.mark).clone()
    }

    /// Notes what a durable commit has reached. Call it after its files were closed and before the next commit.
    pub fn set_mark(&self, reached: &Checkpoint) {
        let open_files = lock(&self.large).open.clone();
        let Checkpoint { commit, pack, offset, next_file, .. } = *reached;
        *lock(&self.mark) = Mark { commit, pack, offset, next_file, open_files };
    }

    /// The fill of a blob that somebody holds, or the one that `start` makes, given the file it left behind.
    pub fn fill_of<E>(
        &self,
        digest: &Digest,
        start: impl FnOnce(Option<u64>) -> Result<Arc<FillState>, E>,
    ) -> Result<Arc<FillState>, E> {
        let mut fills = lock(&self.fills);
        let active = fills.active.get(digest).and_then(Weak::upgrade);
        if let Some(active) = active.as_ref().filter(|fill| fill.is_open()) {
            return Ok(active.clone());
        }
        // The file of one that is complete becomes that of the blob any moment now: it is nothing to go on with.
        let is_free = active.is_none_or(|fill| !fill.is_finished());
        let started = start(fills.at_rest.get(digest).filter(|_| is_free).map(|rest| rest.number))?;
        fills.active.retain(|_, fill| fill.strong_count() > 0);
        fills.active.insert(*digest, Arc::downgrade(&started));
        Ok(started)
    }

    /// A partly filled file can be resumed.
    pub fn rest_fill(&self, digest: Digest, number: u64, bytes: u64) {
        lock(&self.fills).at_rest.insert(digest, Rest { number, bytes });
    }

    /// The blobs of which a part is here, with what their files take.
    pub fn fills_at_rest(&self) -> Vec<(Digest, u64)> {
        lock(&self.fills).at_rest.iter().map(|(digest, rest)| (*digest, rest.bytes)).collect()
    }

    /// Has what an unfinished fill left removed; `false` when there is nothing, or somebody fills or reads it.
    pub fn discard_fill(&self, digest: &Digest) -> bool {
        let rest = {
            let mut fills = lock(&self.fills);
            if fills.active.get(digest).is_some_and(|fill| fill.strong_count() > 0) {
                return false;
            }
            fills.at_rest.remove(digest)
        };
        let Some(Rest { number, bytes }) = rest else { return false };
        let folder = self.large_folder();
        let paths = ["part", "map"].map(|extension| large::path(&folder, number, extension));
        self.abandon(number, paths.to_vec(), bytes);
        true
    }

    /// A file that was being filled is sealed or gone.
    pub fn end_fill(&self, digest: &Digest, number: u64) {
        let mut fills = lock(&self.fills);
        if fills.at_rest.get(digest).is_some_and(|rest| rest.number == number) {
            fills.at_rest.remove(digest);
        }
    }
}

#[cfg(test)]
impl Shared {
    /// Whether no thread of the store has anything left to do, so that what happens next is the caller's doing alone.
    pub fn is_idle(&self) -> bool {
        let open = lock(&self.large).open.len();
        let reached = self.index.checkpoint().ok().flatten().map_or(0, |checkpoint| checkpoint.commit);
        self.overlay.bytes() == 0
            && open == lock(&self.fills).at_rest.len()
            && reached == self.counts.last_commit.load(Ordering::Relaxed)
    }
}
