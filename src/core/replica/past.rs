//! Questions about what ended and what is in dispute: nothing here changes anything.

use super::draft::{Draft, stored};
use super::io::{Table, View, ViewFault};
use super::ledger::ROWS_AT_ONCE;
use super::rows;
use crate::catalog::{Conflict, Dispute, Historic, Versions};
use crate::model::{ArtifactPath, Space};

/// The versions of a path that ended, the latest first, as far as this node's history goes; at most `limit`.
pub fn history(view: &impl View, space: &Space, path: &ArtifactPath, limit: usize) -> Result<Vec<Historic>, ViewFault> {
    let first = rows::ended_start(space, path);
    let page = view.range(Table::History, &first, &rows::end_of(&first), limit)?;
    page.iter().map(|(_, value)| stored(value)).collect()
}

/// The live versions of a path.
pub fn versions(view: &impl View, space: &Space, path: &ArtifactPath) -> Result<Versions, ViewFault> {
    Draft::new(view).versions(space, path)
}

/// The paths in conflict behind `after`, in order; at most `limit`.
pub fn conflicts(
    view: &impl View,
    space: &Space,
    after: Option<&ArtifactPath>,
    limit: usize,
) -> Result<Vec<Conflict>, ViewFault> {
    let end = rows::end_of(&rows::dispute_key(space, ""));
    let from = after.map_or_else(
        || rows::dispute_key(space, ""),
        |path| [&rows::dispute_key(space, path.as_str())[..], &[0]].concat(),
    );
    let mut conflicts = Vec::new();
    for (key, value) in view.range(Table::History, &from, &end, limit)? {
        let broken = || ViewFault("a row of a dispute has a broken key".into());
        let path = rows::dispute_path(&key).ok_or_else(broken)?;
        conflicts.push(disputed(view, space, path, &value)?);
    }
    Ok(conflicts)
}

/// What is in conflict at a path, if anything is.
pub fn conflict(view: &impl View, space: &Space, path: &ArtifactPath) -> Result<Option<Conflict>, ViewFault> {
    let row = view.get(Table::History, &rows::dispute_key(space, path.as_str()))?;
    row.map(|value| disputed(view, space, path.clone(), &value)).transpose()
}

fn disputed(view: &impl View, space: &Space, path: ArtifactPath, value: &[u8]) -> Result<Conflict, ViewFault> {
    let dispute: Dispute = stored(value)?;
    let (live, lost) = (versions(view, space, &path)?, lost(view, space, &path, &dispute)?);
    Ok(Conflict { path, live, survivors: dispute.survivors, lost })
}

fn lost(view: &impl View, space: &Space, path: &ArtifactPath, dispute: &Dispute) -> Result<Vec<Historic>, ViewFault> {
    let first = rows::ended_start(space, path);
    let (mut from, end, mut found) = (first.clone(), rows::end_of(&first), Vec::new());
    while found.len() < dispute.lost.len() {
        let page = view.range(Table::History, &from, &end, ROWS_AT_ONCE)?;
        for (key, value) in &page {
            if rows::dot_at_end(key).is_some_and(|dot| dispute.lost.contains_key(&dot)) {
                found.push(stored(value)?);
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == ROWS_AT_ONCE => from = [last.as_slice(), &[0]].concat(),
            _ => break,
        }
    }
    Ok(found)
}
