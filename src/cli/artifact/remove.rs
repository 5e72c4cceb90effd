//! `artimesh artifact rm`

use clap::Args;
use hyper::Method;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::location::Location;
use crate::cli::output;

/// What to delete.
#[derive(Debug, Args)]
pub struct Remove {
    /// REPO/PATH
    location: Location,
}

/// Deletes one artifact.
pub(super) async fn run(client: &Client, command: &Remove, json: bool) -> anyhow::Result<()> {
    let Location { repo, path } = &command.location;
    client.call(Method::DELETE, &format!("/artifactory/{}", command.location.target()), None).await?;
    output::answer(json, &json!({"deleted": format!("{repo}/{path}")}), |_| format!("deleted {repo}/{path}"))
}
