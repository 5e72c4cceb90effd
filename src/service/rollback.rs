//! Undoing what one node or user did since some time, a page at a time.

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{ArtifactPath, RepoKey};
use artimesh_core::replica::{Command, RollbackAction, RollbackFilter, rollback_step};

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use super::relocation::Effect;

/// Paths that one call looks at.
const PATHS: usize = 500;

/// Whose doings are undone, and where to go on.
#[derive(Clone, Debug)]
pub struct RollbackWish {
    /// The node that wrote, by name or id.
    pub author: Option<String>,
    /// The user it wrote for.
    pub user: Option<String>,
    /// By the timestamps of what was written.
    pub since: Timestamp,
    /// Behind which path; from the first when `None`.
    pub after: Option<ArtifactPath>,
    /// Whether it is really done.
    pub effect: Effect,
}

/// What was or would be done to some paths.
#[derive(Clone, Debug)]
pub struct RolledBack {
    /// What is to be done, and why it wasn't.
    pub actions: Vec<(RollbackAction, Option<String>)>,
    /// Behind which path to go on; `None` at the end.
    pub next: Option<ArtifactPath>,
}

impl Service {
    /// Undoes, in one repository and behind one path, what a node or user did; the next call goes on. What can't be undone at one
    /// path doesn't keep others from it.
    pub async fn roll_back(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        wish: RollbackWish,
    ) -> Result<RolledBack, ServiceError> {
        self.administer(caller)?;
        let repository = self.readable(caller, repo)?;
        if self.is_edge() {
            return Err(ServiceError::Edge);
        }
        let RollbackWish { author, user, since, after, effect } = wish;
        if author.is_none() && user.is_none() {
            let reason = "name whose doings are to be undone: an author, a user, or both".to_owned();
            return Err(ServiceError::BadField { field: "author", reason });
        }
        let author = match author {
            Some(text) => Some(self.author_named(&text).await?),
            None => None,
        };
        let filter = RollbackFilter { author, user, since };
        let space = repository.space;
        let (planned, next) =
            self.walk(move |view| rollback_step(view, &space, &filter, after.as_ref(), PATHS)).await?;
        let mut actions = Vec::with_capacity(planned.len());
        for action in planned {
            let failed = match effect {
                Effect::Dry => None,
                Effect::Real => self.undo(caller, &repository.key, &action).await?,
            };
            actions.push((action, failed));
        }
        Ok(RolledBack { actions, next })
    }

    /// Does one step of a plan; says why it couldn't be done, if somebody was faster.
    async fn undo(
        &self,
        caller: &Caller,
        key: &RepoKey,
        action: &RollbackAction,
    ) -> Result<Option<String>, ServiceError> {
        let (key, by) = (key.clone(), caller.principal.name().to_owned());
        let (path, command) = match action.clone() {
            RollbackAction::Leave { .. } => return Ok(None),
            RollbackAction::Restore { path, version } => (path.clone(), Command::Restore { key, path, version, by }),
            RollbackAction::Delete { path } => (path.clone(), Command::Delete { key, path, only: None, by }),
            RollbackAction::Dismiss { path, versions } => (path.clone(), Command::Dismiss { key, path, versions, by }),
        };
        match self.done(caller, "roll back", path.as_str(), command, None).await {
            Ok(_) => Ok(None),
            Err(ServiceError::Command(error)) => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }
}
