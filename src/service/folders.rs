//! Whole folders at once.

use artimesh_core::access::{self, Action, Denied, Reach, Right};
use artimesh_core::catalog::Content;
use artimesh_core::model::{ArtifactPath, Properties, RepoKey};
use artimesh_core::replica::{Command, CommandError};

use super::artifacts::{Folder, Item};
use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

/// The most paths that one entry ends: bounds what one commit writes.
const PATHS_AT_ONCE: usize = 1000;

impl Service {
    /// What is done to a whole folder takes the rights to everything that may be in it.
    fn must_reach_all(
        &self,
        caller: &Caller,
        rights: &[Right],
        repo: &RepoKey,
        prefix: &str,
    ) -> Result<(), ServiceError> {
        for right in rights {
            if access::reach(&caller.principal, *right, repo, prefix) != Reach::All {
                return Err(Denied::Forbidden(right.name()).into());
            }
        }
        Ok(())
    }

    /// Makes a folder that stays when nothing is in it. One that is there as such already stays as it is, unless it is to
    /// have other properties.
    pub async fn make_folder(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        folder: &ArtifactPath,
        properties: Properties,
    ) -> Result<Folder, ServiceError> {
        let path = folder.as_folder();
        let repository = self.writable_at(caller, Right::Write, repo, &path)?;
        // Nobody else makes it, or gives a derived one properties, between the look and the put, which would end theirs.
        let _one = self.making_folder().lock().await;
        // Who may write there need not be one who may read.
        let made = |service: &Service| -> Result<Folder, ServiceError> {
            Ok(Folder::of(&repository, Some(folder), service.shown(&repository, &path, &caller.account)?))
        };
        if self.shown(&repository, folder, &caller.account)?.is_some() {
            return Err(ServiceError::FileInTheWay(folder.clone()));
        }
        let present = made(self)?;
        let is_so = |own: &Item| properties.is_empty() || own.properties == properties;
        if present.own.as_deref().is_some_and(is_so) {
            return Ok(present);
        }
        self.check_overwrite(caller, &repository, &path)?;
        let by = caller.principal.name().to_owned();
        let object = format!("{}/{path}", repository.key);
        let (key, content) = (repository.key.clone(), Content::folder(properties));
        let command = Command::Put { key, path: path.clone(), content, by };
        self.done(caller, "make folder", &object, command, None).await?;
        made(self)
    }

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
        self.must_reach_all(caller, &[Right::Read, Right::Delete], &repository.key, &prefix)?;
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
