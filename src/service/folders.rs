//! Whole folders at once.

use artimesh_core::access::Action;
use artimesh_core::model::{ArtifactPath, RepoKey};
use artimesh_core::replica::{Command, CommandError};

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

/// The most paths that one entry ends: bounds what one commit writes.
const PATHS_AT_ONCE: usize = 1000;

impl Service {
    /// Deletes all files in a folder, as far as this node has them; what is put there meanwhile may stay. An error in the
    /// middle leaves the rest.
    pub async fn delete_folder(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        folder: &ArtifactPath,
    ) -> Result<(), ServiceError> {
        let repository = self.writable(caller, Action::Delete(repo), repo)?;
        let by = caller.principal.name().to_owned();
        let mut is_first = true;
        loop {
            let prefix = format!("{folder}/");
            let (key, by) = (repository.key.clone(), by.clone());
            let command = Command::DeleteUnder { key, prefix, most: PATHS_AT_ONCE, by };
            let object = format!("{}/{folder}/", repository.key);
            match self.done(caller, "delete folder", &object, command, None).await {
                Ok(receipt) if receipt.more => is_first = false,
                Ok(_) => return Ok(()),
                Err(ServiceError::Command(CommandError::NothingUnder(_))) if is_first => {
                    return Err(ServiceError::NoArtifact { repo: repo.clone(), path: folder.clone() });
                }
                // Somebody else deleted the rest.
                Err(ServiceError::Command(CommandError::NothingUnder(_))) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
