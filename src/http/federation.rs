//! Who shares a repository, over HTTP.

use std::time::Duration;

use artimesh_core::model::RepoKey;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::ask::Ask;
use super::dates::iso8601;
use super::error::HttpError;
use super::whole::whole;
use crate::service::{Checkpoint, DifferenceKind, Effect, Hold, MergeProgress};

/// How long a checkpoint may be waited for, in seconds.
const WAIT_S_MAX: u64 = 3600;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    author: Option<String>,
}

/// `GET /artifactory/api/mesh/federation/{key}/holds`
pub async fn holds(ask: Ask) -> Result<Answer, HttpError> {
    let key: RepoKey = ask.name.parse()?;
    let names = ask.service().names().await?;
    let holds = ask.service().holds(&ask.caller, &key).await?;
    let of = |hold: &Hold| {
        json!({
            "author": hold.author.to_string(),
            "name": names.get(&hold.author).map(ToString::to_string),
            "since": iso8601(hold.since),
            "paths": hold.paths,
            "allowed": hold.allowed,
        })
    };
    let holds: Vec<Value> = holds.iter().map(of).collect();
    answer::json(StatusCode::OK, &json!({"repository": key, "holds": holds}))
}

/// `POST /artifactory/api/mesh/federation/{key}/release`
pub async fn release(ask: Ask) -> Result<Answer, HttpError> {
    let key: RepoKey = ask.name.parse()?;
    let Ask { site, caller, body, .. } = ask;
    let author = body.json::<Release>().await?.author;
    site.service.release(&caller, &key, author.as_deref()).await?;
    answer::json(StatusCode::OK, &json!({"repository": key, "released": author}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sync {
    member: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /artifactory/api/mesh/federation/{key}/sync`
pub async fn sync(ask: Ask) -> Result<Answer, HttpError> {
    let key: RepoKey = ask.name.parse()?;
    let Ask { site, caller, body, .. } = ask;
    let wish = body.json::<Sync>().await?;
    let effect = if wish.dry_run { Effect::Dry } else { Effect::Real };
    site.service.sync(&caller, &key, wish.member.as_deref(), effect).await?;
    answer::json(StatusCode::ACCEPTED, &json!({"repository": key, "dry_run": wish.dry_run}))
}

/// `GET /artifactory/api/mesh/federation/{key}/sync`
pub async fn sync_progress(ask: Ask) -> Result<Answer, HttpError> {
    let key: RepoKey = ask.name.parse()?;
    let progress = ask.service().sync_progress(&ask.caller, &key).await?;
    let progress = progress.as_ref().map(progress_of);
    answer::json(StatusCode::OK, &json!({"repository": key, "progress": progress}))
}

fn progress_of(progress: &MergeProgress) -> Value {
    let kind = |kind| match kind {
        DifferenceKind::Take => "take",
        DifferenceKind::DeletedHere => "deleted-here",
        DifferenceKind::Drop => "drop",
        DifferenceKind::Give => "give",
    };
    let listed: Vec<Value> =
        progress.listed.iter().map(|each| json!({"kind": kind(each.kind), "path": each.path})).collect();
    json!({
        "done": progress.is_done,
        "rounds": progress.rounds,
        "bytes": progress.bytes,
        "take": progress.take,
        "deleted_here": progress.deleted_here,
        "drop": progress.drop,
        "give": progress.give,
        "committed": progress.committed,
        "listed": listed,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    #[serde(default, deserialize_with = "whole")]
    wait_s: u64,
}

/// `POST /artifactory/api/mesh/federation/{key}/checkpoint`
pub async fn checkpoint(ask: Ask) -> Result<Answer, HttpError> {
    let key: RepoKey = ask.name.parse()?;
    let Ask { site, caller, body, .. } = ask;
    let wish = body.json::<Wait>().await?;
    if wish.wait_s > WAIT_S_MAX {
        return Err(HttpError::Field { field: "wait_s", reason: format!("wait at most {WAIT_S_MAX} seconds") });
    }
    let seen = site.service.checkpoint(&caller, &key, Duration::from_secs(wish.wait_s)).await?;
    answer::json(StatusCode::OK, &checkpoint_of(&key, &seen))
}

fn checkpoint_of(key: &RepoKey, seen: &Checkpoint) -> Value {
    let members: Vec<Value> = seen
        .members
        .iter()
        .map(|member| {
            json!({
                "node": member.node.to_string(),
                "name": member.name,
                "confirmed": member.confirmed,
                "connected": member.connected,
                "behind_entries": member.behind_entries,
                "diverged": member.diverged,
            })
        })
        .collect();
    json!({
        "repository": key,
        "state_digest": seen.digest.map(|digest| digest.to_string()),
        "confirmed": seen.is_confirmed(),
        "members": members,
    })
}
