//! DELETE of an artifact, or of everything in a folder.

use artimesh_core::model::{ArtifactPath, RepoKey};
use hyper::StatusCode;

use crate::http::answer::{Answer, empty};
use crate::http::ask::Ask;
use crate::http::error::HttpError;
use crate::service::{Item, ServiceError};

/// Files deleted per look at the folder.
const PAGE: usize = 500;

/// 204 when something was there. A folder isn't deleted in one step: what is put into it meanwhile may stay, and an error
/// in the middle leaves the rest.
pub async fn delete(ask: Ask) -> Result<Answer, HttpError> {
    let place = ask.place()?;
    let Some(path) = place.path else {
        return Err(HttpError::NotYet("deleting everything in a repository"));
    };
    let outcome = match place.is_folder {
        true => Err(ServiceError::NoArtifact { repo: place.repo.clone(), path: path.clone() }),
        false => ask.service().delete(&ask.caller, &place.repo, &path).await,
    };
    match outcome {
        Err(none @ ServiceError::NoArtifact { .. }) => {
            if folder(&ask, &place.repo, &path).await? == 0 {
                return Err(none.into());
            }
        }
        other => other?,
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Deletes all files in the folder, and says how many there were.
async fn folder(ask: &Ask, repo: &RepoKey, path: &ArtifactPath) -> Result<u64, HttpError> {
    let (mut deleted, mut after) = (0, None::<ArtifactPath>);
    loop {
        let page = ask.service().list(&ask.caller, repo, Some(path), after.as_ref(), PAGE).await?;
        for item in &page {
            deleted += u64::from(delete_one(ask, item, path).await?);
        }
        match page.into_iter().last() {
            Some(last) => after = Some(last.path),
            None => return Ok(deleted),
        }
    }
}

/// Whether the file was in the folder and there to be deleted.
async fn delete_one(ask: &Ask, item: &Item, folder: &ArtifactPath) -> Result<bool, HttpError> {
    let is_inside = item.path.as_str().strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'));
    if !is_inside {
        return Ok(false);
    }
    match ask.service().delete(&ask.caller, &item.repo, &item.path).await {
        Ok(()) => Ok(true),
        // Somebody else was faster.
        Err(ServiceError::NoArtifact { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
