//! The rows of every site are what the rules make of the set of entries that it has applied.

use std::collections::{BTreeMap, BTreeSet};

use artimesh_core::catalog::Versions;
use artimesh_core::changelog::{Pruned, Stored};
use artimesh_core::model::{ArtifactPath, Dot, Space};
use artimesh_core::replica::{Table, rows};

use super::Fault;
use super::agreement::{has_pruned, may_change, parted_for_good, parted_unproved};
use crate::disk::Disk;
use crate::site::Site;
use crate::truth::{Edits, Entry, Ties};
use crate::world::{Mutation, World};

/// The live versions of a space as they are at rest.
pub fn catalog(disk: &Disk, space: &Space) -> BTreeMap<ArtifactPath, Vec<artimesh_core::catalog::Version>> {
    let mine = disk.table(Table::Catalog).filter(|(key, _)| key.starts_with(&space.key()));
    mine.map(|(key, value)| {
        let versions: Versions = rows::read(value).expect("our own rows are readable");
        (rows::catalog_path(key).expect("our own keys too"), versions.iter().cloned().collect())
    })
    .collect()
}

/// Says too how many paths are in true conflict somewhere: siblings with other content than what is shown.
pub fn check(world: &World) -> Result<u64, Fault> {
    let mut conflicts = 0;
    let ties = if world.mutation == Mutation::TieBreak { Ties::Swapped } else { Ties::Right };
    for site in world.sites.iter().filter(|site| site.is_up()) {
        for (space, heads, federation) in site.mind().spaces() {
            if federation.is_none()
                || may_change(world, site.mind(), space)
                || parted_for_good(world, space)
                || parted_unproved(world, space)
            {
                continue;
            }
            let mut expected = world.truth.live(space, heads, ties);
            // Where something was pruned, at least.
            let touched =
                if has_pruned(world, space) { world.truth.touched_by_lost(space, heads) } else { BTreeSet::new() };
            if federation.map(|federation| federation.configuration.config()) != world.truth.config(space, heads) {
                return Err(format!("{} is set to {federation:?}", site.identity.name));
            }
            let (edits, known) = (world.truth.edits(space, heads), world.truth.known(space, heads));
            let found = catalog(&site.disk, space);
            for (path, versions) in &found {
                conflicts += u64::from(versions.iter().any(|v| v.content.digest != versions[0].content.digest));
                for version in versions {
                    let truth = known.get(&version.dot).map(|entry| entry.hash);
                    if truth != Some(version.entry) {
                        return Err(format!(
                            "{} shows {path} {:?}, which nobody wrote",
                            site.identity.name, version.dot
                        ));
                    }
                    let found = version.edits.iter();
                    let found: Edits =
                        found.map(|(n, e)| (n.clone(), (e.timestamp.0, e.dot, e.values.clone()))).collect();
                    let expected = edits.get(&version.dot).cloned().unwrap_or_default();
                    if found != expected && !touched.contains(&version.dot) {
                        return Err(format!(
                            "{} has {path} {:?} with {found:?}, the rules say {expected:?}",
                            site.identity.name, version.dot
                        ));
                    }
                }
            }
            let mut found: BTreeMap<ArtifactPath, Vec<Dot>> =
                found.into_iter().map(|(path, versions)| (path, versions.iter().map(|v| v.dot).collect())).collect();
            for (path, dots) in &mut found {
                let is_due = |dot: &Dot| expected.get(path).is_some_and(|expected| expected.contains(dot));
                dots.retain(|dot| is_due(dot) || !is_spared(world, site, space, path, dot));
            }
            found.retain(|_, dots| !dots.is_empty());
            for (path, dots) in &mut expected {
                let is_here = |dot: &Dot| found.get(path).is_some_and(|here| here.contains(dot));
                dots.retain(|dot| is_here(dot) || !touched.contains(dot));
            }
            expected.retain(|_, dots| !dots.is_empty());
            if found != expected {
                return Err(format!("{} in {space} has {found:?}, the rules say {expected:?}", site.identity.name));
            }
        }
    }
    Ok(conflicts)
}

/// Whether what tells that a version was ended by its number was pruned here, and the authors had seen that number in another
/// branch, as far as anybody can tell: of this version they had heard nothing, and what they deleted was a folder. At the same
/// path only while the state is on trial: it was taken over from a member that hasn't this branch, and doesn't show what it
/// has ended by number. The two agree when they have the same heads.
fn is_spared(world: &World, site: &Site, space: &Space, path: &ArtifactPath, dot: &Dot) -> bool {
    let (heads, is_on_trial) = (site.mind().heads(space), site.mind().is_on_trial(space));
    let ends = world.truth.ends_of(space, &heads, path, dot);
    let shown = world.truth.known(space, &heads).get(dot).map(|entry| entry.hash);
    let ends_for_another = |by: &Entry| {
        let mut others = world.truth.bearers(space, dot).filter(|entry| Some(entry.hash) != shown);
        let is_there = |other: &Entry| other.put().is_some_and(|put| put.path == *path);
        others.any(|other| if is_there(other) { is_on_trial } else { by.prefix().is_some() })
    };
    has_pruned(world, space)
        && !ends.is_empty()
        && ends.iter().all(|(by, entry)| ends_for_another(entry) && !is_told(&site.disk, space, (by, entry), dot))
}

/// Whether the log tells that an entry ends a version: it is there, and for a delete of a folder there is a header that says
/// that its author had seen the version's number.
fn is_told(disk: &Disk, space: &Space, (by, entry): (&Dot, &Entry), dot: &Dot) -> bool {
    let first = rows::segment_key(space, &by.incarnation, 0);
    let last = rows::segment_key(space, &by.incarnation, by.sequence);
    let rows = disk.table(Table::Log).filter(|(key, _)| (&first[..]..=&last[..]).contains(key));
    let parts = rows.map(|(_, value)| Stored::read(value).expect("our own rows are readable").narrowed(|_| true));
    let parts: Vec<Pruned> = parts.collect();
    let holds = |part: &Pruned| part.entries().any(|(index, _)| part.header.dot(index as usize) == *by);
    let has_seen = by.incarnation == dot.incarnation || parts.iter().any(|part| part.header.context.cover(dot));
    parts.iter().any(holds) && (entry.prefix().is_none() || has_seen)
}
