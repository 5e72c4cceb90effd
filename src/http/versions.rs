//! Conflicts and history of artifacts.

use artimesh_core::model::{ArtifactPath, Dot, RepoKey};
use hyper::StatusCode;
use serde::Deserialize;

use super::answer::{self, Answer};
use super::ask::Ask;
use super::error::HttpError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restore {
    version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dismiss {
    #[serde(default)]
    versions: Vec<String>,
}

fn file(ask: &Ask) -> Result<(RepoKey, ArtifactPath), HttpError> {
    let place = ask.place()?;
    let path = place.path.ok_or_else(|| HttpError::NoRoute(ask.parts.uri.path().chars().take(120).collect()))?;
    Ok((place.repo, path))
}

fn version(text: &str) -> Result<Dot, HttpError> {
    text.parse()
        .map_err(|error: artimesh_core::model::BadDot| HttpError::Field { field: "version", reason: error.to_string() })
}

/// `POST /artifactory/api/mesh/restore/{repo}/{path}`
pub async fn restore(ask: Ask) -> Result<Answer, HttpError> {
    let (repo, path) = file(&ask)?;
    let Ask { site, caller, body, .. } = ask;
    let version = version(&body.json::<Restore>().await?.version)?;
    site.service.restore(&caller, &repo, &path, version).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// `POST /artifactory/api/mesh/dismiss/{repo}/{path}`
pub async fn dismiss(ask: Ask) -> Result<Answer, HttpError> {
    let (repo, path) = file(&ask)?;
    let Ask { site, caller, body, .. } = ask;
    let versions = body.json::<Dismiss>().await?.versions;
    let versions = versions.iter().map(|text| version(text)).collect::<Result<_, _>>()?;
    site.service.dismiss(&caller, &repo, &path, versions).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}
