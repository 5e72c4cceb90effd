//! The seam through which every file call of the store goes.

mod real;
#[cfg(test)]
mod simulated;

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
pub use real::RealFiles;
#[cfg(test)]
pub use simulated::{Loss, Lost, SimulatedFiles};

/// Why something is made durable: names each call site, so that a test can leave one out and must see a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncPoint {
    /// The folder that the store's folder is in.
    StoreFolder,
    /// The store's folder, which holds `packs` and `large`.
    Subfolders,
    /// A new pack's header, before anything follows it.
    PackHeader,
    /// The folder `packs`, after a pack was made.
    PackFolder,
    /// The pack, after a commit record.
    Commit,
    /// The newest pack as found at open, before what it holds is shown to anybody.
    FoundPack,
    /// The folder `packs` as found at open.
    FoundPackFolder,
    /// A large file's bytes and trailer, before it gets its final name.
    LargeFile,
    /// The folder `large`, before a commit refers to a file in it.
    LargeFolder,
    /// The folder `large`, after files that no commit refers to any more were removed, and before that is forgotten.
    LargeRemoved,
    /// The newest pack, after records of an older one were repeated in it.
    Carry,
    /// The file that is to replace a pack whose records were repeated, before it gets its name.
    HollowPack,
    /// The folder `packs`, after that, and before anything relies on the older records being gone.
    HollowFolder,
    /// The file that says that what follows it in a folder is an unfinished copy of a store, and its name.
    MoveMarker,
    /// A file of a store that is moved, before anything relies on the copy.
    MovedFile,
    /// The folders in which such copies are, before anything relies on them.
    MovedNames,
    /// The file that says where the store is, before it takes the place of the last one.
    Location,
    /// The data folder, after that, and before anything of the old place is removed.
    LocationName,
}

impl SyncPoint {
    /// All of an open store.
    pub const ALL: [SyncPoint; 13] = [
        SyncPoint::StoreFolder,
        SyncPoint::Subfolders,
        SyncPoint::PackHeader,
        SyncPoint::PackFolder,
        SyncPoint::Commit,
        SyncPoint::FoundPack,
        SyncPoint::FoundPackFolder,
        SyncPoint::LargeFile,
        SyncPoint::LargeFolder,
        SyncPoint::LargeRemoved,
        SyncPoint::Carry,
        SyncPoint::HollowPack,
        SyncPoint::HollowFolder,
    ];

    /// All of a store that is moved.
    pub const OF_MOVES: [SyncPoint; 5] = [
        SyncPoint::MoveMarker,
        SyncPoint::MovedFile,
        SyncPoint::MovedNames,
        SyncPoint::Location,
        SyncPoint::LocationName,
    ];
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The last part of its path.
    pub name: String,
    /// Its size; 0 for a folder.
    pub bytes: u64,
}

/// What a device may want addresses, offsets and lengths to be multiples of.
pub const PAGE_BYTES: usize = 4096;

/// Names and folders. Calls block.
pub trait FileSystem: Send + Sync + 'static {
    /// Makes one folder; one that exists is fine.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes an empty file to read and write; one that exists is an error.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file to read and write.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// What a folder holds, in the order of the names.
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>>;
    /// Gives a file or folder another name in the same file system, replacing a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and what is in it.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path, point: SyncPoint) -> io::Result<()>;
    /// What an unprivileged writer may still use on the device.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

/// The bytes of one open file. Calls block; many threads may use it at once.
pub trait File: Send + Sync + 'static {
    /// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Fills `buffer` from `offset` if that needs no waiting for the device; `false` when it would, or when nobody knows.
    fn read_resident(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<bool> {
        Ok(false)
    }
    /// The bytes of a range as memory of the file itself, for the kernel to send: see [`super::mapping`]. `None` where there
    /// is no such thing. Only for a range that a commit covers.
    fn map(&self, _offset: u64, _bytes: usize) -> Option<Bytes> {
        None
    }
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// The same for bytes that nobody will read soon: past the operating system's cache where the device takes them so, and
    /// whether it did. That wants a memory address, an offset and a length that are multiples of [`PAGE_BYTES`].
    fn write_past_cache(&self, bytes: &[u8], offset: u64) -> io::Result<bool> {
        self.write_at(bytes, offset).map(|()| false)
    }
    /// The file's length.
    fn size(&self) -> io::Result<u64>;
    /// Cuts or extends the file.
    fn set_size(&self, bytes: u64) -> io::Result<()>;
    /// Reserves blocks for a range, without changing the size; does nothing where that isn't supported.
    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()>;
    /// fdatasync: the bytes and the size are durable when this returns.
    fn sync(&self, point: SyncPoint) -> io::Result<()>;
    /// Has what is read next come from the device, as far as the operating system lets us: for whoever verifies what was
    /// written and synced.
    fn forget_cached(&self) {}
    /// A sync on whose success nobody relies, so that the one that counts has less left to do. Its failure does count: the
    /// operating system tells each only once.
    fn sync_early(&self) -> io::Result<()>;
}

/// The device or the quota is full, as the operating system says it.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
