//! Opening: find what the packs hold, cut a torn tail, and bring the index up to it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::error::OpenError;
use super::files::{File, FileSystem, SyncPoint};
use super::found::Found;
use super::index::Checkpoint;
use super::index_recovery::Ready;
use super::options::Options;
use super::overlay;
use super::pack::footer::Footer;
use super::pack::reader::Committed;
use super::pack::record::{COMMIT_BYTES, Entry};
use super::pack::writer::Writer;
use super::pack::{PACK_HEADER_BYTES, PackHeader};
use super::replay::{Replay, Sink};
use super::shared::Shared;
use super::{index_recovery, rebuild, tidy};

/// What an open did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The store is new: its id was made now.
    pub is_created: bool,
    /// How the index came to what the packs say.
    pub index: IndexRecovery,
    /// Records that were read out of packs.
    pub records_read: u64,
    /// The last commit.
    pub last_commit: u64,
    /// Bytes of a torn tail that were cut off.
    pub truncated_bytes: u64,
    /// Blobs in sealed packs whose records are damaged; they count as absent.
    pub damaged_blobs: u64,
    /// Large files without a commit that were removed.
    pub removed_files: u64,
    /// Fills that can go on.
    pub resumable_fills: u64,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// How the index came to what the packs say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IndexRecovery {
    /// It was up to date, or the store is new.
    #[default]
    Current,
    /// Commits after its checkpoint were replayed.
    Replayed,
    /// It was built anew from all packs.
    Rebuilt {
        /// What was wrong with the old one.
        fault: IndexFault,
    },
}

/// What was wrong with an index that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexFault {
    /// There was none: deleted, or restored without it.
    #[error("it is missing")]
    Missing,
    /// Its engine can't read it, or panicked over it.
    #[error("it is unreadable: {reason}")]
    Unreadable {
        /// The engine's own words.
        reason: String,
    },
    /// It was never brought up to any commit.
    #[error("it has no checkpoint")]
    NoCheckpoint,
    /// Another release kept it, which derived other keys from the rows.
    #[error("it was kept by another release")]
    Outdated,
    /// It was made from the packs of another store.
    #[error("it belongs to another store")]
    Foreign,
    /// It knows commits that the packs no longer have: the packs were rolled back, and acknowledged commits are lost.
    #[error("it is ahead of the packs")]
    Ahead,
    /// It is older than a compaction of the packs, which counts on newer ones.
    #[error("the packs were compacted since")]
    Compacted,
    /// Its checkpoint isn't a commit of the packs.
    #[error("its checkpoint is no commit in the packs")]
    Contradicts,
}

/// An open store before its committer runs.
pub struct Opened {
    /// The common part.
    pub shared: Arc<Shared>,
    /// The newest pack.
    pub writer: Writer,
    /// Whether that has its footer.
    pub is_sealed: bool,
    /// What was done.
    pub recovery: Recovery,
}

/// The newest pack, after its tail was cut.
struct Tail {
    file: Arc<dyn File>,
    end: u64,
    is_sealed: bool,
}

/// Opens everything but the threads; `start_indexer` is called before rows begin to queue up.
pub fn open(
    folder: &Path,
    options: Options,
    files: Arc<dyn FileSystem>,
    fresh_id: [u8; 16],
    start_indexer: impl FnOnce(&Arc<Shared>),
) -> Result<Opened, OpenError> {
    let started = Instant::now();
    let found = Found::look(files.as_ref(), folder, fresh_id)?;
    let mut recovery = Recovery { is_created: found.is_created, ..Recovery::default() };
    let ready = index_recovery::open(folder, &options, files.as_ref(), &found, &mut recovery)?;
    let tail = cut_tail(files.as_ref(), &found, &ready.checkpoint, &mut recovery)?;
    let Ready { index, finder, checkpoint } = match recovery.index {
        IndexRecovery::Rebuilt { .. } => rebuild::from_packs(folder, &options, &files, &found, ready, &mut recovery)?,
        _ => ready,
    };
    let shared = Arc::new(Shared::new(folder, found.store_id(), options, files, index, finder));
    shared.counts.pack_bytes.store(found.bytes, Ordering::Relaxed);
    shared.counts.packs.store(found.headers.len() as u64, Ordering::Relaxed);
    shared.indexed_pack.store(checkpoint.pack, Ordering::Release);
    start_indexer(&shared);
    let brought_up = bring_up(&shared, &found, &tail, checkpoint, &mut recovery);
    let entries = brought_up.inspect_err(|_| shared.overlay.stop())?;
    shared.counts.pack_bytes.fetch_sub(recovery.truncated_bytes, Ordering::Relaxed);
    let writer = Writer::resume(tail.file, *found.newest(), tail.end, entries);
    recovery.elapsed_ms = started.elapsed().as_millis() as u64;
    Ok(Opened { shared, writer, is_sealed: tail.is_sealed, recovery })
}

fn bring_up(
    shared: &Arc<Shared>,
    found: &Found,
    tail: &Tail,
    checkpoint: Checkpoint,
    recovery: &mut Recovery,
) -> Result<Vec<Entry>, OpenError> {
    let mut replay = Replay::new(Sink::Overlay(shared), checkpoint);
    replay_packs(shared.files.as_ref(), found, &mut replay, &checkpoint)?;
    let newest = found.newest().number;
    let end = replay.reached();
    shared.counts.blobs.store(end.blobs, Ordering::Relaxed);
    shared.counts.last_commit.store(end.commit, Ordering::Relaxed);
    recovery.records_read += replay.records_read();
    recovery.damaged_blobs += replay.damaged_blobs();
    recovery.last_commit = end.commit;
    if recovery.index == IndexRecovery::Current && end.commit > checkpoint.commit {
        recovery.index = IndexRecovery::Replayed;
    }
    shared.reserve_large(end.next_file);
    tidy::large_files(shared, end.first_open_file, recovery)?;
    let (next_file, first_open_file) = shared.large_numbers();
    let reached = Checkpoint { next_file, first_open_file, ..end };
    shared.set_mark(&reached);
    shared.overlay.publish(overlay::Group { rows: Vec::new(), checkpoint: Some(reached) });
    let path = found.path(newest);
    let reader = found.reader(newest, &tail.file, PACK_HEADER_BYTES as u64)?;
    let entries = reader.entries(PACK_HEADER_BYTES as u64, tail.end).map_err(OpenError::io(&path))?;
    entries.ok_or_else(|| found.damaged(newest, 0, "a record's header is unreadable"))
}

/// Tells the log how far a long replay has come, pack by pack.
struct Progress {
    packs: usize,
    done: usize,
    told: Instant,
}

impl Progress {
    /// So often at most.
    const INTERVAL: Duration = Duration::from_secs(2);

    fn new(packs: usize) -> Progress {
        Progress { packs, done: 0, told: Instant::now() }
    }

    fn advance(&mut self, records: u64) {
        self.done += 1;
        if self.told.elapsed() >= Self::INTERVAL {
            self.told = Instant::now();
            let (packs, done, percent) = (self.packs, self.done, self.done * 100 / self.packs.max(1));
            tracing::info!(percent, packs, done, records, "the index is being brought up from the packs: {percent} %");
        }
    }
}

/// Where the reading of a pack starts.
fn start_of(number: u64, checkpoint: &Checkpoint) -> u64 {
    if number == checkpoint.pack { checkpoint.offset } else { PACK_HEADER_BYTES as u64 }
}

/// Finds the end of the newest pack, cuts off what no commit covers, and makes the rest durable, before any of it is
/// shown or indexed: it may be in the page cache only. The header and the last commit are written once more, for an
/// fdatasync that failed leaves pages that look clean and never reach the disk.
fn cut_tail(
    files: &dyn FileSystem,
    found: &Found,
    checkpoint: &Checkpoint,
    recovery: &mut Recovery,
) -> Result<Tail, OpenError> {
    let header = found.newest();
    let path = found.path(header.number);
    let file = files.open(&path).map_err(OpenError::io(&path))?;
    let mut reader = found.reader(header.number, &file, start_of(header.number, checkpoint))?;
    let mut last = None;
    loop {
        let from = reader.end();
        match reader.next().map_err(OpenError::io(&path))? {
            Some(committed) => last = Some((from, committed.end, committed.commit.number)),
            None => break,
        }
    }
    let is_first = header.number != checkpoint.pack;
    let reached =
        last.map_or(if is_first { header.first_commit - 1 } else { checkpoint.commit }, |(_, _, number)| number);
    let end = reader.end();
    if !reader.is_sealed() && end < reader.size() {
        if reader.finds_commit_from(reached + 2).map_err(OpenError::io(&path))? {
            return Err(found.damaged(header.number, end, "a later commit is whole, so this is no torn tail"));
        }
        recovery.truncated_bytes = reader.size() - end;
        file.set_size(end).map_err(OpenError::io(&path))?;
    }
    file.write_at(&header.encode(), 0).map_err(OpenError::io(&path))?;
    if let Some((from, to, _)) = last {
        rewrite(file.as_ref(), from, to).map_err(OpenError::io(&path))?;
    }
    file.sync(SyncPoint::FoundPack).map_err(OpenError::io(&path))?;
    Ok(Tail { file, end, is_sealed: reader.is_sealed() })
}

fn rewrite(file: &dyn File, from: u64, to: u64) -> std::io::Result<()> {
    const WINDOW: u64 = 1 << 20;
    let mut at = from;
    let mut window = Vec::new();
    while at < to {
        window.resize((to - at).min(WINDOW) as usize, 0);
        file.read_at(&mut window, at)?;
        file.write_at(&window, at)?;
        at += window.len() as u64;
    }
    Ok(())
}

/// Replays everything behind a checkpoint.
pub(super) fn replay_packs(
    files: &dyn FileSystem,
    found: &Found,
    replay: &mut Replay<'_>,
    checkpoint: &Checkpoint,
) -> Result<(), OpenError> {
    let headers = found.from(checkpoint.pack);
    let mut progress = Progress::new(headers.len());
    for header in headers {
        replay_pack(files, found, replay, header, checkpoint)?;
        progress.advance(replay.records_read());
    }
    Ok(())
}

fn replay_pack(
    files: &dyn FileSystem,
    found: &Found,
    replay: &mut Replay<'_>,
    header: &PackHeader,
    checkpoint: &Checkpoint,
) -> Result<(), OpenError> {
    let number = header.number;
    let path = found.path(number);
    let start = start_of(number, checkpoint);
    if start == PACK_HEADER_BYTES as u64 && header.first_commit != replay.last_commit() + 1 {
        let before = number.saturating_sub(1).max(1);
        return Err(found.damaged(before, replay.end(), "commits are missing at the end of the pack"));
    }
    let file = files.open(&path).map_err(OpenError::io(&path))?;
    let mut reader = found.reader(number, &file, start)?;
    if let Some(next) = found.from(number + 1).first() {
        let footer = Footer::read(file.as_ref(), header.seal()).map_err(OpenError::io(&path))?;
        if let Some(footer) = footer.filter(|footer| footer.last_commit + 1 == next.first_commit) {
            return replay.footer(&reader, file.as_ref(), number, start, &footer).map_err(|fault| fault.at(&path));
        }
    }
    while let Some(committed) = reader.next().map_err(OpenError::io(&path))? {
        let Committed { commit, end, records } = committed;
        if commit.number != replay.last_commit() + 1 {
            return Err(found.damaged(number, end - COMMIT_BYTES as u64, "a commit has an unexpected number"));
        }
        replay.commit(number, &commit, end, &records).map_err(|fault| fault.at(&path))?;
    }
    Ok(())
}
