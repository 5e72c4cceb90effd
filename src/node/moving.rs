//! `artimesh store move`: a node's store to another folder, while the node doesn't run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};

use super::build::store_options;
use super::imprint;
use super::lock::FolderLock;
pub use crate::store::moving::Stage;
use crate::store::moving::{Move, clear_leftover};
use crate::store::{IndexFault, IndexRecovery, Location, RealFiles, Recovery, Store};

/// What becomes of the old place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OldPlace {
    /// It is removed once the new one counts.
    Removed,
    /// It stays as it is, and is of no use to the node any more.
    Kept,
}

/// A store that was moved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Where it was.
    pub from: PathBuf,
    /// Where it is.
    pub to: PathBuf,
    /// Files that were copied and verified.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that the store holds.
    pub blobs: u64,
    /// Its last commit.
    pub commit: u64,
    /// Why the old place, or a part of it, is still there, though it was to be removed. The next start tries again.
    pub left_behind: Option<String>,
}

/// Where the store of a data folder is, after a look whether it is there.
///
/// # Errors
/// It isn't, or nobody knows where.
pub(super) fn location(folder: &Path) -> anyhow::Result<Location> {
    let location = Location::of(folder, &RealFiles)?;
    location.check(&RealFiles)?;
    Ok(location)
}

/// The folder of the store of a data folder; in its usual place it need not be there yet.
///
/// # Errors
/// It isn't where it was moved to, or nobody knows where that is.
pub fn store_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    Ok(location(folder)?.folder)
}

/// Takes the lock of a store that isn't in its usual place: a copy of the data folder would name the same one.
pub(super) fn lock_store(location: &Location) -> anyhow::Result<Option<FolderLock>> {
    location.store_id.map(|_| FolderLock::take(&location.folder)).transpose()
}

/// Removes what an interrupted move left of the old place. What fails is logged, and tried again at the next start.
pub(super) fn settle(folder: &Path, location: &Location) {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    if let Err(error) = clear_leftover(&RealFiles, &folder, location) {
        tracing::warn!(%error, "what is left of the store's old place can't be removed");
    }
}

/// Moves the store of the node in `folder`, which must not run, to `to`: copied, read back and compared, opened, and only
/// then put in the place of the old one. `told` hears how many bytes more were seen to. Blocks.
///
/// # Errors
/// The node runs, `to` won't do, or something fails on the way. The old place then still counts, and is whole, unless the
/// error says otherwise.
pub fn move_store(
    folder: &Path,
    to: &Path,
    old: OldPlace,
    begun: &mut dyn FnMut(u64),
    told: &mut dyn FnMut(Stage, u64),
) -> anyhow::Result<Moved> {
    let _lock = FolderLock::take(folder)?;
    let data = folder.canonicalize().with_context(|| folder.display().to_string())?;
    let before = location(&data)?;
    let _store_lock = lock_store(&before)?;
    settle(&data, &before);
    let from = before.folder.canonicalize().with_context(|| before.folder.display().to_string())?;
    let to = real_path(to)?;
    ensure!(to != data, "{} is the data folder: name a folder in it, or elsewhere", to.display());
    let index_bytes = || size_of(&from.join("index"));
    // Before anything is changed in the old place, too.
    Move::plan(&RealFiles, &from, &to, index_bytes())?;
    // As it is opened anywhere: its end is cut where nothing was acknowledged, and its index tells what it reaches.
    let (reached, _) = opened(&from)?;
    let seen = imprint::look(&data, &from, reached.last_commit)?;
    let plan = Move::plan(&RealFiles, &from, &to, index_bytes())?;
    begun(plan.bytes());
    let copied = copy(&plan, &to, reached.last_commit, told);
    let blobs = copied.inspect_err(|_| plan.give_up()).context("the store stays where it was")?;
    let _new_lock = FolderLock::take(&to)?;
    let location = plan.switch(&data, old == OldPlace::Kept)?;
    // Not behind the removal, which takes its time.
    note(&data, &to, &reached, &seen)?;
    let left_behind = clear_leftover(&RealFiles, &data, &location).err().map(|error| error.to_string());
    Ok(Moved { from, to, files: plan.count(), bytes: plan.bytes(), blobs, commit: reached.last_commit, left_behind })
}

/// Copies, and opens the copy, which builds its index; how many blobs it has.
fn copy(plan: &Move<'_>, to: &Path, commit: u64, told: &mut dyn FnMut(Stage, u64)) -> anyhow::Result<u64> {
    plan.copy(told)?;
    let (arrived, blobs) = opened(to)?;
    let reached = arrived.last_commit;
    ensure!(reached == commit, "the copy ends at commit {reached} instead of {commit}");
    Ok(blobs)
}

/// Notes where the store is now, so that the next start doesn't take it for a copy; but not where the next start would have
/// found the folder to be another anyway. That is for it to see.
fn note(data: &Path, to: &Path, reached: &Recovery, seen: &imprint::Seen) -> anyhow::Result<()> {
    let was_set_back = matches!(reached.index, IndexRecovery::Rebuilt { fault: IndexFault::Ahead });
    if seen.changed.is_some() || was_set_back {
        return Ok(());
    }
    let was_rebuilt = matches!(&reached.index, IndexRecovery::Rebuilt { fault } if *fault != IndexFault::Outdated);
    imprint::note(data, to, reached.last_commit, seen.asks || was_rebuilt)
}

/// Opens a store and closes it again: what that found, and how many blobs there are.
fn opened(folder: &Path) -> anyhow::Result<(Recovery, u64)> {
    let mut fresh_id = [0; 16];
    getrandom::fill(&mut fresh_id)?;
    let opened = Store::open(folder, store_options(), Arc::new(RealFiles), fresh_id);
    let (store, recovery) = opened.with_context(|| format!("the store in {} can't be opened", folder.display()))?;
    let blobs = store.usage().blobs;
    // Ends its threads, and with them its index is up to date.
    drop(store);
    Ok((recovery, blobs))
}

/// Makes a store in its usual place, for the tests of other rooms.
#[cfg(test)]
pub fn make_store(folder: &Path) -> anyhow::Result<()> {
    opened(&folder.join("store")).map(|_| ())
}

/// A path without links and dots, whose last part need not exist.
fn real_path(path: &Path) -> anyhow::Result<PathBuf> {
    let shown = || path.display().to_string();
    let path = std::path::absolute(path).with_context(shown)?;
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other.with_context(shown),
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { bail!("{} is no folder", shown()) };
    let parent = parent.canonicalize().with_context(|| format!("{} (make it first)", parent.display()))?;
    Ok(parent.join(name))
}

/// What a folder holds, about: for the index, whose files are sled's own.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}
