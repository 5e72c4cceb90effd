//! `artimesh artifact ls`

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::location::Folder;
use crate::cli::output::{self, field, items, table};

/// What to list.
#[derive(Debug, Args)]
pub struct List {
    /// REPO, or REPO/PREFIX
    folder: Folder,
}

/// Lists everything below a folder.
pub(super) async fn run(client: &Client, command: &List, json: bool) -> anyhow::Result<()> {
    let path = format!("/artifactory/api/storage/{}?list&deep=1", command.folder.target());
    output::answer(json, &client.call(Method::GET, &path, None).await?, human)
}

pub(super) fn human(listing: &Value) -> String {
    let rows = items(listing, "files").iter().map(|file| {
        let is_folder = file["folder"] == true;
        let size = if is_folder { "-".to_owned() } else { file["size"].as_u64().map_or("-".to_owned(), output::bytes) };
        let path = field(file, "uri").trim_start_matches('/').to_owned();
        [size, field(file, "lastModified"), if is_folder { format!("{path}/") } else { path }]
    });
    table(["size", "last modified", "path"], rows)
}
