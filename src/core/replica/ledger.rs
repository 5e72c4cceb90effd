//! What ends is kept for a time: the history of each path, and the paths in dispute. Local to this node.
//!
//! ```text
//! ended     path, when, dot → the version and how it ended      newest first
//! delete    path, dot → nothing                                 so that a put that comes later is known for a survivor
//! prefix    prefix, dot → nothing                               the same for whole folders
//! dispute   path → what is in dispute there                     so that listing conflicts scans nothing else
//! expiry    age, key of any of the first three → nothing        oldest first
//! ```
//!
//! # Why
//! Members compare what is live; when each of them learnt of an end differs, so the history is no part of that. A
//! survivor is known whichever came first, the put or the delete: the delete looks at what is live, the put at the
//! deletes that are remembered. Only the delete of a life that was lived twice may come after a put whose author had seen
//! it. Where logs are whole both are applied again in their order (`take_back`); where they aren't, that put is flagged, too.
//!
//! Age isn't read off the wall clock but passes with it, a day at a time at most: a clock that was a year behind and is set
//! right must not take the history with it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::draft::{Draft, stored};
use super::io::{Table, View, ViewFault};
use super::rows;
use super::state::{Replica, Work};
use crate::catalog::{Dispute, End, Ended, Historic, Version, Versions};
use crate::clock::Timestamp;
use crate::model::{ArtifactPath, Dot, Space};

/// How many rows one tick takes out at most.
const EXPIRED_AT_ONCE: usize = 256;

/// How many rows of the history are read at a time.
pub(super) const ROWS_AT_ONCE: usize = 256;

/// How much the age grows at once at most, however far the wall clock went. Milliseconds.
const AGE_STEP_MS_MAX: u64 = 24 * 3_600_000;

/// How far the wall clock goes before the age is written down again. Milliseconds.
const AGE_STEP_MS_MIN: u64 = 60_000;

/// How old this node's history is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Age {
    /// Milliseconds that passed.
    pub(super) ms: u64,
    /// What the wall clock showed then.
    wall: Timestamp,
}

impl rows::Stored for Age {}

impl Age {
    /// The age at wall-clock time `now`, when that is worth writing down.
    fn grown(&self, now: Timestamp) -> Option<Age> {
        let passed = now.ms_since(self.wall);
        let is_back = now < self.wall;
        let grown = Age { ms: self.ms + passed.min(AGE_STEP_MS_MAX), wall: now };
        (is_back || passed >= AGE_STEP_MS_MIN).then_some(grown)
    }
}

/// For so long after its put a version is its author's to replace without that being counted. Milliseconds.
const FRESH_MS: u64 = 600_000;

/// What ends versions, and what its author had seen.
pub(super) struct Cause<'a> {
    pub(super) ended: Ended,
    pub(super) age: Age,
    pub(super) saw: &'a dyn Fn(&Dot) -> bool,
}

/// Makes `after` the versions of a path that has had `before`, and keeps what ended.
pub(super) fn change<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    path: &ArtifactPath,
    before: &Versions,
    after: &Versions,
    cause: &Cause<'_>,
) -> Result<(), ViewFault> {
    draft.set_versions(space, path, before, after)?;
    let mut lost = Vec::new();
    let gone = || before.iter().filter(|old| after.iter().all(|new| new.dot != old.dot));
    if gone().any(|version| !is_own_and_fresh(version, &cause.ended)) {
        draft.count_end();
    }
    for version in gone() {
        let historic = historic(before, after, version, cause);
        let want = rows::want_key(space, &version.dot);
        let wanted: Option<rows::Want> = draft.get(Table::Meta, &want)?.map(|value| stored(&value)).transpose()?;
        // In a life that was lived twice the number may be another version's, at another path.
        if wanted.is_some_and(|wanted| wanted.path == *path) {
            draft.remove(Table::Meta, want);
        }
        let key = rows::ended_key(space, path, historic.ended.at, &version.dot);
        draft.set(Table::History, key.clone(), &historic);
        draft.set_bytes(Table::History, rows::expiry_key(cause.age.ms, &key), Vec::new());
        if historic.lost && historic.ended.how != End::Dismissed {
            lost.push((version.dot, version.content.digest));
        }
    }
    dispute(draft, space, path, after, |dispute| dispute.lost.extend(lost))
}

/// Whether who ended a version had put it itself just before: replacing that isn't damage.
fn is_own_and_fresh(version: &Version, ended: &Ended) -> bool {
    let same_node = ended.dot.is_some_and(|dot| dot.incarnation.node == version.dot.incarnation.node);
    same_node && ended.timestamp.ms_since(version.timestamp) < FRESH_MS
}

fn historic(before: &Versions, after: &Versions, version: &Version, cause: &Cause<'_>) -> Historic {
    let saw = |other: &&Version| (cause.saw)(&other.dot);
    let mut ended = cause.ended.clone();
    if ended.how == End::Deleted && after.iter().any(|other| saw(&other)) {
        ended.how = End::Dismissed;
    }
    let beats = |other: &Version| {
        (other.timestamp, other.dot) > (version.timestamp, version.dot)
            && other.content.digest != version.content.digest
    };
    let lost = before.iter().filter(saw).any(beats);
    Historic { version: version.clone(), ended, lost }
}

/// Brings the row of what is in dispute at a path up to date, with what `more` has to say.
pub(super) fn dispute<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    path: &ArtifactPath,
    live: &Versions,
    more: impl FnOnce(&mut Dispute),
) -> Result<(), ViewFault> {
    let key = rows::dispute_key(space, path.as_str());
    let before = dispute_at(draft, space, path)?;
    let mut dispute = before.clone();
    more(&mut dispute);
    dispute.settle(live);
    if dispute != before {
        match dispute.is_settled() {
            true => draft.remove(Table::History, key),
            false => draft.set(Table::History, key, &dispute),
        }
    }
    Ok(())
}

/// What is in dispute at a path.
pub(super) fn dispute_at<V: View>(
    draft: &Draft<'_, V>,
    space: &Space,
    path: &ArtifactPath,
) -> Result<Dispute, ViewFault> {
    draft.get(Table::History, &rows::dispute_key(space, path.as_str()))?.map_or(Ok(Dispute::default()), |v| stored(&v))
}

/// Remembers a delete of one path, and flags what is live there and outlived it.
pub(super) fn deleted<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    path: &ArtifactPath,
    live: &Versions,
    delete: Dot,
    cause: &Cause<'_>,
) -> Result<(), ViewFault> {
    remember(draft, rows::delete_key(space, path, &delete), cause.age);
    outlived(draft, space, path, live, delete, cause)
}

/// Remembers a delete of all under a prefix.
pub(super) fn deleted_prefix<V: View>(draft: &mut Draft<'_, V>, space: &Space, prefix: &str, delete: Dot, age: Age) {
    remember(draft, rows::delete_prefix_key(space, prefix, &delete), age);
}

fn remember<V: View>(draft: &mut Draft<'_, V>, key: Vec<u8>, age: Age) {
    draft.set_bytes(Table::History, rows::expiry_key(age.ms, &key), Vec::new());
    draft.set_bytes(Table::History, key, Vec::new());
}

/// Flags what is live at a path and `delete` hadn't seen.
pub(super) fn outlived<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    path: &ArtifactPath,
    live: &Versions,
    delete: Dot,
    cause: &Cause<'_>,
) -> Result<(), ViewFault> {
    if live.iter().all(|version| (cause.saw)(&version.dot)) {
        return Ok(());
    }
    let unseen = live.iter().filter(|version| !(cause.saw)(&version.dot));
    dispute(draft, space, path, live, |dispute| unseen.for_each(|version| dispute.survived(version.dot, delete)))
}

/// Flags a new version if deletes that its author hadn't seen came before it.
pub(super) fn look_for_deletes<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    path: &ArtifactPath,
    live: &Versions,
    put: Dot,
    saw: impl Fn(&Dot) -> bool,
) -> Result<(), ViewFault> {
    let first = rows::delete_key_start(space, path);
    let mut found = dots(draft, &first)?;
    found.extend(prefix_deletes(draft, space, path)?);
    found.retain(|delete| !saw(delete));
    if found.is_empty() {
        return Ok(());
    }
    dispute(draft, space, path, live, |dispute| found.iter().for_each(|delete| dispute.survived(put, *delete)))
}

/// The dots at the ends of the keys that begin so.
fn dots<V: View>(draft: &Draft<'_, V>, first: &[u8]) -> Result<Vec<Dot>, ViewFault> {
    let (mut from, end, mut found) = (first.to_vec(), rows::end_of(first), Vec::new());
    loop {
        let page = draft.range(Table::History, &from, &end, ROWS_AT_ONCE)?;
        found.extend(page.iter().filter_map(|(key, _)| rows::dot_at_end(key)));
        match page.last() {
            Some((last, _)) if page.len() == ROWS_AT_ONCE => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(found),
        }
    }
}

/// The remembered deletes of prefixes of a path. Sought from prefix to prefix: no key between two prefixes of the path
/// is read twice, and mostly there is none at all.
fn prefix_deletes<V: View>(draft: &Draft<'_, V>, space: &Space, path: &ArtifactPath) -> Result<Vec<Dot>, ViewFault> {
    let (path, mut found) = (path.as_str(), Vec::new());
    let end = rows::end_of(&rows::delete_prefixes(space));
    let mut length = 0;
    while let Some(prefix) = path.get(..length) {
        let first = rows::delete_prefix_start(space, prefix);
        let next = draft.range(Table::History, &first, &end, 1)?.pop();
        let Some(other) = next.as_ref().and_then(|(key, _)| rows::prefix_in(key)) else { break };
        let alike = path.bytes().zip(other.bytes()).take_while(|(mine, other)| mine == other).count();
        if alike == other.len() {
            found.extend(dots(draft, &rows::delete_prefix_start(space, other))?);
        } else if path.as_bytes().get(alike) < other.as_bytes().get(alike) {
            // What comes from here on is behind all prefixes of the path.
            break;
        }
        length = alike + 1;
        while length < path.len() && !path.is_char_boundary(length) {
            length += 1;
        }
    }
    Ok(found)
}

/// The version `dot` of a path in the history.
pub(super) fn find<V: View>(
    draft: &Draft<'_, V>,
    space: &Space,
    path: &ArtifactPath,
    dot: &Dot,
) -> Result<Option<Historic>, ViewFault> {
    let first = rows::ended_start(space, path);
    let (mut from, end) = (first.clone(), rows::end_of(&first));
    loop {
        let page = draft.range(Table::History, &from, &end, ROWS_AT_ONCE)?;
        if let Some((_, value)) = page.iter().find(|(key, _)| rows::dot_at_end(key) == Some(*dot)) {
            return stored(value).map(Some);
        }
        match page.last() {
            Some((last, _)) if page.len() == ROWS_AT_ONCE => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(None),
        }
    }
}

/// Forgets the deletes of one path: those that count are remembered again.
pub(super) fn forget_deletes<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    path: &ArtifactPath,
) -> Result<(), ViewFault> {
    forget(draft, &rows::delete_key_start(space, path))
}

/// Forgets the deletes of one prefix.
pub(super) fn forget_prefix_deletes<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    prefix: &str,
) -> Result<(), ViewFault> {
    forget(draft, &rows::delete_prefix_start(space, prefix))
}

fn forget<V: View>(draft: &mut Draft<'_, V>, first: &[u8]) -> Result<(), ViewFault> {
    for (key, _) in draft.range(Table::History, first, &rows::end_of(first), usize::MAX)? {
        draft.remove(Table::History, key);
    }
    Ok(())
}

/// Takes out of a path's history what lives after all, and all but the last end of what ended. What was written just `now` is
/// the last, though the clock may have been set back since it was told before.
pub(super) fn tidy<V: View>(
    draft: &mut Draft<'_, V>,
    space: &Space,
    path: &ArtifactPath,
    now: Timestamp,
) -> Result<(), ViewFault> {
    let (first, of_now) = (rows::ended_start(space, path), rows::ended_at_start(space, path, now));
    let mut seen: BTreeSet<Dot> = draft.versions(space, path)?.dots().into_iter().collect();
    let mut told = draft.range(Table::History, &first, &rows::end_of(&first), usize::MAX)?;
    told.sort_by_key(|(key, _)| !key.starts_with(&of_now));
    for (key, _) in told {
        if rows::dot_at_end(&key).is_some_and(|dot| !seen.insert(dot)) {
            draft.remove(Table::History, key);
        }
    }
    Ok(())
}

impl Replica {
    /// Takes out what is older than this node keeps, a bounded number of rows at a time.
    pub(super) fn expire<V: View>(&mut self, work: &mut Work<'_, V>) -> Result<(), ViewFault> {
        if let Some(age) = self.age.grown(work.now) {
            work.draft.set(Table::Meta, rows::AGE.into(), &age);
            self.age = age;
            work.age = age;
        }
        let until = self.age.ms.saturating_sub(self.limits.history_ms);
        let (from, to) = (rows::expiry_key(0, &[]), rows::expiry_key(until, &[]));
        for (expiry, _) in work.draft.range(Table::History, &from, &to, EXPIRED_AT_ONCE)? {
            let key = expiry[from.len()..].to_vec();
            if let (Some((space, path)), Some(dot)) = (rows::ended_key_parts(&key), rows::dot_at_end(&key)) {
                let live = work.draft.versions(&space, &path)?;
                dispute(&mut work.draft, &space, &path, &live, |dispute| {
                    dispute.lost.remove(&dot);
                })?;
            }
            work.draft.remove(Table::History, key);
            work.draft.remove(Table::History, expiry);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_the_age_is_what_it_was() {
        let age = Age { ms: 86_400_000, wall: Timestamp(1_700_000_000_000) };
        let golden = include_bytes!("../../../tests/golden/core/row-age.bin");
        assert_eq!(rows::write(&age), golden);
        assert_eq!(rows::read::<Age>(golden).expect("read for ever"), age);
    }

    #[test]
    fn a_version_is_its_authors_to_replace_for_ten_minutes_and_no_longer() {
        let node = |number| crate::model::NodeId([number; 32]);
        let dot = |node, sequence| Dot { incarnation: crate::model::Incarnation { node, number: 0 }, sequence };
        let (put, written) = (dot(node(1), 1), Timestamp(1_000_000_000));
        let version = Version {
            dot: put,
            entry: crate::model::Digest::ZERO,
            timestamp: written,
            content: crate::catalog::Content::folder(Default::default()),
            created: written,
            created_by: String::new(),
            modified_by: String::new(),
            moved_from: None,
            edits: Default::default(),
        };
        let is_free = |by, after_ms| {
            let timestamp = Timestamp(written.0 + after_ms);
            let (how, at) = (End::Replaced, timestamp);
            is_own_and_fresh(&version, &Ended { how, dot: Some(dot(by, 2)), by: String::new(), timestamp, at })
        };
        assert!(is_free(node(1), FRESH_MS - 1));
        assert!(!is_free(node(1), FRESH_MS));
        assert!(!is_free(node(2), 1), "another's");
    }
}
