//! Why a store isn't moved.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::location::LocationError;

/// The store isn't moved. What counted before counts still, unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is nothing to move.
    #[error("{} holds no store: the node never ran, or its disk isn't mounted", .0.display())]
    NoStore(PathBuf),
    /// It is there already.
    #[error("the store is in {} already: nothing to do", .0.display())]
    Same(PathBuf),
    /// One would lie in the other.
    #[error("{} and the store's present place, {}, lie in one another: name a folder beside it", to.display(), from.display())]
    Inside {
        /// Where it is.
        from: PathBuf,
        /// Where it was to be.
        to: PathBuf,
    },
    /// Something else is there.
    #[error("{} is not empty ({found} is in it): name an empty folder, or one that doesn't exist yet", path.display())]
    NotEmpty {
        /// Where it was to be.
        path: PathBuf,
        /// Something that is there.
        found: String,
    },
    /// It can't be written there.
    #[error("{} can't be written: {reason}", path.display())]
    NotWritable {
        /// Where it was to be.
        path: PathBuf,
        /// The operating system's answer.
        reason: io::Error,
    },
    /// It doesn't fit.
    #[error("{} has room for {free_bytes} bytes, and {needed_bytes} are needed: free some, or name another disk", path.display())]
    NoRoom {
        /// Where it was to be.
        path: PathBuf,
        /// The store with its index, and some to go on with.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
    /// What was read back isn't what was written.
    #[error("{} reads back as something else than was written: don't use this disk", .0.display())]
    Different(PathBuf),
    /// A file got another length meanwhile.
    #[error("{} changes while it is copied: who writes there?", .0.display())]
    Changing(PathBuf),
    /// The file system refused a call. If the location has changed by then, the new place counts, and what is left of the old
    /// one is removed later.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        reason: io::Error,
    },
    /// Where the store is can't be read or written.
    #[error(transparent)]
    Location(#[from] LocationError),
}

impl MoveError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> MoveError {
        let path = path.to_owned();
        move |reason| MoveError::Io { path, reason }
    }
}
