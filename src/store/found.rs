//! The packs as they are found when the store opens.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::OpenError;
use super::files::{File, FileSystem, SyncPoint};
use super::pack::reader::Reader;
use super::pack::writer::Writer;
use super::pack::{self, FORMAT_MERGED, FORMAT_PLAIN, HOLLOW_PACK_BYTES, PACK_HEADER_BYTES, PackHeader};

/// The packs as found.
pub struct Found {
    folder: PathBuf,
    /// Their headers, in the order of their numbers.
    pub headers: Vec<PackHeader>,
    /// Their sizes together.
    pub bytes: u64,
    /// The store is new.
    pub is_created: bool,
}

impl Found {
    /// Makes the folders, reads the headers of all packs, makes the first pack of a new store.
    pub fn look(files: &dyn FileSystem, folder: &Path, fresh_id: [u8; 16]) -> Result<Found, OpenError> {
        make_folders(files, folder)?;
        let packs = folder.join("packs");
        let mut found = Found { folder: packs.clone(), headers: Vec::new(), bytes: 0, is_created: false };
        let listed = files.list(&packs).map_err(OpenError::io(&packs))?;
        for leftover in listed.iter().filter(|file| pack::number_of(&file.name, pack::HOLLOW).is_some()) {
            let path = packs.join(&leftover.name);
            files.remove(&path).map_err(OpenError::io(&path))?;
        }
        let numbers: Vec<(u64, u64)> =
            listed.iter().filter_map(|file| Some((pack::number_of(&file.name, "pack")?, file.bytes))).collect();
        let mut expected = 1;
        for (position, (number, bytes)) in numbers.iter().enumerate() {
            if *number < expected && *bytes <= HOLLOW_PACK_BYTES {
                // One that was merged with those before it; the end of that was interrupted.
                let path = pack::path(&packs, *number);
                files.remove(&path).map_err(OpenError::io(&path))?;
                continue;
            }
            if *number != expected {
                let file = pack::path(&packs, expected);
                return Err(OpenError::Damaged { file, offset: 0, reason: "the pack is missing" });
            }
            let is_newest = position + 1 == numbers.len();
            match found.read_header(files, *number, *bytes)? {
                Some(header) => {
                    expected = header.until + 1;
                    found.headers.push(header);
                }
                None if is_newest && *bytes <= PACK_HEADER_BYTES as u64 => found.remove_torn(files, *number)?,
                None => {
                    let file = pack::path(&packs, *number);
                    return Err(OpenError::Damaged { file, offset: 0, reason: "the pack's header is unreadable" });
                }
            }
            found.bytes += bytes;
        }
        if found.headers.is_empty() {
            refuse_orphans(files, folder)?;
            let header = PackHeader { format: FORMAT_PLAIN, store_id: fresh_id, number: 1, first_commit: 1, until: 1 };
            Writer::create(files, &packs, header).map_err(OpenError::io(&packs))?;
            found.headers.push(header);
            found.bytes = PACK_HEADER_BYTES as u64;
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
        let header = PackHeader::read(file.as_ref()).map_err(OpenError::io(&path))?;
        let Some(header) = header else { return Ok(None) };
        if header.format > FORMAT_MERGED {
            return Err(OpenError::Newer { file: path, version: header.format, known: FORMAT_MERGED });
        }
        let is_right = header.number == number && header.until >= number;
        if !is_right || self.headers.first().is_some_and(|first| first.store_id != header.store_id) {
            return Err(OpenError::Foreign { file: path });
        }
        Ok(Some(header))
    }

    /// A pack whose making was interrupted: nothing was ever written behind its header.
    fn remove_torn(&self, files: &dyn FileSystem, number: u64) -> Result<(), OpenError> {
        let path = self.path(number);
        files.remove(&path).map_err(OpenError::io(&path))
    }

    /// Where a pack lies.
    pub fn path(&self, number: u64) -> PathBuf {
        pack::path(&self.folder, number)
    }

    /// The id of the store.
    pub fn store_id(&self) -> [u8; 16] {
        self.headers[0].store_id
    }

    /// The header of a pack; `None` when there is none, or it was merged with those before it.
    pub fn header(&self, number: u64) -> Option<&PackHeader> {
        self.from(number).first().filter(|header| header.number == number)
    }

    /// The headers of a pack and those behind it.
    pub fn from(&self, number: u64) -> &[PackHeader] {
        &self.headers[self.headers.partition_point(|header| header.number < number)..]
    }

    /// The header of the newest pack.
    pub fn newest(&self) -> &PackHeader {
        self.headers.last().expect("a first pack was made")
    }

    /// The error that names a pack and an offset.
    pub fn damaged(&self, number: u64, offset: u64, reason: &'static str) -> OpenError {
        OpenError::Damaged { file: self.path(number), offset, reason }
    }

    /// Reads a pack from `start` on.
    pub fn reader(&self, number: u64, file: &Arc<dyn File>, start: u64) -> Result<Reader, OpenError> {
        let path = self.path(number);
        Reader::new(file.clone(), self.newest().seal(), start).map_err(OpenError::io(&path))
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

/// Large files without any pack are what is left of a store whose packs were lost: they must not be tidied away.
fn refuse_orphans(files: &dyn FileSystem, folder: &Path) -> Result<(), OpenError> {
    let large = folder.join("large");
    let listed = files.list(&large).map_err(OpenError::io(&large))?;
    if listed.iter().any(|file| pack::number_of(&file.name, "blob").is_some()) {
        let file = pack::path(&folder.join("packs"), 1);
        return Err(OpenError::Damaged {
            file,
            offset: 0,
            reason: "the pack is missing, though large files are there",
        });
    }
    Ok(())
}
