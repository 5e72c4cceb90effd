//! PUT of an artifact, of a checksum file, or of a folder.

use artimesh_core::access::{self, Action, Right};
use artimesh_core::model::{ArtifactPath, Properties, RepoKey};
use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};

use super::checksum_file;
use super::expected::{described, expected, is_checksum_deploy, is_on};
use super::get::checksum_headers;
use crate::formats::{media_type, sidecar};
use crate::http::answer::{Answer, empty, json};
use crate::http::ask::Ask;
use crate::http::error::HttpError;
use crate::http::folder;
use crate::http::item::ItemView;
use crate::service::{Expected, Found, Item, ServiceError};

/// Everything that can be refused is refused before the body is asked for: a client that waits for `100 Continue` then
/// sends nothing in vain.
pub async fn put(ask: Ask) -> Result<Answer, HttpError> {
    let (place, properties) = ask.place_with_properties()?;
    let path = match place.path {
        Some(path) if !place.is_folder => path,
        path => return make_folder(&ask, &place.repo, path.as_ref(), properties).await,
    };
    if let Some((base, algorithm)) = sidecar(&path) {
        return checksum_file::verify(ask, place.repo, base, algorithm).await;
    }
    if is_on(ask.headers(), "x-explode-archive") {
        let reason = "archives are not unpacked here: send the files that are in it";
        return Err(HttpError::Header { name: "X-Explode-Archive", reason });
    }
    let sums = expected(ask.headers())?;
    let links = ask.links()?;
    let item = if is_checksum_deploy(ask.headers()) {
        let (service, caller) = (ask.service(), &ask.caller);
        let found = service.deploy_by_sums(caller, &place.repo, &path, &sums, media_type(&path), properties);
        // What every request makes room for stays small.
        Box::pin(found).await?.ok_or_else(|| HttpError::ChecksumDeploy(described(&sums)))?
    } else {
        store(ask, &place.repo, &path, properties, &sums).await?
    };
    let mut answer = json(StatusCode::CREATED, &ItemView::of(&item, &links))?;
    checksum_headers(answer.headers_mut(), &item.checksums);
    located(&mut answer, links.content(&item.repo, Some(&item.path)));
    Ok(answer)
}

async fn store(
    ask: Ask,
    repo: &RepoKey,
    path: &ArtifactPath,
    properties: Properties,
    sums: &Expected,
) -> Result<Item, HttpError> {
    let Ask { site, caller, body, .. } = ask;
    let announced = body.length();
    let mut body = body.limited(site.options.max_upload)?;
    // From here on an early end drops the upload, and nothing is stored.
    let mut upload = site.service.upload(&caller, repo, path, announced, sums).await?;
    while let Some(piece) = body.next().await? {
        upload.write(piece).await?;
    }
    Ok(upload.finish(sums, media_type(path), properties).await?)
}

/// A folder that stays when nothing is in it. The root is always there.
async fn make_folder(
    ask: &Ask,
    repo: &RepoKey,
    path: Option<&ArtifactPath>,
    properties: Properties,
) -> Result<Answer, HttpError> {
    if ask.body.length().is_some_and(|length| length > 0) {
        return Err(HttpError::Header {
            name: "Content-Length",
            reason: "the path ends in a slash: a folder has no body",
        });
    }
    ask.must(Action::Write(repo))?;
    let links = ask.links()?;
    let found = match path {
        Some(path) => ask.service().make_folder(&ask.caller, repo, path, properties).await?,
        None => match ask.service().find(&ask.caller, repo, None).await? {
            Found::Folder(folder) => folder,
            Found::File(item) => return Err(ServiceError::FileInTheWay(item.path).into()),
        },
    };
    let shown = path.map(ArtifactPath::as_folder);
    let reads = |path: &ArtifactPath| access::may_at(&ask.caller.principal, Right::Read, repo, path.as_str());
    // Who only deploys is told nothing of what was there.
    let mut answer = match shown.as_ref().is_none_or(reads) {
        true => Box::pin(folder::json(ask, StatusCode::CREATED, &found)).await?,
        false => empty(StatusCode::CREATED),
    };
    located(&mut answer, format!("{}/", links.content(repo, path)));
    Ok(answer)
}

fn located(answer: &mut Answer, link: String) {
    answer.headers_mut().insert(LOCATION, HeaderValue::try_from(link).expect("links are ASCII"));
}
