//! Short stories, each with one moral: its name.

mod enduring;
mod federating;
mod pairing;
mod refusing;
mod restarting;
mod revoking;
mod writing;
