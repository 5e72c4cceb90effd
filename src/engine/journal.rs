//! One line for each blob that was removed, or taken out of use.

use artimesh_core::clock::Timestamp;
use artimesh_core::model::Digest;
use serde::Serialize;

use crate::store::{Garbage, Rotten};

/// The name of the journal in the store's folder.
pub(super) const FILE_NAME: &str = "gc.log";

/// One line, as JSON. What an event doesn't know it leaves out.
#[derive(Serialize)]
struct Line<'a> {
    time_ms: u64,
    event: &'static str,
    digest: String,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    garbage_since_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_read_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl Line<'_> {
    fn to_text(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are JSON") + "\n"
    }
}

/// The line of a blob of `bytes` that is removed now.
pub(super) fn removed(now: Timestamp, garbage: &Garbage, bytes: u64) -> String {
    let (path, garbage_since_ms) = (garbage.path.as_deref(), Some(garbage.since_ms));
    let digest = garbage.digest.to_string();
    Line { time_ms: now.0, event: "removed", digest, bytes, path, garbage_since_ms, last_read_ms: None, file: None }
        .to_text()
}

/// The line of a blob that was found rotten.
pub(super) fn rotten(now: Timestamp, blob: &Rotten) -> String {
    let (digest, bytes) = (blob.digest.to_string(), blob.size_bytes);
    let file = Some(blob.path.to_string_lossy().into_owned());
    let (path, garbage_since_ms, last_read_ms) = (None, None, None);
    Line { time_ms: now.0, event: "rotten", digest, bytes, path, garbage_since_ms, last_read_ms, file }.to_text()
}

/// The line of a blob of the cache that had to make room.
pub(super) fn evicted(now: Timestamp, digest: &Digest, bytes: u64, read_ms: u64) -> String {
    let (path, garbage_since_ms, file) = (None, None, None);
    let (digest, last_read_ms) = (digest.to_string(), Some(read_ms));
    Line { time_ms: now.0, event: "evicted", digest, bytes, path, garbage_since_ms, last_read_ms, file }.to_text()
}
