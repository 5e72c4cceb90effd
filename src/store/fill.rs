//! A blob that arrives group by group, in any order, from several peers, while others already read it.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use artimesh_core::model::{Assurance, Checksums, Digest};
use bytes::Bytes;
use tokio::sync::{Notify, OnceCell};
use tokio::task::spawn_blocking;

use super::batch::Priority;
use super::error::{BadGroups, CommitError, FillError, ReadError};
use super::fill_map::FillMap;
use super::groups::{self, ChainingValue, GROUP_BYTES};
use super::ingest::{file_bytes, large_failed};
use super::large::{self, DATA_OFFSET, Header, Part, State};
use super::pack::record::Meta;
use super::shared::Shared;
use super::staged::{Body, Staged};

/// Blobs from this size on are written past the operating system's cache while nobody reads them: to fill that with what
/// may not be read for days costs more than the transfer, and drives out what is.
const PAST_CACHE_BYTES_MIN: u64 = 64 << 20;

/// A blob that is being filled; clones are the same fill. When all of them are dropped unfinished, what has arrived of
/// a large blob stays, and the next [`Store::fill`](super::Store::fill) goes on with it.
#[derive(Clone)]
pub struct Fill(pub(super) Arc<FillState>);

/// What all clones of a fill share.
pub struct FillState {
    shared: Arc<Shared>,
    digest: Digest,
    size_bytes: u64,
    claimed: Checksums,
    groups: u32,
    at_rest: Option<u64>,
    prepared: OnceCell<()>,
    progress: Mutex<Progress>,
    changed: Notify,
    /// Somebody reads what arrives.
    is_read: AtomicBool,
}

#[derive(Default)]
struct Progress {
    values: Option<Arc<Vec<ChainingValue>>>,
    has: Vec<bool>,
    missing: u32,
    large: Option<Arc<LargeFill>>,
    small: Option<Bytes>,
    failed: Option<String>,
    is_finished: bool,
}

struct LargeFill {
    part: Arc<Part>,
    map: FillMap,
    /// Whose turn it is to write.
    turn: Mutex<()>,
}

impl FillState {
    pub(super) fn new(
        shared: Arc<Shared>,
        digest: Digest,
        size_bytes: u64,
        claimed: Checksums,
        at_rest: Option<u64>,
    ) -> FillState {
        let groups = groups::count(size_bytes);
        let progress = Progress { has: vec![false; groups as usize], missing: groups, ..Progress::default() };
        FillState {
            shared,
            digest,
            size_bytes,
            claimed,
            groups,
            at_rest,
            prepared: OnceCell::new(),
            progress: Mutex::new(progress),
            changed: Notify::new(),
            is_read: AtomicBool::new(false),
        }
    }

    /// Whether others may join it.
    pub fn is_open(&self) -> bool {
        let progress = self.progress();
        progress.failed.is_none() && !progress.is_finished
    }

    /// Whether all of it was here and somebody seals it, or has.
    pub fn is_finished(&self) -> bool {
        self.progress().is_finished
    }

    fn is_small(&self) -> bool {
        self.groups == 1
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &io::Error) -> CommitError {
        large_failed(&self.shared, error, self.size_bytes)
    }

    /// Makes the file, or verifies what an earlier fill left in it. Blocks.
    fn prepare(&self) -> Result<(), CommitError> {
        self.shared.check()?;
        if let Some(number) = self.at_rest {
            match self.resume(number) {
                Ok(Some(())) => return Ok(()),
                Ok(None) => tracing::debug!(digest = %self.digest, "an earlier fill got nowhere; starting anew"),
                Err(error) => {
                    tracing::warn!(digest = %self.digest, %error, "an earlier fill is unreadable; starting anew");
                }
            }
            let paths = Part::paths(&self.shared, number);
            self.shared.abandon(number, paths, self.size_bytes);
        }
        self.shared.check_room(file_bytes(self.size_bytes), Priority::Normal)?;
        let large = self.create().map_err(|error| self.failed(&error))?;
        large.part.keep();
        large.part.count(self.size_bytes);
        self.shared.rest_fill(self.digest, large.part.number, self.size_bytes);
        self.progress().large = Some(Arc::new(large));
        Ok(())
    }

    fn create(&self) -> io::Result<LargeFill> {
        let header = Header { state: State::Filling, digest: self.digest, size_bytes: self.size_bytes };
        let part = Part::create(&self.shared, &header)?;
        part.file.allocate(0, file_bytes(self.size_bytes) + DATA_OFFSET)?;
        let map = large::path(&self.shared.large_folder(), part.number, "map");
        let map = FillMap::create(self.shared.files.as_ref(), &map, self.digest)?;
        Ok(LargeFill { part: Arc::new(part), map, turn: Mutex::default() })
    }

    /// Takes over a file that has the right header and table; every group that its map lists is hashed again.
    fn resume(&self, number: u64) -> io::Result<Option<()>> {
        let folder = self.shared.large_folder();
        let file = self.shared.files.open(&large::path(&folder, number, "part"))?;
        let expected = Header { state: State::Filling, digest: self.digest, size_bytes: self.size_bytes };
        if Header::read(file.as_ref()) != Some(expected) {
            return Ok(None);
        }
        let Some(values) = large::read_table(file.as_ref(), &self.digest, self.size_bytes)? else { return Ok(None) };
        let files = self.shared.files.as_ref();
        let (map, listed) = FillMap::open(files, &large::path(&folder, number, "map"), self.digest)?;
        let mut has = vec![false; self.groups as usize];
        for index in listed.into_iter().filter(|index| *index < self.groups) {
            let mut bytes = vec![0; groups::length(index, self.size_bytes)];
            let read = file.read_at(&mut bytes, DATA_OFFSET + u64::from(index) * GROUP_BYTES as u64);
            has[index as usize] = read.is_ok() && groups::matches(&self.digest, &values, index, &bytes);
        }
        let part = Part::adopt(&self.shared, number, file, self.size_bytes);
        part.keep();
        let mut progress = self.progress();
        progress.missing = has.iter().filter(|has| !**has).count() as u32;
        progress.has = has;
        progress.values = Some(Arc::new(values));
        progress.large = Some(Arc::new(LargeFill { part: Arc::new(part), map, turn: Mutex::default() }));
        Ok(Some(()))
    }
}

impl Fill {
    pub(super) async fn prepare(&self) -> Result<(), CommitError> {
        if self.0.is_small() {
            return self.0.shared.check();
        }
        let prepare = || async {
            let state = self.0.clone();
            spawn_blocking(move || state.prepare()).await.map_err(|_| CommitError::Closed)?
        };
        self.0.prepared.get_or_try_init(prepare).await.copied()
    }

    /// The blob's address.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The blob's size in bytes.
    pub fn size(&self) -> u64 {
        self.0.size_bytes
    }

    /// How many groups the blob has.
    pub fn group_count(&self) -> u32 {
        self.0.groups
    }

    /// Sets the chaining values, which must merge to the digest; a blob of one group needs none.
    pub async fn set_groups(&self, values: Vec<ChainingValue>) -> Result<(), BadGroups> {
        if self.has_groups() {
            return Ok(());
        }
        let state = &self.0;
        if values.len() != state.groups as usize || groups::root(&values) != Some(state.digest) {
            return Err(BadGroups::Mismatch { digest: state.digest, offered: values.len() });
        }
        let Some(large) = state.progress().large.clone() else { return Err(CommitError::Closed.into()) };
        let table = large::encode_table(&values);
        let at = DATA_OFFSET + state.size_bytes;
        let written = spawn_blocking(move || large.part.file.write_at(&table, at)).await;
        written.map_err(|_| CommitError::Closed)?.map_err(|error| state.failed(&error))?;
        state.progress().values = Some(Arc::new(values));
        state.changed.notify_waiters();
        Ok(())
    }

    /// Whether groups can be verified, and so written.
    pub fn has_groups(&self) -> bool {
        self.0.is_small() || self.0.progress().values.is_some()
    }

    /// The chaining values, once they are known; empty for a blob of one group.
    pub fn groups(&self) -> Option<Arc<Vec<ChainingValue>>> {
        if self.0.is_small() { Some(Arc::default()) } else { self.0.progress().values.clone() }
    }

    /// The groups that aren't here, as ranges in order.
    pub fn missing(&self) -> Vec<Range<u32>> {
        let progress = self.0.progress();
        let mut ranges: Vec<Range<u32>> = Vec::new();
        for (index, _) in progress.has.iter().enumerate().filter(|(_, has)| !**has) {
            let index = index as u32;
            match ranges.last_mut() {
                Some(last) if last.end == index => last.end += 1,
                _ => ranges.push(index..index + 1),
            }
        }
        ranges
    }

    /// Whether a group is here.
    pub fn has(&self, index: u32) -> bool {
        self.0.progress().has.get(index as usize).copied().unwrap_or(false)
    }

    /// Verifies a group and keeps it; one that is here already is dropped. May be cancelled: the group then is here
    /// or it isn't.
    pub async fn write_group(&self, index: u32, bytes: Bytes) -> Result<(), FillError> {
        let state = self.0.clone();
        if index >= state.groups || bytes.len() != groups::length(index, state.size_bytes) {
            return Err(FillError::OutOfRange { index, bytes: bytes.len() });
        }
        let (values, large) = {
            let progress = state.progress();
            if let Some(reason) = &progress.failed {
                return Err(FillError::Abandoned { reason: reason.clone() });
            }
            if progress.has[index as usize] {
                return Ok(());
            }
            (progress.values.clone(), progress.large.clone())
        };
        if !state.is_small() && values.is_none() {
            return Err(FillError::NoGroups);
        }
        let values = values.unwrap_or_default();
        spawn_blocking(move || state.keep_group(index, bytes, &values, large.as_deref()))
            .await
            .map_err(|_| CommitError::Closed)?
    }

    /// Waits until a group is here, or the fill has failed. May be cancelled.
    pub async fn wait_group(&self, index: u32) -> Result<(), FillError> {
        if index >= self.0.groups {
            return Err(FillError::OutOfRange { index, bytes: 0 });
        }
        loop {
            let changed = self.0.changed.notified();
            {
                let progress = self.0.progress();
                if progress.has[index as usize] {
                    return Ok(());
                }
                if let Some(reason) = &progress.failed {
                    return Err(FillError::Abandoned { reason: reason.clone() });
                }
            }
            changed.await;
        }
    }

    /// Somebody is about to read what arrives.
    pub fn will_be_read(&self) {
        self.0.is_read.store(true, Ordering::Relaxed);
    }

    /// The bytes of a group that is here.
    pub async fn read_group(&self, index: u32) -> Result<Bytes, FillError> {
        self.will_be_read();
        let state = &self.0;
        let large = {
            let progress = state.progress();
            if !progress.has.get(index as usize).copied().unwrap_or(false) {
                return Err(FillError::Incomplete { missing: progress.missing });
            }
            if let Some(small) = &progress.small {
                return Ok(small.clone());
            }
            progress.large.clone()
        };
        let Some(large) = large else { return Err(FillError::Finished) };
        let bytes = groups::length(index, state.size_bytes);
        let path = large::path(&state.shared.large_folder(), large.part.number, "part");
        let read = spawn_blocking(move || {
            let mut group = vec![0; bytes];
            large.part.file.read_at(&mut group, DATA_OFFSET + u64::from(index) * GROUP_BYTES as u64)?;
            Ok(group)
        });
        let group = read.await.map_err(|_| ReadError::Cancelled)?.map_err(ReadError::io(&path))?;
        Ok(group.into())
    }

    /// Seals a blob whose groups are all here: it is whole and durable, and waits to be committed. Those who read the
    /// fill may go on.
    pub async fn finish(&self) -> Result<Staged, FillError> {
        let state = self.0.clone();
        let (values, large, small) = {
            let mut progress = state.progress();
            if let Some(reason) = &progress.failed {
                return Err(FillError::Abandoned { reason: reason.clone() });
            }
            if progress.missing > 0 {
                return Err(FillError::Incomplete { missing: progress.missing });
            }
            if std::mem::replace(&mut progress.is_finished, true) {
                return Err(FillError::Finished);
            }
            (progress.values.clone().unwrap_or_default(), progress.large.clone(), progress.small.clone())
        };
        let meta = Meta { checksums: state.claimed, assurance: Assurance::Claimed };
        let (digest, size_bytes) = (state.digest, state.size_bytes);
        let body = match (large, small) {
            (_, Some(bytes)) => Body::Memory(vec![bytes]),
            (Some(large), None) => {
                let seal = move || state.seal(&large, &values, &meta).map(|()| large.part.clone());
                Body::Large(spawn_blocking(seal).await.map_err(|_| CommitError::Closed)??)
            }
            (None, None) => return Err(FillError::Incomplete { missing: 1 }),
        };
        Ok(Staged { digest, size_bytes, meta, body, replaces: None })
    }

    /// Gives up for now: wakes whoever waits with this reason. What has arrived stays for the next fill.
    pub fn fail(&self, reason: impl Into<String>) {
        self.0.progress().failed.get_or_insert(reason.into());
        self.0.changed.notify_waiters();
    }
}

impl FillState {
    fn keep_group(
        &self,
        index: u32,
        bytes: Bytes,
        values: &[ChainingValue],
        large: Option<&LargeFill>,
    ) -> Result<(), FillError> {
        if !groups::matches(&self.digest, values, index, &bytes) {
            return Err(FillError::BadGroup { index });
        }
        if let Some(large) = large {
            self.shared.demand.used();
            let at = DATA_OFFSET + u64::from(index) * GROUP_BYTES as u64;
            let written = self.write(large, &bytes, at).and_then(|()| large.map.append(index));
            written.map_err(|error| self.failed(&error))?;
        }
        {
            let mut progress = self.progress();
            if !std::mem::replace(&mut progress.has[index as usize], true) {
                progress.missing -= 1;
            }
            if self.is_small() {
                progress.small = Some(bytes);
            }
        }
        self.changed.notify_waiters();
        Ok(())
    }

    fn write(&self, large: &LargeFill, bytes: &[u8], at: u64) -> io::Result<()> {
        let file = &large.part.file;
        if self.size_bytes >= PAST_CACHE_BYTES_MIN && !self.is_read.load(Ordering::Relaxed) {
            if file.write_past_cache(bytes, at)? {
                self.shared.counts.past_cache_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            return Ok(());
        }
        // One at a time: the kernel has others spin meanwhile.
        let _turn = large.turn.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_at(bytes, at)
    }

    fn seal(&self, large: &LargeFill, values: &[ChainingValue], meta: &Meta) -> Result<(), CommitError> {
        large.part.seal(&self.digest, self.size_bytes, values, meta).map_err(|error| self.failed(&error))?;
        large.part.lend();
        self.shared.end_fill(&self.digest, large.part.number);
        let map = large::path(&self.shared.large_folder(), large.part.number, "map");
        if let Err(error) = self.shared.files.remove(&map) {
            tracing::debug!(path = %map.display(), %error, "a map that is no longer needed stays until the next start");
        }
        Ok(())
    }
}
