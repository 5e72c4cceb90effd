//! `artimesh gc`

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, LONG_TIMEOUT};
use super::command::Global;
use super::output::{self, bytes, field};
use crate::config::parse_duration;

const PATH: &str = "/artifactory/api/mesh/gc";

/// How garbage is collected.
#[derive(Debug, Args)]
pub struct Gc {
    /// Change nothing, and say what would be removed and why the rest stays
    #[arg(long)]
    dry_run: bool,
    /// Remove what has been garbage for this long, instead of store.gc_grace
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    grace: Option<Duration>,
}

/// Collects garbage at a node, and says what came of it.
pub(super) async fn run(global: &Global, command: &Gc) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    let wish = json!({"dry_run": command.dry_run, "grace_s": command.grace.map(|grace| grace.as_secs())});
    let done = client.call_within(LONG_TIMEOUT, Method::POST, PATH, Some(wish)).await?;
    output::answer(global.json, &done, human)
}

fn human(done: &Value) -> String {
    let is_dry = done["dry_run"] == true;
    let mut page = line("stored", &done["stored"], "");
    for (name, tally) in done["in_use"].as_object().into_iter().flatten() {
        page += &line("stays", tally, &format!("in use: {name}"));
    }
    page += &line("stays", &done["young"], "garbage, but not for long enough");
    page += &line("stays", &done["named_meanwhile"], "named by a write meanwhile");
    let goes = if is_dry { "would go" } else { "removed" };
    page += &line(goes, &done["removed"], "");
    if done["unfinished"]["blobs"].as_u64().is_some_and(|count| count > 0) {
        page += &line(goes, &done["unfinished"], "parts of what never arrived as a whole");
    }
    let packs = &done["packs"];
    let size = |name: &str| packs[name].as_u64().map_or_else(|| "-".to_owned(), bytes);
    let verb = if is_dry { "would be compacted" } else { "compacted" };
    let _ = write!(
        page,
        "packs     {} of {} in use, {} {verb}, {} freed, {} repeated",
        size("live_bytes"),
        size("bytes"),
        field(packs, "compacted"),
        size("freed_bytes"),
        size("repeated_bytes")
    );
    if packs["waits_for_backup"] == true {
        page += "\na backup is being made: packs that could be compacted wait for its end";
    }
    if packs["damaged"].as_u64().is_some_and(|count| count > 0) {
        page += "\nsome packs are damaged and stay as they are: see the node's log";
    }
    page
}

fn line(what: &str, tally: &Value, why: &str) -> String {
    let size = tally["bytes"].as_u64().map_or_else(|| "-".to_owned(), bytes);
    let text = format!("{what:<9} {:>9} blobs  {size:>11}  {why}", field(tally, "blobs"));
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_reads_as_a_page() {
        let tally = |blobs: u64, bytes: u64| json!({"blobs": blobs, "bytes": bytes});
        let done = json!({
            "dry_run": true,
            "stored": tally(10, 4096),
            "in_use": {"live": tally(6, 2048), "history": tally(1, 512)},
            "young": tally(1, 512),
            "named_meanwhile": tally(0, 0),
            "removed": tally(2, 1024),
            "unfinished": tally(1, 300),
            "packs": {"bytes": 8192, "live_bytes": 3072, "compacted": 1, "freed_bytes": 4096, "repeated_bytes": 0,
                      "damaged": 1, "waits_for_backup": false},
        });
        let page = human(&done);
        for part in [
            "in use: live",
            "would go          2 blobs     1.00 KiB\n",
            "parts of what",
            "1 would be compacted",
            "damaged",
        ] {
            assert!(page.contains(part), "{page}");
        }
    }
}
