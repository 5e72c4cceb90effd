//! A mirror without blobs wants exactly the bytes that other lives wrote and that are live, and those of its own that it
//! moved or restored.

use std::collections::BTreeSet;

use artimesh_core::model::{Dot, Incarnation};
use artimesh_core::replica::{Event, Placement, Table, Want, rows};

use super::{Fault, oracle};
use crate::world::World;

pub fn check(world: &World) -> Result<u64, Fault> {
    let mut wanted = 0;
    for site in world.sites.iter().filter(|site| site.is_up() && !site.disk.has_blobs) {
        let mind = site.mind();
        let gave_up = |life: Incarnation| {
            site.notes.iter().any(|note| matches!(note, Event::RolledBack { old, .. } if *old == life))
        };
        let all = site.disk.table(Table::Meta).filter(|(key, _)| key.starts_with(rows::WANTS));
        let wants: Vec<Want> = all.map(|(_, value)| rows::read(value).expect("our own rows are readable")).collect();
        for repository in mind.repositories().values().filter(|r| r.placement == Placement::Mirror) {
            let here: BTreeSet<Dot> = wants.iter().filter(|w| w.space == repository.space).map(|w| w.dot).collect();
            let catalog = oracle::catalog(&site.disk, &repository.space);
            let files: BTreeSet<Dot> =
                catalog.iter().filter(|(path, _)| !path.is_folder()).flat_map(|(_, all)| all).map(|v| v.dot).collect();
            // What it wrote in a life that it gave up since came with its bytes, too.
            let is_own = |life: Incarnation| life == mind.incarnation() || life.node == site.node() && gave_up(life);
            let theirs: BTreeSet<Dot> = files.iter().filter(|dot| !is_own(dot.incarnation)).copied().collect();
            wanted += here.len() as u64;
            if !here.is_subset(&files) || (!site.was_restored && !theirs.is_subset(&here)) {
                return Err(format!("{} wants {here:?}, live are {files:?}", site.identity.name));
            }
        }
    }
    Ok(wanted)
}
