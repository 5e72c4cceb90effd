//! `artimesh artifact put|get|ls|rm|stat`: bytes to a node and back, verified on both ways.

mod get;
mod list;
mod put;
mod remove;
mod stat;
#[cfg(test)]
mod tests;

use clap::Subcommand;

use super::client::Client;
use super::command::Global;

/// Artifacts.
#[derive(Debug, Subcommand)]
pub enum Artifact {
    /// Upload a file
    Put(put::Put),
    /// Download a file
    Get(get::Get),
    /// List what is in a repository
    Ls(list::List),
    /// Delete an artifact
    Rm(remove::Remove),
    /// Show what is known of an artifact
    Stat(stat::Stat),
}

/// Does one of these.
pub(super) async fn run(global: &Global, command: &Artifact) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    match command {
        Artifact::Put(command) => put::run(&client, command, global.json).await,
        Artifact::Get(command) => get::run(&client, command, global.json).await,
        Artifact::Ls(command) => list::run(&client, command, global.json).await,
        Artifact::Rm(command) => remove::run(&client, command, global.json).await,
        Artifact::Stat(command) => stat::run(&client, command, global.json).await,
    }
}
