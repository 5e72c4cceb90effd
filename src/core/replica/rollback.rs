//! Planning to undo what one author or user did since some time: nothing here changes anything.
//!
//! # Why
//! Damage is undone by new changes, out of the history of the node where the operator sits. What somebody else wrote since
//! is left alone and reported: an operator who means it can still restore it by hand.

use super::io::{Table, View, ViewFault};
use super::past::{history, versions};
use super::rows;
use crate::catalog::{Historic, Version, Versions};
use crate::clock::Timestamp;
use crate::model::{ArtifactPath, Dot, NodeId, Space};

/// How many ended versions of a path are looked at, the latest.
const HISTORY_MAX: usize = 1_000;

/// Whose doings are undone. Of both given, what this author wrote for this user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RollbackFilter {
    /// The node that wrote it.
    pub author: Option<NodeId>,
    /// The user it wrote it for.
    pub user: Option<String>,
    /// By the timestamps of what was written.
    pub since: Timestamp,
}

impl RollbackFilter {
    fn takes(&self, dot: &Dot, user: &str, timestamp: Timestamp) -> bool {
        self.author.is_none_or(|author| author == dot.incarnation.node)
            && self.user.as_ref().is_none_or(|theirs| theirs == user)
            && timestamp >= self.since
    }

    fn wrote(&self, version: &Version) -> bool {
        self.takes(&version.dot, &version.modified_by, version.timestamp)
    }

    fn ended(&self, historic: &Historic) -> bool {
        let ended = &historic.ended;
        ended.dot.is_some_and(|dot| self.takes(&dot, &ended.by, ended.timestamp))
    }
}

/// What to do at one path; each but the last is a [`super::Command`] of the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RollbackAction {
    /// Put the last version again that wasn't theirs.
    Restore {
        /// Where.
        path: ArtifactPath,
        /// Which.
        version: Dot,
    },
    /// Delete what they added: there was nothing before.
    Delete {
        /// Where.
        path: ArtifactPath,
    },
    /// End their versions; others' live beside them.
    Dismiss {
        /// Where.
        path: ArtifactPath,
        /// Theirs.
        versions: Vec<Dot>,
    },
    /// Nothing: somebody else wrote since.
    Leave {
        /// Where.
        path: ArtifactPath,
        /// Who: the node.
        author: Option<NodeId>,
        /// Who: the user.
        user: String,
        /// When.
        timestamp: Timestamp,
    },
}

/// What to do to the next `limit` paths behind `after`, and behind which path to go on.
pub fn rollback_step(
    view: &impl View,
    space: &Space,
    filter: &RollbackFilter,
    after: Option<&ArtifactPath>,
    limit: usize,
) -> Result<(Vec<RollbackAction>, Option<ArtifactPath>), ViewFault> {
    let (mut actions, mut last) = (Vec::new(), after.cloned());
    for _ in 0..limit {
        let Some(path) = next_path(view, space, last.as_ref())? else { return Ok((actions, None)) };
        actions.extend(plan(view, space, filter, &path)?);
        last = Some(path);
    }
    Ok((actions, last))
}

/// The first path behind `after` that is live or in the history.
fn next_path(view: &impl View, space: &Space, after: Option<&ArtifactPath>) -> Result<Option<ArtifactPath>, ViewFault> {
    // The least text behind a path and all its rows in the history.
    let behind = after.map(|path| format!("{path}\u{1}")).unwrap_or_default();
    let seek = |table, from: Vec<u8>, all: Vec<u8>| view.range(table, &from, &rows::end_of(&all), 1);
    let live = seek(Table::Catalog, rows::catalog_prefix(space, &behind), rows::catalog_prefix(space, ""))?;
    let ended = seek(Table::History, rows::ended_from(space, &behind), rows::ended_from(space, ""))?;
    let live = live.first().and_then(|(key, _)| rows::catalog_path(key));
    let ended = ended.first().and_then(|(key, _)| rows::ended_key_parts(key)).map(|(_, path)| path);
    Ok(live.into_iter().chain(ended).min())
}

fn plan(
    view: &impl View,
    space: &Space,
    filter: &RollbackFilter,
    path: &ArtifactPath,
) -> Result<Option<RollbackAction>, ViewFault> {
    let (live, past) = (versions(view, space, path)?, history(view, space, path, HISTORY_MAX)?);
    let theirs: Vec<Dot> = live.iter().filter(|version| filter.wrote(version)).map(|version| version.dot).collect();
    // What they replaced or deleted, and wasn't theirs: the greatest was shown before.
    let before = past
        .iter()
        .filter(|historic| filter.ended(historic) && !filter.wrote(&historic.version))
        .max_by_key(|historic| (historic.version.timestamp, historic.version.dot));
    if theirs.is_empty() && before.is_none() {
        return Ok(None);
    }
    Ok(if live.is_empty() { plan_gone(filter, path, &past, before) } else { plan_live(path, &live, theirs, before) })
}

/// The path has no live version: if they ended the last one, the one before comes back.
fn plan_gone(
    filter: &RollbackFilter,
    path: &ArtifactPath,
    past: &[Historic],
    before: Option<&Historic>,
) -> Option<RollbackAction> {
    // What they added, and is gone whoever deleted it, is as it was.
    let version = before?.version.dot;
    let last = past.iter().max_by_key(|historic| (historic.ended.timestamp, historic.ended.dot))?;
    if filter.ended(last) {
        return Some(RollbackAction::Restore { path: path.clone(), version });
    }
    Some(RollbackAction::Leave {
        path: path.clone(),
        author: last.ended.dot.map(|dot| dot.incarnation.node),
        user: last.ended.by.clone(),
        timestamp: last.ended.timestamp,
    })
}

fn plan_live(
    path: &ArtifactPath,
    live: &Versions,
    theirs: Vec<Dot>,
    before: Option<&Historic>,
) -> Option<RollbackAction> {
    let path = path.clone();
    let Some(other) = live.iter().find(|version| !theirs.contains(&version.dot)) else {
        return Some(match before {
            Some(before) => RollbackAction::Restore { path, version: before.version.dot },
            None => RollbackAction::Delete { path },
        });
    };
    if !theirs.is_empty() {
        return Some(RollbackAction::Dismiss { path, versions: theirs });
    }
    if before.is_some_and(|before| before.version.content.digest == other.content.digest) {
        // Somebody brought it back already.
        return None;
    }
    let (author, user, timestamp) = (Some(other.dot.incarnation.node), other.modified_by.clone(), other.timestamp);
    Some(RollbackAction::Leave { path, author, user, timestamp })
}
