//! DELETE of an artifact, or of everything in a folder.

use hyper::StatusCode;

use crate::http::answer::{Answer, empty};
use crate::http::ask::Ask;
use crate::http::error::HttpError;
use crate::service::ServiceError;

/// 204 when something was there.
pub async fn delete(ask: Ask) -> Result<Answer, HttpError> {
    let place = ask.place()?;
    let Some(path) = place.path else {
        return Err(HttpError::NotYet("deleting everything in a repository"));
    };
    let service = ask.service();
    let outcome = match place.is_folder {
        true => service.delete_folder(&ask.caller, &place.repo, &path).await,
        false => service.delete(&ask.caller, &place.repo, &path).await,
    };
    match outcome {
        // What is no file may be a folder, named without its slash.
        Err(ServiceError::NoArtifact { .. }) if !place.is_folder => {
            service.delete_folder(&ask.caller, &place.repo, &path).await?;
        }
        other => other?,
    }
    Ok(empty(StatusCode::NO_CONTENT))
}
