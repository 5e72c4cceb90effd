//! The rows of what is lost, how many there are, and what is suspected.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use artimesh_core::model::{Digest, Space};
use artimesh_core::replica::rows;
use tokio::sync::Notify;

use super::Lost;
use crate::engine::bulk::Reference;
use crate::store::{ReadError, RowWrite, Store, Tree};

/// Prefix of the rows: space and digest → [`Lost`].
pub(super) const LOST: &[u8] = b"lost/";

/// Suspects that wait at most.
pub(super) const SUSPECTS_MAX: usize = 4096;

/// A blob that readers ask for is asked about at most so often.
const EXAMINED_EVERY: Duration = Duration::from_secs(2);

/// A blob that may be lost.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Suspect {
    pub reference: Reference,
    pub size: u64,
}

type Name = (Space, Digest);

/// What is known to be lost, and what may be.
#[derive(Default)]
pub(in crate::engine) struct Ledger {
    /// How many rows there are: mostly none, and then no reader waits for a look at them.
    count: AtomicU64,
    suspects: Mutex<HashMap<Name, Suspect>>,
    examined: Mutex<HashMap<Name, Duration>>,
    /// There are suspects.
    pub(super) suspected: Notify,
}

/// The key of a row.
pub(super) fn key(space: &Space, digest: &Digest) -> Vec<u8> {
    [LOST, &space.key(), &digest.0].concat()
}

impl Ledger {
    /// As it is at rest.
    pub(in crate::engine) fn wake(store: &Store) -> Result<Ledger, ReadError> {
        let ledger = Ledger::default();
        let mut from = Some(LOST.to_vec());
        while let Some(start) = from {
            let page = page(store, LOST, &start)?;
            ledger.count.fetch_add(page.rows.len() as u64, Ordering::Relaxed);
            from = page.next;
        }
        Ok(ledger)
    }

    /// The row of a blob, unless the blob is here again.
    pub(super) fn find(&self, store: &Store, space: &Space, digest: &Digest) -> Result<Option<Lost>, ReadError> {
        if !self.has_any() {
            return Ok(None);
        }
        let Some(row) = store.get(Tree::Meta, &key(space, digest))? else { return Ok(None) };
        let is_here = store.blob(digest)?.is_some();
        Ok(rows::read::<Lost>(&row).ok().filter(|_| !is_here))
    }

    /// Whether anything is lost.
    pub(super) fn has_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Counts rows that were added.
    pub(super) fn added(&self, count: usize) {
        self.count.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts rows that were removed.
    pub(super) fn removed(&self, count: usize) {
        let less = |known: u64| Some(known.saturating_sub(count as u64));
        // The closure always gives a number.
        let _ = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Notes blobs that nobody gave.
    pub(in crate::engine) fn suspect(&self, some: impl IntoIterator<Item = Suspect>) {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        for suspect in some {
            if suspects.len() < SUSPECTS_MAX {
                suspects.insert((suspect.reference.space, suspect.reference.digest), suspect);
            }
        }
        if !suspects.is_empty() {
            self.suspected.notify_one();
        }
    }

    /// Those that were noted since the last time.
    pub(super) fn take_suspects(&self) -> Vec<Suspect> {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *suspects).into_values().collect()
    }

    /// Whether others are to be asked about a blob now: not if they just were.
    pub(super) fn is_due(&self, suspect: &Suspect, now: Duration) -> bool {
        let mut examined = self.examined.lock().unwrap_or_else(PoisonError::into_inner);
        if examined.len() >= SUSPECTS_MAX {
            examined.clear();
        }
        let name = (suspect.reference.space, suspect.reference.digest);
        match examined.get(&name) {
            Some(at) if now < *at + EXAMINED_EVERY => false,
            _ => {
                examined.insert(name, now);
                true
            }
        }
    }
}

/// Some rows of what is lost.
pub(super) struct LostPage {
    pub rows: Vec<(Vec<u8>, Option<Lost>)>,
    /// Where the next page begins.
    pub next: Option<Vec<u8>>,
}

/// Rows read at once.
const PAGE_ROWS: usize = 256;

/// One page of the rows under a prefix. One that makes no sense has no content. Blocks.
pub(super) fn page(store: &Store, prefix: &[u8], from: &[u8]) -> Result<LostPage, ReadError> {
    let page = store.range(Tree::Meta, from, &rows::end_of(prefix), PAGE_ROWS)?;
    let next = page.last().filter(|_| page.len() == PAGE_ROWS).map(|(last, _)| [last.as_slice(), &[0]].concat());
    let rows = page.into_iter().map(|(key, value)| (key, rows::read(&value).ok())).collect();
    Ok(LostPage { rows, next })
}

/// The row that says that a blob is lost.
pub(super) fn row(lost: &Lost) -> RowWrite {
    RowWrite::put(Tree::Meta, key(&lost.space, &lost.digest), rows::write(lost))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use artimesh_core::clock::Timestamp;
    use artimesh_core::model::{FederationId, NodeId};

    use super::*;

    fn suspect(number: u64) -> Suspect {
        let (space, digest) = (Space::Federation(FederationId([1; 32])), Digest::of(&number.to_le_bytes()));
        Suspect { reference: Reference { space, path: "a".parse().unwrap(), digest }, size: 3 }
    }

    #[test]
    fn suspects_are_bounded_and_asked_about_once_in_a_while() {
        let ledger = Ledger::default();
        ledger.suspect((0..2 * SUSPECTS_MAX as u64).map(suspect));
        assert_eq!(ledger.take_suspects().len(), SUSPECTS_MAX);
        assert_eq!(ledger.take_suspects().len(), 0);
        let seconds = Duration::from_secs;
        assert!(ledger.is_due(&suspect(1), seconds(10)));
        assert!(!ledger.is_due(&suspect(1), seconds(11)));
        assert!(ledger.is_due(&suspect(2), seconds(11)));
        assert!(ledger.is_due(&suspect(1), seconds(12)));
    }

    #[test]
    fn a_row_is_written_as_ever_and_read_back() {
        let lost = Lost {
            space: Space::Federation(FederationId([1; 32])),
            path: "a/b.jar".parse().unwrap(),
            digest: Digest([2; 32]),
            size: 1 << 20,
            since: Timestamp(1_700_000_000_000),
            asked: vec![NodeId([3; 32]), NodeId([4; 32])],
        };
        let bytes = rows::write(&lost);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/engine/row-lost.bin");
        if std::env::var("ARTIMESH_GOLDEN").is_ok_and(|value| value == "write") && !path.exists() {
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "a lost blob is written differently than before");
        assert_eq!(rows::read::<Lost>(&bytes).unwrap(), lost);
    }
}
