//! What an opener of a store decides.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::derived::Derivation;
use super::index::MemoryIndex;

/// Limits and seams of one store.
#[derive(Clone)]
pub struct Options {
    /// A pack is rolled before it would grow over this; 256 MiB.
    pub pack_bytes: u64,
    /// Free disk space below which only [`Priority::Vital`](super::Priority) batches are taken.
    pub reserve_bytes: u64,
    /// The most that packs and large blobs may hold together; `None` is no limit.
    pub quota_bytes: Option<u64>,
    /// How many bytes of rows may wait for the index before commits wait as well; 32 MiB.
    pub overlay_bytes: usize,
    /// How long rows may wait for more before they are brought to the index, so that a quiet store syncs it rarely;
    /// 100 ms.
    pub index_linger: Duration,
    /// A group of a blob that wasn't verified for as long is verified before it leaves; 7 days.
    pub verify_max_age: Duration,
    /// Which engine keeps the index.
    pub index: IndexKind,
    /// What is derived from rows and blobs, so that they can be found by what they hold.
    pub derivation: Option<Derivation>,
    /// The wall clock, in milliseconds since 1970; only written down, never decides anything.
    pub clock: fn() -> u64,
}

/// Which engine keeps the index.
#[derive(Clone)]
pub enum IndexKind {
    /// sled, in the folder `index`.
    Sled,
    /// A map that outlives the store only in its handle: for tests.
    Memory(MemoryIndex),
}

impl Default for Options {
    fn default() -> Self {
        Options {
            pack_bytes: 256 << 20,
            reserve_bytes: 0,
            quota_bytes: None,
            overlay_bytes: 32 << 20,
            index_linger: Duration::from_millis(100),
            verify_max_age: Duration::from_secs(7 * 86_400),
            index: IndexKind::Sled,
            derivation: None,
            clock: wall_ms,
        }
    }
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}
