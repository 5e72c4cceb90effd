//! One line for each blob that was removed, or taken out of use.

use std::io;
use std::sync::PoisonError;

use artimesh_core::clock::Timestamp;
use artimesh_core::model::Digest;
use serde::Serialize;

use super::shared::Shared;
use crate::store::{Garbage, Rotten};

/// The name of the journal in the store's folder.
const FILE_NAME: &str = "gc.log";

/// One line, as JSON. What an event doesn't know it leaves out.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub time_ms: u64,
    pub event: &'static str,
    pub digest: String,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub garbage_since_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Line<'_> {
    /// That something happened to a blob of so many bytes.
    pub(super) fn of(now: Timestamp, event: &'static str, digest: Digest, bytes: u64) -> Line<'static> {
        let digest = digest.to_string();
        Line { time_ms: now.0, event, digest, bytes, path: None, garbage_since_ms: None, file: None }
    }

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are JSON") + "\n"
    }
}

/// The line of a blob of `bytes` that is removed now.
pub(super) fn removed(now: Timestamp, garbage: &Garbage, bytes: u64) -> String {
    let (path, garbage_since_ms) = (garbage.path.as_deref(), Some(garbage.since_ms));
    Line { path, garbage_since_ms, ..Line::of(now, "removed", garbage.digest, bytes) }.to_text()
}

/// The line of a blob that was found rotten.
pub(super) fn rotten(now: Timestamp, blob: &Rotten) -> String {
    let file = Some(blob.path.to_string_lossy().into_owned());
    Line { file, ..Line::of(now, "rotten", blob.digest, blob.size_bytes) }.to_text()
}

/// Appends lines. One at a time does, wherever it is called from, so that none is written over another's. Blocks.
pub(super) fn append_here(shared: &Shared, lines: &str) -> io::Result<()> {
    let _turn = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
    shared.store.journal(FILE_NAME)?.append(lines)
}
