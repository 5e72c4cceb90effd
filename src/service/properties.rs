//! Properties of artifacts that are there already.

use std::collections::BTreeMap;

use artimesh_core::access::{Action, Right};
use artimesh_core::model::{ArtifactPath, Properties, RepoKey};
use artimesh_core::replica::Command;

use super::artifacts::Found;
use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

/// Name → values, or `None` to remove the property.
pub type PropertyChange = BTreeMap<String, Option<Vec<String>>>;

/// Files changed per look at a folder.
const PAGE: usize = 500;

impl Service {
    /// Changes properties of the file at a path, or of every file in a folder; says how many files. What is so already stays
    /// as it is. A folder isn't changed in
    /// one step: an error in the middle leaves the rest as it was.
    pub async fn set_properties(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: Option<&ArtifactPath>,
        set: &PropertyChange,
    ) -> Result<u64, ServiceError> {
        self.writable(caller, Action::Write(repo), repo)?;
        if let (Found::File(_), Some(path)) = (self.find(caller, repo, path).await?, path) {
            self.set_on_file(caller, repo, path, set).await?;
            return Ok(1);
        }
        let (mut changed, mut after) = (0, None);
        loop {
            let page = self.list(caller, repo, path, after.as_ref(), PAGE).await?;
            for item in page.iter().filter(|item| !item.path.is_folder()) {
                match self.set_on_file(caller, repo, &item.path, set).await {
                    Ok(()) => changed += 1,
                    // Somebody else deleted it meanwhile.
                    Err(ServiceError::NoArtifact { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last.path),
                None => return Ok(changed),
            }
        }
    }

    async fn set_on_file(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
        set: &PropertyChange,
    ) -> Result<(), ServiceError> {
        let repository = self.writable_at(caller, Right::Write, repo, path)?;
        let shown = self.shown(&repository, path, &caller.account)?;
        if shown.is_some_and(|item| is_so_already(&item.properties, set)) {
            return Ok(());
        }
        let by = caller.principal.name().to_owned();
        let command = Command::SetProperties { key: repo.clone(), path: path.clone(), set: set.clone(), by };
        let done = self.done(caller, "set properties", &format!("{repo}/{path}"), command, None).await;
        done.map(|_| ()).map_err(|error| error.in_repository(repo))
    }
}

/// Whether a change would change nothing.
fn is_so_already(properties: &Properties, set: &PropertyChange) -> bool {
    set.iter().all(|(name, values)| properties.as_map().get(name) == values.as_ref())
}
