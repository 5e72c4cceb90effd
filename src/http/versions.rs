//! Conflicts and history of artifacts.

use std::collections::BTreeMap;

use artimesh_core::access::{self, Right};
use artimesh_core::model::{ArtifactPath, NodeId, NodeName, RepoKey};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::ask::Ask;
use super::dates::iso8601;
use super::error::HttpError;
use super::target::Query;
use crate::service::{Caller, Conflict, End, Historic, ServiceError, Version};

/// Rows of a list, unless `?limit=` says otherwise.
const LIMIT: usize = 100;
/// Rows of a list at most.
const LIMIT_MAX: usize = 1000;

/// What nodes are called.
type Names = BTreeMap<NodeId, NodeName>;

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

/// A file, or with a slash at its end a folder that was made as one.
fn file(ask: &Ask) -> Result<(RepoKey, ArtifactPath), HttpError> {
    let place = ask.place()?;
    let path = place.path.ok_or_else(|| HttpError::NoRoute(ask.parts.uri.path().chars().take(120).collect()))?;
    Ok((place.repo, if place.is_folder { path.as_folder() } else { path }))
}

fn limit(query: &Query) -> Result<usize, HttpError> {
    match query.get("limit").map(str::parse) {
        None => Ok(LIMIT),
        Some(Ok(limit @ 1..=LIMIT_MAX)) => Ok(limit),
        Some(_) => Err(HttpError::Query { name: "limit", reason: "it is not a number from 1 to 1000" }),
    }
}

/// `GET /artifactory/api/mesh/conflicts/{repo}?after=&limit=`
pub async fn conflicts(ask: Ask) -> Result<Answer, HttpError> {
    let repo = ask.place()?.repo;
    let query = ask.query();
    let after = query.get("after").filter(|text| !text.is_empty());
    let after = after.map(|text| ArtifactPath::try_from(text.to_owned())).transpose()?;
    let limit = limit(&query)?;
    let found = ask.service().conflicts(&ask.caller, &repo, after, limit).await?;
    let told = Told::of(&ask, &repo).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.path.clone());
    let conflicts: Vec<Value> = found.iter().map(|found| conflict(found, &told)).collect();
    answer::json(StatusCode::OK, &json!({"repo": repo, "conflicts": conflicts, "next": next}))
}

/// `GET /artifactory/api/mesh/conflicts/{repo}/{path}`
pub async fn conflict_at(ask: Ask) -> Result<Answer, HttpError> {
    let (repo, path) = file(&ask)?;
    let found = ask.service().conflict(&ask.caller, &repo, &path).await?;
    let found = found.ok_or_else(|| ServiceError::NoConflict { repo: repo.clone(), path })?;
    let mut document = conflict(&found, &Told::of(&ask, &repo).await?);
    document["repo"] = json!(repo);
    answer::json(StatusCode::OK, &document)
}

/// `GET /artifactory/api/mesh/history/{repo}/{path}?limit=`
pub async fn history(ask: Ask) -> Result<Answer, HttpError> {
    let (repo, path) = file(&ask)?;
    let limit = limit(&ask.query())?;
    let (live, past) = ask.service().history(&ask.caller, &repo, &path, limit).await?;
    let told = Told::of(&ask, &repo).await?;
    let live: Vec<Value> = live.iter().enumerate().map(|(rank, each)| live_version(rank, each, &told)).collect();
    let past: Vec<Value> = past.iter().map(|past| historic(past, &told)).collect();
    answer::json(StatusCode::OK, &json!({"repo": repo, "path": path, "live": live, "history": past}))
}

/// `POST /artifactory/api/mesh/restore/{repo}/{path}`
pub async fn restore(ask: Ask) -> Result<Answer, HttpError> {
    let (repo, path) = file(&ask)?;
    let Ask { site, caller, body, .. } = ask;
    let version = body.json::<Restore>().await?.version;
    let version = site.service.restore(&caller, &repo, &path, &version).await?;
    answer::json(StatusCode::OK, &json!({"repo": repo, "path": path, "restored": version.to_string()}))
}

/// `POST /artifactory/api/mesh/dismiss/{repo}/{path}`
pub async fn dismiss(ask: Ask) -> Result<Answer, HttpError> {
    let (repo, path) = file(&ask)?;
    let Ask { site, caller, body, .. } = ask;
    let versions = body.json::<Dismiss>().await?.versions;
    site.service.dismiss(&caller, &repo, &path, &versions).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// What may be told of versions, and how.
struct Told<'a> {
    names: Names,
    caller: &'a Caller,
    repo: &'a RepoKey,
}

impl<'a> Told<'a> {
    async fn of(ask: &'a Ask, repo: &'a RepoKey) -> Result<Told<'a>, HttpError> {
        Ok(Told { names: ask.service().names().await?, caller: &ask.caller, repo })
    }

    fn name(&self, node: &NodeId) -> Option<String> {
        self.names.get(node).map(ToString::to_string)
    }

    /// Another path, for those who may know that it is there.
    fn path<'path>(&self, path: Option<&'path ArtifactPath>) -> Option<&'path ArtifactPath> {
        let reads =
            |path: &&ArtifactPath| access::may_at(&self.caller.principal, Right::Read, self.repo, path.as_str());
        path.filter(reads)
    }
}

fn version(version: &Version, state: &str, told: &Told<'_>) -> Value {
    let node = &version.dot.incarnation.node;
    json!({
        "version": version.dot.to_string(),
        "state": state,
        "size": version.content.size,
        "sha256": version.content.checksums.sha256_hex(),
        "properties": version.properties(),
        "modified": iso8601(version.timestamp),
        "modified_by": version.modified_by,
        "node": node.to_string(),
        "node_name": told.name(node),
        "moved_from": told.path(version.moved_from.as_ref()),
    })
}

fn live_version(rank: usize, each: &Version, told: &Told<'_>) -> Value {
    version(each, if rank == 0 { "shown" } else { "sibling" }, told)
}

fn historic(past: &Historic, told: &Told<'_>) -> Value {
    let mut document = version(&past.version, if past.lost { "lost" } else { "ended" }, told);
    let ended = &past.ended;
    let (how, to) = match &ended.how {
        End::Replaced => ("replaced", None),
        End::Deleted => ("deleted", None),
        End::Dismissed => ("dismissed", None),
        End::Moved(to) => ("moved", Some(to)),
        End::Unknown => ("unknown", None),
    };
    document["ended"] = json!({
        "how": how,
        "to": told.path(to),
        "by": ended.by,
        "node_name": ended.dot.and_then(|dot| told.name(&dot.incarnation.node)),
        "at": iso8601(ended.timestamp),
    });
    document
}

fn conflict(conflict: &Conflict, told: &Told<'_>) -> Value {
    let live = conflict.live.iter().enumerate();
    let live: Vec<Value> = live
        .map(|(rank, each)| {
            let mut document = live_version(rank, each, told);
            let outlived = conflict.survivors.get(&each.dot);
            document["outlived_delete_of"] = json!(outlived.and_then(|dot| told.name(&dot.incarnation.node)));
            document["outlived_delete"] = json!(outlived.map(ToString::to_string));
            document
        })
        .collect();
    let lost: Vec<Value> = conflict.lost.iter().map(|past| historic(past, told)).collect();
    json!({"path": conflict.path, "live": live, "lost": lost})
}
