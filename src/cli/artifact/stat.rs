//! `artimesh artifact stat`

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::location::Location;
use crate::cli::output::{self, field};

/// What to show.
#[derive(Debug, Args)]
pub struct Stat {
    /// REPO/PATH
    location: Location,
}

/// Shows what the node knows of one artifact.
pub(super) async fn run(client: &Client, command: &Stat, json: bool) -> anyhow::Result<()> {
    let path = format!("/artifactory/api/storage/{}", command.location.target());
    output::answer(json, &client.call(Method::GET, &path, None).await?, human)
}

fn human(item: &Value) -> String {
    let mut lines = vec![format!("{:<16} {}{}", "artifact", field(item, "repo"), field(item, "path"))];
    for name in ["size", "mimeType", "created", "createdBy", "lastModified", "modifiedBy", "downloadUri"] {
        lines.push(format!("{name:<16} {}", field(item, name)));
    }
    for name in ["sha256", "sha1", "md5"] {
        lines.push(format!("{name:<16} {}", field(&item["checksums"], name)));
    }
    lines.join("\n")
}
