//! One line for each blob that was removed.

use artimesh_core::clock::Timestamp;
use serde::Serialize;

use crate::store::Garbage;

/// The name of the journal in the store's folder.
pub const FILE_NAME: &str = "gc.log";

#[derive(Serialize)]
struct Line<'a> {
    time_ms: u64,
    event: &'static str,
    digest: String,
    bytes: u64,
    path: Option<&'a str>,
    garbage_since_ms: u64,
}

/// The line of a blob of `bytes` that is removed now.
pub fn line(now: Timestamp, garbage: &Garbage, bytes: u64) -> String {
    let line = Line {
        time_ms: now.0,
        event: "removed",
        digest: garbage.digest.to_string(),
        bytes,
        path: garbage.path.as_deref(),
        garbage_since_ms: garbage.since_ms,
    };
    serde_json::to_string(&line).expect("text and numbers are JSON") + "\n"
}
