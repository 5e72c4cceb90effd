//! `artimesh import …`: what a directory tree or another server holds becomes artifacts of a repository, once each.
//!
//! ```text
//! walk, origin ──▶ sort ──┐
//!                         ├──▶ plan (a temporary file) ──▶ transfer, several at a time ──▶ the node
//! what the node has ▶ sort┘
//! ```
//!
//! # Why
//! - *The node is the checkpoint.* An import that was interrupted, or is repeated for what has changed since, lists what the
//!   node has, and transfers the rest: nothing about a run is kept on this machine that could be lost or be wrong.
//! - *Both lists are sorted here,* in temporary files when they are long: servers order by other rules, and a million files
//!   must not be held in memory. What is to be done is known before anything is: progress has an end, a dry run is exact.
//! - *Who wrote a file there, and when, become properties* ([`provenance`]): no client of a node decides whom it names as an
//!   author. By `import.modified` and the size a file of a tree is known again without reading it.

mod address;
mod aql;
mod content;
pub(super) mod failure;
pub(super) mod listed;
pub(in crate::cli) mod listing;
pub(super) mod node;
pub(super) mod options;
mod origin;
pub(super) mod plan;
mod provenance;
pub(super) mod rate;
pub(super) mod report;
pub(super) mod run;
mod server;
mod sort;
pub(super) mod source;
pub(super) mod spool;
#[cfg(test)]
mod tests;
mod transfer;
mod tree;
pub(super) mod tries;
pub(super) mod walk;

use clap::Subcommand;

use super::command::Global;

/// Imports.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// Import the files of a directory tree, or what has changed there since the last time
    ///
    /// Every file becomes an artifact with the property import.modified, its modification time. A file that is there with the
    /// same size and this time is not read again; one whose time differs is read, and transferred if its bytes differ. Symbolic
    /// links are not followed, empty folders and special files are left out, and nothing is deleted. An import that was
    /// interrupted goes on where it was when the command is repeated.
    Tree(tree::Tree),
    /// Import a repository of a running Artifactory-compatible server, or what has changed there since the last time
    ///
    /// Every file becomes an artifact with its properties there, and import.created, import.created-by, import.modified and
    /// import.modified-by: when and by whom it was written there. The node refuses bytes that differ from the server's
    /// checksums. A file that is there with the same checksum is not transferred again; properties that were added or changed
    /// there are, and nothing is deleted. An import that was interrupted goes on where it was when the command is repeated.
    Server(server::Server),
}

/// Does one of these.
pub(super) async fn run(global: &Global, command: &Import) -> anyhow::Result<()> {
    match command {
        Import::Tree(command) => tree::run(global, command).await,
        Import::Server(command) => server::run(global, command).await,
    }
}
