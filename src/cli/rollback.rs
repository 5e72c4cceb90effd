//! `artimesh rollback`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use artimesh_core::model::RepoKey;
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, LONG_TIMEOUT};
use super::command::Global;
use super::output::{self, field, items};
use crate::config::parse_duration;

/// Whose doings are undone.
#[derive(Debug, Args)]
pub struct Rollback {
    #[command(flatten)]
    whose: Whose,
    /// What was written since: a UTC time such as 2026-11-21T21:47:00Z, or how long ago, such as 90m
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Value,
    /// Only in this repository; else in all of this node
    #[arg(long, value_name = "KEY")]
    repo: Option<RepoKey>,
    /// Change nothing, and list what would be done
    #[arg(long)]
    dry_run: bool,
}

/// A node, a user, or a user at a node.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Whose {
    /// What this node wrote, by name or id; it may be revoked
    #[arg(long, value_name = "NODE")]
    author: Option<String>,
    /// What was written for this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// A UTC time as it is, or how long ago in milliseconds since 1970.
pub(super) fn since(text: &str) -> Result<Value, String> {
    if let Ok(ago) = parse_duration(text) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        return Ok(json!(now.saturating_sub(ago).as_millis() as u64));
    }
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        Ok(json!(text))
    } else {
        Err("write a UTC time such as 2026-11-21T21:47:00Z, or how long ago, such as 90m".into())
    }
}

/// What was done so far.
#[derive(Default)]
struct Tally {
    actions: Vec<Value>,
    undone: u64,
    left: u64,
    failed: u64,
}

/// Undoes, repository by repository and page by page, out of the history of the node that is asked.
pub(super) async fn run(global: &Global, command: &Rollback) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    let keys = match &command.repo {
        Some(key) => vec![key.to_string()],
        None => {
            let listed = client.call(Method::GET, "/artifactory/api/repositories", None).await?;
            listed.as_array().map_or(&[][..], Vec::as_slice).iter().map(|repo| field(repo, "key")).collect()
        }
    };
    let mut tally = Tally::default();
    for key in &keys {
        tally.in_repository(&client, key, command, global.json).await?;
    }
    let Tally { actions, undone, left, failed } = &tally;
    let value =
        json!({"dry_run": command.dry_run, "undone": undone, "left": left, "failed": failed, "actions": actions});
    output::answer(global.json, &value, |_| {
        let verb = if command.dry_run { "would be undone" } else { "undone" };
        format!("{undone} paths {verb}, {left} left alone because others wrote since, {failed} failed")
    })?;
    ensure!(*failed == 0, "{failed} paths could not be undone: see above, and repeat");
    Ok(())
}

impl Tally {
    async fn in_repository(
        &mut self,
        client: &Client,
        key: &str,
        command: &Rollback,
        json: bool,
    ) -> anyhow::Result<()> {
        let bar = output::progress_count("undo");
        let mut after = Value::Null;
        loop {
            let Whose { author, user } = &command.whose;
            let body = json!({
                "author": author, "user": user, "since": command.since, "dry_run": command.dry_run, "after": after,
            });
            let path = format!("/artifactory/api/mesh/rollback/{key}");
            let page = client.call_within(LONG_TIMEOUT, Method::POST, &path, Some(body)).await?;
            for action in items(&page, "actions") {
                self.count(action);
                if json {
                    let mut action = action.clone();
                    action["repo"] = json!(key);
                    self.actions.push(action);
                } else {
                    bar.suspend(|| output::say(&line(key, action)))?;
                }
            }
            bar.inc(items(&page, "actions").len() as u64);
            after = page["next"].clone();
            if after.is_null() {
                bar.finish_and_clear();
                return Ok(());
            }
        }
    }

    fn count(&mut self, action: &Value) {
        match (&action["action"], &action["failed"]) {
            (_, Value::String(_)) => self.failed += 1,
            (Value::String(action), _) if action == "leave" => self.left += 1,
            _ => self.undone += 1,
        }
    }
}

fn line(key: &str, action: &Value) -> String {
    let path = format!("{key}/{}", field(action, "path"));
    let text = match action["action"].as_str() {
        Some("restore") => format!("restore  {path} to version {}", output::short_version(&field(action, "version"))),
        Some("delete") => format!("delete   {path}"),
        Some("dismiss") => format!("dismiss  {path}: others' versions stay"),
        Some("leave") => {
            format!("leave    {path}: {} wrote since, at {}", field(action, "changed_by"), field(action, "changed"))
        }
        _ => format!("{} {path}", field(action, "action")),
    };
    if action["failed"].is_null() { text } else { format!("{text}: FAILED: {}", field(action, "failed")) }
}
