//! `artimesh artifact rm`

use anyhow::bail;
use clap::Args;
use hyper::Method;
use serde_json::json;

use crate::cli::client::{Client, LONG_TIMEOUT};
use crate::cli::location::Folder;
use crate::cli::output;

/// What to delete.
#[derive(Debug, Args)]
pub struct Remove {
    /// REPO/PATH; REPO alone: all that is in it
    location: Folder,
    /// Delete a folder or repository's contents, all of them
    #[arg(long, short)]
    recursive: bool,
}

/// Deletes one artifact, or all that is in a folder or repository. The repository itself stays.
pub(super) async fn run(client: &Client, command: &Remove, json: bool) -> anyhow::Result<()> {
    let location = &command.location;
    if !command.recursive {
        let found = client.call(Method::GET, &format!("/artifactory/api/storage/{}", location.target()), None).await?;
        if found["children"].is_array() {
            bail!("{location} is a folder: add --recursive to delete all that is in it");
        }
    }
    let path = format!("/artifactory/{}", location.slashed_target());
    client.call_within(LONG_TIMEOUT, Method::DELETE, &path, None).await?;
    output::answer(json, &json!({"deleted": location.to_string()}), |_| format!("deleted {location}"))
}
