//! Puts a pack that holds nothing in the place of one whose live records were repeated, and one such pack in the place of many.

use std::io;
use std::sync::atomic::Ordering;

use super::source::{PackSource, header_of};
use crate::store::error::{CommitError, CompactError, ReadError};
use crate::store::files::SyncPoint;
use crate::store::pack::footer::Footer;
use crate::store::pack::{self, FORMAT_MERGED, HOLLOW, HOLLOW_PACK_BYTES, PackHeader};
use crate::store::shared::Shared;

/// Replaces a pack. What was repeated of it must be durable. `false`: a backup has begun meanwhile, so that it stays.
pub fn replace(shared: &Shared, source: &PackSource) -> Result<bool, CompactError> {
    let folder = shared.packs_folder();
    let path = pack::path(&folder, source.number);
    let new = path.with_extension(HOLLOW);
    let bytes = write(shared, &source.header, source.last_commit, &new).map_err(ReadError::io(&new))?;
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

/// Puts one hollow pack in the place of several that follow each other, given with their sizes; how many files fewer there
/// are. None while a backup is made. A crash leaves them as they were, or this one with some of those that it stands for: the
/// next open removes them.
pub fn merge(shared: &Shared, run: &[(u64, u64)]) -> Result<u64, CompactError> {
    let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { return Ok(0) };
    let until = header_of(shared, *last)?.until;
    // One without a commit may have lost its footer; the pack behind it is there, and says the same.
    let last_commit = header_of(shared, until + 1)?.first_commit - 1;
    let header = PackHeader { format: FORMAT_MERGED, until, ..header_of(shared, *first)? };
    let folder = shared.packs_folder();
    let path = pack::path(&folder, *first);
    let new = path.with_extension(HOLLOW);
    let bytes = write(shared, &header, last_commit, &new).map_err(ReadError::io(&new))?;
    let pins = shared.removal.pins();
    if *pins > 0 {
        shared.files.remove(&new).map_err(ReadError::io(&new))?;
        return Ok(0);
    }
    run.iter().for_each(|(number, _)| shared.close_pack(*number));
    shared.files.rename(&new, &path).map_err(ReadError::io(&path))?;
    let synced = shared.files.sync_folder(&folder, SyncPoint::HollowFolder);
    synced.map_err(|error| failed(shared, "fsync of the folder of packs", &error))?;
    shared.counts.pack_bytes.fetch_add(bytes, Ordering::Relaxed);
    shared.counts.pack_bytes.fetch_sub(run[0].1, Ordering::Relaxed);
    for (number, bytes) in &run[1..] {
        let path = pack::path(&folder, *number);
        shared.files.remove(&path).map_err(ReadError::io(&path))?;
        shared.counts.packs.fetch_sub(1, Ordering::Relaxed);
        shared.counts.pack_bytes.fetch_sub(*bytes, Ordering::Relaxed);
    }
    Ok(run.len() as u64 - 1)
}

/// Returns its length.
fn write(shared: &Shared, header: &PackHeader, last_commit: u64, path: &std::path::Path) -> io::Result<u64> {
    match shared.files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = shared.files.create(path)?;
    let footer = Footer::hollow(last_commit).encode(header.seal());
    let bytes = [&header.encode()[..], &footer].concat();
    debug_assert_eq!(bytes.len() as u64, HOLLOW_PACK_BYTES, "a header and a footer");
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
