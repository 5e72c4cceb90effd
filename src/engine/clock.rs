//! The wall clock, behind one trait.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use artimesh_core::clock::Timestamp;

/// Tells the time of day.
pub trait WallClock: Send + Sync + Debug {
    /// Milliseconds since the Unix epoch; 0 before it.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
