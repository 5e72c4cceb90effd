//! One line for each blob that was removed, taken out of use, let go, lost or found again.

use std::io;
use std::sync::{Arc, PoisonError};

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
    pub last_read_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Other nodes that it has to do with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<String>>,
}

impl Line<'_> {
    /// That something happened to a blob of so many bytes.
    pub(super) fn of(now: Timestamp, event: &'static str, digest: Digest, bytes: u64) -> Line<'static> {
        let digest = digest.to_string();
        Line {
            time_ms: now.0,
            event,
            digest,
            bytes,
            path: None,
            garbage_since_ms: None,
            last_read_ms: None,
            file: None,
            nodes: None,
        }
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

/// The line of a blob of the cache that had to make room.
pub(super) fn evicted(now: Timestamp, digest: &Digest, bytes: u64, read_ms: u64) -> String {
    Line { last_read_ms: Some(read_ms), ..Line::of(now, "evicted", *digest, bytes) }.to_text()
}

/// Appends lines. One at a time does, wherever it is called from, so that none is written over another's. Blocks.
pub(super) fn append_here(shared: &Shared, lines: &str) -> io::Result<()> {
    let _turn = shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
    shared.store.journal(FILE_NAME)?.append(lines)
}

/// The same beside the runtime. On a full disk, say, what can't be written down is done without.
pub(super) async fn append(shared: &Arc<Shared>, lines: String) {
    let task = shared.clone();
    let written = tokio::task::spawn_blocking(move || append_here(&task, &lines)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "the journal can't be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::gc::tests::Site;

    #[tokio::test(flavor = "multi_thread")]
    async fn lines_of_many_writers_are_all_there_and_whole() {
        let site = Site::new().await;
        let writers: Vec<_> = (0..8_u64)
            .map(|writer| {
                let shared = site.engine.shared.clone();
                tokio::task::spawn_blocking(move || {
                    for number in 0..20 {
                        let digest = Digest::of(&[writer.to_le_bytes(), u64::to_le_bytes(number)].concat());
                        append_here(&shared, &Line::of(Timestamp(number), "lost", digest, writer).to_text()).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let text = std::fs::read_to_string(site.store_folder().join(FILE_NAME)).unwrap();
        let lines: std::collections::BTreeSet<&str> = text.lines().collect();
        assert_eq!(lines.len(), 160);
        assert!(lines.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }
}
