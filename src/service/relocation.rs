//! Moving and copying artifacts and folders.

use artimesh_core::access::Action;
use artimesh_core::catalog::Content;
use artimesh_core::model::{ArtifactPath, RepoKey};
use artimesh_core::replica::Command;

use super::artifacts::{Found, Item};
use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

/// Files moved or copied per look at a folder.
const PAGE: usize = 500;

/// Whether the source stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relocation {
    /// It does.
    Copy,
    /// It doesn't.
    Move,
}

/// Whether it is really done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It is.
    Real,
    /// Everything is looked at, and nothing changed.
    Dry,
}

/// A place to move or copy to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The repository.
    pub repo: RepoKey,
    /// `None` for its root.
    pub path: Option<ArtifactPath>,
    /// Whether it was named as a folder: then a file keeps its name in it.
    pub is_folder: bool,
}

impl Service {
    /// Moves or copies a file, or every file of a folder, with its properties; says how many files. A file that is moved within
    /// its repository is moved in one step; a folder isn't, and an error in the middle leaves the rest where it was.
    pub async fn relocate(
        &self,
        caller: &Caller,
        kind: Relocation,
        repo: &RepoKey,
        path: &ArtifactPath,
        to: Destination,
        effect: Effect,
    ) -> Result<u64, ServiceError> {
        self.writable(caller, Action::Write(&to.repo), &to.repo)?;
        if kind == Relocation::Move {
            self.writable(caller, Action::Delete(repo), repo)?;
        }
        match self.find(caller, repo, Some(path)).await? {
            Found::File(item) => {
                let target = self.place_for(caller, &to, path.name()).await?;
                self.relocate_file(caller, kind, &item, &to.repo, &target, effect).await?;
                Ok(1)
            }
            Found::Folder(_) => self.relocate_folder(caller, kind, repo, path, &to, effect).await,
        }
    }

    /// Where a file of this name ends up: in a folder that is there or was named as one, else at the path itself.
    async fn place_for(&self, caller: &Caller, to: &Destination, name: &str) -> Result<ArtifactPath, ServiceError> {
        let is_there = match &to.path {
            Some(path) if !to.is_folder => {
                matches!(self.find(caller, &to.repo, Some(path)).await, Ok(Found::Folder(_)))
            }
            _ => true,
        };
        match &to.path {
            Some(path) if !is_there => Ok(path.clone()),
            folder => below(folder.as_ref(), name),
        }
    }

    async fn relocate_folder(
        &self,
        caller: &Caller,
        kind: Relocation,
        repo: &RepoKey,
        folder: &ArtifactPath,
        to: &Destination,
        effect: Effect,
    ) -> Result<u64, ServiceError> {
        let inside = format!("{folder}/");
        let is_inside = |path: &ArtifactPath| format!("{path}/").starts_with(&inside);
        if to.repo == *repo && to.path.as_ref().is_some_and(is_inside) {
            let reason = format!("'{folder}' can't be put into itself");
            return Err(ServiceError::BadField { field: "to", reason });
        }
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.list(caller, repo, Some(folder), after.as_ref(), PAGE).await?;
            for item in &page {
                let target = below(to.path.as_ref(), &item.path.as_str()[inside.len()..])?;
                match self.relocate_file(caller, kind, item, &to.repo, &target, effect).await {
                    Ok(()) => count += 1,
                    // Somebody else was faster.
                    Err(ServiceError::NoArtifact { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last.path),
                None => return Ok(count),
            }
        }
    }

    async fn relocate_file(
        &self,
        caller: &Caller,
        kind: Relocation,
        item: &Item,
        repo: &RepoKey,
        to: &ArtifactPath,
        effect: Effect,
    ) -> Result<(), ServiceError> {
        if effect == Effect::Dry {
            return Ok(());
        }
        let by = caller.principal.name().to_owned();
        let object = format!("{}/{} to {repo}/{to}", item.repo, item.path);
        if kind == Relocation::Move && *repo == item.repo {
            let command = Command::Move { key: repo.clone(), from: item.path.clone(), to: to.clone(), by };
            let done = self.done(caller, "move", &object, command, None).await;
            return done.map(|_| ()).map_err(|error| error.in_repository(repo));
        }
        if self.engine().store().blob(&item.digest)?.is_none() {
            let reason = "they can be copied once they have been read here".to_owned();
            return Err(ServiceError::NotHere { path: item.path.clone(), reason });
        }
        let content = Content {
            digest: item.digest,
            size: item.size,
            checksums: item.checksums,
            media_type: item.media_type.clone(),
            properties: item.properties.clone(),
        };
        let command = Command::Put { key: repo.clone(), path: to.clone(), content, by };
        self.done(caller, "copy", &object, command, None).await?;
        match kind {
            Relocation::Copy => Ok(()),
            Relocation::Move => self.delete(caller, &item.repo, &item.path).await,
        }
    }
}

fn below(folder: Option<&ArtifactPath>, name: &str) -> Result<ArtifactPath, ServiceError> {
    let text = folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}"));
    text.parse().map_err(|error: artimesh_core::model::BadPath| ServiceError::BadField {
        field: "to",
        reason: error.to_string(),
    })
}
