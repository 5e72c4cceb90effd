//! Short stories, each with one moral: its name.

mod enduring;
mod federating;
mod pairing;
mod reconciling;
mod refusing;
mod removing;
mod restarting;
mod revoking;
mod upgrading;
mod writing;
