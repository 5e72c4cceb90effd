//! `artimesh artifact rm`

use anyhow::bail;
use artimesh_core::model::ArtifactPath;
use clap::Args;
use hyper::Method;
use serde_json::json;

use super::each::{Done, Manner, each};
use super::selection::{Pattern, Selection};
use crate::cli::client::{Client, LONG_TIMEOUT};
use crate::cli::import::failure::{Failure, Remedy};
use crate::cli::import::report::Words;
use crate::cli::location::Folder;
use crate::cli::output;

/// What to delete.
#[derive(Debug, Args)]
pub struct Remove {
    /// REPO/PATH; REPO alone: all that is in it; or a pattern such as REPO/org/**/*.tmp: the files that match
    location: Selection,
    /// Delete a folder or repository's contents, all of them
    #[arg(long, short)]
    recursive: bool,
    #[command(flatten)]
    manner: Manner,
}

/// Deletes one artifact, all that is in a folder or repository, or all that matches. The repository itself stays.
pub(super) async fn run(client: &Client, command: &Remove, json: bool) -> anyhow::Result<()> {
    match &command.location {
        Selection::Matching(pattern) => remove_matching(client, command, pattern, json).await,
        Selection::Place(location) => remove_place(client, command, location, json).await,
    }
}

async fn remove_matching(client: &Client, command: &Remove, pattern: &Pattern, json: bool) -> anyhow::Result<()> {
    let any = |_: &ArtifactPath| Ok(());
    each(client, pattern, &command.manner, Words::DELETION, json, any, async |node, file| {
        let location = node.place.location(&file.path).map_err(|error| Failure::new(Remedy::Leave, error))?;
        let path = format!("/artifactory/{}", location.target());
        Done::of(client.change(Method::DELETE, &path, None, file.sums.sha1.as_deref()).await)
    })
    .await
}

async fn remove_place(client: &Client, command: &Remove, location: &Folder, json: bool) -> anyhow::Result<()> {
    if !command.recursive || command.manner.dry_run {
        let found = client.call(Method::GET, &format!("/artifactory/api/storage/{}", location.target()), None).await?;
        // A file may stand where a folder is, too.
        if (found["children"].is_array() || location.is_folder) && !command.recursive {
            bail!("{location} is a folder: add --recursive to delete all that is in it");
        }
    }
    if command.manner.dry_run {
        return output::answer(json, &json!({"deleted": null, "would_delete": location.to_string()}), |_| {
            format!("would delete {location}")
        });
    }
    let path = format!("/artifactory/{}", location.slashed_target());
    client.call_within(LONG_TIMEOUT, Method::DELETE, &path, None).await?;
    output::answer(json, &json!({"deleted": location.to_string()}), |_| format!("deleted {location}"))
}
