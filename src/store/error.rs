//! What can go wrong with bytes at rest; each variant is a decision that its caller can take.

use std::io;
use std::path::{Path, PathBuf};

use artimesh_core::model::{Checksums, Digest};

/// The store can't be opened. Nothing that was acknowledged has been changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system refused a call: look at its reason, repair, open again.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Acknowledged records are missing or broken: restore the file from a copy or rebuild the node from its peers.
    #[error("{file} is damaged at byte {offset}: {reason}", file = file.display())]
    Damaged {
        /// The pack.
        file: PathBuf,
        /// Where the first unreadable byte range starts.
        offset: u64,
        /// What was expected there.
        reason: &'static str,
    },
    /// A pack of another store lies in this folder.
    #[error("{file} belongs to another store", file = file.display())]
    Foreign {
        /// The pack.
        file: PathBuf,
    },
    /// Written by a newer release: use that one.
    #[error("{file} has format {version}; this release reads up to {known}", file = file.display())]
    Newer {
        /// The pack.
        file: PathBuf,
        /// Its format version.
        version: u32,
        /// The newest version that this release knows.
        known: u32,
    },
    /// Even a new, empty index can't be made in the folder.
    #[error("the index can't be opened: {0}")]
    Index(#[from] IndexError),
}

impl OpenError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> OpenError + '_ {
        move |source| OpenError::Io { path: path.to_path_buf(), source }
    }
}

/// A batch, an upload or a fill wasn't taken. Unless it is [`CommitError::Failed`], nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The disk, the quota or the reserve is full: free space, then try again.
    #[error("no space: {needed_bytes} bytes needed, {free_bytes} free above the reserve and within the quota")]
    NoSpace {
        /// What the batch wanted to write.
        needed_bytes: u64,
        /// What it could have had; 0 when the device itself said so.
        free_bytes: u64,
    },
    /// A write or fsync failed, so the store takes nothing more until it is opened anew. Whether the batch is durable
    /// will be known then.
    #[error("the store has failed and takes no more writes: {reason}")]
    Failed {
        /// The first failure.
        reason: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A key or value is larger than the store takes.
    #[error("a {what} of {bytes} bytes is over the limit of {limit_bytes}")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
}

/// Something at rest can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused a call.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The bytes aren't those that were written: quarantine, fetch a good copy.
    #[error("{path} is damaged at byte {offset}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged range starts.
        offset: u64,
    },
    /// Past the end of the blob.
    #[error("bytes {offset}+{bytes} are outside of a blob of {size}")]
    OutOfRange {
        /// What was asked for.
        offset: u64,
        /// How much of it.
        bytes: u64,
        /// The blob's size.
        size: u64,
    },
    /// The index can't be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The blocking task that was reading was cancelled: the runtime is shutting down.
    #[error("the runtime is shutting down")]
    Cancelled,
}

impl ReadError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> ReadError + '_ {
        move |source| ReadError::Io { path: path.to_path_buf(), source }
    }
}

/// The index failed; the packs still hold everything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("index: {reason}")]
pub struct IndexError {
    /// The engine's own words.
    pub reason: String,
    /// What it holds is broken, so the next open builds it anew; otherwise it couldn't be reached or written.
    pub is_damage: bool,
}

impl From<sled::Error> for IndexError {
    fn from(error: sled::Error) -> Self {
        let is_damage = matches!(error, sled::Error::Corruption { .. } | sled::Error::ReportableBug(_));
        IndexError { reason: error.to_string(), is_damage }
    }
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        IndexError { reason: error.to_string(), is_damage: false }
    }
}

/// The offered chaining values aren't those of the blob: whoever sent them lies or is broken.
#[derive(Debug, thiserror::Error)]
pub enum BadGroups {
    /// They don't merge to the digest.
    #[error("the {offered} chaining values don't merge to {digest}")]
    Mismatch {
        /// The blob.
        digest: Digest,
        /// How many values were offered.
        offered: usize,
    },
    /// They are right, but couldn't be written down.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A group of a fill can't be written, read or waited for.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The bytes aren't those of the blob: blame the sender, fetch the group elsewhere.
    #[error("group {index} doesn't match its chaining value")]
    BadGroup {
        /// Which 1 MiB group.
        index: u32,
    },
    /// The blob has no such group, or one of another length.
    #[error("group {index} with {bytes} bytes is outside of the blob")]
    OutOfRange {
        /// Which 1 MiB group.
        index: u32,
        /// The length that was given.
        bytes: usize,
    },
    /// The chaining values must be set first.
    #[error("the chaining values aren't known yet")]
    NoGroups,
    /// Not all groups are here.
    #[error("{missing} groups are missing")]
    Incomplete {
        /// How many.
        missing: u32,
    },
    /// It was sealed before, by another holder of the fill.
    #[error("the fill is finished")]
    Finished,
    /// Whoever filled gave up.
    #[error("the fill failed: {reason}")]
    Abandoned {
        /// Their reason.
        reason: String,
    },
    /// The store doesn't take the bytes.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A group that is here can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A blob's claimed checksums weren't confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// No such blob.
    #[error("the blob isn't stored here")]
    Unknown,
    /// The claim is wrong: report its author. What was computed counts from now on.
    #[error("the claimed checksums are wrong: claimed {claimed:?}, computed {computed:?}")]
    Mismatch {
        /// What another node said.
        claimed: Box<Checksums>,
        /// What the bytes have.
        computed: Box<Checksums>,
    },
    /// The bytes at rest don't have the blob's digest.
    #[error("the stored bytes no longer match their digest")]
    Rotten,
    /// They can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The confirmation can't be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// The packs weren't compacted to the end. What was done is done; nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// Another compaction runs.
    #[error("the packs are being compacted already")]
    Busy,
    /// A record is damaged, so its pack must stay as it is: scrub the store.
    #[error("pack {pack:016x} is damaged at byte {offset}")]
    Damaged {
        /// The pack.
        pack: u64,
        /// Where the record starts.
        offset: u64,
    },
    /// A newer release has written something that this one doesn't know: use that one.
    #[error("pack {pack:016x} has a record of kind {kind}, which this release does not know")]
    Unknown {
        /// The pack.
        pack: u64,
        /// The record's kind.
        kind: u16,
    },
    /// Something can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store takes no writes.
    #[error(transparent)]
    Commit(#[from] CommitError),
}
