//! Who shares a repository, over HTTP.

use artimesh_core::model::RepoKey;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::answer::{self, Answer};
use super::ask::Ask;
use super::error::HttpError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    node: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    from: Option<String>,
}

/// `POST /artifactory/api/mesh/federation/{key}/invite`
pub async fn invite(ask: Ask) -> Result<Answer, HttpError> {
    let key: RepoKey = ask.name.parse()?;
    let Ask { site, caller, body, .. } = ask;
    let wish = body.json::<Member>().await?;
    let node = site.service.invite(&caller, &key, &wish.node).await?;
    answer::json(StatusCode::OK, &json!({"repository": key, "invited": node.to_string()}))
}

/// `POST /artifactory/api/mesh/federation/{key}/remove`
pub async fn remove(ask: Ask) -> Result<Answer, HttpError> {
    let key: RepoKey = ask.name.parse()?;
    let Ask { site, caller, body, .. } = ask;
    let wish = body.json::<Member>().await?;
    let node = site.service.remove_member(&caller, &key, &wish.node).await?;
    answer::json(StatusCode::OK, &json!({"repository": key, "removed": node.to_string()}))
}

/// `POST /artifactory/api/mesh/federation/{key}/adopt`
pub async fn adopt(ask: Ask) -> Result<Answer, HttpError> {
    let key: RepoKey = ask.name.parse()?;
    let Ask { site, caller, body, .. } = ask;
    let wish = body.json::<From>().await?;
    let adopted = site.service.adopt(&caller, &key, wish.from.as_deref()).await?;
    let value = json!({"repository": key, "federation": adopted.space.to_string(), "more": adopted.more});
    answer::json(StatusCode::OK, &value)
}
