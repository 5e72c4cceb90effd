//! Applying entries about artifacts: what a put, a delete or an edit does to the versions of a path.
//!
//! # Why
//! What an entry kills is decided by what its author had applied, never by what happens to be here; so whatever the order
//! in which entries arrive (causal delivery holds), every member ends with the same versions.

use super::apply::{Entry, Stop};
use super::clocks::Alarm;
use super::draft::stored;
use super::io::{Output, Refusal, Table, View, ViewFault};
use super::ledger::{self, Cause};
use super::rows::{self, Want};
use super::state::{Replica, Work};
use crate::catalog::{Delete, DeletePrefix, EditProperties, End, Ended, PREFIX_PATHS_MAX, Put, Version, Versions};
use crate::clock::{AHEAD_MS_MAX, Timestamp};
use crate::model::{ArtifactPath, Dot, Space};

/// How many catalog rows are read at a time.
const ROWS_AT_ONCE: usize = 500;

impl Replica {
    pub(super) fn apply_put<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        entry: &Entry<'_>,
        put: &Put,
    ) -> Result<(), Stop> {
        put.check(|dot| entry.saw(dot)).map_err(|fault| entry.at_fault(fault))?;
        let before = work.draft.versions(&space, &put.path)?;
        let mut versions = before.clone();
        versions.kill(&put.kills);
        let version = Version::of(entry.dot, entry.hash, put);
        versions.put(version.clone());
        check_room(entry, &put.path, &before, &versions)?;
        let saw = |dot: &Dot| entry.saw(dot);
        let ended = ended(work.now, entry, End::Replaced, &put.modified_by, put.timestamp);
        ledger::change(
            &mut work.draft,
            &space,
            &put.path,
            &before,
            &versions,
            &Cause { ended, age: work.age, saw: &saw },
        )?;
        ledger::look_for_deletes(&mut work.draft, &space, &put.path, &versions, entry.dot, saw)?;
        work.moving = put.moved_from.clone().map(|from| (entry.dot, from, put.path.clone()));
        if entry.dot.incarnation == self.incarnation {
            return Ok(());
        }
        let ahead_ms = put.timestamp.ms_since(work.now);
        if ahead_ms > AHEAD_MS_MAX {
            let (path, dot, timestamp) = (put.path.clone(), entry.dot, put.timestamp);
            self.alarm(work, Alarm { space, path, dot, timestamp, ahead_ms });
        }
        Ok(self.want(work, space, &put.path, &version)?)
    }

    /// Puts the version's blob on the list of what to fetch, when this node should have it and hasn't. A folder has none.
    pub(super) fn want<V: View>(
        &self,
        work: &mut Work<'_, V>,
        space: Space,
        path: &ArtifactPath,
        version: &Version,
    ) -> Result<(), ViewFault> {
        let (dot, path, content) = (version.dot, path.clone(), &version.content);
        if path.is_folder() || !self.mirrors(&space) || work.draft.has_blob(&content.digest)? {
            return Ok(());
        }
        let want = Want { space, dot, path, digest: content.digest, size: content.size, checksums: content.checksums };
        work.draft.set(Table::Meta, rows::want_key(&space, &dot), &want);
        let Want { space, dot, path, digest, size, checksums } = want;
        work.out.push(Output::Wanted { space, dot, path, digest, size, checksums });
        Ok(())
    }
}

/// Refuses what would make a path's row grow without bound.
///
/// That delays, and decides nothing: the entry is no part of what this node has applied, and is asked for again until
/// somebody has overwritten or deleted what is there, which is always taken. Only who never kills what it sees can bring
/// a path so far.
fn check_room(entry: &Entry<'_>, path: &ArtifactPath, before: &Versions, after: &Versions) -> Result<(), Stop> {
    if after.crowds(before) { Err(Stop::Refused(Refusal::Crowded(entry.dot, path.clone()))) } else { Ok(()) }
}

fn ended(now: Timestamp, entry: &Entry<'_>, how: End, by: &str, timestamp: Timestamp) -> Ended {
    Ended { how, dot: Some(entry.dot), by: by.to_owned(), timestamp, at: now }
}

pub(super) fn apply_delete<V: View>(
    work: &mut Work<'_, V>,
    space: Space,
    entry: &Entry<'_>,
    delete: &Delete,
) -> Result<(), Stop> {
    delete.check(|dot| entry.saw(dot)).map_err(|fault| entry.at_fault(fault))?;
    let (path, saw) = (&delete.path, |dot: &Dot| entry.saw(dot));
    let before = work.draft.versions(&space, path)?;
    let mut versions = before.clone();
    versions.kill(&delete.kills);
    let follows = |(put, ..): &(Dot, ArtifactPath, ArtifactPath)| {
        put.incarnation == entry.dot.incarnation && put.sequence + 1 == entry.dot.sequence
    };
    let how = match work.moving.as_ref().filter(|moving| follows(moving)) {
        Some((_, from, to)) if from == path => End::Moved(to.clone()),
        _ => End::Deleted,
    };
    let cause = Cause { ended: ended(work.now, entry, how, &delete.by, delete.timestamp), age: work.age, saw: &saw };
    ledger::change(&mut work.draft, &space, path, &before, &versions, &cause)?;
    ledger::deleted(&mut work.draft, &space, path, &versions, entry.dot, &cause)?;
    Ok(())
}

/// Properties of a version that is gone, or was never at that path, change nothing.
pub(super) fn apply_edit<V: View>(
    work: &mut Work<'_, V>,
    space: Space,
    entry: &Entry<'_>,
    edit: &EditProperties,
) -> Result<(), Stop> {
    edit.check(|dot| entry.saw(dot)).map_err(|fault| entry.at_fault(fault))?;
    let before = work.draft.versions(&space, &edit.path)?;
    let mut versions = before.clone();
    if versions.edit(entry.dot, edit) {
        check_room(entry, &edit.path, &before, &versions)?;
        work.draft.set_versions(&space, &edit.path, &before, &versions)?;
    }
    Ok(())
}

/// Ends all that its author had applied under the prefix, read a page at a time.
///
/// What is live here of that was live there too, so a well-behaved author's never reaches more than
/// [`PREFIX_PATHS_MAX`] paths; one that does is refused, and its author stands still where that is noticed.
pub(super) fn apply_delete_prefix<V: View>(
    work: &mut Work<'_, V>,
    space: Space,
    entry: &Entry<'_>,
    delete: &DeletePrefix,
) -> Result<(), Stop> {
    sweep(work, space, entry, delete, |_| true)
}

/// The same at those paths alone that `counts` says.
pub(super) fn sweep<V: View>(
    work: &mut Work<'_, V>,
    space: Space,
    entry: &Entry<'_>,
    delete: &DeletePrefix,
    counts: impl Fn(&ArtifactPath) -> bool,
) -> Result<(), Stop> {
    delete.check().map_err(|fault| entry.at_fault(fault))?;
    let saw = |dot: &Dot| entry.saw(dot);
    let cause =
        Cause { ended: ended(work.now, entry, End::Deleted, &delete.by, delete.timestamp), age: work.age, saw: &saw };
    ledger::deleted_prefix(&mut work.draft, &space, &delete.prefix, entry.dot, work.age);
    let mut from = rows::catalog_prefix(&space, &delete.prefix);
    let (end, mut paths) = (rows::end_of(&from), 0);
    loop {
        let page = work.draft.range(Table::Catalog, &from, &end, ROWS_AT_ONCE)?;
        for (key, value) in &page {
            let broken = || Stop::Fault(ViewFault("a catalog row has a broken key".into()));
            let path = rows::catalog_path(key).ok_or_else(broken)?;
            if !counts(&path) {
                continue;
            }
            let before: Versions = stored(value)?;
            let mut versions = before.clone();
            paths += usize::from(!versions.kill_where(saw).is_empty());
            ledger::change(&mut work.draft, &space, &path, &before, &versions, &cause)?;
            ledger::outlived(&mut work.draft, &space, &path, &versions, entry.dot, &cause)?;
        }
        if paths > PREFIX_PATHS_MAX {
            return Err(entry.misplaced("a prefix delete of more paths than one entry may end"));
        }
        match page.last() {
            Some((last, _)) if page.len() == ROWS_AT_ONCE => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}
