//! `artimesh artifact history`

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::location::{Location, file_or_folder};
use crate::cli::output::{self, bytes, field, items, short, short_version, table};

/// Whose history.
#[derive(Debug, Args)]
pub struct History {
    /// REPO/PATH
    #[arg(value_parser = file_or_folder)]
    location: Location,
    /// How many versions that ended are shown at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

/// Lists the versions of a path, those that are live and those that ended.
pub(super) async fn run(client: &Client, command: &History, json: bool) -> anyhow::Result<()> {
    let path = format!("/artifactory/api/mesh/history/{}?limit={}", command.location.target(), command.limit);
    output::answer(json, &client.call(Method::GET, &path, None).await?, human)
}

fn human(answer: &Value) -> String {
    let versions = items(answer, "live").iter().chain(items(answer, "history"));
    format!(
        "{}\n\nartimesh artifact restore {}/{} VERSION puts one of them again",
        versions_table(versions),
        field(answer, "repo"),
        field(answer, "path")
    )
}

/// One row a version.
pub(in crate::cli) fn versions_table<'a>(versions: impl Iterator<Item = &'a Value>) -> String {
    let rows = versions.map(|version| {
        let size = version["size"].as_u64().map_or("-".to_owned(), bytes);
        let version_id = short_version(&field(version, "version"));
        let (node, by) = (field(version, "node_name"), field(version, "modified_by"));
        let written = format!("{} by {by} at {node}", field(version, "modified"));
        [version_id, field(version, "state"), size, short(&field(version, "sha256")), written, fate(version)]
    });
    table(["version", "state", "size", "sha256", "written", "then"], rows)
}

fn fate(version: &Value) -> String {
    if !version["outlived_delete"].is_null() {
        return format!("outlived a delete at {}", field(version, "outlived_delete_of"));
    }
    let ended = &version["ended"];
    if ended.is_null() {
        return "-".to_owned();
    }
    let how = match ended["how"].as_str() {
        Some("moved") => format!("moved to {}", field(ended, "to")),
        Some("unknown") => return "ended elsewhere".to_owned(),
        _ => field(ended, "how"),
    };
    format!("{how} {} by {} at {}", field(ended, "at"), field(ended, "by"), field(ended, "node_name"))
}
