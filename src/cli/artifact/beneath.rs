//! Files below a folder, whatever their names are and whatever stands there: no link is followed, and nothing outside is
//! touched.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use artimesh_core::model::ArtifactPath;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fsync, mkdirat, openat, renameat, syncfs, unlinkat};
use rustix::io::Errno;

/// A folder that files are put in.
pub(super) struct Root(OwnedFd);

/// The place of one file.
pub(super) struct Place {
    pub(super) folder: OwnedFd,
    pub(super) name: OsString,
}

/// A file that isn't there until it is whole. Goes when it is dropped, unless it got its name before.
pub(super) struct Growing {
    place: Arc<Place>,
    temporary: String,
    pub(super) file: Option<File>,
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
const NEW_FILE: OFlags = OFlags::CREATE.union(OFlags::EXCL).union(OFlags::WRONLY).union(OFlags::CLOEXEC);

impl Root {
    /// Opens it, or makes it. It may be a link; what is in it mayn't.
    pub(super) fn open(path: &Path) -> io::Result<Root> {
        std::fs::create_dir_all(path)?;
        Ok(Root(openat(CWD, path, FOLDER, Mode::empty())?))
    }

    /// Where a file is to be; makes its folders.
    pub(super) fn place(&self, path: &ArtifactPath) -> io::Result<Place> {
        let mut folder = openat(&self.0, ".", FOLDER, Mode::empty())?;
        let mut segments = path.as_str().split('/').peekable();
        while let Some(segment) = segments.next() {
            // A path of an artifact has none of these; a file system must never be asked for them.
            if matches!(segment, "" | "." | "..") || segment.contains('\0') {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads elsewhere"));
            }
            if segments.peek().is_none() {
                return Ok(Place { folder, name: segment.into() });
            }
            match mkdirat(&folder, segment, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = openat(&folder, segment, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(in_the_way)?;
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no name"))
    }

    /// Makes everything that was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(syncfs(&self.0)?)
    }
}

fn in_the_way(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => io::Error::other("a symbolic link stands there, which is not followed"),
        // A link that is to be opened as a folder is told as no folder.
        Errno::NOTDIR => io::Error::other("a file or a symbolic link stands where a folder is to be"),
        other => other.into(),
    }
}

impl Place {
    /// The place of this path, of which only the last name mayn't be a link.
    pub(super) fn of(path: &Path) -> io::Result<Place> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        Ok(Place { folder: openat(CWD, parent, FOLDER, Mode::empty())?, name })
    }

    /// Makes the file's name durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.folder)?)
    }

    /// The file that is there, open for reading.
    pub(super) fn present(&self) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, &self.name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(in_the_way(error)),
        };
        match file.metadata()? {
            metadata if metadata.is_file() => Ok(Some(file)),
            _ => Err(io::Error::other("something that is no file stands there")),
        }
    }

    /// Begins the file.
    pub(super) fn grow(self: &Arc<Place>) -> io::Result<Growing> {
        let mut random = [0; 6];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        // A name of 255 bytes has no room for more.
        let start: String = self.name.to_string_lossy().chars().take(50).collect();
        let temporary = format!(".{start}.{}.part", data_encoding::HEXLOWER.encode(&random));
        let file = openat(&self.folder, temporary.as_str(), NEW_FILE | OFlags::NOFOLLOW, Mode::from_raw_mode(0o666))?;
        Ok(Growing { place: Arc::clone(self), temporary, file: Some(File::from(file)) })
    }
}

impl Growing {
    /// Gives it its name, in place of what was there.
    pub(super) fn settle(mut self) -> io::Result<Arc<Place>> {
        let Place { folder, name } = &*self.place;
        renameat(folder, self.temporary.as_str(), folder, name)?;
        self.temporary.clear();
        Ok(Arc::clone(&self.place))
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if !self.temporary.is_empty() {
            // Dropping can't fail; a file that stays behind is visibly partial.
            let _ = unlinkat(&self.place.folder, self.temporary.as_str(), AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Root, path: &str) -> io::Result<()> {
        let mut growing = Arc::new(root.place(&path.parse().unwrap())?).grow()?;
        growing.file.as_mut().unwrap().write_all(b"new")?;
        growing.settle().map(|_| ())
    }

    #[test]
    fn files_get_their_names_when_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(&folder.path().join("a/b")).unwrap();
        write(&root, "c/d").unwrap();
        write(&root, "c/d").unwrap();
        assert_eq!(fs::read(folder.path().join("a/b/c/d")).unwrap(), b"new");
        drop(Arc::new(root.place(&"c/e".parse().unwrap()).unwrap()).grow().unwrap());
        assert_eq!(fs::read_dir(folder.path().join("a/b/c")).unwrap().count(), 1);
        let long = "n".repeat(255);
        write(&root, &long).unwrap();
        assert!(folder.path().join("a/b").join(long).is_file());
    }

    #[test]
    fn no_link_is_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("x"), b"old").unwrap();
        symlink(outside.path(), folder.path().join("out")).unwrap();
        symlink(outside.path().join("x"), folder.path().join("link")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert!(write(&root, "out/x").is_err());
        assert!(write(&root, "out/new").is_err());
        assert!(root.place(&"link".parse().unwrap()).unwrap().present().is_err());
        // The link itself gives way.
        write(&root, "link").unwrap();
        assert!(fs::symlink_metadata(folder.path().join("link")).unwrap().is_file());
        assert_eq!(fs::read(outside.path().join("x")).unwrap(), b"old");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
