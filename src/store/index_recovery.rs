//! Opening the index, and deciding whether it can be trusted.

use std::path::Path;

use super::derived::Derivation;
use super::error::{IndexError, OpenError};
use super::files::FileSystem;
use super::find::{self, Finder, RunSet};
use super::found::Found;
use super::index::{self, Checkpoint, Index, SledIndex};
use super::options::{IndexKind, Options};
use super::pack::PACK_HEADER_BYTES;
use super::pack::footer::Footer;
use super::pack::record::COMMIT_BYTES;
use super::recovery::{IndexFault, IndexRecovery, Recovery};

/// A file of this name in the folder of the index says that it broke while it was used.
const DISTRUSTED: &str = "distrusted";

/// Has the next open build the index anew. Best effort: that open reads the whole index in any case.
pub fn distrust(folder: &Path, files: &dyn FileSystem) {
    index::forget_how_left(&folder.join("index"));
    let path = folder.join("index").join(DISTRUSTED);
    if let Err(error) = files.create(&path) {
        tracing::warn!(path = %path.display(), %error, "the broken index can't be marked as such");
    }
}

/// An index that is open, and how far it goes.
pub struct Ready {
    /// Rows and blobs.
    pub index: Box<dyn Index>,
    /// Derived keys, where any are.
    pub finder: Option<Finder>,
    /// What both have.
    pub checkpoint: Checkpoint,
}

/// Opens the index. What can't be opened or contradicts the packs is set aside, and an empty one takes its place.
pub fn open(
    folder: &Path,
    options: &Options,
    files: &dyn FileSystem,
    found: &Found,
    recovery: &mut Recovery,
) -> Result<Ready, OpenError> {
    let start = Checkpoint {
        store_id: found.store_id(),
        commit: 0,
        pack: 1,
        offset: PACK_HEADER_BYTES as u64,
        next_file: 0,
        first_open_file: 0,
        blobs: 0,
        derivation: Derivation::version(options.derivation),
        runs: RunSet::default(),
    };
    let path = folder.join("index");
    let is_there = match &options.index {
        IndexKind::Sled => {
            files.list(folder).map_err(OpenError::io(folder))?.iter().any(|listed| listed.name == "index")
        }
        IndexKind::Memory(_) => true,
    };
    let fault = if is_there && files.list(&path).is_ok_and(|listed| listed.iter().any(|file| file.name == DISTRUSTED)) {
        IndexFault::Unreadable { reason: "it broke while it was used".into() }
    } else if is_there {
        match engine(options, &path).and_then(|index| Ok((index.checkpoint()?, index))) {
            Ok((Some(checkpoint), index)) => match contradiction(files, found, &checkpoint)? {
                None if checkpoint.derivation != start.derivation => IndexFault::Outdated,
                None => match finder(folder, options, &checkpoint) {
                    Ok(finder) => return Ok(Ready { index, finder, checkpoint }),
                    Err(error) => IndexFault::Unreadable { reason: error.reason },
                },
                Some(fault) => fault,
            },
            Ok((None, _)) => IndexFault::NoCheckpoint,
            Err(error) => IndexFault::Unreadable { reason: error.reason },
        }
    } else {
        IndexFault::Missing
    };
    if is_there {
        set_aside(folder, options, files)?;
    }
    if !found.is_created {
        tracing::warn!(%fault, "the index is built anew from the packs");
        recovery.index = IndexRecovery::Rebuilt { fault };
    }
    let index = engine(options, &path)?;
    Ok(Ready { index, finder: finder(folder, options, &start)?, checkpoint: start })
}

/// Opens what the derived keys are in, if there are any.
pub fn finder(folder: &Path, options: &Options, checkpoint: &Checkpoint) -> Result<Option<Finder>, IndexError> {
    options.derivation.map(|_| Finder::open(find::folder(folder), &checkpoint.runs)).transpose()
}

/// Opens the engine alone.
pub fn engine(options: &Options, path: &Path) -> Result<Box<dyn Index>, IndexError> {
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
) -> Result<Option<IndexFault>, OpenError> {
    if checkpoint.store_id != found.store_id() {
        return Ok(Some(IndexFault::Foreign));
    }
    if checkpoint.pack == 0 || checkpoint.pack > found.newest().number {
        return Ok(Some(IndexFault::Ahead));
    }
    let Some(header) = found.header(checkpoint.pack) else { return Ok(Some(IndexFault::Compacted)) };
    let path = found.path(checkpoint.pack);
    let file = files.open(&path).map_err(OpenError::io(&path))?;
    if checkpoint.commit == 0 {
        let is_start = checkpoint.pack == 1 && checkpoint.offset == PACK_HEADER_BYTES as u64;
        return Ok((!is_start).then_some(IndexFault::Contradicts));
    }
    let footer = Footer::read(file.as_ref(), header.seal()).map_err(OpenError::io(&path))?;
    if footer.is_some_and(|footer| footer.is_hollow()) {
        return Ok(Some(IndexFault::Compacted));
    }
    if checkpoint.offset > file.size().map_err(OpenError::io(&path))? {
        return Ok(Some(IndexFault::Ahead));
    }
    let Some(at) = checkpoint.offset.checked_sub(COMMIT_BYTES as u64) else {
        return Ok(Some(IndexFault::Contradicts));
    };
    let commit = found.reader(checkpoint.pack, &file, at)?.commit_at(at).map_err(OpenError::io(&path))?;
    let agrees = commit.is_some_and(|commit| commit.number == checkpoint.commit);
    Ok((!agrees).then_some(IndexFault::Contradicts))
}
