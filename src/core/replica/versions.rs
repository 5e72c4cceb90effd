//! Applying entries about artifacts: what a put, a delete or an edit does to the versions of a path.
//!
//! # Why
//! What an entry kills is decided by what its author had applied, never by what happens to be here; so whatever the order
//! in which entries arrive (causal delivery holds), every member ends with the same versions.

use super::apply::{Entry, Stop};
use super::clocks::Alarm;
use super::draft::stored;
use super::io::{Output, Table, View};
use super::rows::{self, Want};
use super::state::{Replica, Work};
use crate::catalog::{Delete, DeletePrefix, EditProperties, PREFIX_PATHS_MAX, Put, Version, Versions};
use crate::clock::AHEAD_MS_MAX;
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
        forget_wants(work, &space, &versions.kill(&put.kills));
        let version = Version::of(entry.dot, entry.hash, put);
        versions.put(version.clone());
        work.draft.set_versions(&space, &put.path, &before, &versions);
        if entry.dot.incarnation == self.incarnation {
            return Ok(());
        }
        let ahead_ms = put.timestamp.ms_since(work.now);
        if ahead_ms > AHEAD_MS_MAX {
            let (path, dot, timestamp) = (put.path.clone(), entry.dot, put.timestamp);
            self.alarm(work, Alarm { space, path, dot, timestamp, ahead_ms });
        }
        self.want(work, space, &put.path, &version)
    }

    /// Puts the version's blob on the list of what to fetch, when this node should have it and hasn't.
    pub(super) fn want<V: View>(
        &self,
        work: &mut Work<'_, V>,
        space: Space,
        path: &ArtifactPath,
        version: &Version,
    ) -> Result<(), Stop> {
        let (dot, path, content) = (version.dot, path.clone(), &version.content);
        if !self.mirrors(&space) || work.draft.has_blob(&content.digest)? {
            return Ok(());
        }
        let want = Want { space, dot, path, digest: content.digest, size: content.size, checksums: content.checksums };
        work.draft.set(Table::Meta, rows::want_key(&space, &dot), &want);
        let Want { space, dot, path, digest, size, checksums } = want;
        work.out.push(Output::Wanted { space, dot, path, digest, size, checksums });
        Ok(())
    }
}

pub(super) fn apply_delete<V: View>(
    work: &mut Work<'_, V>,
    space: Space,
    entry: &Entry<'_>,
    delete: &Delete,
) -> Result<(), Stop> {
    delete.check(|dot| entry.saw(dot)).map_err(|fault| entry.at_fault(fault))?;
    let before = work.draft.versions(&space, &delete.path)?;
    kill(work, &space, &delete.path, &before, |dot| delete.kills.contains(dot));
    Ok(())
}

/// Ends what `dies` says of the versions `before` at a path; says whether that is any.
fn kill<V: View>(
    work: &mut Work<'_, V>,
    space: &Space,
    path: &ArtifactPath,
    before: &Versions,
    dies: impl Fn(&Dot) -> bool,
) -> bool {
    let mut versions = before.clone();
    let dead = versions.kill_where(dies);
    if dead.is_empty() {
        return false;
    }
    forget_wants(work, space, &dead);
    work.draft.set_versions(space, path, before, &versions);
    true
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
        work.draft.set_versions(&space, &edit.path, &before, &versions);
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
    delete.check().map_err(|fault| entry.at_fault(fault))?;
    let mut from = rows::catalog_prefix(&space, &delete.prefix);
    let (end, mut ended) = (rows::end_of(&from), 0);
    loop {
        let page = work.draft.range(Table::Catalog, &from, &end, ROWS_AT_ONCE)?;
        for (key, value) in &page {
            let broken = || Stop::Fault(super::io::ViewFault("a catalog row has a broken key".into()));
            let path = rows::catalog_path(key).ok_or_else(broken)?;
            ended += usize::from(kill(work, &space, &path, &stored(value)?, |dot| entry.saw(dot)));
        }
        if ended > PREFIX_PATHS_MAX {
            return Err(entry.misplaced("a prefix delete of more paths than one entry may end"));
        }
        match page.last() {
            Some((last, _)) if page.len() == ROWS_AT_ONCE => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// What is dead here need not be fetched any more.
fn forget_wants<V: View>(work: &mut Work<'_, V>, space: &Space, killed: &[Version]) {
    for version in killed {
        work.draft.remove(Table::Meta, rows::want_key(space, &version.dot));
    }
}
