//! `artimesh pair create|accept`

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use artimesh_core::model::RepoKey;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::command::Global;
use super::output::{self, field};
use crate::config::parse_duration;

const PATH: &str = "/artifactory/api/mesh/pairing";
/// No pairing token is longer.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Admission to a circle of trust.
#[derive(Debug, Subcommand)]
pub enum Pair {
    /// Make a pairing token that admits one node; it alone is printed on standard output
    Create(Create),
    /// Join the circle of a pairing token, which is read from standard input
    Accept(Accept),
}

/// What the token admits to.
#[derive(Debug, Args)]
pub struct Create {
    /// What the new node will be
    #[arg(long, value_enum)]
    role: Role,
    /// The repositories that it may hold; without it, all
    #[arg(long = "for", value_name = "KEY", value_delimiter = ',')]
    repositories: Vec<RepoKey>,
    /// How long the token can be used
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = parse_duration)]
    ttl: Duration,
    /// What it may do in the circle besides
    #[arg(long, value_enum, value_name = "CAPABILITY", value_delimiter = ',')]
    can: Vec<Capability>,
    /// The revoked node, by name or id, that the token brings back; nobody else can use it
    #[arg(long, value_name = "NODE")]
    readmit: Option<String>,
}

/// The role of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Reads and writes
    Full,
    /// Reads only
    Edge,
}

/// What a full member may do in the circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Capability {
    /// Make pairing tokens
    Admit,
    /// Take nodes out of the circle
    Revoke,
}

/// Where the token comes from.
#[derive(Debug, Args)]
pub struct Accept {
    /// A file that holds the pairing token
    #[arg(long, value_name = "FILE", alias = "token-file-in")]
    from: Option<PathBuf>,
}

/// Creates or accepts.
pub(super) async fn run(global: &Global, command: &Pair) -> anyhow::Result<()> {
    match command {
        Pair::Create(command) => create(global, command).await,
        Pair::Accept(command) => accept(global, command).await,
    }
}

async fn create(global: &Global, command: &Create) -> anyhow::Result<()> {
    let mut request = json!({
        "role": word(&command.role),
        "for": command.repositories,
        "ttl_s": command.ttl.as_millis().div_ceil(1000),
        "can": command.can.iter().map(word).collect::<Vec<_>>(),
    });
    if let Some(node) = &command.readmit {
        request["readmit"] = json!(node);
    }
    let made = Client::find(global)?.call(Method::POST, PATH, Some(request)).await?;
    let Some(token) = made["pairing_token"].as_str() else { bail!("the node answered without a pairing token") };
    if global.json {
        return output::say(&serde_json::to_string_pretty(&made)?);
    }
    let (id, expiry) = (field(&made, "token_id"), field(&made, "expires_at"));
    output::note(&format!("pairing token {id}, for one node, until {expiry}"));
    output::note("give it to the other site over a channel you trust; there: artimesh pair accept --data DIR < TOKEN");
    output::say(token)
}

/// The word that the option has for `value`, which is also the protocol's.
fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|word| word.get_name().to_owned()).unwrap_or_default()
}

async fn accept(global: &Global, command: &Accept) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    let from = command.from.clone();
    // Standard input may keep silent for as long as it likes, so it gets a thread of its own.
    let token = tokio::task::spawn_blocking(move || read_token(from.as_deref())).await??;
    let request = json!({"pairing_token": token});
    let joined = client.call(Method::POST, &format!("{PATH}/accept"), Some(request)).await?;
    output::answer(global.json, &joined, accepted)
}

fn accepted(joined: &Value) -> String {
    let (circle, role) = (field(joined, "circle"), field(joined, "role"));
    format!("joined circle {circle} as {role}, admitted by {}", field(&joined["issuer"], "name"))
}

fn read_token(from: Option<&Path>) -> anyhow::Result<String> {
    let mut text = String::new();
    match from {
        Some(path) => {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            file.take(TOKEN_BYTES_MAX).read_to_string(&mut text).with_context(|| path.display().to_string())?;
        }
        None if io::stdin().is_terminal() => {
            output::note("Pairing token:");
            io::stdin().read_line(&mut text)?;
        }
        None => {
            io::stdin().lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
        }
    }
    let token = text.trim();
    if token.is_empty() {
        bail!("there is no pairing token in what was read");
    }
    Ok(token.to_owned())
}
