//! What a download leaves when it breaks off: a file beside its target, whose name says of what bytes it is a part.
//!
//! # Why
//! - *The name is all there is to know.* `.NAME.TAG.SHA256.part`: the beginning of the target's name for people, a tag of all
//!   of it, and the digest of what it will be. A list of downloads elsewhere would be wrong as soon as somebody moved a file.
//! - *Who writes holds its lock*, which ends with its process however that ends. So a part is never written by two, and what
//!   nobody writes may be taken over or removed.
//! - *Its bytes aren't trusted.* They are hashed before the rest is asked for, and the whole is compared at the end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, flock, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::beneath::Place;
use super::download::is_sha256;

/// How much of the target's name is in a part's.
const START_CHARS: usize = 40;
const END: &str = ".part";

/// A part that this process alone writes. It stays when it is dropped, unless it is empty.
pub(super) struct Part {
    place: Arc<Place>,
    name: OsString,
    pub(super) file: File,
}

impl Place {
    /// The SHA-256 of each artifact of which a part was left for this place.
    pub(super) fn parts(&self) -> io::Result<Vec<String>> {
        let start = start(&self.name);
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let name = entry?;
            let middle = name.file_name().to_bytes().strip_prefix(start.as_bytes());
            let sha256 = middle.and_then(|rest| rest.strip_suffix(END.as_bytes())).map(String::from_utf8_lossy);
            found.extend(sha256.filter(|text| is_sha256(text)).map(String::from));
        }
        Ok(found)
    }

    /// Opens or begins a part; `None` if somebody else writes it, or may.
    pub(super) fn part(self: &Arc<Place>, sha256: &str) -> io::Result<Option<Part>> {
        let mut name = start(&self.name);
        name.push(sha256);
        name.push(END);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, &name, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => File::from(file),
            Err(Errno::LOOP | Errno::ACCESS | Errno::ISDIR | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A file system without locks has no parts: what was just made goes again.
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(_) if file.metadata()?.len() > 0 => return Ok(None),
            Err(_) => {
                let _ = unlinkat(&self.folder, &name, AtFlags::empty());
                return Ok(None);
            }
        }
        let part = Part { place: Arc::clone(self), name, file };
        Ok(if part.is_ours()? { Some(part) } else { None })
    }
}

impl Part {
    /// Whether this is still what has the name (it got its real one otherwise, between opening and locking), and nobody else
    /// can have it open or under another name.
    fn is_ours(&self) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        let named = match statat(&self.place.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => named,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let is_named = (named.st_dev, named.st_ino) == (metadata.dev(), metadata.ino());
        let is_own = metadata.uid() == geteuid().as_raw() && metadata.nlink() == 1;
        Ok(is_named && is_own && metadata.is_file())
    }

    /// Gives it its real name, in place of what was there.
    pub(super) fn settle(&self) -> io::Result<Arc<Place>> {
        let Place { folder, name } = &*self.place;
        if !self.is_ours()? {
            return Err(io::Error::other(
                "another file was put in the place of the part meanwhile, or it got another name as well",
            ));
        }
        renameat(folder, &self.name, folder, name)?;
        Ok(Arc::clone(&self.place))
    }

    /// Removes it.
    pub(super) fn forget(self) {
        self.remove();
    }

    fn remove(&self) {
        // What can't be removed is found again by the next run.
        let _ = unlinkat(&self.place.folder, &self.name, AtFlags::empty());
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let is_empty = self.file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if is_empty && self.is_ours().unwrap_or(false) {
            self.remove();
        }
    }
}

/// What the names of all parts for a target begin with.
fn start(name: &OsStr) -> OsString {
    let shown: String = name.to_string_lossy().chars().take(START_CHARS).collect();
    let tag = data_encoding::HEXLOWER.encode(&blake3::hash(name.as_bytes()).as_bytes()[..6]);
    OsString::from(format!(".{shown}.{tag}."))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn place(folder: &tempfile::TempDir, name: &str) -> Arc<Place> {
        Arc::new(Place::of(&folder.path().join(name)).unwrap())
    }

    fn count(folder: &tempfile::TempDir) -> usize {
        folder.path().read_dir().unwrap().count()
    }

    #[test]
    fn a_part_is_found_again_by_its_place_and_by_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["a", "b"].map(|digit| digit.repeat(64));
        let long = "ü".repeat(127);
        for name in ["x", "x.y", &long] {
            let place = place(&folder, name);
            drop(place.part(&one).unwrap().unwrap());
            assert_eq!(place.parts().unwrap(), [""; 0], "an empty one goes");
            for sha256 in [&one, &other] {
                place.part(sha256).unwrap().unwrap().file.write_all(b"part").unwrap();
            }
            let mut found = place.parts().unwrap();
            found.sort();
            assert_eq!(found, [one.clone(), other.clone()], "{name}");
            place.part(&one).unwrap().unwrap().forget();
            place.part(&other).unwrap().unwrap().settle().unwrap();
            assert_eq!(place.parts().unwrap(), [""; 0]);
            assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"part");
        }
        assert_eq!(count(&folder), 3);
    }

    #[test]
    fn what_somebody_else_writes_or_made_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (place, sha256) = (place(&folder, "x"), "a".repeat(64));
        let mut part = place.part(&sha256).unwrap().unwrap();
        part.file.write_all(b"part").unwrap();
        assert!(place.part(&sha256).unwrap().is_none(), "it is locked");
        let name = folder.path().join(&part.name);
        drop(part);
        fs::hard_link(&name, folder.path().join("elsewhere")).unwrap();
        assert!(place.part(&sha256).unwrap().is_none(), "it has another name");
        fs::remove_file(&name).unwrap();
        symlink("elsewhere", &name).unwrap();
        assert!(place.part(&sha256).unwrap().is_none(), "a link isn't followed");
        assert_eq!(fs::read(folder.path().join("elsewhere")).unwrap(), b"part");
    }

    #[test]
    fn a_part_that_became_the_file_is_none_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let (place, sha256) = (place(&folder, "x"), "a".repeat(64));
        let part = place.part(&sha256).unwrap().unwrap();
        let late = File::open(folder.path().join(&part.name)).unwrap();
        part.settle().unwrap();
        let late = Part { place: Arc::clone(&place), name: part.name.clone(), file: late };
        assert!(!late.is_ours().unwrap());
        drop((part, late));
        assert!(folder.path().join("x").exists(), "empty as it is");
    }
}
