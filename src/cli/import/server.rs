//! `artimesh import server`

use std::path::PathBuf;

use clap::Args;

use super::address::Address;
use super::options::Options;
use super::origin::Origin;
use super::plan::Sameness;
use super::report::Words;
use super::run::Import;
use super::source::Source;
use crate::cli::client::Client;
use crate::cli::command::Global;
use crate::cli::location::Folder;

/// Which server.
#[derive(Debug, Args)]
pub struct Server {
    /// What: https://HOST[:PORT]/artifactory/REPO, or a folder in it
    from: Address,
    /// Where to: REPO, or REPO/PREFIX
    to: Folder,
    /// A file that holds the access token (or password) for that server, or - for standard input
    #[arg(long, value_name = "FILE")]
    source_token_file: Option<PathBuf>,
    /// The user there, if it wants a name with it (basic authentication)
    #[arg(long, value_name = "NAME", requires = "source_token_file")]
    source_user: Option<String>,
    #[command(flatten)]
    options: Options,
}

pub(in crate::cli) async fn run(global: &Global, command: &Server) -> anyhow::Result<()> {
    let Server { from, to, source_token_file, source_user, options } = command;
    let origin =
        Origin::new(from.clone(), source_user.as_deref(), source_token_file.as_deref(), global.ca_file.as_deref())?;
    let import = Import {
        source: Source::Server(Box::new(origin)),
        into: to.clone(),
        sameness: Sameness::Time,
        options: options.clone(),
        json: global.json,
        words: Words::IMPORT,
    };
    import.run(&Client::find(global)?).await
}
