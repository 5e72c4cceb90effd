//! Short stories, each with one moral: its name.

mod adopting;
mod braking;
mod branching;
mod clocks;
mod comparing;
mod crowding;
mod curating;
mod doubting;
mod enduring;
mod farewells;
mod federating;
mod foldering;
mod forking;
mod leaving;
mod pairing;
mod reconciling;
mod refusing;
mod remembering;
mod removing;
mod restarting;
mod revoking;
mod talking;
mod trying;
mod upgrading;
mod writing;

pub use reconciling::away;
pub use refusing::{circle, forgery, lie};
pub use writing::federated;
