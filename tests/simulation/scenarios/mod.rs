//! Short stories, each with one moral: its name.

mod federating;
mod pairing;
mod refusing;
mod restarting;
mod revoking;
mod writing;
