//! What the site holds, in numbers.

use artimesh_core::model::RepoKey;
use artimesh_core::replica::rows;

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use crate::store::Usage;

/// What the site holds.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Where the store is.
    pub folder: String,
    /// What it takes.
    pub usage: Usage,
    /// How many bytes of blobs it could hold in all.
    pub capacity_bytes: u64,
    /// How many more it takes now.
    pub free_bytes: u64,
    /// By key.
    pub repositories: Vec<RepositorySummary>,
}

/// What a repository holds.
#[derive(Clone, Debug)]
pub struct RepositorySummary {
    /// Its key here.
    pub key: RepoKey,
    /// `generic`, …
    pub package_type: String,
    /// Whether other nodes share it.
    pub is_shared: bool,
    /// Files, and folders that were made as such.
    pub items: u64,
}

impl Service {
    /// What is stored here, for administrators.
    pub async fn summary(&self, caller: &Caller) -> Result<Summary, ServiceError> {
        self.administer(caller)?;
        let views = self.repositories(caller).await?;
        let mut repositories = Vec::with_capacity(views.len());
        for view in views {
            let space = view.space;
            let items = self.walk(move |rows| rows::live_paths(rows, &space)).await?;
            let is_shared = view.members.len() > 1;
            let (key, package_type) = (view.key, view.package_type);
            repositories.push(RepositorySummary { key, package_type, is_shared, items });
        }
        let store = self.engine().store();
        Ok(Summary {
            folder: store.folder().display().to_string(),
            usage: store.usage(),
            capacity_bytes: store.capacity_bytes(),
            free_bytes: store.room_bytes(),
            repositories,
        })
    }

    /// This node's id.
    pub fn node(&self) -> artimesh_core::model::NodeId {
        self.engine().identity().node
    }
}
