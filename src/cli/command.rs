//! The tree of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{
    artifact, audit, backup, cache, config, conflict, doctor, federation, gc, import, init, manuals, pair, profile,
    repo, restore, rollback, scrub, serve, store, trust,
};

/// Federated artifact repositories and read-only edges, peer to peer, in one binary per site.
#[derive(Debug, Parser)]
#[command(name = "artimesh", version, arg_required_else_help = true)]
pub struct Cli {
    /// Where and how.
    #[command(flatten)]
    pub global: Global,
    /// What.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// The data folder of the node on this machine
    #[arg(long, global = true, env = "ARTIMESH_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The address of a node elsewhere, such as `https://berlin.example`
    #[arg(long, global = true, env = "ARTIMESH_URL", value_name = "URL")]
    pub url: Option<String>,
    /// A node that `artimesh profile add` gave this name
    #[arg(long, global = true, env = "ARTIMESH_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
    /// A file that holds the access token; the default is the profile's, or admin.token of the data folder
    #[arg(long, global = true, env = "ARTIMESH_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A file of certificates (PEM) whose authorities https trusts besides this machine's
    #[arg(long, global = true, env = "ARTIMESH_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Which of the options above come from the environment, by the names of their fields.
    #[arg(skip)]
    pub from_environment: Vec<&'static str>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create the data folder of a new node
    Init(init::Init),
    /// Run the node
    Serve(serve::Serve),
    /// Show how the node, its members and repositories are
    Status,
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::Config),
    /// Give nodes elsewhere short names, with their tokens
    #[command(subcommand)]
    Profile(profile::Profile),
    /// Check this machine and the data folder, and say what to repair
    Doctor(doctor::Doctor),
    /// Admit nodes to a circle of trust
    #[command(subcommand)]
    Pair(pair::Pair),
    /// Show the circle of trust, or take a node out of it
    #[command(subcommand)]
    Trust(trust::Trust),
    /// Create, show, configure and delete repositories
    #[command(subcommand)]
    Repo(repo::Repo),
    /// Share repositories with other nodes
    #[command(subcommand)]
    Federation(federation::Federation),
    /// Settle what sites wrote at the same time
    #[command(subcommand)]
    Conflict(conflict::Conflict),
    /// Upload, download, list, move, restore and delete artifacts
    #[command(subcommand)]
    Artifact(artifact::Artifact),
    /// Bring in what a directory tree or another server holds
    #[command(subcommand)]
    Import(import::Import),
    /// Undo what a node or user did since some time, out of the history
    Rollback(rollback::Rollback),
    /// Show who did what, and who downloaded what
    Audit(audit::Audit),
    /// Remove bytes that nothing needs any more, and compact what holds little
    Gc(gc::Gc),
    /// Read and hash again what is at rest, and take out of use what rotted
    Scrub(scrub::Scrub),
    /// Show what is kept of what was read, and pin some of it
    #[command(subcommand)]
    Cache(cache::Cache),
    /// Copy all of a node, running or not, into one archive
    Backup(backup::Backup),
    /// Make a data folder out of a backup
    Restore(restore::Restore),
    /// Move what the node holds to another disk
    #[command(subcommand)]
    Store(store::Store),
    /// Print a script that lets a shell complete these commands
    Completions(manuals::Completions),
    /// Write a manual page for each command
    Man(manuals::Man),
    /// Show the version
    Version,
}
