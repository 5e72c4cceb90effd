//! All of a node as one download.

use futures::stream;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};

use super::answer::{self, Answer};
use super::ask::Ask;
use super::body::{Body, Broken};
use super::error::HttpError;
use crate::service::Backup;

/// `GET /artifactory/api/mesh/backup`
pub async fn get(ask: Ask) -> Result<Answer, HttpError> {
    let backup = ask.service().backup(&ask.caller).await?;
    let mut answer = answer::empty(StatusCode::OK);
    let name = format!("attachment; filename=\"{}-{}.tar\"", backup.about.name, backup.about.made_ms);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::try_from(name).expect("a node's name is plain"));
    // It holds the node's keys: no cache may keep it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(backup.bytes));
    if !ask.is_head() {
        *answer.body_mut() = body(backup);
    }
    Ok(answer)
}

fn body(backup: Backup) -> Body {
    let length = backup.bytes;
    let pieces = stream::unfold(backup, |mut backup| async move {
        let piece = backup.next().await?;
        Some((piece.map_err(Broken::from), backup))
    });
    Body::sized(pieces, length)
}
