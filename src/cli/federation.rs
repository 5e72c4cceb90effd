//! `artimesh federation status|invite|remove|adopt|holds|release|sync|checkpoint`

use std::time::Duration;

use anyhow::ensure;
use artimesh_core::model::RepoKey;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{ANSWER_TIMEOUT, Client};
use super::command::Global;
use super::federation_status;
use super::output::{self, field, items, short, table};
use crate::config::parse_duration;

/// Sharing repositories with other nodes.
#[derive(Debug, Subcommand)]
pub enum Federation {
    /// Show who shares a repository, and how far each member is
    Status(federation_status::Status),
    /// Invite a node to share a repository
    Invite(Member),
    /// End another node's membership: it shows the repository no more, the others keep theirs
    Remove(Member),
    /// Bring a repository, with all that is in it, into a federation that this node is invited to and that waits for its key
    Adopt(Adopt),
    /// List the nodes whose mass deletes wait here until they are released
    Holds(Holds),
    /// Let a mass delete through: this node's operator has looked at it
    Release(Release),
    /// Compare a repository's state with another member's, and take over what differs
    Sync(Sync),
    /// Ask whether all members have what is here now
    Checkpoint(Checkpoint),
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

/// What is compared, and with whom.
#[derive(Debug, Args)]
pub struct Sync {
    /// The repository's key
    key: RepoKey,
    /// With this member, by name or id; else with any that is connected
    #[arg(long, value_name = "NODE")]
    member: Option<String>,
    /// Change nothing, and list what differs, in both directions
    #[arg(long)]
    dry_run: bool,
}

/// What is asked, and how long.
#[derive(Debug, Args)]
pub struct Checkpoint {
    /// The repository's key
    key: RepoKey,
    /// Wait until all have it
    #[arg(long)]
    wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration, requires = "wait")]
    timeout: Duration,
}

/// Where to look.
#[derive(Debug, Args)]
pub struct Holds {
    /// The repository's key
    key: RepoKey,
}

/// What is let through.
#[derive(Debug, Args)]
pub struct Release {
    /// The repository's key
    key: RepoKey,
    /// Whose, by name or id; everybody's unless given
    #[arg(long, value_name = "NODE")]
    author: Option<String>,
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
        Federation::Status(command) => federation_status::run(&client, command, global.json).await,
        Federation::Invite(Member { key, node }) => {
            let answer = client.call(Method::POST, &path(key, "invite"), Some(json!({"node": node}))).await?;
            output::answer(global.json, &answer, invited)
        }
        Federation::Remove(Member { key, node }) => {
            let answer = client.call(Method::POST, &path(key, "remove"), Some(json!({"node": node}))).await?;
            output::answer(global.json, &answer, removed)
        }
        Federation::Adopt(command) => adopt(&client, command, global.json).await,
        Federation::Holds(Holds { key }) => {
            let answer = client.call(Method::GET, &path(key, "holds"), None).await?;
            output::answer(global.json, &answer, held)
        }
        Federation::Release(Release { key, author }) => {
            let answer = client.call(Method::POST, &path(key, "release"), Some(json!({"author": author}))).await?;
            output::answer(global.json, &answer, released)
        }
        Federation::Sync(command) => sync(&client, command, global.json).await,
        Federation::Checkpoint(command) => checkpoint(&client, command, global.json).await,
    }
}

/// Brings along batch after batch. What is begun goes on at the node, too, should this end.
async fn adopt(client: &Client, command: &Adopt, json: bool) -> anyhow::Result<()> {
    let bar = output::progress_count("adopt: batches");
    loop {
        let body = json!({"from": command.from});
        let answer = client.call(Method::POST, &path(&command.key, "adopt"), Some(body)).await?;
        bar.inc(1);
        if answer["more"] != true {
            bar.finish_and_clear();
            return output::answer(json, &answer, adopted);
        }
    }
}

/// Begins it, and follows it to its end.
async fn sync(client: &Client, command: &Sync, json: bool) -> anyhow::Result<()> {
    let path = path(&command.key, "sync");
    let body = json!({"member": command.member, "dry_run": command.dry_run});
    client.call(Method::POST, &path, Some(body)).await?;
    let bar = output::progress_count("compare: rows");
    let mut answer = client.call(Method::GET, &path, None).await?;
    while answer["progress"]["done"] != true {
        tokio::time::sleep(LOOK).await;
        answer = client.call(Method::GET, &path, None).await?;
        bar.set_position(answer["progress"]["committed"].as_u64().unwrap_or(0));
    }
    bar.finish_and_clear();
    output::answer(json, &answer, |answer| compared(&answer["progress"], command.dry_run))
}

/// How often progress is asked for.
const LOOK: Duration = Duration::from_millis(300);

fn compared(progress: &Value, is_dry: bool) -> String {
    let mut lines: Vec<String> = items(progress, "listed")
        .iter()
        .map(|each| format!("{:<13} {}", field(each, "kind"), field(each, "path")))
        .collect();
    let count = |name| field(progress, name);
    let verb = if is_dry { "would be " } else { "" };
    lines.push(format!(
        "{} {verb}taken over, {} {verb}dropped as deleted there, {} are news there, {} were deleted here and not there yet",
        count("take"),
        count("drop"),
        count("give"),
        count("deleted_here")
    ));
    lines.push(format!("rounds of the comparison: {}, bytes: {}", count("rounds"), count("bytes")));
    lines.join("\n")
}

async fn checkpoint(client: &Client, command: &Checkpoint, json: bool) -> anyhow::Result<()> {
    let wait = if command.wait { command.timeout } else { Duration::ZERO };
    let body = json!({"wait_s": wait.as_millis().div_ceil(1000)});
    let patience = ANSWER_TIMEOUT.saturating_add(wait);
    let answer = client.call_within(patience, Method::POST, &path(&command.key, "checkpoint"), Some(body)).await?;
    output::answer(json, &answer, confirmed)?;
    ensure!(answer["confirmed"] == true, "not all members of {} have confirmed it", command.key);
    Ok(())
}

fn confirmed(answer: &Value) -> String {
    let rows = items(answer, "members").iter().map(|member| {
        let verdict = match (&member["confirmed"], &member["diverged"], member["behind_entries"].as_u64()) {
            (_, Value::Bool(true), _) => "has all entries and ANOTHER STATE: run federation sync".to_owned(),
            (Value::Bool(true), ..) => "has it".to_owned(),
            (_, _, Some(0)) => "has all entries, and has not said its state yet".to_owned(),
            (_, _, Some(behind)) => format!("lacks {behind} entries"),
            (_, _, None) => "has said nothing yet".to_owned(),
        };
        let connected = if member["connected"] == true { "yes" } else { "no" };
        [field(member, "name"), short(&field(member, "node")), connected.to_owned(), verdict]
    });
    format!("state  {}\n\n{}", field(answer, "state_digest"), table(["member", "node", "connected", "state"], rows))
}

fn invited(answer: &Value) -> String {
    let (node, repository) = (short(&field(answer, "invited")), field(answer, "repository"));
    format!("invited {node} to {repository}: it is a member once it has accepted, see `artimesh status`")
}

fn held(answer: &Value) -> String {
    let (holds, repository) = (items(answer, "holds"), field(answer, "repository"));
    if holds.is_empty() {
        return format!("nothing is held in {repository}");
    }
    let rows = holds.iter().map(|hold| {
        let author = short(&field(hold, "author"));
        [field(hold, "name"), author, field(hold, "since"), field(hold, "paths"), field(hold, "allowed")]
    });
    let rows = table(["author", "node", "since", "artifacts", "allowed"], rows);
    format!("{rows}\n\nartimesh federation release {repository} --author NODE lets them go")
}

fn released(answer: &Value) -> String {
    format!("released in {}: what was held is fetched and applied now", field(answer, "repository"))
}

fn removed(answer: &Value) -> String {
    let (node, repository) = (short(&field(answer, "removed")), field(answer, "repository"));
    format!("removed {node} from {repository}: it shows the repository no more; what it has it may keep")
}

fn adopted(answer: &Value) -> String {
    let (repository, federation) = (field(answer, "repository"), field(answer, "federation"));
    format!("{repository} is part of {federation} now; where contents differ: `artimesh conflict list {repository}`")
}
