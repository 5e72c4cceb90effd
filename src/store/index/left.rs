//! Whether the files of the index are as this program left them.
//!
//! # Why
//! sled notices damage only where it reads, so an index that anything may have happened to is read as a whole before it is
//! used: a second for each hundred thousand artifacts. Nothing has happened to files that were synced and closed and whose
//! sizes, times and inodes are the same; and after a process was killed the kernel still has all that it wrote, as long as it
//! runs itself and the file system stays mounted.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// What the files were like when they were closed; removed when they are opened.
const CLOSED: &str = "as-closed";
/// Where they were opened: the run of the kernel, and the mount.
const OPENED: &str = "as-opened";

/// The file that sled keeps its rows in.
const ROWS: &str = "db";

/// `STATX_MNT_ID_UNIQUE`: an id of the mount that no other has had since the kernel started. Since Linux 6.8.
const MOUNT_ID: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// Whether they are as they were when they were closed, or were opened on this mount and never closed. To be asked before
/// they are opened.
pub fn is_untouched(folder: &Path) -> bool {
    let is_noted = |name: &str, now: Option<String>| now.is_some() && fs::read_to_string(folder.join(name)).ok() == now;
    is_noted(CLOSED, listing(folder).ok()) || is_noted(OPENED, place(folder))
}

/// Notes that they are open now, if there is room for that: an index is of use on a full disk, too.
pub fn note_opened(folder: &Path) {
    let write = |place| fs::write(folder.join(OPENED), place);
    if let Err(error) = forget(folder).and_then(|()| place(folder).map_or(Ok(()), write)) {
        tracing::warn!(%error, "where the index is open was not noted: after a kill the next start reads all of it");
    }
}

/// Syncs them, and notes how they are. To be called when nobody has them open any more.
pub fn note_closed(folder: &Path) -> io::Result<()> {
    forget(folder)?;
    for path in files(folder)? {
        File::open(path)?.sync_all()?;
    }
    fs::write(folder.join(CLOSED), listing(folder)?)
}

/// Has the next open read everything.
pub fn forget_how_left(folder: &Path) {
    if let Err(error) = forget(folder) {
        tracing::warn!(folder = %folder.display(), %error, "how the index was left can't be forgotten");
    }
}

fn forget(folder: &Path) -> io::Result<()> {
    for name in [CLOSED, OPENED] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// All files but the notes, in the order of their names.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else if entry.file_name() != CLOSED && entry.file_name() != OPENED {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn listing(folder: &Path) -> io::Result<String> {
    let mut listing = String::new();
    for path in files(folder)? {
        let found = fs::metadata(&path)?;
        let (size, inode, device) = (found.len(), found.ino(), found.dev());
        let (seconds, nanoseconds) = (found.mtime(), found.mtime_nsec());
        let name = path.strip_prefix(folder).unwrap_or(&path).display();
        // A String takes whatever there is memory for.
        let _ = writeln!(listing, "{size} {seconds}.{nanoseconds:09} {device}:{inode} {name}");
    }
    Ok(listing)
}

/// The kernel's run, the mount, and which file it is; `None` where the kernel doesn't tell mounts apart.
fn place(folder: &Path) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let rows = statx(CWD, folder.join(ROWS), AtFlags::empty(), MOUNT_ID | StatxFlags::INO).ok()?;
    let has_mount = StatxFlags::from_bits_retain(rows.stx_mask).contains(MOUNT_ID);
    has_mount.then(|| format!("{} {} {}\n", boot.trim(), rows.stx_mnt_id, rows.stx_ino))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn index() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("blobs")).unwrap();
        for name in ["db", "conf", "blobs/1"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        folder
    }

    #[test]
    fn closed_files_are_untouched_until_anything_is_different() {
        let index = index();
        let path = |name: &str| index.path().join(name);
        assert!(!is_untouched(index.path()), "nobody has noted anything");
        let changes: [(&str, &dyn Fn()); 5] = [
            ("longer", &|| fs::write(path("db"), "longer").unwrap()),
            ("a second later", &|| {
                let db = File::options().append(true).open(path("db")).unwrap();
                db.set_modified(SystemTime::now() + Duration::from_secs(1)).unwrap();
            }),
            ("one more", &|| fs::write(path("blobs/2"), "").unwrap()),
            ("one less", &|| fs::remove_file(path("blobs/1")).unwrap()),
            ("a copy", &|| {
                let modified = fs::metadata(path("conf")).unwrap().modified().unwrap();
                fs::copy(path("conf"), path("blobs/new")).unwrap();
                File::options().append(true).open(path("blobs/new")).unwrap().set_modified(modified).unwrap();
                fs::rename(path("blobs/new"), path("conf")).unwrap();
            }),
        ];
        for (what, change) in changes {
            note_closed(index.path()).unwrap();
            assert!(is_untouched(index.path()));
            change();
            assert!(!is_untouched(index.path()), "{what}");
        }
    }

    #[test]
    fn open_files_are_untouched_where_they_were_opened() {
        let index = index();
        note_closed(index.path()).unwrap();
        note_opened(index.path());
        assert!(!index.path().join(CLOSED).exists());
        if place(index.path()).is_none() {
            return;
        }
        fs::write(index.path().join("db"), "more").unwrap();
        assert!(is_untouched(index.path()), "by itself");
        fs::write(index.path().join("other"), "").unwrap();
        fs::rename(index.path().join("other"), index.path().join("db")).unwrap();
        assert!(!is_untouched(index.path()), "another file took its place");
        note_opened(index.path());
        let noted = fs::read_to_string(index.path().join(OPENED)).unwrap();
        fs::write(index.path().join(OPENED), format!("another-{noted}")).unwrap();
        assert!(!is_untouched(index.path()), "the kernel was started again");
        note_opened(index.path());
        note_closed(index.path()).unwrap();
        fs::write(index.path().join("db"), "changed").unwrap();
        assert!(!is_untouched(index.path()), "it is closed");
        note_closed(index.path()).unwrap();
        forget_how_left(index.path());
        assert!(!is_untouched(index.path()), "it broke");
        fs::create_dir(index.path().join(OPENED)).unwrap();
        note_opened(index.path());
        assert!(!is_untouched(index.path()), "the note can't be written");
    }
}
