//! PUT of an artifact, of a checksum file, or of a folder.

use std::time::{SystemTime, UNIX_EPOCH};

use artimesh_core::access::Action;
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{ArtifactPath, Properties, RepoKey};
use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};

use super::checksum_file;
use super::expected::{described, expected, is_checksum_deploy};
use super::get::checksum_headers;
use crate::formats::{media_type, sidecar};
use crate::http::answer::{Answer, json};
use crate::http::ask::Ask;
use crate::http::dates::iso8601;
use crate::http::error::HttpError;
use crate::http::item::{FolderView, ItemView};
use crate::service::{Found, Item, ServiceError};

/// Everything that can be refused is refused before the body is asked for: a client that waits for `100 Continue` then
/// sends nothing in vain.
pub async fn put(ask: Ask) -> Result<Answer, HttpError> {
    let (place, properties) = ask.place_with_properties()?;
    let Some(path) = place.path else { return folder(&ask, &place.repo, None).await };
    if place.is_folder {
        return folder(&ask, &place.repo, Some(&path)).await;
    }
    if let Some((base, algorithm)) = sidecar(&path) {
        return checksum_file::verify(ask, place.repo, base, algorithm).await;
    }
    let sums = expected(ask.headers())?;
    if is_checksum_deploy(ask.headers()) {
        ask.must(Action::Write(&place.repo))?;
        return Err(HttpError::ChecksumDeploy(described(&sums)));
    }
    let links = ask.links.clone();
    let item = store(ask, &place.repo, &path, properties).await?;
    let mut answer = json(StatusCode::CREATED, &ItemView::of(&item, &links))?;
    checksum_headers(answer.headers_mut(), &item.checksums);
    located(&mut answer, links.content(&item.repo, Some(&item.path)));
    Ok(answer)
}

async fn store(ask: Ask, repo: &RepoKey, path: &ArtifactPath, properties: Properties) -> Result<Item, HttpError> {
    let sums = expected(ask.headers())?;
    let Ask { site, caller, body, .. } = ask;
    let announced = body.length();
    let mut body = body.limited(site.options.max_upload)?;
    // From here on an early end drops the upload, and nothing is stored.
    let mut upload = site.service.upload(&caller, repo, path, announced).await?;
    while let Some(piece) = body.next().await? {
        upload.write(piece).await?;
    }
    Ok(upload.finish(&sums, media_type(path), properties).await?)
}

/// Folders are derived from the paths of files, so there is nothing to store; the answer is what clients expect.
async fn folder(ask: &Ask, repo: &RepoKey, path: Option<&ArtifactPath>) -> Result<Answer, HttpError> {
    ask.must(Action::Write(repo))?;
    let view = match ask.service().find(&ask.caller, repo, path).await {
        Ok(Found::Folder(folder)) => FolderView::of(&folder, &ask.links),
        Ok(Found::File(item)) => return Err(HttpError::FileInTheWay(item.path)),
        Err(ServiceError::NoArtifact { .. }) => FolderView::empty(repo, path, iso8601(now()), &ask.links),
        Err(error) => return Err(error.into()),
    };
    let mut answer = json(StatusCode::CREATED, &view)?;
    located(&mut answer, format!("{}/", ask.links.content(repo, path)));
    Ok(answer)
}

fn located(answer: &mut Answer, link: String) {
    answer.headers_mut().insert(LOCATION, HeaderValue::try_from(link).expect("links are ASCII"));
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
