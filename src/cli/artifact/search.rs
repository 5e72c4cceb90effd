//! `artimesh artifact search`

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::location::Folder;
use crate::cli::output::{self, field, items, table};

/// What to find.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").multiple(true).required(true)))]
pub struct Search {
    /// Only in REPO, or below REPO/PREFIX
    folder: Option<Folder>,
    /// Files of this name; * and ? are wildcards
    #[arg(long, group = "what", value_name = "PATTERN")]
    name: Option<String>,
    /// Files with this property, or this value of it; each that is given must be there
    #[arg(long = "property", group = "what", value_name = "NAME[=VALUE]")]
    properties: Vec<String>,
    /// Files with these bytes
    #[arg(long, group = "what", value_name = "HEX")]
    sha256: Option<String>,
    /// Files with these bytes
    #[arg(long, group = "what", value_name = "HEX")]
    sha1: Option<String>,
    /// Whatever a query in the query language finds: items.find({…})
    #[arg(long, group = "what", value_name = "QUERY", conflicts_with_all = ["folder", "name", "properties", "sha256", "sha1", "limit"])]
    aql: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 1000)]
    limit: u64,
}

/// Asks, and shows what was found.
pub(super) async fn run(client: &Client, command: &Search, json: bool) -> anyhow::Result<()> {
    let query = command.aql.clone().unwrap_or_else(|| query(command));
    let found = client.ask("/artifactory/api/search/aql", &query).await?;
    if found["range"]["total"].as_u64() == Some(command.limit) && command.aql.is_none() {
        output::note(&format!("there may be more than {} (--limit)", command.limit));
    }
    output::answer(json, &found, human)
}

fn query(command: &Search) -> String {
    let mut criteria = Vec::new();
    if let Some(Folder { repo, prefix, .. }) = &command.folder {
        criteria.push(json!({"repo": repo.as_str()}));
        if let Some(prefix) = prefix {
            criteria.push(json!({"$or": [{"path": prefix.as_str()}, {"path": {"$match": format!("{prefix}/*")}}]}));
        }
    }
    criteria.extend(command.name.iter().map(|name| json!({"name": {"$match": name}})));
    for property in &command.properties {
        let (name, value) = property.split_once('=').unwrap_or((property, "*"));
        criteria.push(json!({format!("@{name}"): value}));
    }
    criteria.extend(command.sha256.iter().map(|sum| json!({"sha256": sum.to_ascii_lowercase()})));
    criteria.extend(command.sha1.iter().map(|sum| json!({"actual_sha1": sum.to_ascii_lowercase()})));
    let include = r#""repo","path","name","type","size","modified","actual_sha1","sha256","property""#;
    format!("items.find({}).include({include}).limit({})", json!({"$and": criteria}), command.limit)
}

fn human(found: &Value) -> String {
    let rows = items(found, "results").iter().map(|row| {
        let size = if row["type"] == "folder" { None } else { row["size"].as_u64() };
        let (repo, path, name) = (field(row, "repo"), field(row, "path"), field(row, "name"));
        let place = if path == "." { format!("{repo}/{name}") } else { format!("{repo}/{path}/{name}") };
        [size.map_or("-".to_owned(), output::bytes), field(row, "modified"), place]
    });
    table(["size", "last modified", "path"], rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Whole {
        #[command(flatten)]
        search: Search,
    }

    fn parsed(args: &[&str]) -> Result<Search, clap::Error> {
        Whole::try_parse_from([&["search"], args].concat()).map(|whole| whole.search)
    }

    #[test]
    fn what_is_asked_becomes_a_query() {
        let search =
            parsed(&["libs/a b", "--name", "*.j\"ar", "--property", "k", "--property", "l=v=w", "--limit", "5"]);
        let text = query(&search.unwrap());
        let criteria = r#"{"$and":[{"repo":"libs"},{"$or":[{"path":"a b"},{"path":{"$match":"a b/*"}}]},{"name":{"$match":"*.j\"ar"}},{"@k":"*"},{"@l":"v=w"}]}"#;
        assert!(text.starts_with(&format!("items.find({criteria}).include(")) && text.ends_with(".limit(5)"), "{text}");
    }

    #[test]
    fn nothing_at_all_is_not_searched_for() {
        assert!(parsed(&[]).is_err() && parsed(&["libs"]).is_err());
        assert!(parsed(&["libs", "--aql", "items.find()"]).is_err() && parsed(&["--aql", "items.find()"]).is_ok());
    }

    #[test]
    fn hits_are_shown_with_their_whole_path() {
        let found = json!({"results": [
            {"repo": "libs", "path": ".", "name": "x", "type": "file", "size": 2048, "modified": "2026-01-01T00:00:00.000Z"},
            {"repo": "libs", "path": "a/b", "name": "c", "type": "folder", "size": 0, "modified": "2026-01-01T00:00:00.000Z"},
        ]});
        let golden = " SIZE      LAST MODIFIED             PATH
 2.00 KiB  2026-01-01T00:00:00.000Z  libs/x
 -         2026-01-01T00:00:00.000Z  libs/a/b/c";
        assert_eq!(human(&found), golden);
    }
}
