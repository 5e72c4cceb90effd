//! `artimesh trust list|revoke`

use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{ANSWER_TIMEOUT, Client};
use super::command::Global;
use super::output::{self, field, items, short, table};
use crate::config::parse_duration;

const PATH: &str = "/artifactory/api/mesh/trust";

/// The circle of trust.
#[derive(Debug, Subcommand)]
pub enum Trust {
    /// Show its members
    List,
    /// Take a node out of it
    Revoke(Revoke),
}

/// Whom to revoke.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The name or id of the node
    node: String,
    /// Wait this long for the others to acknowledge; fails if some haven't
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    wait: Duration,
}

/// Lists or revokes.
pub(super) async fn run(global: &Global, command: &Trust) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    match command {
        Trust::List => {
            let trust = client.call(Method::GET, PATH, None).await?;
            output::answer(global.json, &trust, list)
        }
        Trust::Revoke(command) => {
            let request = json!({"node": command.node, "wait_s": command.wait.as_millis().div_ceil(1000)});
            let patience = ANSWER_TIMEOUT.saturating_add(command.wait);
            let path = format!("{PATH}/revoke");
            let outcome = client.call_within(patience, Method::POST, &path, Some(request)).await?;
            output::answer(global.json, &outcome, revoked)?;
            let pending = items(&outcome, "pending").len();
            if pending > 0 && !command.wait.is_zero() {
                anyhow::bail!("{} is revoked, but {pending} have not acknowledged it yet", field(&outcome, "node"));
            }
            Ok(())
        }
    }
}

fn list(trust: &Value) -> String {
    let rows = items(trust, "members").iter().map(|member| {
        let connected = if member["connected"] == true { "yes" } else { "no" };
        let granted_by = short(&field(member, "granted_by"));
        let [name, role, state] = ["name", "role", "state"].map(|column| field(member, column));
        let node = short(&field(member, "node"));
        [name, node, role, state, connected.to_owned(), field(member, "capabilities"), granted_by]
    });
    let members = table(["member", "node", "role", "state", "connected", "capabilities", "granted by"], rows);
    format!("circle      {}\nroot        {}\n\n{members}", field(trust, "circle"), field(trust, "root"))
}

fn revoked(outcome: &Value) -> String {
    format!(
        "revoked       {}\nacknowledged  {}\npending       {}",
        field(outcome, "node"),
        field(outcome, "acknowledged"),
        field(outcome, "pending")
    )
}
