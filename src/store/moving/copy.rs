//! Copying one file after the other, and reading them back.

use std::path::{Path, PathBuf};

use super::error::MoveError;
use super::{FOLDERS, Item, Stage};
use crate::store::files::{FileSystem, SyncPoint};

/// Read and written at once.
const PIECE_BYTES: u64 = 4 << 20;

/// A file that was copied.
pub struct Copied {
    /// Its place below the store's folder.
    pub name: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Of the bytes as they were read from the old place.
    pub digest: blake3::Hash,
}

/// Copies a file, durably but for its name.
pub fn file(
    files: &dyn FileSystem,
    from: &Path,
    to: &Path,
    item: &Item,
    told: &mut dyn FnMut(Stage, u64),
) -> Result<Copied, MoveError> {
    let (from, to) = (from.join(&item.name), to.join(&item.name));
    let source = files.open(&from).map_err(MoveError::io(&from))?;
    let copy = files.create(&to).map_err(MoveError::io(&to))?;
    let (mut hasher, mut at, mut piece) = (blake3::Hasher::new(), 0, Vec::new());
    while at < item.bytes {
        piece.resize((item.bytes - at).min(PIECE_BYTES) as usize, 0);
        source.read_at(&mut piece, at).map_err(MoveError::io(&from))?;
        hasher.update(&piece);
        copy.write_at(&piece, at).map_err(MoveError::io(&to))?;
        at += piece.len() as u64;
        told(Stage::Copy, piece.len() as u64);
    }
    if source.size().map_err(MoveError::io(&from))? != item.bytes {
        return Err(MoveError::Changing(from));
    }
    copy.sync(SyncPoint::MovedFile).map_err(MoveError::io(&to))?;
    copy.forget_cached();
    Ok(Copied { name: item.name.clone(), bytes: item.bytes, digest: hasher.finalize() })
}

/// Reads a file back, from the disk where the system lets us, and compares.
pub fn verify(
    files: &dyn FileSystem,
    path: &Path,
    bytes: u64,
    digest: &blake3::Hash,
    told: &mut dyn FnMut(Stage, u64),
) -> Result<(), MoveError> {
    let file = files.open(path).map_err(MoveError::io(path))?;
    let (mut hasher, mut at, mut piece) = (blake3::Hasher::new(), 0, Vec::new());
    while at < bytes {
        piece.resize((bytes - at).min(PIECE_BYTES) as usize, 0);
        file.read_at(&mut piece, at).map_err(MoveError::io(path))?;
        hasher.update(&piece);
        at += piece.len() as u64;
        told(Stage::Verify, piece.len() as u64);
    }
    let is_same = file.size().map_err(MoveError::io(path))? == bytes && hasher.finalize() == *digest;
    if is_same { Ok(()) } else { Err(MoveError::Different(path.to_owned())) }
}

/// Makes the names of all that was copied durable, and those that lead there.
pub fn sync_names(files: &dyn FileSystem, to: &Path) -> Result<(), MoveError> {
    let sync = |folder: &Path| files.sync_folder(folder, SyncPoint::MovedNames).map_err(MoveError::io(folder));
    for folder in FOLDERS {
        sync(&to.join(folder))?;
    }
    sync(to)?;
    to.parent().map_or(Ok(()), sync)
}
