//! Versions beside and before the one that is shown: conflicts, and what was replaced.

use artimesh_core::access::{self, Right};
use artimesh_core::catalog::{Conflict, Historic, Versions};
use artimesh_core::model::{ArtifactPath, Dot, RepoKey, Space};
use artimesh_core::replica::{self, Command, CommandError};

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;

/// How many ended versions of a path are looked at, the latest.
const HISTORY_MAX: usize = 1000;

impl Service {
    /// The paths of a repository in conflict behind `after`, in order; at most `limit`.
    pub async fn conflicts(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        after: Option<ArtifactPath>,
        limit: usize,
    ) -> Result<Vec<Conflict>, ServiceError> {
        let space = self.readable(caller, repo)?.space;
        let (mut after, mut readable) = (after, Vec::new());
        // What may not be read is no reason to tell fewer: whoever gets fewer takes it for the end.
        while readable.len() < limit {
            let from = after.clone();
            let page = self.walk(move |view| replica::conflicts(view, &space, from.as_ref(), limit)).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.path.clone());
            let may_read =
                |conflict: &Conflict| access::may_at(&caller.principal, Right::Read, repo, conflict.path.as_str());
            readable.extend(page.into_iter().filter(may_read));
        }
        readable.truncate(limit);
        Ok(readable)
    }

    /// What is in conflict at a path, if anything is.
    pub async fn conflict(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
    ) -> Result<Option<Conflict>, ServiceError> {
        let (space, path) = (self.readable_at(caller, repo, path)?.space, path.clone());
        self.walk(move |view| replica::conflict(view, &space, &path)).await
    }

    /// The live versions of a path, and those that ended, the latest first, as far as this node keeps them; at most `limit`.
    pub async fn history(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
        limit: usize,
    ) -> Result<(Versions, Vec<Historic>), ServiceError> {
        let space = self.readable_at(caller, repo, path)?.space;
        let (live, past) = self.versions_of(space, path, limit).await?;
        if live.is_empty() && past.is_empty() {
            return Err(ServiceError::NoArtifact { repo: repo.clone(), path: path.clone() });
        }
        Ok((live, past))
    }

    async fn versions_of(
        &self,
        space: Space,
        path: &ArtifactPath,
        limit: usize,
    ) -> Result<(Versions, Vec<Historic>), ServiceError> {
        let path = path.clone();
        let both = move |view: &_| {
            Ok((replica::versions(view, &space, &path)?, replica::history(view, &space, &path, limit)?))
        };
        self.walk(both).await
    }

    /// The version of a path that `text` names: a whole dot, or the beginnings of its parts (`5b62b66f.0a1b2c3d.17`).
    async fn version_named(&self, space: Space, path: &ArtifactPath, text: &str) -> Result<Dot, ServiceError> {
        if let Ok(dot) = text.parse() {
            return Ok(dot);
        }
        let unusable = |reason: &str| {
            let shown: String = text.chars().take(120).collect();
            Err(ServiceError::BadField { field: "version", reason: format!("'{shown}' {reason}") })
        };
        let (live, past) = self.versions_of(space, path, HISTORY_MAX).await?;
        let known = live.iter().map(|version| version.dot).chain(past.iter().map(|past| past.version.dot));
        let mut named = known.filter(|dot| is_short_for(text, dot));
        match (named.next(), named.next()) {
            (Some(dot), None) => Ok(dot),
            (Some(_), Some(_)) => unusable("stands for several versions of it: write more of its parts"),
            (None, _) => unusable("is no version of it: `artimesh artifact history` lists them"),
        }
    }

    /// Puts an earlier or concurrent version of a path again; it replaces all that are live there. Returns the version.
    pub async fn restore(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
        version: &str,
    ) -> Result<Dot, ServiceError> {
        let repository = self.writable_at(caller, Right::Write, repo, path)?;
        self.readable_at(caller, repo, path)?;
        self.check_overwrite(caller, &repository, path)?;
        let version = self.version_named(repository.space, path, version).await?;
        let by = caller.principal.name().to_owned();
        let command = Command::Restore { key: repository.key.clone(), path: path.clone(), version, by };
        let object = format!("{}/{path} to version {version}", repository.key);
        let done = self.done(caller, "restore", &object, command, None).await;
        done.map(|_| version).map_err(|error| error.in_repository(repo))
    }

    /// Settles what is in conflict at a path: ends the siblings that are named, or all but the one that is shown.
    pub async fn dismiss(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
        versions: &[String],
    ) -> Result<(), ServiceError> {
        let repository = self.writable_at(caller, Right::Delete, repo, path)?;
        self.readable_at(caller, repo, path)?;
        let mut dots = Vec::with_capacity(versions.len());
        for text in versions {
            dots.push(self.version_named(repository.space, path, text).await?);
        }
        let by = caller.principal.name().to_owned();
        let command = Command::Dismiss { key: repository.key.clone(), path: path.clone(), versions: dots, by };
        let object = format!("{}/{path}", repository.key);
        match self.done(caller, "dismiss", &object, command, None).await {
            Err(ServiceError::Command(CommandError::NoConflict(path))) => {
                Err(ServiceError::NoConflict { repo: repo.clone(), path })
            }
            other => other.map(|_| ()).map_err(|error| error.in_repository(repo)),
        }
    }
}

fn is_short_for(text: &str, dot: &Dot) -> bool {
    let (short, whole) = (text.split('.').collect::<Vec<_>>(), dot.to_string());
    let whole: Vec<&str> = whole.split('.').collect();
    match (&short[..], &whole[..]) {
        ([node, number, sequence], [whole_node, whole_number, whole_sequence]) => {
            whole_node.starts_with(node) && whole_number.starts_with(number) && sequence == whole_sequence
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_by_the_beginnings_of_its_parts() {
        let dot: Dot = format!("{}.0a1b2c3d00000000.17", "5b".repeat(32)).parse().expect("a dot");
        for text in ["5b5b.0a1b.17", "5b5b5b5b.0a1b2c3d.17", "..17"] {
            assert!(is_short_for(text, &dot), "{text}");
        }
        for text in ["5b5b.0a1b.1", "5c.0a.17", "5b5b.0b.17", "17", "5b5b.17", "5b.0a.17.1"] {
            assert!(!is_short_for(text, &dot), "{text}");
        }
    }
}
