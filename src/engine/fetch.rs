//! Getting blobs from peers: what mirrors lack, and what readers wait for.
//!
//! Small blobs travel many to a request (`small`). A larger one is a [`Flight`]: one fill, verified group by group, that any
//! number of readers share. A `schedule` says which groups are asked of whom, each `source` keeps enough under way, and the
//! `crew` takes on whoever connects and lets go of who is of no use.
//!
//! # Several that fetch the same
//! Who fetches a blob gives others what has arrived, from the first group on. It isn't announced: who needs it asks those
//! that may have it which groups that are, again and again while they have only a part (one bit a group). What they say is
//! believed only as far as it costs little: every group is verified, who doesn't have what it said is let go of and named,
//! and who sends nothing for too long counts as having nothing. `fan_out` shows in virtual time what comes of that.

mod bits;
mod counts;
mod crew;
#[cfg(test)]
mod fan_out;
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
