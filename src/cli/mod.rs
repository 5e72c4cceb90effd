//! The words an operator types: one file per command, [`run`] for all of them.
//!
//! `init`, `serve`, `config`, `doctor`, `restore`, `store` and `version` work on this machine, `backup` does when no node runs; the others talk HTTP to a node that runs,
//! found by its data folder or by an address. Exit codes: 0 done, 1 refused or failed, 2 misuse.
//!
//! # Why
//! - *The command line is a client.* What it can do, any HTTP client can, with the same checks; there is no second door.
//! - *No secret is an argument.* Arguments stand in the process list and in the shell's history, so tokens come from
//!   files and standard input only.
//! - *`serve` and the founding of a circle are [`Seams`].* The composition root hands them in, so the words can be
//!   tested without a node.

mod artifact;
mod audit;
mod backup;
mod cache;
mod client;
mod command;
mod config;
mod conflict;
mod doctor;
mod federation;
mod federation_status;
mod flags;
mod gc;
mod import;
mod init;
mod location;
mod manuals;
mod misuse;
mod named;
mod output;
mod pair;
mod profile;
mod repo;
mod restore;
mod rollback;
mod run;
mod scrub;
mod serve;
mod status;
mod store;
mod target;
mod temporary;
mod tls;
mod trust;
mod version;

#[cfg(test)]
mod fake_node;

pub use command::{Cli, Command, Global};
pub use misuse::Misuse;
pub use run::{Seams, Serving, WriteFounding, run, run_with};
