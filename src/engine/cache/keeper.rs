//! The task that keeps the cache within its bounds.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use artimesh_core::model::Digest;
use tokio::sync::oneshot;

use super::super::journal;
use super::super::mind::Message;
use super::super::removal::DropCause;
use super::super::shared::Shared;
use super::ledger::{Line, Selection};
use super::list::{self, State};
use super::survey::{self, Survey};
use crate::engine::gc::CollectError;
use crate::store::{CompactError, stored_bytes};

/// How often it is looked whether something is too old, or the limit has changed with the disk.
const LOOK: Duration = Duration::from_secs(60);
/// How often the list is written when something has changed.
const SAVE: Duration = Duration::from_secs(300);
/// So many blobs go in one commit.
const TOGETHER: usize = 256;
/// So much may go from packs before they are compacted, at least; else an eighth of the limit.
const COMPACT_BYTES: u64 = 64 << 20;
/// Larger blobs have files of their own.
const IN_PACKS_MAX: u64 = 1 << 20;

/// Keeps the cache within its bounds until the engine stops.
pub(in crate::engine) async fn keeping(shared: Arc<Shared>) {
    let mut saved = tokio::time::Instant::now();
    let mut loosened_bytes = 0;
    let look = shared.cache.limits().max_age.map_or(LOOK, |age| (age / 4).clamp(Duration::from_millis(100), LOOK));
    if shared.cache.must_count.load(Ordering::Relaxed) {
        // What a node that was killed left is counted at once.
        shared.cache.pressure.notify_one();
    }
    loop {
        tokio::select! {
            () = shared.cache.pressure.notified() => {}
            () = tokio::time::sleep(look) => {}
            () = shared.stop.cancelled() => return,
        }
        let asked = *shared.cache.asked.borrow();
        let task = shared.clone();
        let done = shared.tracker.spawn_blocking(move || round(&task)).await;
        match done {
            Ok(Ok(bytes)) => loosened_bytes += bytes,
            Ok(Err(CollectError::Stopping)) => return,
            Ok(Err(error)) => tracing::error!(%error, "the cache cannot be kept within its bounds"),
            Err(error) => tracing::error!(%error, "the keeper of the cache broke off"),
        }
        shared.cache.answered.send_replace(asked);
        let limit_bytes = shared.cache.limit_bytes(&shared.store);
        if loosened_bytes > COMPACT_BYTES.max(limit_bytes / 8).min(limit_bytes) {
            loosened_bytes = 0;
            let task = shared.clone();
            shared.tracker.spawn_blocking(move || compact(&task));
        }
        if saved.elapsed() >= SAVE && shared.cache.ledger().take_changed() {
            saved = tokio::time::Instant::now();
            let task = shared.clone();
            // What fails is logged there, and tried again later.
            let _ = shared.tracker.spawn_blocking(move || save(&task, State::Running)).await;
        }
    }
}

/// Writes the list. Blocks.
pub(in crate::engine) fn save(shared: &Shared, state: State) {
    if shared.cache.places().is_empty() && shared.cache.ledger().bytes() == 0 {
        return;
    }
    if let Err(error) = list::write(&shared.store, &shared.cache.ledger().lines(), state) {
        tracing::warn!(%error, "what the cache holds can't be written down: the next start looks for it");
    }
}

/// Removes what has to go; the answer says how many bytes of that lay in packs, whose space comes back when they are
/// compacted. Blocks.
fn round(shared: &Arc<Shared>) -> Result<u64, CollectError> {
    let cache = &shared.cache;
    if cache.places().is_empty() && cache.ledger().bytes() == 0 {
        return Ok(0);
    }
    if cache.must_count.swap(false, Ordering::Relaxed) {
        survey::look(shared, Survey::Census).inspect_err(|_| cache.must_count.store(true, Ordering::Relaxed))?;
    }
    let mut selection = select(shared);
    if cache.must_look.swap(false, Ordering::Relaxed) || selection.must_look {
        survey::look(shared, Survey::Needs)?;
        selection = select(shared);
    }
    let mut loosened_bytes = 0;
    for lines in selection.victims.chunks(TOGETHER) {
        // Whoever waits for room waits for this.
        if !cache.is_waited_for() && !shared.store.step_aside() {
            return Err(CollectError::Stopping);
        }
        loosened_bytes += evict(shared, lines)?;
    }
    Ok(loosened_bytes)
}

fn select(shared: &Shared) -> Selection {
    let now_ms = shared.clock.now().0;
    shared.cache.ledger().select(&shared.cache.bounds(&shared.store, now_ms))
}

/// Removes these, as far as they may go now, and writes a line for each.
fn evict(shared: &Arc<Shared>, lines: &[Line]) -> Result<u64, CollectError> {
    let (parts, whole): (Vec<Line>, Vec<Line>) = lines.iter().partition(|line| line.is_partial);
    let mut gone = drop_blobs(shared, whole.iter().map(|line| line.digest).collect())?;
    for part in parts.iter().filter(|part| shared.cache.ledger().may_go(&part.digest)) {
        // One that somebody goes on with is on its way again.
        if shared.store.discard_fill(&part.digest) {
            gone.insert(part.digest);
        }
        shared.cache.ledger().remove_partial(&part.digest);
    }
    let now = shared.clock.now();
    let (mut text, mut bytes, mut loosened_bytes) = (String::new(), 0, 0);
    for line in lines.iter().filter(|line| gone.contains(&line.digest)) {
        text += &journal::evicted(now, &line.digest, line.bytes, line.read_ms);
        bytes += line.bytes;
        loosened_bytes += if line.bytes <= stored_bytes(IN_PACKS_MAX) { line.bytes } else { 0 };
    }
    shared.cache.counts.evicted(gone.len() as u64, bytes, now.0);
    if text.is_empty() {
        return Ok(0);
    }
    if let Err(error) = journal::append_here(shared, &text) {
        tracing::warn!(%error, evicted = %text, "the journal can't be written");
    }
    tracing::debug!(blobs = gone.len(), bytes, "the cache made room");
    Ok(loosened_bytes)
}

fn drop_blobs(shared: &Arc<Shared>, blobs: Vec<Digest>) -> Result<HashSet<Digest>, CollectError> {
    if blobs.is_empty() {
        return Ok(HashSet::new());
    }
    let (answer, dropped) = oneshot::channel();
    let drop = Message::Drop { blobs, cause: DropCause::Evicted, answer };
    shared.inbox.blocking_send(drop).map_err(|_| CollectError::Stopping)?;
    dropped.blocking_recv().map_err(|_| CollectError::Stopping)?.map_err(CollectError::Refused)
}

/// Gives the space in packs back of what went. Blocks.
pub(in crate::engine) fn compact(shared: &Shared) {
    let compaction = shared.options.upkeep.collection().compaction;
    match shared.store.compact_here(compaction) {
        Ok(done) => {
            let (packs, freed) = (done.compacted, done.freed_bytes);
            tracing::debug!(packs, freed, "packs were compacted for the cache");
        }
        // Somebody else does it, or the node stops.
        Err(CompactError::Busy | CompactError::Commit(_)) => {}
        Err(error) => tracing::error!(%error, "packs can't be compacted"),
    }
}
