//! Getting blobs from peers: what mirrors lack, and what readers wait for.
//!
//! Small blobs travel many to a request. A larger one is a [`Flight`]: one fill, verified group by group, that any number
//! of readers share; what they wait for comes first.

mod flight;
mod mirror;
mod peer;

pub(super) use flight::Flight;
pub use flight::{FetchCounts, Source};
pub(super) use mirror::mirror;
