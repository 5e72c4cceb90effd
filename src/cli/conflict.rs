//! `artimesh conflict restore|dismiss`

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::json;

use super::artifact::restore::{self, Restore};
use super::client::Client;
use super::command::Global;
use super::location::Location;
use super::output;

/// Versions that nobody decided between.
#[derive(Debug, Subcommand)]
pub enum Conflict {
    /// Make a version that lost the one that is shown
    Restore(Restore),
    /// Keep the version that is shown, and end the others; they stay in the history
    Dismiss(Dismiss),
}

/// What is settled.
#[derive(Debug, Args)]
pub struct Dismiss {
    /// REPO/PATH
    location: Location,
    /// Which versions end; all but the one that is shown if none is named
    versions: Vec<String>,
}

/// Does one of these.
pub(super) async fn run(global: &Global, command: &Conflict) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    match command {
        Conflict::Restore(command) => restore::run(&client, command, global.json).await,
        Conflict::Dismiss(Dismiss { location, versions }) => {
            let path = format!("/artifactory/api/mesh/dismiss/{}", location.target());
            client.call(Method::POST, &path, Some(json!({"versions": versions}))).await?;
            let shown = format!("{}/{}", location.repo, location.path);
            output::answer(global.json, &json!({"dismissed": shown, "versions": versions}), |_| {
                format!("dismissed the siblings of {shown}; they are in its history")
            })
        }
    }
}
