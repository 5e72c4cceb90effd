//! Performs what the replica decides: rows to the store, frames to the swarm, blobs from peers.
//!
//! The [`Engine`] owns one task, the *mind*, which owns the replica. Everything that happens goes to it as a message and
//! is handled one at a time; its outputs are performed in order before the next. Blobs never pass through it.
//!
//! # Why
//! One owner and one queue make the contract of the core easy to keep: what is replied or sent was persisted before.
//! Commands that wait while a commit is under way are handled together next, in one segment and one commit, so the
//! rate of writes grows with the load instead of being bound by the disk's syncs.

mod announce;
mod bulk;
mod cache;
mod claims;
mod clock;
mod error;
mod events;
mod fetch;
mod gc;
mod handle;
mod journal;
mod lease;
mod line;
mod lost;
mod mind;
mod pairing;
mod proof;
mod quarantine;
mod removal;
mod scrub;
mod serve;
mod shared;
mod snapshot;
mod summing;
mod upkeep;
mod view;

pub use cache::{CacheStatus, Held, Hold, Limits, PINS_MAX, Pin, PinError, Places, Scope, Share};
pub use claims::{Claims, FalseClaim};
pub use clock::{SystemClock, WallClock};
pub use error::{CommandFailure, EngineFailed, FetchError, JoinError};
pub use fetch::{FetchCounts, Reading, Source, SourceError};
pub use gc::{CollectError, Collected, Collection, Roots, Tally};
pub use handle::Engine;
pub use lease::{Evicted, Eviction, Kept, LetGo};
pub use lost::{Losses, Lost};
pub use shared::{Counts, Options};
pub use snapshot::{Life, Snapshot};
pub use upkeep::Upkeep;
pub use view::StoreView;

pub use crate::swarm::Vitals;
#[cfg(test)]
pub(crate) use gc::tests::{Site, noise};
