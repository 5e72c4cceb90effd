//! `artimesh scrub`

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::command::Global;
use super::output::{self, bytes, field};
use crate::config::parse_size;

const PATH: &str = "/artifactory/api/mesh/scrub";
/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// How the store is verified.
#[derive(Debug, Args)]
pub struct Scrub {
    /// Read at most so much a second, such as 50MiB; else as fast as the node can beside its work
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    rate: Option<u64>,
    /// Begin, and don't wait for the end: `artimesh status` tells how far it is
    #[arg(long)]
    detach: bool,
}

/// Has a node verify what it holds, and waits for what comes of it.
pub(super) async fn run(global: &Global, command: &Scrub) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    let begun = client.call(Method::POST, PATH, Some(json!({"bytes_per_s": command.rate}))).await?;
    if command.detach {
        return output::answer(global.json, &begun, |_| "begun".to_owned());
    }
    let bar = output::progress("scrub", None);
    let done = loop {
        tokio::time::sleep(LOOK).await;
        let now = client.call(Method::GET, PATH, None).await?;
        bar.set_length(now["bytes"].as_u64().unwrap_or_default());
        bar.set_position(now["done_bytes"].as_u64().unwrap_or_default());
        if now["running"] == false {
            break now;
        }
    };
    bar.finish_and_clear();
    output::answer(global.json, &done, human)?;
    let count = |name: &str| done[name].as_u64().unwrap_or_default();
    ensure!(
        count("rotten_blobs") + count("damaged_records") == 0,
        "some of what is at rest here is damaged: see above and the node's log, and look at the disk"
    );
    Ok(())
}

fn human(done: &Value) -> String {
    let size = |name: &str| done[name].as_u64().map_or_else(|| "-".to_owned(), bytes);
    format!(
        "verified  {} of {} in {} files\nrotten    {} blobs, taken out of use and fetched again where others have them\n\
         mended    {} tiny blobs\ndamaged   {} other records",
        size("done_bytes"),
        size("bytes"),
        field(done, "files"),
        field(done, "rotten_blobs"),
        field(done, "mended_blobs"),
        field(done, "damaged_records")
    )
}
