//! Garbage collection: blobs that nothing names any more go, after a grace period.
//!
//! A collection marks, then sweeps, in a thread of its own beside the mind. [`roots`] says what is in use; what the store
//! holds beyond that is garbage, and is removed when it has been for long enough. Each removal is a line in the journal
//! `gc.log` of the store's folder. Then packs that hold little are compacted.
//!
//! # Why it removes nothing that is in use
//! - **Rows are read while the mind writes them.** So the mind notes the digests of whatever it persists from before the
//!   first row is read until the end ([`named`]), and removals are messages to it: it drops those that were named
//!   meanwhile and commits the others. A version that was there at the beginning and is found nowhere was either moved,
//!   and so named again, or has ended.
//! - **A row that can't be read ends the collection**, for nobody knows what it names.
//! - **Uploads and fills in progress are no roots, and need not be:** they hold their own bytes, and whether those are
//!   stored already is decided when they are committed, behind every removal before that. What a fill left that nobody goes
//!   on with goes as soon as nothing names its blob. What a peer's entry names and
//!   isn't here becomes a wanted blob, in the same step of the mind.
//!
//! # Why a grace period, and since when it counts
//! It isn't what makes removal right. It is for people: who deletes the wrong thing has time, beyond the history, to
//! restore a backup of the rows. It counts from when a collection first *saw* that nothing names the blob, which is never
//! too early, and is remembered in a list beside the packs ([`crate::store::Garbage`]); without the list it begins anew.
//!
//! # Memory
//! The digests in use are held as prefixes of 61 bits and the kind of root in 3: 8 bytes for each, at most 32 MiB. When there
//! are more, they are taken in several passes over ranges of digests. Two digests with one prefix keep both blobs.

mod collector;
pub(super) mod named;
mod names;
pub(super) mod paths;
pub(super) mod roots;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::handle::Engine;
use super::shared::Shared;
use crate::store::{CompactError, Compacted, Compaction, ReadError};
use collector::Collector;
pub use roots::Roots;
pub(super) use roots::all as every_root;

/// How a collection is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Collection {
    /// Nothing is removed or compacted: what would be is counted.
    pub is_dry: bool,
    /// How long garbage stays.
    pub grace: Duration,
    /// Which packs are compacted behind it.
    pub compaction: Compaction,
}

/// Some blobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// How many.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes += bytes;
    }
}

/// What a collection found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    /// When it ended, in milliseconds since 1970.
    pub ended_ms: u64,
    /// Whether that was all only counted.
    pub is_dry: bool,
    /// All that was stored.
    pub stored: Tally,
    /// What stays, by the first kind of root that names it.
    pub in_use: BTreeMap<&'static str, Tally>,
    /// What stays because it hasn't been garbage for long enough.
    pub young: Tally,
    /// What stays because it was named meanwhile.
    pub named_meanwhile: Tally,
    /// What was removed, or would be.
    pub removed: Tally,
    /// What was removed, or would be, of blobs that had arrived in part only.
    pub unfinished: Tally,
    /// How often the roots were gone through.
    pub passes: u32,
    /// What came of the packs.
    pub compacted: Compacted,
}

/// A collection came to no end. What was removed was garbage.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Another one runs.
    #[error("garbage is being collected already")]
    Busy,
    /// A row of the roots makes no sense to this release, so nothing is known to be garbage.
    #[error("a row of {roots} cannot be read, so nothing is removed: {reason}")]
    Unreadable {
        /// Whose.
        roots: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The store can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store refused the removal.
    #[error("the removal was refused: {0}")]
    Refused(String),
    /// The packs can't be compacted.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// The engine is stopping.
    #[error("the node is stopping")]
    Stopping,
}

impl Engine {
    /// Collects garbage once. A dropped call leaves the collection running.
    pub async fn collect(&self, collection: Collection) -> Result<Collected, CollectError> {
        collect(&self.shared, collection).await
    }

    /// What the last whole collection since the start found; dry ones don't count.
    pub fn collected(&self) -> Option<Arc<Collected>> {
        self.shared.collected.load_full()
    }
}

pub(super) async fn collect(shared: &Arc<Shared>, collection: Collection) -> Result<Collected, CollectError> {
    let (answer, result) = oneshot::channel();
    let task = shared.clone();
    shared.tracker.spawn_blocking(move || {
        // Whoever asked may be gone.
        let _ = answer.send(once(&task, collection));
    });
    result.await.map_err(|_| CollectError::Stopping)?
}

fn once(shared: &Arc<Shared>, collection: Collection) -> Result<Collected, CollectError> {
    let turn = shared.collecting.try_lock();
    if matches!(turn, Err(std::sync::TryLockError::WouldBlock)) {
        return Err(CollectError::Busy);
    }
    let collected = Collector::new(shared, collection).run()?;
    if !collection.is_dry {
        shared.collected.store(Some(Arc::new(collected.clone())));
    }
    Ok(collected)
}
