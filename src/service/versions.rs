//! Versions beside and before the one that is shown: conflicts, and what was replaced.

use artimesh_core::access::Action;
use artimesh_core::model::{ArtifactPath, Dot, RepoKey};
use artimesh_core::replica::Command;

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

impl Service {
    /// Puts an earlier or concurrent version of a path again; it replaces all that are live there.
    pub async fn restore(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
        version: Dot,
    ) -> Result<(), ServiceError> {
        let repository = self.writable(caller, Action::Write(repo), repo)?;
        let by = caller.principal.name().to_owned();
        let command = Command::Restore { key: repository.key.clone(), path: path.clone(), version, by };
        let object = format!("{}/{path} to version {version}", repository.key);
        let done = self.done(caller, "restore", &object, command, None).await;
        done.map(|_| ()).map_err(|error| error.in_repository(repo))
    }

    /// Ends siblings of a path: those that are named, or all but the one that is shown.
    pub async fn dismiss(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
        versions: Vec<Dot>,
    ) -> Result<(), ServiceError> {
        let repository = self.writable(caller, Action::Write(repo), repo)?;
        let by = caller.principal.name().to_owned();
        let command = Command::Dismiss { key: repository.key.clone(), path: path.clone(), versions, by };
        let object = format!("{}/{path}", repository.key);
        let done = self.done(caller, "dismiss siblings", &object, command, None).await;
        done.map(|_| ()).map_err(|error| error.in_repository(repo))
    }
}
