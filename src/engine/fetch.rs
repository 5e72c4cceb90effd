//! Getting blobs from peers: what mirrors lack, and what readers wait for.
//!
//! Small blobs travel many to a request (`small`). A larger one is a [`Flight`]: one fill, verified group by group, that any
//! number of readers share. A `schedule` says which groups are asked of whom, each `source` keeps enough under way, and the
//! `crew` takes on whoever connects and lets go of who is of no use.

mod bits;
mod counts;
mod crew;
mod flight;
mod mirror;
mod peer;
mod possession;
mod reading;
mod schedule;
mod share;
mod small;
mod source;
mod standing;

pub use counts::FetchCounts;
pub(super) use flight::{Flight, Flights};
pub(super) use mirror::mirror;
pub(super) use peer::candidates;
pub use reading::{Reading, Source};
pub use standing::SourceError;
pub(super) use standing::Standings;
