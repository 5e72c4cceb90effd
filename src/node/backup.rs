//! Backups of a node that doesn't run.

use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use artimesh_core::model::NodeId;

use super::founding;
use super::lock::FolderLock;
use super::moving;
use crate::config::{FILE_NAME, Keys, load};
use crate::store::RealFiles;
use crate::store::backup::{self, About, OwnFile, Plan};

/// The files of a data folder that belong to a backup, beside the store. Not the circle's root key: it doesn't belong on
/// the machine, and even less on a second one.
pub(super) const OWN_FILES: &[&str] =
    &[FILE_NAME, "admin.token", founding::FILE_NAME, Keys::FILES[0], Keys::FILES[1], Keys::FILES[2]];

/// A folder whose node is kept from starting until this is dropped.
pub struct Stopped {
    plan: Plan,
    _locks: (FolderLock, Option<FolderLock>),
}

impl Stopped {
    /// Looks at a folder that no node runs on.
    ///
    /// # Errors
    /// A node does, or the folder isn't whole.
    pub fn open(folder: &Path) -> anyhow::Result<Stopped> {
        let lock = FolderLock::take(folder)?;
        let keys = Keys::load(folder)?;
        let settings = load(Some(&folder.join(FILE_NAME)), std::env::vars_os(), &[])?.settings;
        let made_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64);
        let about = About::new(&NodeId::of(&keys.log.public()), &settings.node.name, made_ms);
        let own = OwnFile::read_all(folder, OWN_FILES)?;
        let location = moving::location(folder)?;
        let store_lock = moving::lock_store(&location)?;
        let plan = Plan::of_stopped(about, own, &location.folder, &RealFiles)?;
        Ok(Stopped { plan, _locks: (lock, store_lock) })
    }

    /// The length of the archive.
    pub fn archive_bytes(&self) -> u64 {
        self.plan.archive_bytes()
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// As [`backup::write`].
    pub fn write(&self, sink: impl Write) -> io::Result<()> {
        backup::write(&self.plan, &RealFiles, sink)
    }
}
