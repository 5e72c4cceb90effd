//! Where the store of a data folder lies, when that isn't in the folder itself: `DIR/store.location`.
//!
//! # Why a file, and not a link
//! A link can't take the place of a folder in one step on every file system; a file takes its name by a rename, so at each
//! moment one place is the store's. It names the store by its id, too: where a disk isn't mounted, an empty folder stands
//! instead, and a node that made a new store there would have forgotten everything.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{FileSystem, SyncPoint};
use super::pack::{self, PACK_HEADER_BYTES, PackHeader};

/// The name of the file.
const NAME: &str = "store.location";
/// The folder of the store when there is no such file.
const USUAL: &str = "store";
const FORMAT: u32 = 1;
/// What stands in a file in the usual place, when the store is elsewhere.
const STUB: &[u8; 59] = b"The store of this node is elsewhere: store.location says it";
/// No such file is longer.
const BYTES_MAX: u64 = 64 << 10;

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Its folder.
    pub folder: PathBuf,
    /// Which store is expected there; `None` in the usual place.
    pub store_id: Option<[u8; 16]>,
    /// Where it was before, when that is still to be removed.
    pub leftover: Option<PathBuf>,
}

/// What the file says, as JSON.
#[derive(Serialize, Deserialize)]
struct Page {
    format: u32,
    folder: PathBuf,
    store_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leftover: Option<PathBuf>,
}

/// It isn't known where the store is, or it isn't there. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// The file system refused a call.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        reason: io::Error,
    },
    /// The file makes no sense.
    #[error("{} can't be understood ({reason}): it says where the store is; write {{\"format\": 1, \"folder\": \"/WHERE\", \"store_id\": \"...\"}} into it, or restore it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A later release wrote it.
    #[error("{} has format {format}, and this release knows {FORMAT}: upgrade", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The store isn't where it should be.
    #[error("the store of this node is in {} ({NAME} of the data folder says so), and {found}: is the disk mounted?", folder.display())]
    Absent {
        /// Where it should be.
        folder: PathBuf,
        /// What is there.
        found: &'static str,
    },
}

impl LocationError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> LocationError {
        let path = path.to_owned();
        move |reason| LocationError::Io { path, reason }
    }
}

impl Location {
    /// Where the store of a data folder is. Whether it is there isn't looked at.
    pub fn of(data: &Path, files: &dyn FileSystem) -> Result<Location, LocationError> {
        let path = data.join(NAME);
        let file = match files.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Location { folder: data.join(USUAL), store_id: None, leftover: None });
            }
            Err(reason) => return Err(LocationError::Io { path, reason }),
        };
        let size = file.size().map_err(LocationError::io(&path))?.min(BYTES_MAX);
        let mut text = vec![0; size as usize];
        file.read_at(&mut text, 0).map_err(LocationError::io(&path))?;
        let damaged = |reason: String| LocationError::Damaged { path: path.clone(), reason };
        let page: Page = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if page.format > FORMAT {
            return Err(LocationError::Newer { path, format: page.format });
        }
        let id = data_encoding::HEXLOWER.decode(page.store_id.as_bytes()).ok().and_then(|id| id.try_into().ok());
        let id = id.ok_or_else(|| damaged("the id of the store is not 32 hexadecimal digits".into()))?;
        if !page.folder.is_absolute() {
            return Err(damaged("the folder is not an absolute path".into()));
        }
        Ok(Location { folder: page.folder, store_id: Some(id), leftover: page.leftover })
    }

    /// An error when another store than the one expected is there, or none.
    pub fn check(&self, files: &dyn FileSystem) -> Result<(), LocationError> {
        let Some(expected) = self.store_id else { return Ok(()) };
        let absent = |found| LocationError::Absent { folder: self.folder.clone(), found };
        match id_of(&self.folder, files) {
            Ok(Some(id)) if id == expected => Ok(()),
            Ok(Some(_)) => Err(absent("another store is there")),
            Ok(None) => Err(absent("no store is there")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(absent("nothing is there")),
            Err(reason) => Err(LocationError::Io { path: self.folder.clone(), reason }),
        }
    }

    /// Writes the file durably: a crash leaves what it said before, or this. Only for a place that isn't the usual one, or
    /// to say again that it is.
    pub fn write(&self, data: &Path, files: &dyn FileSystem) -> Result<(), LocationError> {
        let path = data.join(NAME);
        let id = data_encoding::HEXLOWER.encode(&self.store_id.unwrap_or_default());
        let page = Page { format: FORMAT, folder: self.folder.clone(), store_id: id, leftover: self.leftover.clone() };
        let text = serde_json::to_vec_pretty(&page).expect("paths and texts are JSON");
        let beside = data.join(format!("{NAME}.new"));
        let written = (|| {
            match files.remove(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file = files.create(&beside)?;
            file.write_at(&text, 0)?;
            file.sync(SyncPoint::Location)?;
            files.rename(&beside, &path)?;
            files.sync_folder(data, SyncPoint::LocationName)
        })();
        written.map_err(LocationError::io(&path))
    }
}

/// Puts a file where the store usually is, once it is elsewhere: an earlier release, which knows nothing of that, would make
/// an empty store there, and now says that it can't.
pub fn leave_stub(data: &Path, old: &Path, files: &dyn FileSystem) -> io::Result<()> {
    if old != data.join(USUAL) || !matches!(files.list(old), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    files.create(old)?.write_at(STUB, 0)
}

/// Whether that is what stands there.
pub fn is_stub(path: &Path, files: &dyn FileSystem) -> bool {
    let mut text = [0; STUB.len()];
    files.open(path).and_then(|file| file.read_at(&mut text, 0)).is_ok() && text == *STUB
}

/// The id of the store in a folder; `None` when there is no readable pack.
pub fn id_of(folder: &Path, files: &dyn FileSystem) -> io::Result<Option<[u8; 16]>> {
    let file = match files.open(&pack::path(&folder.join("packs"), 1)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut header = [0; PACK_HEADER_BYTES];
    match file.read_at(&mut header, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other.map(|()| PackHeader::decode(&header).map(|header| header.store_id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RealFiles;

    #[test]
    fn the_file_reads_as_it_was_written_and_one_that_makes_no_sense_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let usual = Location::of(data.path(), &RealFiles).unwrap();
        assert_eq!((usual.folder.as_path(), usual.store_id), (data.path().join("store").as_path(), None));
        usual.check(&RealFiles).unwrap();
        let moved = Location { folder: "/big/store".into(), store_id: Some([0xab; 16]), leftover: Some("/old".into()) };
        moved.write(data.path(), &RealFiles).unwrap();
        assert_eq!(Location::of(data.path(), &RealFiles).unwrap(), moved);
        let told = moved.check(&RealFiles).unwrap_err().to_string();
        assert!(told.contains("/big/store") && told.contains("is the disk mounted?"), "{told}");
        for (text, part) in [
            ("{", "can't be understood"),
            (r#"{"format": 2, "folder": "/x", "store_id": ""}"#, "upgrade"),
            (r#"{"format": 1, "folder": "/x", "store_id": "ab"}"#, "32 hexadecimal digits"),
            (r#"{"format": 1, "folder": "x", "store_id": "abababababababababababababababab"}"#, "absolute"),
        ] {
            std::fs::write(data.path().join(NAME), text).unwrap();
            let told = Location::of(data.path(), &RealFiles).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        }
    }
}
