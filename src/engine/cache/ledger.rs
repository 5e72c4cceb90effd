//! What is here only because somebody read it: how large, and when it was last read.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use artimesh_core::model::Digest;

/// One blob, or a part of one.
#[derive(Debug)]
struct Entry {
    /// What it takes on the disk.
    bytes: u64,
    read_ms: AtomicU64,
    standing: Standing,
    is_pinned: bool,
    is_partial: bool,
}

/// Whether anything but the cache needs a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Nobody has looked since it came, or since that was last in doubt.
    Unknown,
    /// It is being looked for: see [`super::survey`].
    Looking,
    /// Nothing does.
    Mere,
}

/// One line of the ledger, as it is kept over restarts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// Which.
    pub digest: Digest,
    /// What it takes on the disk.
    pub bytes: u64,
    /// When it was last read, in milliseconds since 1970.
    pub read_ms: u64,
    /// Only a part of it is here.
    pub is_partial: bool,
}

/// Counts of what is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Blobs, and parts of blobs.
    pub blobs: u64,
    /// What they take.
    pub bytes: u64,
    /// Those that a pin keeps.
    pub pinned_blobs: u64,
    /// What these take.
    pub pinned_bytes: u64,
    /// Parts of blobs.
    pub partial_blobs: u64,
    /// What these take.
    pub partial_bytes: u64,
}

/// What the cache is to be brought down to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What it may take.
    pub limit_bytes: u64,
    /// What is on its way and will be in it.
    pub incoming_bytes: u64,
    /// How many blobs it may hold.
    pub blobs_max: usize,
    /// What was last read before this goes; 0 when nothing does for its age.
    pub read_before_ms: u64,
}

/// What has to go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// In the order in which they go.
    pub victims: Vec<Line>,
    /// More would have to go, or should for its age, and may when somebody has looked whether anything needs it.
    pub must_look: bool,
}

/// All of them. What it says of a blob holds until the next change; the mind decides by [`Ledger::may_go`].
#[derive(Debug, Default)]
pub struct Ledger {
    entries: RwLock<HashMap<Digest, Entry>>,
    /// Who reads now, by blob.
    holds: Mutex<HashMap<Digest, u32>>,
    bytes: AtomicU64,
    is_changed: AtomicBool,
}

/// Somebody reads a blob: it stays while this lives.
#[derive(Debug)]
pub struct Hold {
    ledger: Arc<Ledger>,
    digest: Digest,
}

impl Clone for Hold {
    fn clone(&self) -> Hold {
        Ledger::hold(&self.ledger, self.digest)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.ledger.holds();
        if let Some(count) = holds.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                holds.remove(&self.digest);
            }
        }
    }
}

impl Ledger {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Digest, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Digest, Entry>> {
        self.is_changed.store(true, Ordering::Relaxed);
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self) -> MutexGuard<'_, HashMap<Digest, u32>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all of it takes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Enters a blob. Whether anything else needs it is for a survey to say; until then it stays.
    pub fn insert(&self, line: Line) {
        let Line { digest, bytes, read_ms, is_partial } = line;
        let entry = Entry {
            bytes,
            read_ms: AtomicU64::new(read_ms),
            standing: Standing::Unknown,
            is_pinned: false,
            is_partial,
        };
        let mut entries = self.write();
        let before = entries.insert(digest, entry).map_or(0, |before| before.bytes);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// Enters a blob that was found, unless it is known.
    pub fn insert_found(&self, line: Line) {
        if !self.read().contains_key(&line.digest) {
            self.insert(line);
        }
    }

    /// It isn't here any more, or no mere cache.
    pub fn remove(&self, digest: &Digest) {
        if self.read().contains_key(digest)
            && let Some(entry) = self.write().remove(digest)
        {
            self.bytes.fetch_sub(entry.bytes, Ordering::Relaxed);
        }
    }

    /// The same if only a part of it is here.
    pub fn remove_partial(&self, digest: &Digest) {
        let is_partial = self.read().get(digest).is_some_and(|entry| entry.is_partial);
        if is_partial {
            self.remove(digest);
        }
    }

    /// Somebody reads it; `false` when it isn't of the cache.
    pub fn was_read(&self, digest: &Digest, now_ms: u64) -> bool {
        let entries = self.read();
        let Some(entry) = entries.get(digest).filter(|entry| !entry.is_partial) else { return false };
        entry.read_ms.fetch_max(now_ms, Ordering::Relaxed);
        self.is_changed.store(true, Ordering::Relaxed);
        true
    }

    /// Keeps a blob while somebody reads it, whether it is of the cache by now or not.
    pub fn hold(ledger: &Arc<Ledger>, digest: Digest) -> Hold {
        *ledger.holds().entry(digest).or_default() += 1;
        Hold { ledger: ledger.clone(), digest }
    }

    /// A path that is pinned names it.
    pub fn pin(&self, digest: &Digest) {
        if self.read().contains_key(digest)
            && let Some(entry) = self.write().get_mut(digest)
        {
            entry.is_pinned = true;
        }
    }

    /// What is known of who needs what may be wrong: nothing goes before somebody has looked.
    pub fn doubt(&self) {
        for entry in self.write().values_mut() {
            entry.standing = Standing::Unknown;
            entry.is_pinned = false;
        }
    }

    /// From now on somebody looks who needs what of which that isn't known.
    pub fn begin_look(&self) {
        for entry in self.write().values_mut().filter(|entry| entry.standing == Standing::Unknown) {
            entry.standing = Standing::Looking;
        }
    }

    /// Everybody was looked at who could need anything: what is still looked for is needed by nobody, if `is_sound`.
    pub fn end_look(&self, is_sound: bool) {
        let standing = if is_sound { Standing::Mere } else { Standing::Unknown };
        for entry in self.write().values_mut().filter(|entry| entry.standing == Standing::Looking) {
            entry.standing = standing;
        }
    }

    /// Whether it can be done without now: nothing but the cache needs it, no pin keeps it, nobody reads it.
    pub fn may_go(&self, digest: &Digest) -> bool {
        let is_mere = |entry: &Entry| entry.standing == Standing::Mere && !entry.is_pinned;
        self.read().get(digest).is_some_and(is_mere) && !self.holds().contains_key(digest)
    }

    /// Which have to go: those that are larger than all the cache may be and those that nobody read for too long, then the
    /// ones that were read least lately, down to some per cent below the limit.
    pub fn select(&self, bounds: &Bounds) -> Selection {
        /// So much below the limit it is brought, as a part of it, so that there is room for some more.
        const ROOM_PART: u64 = 10;
        let Bounds { limit_bytes, incoming_bytes, blobs_max, read_before_ms } = *bounds;
        let mut selection = Selection::default();
        let (mut left, mut counted_bytes, mut counted_blobs) = (Vec::new(), 0, 0);
        let held: HashSet<Digest> = self.holds().keys().copied().collect();
        for (digest, entry) in self.read().iter() {
            let line = entry.line(digest);
            let goes_first = entry.bytes > limit_bytes || line.read_ms < read_before_ms;
            let may_go = entry.standing == Standing::Mere && !entry.is_pinned && !held.contains(digest);
            selection.must_look |= goes_first && entry.standing != Standing::Mere;
            if goes_first && may_go {
                selection.victims.push(line);
                continue;
            }
            // What is larger than all of it goes as soon as nobody reads it: the others needn't make room for it.
            if entry.bytes <= limit_bytes {
                counted_bytes += entry.bytes;
                counted_blobs += 1;
            }
            if may_go {
                left.push(line);
            }
        }
        let is_beyond = counted_bytes + incoming_bytes > limit_bytes || counted_blobs > blobs_max;
        if is_beyond {
            let low_bytes = (limit_bytes - limit_bytes / ROOM_PART).min(limit_bytes.saturating_sub(incoming_bytes));
            let low_blobs = blobs_max - blobs_max / ROOM_PART as usize;
            left.sort_unstable_by_key(|line| (line.read_ms, line.digest));
            for line in left {
                if counted_bytes <= low_bytes && counted_blobs <= low_blobs {
                    break;
                }
                counted_bytes -= line.bytes;
                counted_blobs -= 1;
                selection.victims.push(line);
            }
            let is_short = counted_bytes > low_bytes || counted_blobs > low_blobs;
            selection.must_look |= is_short && self.read().values().any(|entry| entry.standing != Standing::Mere);
        }
        selection
    }

    /// Whether anything has changed since this was last asked.
    pub fn take_changed(&self) -> bool {
        self.is_changed.swap(false, Ordering::Relaxed)
    }

    /// All of it, the one that was read least lately first.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.read().iter().map(|(digest, entry)| entry.line(digest)).collect();
        lines.sort_unstable_by_key(|line| (line.read_ms, line.digest));
        lines
    }

    /// Counts it.
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        for entry in self.read().values() {
            held.blobs += 1;
            held.bytes += entry.bytes;
            if entry.is_pinned {
                held.pinned_blobs += 1;
                held.pinned_bytes += entry.bytes;
            }
            if entry.is_partial {
                held.partial_blobs += 1;
                held.partial_bytes += entry.bytes;
            }
        }
        held
    }
}

impl Entry {
    fn line(&self, digest: &Digest) -> Line {
        let read_ms = self.read_ms.load(Ordering::Relaxed);
        Line { digest: *digest, bytes: self.bytes, read_ms, is_partial: self.is_partial }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(seed: u64) -> Digest {
        Digest::of(&seed.to_le_bytes())
    }

    /// Blobs 0, 1, … of so many bytes each, read in that order, that nothing else needs.
    fn ledger(sizes: &[u64]) -> Arc<Ledger> {
        let ledger = Arc::new(Ledger::default());
        for (seed, bytes) in (0..).zip(sizes) {
            ledger.insert(Line { digest: digest(seed), bytes: *bytes, read_ms: 100 + seed, is_partial: false });
        }
        ledger.begin_look();
        ledger.end_look(true);
        ledger
    }

    fn selected(ledger: &Ledger, limit_bytes: u64, incoming_bytes: u64) -> Vec<u64> {
        let bounds = Bounds { limit_bytes, incoming_bytes, blobs_max: usize::MAX, read_before_ms: 0 };
        let victims = ledger.select(&bounds).victims;
        let seeds = |line: &Line| (0..100).find(|seed| digest(*seed) == line.digest).unwrap();
        victims.iter().map(seeds).collect()
    }

    #[test]
    fn those_read_least_lately_go_until_there_is_some_room() {
        let ledger = ledger(&[100; 10]);
        assert_eq!(selected(&ledger, 1000, 0), [0; 0], "all of it fits");
        assert_eq!(selected(&ledger, 999, 0), [0]);
        assert!(ledger.was_read(&digest(0), 500));
        assert_eq!(selected(&ledger, 999, 0), [1]);
        assert_eq!(selected(&ledger, 1000, 300), [1, 2, 3], "for what is coming");
        assert!(!ledger.was_read(&digest(77), 500));
    }

    #[test]
    fn what_is_pinned_or_read_or_needed_stays() {
        let ledger = ledger(&[100; 10]);
        ledger.pin(&digest(0));
        let hold = Ledger::hold(&ledger, digest(1));
        let again = hold.clone();
        ledger.remove(&digest(2));
        assert_eq!(ledger.bytes(), 900);
        assert_eq!(selected(&ledger, 500, 0), [3, 4, 5, 6, 7]);
        drop(hold);
        assert!(!ledger.may_go(&digest(1)) && !ledger.may_go(&digest(0)) && ledger.may_go(&digest(3)));
        drop(again);
        assert!(ledger.may_go(&digest(1)));
        assert_eq!(selected(&ledger, 500, 0)[..2], [1, 3]);
        assert_eq!(ledger.held().pinned_bytes, 100);
    }

    #[test]
    fn nothing_goes_before_somebody_has_looked_whether_it_is_needed() {
        let ledger = ledger(&[100; 3]);
        ledger.insert(Line { digest: digest(3), bytes: 950, read_ms: 1, is_partial: false });
        let bounds = Bounds { limit_bytes: 1000, incoming_bytes: 0, blobs_max: 9, read_before_ms: 0 };
        let selection = ledger.select(&bounds);
        assert_eq!((selection.victims.len(), selection.must_look), (3, true));
        // What comes while somebody looks isn't looked for.
        ledger.begin_look();
        ledger.insert(Line { digest: digest(4), bytes: 1, read_ms: 1, is_partial: false });
        ledger.end_look(true);
        assert!(ledger.may_go(&digest(3)) && !ledger.may_go(&digest(4)));
        ledger.doubt();
        assert!((0..5).all(|seed| !ledger.may_go(&digest(seed))));
        assert!(ledger.select(&bounds).must_look);
        ledger.begin_look();
        ledger.end_look(false);
        assert!(!ledger.may_go(&digest(0)), "an unsound look says nothing");
    }

    #[test]
    fn what_is_larger_than_the_cache_goes_and_moves_nothing_else() {
        let ledger = ledger(&[100, 100, 5000, 100]);
        let hold = Ledger::hold(&ledger, digest(2));
        assert_eq!(selected(&ledger, 400, 0), [0; 0]);
        drop(hold);
        assert_eq!(selected(&ledger, 400, 0), [2]);
    }

    #[test]
    fn what_nobody_read_for_too_long_goes_and_so_does_what_is_too_many() {
        let ledger = ledger(&[100; 200]);
        let aged = Bounds { limit_bytes: u64::MAX, incoming_bytes: 0, blobs_max: 1000, read_before_ms: 103 };
        assert_eq!(ledger.select(&aged).victims.len(), 3);
        let many = Bounds { blobs_max: 100, read_before_ms: 0, ..aged };
        assert_eq!(ledger.select(&many).victims.len(), 110);
    }

    #[test]
    fn sizes_are_right_when_an_entry_takes_the_place_of_another() {
        let ledger = ledger(&[100, 50]);
        ledger.insert(Line { digest: digest(0), bytes: 70, read_ms: 1, is_partial: true });
        ledger.insert_found(Line { digest: digest(0), bytes: 7, read_ms: 1, is_partial: false });
        assert_eq!((ledger.bytes(), ledger.held().bytes, ledger.held().partial_bytes), (120, 120, 70));
        ledger.remove_partial(&digest(1));
        ledger.remove_partial(&digest(0));
        assert_eq!(ledger.bytes(), 50);
    }
}
