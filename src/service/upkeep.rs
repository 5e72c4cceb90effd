//! What an administrator has done to the store at once, instead of when its time comes.

use std::time::Duration;

use serde_json::{Value, json};

use super::audit::AuditQuery;
use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use super::relocation::Effect;
use crate::engine::{CollectError, Collected, Collection};
use crate::store::{ScrubError, Scrubbed};

impl Service {
    /// Collects garbage and compacts packs. `grace` replaces the setting for this once.
    pub async fn collect_garbage(
        &self,
        caller: &Caller,
        effect: Effect,
        grace: Option<Duration>,
    ) -> Result<Collected, ServiceError> {
        self.administer(caller)?;
        let settings = self.engine().upkeep().collection();
        let is_dry = effect == Effect::Dry;
        let collection = Collection { is_dry, grace: grace.unwrap_or(settings.grace), ..settings };
        let result = self.engine().collect(collection).await;
        let outcome = result.as_ref().map_or_else(ToString::to_string, |done| {
            format!("{} blobs removed, {} packs compacted", done.removed.blobs, done.compacted.compacted)
        });
        let what = if is_dry { "look for garbage" } else { "collect garbage" };
        self.audit().record(caller, what, "this node", &outcome);
        Ok(result?)
    }
}

impl Service {
    /// Begins to verify everything at rest, at most so many bytes a second, or as fast as it can beside the node's work.
    pub fn begin_scrub(&self, caller: &Caller, bytes_per_s: Option<u64>) -> Result<(), ServiceError> {
        self.administer(caller)?;
        let result = self.engine().begin_scrub(bytes_per_s);
        let outcome = result.as_ref().map_or_else(ToString::to_string, |()| "begun".to_owned());
        self.audit().record(caller, "scrub", "this node", &outcome);
        result.map_err(|error| match error {
            ScrubError::Busy => ServiceError::Busy(error.to_string()),
            other => ServiceError::Unavailable(other.to_string()),
        })
    }

    /// How far that is, or what the last one found since the start.
    pub fn scrubbed(&self, caller: &Caller) -> Result<Scrubbed, ServiceError> {
        self.administer(caller)?;
        Ok(self.engine().scrubbed())
    }
}

impl Service {
    /// The newest lines of the audit log that match, oldest first, as JSON.
    pub async fn audited(&self, caller: &Caller, query: AuditQuery) -> Result<Vec<String>, ServiceError> {
        self.administer(caller)?;
        let audit = self.audit().clone();
        let found = tokio::task::spawn_blocking(move || audit.find(&query)).await;
        let unavailable = |error: &dyn std::fmt::Display| ServiceError::Unavailable(error.to_string());
        found.map_err(|error| unavailable(&error))?.map_err(|error| unavailable(&error))
    }
}

impl From<CollectError> for ServiceError {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::Busy => ServiceError::Busy(error.to_string()),
            other => ServiceError::Unavailable(other.to_string()),
        }
    }
}

/// What a collection came to, in short, for the status.
pub(super) fn of_collected(done: &Collected) -> Value {
    json!({
        "ended_ms": done.ended_ms,
        "removed_blobs": done.removed.blobs,
        "removed_bytes": done.removed.bytes,
        "young_blobs": done.young.blobs,
        "packs_compacted": done.compacted.compacted,
        "pack_live_bytes": done.compacted.live_bytes,
    })
}

/// A scrub, for the status.
pub(super) fn of_scrubbed(done: &Scrubbed) -> Value {
    json!({
        "running": done.is_running,
        "began_ms": done.began_ms,
        "ended_ms": done.ended_ms,
        "bytes": done.bytes,
        "done_bytes": done.done_bytes,
        "rotten_blobs": done.rotten,
        "mended_blobs": done.mended,
        "damaged_records": done.damaged_records,
        "oldest_verified_ms": done.oldest_ms,
    })
}
