//! Short stories, each with one moral: its name.

mod curating;
mod enduring;
mod federating;
mod forking;
mod pairing;
mod refusing;
mod remembering;
mod removing;
mod restarting;
mod revoking;
mod upgrading;
mod writing;
