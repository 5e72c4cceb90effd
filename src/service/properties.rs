//! Properties of artifacts that are there already.

use std::collections::BTreeMap;

use artimesh_core::access::{Action, Right};
use artimesh_core::catalog::{Content, EntryFault};
use artimesh_core::model::{ArtifactPath, Properties, RepoKey};
use artimesh_core::replica::{Command, CommandError};

use super::artifacts::Found;
use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

/// Name → values, or `None` to remove the property.
pub type PropertyChange = BTreeMap<String, Option<Vec<String>>>;

/// What of a folder is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The folder, and all files and made folders in it.
    All,
    /// The folder alone.
    Itself,
}

/// Files changed per look at a folder.
const PAGE: usize = 500;

impl Service {
    /// Changes properties of what is at a path: a file, or a folder with all that is in it, or without. A folder that is to
    /// have properties becomes one that was made as such: it stays when nothing is in it. What is so already stays as it is.
    /// A folder isn't changed in one step: an error in the middle leaves the rest as it was. A repository has no properties,
    /// only what is in it.
    pub async fn set_properties(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: Option<&ArtifactPath>,
        set: &PropertyChange,
        extent: Extent,
    ) -> Result<(), ServiceError> {
        self.writable(caller, Action::Write(repo), repo)?;
        match (self.find(caller, repo, path).await?, path) {
            (Found::File(_), Some(path)) => return self.set_on_one(caller, repo, path, set).await,
            (_, Some(path)) => self.set_on_folder(caller, repo, path, set).await?,
            (_, None) => {}
        }
        if extent == Extent::All { self.set_within(caller, repo, path, set).await } else { Ok(()) }
    }

    /// On what is in a folder.
    async fn set_within(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        folder: Option<&ArtifactPath>,
        set: &PropertyChange,
    ) -> Result<(), ServiceError> {
        let mut after = None;
        loop {
            let page = self.list(caller, repo, folder, after.as_ref(), PAGE).await?;
            for item in &page {
                match self.set_on_one(caller, repo, &item.path, set).await {
                    // Somebody else deleted it meanwhile.
                    Ok(()) | Err(ServiceError::NoArtifact { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last.path),
                None => return Ok(()),
            }
        }
    }

    /// On a folder itself, be it one only because something is in it.
    async fn set_on_folder(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        folder: &ArtifactPath,
        set: &PropertyChange,
    ) -> Result<(), ServiceError> {
        let path = folder.as_folder();
        let named = self.writable(caller, Action::Write(repo), repo)?;
        if set.values().all(Option::is_none) && self.shown(&named, &path, &caller.account)?.is_none() {
            // It has none to remove.
            return Ok(());
        }
        let repository = self.writable_at(caller, Right::Write, repo, &path)?;
        let one = self.making_folder().lock().await;
        if self.shown(&repository, &path, &caller.account)?.is_some() {
            drop(one);
            return self.set_on_one(caller, repo, &path, set).await;
        }
        let given = set.iter().filter_map(|(name, values)| Some((name.clone(), values.clone()?)));
        let properties = Properties::try_from(given.collect::<BTreeMap<_, _>>());
        let properties = properties.map_err(|bad| CommandError::from(EntryFault::from(bad)))?;
        if properties.is_empty() {
            return Ok(());
        }
        let by = caller.principal.name().to_owned();
        let (key, object) = (repository.key.clone(), format!("{}/{path}", repository.key));
        let command = Command::Put { key, path, content: Content::folder(properties), by };
        self.done(caller, "set properties", &object, command, None).await.map(|_| ())
    }

    async fn set_on_one(
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
