//! `artimesh cache status|list|pin|unpin|evict`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, LONG_TIMEOUT};
use super::command::Global;
use super::location::Folder;
use super::output::{self, bytes, duration, field, items, table};

const PATH: &str = "/artifactory/api/mesh/cache";

/// What a node keeps because somebody read it, where a repository is kept on demand.
#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Show what is held, what it may take, and how often it was of use
    Status,
    /// List what is pinned
    List,
    /// Keep what is at and below a path once it is here, however little it is read and however full the cache is
    Pin(Pin),
    /// Let it go when its time comes
    Unpin(Pin),
    /// Do without this node's copies now, also where it mirrors: only what others have promised to keep goes
    ///
    /// What this node wrote goes when replication.min_copies other mirrors have it, what it mirrors of others when one has.
    /// What is pinned, what the history names and what others rely on stays. It is fetched again when somebody reads it.
    Evict(Evict),
}

/// What goes.
#[derive(Debug, Args)]
pub struct Evict {
    /// REPO, or REPO/PREFIX: a file, or a folder with all that is in it
    location: Folder,
    /// Change nothing and ask nobody: say what could go, and why the rest stays
    #[arg(long)]
    dry_run: bool,
}

/// What is pinned.
#[derive(Debug, Args)]
pub struct Pin {
    /// REPO, or REPO/PREFIX: a file, or a folder with all that is in it
    location: Folder,
}

/// Does one of these.
pub(super) async fn run(global: &Global, command: &Cache) -> anyhow::Result<()> {
    let client = Client::find(global)?;
    match command {
        Cache::Status => output::answer(global.json, &client.call(Method::GET, PATH, None).await?, human),
        Cache::List => output::answer(global.json, &client.call(Method::GET, PATH, None).await?["pins"], listed),
        Cache::Pin(Pin { location }) => {
            let path = format!("{PATH}/pins/{}", location.target());
            let done = client.call(Method::PUT, &path, None).await?;
            output::answer(global.json, &done, |done| {
                format!("pinned {}: what was read of it stays, and what will be", place(&done["pinned"]))
            })
        }
        Cache::Unpin(Pin { location }) => {
            let path = format!("{PATH}/pins/{}", location.target());
            let done = client.call(Method::DELETE, &path, None).await?;
            output::answer(global.json, &done, |done| format!("unpinned {}", place(&done["unpinned"])))
        }
        Cache::Evict(Evict { location, dry_run }) => {
            let path = format!("{PATH}/evict/{}", location.target());
            let wish = json!({"dry_run": dry_run});
            let done = client.call_within(LONG_TIMEOUT, Method::POST, &path, Some(wish)).await?;
            output::answer(global.json, &done, evicted)
        }
    }
}

fn place(pin: &Value) -> String {
    match pin["path"].as_str() {
        Some(path) => format!("{}/{}", field(pin, "repo"), output::plain(path)),
        None => field(pin, "repo"),
    }
}

fn listed(pins: &Value) -> String {
    let pins = pins.as_array().map_or(&[][..], Vec::as_slice);
    if pins.is_empty() {
        return "nothing is pinned".to_owned();
    }
    let path = |pin: &Value| if pin["path"].is_null() { "all of it".to_owned() } else { field(pin, "path") };
    table(["repository", "path"], pins.iter().map(|pin| [field(pin, "repo"), path(pin)]))
}

fn evicted(done: &Value) -> String {
    let line = |what: &str, tally: &Value, why: &str| {
        let size = tally["bytes"].as_u64().map_or_else(|| "-".to_owned(), bytes);
        format!("{what:<9} {:>9} blobs  {size:>11}{why}", field(tally, "blobs"))
    };
    let mut page = line("held", &done["held"], "");
    for (why, tally) in done["kept"].as_object().into_iter().flatten() {
        let _ = write!(page, "\n{}", line("stays", tally, &format!("  {}", output::plain(why))));
    }
    let goes = match done["dry_run"] == true {
        true => line("could go", &done["gone"], "  if others promise to keep it"),
        false => line("went", &done["gone"], ""),
    };
    let _ = write!(page, "\n{goes}");
    page
}

fn human(cache: &Value) -> String {
    let size = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), bytes);
    let line =
        |what: &str, tally: &Value| format!("{what:<9} {} in {} blobs\n", size(&tally["bytes"]), field(tally, "blobs"));
    let mut page = String::new();
    if cache["used"] == false {
        page += "no repository is kept on demand here: nothing is cached\n";
    }
    let max = cache["max_size"].as_u64().map_or_else(|| field(cache, "max_size"), bytes);
    let _ = writeln!(page, "limit     {} (cache.max_size {max})", size(&cache["limit_bytes"]));
    if let Some(age_s) = cache["max_age_s"].as_u64() {
        let _ = writeln!(page, "age       up to {} unread", duration(age_s.saturating_mul(1000)));
    }
    page += &line("held", &cache["held"]);
    page += &line("pinned", &cache["pinned"]);
    page += &line("partial", &cache["partial"]);
    let _ = writeln!(page, "arriving  {}", size(&cache["incoming_bytes"]));
    let (hits, misses) = (cache["hits"].as_u64().unwrap_or_default(), cache["misses"].as_u64().unwrap_or_default());
    let percent = (hits * 100).checked_div(hits + misses);
    let percent = percent.map_or_else(String::new, |percent| format!(" ({percent} % found here)"));
    let _ = writeln!(page, "read      {hits} times here, {misses} times fetched{percent}");
    page += &line("evicted", &cache["evicted"]);
    let pins = items(cache, "pins").len();
    let _ = write!(page, "pins      {pins}");
    page
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_held_reads_as_a_page() {
        let tally = |blobs: u64, bytes: u64| json!({"blobs": blobs, "bytes": bytes});
        let cache = json!({
            "used": true, "max_size": "80%", "max_age_s": 86_400, "limit_bytes": 4096, "held": tally(3, 2048),
            "pinned": tally(1, 1024), "partial": tally(0, 0), "incoming_bytes": 0, "hits": 3, "misses": 1,
            "evicted": tally(7, 8192), "pins": [{"repo": "libs", "path": null}],
        });
        let page = human(&cache);
        for part in ["limit     4.00 KiB (cache.max_size 80%)", "2.00 KiB in 3 blobs", "75 % found here", "pins      1"]
        {
            assert!(page.contains(part), "{page}");
        }
        assert!(human(&json!({"used": false})).contains("nothing is cached"));
    }

    #[test]
    fn what_went_reads_as_a_page() {
        let tally = |blobs: u64, bytes: u64| json!({"blobs": blobs, "bytes": bytes});
        let kept = json!({"it is in use: a pin": tally(2, 2048)});
        let mut done = json!({"dry_run": false, "held": tally(7, 7168), "gone": tally(5, 5120), "kept": kept});
        let page = evicted(&done);
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines.len(), 3, "{page}");
        assert!(lines[1].starts_with("stays") && lines[1].ends_with("a pin"), "{page}");
        assert!(lines[2].starts_with("went ") && lines[2].contains("5 blobs"), "{page}");
        done["dry_run"] = true.into();
        assert!(evicted(&done).contains("could go"), "{}", evicted(&done));
    }

    #[test]
    fn pins_read_as_a_table() {
        let pins = json!([{"repo": "libs", "path": "a/b"}, {"repo": "other", "path": null}]);
        let page = listed(&pins);
        assert!(page.contains("a/b") && page.contains("all of it"), "{page}");
        assert_eq!(listed(&json!([])), "nothing is pinned");
        assert_eq!(place(&pins[0]), "libs/a/b");
    }
}
