//! The bounded cache of repositories that keep only what was read.
//!
//! Where a repository is kept on demand, a reader's request brings the bytes here and they stay for the next one. The
//! [`ledger`] lists them with when they were last read; when they take more than they may, or nobody read them for long
//! enough, the [`keeper`] has the mind remove those that were read least lately. What is asked for again is fetched again.
//!
//! # What never goes
//! The ledger lists only what was fetched for a reader in such a repository. Of that nothing goes that may be more than a
//! cache: what a repository names that is mirrored here, or that isn't shown; what this node wrote itself, live, in the
//! history, or waiting to be written again; what is wanted; what is in a space whose rows can't be read. Who needs what is
//! looked up before anything goes ([`survey`]), and from then on the mind notes every row that it writes. It also decides:
//! an eviction is a message to it, as the removal of garbage is. Pinned paths stay, and so does what somebody reads now.
//!
//! # Why a reader never sees it
//! Who has opened a blob goes on reading the open file, whatever becomes of its name. Who comes later finds no blob, and
//! joins or starts a flight, as for any that was never here. A flight's bytes belong to it until it has landed, and whether
//! a blob is stored is decided anew when it does.
//!
//! # The limit
//! - It counts what the blobs take, and what is on its way. A fetch that would go beyond it has others removed at once,
//!   and begins when that is done, or after [`ROOM_WAIT`]: it isn't refused for a cache that is full of what may not go.
//! - What is larger than all the cache may be is streamed like any other blob, through a file; it makes no room, isn't
//!   fetched to its end when its readers leave, and goes once nobody reads it.
//! - When the disk or the quota leaves less than the limit, that is the limit: a fetch doesn't fail while something can go.
//! - It is for the blobs. Small ones share packs, whose space comes back when they are compacted, so packs may take about
//!   twice what they hold; compaction follows when an eighth of the limit was evicted from them.
//! - The list is in memory, about 60 to 120 bytes a blob: there are at most [`BLOBS_MAX`].
//!
//! # Over restarts
//! The list is a note beside the packs, written every five minutes and at the end, without a sync. Power loss may take all
//! of it, kill -9 what was read since: then the order begins anew for what isn't in it, and what is here is counted in the
//! background.

mod keeper;
mod ledger;
mod list;
mod pins;
mod places;
mod status;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use artimesh_core::model::{Digest, NodeId, Space};
use artimesh_core::replica::Repository;
use tokio::sync::{Notify, watch};

use super::gc::Roots;
use super::gc::roots;
use super::shared::Shared;
use super::snapshot::Snapshot;
use crate::store::{ReadError, RowWrite, Store, Tree, stored_bytes};
pub(super) use keeper::{compact, keeping, save};
use ledger::{Bounds, Ledger, Line};
pub use ledger::{Held, Hold};
pub(super) use list::State;
pub use pins::PINS_MAX;
pub use places::{Pin, Places, Scope};
pub use status::{CacheStatus, PinError};
pub(super) use survey::pinned;

/// So many blobs are held at most, whatever they take.
pub const BLOBS_MAX: usize = 2 << 20;
/// How long a fetch waits at most for others to make room.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// How much the cache may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// As much as there is.
    All,
    /// So many bytes.
    Bytes(u64),
    /// So many per cent of the store's quota, or without one of what the store takes and what is free.
    Percent(u8),
}

/// The bounds of the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// What it may take.
    pub max_size: Share,
    /// What nobody read for so long goes.
    pub max_age: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_size: Share::Percent(80), max_age: None }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    evicted_blobs: AtomicU64,
    evicted_bytes: AtomicU64,
    evicted_ms: AtomicU64,
}

impl Counts {
    fn evicted(&self, blobs: u64, bytes: u64, now_ms: u64) {
        if blobs > 0 {
            self.evicted_blobs.fetch_add(blobs, Ordering::Relaxed);
            self.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.evicted_ms.store(now_ms, Ordering::Relaxed);
        }
    }
}

/// The cache, as the engine's tasks share it.
pub(super) struct Cache {
    limits: Limits,
    me: NodeId,
    ledger: Arc<Ledger>,
    places: ArcSwap<Places>,
    rules: Mutex<Rules>,
    /// Held by whoever makes or ends a pin.
    pinning: tokio::sync::Mutex<()>,
    incoming: Arc<Incomings>,
    counts: Counts,
    /// What is here isn't known to be what the ledger says.
    must_count: AtomicBool,
    /// What is pinned isn't known.
    must_look: AtomicBool,
    /// The keeper is to look now.
    pressure: Notify,
    /// How often somebody asked for room, and up to which of these the keeper has made some.
    asked: watch::Sender<u64>,
    answered: watch::Sender<u64>,
    roots: Vec<Box<dyn Roots>>,
}

/// What places are made of.
struct Rules {
    pins: BTreeSet<Pin>,
    /// By folded key, as of the last change.
    repositories: BTreeMap<String, Repository>,
}

#[derive(Debug, Default)]
struct Incomings {
    bytes: AtomicU64,
    blobs: Mutex<BTreeSet<Digest>>,
}

/// A blob on its way into the cache, for as long as this lives.
pub(super) struct Incoming {
    all: Arc<Incomings>,
    digest: Digest,
    bytes: u64,
    /// Keeps what has arrived from being taken for a leftover.
    _hold: Hold,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.all.blobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

/// What a written row means for the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Note {
    /// This blob is needed from now on.
    Needed(Digest),
    /// This one is pinned.
    Pinned(Digest),
    /// A row can't be read: anything may be needed.
    Unclear,
}

impl Cache {
    /// The cache as the store remembers it. Blocks.
    pub(super) fn open(store: &Store, limits: Limits, me: NodeId, snapshot: &Snapshot) -> Result<Cache, ReadError> {
        let rules = Rules { pins: pins::read(store)?, repositories: snapshot.repositories.clone() };
        let places = Places::of(me, &rules.repositories, &rules.pins);
        let ledger = Arc::new(Ledger::default());
        let remembered = list::read(store);
        let must_count = !matches!(remembered, Some((_, State::Final)));
        remembered.into_iter().flat_map(|(lines, _)| lines).for_each(|line| ledger.insert(line));
        if !places.is_empty() || ledger.bytes() > 0 {
            // From now on it isn't final any more.
            if let Err(error) = list::write(store, &ledger.lines(), State::Running) {
                tracing::warn!(%error, "what the cache holds can't be written down");
            }
        }
        Ok(Cache {
            limits,
            me,
            ledger,
            places: ArcSwap::from_pointee(places),
            rules: Mutex::new(rules),
            pinning: tokio::sync::Mutex::default(),
            incoming: Arc::default(),
            counts: Counts::default(),
            must_count: AtomicBool::new(must_count),
            must_look: AtomicBool::new(true),
            pressure: Notify::new(),
            asked: watch::channel(0).0,
            answered: watch::channel(0).0,
            roots: roots::all(),
        })
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn places(&self) -> Arc<Places> {
        self.places.load_full()
    }

    /// Repositories came, went, or keep their bytes in another way.
    pub(super) fn settle(&self, snapshot: &Snapshot) {
        self.change_rules(|_, repositories| repositories.clone_from(&snapshot.repositories));
    }

    /// Nothing goes under other rules before somebody has looked what they say of it.
    fn change_rules(&self, change: impl FnOnce(&mut BTreeSet<Pin>, &mut BTreeMap<String, Repository>)) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let Rules { pins, repositories } = &mut *rules;
        change(pins, repositories);
        let places = Places::of(self.me, &rules.repositories, &rules.pins);
        if **self.places.load() == places {
            return;
        }
        let brings = places.spaces().any(|space| !self.places.load().caches(space));
        self.places.store(Arc::new(places));
        self.ledger.doubt();
        self.must_look.store(true, Ordering::Relaxed);
        if brings && self.ledger.bytes() > 0 {
            // What was needed through a mirror may be a cache now.
            self.must_count.store(true, Ordering::Relaxed);
        }
        drop(rules);
        self.pressure.notify_one();
    }

    /// What rows that are about to be written mean. To be told to [`Cache::note`] once they are at rest, before anything
    /// else is done.
    pub(super) fn meaning_of(&self, rows: &[RowWrite]) -> Vec<Note> {
        let places = self.places.load();
        if places.is_empty() && self.ledger.bytes() == 0 {
            return Vec::new();
        }
        let mut notes = Vec::new();
        for row in rows.iter().filter(|row| row.value.is_some()) {
            for needed in self.roots.iter().filter_map(|roots| roots.needed_by(row, &places)) {
                match needed {
                    Ok(digests) => notes.extend(digests.into_iter().map(Note::Needed)),
                    Err(_) => notes.push(Note::Unclear),
                }
            }
            if row.tree == Tree::Catalog {
                notes.extend(survey::pinned_by(&places, row).into_iter().map(Note::Pinned));
            }
        }
        notes
    }

    /// Those rows are at rest.
    pub(super) fn note(&self, notes: &[Note]) {
        for note in notes {
            match note {
                Note::Needed(digest) => self.ledger.remove(digest),
                Note::Pinned(digest) => self.ledger.pin(digest),
                Note::Unclear => self.ledger.doubt(),
            }
        }
    }

    /// Whether it can be done without.
    pub(super) fn may_go(&self, digest: &Digest) -> bool {
        self.ledger.may_go(digest)
    }

    /// Blobs are about to be removed, for whatever reason.
    pub(super) fn are_gone(&self, digests: &[Digest]) {
        digests.iter().for_each(|digest| self.ledger.remove(digest));
    }

    /// A blob is here and somebody reads it; `None` when it isn't of the cache.
    pub(super) fn hit(&self, digest: &Digest, now_ms: u64) -> Option<Hold> {
        if self.ledger.bytes() == 0 {
            return None;
        }
        // First held, then looked up: it can't go in between.
        let hold = Ledger::hold(&self.ledger, *digest);
        self.ledger.was_read(digest, now_ms).then(|| {
            self.counts.hits.fetch_add(1, Ordering::Relaxed);
            hold
        })
    }

    /// The same, out of memory: nobody reads it at rest.
    fn was_read(&self, digest: &Digest, now_ms: u64) {
        if self.ledger.bytes() > 0 && self.ledger.was_read(digest, now_ms) {
            self.counts.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Somebody reads what isn't here; held until it is read.
    pub(super) fn miss(&self, space: &Space, digest: &Digest) -> Option<Hold> {
        if !self.places.load().caches_in(space) {
            return None;
        }
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        Some(Ledger::hold(&self.ledger, *digest))
    }

    /// Makes room for a blob that is about to be fetched for a reader; `None` when it isn't for the cache. It isn't said
    /// that there is room then.
    pub(super) async fn admit(&self, store: &Store, space: &Space, digest: Digest, size: u64) -> Option<Incoming> {
        if !self.places.load().caches_in(space) {
            return None;
        }
        let limit_bytes = self.limit_bytes(store);
        // What was left of an earlier fetch is part of this one.
        self.ledger.remove_partial(&digest);
        let bytes = if stored_bytes(size) > limit_bytes { 0 } else { stored_bytes(size) };
        self.incoming.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.incoming.blobs.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        let hold = Ledger::hold(&self.ledger, digest);
        let incoming = Incoming { all: self.incoming.clone(), digest, bytes, _hold: hold };
        let is_full = self.ledger.bytes() + self.incoming_bytes() > limit_bytes;
        if bytes > 0 && is_full {
            // An operator reads in the status that the cache is beyond its limit, should there be no room.
            let _ = tokio::time::timeout(ROOM_WAIT, self.make_room()).await;
        }
        Some(incoming)
    }

    /// Whether a blob is worth being fetched when nobody waits for it any more.
    pub(super) fn would_keep(&self, store: &Store, space: &Space, size: u64) -> bool {
        !self.places.load().caches_in(space) || stored_bytes(size) <= self.limit_bytes(store)
    }

    /// A blob has been fetched for a reader.
    pub(super) fn landed(&self, digest: Digest, size: u64, now_ms: u64) {
        let line = Line { digest, bytes: stored_bytes(size), read_ms: now_ms, is_partial: false };
        self.ledger.insert(line);
        self.pressure.notify_one();
    }

    /// A fetch for a reader has ended early; what has arrived stays for the next one.
    pub(super) fn broke_off(&self, store: &Store, digest: Digest, now_ms: u64) {
        let rest = store.fills_at_rest().into_iter().find(|(known, _)| *known == digest);
        if let Some((_, bytes)) = rest {
            self.ledger.insert(Line { digest, bytes, read_ms: now_ms, is_partial: true });
            self.pressure.notify_one();
        }
    }

    /// Has the keeper look, and waits until it has.
    async fn make_room(&self) {
        let mut mine = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            mine = *asked;
        });
        let mut answered = self.answered.subscribe();
        self.pressure.notify_one();
        // The sender is in the same value.
        let _ = answered.wait_for(|answered| *answered >= mine).await;
    }

    fn is_waited_for(&self) -> bool {
        *self.asked.borrow() > *self.answered.borrow()
    }

    fn is_on_its_way(&self, digest: &Digest) -> bool {
        self.incoming.blobs.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn incoming_bytes(&self) -> u64 {
        self.incoming.bytes.load(Ordering::Relaxed)
    }

    /// What it may take now: what was set, or less when the disk or the quota leaves less.
    fn limit_bytes(&self, store: &Store) -> u64 {
        let set = match self.limits.max_size {
            Share::All => u64::MAX,
            Share::Bytes(bytes) => bytes,
            Share::Percent(percent) => store.capacity_bytes() / 100 * u64::from(percent),
        };
        let taken = self.ledger.bytes() + self.incoming_bytes();
        set.min(taken.saturating_add(store.room_bytes()))
    }

    fn bounds(&self, store: &Store, now_ms: u64) -> Bounds {
        let max_age_ms = self.limits.max_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Bounds {
            limit_bytes: self.limit_bytes(store),
            incoming_bytes: self.incoming_bytes(),
            blobs_max: BLOBS_MAX,
            read_before_ms: max_age_ms.map_or(0, |age_ms| now_ms.saturating_sub(age_ms)),
        }
    }
}

/// After a collection the ledger is counted again, in the background: what garbage took, what a mirror gave up.
pub(super) fn recount(shared: &Shared) {
    if !shared.cache.places().is_empty() {
        shared.cache.must_count.store(true, Ordering::Relaxed);
        shared.cache.pressure.notify_one();
    }
}
