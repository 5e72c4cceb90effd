//! DELETE of an artifact, or of everything in a folder or repository.

use artimesh_core::access::Action;
use hyper::StatusCode;

use super::precondition::check_meant;
use crate::http::answer::{Answer, empty};
use crate::http::ask::Ask;
use crate::http::error::HttpError;
use crate::service::ServiceError;

/// 204 when something was there, and for a repository always: it stays, empty.
pub async fn delete(ask: Ask) -> Result<Answer, HttpError> {
    let place = ask.place()?;
    let meant = check_meant(&ask, Action::Delete(&place.repo), &place).await?;
    let service = ask.service();
    let folder = || service.delete_folder(&ask.caller, &place.repo, place.path.as_ref());
    match &place.path {
        Some(path) if !place.is_folder => {
            match service.delete(&ask.caller, &place.repo, path, meant.as_deref()).await {
                // What is no file may be a folder, named without its slash, unless a file was meant.
                Err(ServiceError::NoArtifact { .. }) if meant.is_none() => folder().await?,
                other => other?,
            }
        }
        _ => folder().await?,
    }
    Ok(empty(StatusCode::NO_CONTENT))
}
