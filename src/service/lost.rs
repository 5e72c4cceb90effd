//! What readers and operators are told of blobs that exist nowhere.

use artimesh_core::model::{ArtifactPath, Digest, NodeId, Space};
use artimesh_core::replica::ViewFault;
use serde_json::{Value, json};

use super::artifacts::Item;
use super::error::ServiceError;
use super::handle::Service;
use crate::engine::{Engine, FetchError, Losses, Lost, StoreView};

/// A blob that a reader waits for.
pub(super) struct Wanted {
    engine: Engine,
    space: Space,
    path: ArtifactPath,
    digest: Digest,
    size: u64,
}

impl Wanted {
    pub fn of(engine: &Engine, item: &Item) -> Wanted {
        let Item { space, path, digest, size, .. } = item;
        Wanted { engine: engine.clone(), space: *space, path: path.clone(), digest: *digest, size: *size }
    }

    /// Why it can't be had: whether it may come yet is asked of all others.
    pub async fn why(&self, error: FetchError) -> ServiceError {
        if let FetchError::Store(reason) = error {
            return ServiceError::Unavailable(reason);
        }
        match self.engine.examine(self.space, &self.path, self.digest, self.size).await {
            Ok(Some(lost)) => told(&self.engine, &self.path, &lost),
            Ok(None) => ServiceError::NotHere { path: self.path.clone(), reason: error.to_string() },
            Err(error) => error.into(),
        }
    }
}

impl Service {
    /// Whether its bytes are known to be lost.
    pub fn is_lost(&self, item: &Item) -> Result<bool, ServiceError> {
        Ok(self.engine().lost(&item.space, &item.digest)?.is_some())
    }

    /// Refuses an item whose bytes are known to be lost.
    pub fn refuse_lost(&self, item: &Item) -> Result<(), ServiceError> {
        match self.engine().lost(&item.space, &item.digest)? {
            Some(lost) => Err(told(self.engine(), &item.path, &lost)),
            None => Ok(()),
        }
    }
}

fn told(engine: &Engine, path: &ArtifactPath, lost: &Lost) -> ServiceError {
    let asked = names(engine, lost.asked.iter());
    let who = match asked.as_slice() {
        [] => "it is not at this site, and no other site has the repository".to_owned(),
        [one] => format!("it is not at this site, and {one}, which was asked, does not have it"),
        several => format!("it is not at this site, and {}, which were asked, do not have it", several.join(", ")),
    };
    // The store was read just before; what can't be read now is left out.
    let confirmed = engine.confirmed_by(&lost.digest).unwrap_or_default();
    let confirmed = names(engine, confirmed.iter().map(|(node, _)| node));
    let broken = match confirmed.is_empty() {
        true => String::new(),
        false => format!(" (when this site let its copy go, {} confirmed to keep one)", confirmed.join(", ")),
    };
    let reason = format!("{who}{broken}; upload it again, or bring back a node that has it");
    ServiceError::Lost { path: path.clone(), since: lost.since, reason }
}

/// What nodes are called, as far as they are members still.
fn names<'a>(engine: &Engine, nodes: impl Iterator<Item = &'a NodeId>) -> Vec<String> {
    let snapshot = engine.snapshot();
    nodes.map(|node| snapshot.members.get(node).map_or_else(|| node.short(), |(name, ..)| name.to_string())).collect()
}

/// What is lost of a repository, for the status. Reads rows.
pub(super) fn losses(view: &StoreView, space: &Space) -> Result<Losses, ViewFault> {
    Losses::of(view, space).map_err(|error| ViewFault(error.to_string()))
}

/// The same as JSON.
pub(super) fn of_losses(engine: &Engine, losses: &Losses) -> Value {
    let one = |lost: &Lost| {
        json!({
            "path": lost.path.as_str(),
            "digest": lost.digest.to_string(),
            "bytes": lost.size,
            "since_ms": lost.since.0,
            "asked": names(engine, lost.asked.iter()),
        })
    };
    let first: Vec<Value> = losses.first.iter().map(one).collect();
    json!({"blobs": losses.blobs, "bytes": losses.bytes, "first": first})
}
