//! Large files that nobody needs any more: removed soon, by a thread that may block, and never while a backup reads.
//!
//! A file that a blob had goes only after the commit that says so is durable. Its number counts as open until the
//! removal is durable too, so that whatever a crash leaves is looked at, and removed, by the next open.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::ReadError;
use super::files::SyncPoint;
use super::handle::Store;
use super::shared::Shared;
use super::{large, pack};

/// What the file of a rotten blob is called.
const ROTTEN: &str = "rotten";

/// What is to be removed, and how many keep it from that.
#[derive(Default)]
pub struct Removal {
    waiting: Mutex<Vec<Abandoned>>,
    pins: Mutex<usize>,
    /// Files whose blob rotted: they get another name instead of going, for a piece of them may be all that is left.
    spoiled: Mutex<HashSet<u64>>,
}

/// A large file that nobody wants any more.
struct Abandoned {
    number: u64,
    paths: Vec<PathBuf>,
    bytes: u64,
    /// A blob had it: a backup may have promised it.
    was_committed: bool,
}

/// While this lives no committed file is removed or replaced: what a backup plans stays until it is read.
pub struct Pin(Arc<Shared>);

impl Pin {
    /// Takes hold. What is listed from now on stays.
    pub fn new(shared: &Arc<Shared>) -> Pin {
        *shared.removal.pins() += 1;
        Pin(shared.clone())
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        *self.0.removal.pins() -= 1;
        self.0.overlay.nudge();
    }
}

impl Removal {
    fn waiting(&self) -> MutexGuard<'_, Vec<Abandoned>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keep files; nobody begins or ends to while this is held.
    pub fn pins(&self) -> MutexGuard<'_, usize> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Has a file removed soon that no commit refers to; at once when the thread for that has ended.
    pub fn abandon(&self, number: u64, paths: Vec<PathBuf>, bytes: u64) {
        self.removal.waiting().push(Abandoned { number, paths, bytes, was_committed: false });
        if !self.overlay.nudge() {
            self.remove_abandoned();
        }
    }

    /// Has the file of a blob removed soon whose delete is durable.
    pub fn condemn(&self, number: u64, size_bytes: u64) {
        let paths = vec![large::path(&self.large_folder(), number, "blob")];
        let bytes = large::sealed_bytes(size_bytes);
        self.removal.waiting().push(Abandoned { number, paths, bytes, was_committed: true });
        self.overlay.nudge();
    }

    /// Removes what may go now. Blocks.
    pub fn remove_abandoned(&self) {
        let pins = self.removal.pins();
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut *self.removal.waiting())
            .into_iter()
            .partition(|file| *pins == 0 || !file.was_committed);
        self.removal.waiting().extend(kept);
        let mut must_sync = false;
        for file in &gone {
            let is_spoiled = self.removal.spoiled.lock().unwrap_or_else(PoisonError::into_inner).remove(&file.number);
            for path in &file.paths {
                let removed = if is_spoiled {
                    self.files.rename(path, &path.with_extension(ROTTEN))
                } else {
                    self.files.remove(path)
                };
                match removed {
                    Ok(()) => must_sync |= path.extension().is_some_and(|extension| extension == "blob"),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error, "an abandoned file can't be removed; the next start will");
                    }
                }
            }
            subtract(&self.counts.large_bytes, file.bytes);
        }
        drop(pins);
        if must_sync && let Err(error) = self.files.sync_folder(&self.large_folder(), SyncPoint::LargeRemoved) {
            self.fail(format!("fsync of the folder of large files: {error}"));
            return;
        }
        gone.iter().for_each(|file| self.close_large(file.number));
    }
}

impl Store {
    /// When the blob of this large file is dropped, the file is kept under another name until the blob is whole again.
    pub fn spoil(&self, file: u64) {
        self.shared().removal.spoiled.lock().unwrap_or_else(PoisonError::into_inner).insert(file);
    }

    /// Removes what was kept of rotten blobs that are here again. Blocks.
    pub(super) fn release_spoiled(&self) -> Result<(), ReadError> {
        let shared = self.shared();
        let folder = shared.large_folder();
        for listed in shared.files.list(&folder).map_err(ReadError::io(&folder))? {
            if pack::number_of(&listed.name, ROTTEN).is_none() {
                continue;
            }
            let path = folder.join(&listed.name);
            let header = shared.files.open(&path).ok().and_then(|file| large::Header::read(file.as_ref()));
            if let Some(header) = header
                && shared.blob(&header.digest)?.is_some()
            {
                shared.files.remove(&path).map_err(ReadError::io(&path))?;
            }
        }
        Ok(())
    }
}

/// Never below zero: sizes of files that an earlier release counted otherwise may be a little off.
fn subtract(count: &std::sync::atomic::AtomicU64, bytes: u64) {
    // The closure always answers, so there is no error.
    let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| Some(before.saturating_sub(bytes)));
}
