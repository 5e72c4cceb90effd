//! `artimesh artifact restore`, which is `artimesh conflict restore` too

use clap::Args;
use hyper::Method;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::location::{Location, file_or_folder};
use crate::cli::output;

/// What comes back.
#[derive(Debug, Args)]
pub struct Restore {
    /// REPO/PATH
    #[arg(value_parser = file_or_folder)]
    location: Location,
    /// Which version, as `artifact history` or `conflict show` lists it
    version: String,
}

/// Puts an earlier or concurrent version again.
pub(in crate::cli) async fn run(client: &Client, command: &Restore, json: bool) -> anyhow::Result<()> {
    let Restore { location, version } = command;
    let path = format!("/artifactory/api/mesh/restore/{}", location.target());
    let answer = client.call(Method::POST, &path, Some(json!({"version": version}))).await?;
    output::answer(json, &answer, |_| {
        format!(
            "restored {}/{} to version {version}; what was shown before is in its history",
            location.repo, location.path
        )
    })
}
