//! A data folder out of a backup: all of it, verified, or nothing.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use artimesh_core::model::NodeId;

use super::build::store_options;
use super::imprint;
use crate::config::{FILE_NAME, Keys};
use crate::store::backup::{self, About, Contents};
use crate::store::{RealFiles, Store};

/// What is unpacked stands here until it is whole.
const UNFINISHED: &str = ".restoring";
/// The root folder of a file system of its own is empty all the same.
const LOST_AND_FOUND: &str = "lost+found";

/// A folder that was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// What the backup says of itself.
    pub about: About,
    /// Files that were restored.
    pub files: u64,
    /// Blobs that the store holds.
    pub blobs: u64,
    /// Blobs whose records were damaged already when the backup was made.
    pub damaged_blobs: u64,
    /// The store's last commit.
    pub commit: u64,
}

/// Reads a whole backup and compares all of it with its manifest.
///
/// # Errors
/// It isn't a backup, or not a whole one.
pub fn verify(archive: impl Read) -> anyhow::Result<Contents> {
    Ok(backup::read(archive, None)?)
}

/// Makes the data folder `folder`, which must be empty or absent, out of a backup. The next start on it begins a new
/// incarnation: the node may have written more since, and others may know of it. Blocks.
///
/// # Errors
/// The folder isn't empty, the backup not whole, or the store in it can't be opened; then the folder is as it was.
pub fn restore(archive: impl Read, folder: &Path) -> anyhow::Result<Restored> {
    let existed = check_empty(folder)?;
    let restored = unpack(archive, folder);
    if restored.is_err() {
        // The error that led here is the one to tell. The folder was empty, so all that is in it is ours.
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name() != LOST_AND_FOUND).for_each(|entry| remove(&entry.path()));
        if !existed {
            let _ = fs::remove_dir(folder);
        }
    }
    restored.with_context(|| format!("{} was not restored", folder.display()))
}

fn unpack(archive: impl Read, folder: &Path) -> anyhow::Result<Restored> {
    let shown = || folder.display().to_string();
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(shown)?;
    let unfinished = folder.join(UNFINISHED);
    remove(&unfinished);
    DirBuilder::new().mode(0o700).create(&unfinished).with_context(shown)?;
    let contents = backup::read(archive, Some(&unfinished))?;
    let restored = check(contents, &unfinished)?;
    imprint::mark_restored(&unfinished, restored.commit)?;
    settle(&unfinished, folder).with_context(shown)?;
    Ok(restored)
}

/// Whether what was unpacked can start: it has settings and the keys of the node that the backup names, and its store opens,
/// which builds the index too.
fn check(contents: Contents, folder: &Path) -> anyhow::Result<Restored> {
    let Contents { about, files } = contents;
    ensure!(files.contains_key(FILE_NAME), "the backup holds no {FILE_NAME}");
    let keys = Keys::load(folder)?;
    let node = NodeId::of(&keys.log.public()).to_string();
    ensure!(node == about.node, "the backup is of node {}, but holds the keys of {node}", about.node);
    let mut fresh_id = [0; 16];
    getrandom::fill(&mut fresh_id)?;
    let opened = Store::open(&folder.join("store"), store_options(), Arc::new(RealFiles), fresh_id);
    let (store, recovery) = opened.context("the store in the backup cannot be opened")?;
    ensure!(!recovery.is_created, "the backup holds no packs");
    let blobs = store.usage().blobs;
    // Ends its threads, and with them its index is up to date.
    drop(store);
    if let Some(commit) = about.commit {
        let reached = recovery.last_commit;
        ensure!(reached == commit, "the store in the backup ends at commit {reached} instead of {commit}");
    }
    Ok(Restored {
        files: files.len() as u64,
        blobs,
        damaged_blobs: recovery.damaged_blobs,
        commit: recovery.last_commit,
        about,
    })
}

/// Gives everything its place; the configuration last, for it is what makes a folder a node's.
fn settle(unfinished: &Path, folder: &Path) -> io::Result<()> {
    let names = fs::read_dir(unfinished)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    let (last, first): (Vec<_>, Vec<_>) = names.iter().partition(|name| *name == FILE_NAME);
    for name in first.into_iter().chain(last) {
        fs::rename(unfinished.join(name), folder.join(name))?;
        File::open(folder)?.sync_all()?;
    }
    fs::remove_dir(unfinished)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    File::open(parent)?.sync_all()
}

/// Whether the folder exists already; what an interrupted restore left in it doesn't count.
fn check_empty(folder: &Path) -> anyhow::Result<bool> {
    let shown = folder.display();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| shown.to_string()),
    };
    let names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
    let names = names.with_context(|| shown.to_string())?;
    let is_strange = |name: &&std::ffi::OsString| *name != UNFINISHED && *name != LOST_AND_FOUND;
    if names.iter().any(|name| name == FILE_NAME) {
        bail!("{shown} is the data folder of a node already: restore into an empty one; nothing was changed");
    } else if names.iter().any(|name| is_strange(&name)) && names.iter().any(|name| name == UNFINISHED) {
        bail!("an earlier restore into {shown} was interrupted: remove what is in it, and repeat");
    } else if names.iter().any(|name| is_strange(&name)) {
        bail!("{shown} is not empty: restore into an empty folder; nothing was changed");
    }
    Ok(true)
}

/// Removes what is ours; what stays behind is named by the next attempt.
fn remove(path: &Path) {
    let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}
