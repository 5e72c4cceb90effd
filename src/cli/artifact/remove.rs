//! `artimesh artifact rm`

use anyhow::bail;
use clap::Args;
use hyper::Method;
use serde_json::json;

use crate::cli::client::{Client, LONG_TIMEOUT};
use crate::cli::location::Location;
use crate::cli::output;

/// What to delete.
#[derive(Debug, Args)]
pub struct Remove {
    /// REPO/PATH
    location: Location,
    /// Delete a folder with all that is in it
    #[arg(long, short)]
    recursive: bool,
}

/// Deletes one artifact, or a folder.
pub(super) async fn run(client: &Client, command: &Remove, json: bool) -> anyhow::Result<()> {
    let Location { repo, path } = &command.location;
    let target = command.location.target();
    if !command.recursive {
        let found = client.call(Method::GET, &format!("/artifactory/api/storage/{target}"), None).await?;
        if found["children"].is_array() {
            bail!("{repo}/{path} is a folder: add --recursive to delete all that is in it");
        }
    }
    client.call_within(LONG_TIMEOUT, Method::DELETE, &format!("/artifactory/{target}"), None).await?;
    output::answer(json, &json!({"deleted": format!("{repo}/{path}")}), |_| format!("deleted {repo}/{path}"))
}
