//! Puts a pack that holds nothing in the place of one whose live records were repeated.

use std::io;
use std::sync::atomic::Ordering;

use super::source::PackSource;
use crate::store::error::{CommitError, CompactError, ReadError};
use crate::store::files::SyncPoint;
use crate::store::pack::footer::Footer;
use crate::store::pack::{self, HOLLOW, PACK_HEADER_BYTES};
use crate::store::shared::Shared;

/// Replaces a pack. What was repeated of it must be durable. `false`: a backup has begun meanwhile, so that it stays.
pub fn replace(shared: &Shared, source: &PackSource) -> Result<bool, CompactError> {
    let folder = shared.packs_folder();
    let path = pack::path(&folder, source.number);
    let new = path.with_extension(HOLLOW);
    let bytes = write(shared, source, &new).map_err(ReadError::io(&new))?;
    let pins = shared.removal.pins();
    if *pins > 0 {
        shared.files.remove(&new).map_err(ReadError::io(&new))?;
        return Ok(false);
    }
    // Nothing points there any more; who looked before, and comes now, is told to look again.
    shared.close_pack(source.number);
    shared.files.rename(&new, &path).map_err(ReadError::io(&path))?;
    let synced = shared.files.sync_folder(&folder, SyncPoint::HollowFolder);
    drop(pins);
    synced.map_err(|error| failed(shared, "fsync of the folder of packs", &error))?;
    // The count is of what was there, so it can't fall below what is left.
    shared.counts.pack_bytes.fetch_sub(source.file_bytes.saturating_sub(bytes), Ordering::Relaxed);
    Ok(true)
}

/// Returns its length.
fn write(shared: &Shared, source: &PackSource, path: &std::path::Path) -> io::Result<u64> {
    match shared.files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = shared.files.create(path)?;
    let footer = Footer::hollow(source.last_commit).encode(source.header.seal());
    let bytes = [&source.header.encode()[..], &footer].concat();
    debug_assert!(bytes.len() > PACK_HEADER_BYTES, "a header and a footer");
    file.write_at(&bytes, 0)?;
    file.sync(SyncPoint::HollowPack)?;
    Ok(bytes.len() as u64)
}

/// After an fsync that failed nobody knows what is on the disk.
fn failed(shared: &Shared, doing: &str, error: &io::Error) -> CompactError {
    let reason = format!("{doing}: {error}");
    shared.fail(reason.clone());
    CommitError::Failed { reason }.into()
}
