//! Moving a store that nobody has open to another folder, most often on another disk.
//!
//! Packs, large files and notes are copied and synced, then read back and compared; the index isn't copied but built anew
//! from the copied packs by whoever opens the new place, which reads every footer. Then `store.location` names the new
//! place, and only when that is durable the old one is removed.
//!
//! # Why it loses nothing
//! The old place isn't touched before the new one is whole, verified and durable, with all names that lead to it. The file
//! that says which of the two counts changes in one step. So a crash at any moment leaves one whole store, and the file
//! names it. What is left of the other is known: an unfinished copy by its marker, an old place by the file itself; the next
//! start, or the next move, removes it.

mod copy;
mod error;
mod target;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use super::files::FileSystem;
use super::location::{self, Location};
use super::pack;
use super::sorter::RUN;
use copy::Copied;
pub use error::MoveError;

/// What a store's folder holds beside packs, large files and the index.
const NOTES: [&str; 6] = ["gc.log", "gc.log.1", "garbage", "verified", "cache", "downloads"];
/// The folders that are copied.
const FOLDERS: [&str; 2] = ["packs", "large"];
/// In an unfinished copy: the id of the store that it is of.
const MARKER: &str = "store.moving";
/// Room beside what is copied and the index: for the first writes in the new place.
const SPARE_BYTES: u64 = 64 << 20;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Files are copied.
    Copy,
    /// They are read back and compared.
    Verify,
}

/// A file that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    /// Its place below the store's folder.
    name: PathBuf,
    bytes: u64,
}

/// A move that can be made: the store is there, the new place fits.
pub struct Move<'a> {
    files: &'a dyn FileSystem,
    from: PathBuf,
    to: PathBuf,
    store_id: [u8; 16],
    items: Vec<Item>,
    bytes: u64,
}

impl<'a> Move<'a> {
    /// Looks whether the store in `from` can be moved to `to`; both are absolute, without links. `index_bytes` is what its
    /// index takes. Removes what an interrupted move left in `to`, and changes nothing else.
    pub fn plan(files: &'a dyn FileSystem, from: &Path, to: &Path, index_bytes: u64) -> Result<Move<'a>, MoveError> {
        let id = location::id_of(from, files).map_err(MoveError::io(from))?;
        let store_id = id.ok_or_else(|| MoveError::NoStore(from.to_owned()))?;
        let items = items(files, from)?;
        let bytes = items.iter().map(|item| item.bytes).sum();
        target::prepare(files, from, to, &store_id, bytes + index_bytes + SPARE_BYTES)?;
        Ok(Move { files, from: from.to_owned(), to: to.to_owned(), store_id, items, bytes })
    }

    /// What is copied.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files that are copied.
    pub fn count(&self) -> usize {
        self.items.len()
    }

    /// Copies and verifies. When this returns, the new place is whole and durable, and doesn't count yet. `told` hears how
    /// many bytes more have been seen to.
    pub fn copy(&self, told: &mut dyn FnMut(Stage, u64)) -> Result<(), MoveError> {
        target::mark(self.files, &self.to, &self.store_id)?;
        for folder in FOLDERS {
            let path = self.to.join(folder);
            self.files.create_folder(&path).map_err(MoveError::io(&path))?;
        }
        let mut copied = Vec::with_capacity(self.items.len());
        for item in &self.items {
            copied.push(copy::file(self.files, &self.from, &self.to, item, told)?);
        }
        for Copied { name, bytes, digest } in &copied {
            copy::verify(self.files, &self.to.join(name), *bytes, digest, told)?;
        }
        copy::sync_names(self.files, &self.to)
    }

    /// Removes what was copied; what fails stays, and the next move there removes it. Not after [`Move::switch`].
    pub fn give_up(&self) {
        // Why the move is given up is the error to tell.
        let _ = remove_store(self.files, &self.to);
    }

    /// Makes the new place the one that counts, durably. `data` is the data folder. Unless the old place is to be kept, it is
    /// [`clear_leftover`] that removes it then.
    pub fn switch(&self, data: &Path, keeps_old: bool) -> Result<Location, MoveError> {
        let leftover = (!keeps_old).then(|| self.from.clone());
        let location = Location { folder: self.to.clone(), store_id: Some(self.store_id), leftover };
        location.write(data, self.files)?;
        // It says no more than the location does from now on.
        let _ = self.files.remove(&self.to.join(MARKER));
        Ok(location)
    }
}

/// Removes the place where the store was before, as far as its location says that it is to go.
pub fn clear_leftover(files: &dyn FileSystem, data: &Path, location: &Location) -> Result<(), MoveError> {
    let Some(old) = &location.leftover else { return Ok(()) };
    if *old != location.folder && !location::is_stub(old, files) {
        remove_store(files, old)?;
        location::leave_stub(data, old, files).map_err(MoveError::io(old))?;
    }
    Ok(Location { leftover: None, ..location.clone() }.write(data, files)?)
}

/// Removes the files of a store from a folder, and the folder when nothing else is in it.
fn remove_store(files: &dyn FileSystem, folder: &Path) -> Result<(), MoveError> {
    let listed = match files.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(MoveError::io(folder))?,
    };
    let mut is_empty = true;
    for entry in listed {
        let path = folder.join(&entry.name);
        let is_index = entry.name == "index" || entry.name.starts_with("index.bad-");
        let is_note = NOTES.iter().any(|note| entry.name == *note || entry.name == format!("{note}.new"));
        let removed = if is_index || FOLDERS.contains(&entry.name.as_str()) {
            files.remove_folder(&path)
        } else if is_note || [MARKER, RUN, "lock"].contains(&entry.name.as_str()) {
            files.remove(&path)
        } else {
            is_empty = false;
            Ok(())
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(MoveError::io(&path)(error)),
            _ => {}
        }
    }
    if is_empty {
        // The root of a mounted disk can't be removed, and needn't be.
        let _ = files.remove_folder(folder);
    }
    Ok(())
}

fn items(files: &dyn FileSystem, from: &Path) -> Result<Vec<Item>, MoveError> {
    let mut items = Vec::new();
    for folder in FOLDERS {
        let path = from.join(folder);
        let listed = match files.list(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(MoveError::io(&path))?,
        };
        // What a compaction left unfinished stays behind, as an open would remove it.
        let wanted = listed.into_iter().filter(|file| pack::number_of(&file.name, pack::HOLLOW).is_none());
        items.extend(wanted.map(|file| Item { name: Path::new(folder).join(file.name), bytes: file.bytes }));
    }
    let listed = files.list(from).map_err(MoveError::io(from))?;
    let notes = listed.into_iter().filter(|file| NOTES.contains(&file.name.as_str()));
    items.extend(notes.map(|file| Item { name: file.name.into(), bytes: file.bytes }));
    Ok(items)
}
