//! `artimesh artifact …`: bytes to a node and back, verified on both ways, and what can be done to them there.

mod beneath;
mod clashes;
mod download;
mod each;
mod fetch;
mod get;
mod get_tree;
pub(super) mod glob;
pub(super) mod history;
mod list;
mod mkdir;
mod part;
mod properties;
mod put;
mod relocate;
mod remove;
pub(super) mod restore;
mod search;
mod selection;
mod stat;
#[cfg(test)]
mod tests;

use clap::Subcommand;

use self::relocate::Verb;
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
    /// Make a folder that stays when nothing is in it
    Mkdir(mkdir::Mkdir),
    /// Delete an artifact or a folder
    Rm(remove::Remove),
    /// Find artifacts by name, property, checksum or query
    Search(search::Search),
    /// Move an artifact or a folder
    #[command(visible_alias = "mv")]
    Move(relocate::Relocate),
    /// Copy an artifact or a folder
    #[command(visible_alias = "cp")]
    Copy(relocate::Relocate),
    /// Show or change properties
    #[command(visible_alias = "prop")]
    Properties(properties::Properties),
    /// List the versions of a path, live and ended
    History(history::History),
    /// Put an earlier or concurrent version again
    Restore(restore::Restore),
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
        Artifact::Search(command) => search::run(&client, command, global.json).await,
        Artifact::Mkdir(command) => mkdir::run(&client, command, global.json).await,
        Artifact::Move(command) => relocate::run(&client, command, Verb::Move, global.json).await,
        Artifact::Copy(command) => relocate::run(&client, command, Verb::Copy, global.json).await,
        Artifact::Properties(command) => properties::run(&client, command, global.json).await,
        Artifact::History(command) => history::run(&client, command, global.json).await,
        Artifact::Restore(command) => restore::run(&client, command, global.json).await,
        Artifact::Rm(command) => remove::run(&client, command, global.json).await,
        Artifact::Stat(command) => stat::run(&client, command, global.json).await,
    }
}
