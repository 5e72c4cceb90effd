//! `artimesh doctor`: what on this machine, in this folder or round it keeps a node from running well, and what to do.
//!
//! # Why
//! - *It changes nothing* but a temporary file whose fsync it times, so it may run beside a node in production.
//! - *A check that can't be made is a warning*, never silence: an operator must not take "nothing was found" for
//!   "nothing could be looked at".

mod check;
mod claims;
mod clock;
mod disk;
mod files;
mod kernel;
mod network;

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::command::Global;
use super::{output, serve, status};
use crate::config::{FILE_NAME, load};
use check::{Check, Outcome};

/// The options of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {}

/// Checks everything and prints it; fails if any check fails.
pub(super) async fn run(global: &Global, _: &Doctor) -> anyhow::Result<()> {
    let folder = serve::folder(global)?;
    let checks = examine(global, folder).await;
    let failed = checks.iter().filter(|check| check.outcome == Outcome::Fail).count();
    let value = json!({"checks": checks.iter().map(Check::json).collect::<Vec<_>>(), "failed": failed});
    output::answer(global.json, &value, |_| human(&checks))?;
    anyhow::ensure!(failed == 0, "{failed} of {} checks failed", checks.len());
    Ok(())
}

async fn examine(global: &Global, folder: &Path) -> Vec<Check> {
    let loaded = load(Some(&folder.join(FILE_NAME)), std::env::vars_os(), &[]);
    let status = running(global, folder).await;
    let mut checks = vec![match &loaded {
        Ok(_) => Check::ok("configuration", "fine"),
        Err(faults) => {
            Check::fail("configuration", faults.to_string(), "repair what is named; `artimesh config check`")
        }
    }];
    let settings = loaded.ok().map(|loaded| loaded.settings);
    checks.extend(files::checks(folder));
    checks.extend(clock::checks(folder));
    checks.extend(status.as_ref().and_then(claims::checks));
    checks.extend(disk::checks(folder, settings.as_ref().map(|settings| settings.store.reserve)));
    checks.push(kernel::open_files(settings.as_ref().map(|settings| settings.http.max_connections)));
    checks.extend(kernel::settings());
    if let Some(settings) = &settings {
        checks.extend(network::ports(settings, status.as_ref()).await);
        checks.extend(network::peers(&targets(status.as_ref())).await);
    }
    checks
}

/// The status of the node that runs on the folder, if one does.
async fn running(global: &Global, folder: &Path) -> Option<Value> {
    let here = Global { data: Some(folder.to_owned()), url: None, profile: None, ..global.clone() };
    Client::find(&here).ok()?.call(hyper::Method::GET, status::PATH, None).await.ok()
}

/// Addresses to try: those of the other members, as far as the running node knows them.
fn targets(status: Option<&Value>) -> Vec<String> {
    let members = status.map_or(&[][..], |status| output::items(status, "members"));
    let others = members.iter().filter(|member| member["state"] != "self" && member["state"] != "revoked");
    let known = others.flat_map(|member| output::items(member, "addresses")).filter_map(Value::as_str);
    let mut targets: Vec<String> = known.map(str::to_owned).collect();
    targets.sort();
    targets.dedup();
    targets
}

fn human(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        text += &format!("{:<5} {}: {}\n", check.outcome.word(), check.name, output::plain(&check.detail));
        if let Some(remedy) = &check.remedy {
            text += &format!("      → {remedy}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests;
