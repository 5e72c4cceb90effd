//! `artimesh import tree`

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;

use super::options::Options;
use super::plan::Sameness;
use super::report::Words;
use super::run::Import;
use super::source::{Source, Tree as Files};
use crate::cli::artifact::glob::Filter;
use crate::cli::client::Client;
use crate::cli::command::Global;
use crate::cli::location::Folder;

/// Which tree.
#[derive(Debug, Args)]
pub struct Tree {
    /// The folder; checksum files beside their files (x.jar.sha1) are left out, since the node computes them
    folder: PathBuf,
    /// Where to: REPO, or REPO/PREFIX
    to: Folder,
    /// Read every file, and compare its bytes rather than its size and time
    #[arg(long)]
    checksum: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    options: Options,
}

pub(in crate::cli) async fn run(global: &Global, command: &Tree) -> anyhow::Result<()> {
    let Tree { folder, to, checksum, filter, options } = command;
    ensure!(folder.is_dir(), "{} is not a folder", folder.display());
    let import = Import {
        source: Source::Tree(Files { root: folder.clone(), filter: filter.clone(), keeps_times: true }),
        into: to.clone(),
        sameness: if *checksum { Sameness::Bytes } else { Sameness::Time },
        options: options.clone(),
        json: global.json,
        words: Words::IMPORT,
    };
    import.run(&Client::find(global)?).await
}
