//! Commands about artifacts: what this node's users do to paths becomes entries here.

use std::collections::BTreeMap;

use super::author::{Failure, OPEN_BYTES_MAX, receipt};
use super::draft::stored;
use super::io::{CommandError, Receipt, Table, View, ViewFault};
use super::state::{Replica, Work};
use super::{ledger, rows};
use crate::catalog::{
    Content, Delete, DeletePrefix, Dispute, EditProperties, EntryFault, KILLS_MAX, PREFIX_PATHS_MAX, Put, Version,
    Versions, check_user,
};
use crate::changelog::{Change, ENTRIES_MAX, kind};
use crate::clock::Timestamp;
use crate::model::{ArtifactPath, Dot, Properties, RepoKey, Space};

/// What one put or edit may take of an open segment.
const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// Who first put an artifact, and when.
type Origin = (Timestamp, String);

impl Replica {
    pub(super) fn put<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        path: ArtifactPath,
        content: Content,
        by: String,
    ) -> Result<Receipt, Failure> {
        let space = self.writable(key)?;
        check_user(&by)?;
        content.check()?;
        let before = work.draft.versions(&space, &path).map_err(Failure::Fault)?;
        let timestamp = Timestamp::of_write(work.now, stamps(&before));
        let (created, created_by) =
            before.shown().map_or((timestamp, by.clone()), |shown| (shown.created, shown.created_by.clone()));
        let put =
            Put { path, content, timestamp, kills: Vec::new(), created, created_by, modified_by: by, moved_from: None };
        self.replace(work, space, &before, put)
    }

    /// Writes `put`, which kills all of `before`: what is live at its path.
    fn replace<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        before: &Versions,
        mut put: Put,
    ) -> Result<Receipt, Failure> {
        let (timestamp, created, created_by) = (put.timestamp, put.created, put.created_by.clone());
        let mut kills = before.dots();
        while kills.len() > KILLS_MAX {
            // More siblings than one entry names: deletes take the lesser ones first.
            let kills = kills.split_off(kills.len() - KILLS_MAX);
            let delete = Delete { path: put.path.clone(), kills, timestamp, by: put.modified_by.clone() };
            self.write(work, space, &Change::Delete(delete))?;
        }
        put.kills = kills;
        let dot = self.write(work, space, &Change::Put(put))?;
        Ok(Receipt { dot, timestamp, space, replaced: !before.is_empty(), created, created_by, more: false })
    }

    /// Puts again what is or was here, at another path or another time: its bytes may have to be fetched.
    fn put_again<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        before: &Versions,
        put: Put,
    ) -> Result<Receipt, Failure> {
        let path = put.path.clone();
        let receipt = self.replace(work, space, before, put)?;
        let after = work.draft.versions(&space, &path).map_err(Failure::Fault)?;
        let Some(version) = after.iter().find(|version| version.dot == receipt.dot) else { return Ok(receipt) };
        self.want(work, space, &path, version).map_err(Failure::Fault)?;
        Ok(receipt)
    }

    pub(super) fn delete<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        path: ArtifactPath,
        only: Option<Dot>,
        by: String,
    ) -> Result<Receipt, Failure> {
        let space = self.writable(key)?;
        check_user(&by)?;
        let before = work.draft.versions(&space, &path).map_err(Failure::Fault)?;
        let Some(shown) = before.shown() else { return Err(CommandError::NoArtifact(path).into()) };
        if only.is_some_and(|only| only != shown.dot) {
            return Err(CommandError::Replaced(path).into());
        }
        let timestamp = Timestamp::of_write(work.now, stamps(&before));
        let dot = self.end(work, space, &path, &before.dots(), timestamp, &by)?;
        let dot = dot.ok_or(CommandError::NoArtifact(path))?;
        Ok(Receipt { timestamp, ..receipt(work.now, dot, space) })
    }

    /// Writes deletes of `kills` at a path; the first one's dot.
    fn end<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        space: Space,
        path: &ArtifactPath,
        kills: &[Dot],
        timestamp: Timestamp,
        by: &str,
    ) -> Result<Option<Dot>, Failure> {
        let mut first = None;
        for kills in kills.chunks(KILLS_MAX) {
            let delete = Delete { path: path.clone(), kills: kills.to_vec(), timestamp, by: by.to_owned() };
            let dot = self.write(work, space, &Change::Delete(delete))?;
            first = first.or(Some(dot));
        }
        Ok(first)
    }

    pub(super) fn set_properties<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        path: ArtifactPath,
        set: BTreeMap<String, Option<Vec<String>>>,
        by: String,
    ) -> Result<Receipt, Failure> {
        let space = self.writable(key)?;
        let before = work.draft.versions(&space, &path).map_err(Failure::Fault)?;
        let shown = before.shown().ok_or_else(|| CommandError::NoArtifact(path.clone()))?;
        let replaced = set.keys().filter_map(|name| Some(shown.edits.get(name)?.timestamp));
        let timestamp = Timestamp::of_write(work.now, replaced);
        let edit = EditProperties { path, version: shown.dot, set, timestamp, by };
        edit.check(|_| true)?;
        check_room(shown, &edit)?;
        let (created, created_by) = (shown.created, shown.created_by.clone());
        let dot = self.write(work, space, &Change::EditProperties(edit))?;
        Ok(Receipt { dot, timestamp, space, replaced: false, created, created_by, more: false })
    }

    pub(super) fn move_version<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        from: ArtifactPath,
        to: ArtifactPath,
        by: String,
    ) -> Result<Receipt, Failure> {
        let space = self.writable(key)?;
        check_user(&by)?;
        if from == to {
            return Err(CommandError::OntoItself(from).into());
        }
        if from.is_folder() != to.is_folder() {
            return Err(EntryFault::Bounds("the path to move to").into());
        }
        let source = work.draft.versions(&space, &from).map_err(Failure::Fault)?;
        let shown = source.shown().ok_or_else(|| CommandError::NoArtifact(from.clone()))?;
        let target = work.draft.versions(&space, &to).map_err(Failure::Fault)?;
        let timestamp = Timestamp::of_write(work.now, stamps(&source).chain(stamps(&target)));
        self.make_room(work, space);
        let put = Put {
            path: to,
            content: shown.content_now(),
            timestamp,
            kills: Vec::new(),
            created: shown.created,
            created_by: shown.created_by.clone(),
            modified_by: by.clone(),
            moved_from: Some(from.clone()),
        };
        let receipt = self.put_again(work, space, &target, put)?;
        self.end(work, space, &from, &source.dots(), timestamp, &by)?;
        Ok(receipt)
    }

    /// Seals what is open unless both halves of a move find room in it: they must share a segment.
    fn make_room<V: View>(&mut self, work: &mut Work<'_, V>, space: Space) {
        let Some(open) = work.open.get(&space) else { return };
        let bytes: usize = open.iter().map(|entry| entry.body.len()).sum();
        if open.len() + 8 > ENTRIES_MAX || bytes + ENTRY_BYTES_MAX > OPEN_BYTES_MAX {
            self.seal_space(work, space);
        }
    }

    pub(super) fn restore<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        path: ArtifactPath,
        version: Dot,
        by: String,
    ) -> Result<Receipt, Failure> {
        let space = self.writable(key)?;
        check_user(&by)?;
        let before = work.draft.versions(&space, &path).map_err(Failure::Fault)?;
        let found = match before.iter().find(|live| live.dot == version) {
            Some(live) => Some(live.clone()),
            None => {
                let ended = ledger::find(&work.draft, &space, &path, &version).map_err(Failure::Fault)?;
                ended.map(|historic| historic.version)
            }
        };
        let found = found.ok_or_else(|| CommandError::NoVersion(path.clone(), version))?;
        let timestamp = Timestamp::of_write(work.now, stamps(&before).chain([found.timestamp]));
        let (created, created_by): Origin =
            before.shown().map_or((found.created, found.created_by.clone()), |v| (v.created, v.created_by.clone()));
        let put = Put {
            path,
            content: found.content_now(),
            timestamp,
            kills: Vec::new(),
            created,
            created_by,
            modified_by: by,
            moved_from: None,
        };
        self.put_again(work, space, &before, put)
    }

    pub(super) fn dismiss<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        path: ArtifactPath,
        versions: &[Dot],
        by: String,
    ) -> Result<Receipt, Failure> {
        let space = self.writable(key)?;
        check_user(&by)?;
        let before = work.draft.versions(&space, &path).map_err(Failure::Fault)?;
        let dispute = ledger::dispute_at(&work.draft, &space, &path).map_err(Failure::Fault)?;
        let kills = to_end(&path, &before, &dispute, versions)?;
        let dying = before.iter().filter(|version| kills.contains(&version.dot));
        let timestamp = Timestamp::of_write(work.now, dying.map(|version| version.timestamp));
        let dot = self.end(work, space, &path, &kills, timestamp, &by)?;
        let live = work.draft.versions(&space, &path).map_err(Failure::Fault)?;
        let named = |dot: &Dot| versions.is_empty() || versions.contains(dot);
        ledger::dispute(&mut work.draft, &space, &path, &live, |dispute| {
            dispute.survivors.retain(|dot, _| !named(dot));
            dispute.lost.retain(|dot, _| !named(dot));
        })
        .map_err(Failure::Fault)?;
        // What ended already, or stays, is struck off this node's list only: nothing is written.
        let dot = dot.unwrap_or(Dot { incarnation: self.incarnation, sequence: 0 });
        Ok(Receipt { timestamp, ..receipt(work.now, dot, space) })
    }

    pub(super) fn delete_under<V: View>(
        &mut self,
        work: &mut Work<'_, V>,
        key: &RepoKey,
        prefix: &str,
        most: usize,
        by: &str,
    ) -> Result<Receipt, Failure> {
        let space = self.writable(key)?;
        check_user(by)?;
        let most = most.clamp(1, PREFIX_PATHS_MAX);
        let low = rows::catalog_prefix(&space, prefix);
        let page = work.draft.range(Table::Catalog, &low, &rows::end_of(&low), most + 1).map_err(Failure::Fault)?;
        let mut found = read_page(page).map_err(Failure::Fault)?;
        let next = if found.len() > most { found.pop().map(|(path, _)| path) } else { None };
        let mut first = None;
        // A member that doesn't know prefix deletes yet gets each path by its name.
        let by_prefix = self.check_feature(&space, kind::DELETE_PREFIX).is_ok();
        for group in grouped(found, prefix, next.as_ref()) {
            let timestamp =
                Timestamp::of_write(work.now, group.paths.iter().flat_map(|(_, versions)| stamps(versions)));
            let dot = match (&group.prefix, group.paths.as_slice()) {
                (Some(prefix), paths) if by_prefix && paths.len() > 1 => {
                    // Alone at its segment's beginning: its context says what it ends.
                    self.seal_space(work, space);
                    let delete = DeletePrefix { prefix: prefix.clone(), timestamp, by: by.to_owned() };
                    delete.check()?;
                    Some(self.write(work, space, &Change::DeletePrefix(delete))?)
                }
                (_, paths) => {
                    let mut dot = None;
                    for (path, versions) in paths {
                        dot = dot.or(self.end(work, space, path, &versions.dots(), timestamp, by)?);
                    }
                    dot
                }
            };
            first = first.or(dot.map(|dot| (dot, timestamp)));
        }
        let (dot, timestamp) = first.ok_or_else(|| CommandError::NothingUnder(prefix.to_owned()))?;
        Ok(Receipt { timestamp, more: next.is_some(), ..receipt(work.now, dot, space) })
    }
}

/// Which live versions of a path a dismissal of `named` ends (of none: of all that is in dispute).
fn to_end(path: &ArtifactPath, live: &Versions, dispute: &Dispute, named: &[Dot]) -> Result<Vec<Dot>, CommandError> {
    if named.is_empty() {
        let siblings: Vec<Dot> = live.siblings().iter().map(|version| version.dot).collect();
        let nothing = siblings.is_empty() && dispute.is_settled();
        return if nothing { Err(CommandError::NoConflict(path.clone())) } else { Ok(siblings) };
    }
    let dots = live.dots();
    let is_known = |dot: &&Dot| dots.contains(dot) || dispute.lost.contains_key(dot);
    if let Some(dot) = named.iter().find(|dot| !is_known(dot)) {
        return Err(CommandError::NoVersion(path.clone(), *dot));
    }
    // A survivor that stands alone stays; that it outlived a delete is no longer in dispute.
    let stays = |dot: &Dot| dots.len() == 1 && dispute.survivors.contains_key(dot);
    let kills: Vec<Dot> = named.iter().filter(|dot| dots.contains(dot) && !stays(dot)).copied().collect();
    if !kills.is_empty() && dots.iter().all(|dot| kills.contains(dot)) {
        return Err(CommandError::OneMustStay(path.clone()));
    }
    Ok(kills)
}

fn stamps(versions: &Versions) -> impl Iterator<Item = Timestamp> {
    versions.iter().map(|version| version.timestamp)
}

/// Whether a version takes an edit whole, as far as is known here.
fn check_room(shown: &Version, edit: &EditProperties) -> Result<(), EntryFault> {
    if !shown.edits.has_room_for(edit.set.keys()) {
        return Err(EntryFault::Bounds("the number of properties ever changed on this version"));
    }
    let mut all = BTreeMap::from(shown.properties());
    for (name, values) in &edit.set {
        match values {
            Some(values) => all.insert(name.clone(), values.clone()),
            None => all.remove(name),
        };
    }
    Properties::try_from(all).map(|_| ()).map_err(EntryFault::from)
}

pub(super) fn read_page(page: super::io::Page) -> Result<Vec<(ArtifactPath, Versions)>, ViewFault> {
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        let path = rows::catalog_path(&key).ok_or_else(|| ViewFault("a catalog row has a broken key".into()))?;
        Ok((path, stored(&value)?))
    };
    page.into_iter().map(read).collect()
}

/// Paths that one delete ends: all that begin with `prefix`, or a single one.
#[derive(Debug)]
struct Group {
    prefix: Option<String>,
    paths: Vec<(ArtifactPath, Versions)>,
}

/// Groups `found`, the first paths under `prefix` in order, by prefixes that cover them and not `next`, the first path
/// that must stay.
///
/// A path that is less than `next` leaves it at some character, with a lesser one: all paths that begin as it does up to and
/// with that character are less too. Or it is itself the beginning of `next`, and is ended by its name alone.
fn grouped(found: Vec<(ArtifactPath, Versions)>, prefix: &str, next: Option<&ArtifactPath>) -> Vec<Group> {
    let Some(next) = next else {
        return vec![Group { prefix: Some(prefix.to_owned()), paths: found }];
    };
    let mut groups: Vec<Group> = Vec::new();
    for (path, versions) in found {
        let differs = path.as_str().char_indices().zip(next.as_str().chars()).find(|((_, mine), other)| mine != other);
        let prefix = differs.map(|((at, mine), _)| path.as_str()[..at + mine.len_utf8()].to_owned());
        match groups.last_mut().filter(|group| group.prefix.is_some() && group.prefix == prefix) {
            Some(group) => group.paths.push((path, versions)),
            None => groups.push(Group { prefix, paths: vec![(path, versions)] }),
        }
    }
    groups
}
