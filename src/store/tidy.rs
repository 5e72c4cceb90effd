//! Looks at the large files when the store opens.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::error::OpenError;
use super::files::SyncPoint;
use super::large;
use super::pack;
use super::recovery::Recovery;
use super::shared::Shared;
use super::value::Place;

/// Removes large files that no commit refers to, and notes the fills that can go on.
pub fn large_files(shared: &Shared, first_open: u64, recovery: &mut Recovery) -> Result<(), OpenError> {
    let folder = shared.large_folder();
    let listed = shared.files.list(&folder).map_err(OpenError::io(&folder))?;
    let mut fills = HashSet::new();
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
            // Of two files for one blob, of which a crash brought one back, only one can go on.
            let filling = filling.filter(|header| fills.insert(header.digest));
            if let Some(header) = filling {
                shared.reopen_large(number);
                shared.rest_fill(header.digest, number, header.size_bytes);
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
    // Before the checkpoint says that files of these numbers need no look, or their numbers are used again: a process that was
    // killed may have removed some of those that aren't there, and not have come to the sync.
    shared.files.sync_folder(&folder, SyncPoint::LargeRemoved).map_err(OpenError::io(&folder))?;
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
