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
    /// Deletes all files in a folder (`None`: in the whole repository), as far as this node has them; what is put there
    /// meanwhile may stay. An error in the middle leaves the rest, and asking again goes on with it. An empty repository
    /// is as it should be; an empty folder isn't there.
    pub async fn delete_folder(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        folder: Option<&ArtifactPath>,
    ) -> Result<(), ServiceError> {
        let repository = self.writable(caller, Action::Delete(repo), repo)?;
        let by = caller.principal.name().to_owned();
        let prefix = folder.map(|folder| format!("{folder}/")).unwrap_or_default();
        let object = format!("{}/{prefix}", repository.key);
        let mut missing = folder;
        loop {
            let (key, by) = (repository.key.clone(), by.clone());
            let command = Command::DeleteUnder { key, prefix: prefix.clone(), most: PATHS_AT_ONCE, by };
            match self.done(caller, "delete folder", &object, command, None).await {
                Ok(receipt) if receipt.more => missing = None,
                Ok(_) => return Ok(()),
                Err(ServiceError::Command(CommandError::NothingUnder(_))) => {
                    let none =
                        |path: &ArtifactPath| ServiceError::NoArtifact { repo: repo.clone(), path: path.clone() };
                    // Else somebody else deleted the rest.
                    return missing.map_or(Ok(()), |path| Err(none(path)));
                }
                Err(error) => return Err(error),
            }
        }
    }
}
