//! What this node keeps of what was read, and what an administrator has it keep.

use artimesh_core::model::{ArtifactPath, RepoKey};
use serde_json::{Value, json};

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use super::relocation::Effect;
use crate::engine::{CacheStatus, Evicted, Eviction, Limits, Pin, PinError};

impl Service {
    /// What the cache of what was read holds, its bounds, what it did since the start; and the pins.
    pub async fn cache(&self, caller: &Caller) -> Result<(CacheStatus, Vec<Pin>), ServiceError> {
        self.administer(caller)?;
        let engine = self.engine().clone();
        let counted = tokio::task::spawn_blocking(move || engine.cache_status());
        let status = counted.await.map_err(|error| ServiceError::Unavailable(error.to_string()))?;
        Ok((status, self.engine().pins().into_iter().collect()))
    }

    /// The bounds of the cache as they were set.
    pub fn cache_limits(&self, caller: &Caller) -> Result<Limits, ServiceError> {
        self.administer(caller)?;
        Ok(self.engine().cache_limits())
    }

    /// Has what comes to a path, and what of it is here, stay on this node.
    pub async fn pin(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        prefix: Option<ArtifactPath>,
    ) -> Result<Pin, ServiceError> {
        self.administer(caller)?;
        // As the repository itself is written.
        let shown = self.snapshot().repository(repo).map(|shown| shown.key.clone());
        let repo = shown.ok_or_else(|| ServiceError::NoRepository(repo.clone()))?;
        let pin = Pin { repo, prefix };
        let result = self.engine().pin(pin.clone()).await;
        self.tell(caller, "pin", &pin, &result);
        result?;
        Ok(pin)
    }

    /// Lets it go when its time comes. The repository may be gone.
    pub async fn unpin(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        prefix: Option<ArtifactPath>,
    ) -> Result<Pin, ServiceError> {
        self.administer(caller)?;
        let shown = self.snapshot().repository(repo).map(|shown| shown.key.clone());
        let pin = Pin { repo: shown.unwrap_or_else(|| repo.clone()), prefix };
        let result = self.engine().unpin(&pin).await;
        self.tell(caller, "unpin", &pin, &result);
        match result {
            Err(PinError::NoPin) => {
                let what = format!("there is no pin of {}: `artimesh cache list` shows what there is", place(&pin));
                Err(ServiceError::Absent(what))
            }
            other => Ok(other.map(|()| pin)?),
        }
    }

    /// Does without what is here of a path, as far as others have promised to keep it, whether it was read or is mirrored.
    pub async fn evict(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        prefix: Option<ArtifactPath>,
        effect: Effect,
    ) -> Result<Evicted, ServiceError> {
        self.administer(caller)?;
        let shown = self.snapshot().repository(repo).map(|shown| (shown.key.clone(), shown.space));
        let (repo, space) = shown.ok_or_else(|| ServiceError::NoRepository(repo.clone()))?;
        let is_dry = effect == Effect::Dry;
        let result = self.engine().evict(Eviction { space, prefix: prefix.clone(), is_dry }).await;
        let outcome = result.as_ref().map_or_else(ToString::to_string, |done| {
            format!("{} of {} blobs {}", done.gone.blobs, done.held.blobs, if is_dry { "could go" } else { "went" })
        });
        self.audit().record(caller, "evict", &place(&Pin { repo, prefix }), &outcome);
        Ok(result?)
    }

    fn tell(&self, caller: &Caller, what: &'static str, pin: &Pin, result: &Result<(), PinError>) {
        let outcome = result.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
        self.audit().record(caller, what, &place(pin), &outcome);
    }
}

fn place(pin: &Pin) -> String {
    match &pin.prefix {
        Some(prefix) => format!("{}/{prefix}", pin.repo),
        None => pin.repo.to_string(),
    }
}

impl From<PinError> for ServiceError {
    fn from(error: PinError) -> Self {
        match error {
            PinError::TooMany => ServiceError::BadField { field: "path", reason: error.to_string() },
            other => ServiceError::Unavailable(other.to_string()),
        }
    }
}

/// The cache, for the status; null where nothing is kept on demand.
pub(super) fn of_cache(status: &CacheStatus) -> Value {
    if !status.is_used && status.held.blobs == 0 {
        return Value::Null;
    }
    json!({
        "limit_bytes": status.limit_bytes,
        "held_bytes": status.held.bytes,
        "held_blobs": status.held.blobs,
        "pinned_bytes": status.held.pinned_bytes,
        "incoming_bytes": status.incoming_bytes,
        "hits": status.hits,
        "misses": status.misses,
        "evicted_blobs": status.evicted_blobs,
        "evicted_bytes": status.evicted_bytes,
    })
}
