//! Opening: find what the packs hold, cut a torn tail, and bring the index up to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::error::{IndexError, OpenError};
use super::files::{File, FileSystem, SyncPoint};
use super::index::{Checkpoint, Index, SledIndex};
use super::large;
use super::options::{IndexKind, Options};
use super::overlay;
use super::pack::footer::Footer;
use super::pack::reader::{Committed, Reader};
use super::pack::record::{COMMIT_BYTES, Entry};
use super::pack::writer::Writer;
use super::pack::{self, FORMAT, PACK_HEADER_BYTES, PackHeader};
use super::replay::Replay;
use super::shared::Shared;
use super::value::Place;

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
        reason: String,
    },
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

/// The packs as found.
pub struct Found {
    folder: PathBuf,
    headers: Vec<PackHeader>,
    bytes: u64,
    is_created: bool,
}

/// The newest pack, after its tail was cut.
struct Tail {
    file: Arc<dyn File>,
    end: u64,
    is_sealed: bool,
}

impl Found {
    /// Makes the folders, reads the headers of all packs, makes the first pack of a new store.
    pub fn look(files: &dyn FileSystem, folder: &Path, fresh_id: [u8; 16]) -> Result<Found, OpenError> {
        make_folders(files, folder)?;
        let packs = folder.join("packs");
        let mut found = Found { folder: packs.clone(), headers: Vec::new(), bytes: 0, is_created: false };
        let listed = files.list(&packs).map_err(OpenError::io(&packs))?;
        let numbers: Vec<(u64, u64)> =
            listed.iter().filter_map(|file| Some((pack::number_of(&file.name, "pack")?, file.bytes))).collect();
        for (position, (number, bytes)) in numbers.iter().enumerate() {
            let expected = position as u64 + 1;
            if *number != expected {
                let file = pack::path(&packs, expected);
                return Err(OpenError::Damaged { file, offset: 0, reason: "the pack is missing" });
            }
            let is_newest = position + 1 == numbers.len();
            match found.read_header(files, *number, *bytes)? {
                Some(header) => found.headers.push(header),
                None if is_newest && *bytes <= PACK_HEADER_BYTES as u64 => found.remove_torn(files, *number)?,
                None => {
                    let file = pack::path(&packs, *number);
                    return Err(OpenError::Damaged { file, offset: 0, reason: "the pack's header is unreadable" });
                }
            }
            found.bytes += bytes;
        }
        if found.headers.is_empty() {
            let header = Writer::header(fresh_id, 1, 1);
            Writer::create(files, &packs, header).map_err(OpenError::io(&packs))?;
            found.headers.push(header);
            found.is_created = true;
        }
        files.sync_folder(&packs, SyncPoint::FoundPackFolder).map_err(OpenError::io(&packs))?;
        Ok(found)
    }

    fn read_header(&self, files: &dyn FileSystem, number: u64, bytes: u64) -> Result<Option<PackHeader>, OpenError> {
        if bytes < PACK_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let path = self.path(number);
        let file = files.open(&path).map_err(OpenError::io(&path))?;
        let mut header = [0; PACK_HEADER_BYTES];
        file.read_at(&mut header, 0).map_err(OpenError::io(&path))?;
        let Some(header) = PackHeader::decode(&header) else { return Ok(None) };
        if header.format > FORMAT {
            return Err(OpenError::Newer { file: path, version: header.format, known: FORMAT });
        }
        if header.number != number || self.headers.first().is_some_and(|first| first.store_id != header.store_id) {
            return Err(OpenError::Foreign { file: path });
        }
        Ok(Some(header))
    }

    /// A pack whose making was interrupted: nothing was ever written behind its header.
    fn remove_torn(&self, files: &dyn FileSystem, number: u64) -> Result<(), OpenError> {
        let path = self.path(number);
        files.remove(&path).map_err(OpenError::io(&path))
    }

    fn path(&self, number: u64) -> PathBuf {
        pack::path(&self.folder, number)
    }

    /// The id of the store.
    pub fn store_id(&self) -> [u8; 16] {
        self.headers[0].store_id
    }

    fn newest(&self) -> &PackHeader {
        self.headers.last().expect("a first pack was made")
    }

    fn damaged(&self, number: u64, offset: u64, reason: &'static str) -> OpenError {
        OpenError::Damaged { file: self.path(number), offset, reason }
    }
}

fn make_folders(files: &dyn FileSystem, folder: &Path) -> Result<(), OpenError> {
    for path in [folder.to_path_buf(), folder.join("packs"), folder.join("large")] {
        files.create_folder(&path).map_err(OpenError::io(&path))?;
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        files.sync_folder(parent, SyncPoint::StoreFolder).map_err(OpenError::io(parent))?;
    }
    files.sync_folder(folder, SyncPoint::Subfolders).map_err(OpenError::io(folder))
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
    let (index, checkpoint) = open_index(folder, &options, files.as_ref(), &found, &mut recovery)?;
    let shared = Arc::new(Shared::new(folder, found.store_id(), options, files, index));
    shared.counts.pack_bytes.store(found.bytes, Ordering::Relaxed);
    shared.counts.packs.store(found.headers.len() as u64, Ordering::Relaxed);
    start_indexer(&shared);
    let brought_up = bring_up(&shared, &found, checkpoint, &mut recovery);
    let (tail, entries) = brought_up.inspect_err(|_| shared.overlay.stop())?;
    shared.counts.pack_bytes.fetch_sub(recovery.truncated_bytes, Ordering::Relaxed);
    let writer = Writer::resume(tail.file, *found.newest(), tail.end, entries);
    recovery.elapsed_ms = started.elapsed().as_millis() as u64;
    Ok(Opened { shared, writer, is_sealed: tail.is_sealed, recovery })
}

fn bring_up(
    shared: &Arc<Shared>,
    found: &Found,
    checkpoint: Checkpoint,
    recovery: &mut Recovery,
) -> Result<(Tail, Vec<Entry>), OpenError> {
    let tail = cut_tail(shared, found, &checkpoint, recovery)?;
    let mut replay = Replay::new(shared, checkpoint);
    for header in &found.headers[checkpoint.pack as usize - 1..] {
        replay_pack(shared, found, &mut replay, header, &checkpoint)?;
    }
    let newest = found.newest().number;
    let end = replay.reached();
    shared.counts.blobs.store(end.blobs, Ordering::Relaxed);
    shared.counts.last_commit.store(end.commit, Ordering::Relaxed);
    recovery.records_read = replay.records_read();
    recovery.damaged_blobs = replay.damaged_blobs();
    recovery.last_commit = end.commit;
    if recovery.index == IndexRecovery::Current && end.commit > checkpoint.commit {
        recovery.index = IndexRecovery::Replayed;
    }
    shared.reserve_large(end.next_file);
    tidy_large(shared, checkpoint.first_open_file, recovery)?;
    let (next_file, first_open_file) = shared.large_numbers();
    let reached = Checkpoint { next_file, first_open_file, ..end };
    shared.overlay.publish(overlay::Group { rows: Vec::new(), checkpoint: Some(reached) });
    let path = found.path(newest);
    let reader = reader(found, newest, &tail.file, PACK_HEADER_BYTES as u64)?;
    let entries = reader.entries(PACK_HEADER_BYTES as u64, tail.end).map_err(OpenError::io(&path))?;
    let entries = entries.ok_or_else(|| found.damaged(newest, 0, "a record's header is unreadable"))?;
    Ok((tail, entries))
}

fn reader(found: &Found, number: u64, file: &Arc<dyn File>, start: u64) -> Result<Reader, OpenError> {
    let path = found.path(number);
    Reader::new(file.clone(), found.newest().seal(), start).map_err(OpenError::io(&path))
}

/// Where the reading of a pack starts.
fn start_of(number: u64, checkpoint: &Checkpoint) -> u64 {
    if number == checkpoint.pack { checkpoint.offset } else { PACK_HEADER_BYTES as u64 }
}

/// Finds the end of the newest pack, cuts off what no commit covers, and makes the rest durable, before any of it is
/// shown or indexed: it may be in the page cache only. The last commit is written once more, for an fdatasync that
/// failed leaves pages that look clean and never reach the disk.
fn cut_tail(
    shared: &Shared,
    found: &Found,
    checkpoint: &Checkpoint,
    recovery: &mut Recovery,
) -> Result<Tail, OpenError> {
    let header = found.newest();
    let path = found.path(header.number);
    let file = shared.files.open(&path).map_err(OpenError::io(&path))?;
    let mut reader = reader(found, header.number, &file, start_of(header.number, checkpoint))?;
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

fn replay_pack(
    shared: &Shared,
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
    let file = shared.files.open(&path).map_err(OpenError::io(&path))?;
    let mut reader = reader(found, number, &file, start)?;
    if let Some(next) = found.headers.get(number as usize) {
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

/// Opens the index. What can't be opened or contradicts the packs is set aside, and an empty one takes its place.
fn open_index(
    folder: &Path,
    options: &Options,
    files: &dyn FileSystem,
    found: &Found,
    recovery: &mut Recovery,
) -> Result<(Box<dyn Index>, Checkpoint), OpenError> {
    let start = Checkpoint {
        store_id: found.store_id(),
        commit: 0,
        pack: 1,
        offset: PACK_HEADER_BYTES as u64,
        next_file: 0,
        first_open_file: 0,
        blobs: 0,
    };
    let path = folder.join("index");
    let is_there = match &options.index {
        IndexKind::Sled => {
            files.list(folder).map_err(OpenError::io(folder))?.iter().any(|listed| listed.name == "index")
        }
        IndexKind::Memory(_) => true,
    };
    let fault = if is_there {
        match engine(options, &path).and_then(|index| Ok((index.checkpoint()?, index))) {
            Ok((Some(checkpoint), index)) => match contradiction(files, found, &checkpoint)? {
                None => return Ok((index, checkpoint)),
                Some(fault) => fault.to_owned(),
            },
            Ok((None, _)) => "it has no checkpoint".to_owned(),
            Err(error) => error.reason,
        }
    } else {
        "it is missing".to_owned()
    };
    if is_there {
        set_aside(folder, options, files)?;
    }
    if !found.is_created {
        tracing::warn!(reason = fault, "the index is built anew from the packs");
        recovery.index = IndexRecovery::Rebuilt { reason: fault };
    }
    Ok((engine(options, &path)?, start))
}

fn engine(options: &Options, path: &Path) -> Result<Box<dyn Index>, IndexError> {
    match &options.index {
        IndexKind::Sled => Ok(Box::new(SledIndex::open(path)?)),
        IndexKind::Memory(index) => Ok(Box::new(index.clone())),
    }
}

fn set_aside(folder: &Path, options: &Options, files: &dyn FileSystem) -> Result<(), OpenError> {
    if let IndexKind::Memory(index) = &options.index {
        index.clear();
        return Ok(());
    }
    for listed in files.list(folder).map_err(OpenError::io(folder))? {
        if listed.name.starts_with("index.bad-") {
            let path = folder.join(&listed.name);
            files.remove_folder(&path).map_err(OpenError::io(&path))?;
        }
    }
    let path = folder.join("index");
    files.rename(&path, &folder.join(format!("index.bad-{}", (options.clock)()))).map_err(OpenError::io(&path))
}

/// What speaks against a checkpoint.
fn contradiction(
    files: &dyn FileSystem,
    found: &Found,
    checkpoint: &Checkpoint,
) -> Result<Option<&'static str>, OpenError> {
    if checkpoint.store_id != found.store_id() {
        return Ok(Some("it belongs to another store"));
    }
    if checkpoint.pack == 0 || checkpoint.pack > found.headers.len() as u64 {
        return Ok(Some("it is ahead of the packs"));
    }
    let path = found.path(checkpoint.pack);
    let file = files.open(&path).map_err(OpenError::io(&path))?;
    if checkpoint.commit == 0 {
        let is_start = checkpoint.pack == 1 && checkpoint.offset == PACK_HEADER_BYTES as u64;
        return Ok((!is_start).then_some("its checkpoint is malformed"));
    }
    if checkpoint.offset > file.size().map_err(OpenError::io(&path))? {
        return Ok(Some("it is ahead of the packs"));
    }
    let Some(at) = checkpoint.offset.checked_sub(COMMIT_BYTES as u64) else {
        return Ok(Some("its checkpoint is malformed"));
    };
    let commit = reader(found, checkpoint.pack, &file, at)?.commit_at(at).map_err(OpenError::io(&path))?;
    let agrees = commit.is_some_and(|commit| commit.number == checkpoint.commit);
    Ok((!agrees).then_some("its checkpoint isn't a commit in the packs"))
}

/// Removes large files that no commit refers to, and notes the fills that can go on.
fn tidy_large(shared: &Shared, first_open: u64, recovery: &mut Recovery) -> Result<(), OpenError> {
    let folder = shared.large_folder();
    let listed = shared.files.list(&folder).map_err(OpenError::io(&folder))?;
    let mut fills = Vec::new();
    for file in &listed {
        let path = folder.join(&file.name);
        let is_wanted = if let Some(number) = pack::number_of(&file.name, "blob") {
            shared.reserve_large(number + 1);
            let is_wanted = number < first_open || is_referred_to(shared, &path, number)?;
            shared.counts.large_bytes.fetch_add(if is_wanted { file.bytes } else { 0 }, Ordering::Relaxed);
            is_wanted
        } else if let Some(number) = pack::number_of(&file.name, "part") {
            shared.reserve_large(number + 1);
            let opened = shared.files.open(&path).map_err(OpenError::io(&path))?;
            let header = large::Header::read(opened.as_ref());
            let is_news = |header: &large::Header| matches!(shared.blob(&header.digest), Ok(None));
            let filling = header.filter(|header| header.state == large::State::Filling && is_news(header));
            if let Some(header) = filling {
                fills.push(number);
                shared.reopen_large(number);
                shared.rest_fill(header.digest, number);
                shared.counts.large_bytes.fetch_add(header.size_bytes, Ordering::Relaxed);
            }
            filling.is_some()
        } else {
            pack::number_of(&file.name, "map")
                .is_none_or(|number| listed.iter().any(|other| other.name == format!("{number:016x}.part")))
        };
        if !is_wanted {
            shared.files.remove(&path).map_err(OpenError::io(&path))?;
            recovery.removed_files += 1;
        }
    }
    recovery.resumable_fills = fills.len() as u64;
    Ok(())
}

fn is_referred_to(shared: &Shared, path: &Path, number: u64) -> Result<bool, OpenError> {
    let file = shared.files.open(path).map_err(OpenError::io(path))?;
    // A damaged header says nothing about whether a commit refers to the file: it stays, for scrub to see.
    let Some(header) = large::Header::read(file.as_ref()) else { return Ok(true) };
    match shared.blob(&header.digest) {
        Ok(Some(entry)) => Ok(matches!(entry.place, Place::Large { file, .. } if file == number)),
        Ok(None) => Ok(false),
        Err(_) => Ok(true),
    }
}
