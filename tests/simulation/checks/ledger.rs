//! What ended is kept, and what is in dispute is known: at the first site, which never loses anything, exactly what the
//! rules say; everywhere at least that siblings which differ are listed, and that live paths are counted right.

use std::collections::{BTreeMap, BTreeSet};

use artimesh_core::model::{ArtifactPath, Dot, Space};
use artimesh_core::replica::{Event, Table, conflicts, rows};

use super::{Fault, oracle};
use crate::world::World;

pub fn check(world: &World) -> Result<u64, Fault> {
    let mut survivors = 0;
    for (number, site) in world.sites.iter().enumerate().filter(|(_, site)| site.is_up()) {
        for (space, heads, federation) in site.mind().spaces() {
            if federation.is_none() {
                continue;
            }
            let live = oracle::catalog(&site.disk, space);
            let listed = conflicts(&site.disk, space, None, usize::MAX).map_err(|fault| fault.to_string())?;
            for (path, versions) in &live {
                let differ = versions.iter().any(|version| version.content.digest != versions[0].content.digest);
                if differ && listed.iter().all(|conflict| conflict.path != *path) {
                    return Err(format!("{} doesn't list the conflict at {path}", site.identity.name));
                }
            }
            let counted = rows::live_paths(&site.disk, space).map_err(|fault| fault.to_string())?;
            if counted != live.len() as u64 {
                return Err(format!("{} counts {counted} paths of {}", site.identity.name, live.len()));
            }
            // What ended elsewhere before a state was taken over was never here.
            let took_over = site.mind().is_merging(space)
                || site.mind().is_on_trial(space)
                || site.notes.iter().any(|note| matches!(note, Event::Reconciled { .. }));
            if number == 0 && !took_over {
                check_past(world, space)?;
                let flagged = listed.iter().flat_map(|c| c.survivors.clone()).collect();
                survivors += check_survivors(world, flagged, world.truth.survivors(space, heads))?;
            }
        }
    }
    Ok(survivors)
}

/// What is flagged is what the rules say.
fn check_survivors(world: &World, flagged: BTreeMap<Dot, Dot>, expected: BTreeMap<Dot, Dot>) -> Result<u64, Fault> {
    // Who lived twice writes again what it still has, and that stands where it stood; and its delete may come after puts
    // whose authors had seen it. Of the deletes that a put outlived only the greatest is told, so behind one of those a
    // lesser one doesn't show.
    let twice = |dot: &Dot| world.truth.forked.iter().any(|(_, life)| life.node == dot.incarnation.node);
    let hidden: BTreeSet<Dot> =
        flagged.iter().chain(&expected).filter(|(put, by)| twice(put) || twice(by)).map(|(put, _)| *put).collect();
    let told = |all: BTreeMap<Dot, Dot>| -> BTreeMap<Dot, Dot> {
        all.into_iter().filter(|(put, _)| !hidden.contains(put)).collect()
    };
    let (flagged, expected) = (told(flagged), told(expected));
    if flagged != expected {
        return Err(format!("survivors are {flagged:?}, the rules say {expected:?}"));
    }
    Ok(flagged.len() as u64)
}

/// The history of the first site holds all that was live there and isn't.
fn check_past(world: &World, space: &Space) -> Result<(), Fault> {
    let site = &world.sites[0];
    let heads = site.mind().heads(space);
    let live: BTreeSet<Dot> = oracle::catalog(&site.disk, space).values().flatten().map(|v| v.dot).collect();
    // Of a life that was lived twice the history may still hold the other branch, under the same numbers.
    let mut known = world.truth.known(space, &heads);
    known.retain(|dot, _| !world.truth.forked.contains(&(*space, dot.incarnation)));
    let mine = site.disk.table(Table::History).filter(|(key, _)| key.starts_with(&space.key()));
    let past: BTreeMap<Dot, ArtifactPath> = mine
        .filter_map(|(key, value)| rows::historic(key, value).expect("our own rows are readable"))
        .map(|historic| (historic.version.dot, historic.ended))
        // What was ended by words that were taken back with a fork, or elsewhere, is told of all the same.
        .filter(|(dot, ended)| known.contains_key(dot) && ended.dot.is_some_and(|by| heads.cover(&by)))
        .map(|(dot, _)| {
            let put = known[&dot].put().expect("only puts end");
            (dot, put.path.clone())
        })
        .collect();
    let puts = known.iter().filter(|(_, entry)| entry.put().is_some());
    match puts.map(|(dot, _)| *dot).find(|dot| live.contains(dot) == past.contains_key(dot)) {
        Some(dot) => Err(format!("{dot:?} is live and in the history, or neither")),
        None => Ok(()),
    }
}
