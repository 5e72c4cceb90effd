//! The composition root: builds a node out of the rooms, runs it, and shuts it down in order.
//!
//! Start: lock the folder, open the store, see whether it is the folder that the node last ran on, start the swarm, wake the replica, serve HTTP. Stop: the other way round, so
//! that what was accepted is finished and flushed before what it needs is closed.

pub mod backup;
mod build;
pub mod founding;
mod imprint;
mod lock;
mod memory;
pub mod moving;
pub mod restore;
mod run;

pub use run::{Start, run};
