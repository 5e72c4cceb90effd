//! `POST /artifactory/api/mesh/rollback/{key}`

use artimesh_core::model::{ArtifactPath, RepoKey};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::ask::Ask;
use super::dates::{iso8601, parse_iso8601};
use super::error::HttpError;
use super::whole::whole;
use crate::service::{Effect, RollbackAction, RollbackWish, Timestamp};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    author: Option<String>,
    user: Option<String>,
    since: Since,
    #[serde(default)]
    dry_run: bool,
    after: Option<String>,
}

/// A date, or milliseconds since 1970.
#[derive(Deserialize)]
#[serde(untagged)]
enum Since {
    Milliseconds(#[serde(deserialize_with = "whole")] u64),
    Date(String),
}

impl Wish {
    fn checked(self) -> Result<RollbackWish, HttpError> {
        let since = match self.since {
            Since::Milliseconds(ms) => Timestamp(ms),
            Since::Date(text) => parse_iso8601(&text).ok_or_else(|| HttpError::Field {
                field: "since",
                reason: "write a date and time in UTC, such as 2026-11-21T21:47:00Z".into(),
            })?,
        };
        let after = self.after.clone().map(ArtifactPath::try_from).transpose()?;
        let effect = if self.dry_run { Effect::Dry } else { Effect::Real };
        Ok(RollbackWish { author: self.author, user: self.user, since, after, effect })
    }
}

/// Undoes what a node or user did, some paths at a time: `next` is the next call's `after`.
pub async fn post(ask: Ask) -> Result<Answer, HttpError> {
    let key: RepoKey = ask.name.parse()?;
    let Ask { site, caller, body, .. } = ask;
    let wish = body.json::<Wish>().await?.checked()?;
    let done = site.service.roll_back(&caller, &key, wish).await?;
    let actions: Vec<Value> = done.actions.iter().map(|(action, failed)| line(action, failed.as_deref())).collect();
    answer::json(StatusCode::OK, &json!({"repo": key, "actions": actions, "next": done.next}))
}

fn line(action: &RollbackAction, failed: Option<&str>) -> Value {
    let mut line = match action {
        RollbackAction::Restore { path, version } => {
            json!({"action": "restore", "path": path, "version": version.to_string()})
        }
        RollbackAction::Delete { path } => json!({"action": "delete", "path": path}),
        RollbackAction::Dismiss { path, versions } => {
            let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
            json!({"action": "dismiss", "path": path, "versions": versions})
        }
        RollbackAction::Leave { path, author, user, timestamp } => json!({
            "action": "leave",
            "path": path,
            "changed_by": user,
            "changed_at_node": author.map(|node| node.to_string()),
            "changed": iso8601(*timestamp),
        }),
    };
    line["failed"] = json!(failed);
    line
}
