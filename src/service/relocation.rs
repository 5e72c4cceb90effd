//! Moving and copying artifacts and folders.

use artimesh_core::access::{Action, Right};
use artimesh_core::catalog::Content;
use artimesh_core::model::{ArtifactPath, RepoKey};
use artimesh_core::replica::Command;

use super::artifacts::{Found, Item};
use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

/// Files moved or copied per look at a folder.
const PAGE: usize = 500;

/// Files moved or copied at once.
const AT_ONCE: usize = 64;

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
    /// Moves or copies a file, or every file of a folder (`None`: of the whole repository) and the folders that were made as
    /// such, with their properties; says how many files. Each file is moved in one step within its repository, and copied before it is deleted into another. A
    /// folder isn't moved in one step: an error in the middle leaves the rest where it was, and asking again goes on with it.
    pub async fn relocate(
        &self,
        caller: &Caller,
        kind: Relocation,
        repo: &RepoKey,
        path: Option<&ArtifactPath>,
        to: Destination,
        effect: Effect,
    ) -> Result<u64, ServiceError> {
        // The keys as the repositories have them, not as the caller spells them.
        let target = self.writable(caller, Action::Write(&to.repo), &to.repo)?;
        let to = Destination { repo: target.key, ..to };
        let source = self.readable(caller, repo)?;
        if kind == Relocation::Move {
            self.writable(caller, Action::Delete(repo), repo)?;
        }
        match (path, self.find(caller, &source.key, path).await?) {
            (Some(path), Found::File(item)) => {
                let target = self.place_for(caller, &to, path.name()).await?;
                self.relocate_file(caller, kind, &item, &to.repo, &target, effect).await?;
                Ok(1)
            }
            _ => self.relocate_folder(caller, kind, &source.key, path, &to, effect).await,
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
        folder: Option<&ArtifactPath>,
        to: &Destination,
        effect: Effect,
    ) -> Result<u64, ServiceError> {
        let inside = folder.map(|folder| format!("{folder}/")).unwrap_or_default();
        let target = to.path.as_ref().map(|path| format!("{path}/")).unwrap_or_default();
        if to.repo == *repo && target.starts_with(&inside) {
            let reason = format!("'{repo}/{inside}' can't be put into itself");
            return Err(ServiceError::BadField { field: "to", reason });
        }
        if let Some(name) = inside.strip_prefix(&target).filter(|_| to.repo == *repo) {
            // What is in there would land in what is on its way, in place of what isn't gone yet.
            let again = ArtifactPath::try_from(format!("{inside}{}", name.trim_end_matches('/'))).ok();
            if let Some(again) = again
                && !self.list(caller, repo, Some(&again), None, 1).await?.is_empty()
            {
                let reason = format!(
                    "'{repo}/{again}/' would take the place of '{repo}/{inside}' on the way: move it elsewhere first"
                );
                return Err(ServiceError::BadField { field: "to", reason });
            }
        }
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.list(caller, repo, folder, after.as_ref(), PAGE).await?;
            for some in page.chunks(AT_ONCE) {
                count += self.relocate_some(caller, kind, some, inside.len(), to, effect).await?;
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last.path),
                None => return Ok(count),
            }
        }
    }

    /// Files below a folder whose own path takes the first `inside` bytes of theirs: at once, so that they share commits.
    /// None is given up because another failed; the first failure is told when all are done.
    async fn relocate_some(
        &self,
        caller: &Caller,
        kind: Relocation,
        items: &[Item],
        inside: usize,
        to: &Destination,
        effect: Effect,
    ) -> Result<u64, ServiceError> {
        let each = items.iter().map(async |item| {
            let rest = &item.path.as_str()[inside..];
            if rest.is_empty() && to.path.is_none() {
                // A folder that is put where no folder can be made: the root is there.
                return self.end_folder(caller, kind, item, effect).await;
            }
            let target = below(to.path.as_ref(), rest)?;
            match self.relocate_file(caller, kind, item, &to.repo, &target, effect).await {
                Ok(()) => Ok(u64::from(!item.path.is_folder())),
                // Somebody else was faster.
                Err(ServiceError::NoArtifact { .. }) => Ok(0),
                Err(error) => Err(error),
            }
        });
        futures::future::join_all(each).await.into_iter().sum()
    }

    async fn end_folder(
        &self,
        caller: &Caller,
        kind: Relocation,
        item: &Item,
        effect: Effect,
    ) -> Result<u64, ServiceError> {
        if (kind, effect) == (Relocation::Move, Effect::Real) {
            self.delete_while(caller, &item.repo, &item.path, Some(item.dot)).await?;
        }
        Ok(0)
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
        let target = self.writable_at(caller, Right::Write, repo, to)?;
        self.check_overwrite(caller, &target, to)?;
        if kind == Relocation::Move {
            self.writable_at(caller, Right::Delete, &item.repo, &item.path)?;
        }
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
        if !item.path.is_folder() && self.engine().store().blob(&item.digest)?.is_none() {
            let reason = "they can be copied once they have been read here".to_owned();
            return Err(ServiceError::NotHere { path: item.path.clone(), reason });
        }
        // From now on this node vouches for the sums.
        let checksums = match item.path.is_folder() {
            true => item.checksums,
            false => self.with_confirmed(item.clone(), u64::MAX).await?.checksums,
        };
        let content = Content {
            digest: item.digest,
            size: item.size,
            checksums,
            media_type: item.media_type.clone(),
            properties: item.properties.clone(),
        };
        self.put(caller, &target, to.clone(), content, None, Some(item)).await?;
        match kind {
            Relocation::Copy => Ok(()),
            // A version that came meanwhile wasn't copied.
            Relocation::Move => self.delete_while(caller, &item.repo, &item.path, Some(item.dot)).await,
        }
    }
}

fn below(folder: Option<&ArtifactPath>, name: &str) -> Result<ArtifactPath, ServiceError> {
    let text = folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}"));
    ArtifactPath::try_from(text).map_err(|error| ServiceError::BadField { field: "to", reason: error.to_string() })
}
