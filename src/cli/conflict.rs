//! `artimesh conflict list|show|restore|dismiss`

use artimesh_core::model::RepoKey;
use clap::{Args, Subcommand};
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::artifact::history::versions_table;
use super::artifact::restore::{self, Restore};
use super::client::Client;
use super::command::Global;
use super::location::{Location, file_or_folder};
use super::output::{self, field, items, table};

/// Versions that nobody decided between.
#[derive(Debug, Subcommand)]
pub enum Conflict {
    /// List the paths of a repository whose versions contradict each other
    List(List),
    /// Show the versions of one path
    Show(Show),
    /// Make a version that lost the one that is shown
    Restore(Restore),
    /// Keep the version that is shown, and end the others; they stay in the history
    Dismiss(Dismiss),
}

/// Where to look.
#[derive(Debug, Args)]
pub struct List {
    /// The repository's key
    key: RepoKey,
    /// How many paths are listed at most
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    limit: usize,
}

/// What to show.
#[derive(Debug, Args)]
pub struct Show {
    /// REPO/PATH
    #[arg(value_parser = file_or_folder)]
    location: Location,
}

/// What is settled.
#[derive(Debug, Args)]
pub struct Dismiss {
    /// REPO/PATH
    #[arg(value_parser = file_or_folder)]
    location: Location,
    /// Which versions end; all but the one that is shown if none is named
    versions: Vec<String>,
}

/// Does one of these.
pub(super) async fn run(global: &Global, command: &Conflict) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    match command {
        Conflict::List(command) => {
            let answer = list(&client, command).await?;
            output::answer(global.json, &answer, |answer| listed(answer, &command.key))
        }
        Conflict::Show(Show { location }) => {
            let path = format!("/artifactory/api/mesh/conflicts/{}", location.target());
            output::answer(global.json, &client.call(Method::GET, &path, None).await?, shown)
        }
        Conflict::Restore(command) => restore::run(&client, command, global.json).await,
        Conflict::Dismiss(Dismiss { location, versions }) => {
            let path = format!("/artifactory/api/mesh/dismiss/{}", location.target());
            client.call(Method::POST, &path, Some(json!({"versions": versions}))).await?;
            let shown = format!("{}/{}", location.repo, location.path);
            output::answer(global.json, &json!({"dismissed": shown, "versions": versions}), |_| {
                format!("settled {shown}: what was dismissed is in its history")
            })
        }
    }
}

/// Page by page; `next` says behind which path there is more.
async fn list(client: &Client, command: &List) -> anyhow::Result<Value> {
    const PAGE: usize = 500;
    let (mut conflicts, mut next) = (Vec::new(), Value::Null);
    while conflicts.len() < command.limit {
        let limit = PAGE.min(command.limit - conflicts.len());
        let after =
            next.as_str().map_or_else(String::new, |path| utf8_percent_encode(path, NON_ALPHANUMERIC).to_string());
        let path = format!("/artifactory/api/mesh/conflicts/{}?limit={limit}&after={after}", command.key);
        let page = client.call(Method::GET, &path, None).await?;
        conflicts.extend_from_slice(items(&page, "conflicts"));
        next = page["next"].clone();
        if next.is_null() {
            break;
        }
    }
    Ok(json!({"repo": command.key, "conflicts": conflicts, "next": next}))
}

fn listed(answer: &Value, key: &RepoKey) -> String {
    let conflicts = items(answer, "conflicts");
    if conflicts.is_empty() {
        return format!("no conflicts in {key}");
    }
    let rows = conflicts.iter().map(|conflict| {
        let live = items(conflict, "live");
        let of_shown = live.first().map_or_else(
            || "nothing".to_owned(),
            |shown| {
                format!(
                    "{} by {} at {}",
                    field(shown, "modified"),
                    field(shown, "modified_by"),
                    field(shown, "node_name")
                )
            },
        );
        let outlived = live.iter().filter(|version| !version["outlived_delete"].is_null()).count();
        let siblings = live.len().saturating_sub(1);
        let lost = items(conflict, "lost").len();
        [field(conflict, "path"), of_shown, siblings.to_string(), lost.to_string(), outlived.to_string()]
    });
    let rows = table(["path", "shown", "siblings", "lost", "outlived a delete"], rows);
    let more = if answer["next"].is_null() { "" } else { "\nthere are more: --limit NUMBER" };
    format!("{rows}\n\nartimesh conflict show {key}/PATH lists the versions of one{more}")
}

fn shown(answer: &Value) -> String {
    let versions = items(answer, "live").iter().chain(items(answer, "lost"));
    let place = format!("{}/{}", field(answer, "repo"), field(answer, "path"));
    format!(
        "{}\n\nartimesh conflict restore {place} VERSION shows another one\nartimesh conflict dismiss {place} keeps the \
         one that is shown",
        versions_table(versions)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(state: &str, node: &str) -> Value {
        json!({"version": "aabbccddeeff.0011223344556677.5", "state": state, "size": 2048, "sha256": "0123456789abcdef",
               "modified": "2026-11-21T21:47:22.005Z", "modified_by": "admin", "node_name": node})
    }

    #[test]
    fn a_conflict_reads_as_a_table_of_versions() {
        let mut lost = version("lost", "oslo");
        lost["ended"] = json!({"how": "replaced", "by": "eve", "node_name": "paris", "at": "2026-11-21T22:00:00.000Z"});
        let answer = json!({"repo": "libs", "path": "a/b", "live": [version("shown", "berlin")], "lost": [lost]});
        let golden = "\
 VERSION              STATE  SIZE      SHA256        WRITTEN                                    THEN
 aabbccdd.00112233.5  shown  2.00 KiB  0123456789ab  2026-11-21T21:47:22.005Z by admin at berlin  -
";
        let text = shown(&answer);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&text.lines().take(2).collect::<Vec<_>>().join("\n")), words(golden));
        assert!(text.contains("replaced 2026-11-21T22:00:00.000Z by eve at paris"), "{text}");
        assert!(text.contains("artimesh conflict dismiss libs/a/b"), "{text}");
    }

    #[test]
    fn a_list_of_conflicts_counts_what_is_in_each() {
        let mut survivor = version("shown", "berlin");
        survivor["outlived_delete"] = json!("x");
        let conflicts = json!([{"path": "a", "live": [survivor, version("sibling", "oslo")], "lost": []}]);
        let key = "libs".parse().unwrap();
        let text = listed(&json!({"conflicts": conflicts, "next": null}), &key);
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[0], "a");
        assert_eq!(row[row.len() - 3..], ["1", "0", "1"]);
        assert_eq!(listed(&json!({}), &key), "no conflicts in libs");
    }
}
