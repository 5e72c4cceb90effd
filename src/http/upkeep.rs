//! `POST /artifactory/api/mesh/gc`, `POST` and `GET /artifactory/api/mesh/scrub`

use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{self, Answer};
use super::ask::Ask;
use super::error::HttpError;
use super::whole::whole_or_null;
use crate::service::{Collected, Effect, Scrubbed, Tally};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    dry_run: bool,
    #[serde(default, deserialize_with = "whole_or_null")]
    grace_s: Option<u64>,
}

/// Collects garbage, and answers when that is done.
pub async fn collect_garbage(ask: Ask) -> Result<Answer, HttpError> {
    let Ask { site, caller, body, .. } = ask;
    let wish = body.json::<Wish>().await?;
    let effect = if wish.dry_run { Effect::Dry } else { Effect::Real };
    let done = site.service.collect_garbage(&caller, effect, wish.grace_s.map(Duration::from_secs)).await?;
    answer::json(StatusCode::OK, &of_collected(&done))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScrubWish {
    #[serde(default, deserialize_with = "whole_or_null")]
    bytes_per_s: Option<u64>,
}

/// Begins a scrub.
pub async fn begin_scrub(ask: Ask) -> Result<Answer, HttpError> {
    let Ask { site, caller, body, .. } = ask;
    let wish = body.json::<ScrubWish>().await?;
    site.service.begin_scrub(&caller, wish.bytes_per_s)?;
    answer::json(StatusCode::ACCEPTED, &json!({"begun": true}))
}

/// How far it is.
pub fn scrub(ask: &Ask) -> Result<Answer, HttpError> {
    let Scrubbed { is_running, bytes, done_bytes, units, rotten, mended, damaged_records, .. } =
        ask.service().scrubbed(&ask.caller)?;
    let value = json!({
        "running": is_running,
        "bytes": bytes,
        "done_bytes": done_bytes,
        "files": units,
        "rotten_blobs": rotten,
        "mended_blobs": mended,
        "damaged_records": damaged_records,
    });
    answer::json(StatusCode::OK, &value)
}

fn of_collected(done: &Collected) -> Value {
    let in_use: Map<String, Value> = done.in_use.iter().map(|(name, tally)| ((*name).to_owned(), of(tally))).collect();
    json!({
        "dry_run": done.is_dry,
        "stored": of(&done.stored),
        "in_use": in_use,
        "young": of(&done.young),
        "named_meanwhile": of(&done.named_meanwhile),
        "removed": of(&done.removed),
        "unfinished": of(&done.unfinished),
        "packs": {
            "bytes": done.compacted.pack_bytes,
            "live_bytes": done.compacted.live_bytes,
            "compacted": done.compacted.compacted,
            "freed_bytes": done.compacted.freed_bytes,
            "repeated_bytes": done.compacted.carried.bytes,
            "merged_files": done.compacted.merged,
            "damaged": done.compacted.damaged.len(),
            "waits_for_backup": done.compacted.waits_for_backup,
        },
    })
}

/// Some blobs.
pub fn of(tally: &Tally) -> Value {
    json!({"blobs": tally.blobs, "bytes": tally.bytes})
}
