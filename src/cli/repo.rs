//! `artimesh repo create|list|show|configure|delete`

use artimesh_core::model::RepoKey;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::command::Global;
use super::output::{self, field, items, table};

const PATH: &str = "/artifactory/api/repositories";

/// Repositories.
#[derive(Debug, Subcommand)]
pub enum Repo {
    /// Create one
    Create(Create),
    /// List all
    List,
    /// Show one
    Show(Which),
    /// Change what one is set to, at all its members
    Configure(Configure),
    /// Delete one at this node
    Delete(Which),
}

/// What to create.
#[derive(Debug, Args)]
pub struct Create {
    /// Its key
    key: RepoKey,
    /// Share it with other nodes
    #[arg(long)]
    federated: bool,
    /// A node to share it with, by name or id; may be repeated, and makes the repository federated
    #[arg(long = "member", value_name = "NODE", value_delimiter = ',')]
    members: Vec<String>,
}

/// What to change.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Settings {
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The package type, such as `generic` or `maven`
    #[arg(long, value_name = "WORD")]
    package_type: Option<String>,
}

/// What to change, and where.
#[derive(Debug, Args)]
pub struct Configure {
    /// The repository's key
    key: RepoKey,
    #[command(flatten)]
    settings: Settings,
}

/// Which repository.
#[derive(Debug, Args)]
pub struct Which {
    /// Its key
    key: RepoKey,
}

/// Creates, lists, shows or deletes.
pub(super) async fn run(global: &Global, command: &Repo) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    let path = |key: &RepoKey| format!("{PATH}/{key}");
    match command {
        Repo::Create(command) => {
            let answer = client.call(Method::PUT, &path(&command.key), Some(body(command))).await?;
            output::answer(global.json, &answer, text)
        }
        Repo::List => output::answer(global.json, &client.call(Method::GET, PATH, None).await?, list),
        Repo::Show(which) => {
            output::answer(global.json, &client.call(Method::GET, &path(&which.key), None).await?, show)
        }
        Repo::Configure(Configure { key, settings: Settings { description, package_type } }) => {
            let mut body = json!({});
            description.iter().for_each(|text| body["description"] = json!(text));
            package_type.iter().for_each(|word| body["packageType"] = json!(word));
            output::answer(global.json, &client.call(Method::POST, &path(key), Some(body)).await?, text)
        }
        Repo::Delete(which) => {
            output::answer(global.json, &client.call(Method::DELETE, &path(&which.key), None).await?, text)
        }
    }
}

fn body(command: &Create) -> Value {
    let is_federated = command.federated || !command.members.is_empty();
    let mut body = json!({
        "key": command.key,
        "rclass": if is_federated { "federated" } else { "local" },
        "packageType": "generic",
    });
    if is_federated {
        body["members"] = command.members.iter().map(|node| json!({"node": node})).collect();
    }
    body
}

/// Answers of this family are lines of text.
fn text(answer: &Value) -> String {
    answer.as_str().map_or_else(|| answer.to_string(), output::plain)
}

fn list(answer: &Value) -> String {
    let rows = answer.as_array().map_or(&[][..], Vec::as_slice).iter().map(|repo| {
        let class = if repo["type"].is_null() { field(repo, "rclass") } else { field(repo, "type") };
        [field(repo, "key"), class.to_lowercase(), field(repo, "packageType"), field(repo, "description")]
    });
    table(["repository", "class", "package type", "description"], rows)
}

fn show(repo: &Value) -> String {
    let Some(fields) = repo.as_object() else { return text(repo) };
    let plain_fields = fields.iter().filter(|(name, value)| *name != "members" && !value.is_null());
    let mut lines: Vec<_> = plain_fields.map(|(name, _)| format!("{name:<16} {}", field(repo, name))).collect();
    for member in items(repo, "members") {
        let known = ["name", "node", "url"].into_iter().find(|name| !member[*name].is_null()).unwrap_or("url");
        lines.push(format!("{:<16} {}", "member", field(member, known)));
    }
    lines.join("\n")
}
