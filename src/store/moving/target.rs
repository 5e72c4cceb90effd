//! The new place: whether it will do, and what an interrupted move left in it.

use std::io;
use std::path::Path;

use super::error::MoveError;
use super::{MARKER, remove_store};
use crate::store::files::{FileSystem, SyncPoint};
use crate::store::location;

/// The root folder of a file system of its own is empty all the same.
const LOST_AND_FOUND: &str = "lost+found";

/// Looks whether `to` can take `needed_bytes`, and makes it an empty folder.
pub fn prepare(
    files: &dyn FileSystem,
    from: &Path,
    to: &Path,
    store_id: &[u8; 16],
    needed_bytes: u64,
) -> Result<(), MoveError> {
    if from == to {
        return Err(MoveError::Same(to.to_owned()));
    }
    if to.starts_with(from) || from.starts_with(to) {
        return Err(MoveError::Inside { from: from.to_owned(), to: to.to_owned() });
    }
    let not_writable = |reason| MoveError::NotWritable { path: to.to_owned(), reason };
    if location::is_stub(to, files) {
        files.remove(to).map_err(not_writable)?;
    }
    let is_new = matches!(files.list(to), Err(error) if error.kind() == io::ErrorKind::NotFound);
    files.create_folder(to).map_err(not_writable)?;
    if is_unfinished(files, to, store_id) {
        remove_store(files, to)?;
        files.create_folder(to).map_err(not_writable)?;
    }
    let listed = files.list(to).map_err(not_writable)?;
    if let Some(entry) = listed.into_iter().find(|entry| entry.name != LOST_AND_FOUND) {
        return Err(MoveError::NotEmpty { path: to.to_owned(), found: entry.name });
    }
    let free_bytes = files.free_bytes(to).map_err(not_writable)?;
    if free_bytes < needed_bytes {
        if is_new {
            // It was made a moment ago, and is empty.
            let _ = files.remove_folder(to);
        }
        return Err(MoveError::NoRoom { path: to.to_owned(), needed_bytes, free_bytes });
    }
    Ok(())
}

/// Whether what is in a folder is an unfinished copy of this store, and surely nothing else.
fn is_unfinished(files: &dyn FileSystem, to: &Path, store_id: &[u8; 16]) -> bool {
    let mut id = [0; 16];
    let Ok(marker) = files.open(&to.join(MARKER)) else { return false };
    match marker.read_at(&mut id, 0) {
        Ok(()) => id == *store_id,
        // Nothing is copied before it is written and durable.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => files
            .list(to)
            .is_ok_and(|listed| listed.iter().all(|entry| [MARKER, LOST_AND_FOUND].contains(&entry.name.as_str()))),
        Err(_) => false,
    }
}

/// From now on what is in `to` is an unfinished copy: if this is interrupted, the next move removes it.
pub fn mark(files: &dyn FileSystem, to: &Path, store_id: &[u8; 16]) -> Result<(), MoveError> {
    let written = (|| {
        let file = files.create(&to.join(MARKER))?;
        file.write_at(store_id, 0)?;
        file.sync(SyncPoint::MoveMarker)?;
        files.sync_folder(to, SyncPoint::MoveMarker)
    })();
    written.map_err(|reason| MoveError::NotWritable { path: to.to_owned(), reason })
}
