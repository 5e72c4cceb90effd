//! `artimesh federation invite|remove|adopt`

use artimesh_core::model::RepoKey;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::command::Global;
use super::output::{self, field, short};

/// Sharing repositories with other nodes.
#[derive(Debug, Subcommand)]
pub enum Federation {
    /// Invite a node to share a repository
    Invite(Member),
    /// End another node's membership: it shows the repository no more, the others keep theirs
    Remove(Member),
    /// Bring a repository, with all that is in it, into a federation that this node is invited to and that waits for its key
    Adopt(Adopt),
}

/// A repository, and whose federation it joins.
#[derive(Debug, Args)]
pub struct Adopt {
    /// The repository's key
    key: RepoKey,
    /// The node that founded the federation, by name or id: needed when several wait for the key
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
}

/// A node and a repository.
#[derive(Debug, Args)]
pub struct Member {
    /// The repository's key
    key: RepoKey,
    /// The node's name or id
    node: String,
}

/// The route of what concerns one repository's federation.
fn path(key: &RepoKey, verb: &str) -> String {
    format!("/artifactory/api/mesh/federation/{key}/{verb}")
}

/// Does one of these.
pub(super) async fn run(global: &Global, command: &Federation) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    match command {
        Federation::Invite(Member { key, node }) => {
            let answer = client.call(Method::POST, &path(key, "invite"), Some(json!({"node": node}))).await?;
            output::answer(global.json, &answer, invited)
        }
        Federation::Remove(Member { key, node }) => {
            let answer = client.call(Method::POST, &path(key, "remove"), Some(json!({"node": node}))).await?;
            output::answer(global.json, &answer, removed)
        }
        Federation::Adopt(Adopt { key, from }) => {
            let bar = output::progress_count("batches brought along");
            loop {
                let body = json!({"from": from});
                let answer = client.call(Method::POST, &path(key, "adopt"), Some(body)).await?;
                bar.inc(1);
                if answer["more"] != json!(true) {
                    bar.finish_and_clear();
                    return output::answer(global.json, &answer, adopted);
                }
            }
        }
    }
}

fn invited(answer: &Value) -> String {
    let (node, repository) = (short(&field(answer, "invited")), field(answer, "repository"));
    format!("invited {node} to {repository}: it is a member once it has accepted, see `artimesh status`")
}

fn removed(answer: &Value) -> String {
    let (node, repository) = (short(&field(answer, "removed")), field(answer, "repository"));
    format!("removed {node} from {repository}: it shows the repository no more; what it has it may keep")
}

fn adopted(answer: &Value) -> String {
    let (repository, federation) = (field(answer, "repository"), field(answer, "federation"));
    format!("{repository} is part of {federation} now; where contents differ: `artimesh conflict list {repository}`")
}
