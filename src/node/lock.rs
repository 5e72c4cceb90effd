//! One node per folder.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Holds the folder until it is dropped, or the process ends however it ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes `DIR/lock`; refuses when another process holds it, and names that process.
    pub(super) fn take(folder: &Path) -> anyhow::Result<FolderLock> {
        let path = folder.join("lock");
        let shown = path.display();
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.with_context(|| shown.to_string())?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let holder = std::fs::read_to_string(&path).unwrap_or_default();
                bail!("another node is running on {} (process {}): stop it first", folder.display(), holder.trim());
            }
            Err(error) => return Err(error).with_context(|| format!("{shown} cannot be locked")),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).with_context(|| shown.to_string())?;
        Ok(FolderLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_and_free_again_after() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = FolderLock::take(folder.path()).expect("free");
        let refused = FolderLock::take(folder.path()).expect_err("taken").to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        FolderLock::take(folder.path()).expect("free again");
    }
}
