//! What happens to a site's machine: power, disks, backups, copies.

use artimesh_core::replica::message::FEATURES;

use crate::disk::Disk;
use crate::history::History;
use crate::world::Mutation;

pub fn crash(history: &mut History) {
    if let Some(site) = history.some_site() {
        history.world.crash(site);
        history.did("crash between inputs");
    }
}

/// Mostly a site runs the newest version; sometimes one that knows fewer kinds of entries.
fn change_version(history: &mut History, site: usize) {
    let before = history.world.sites[site].features;
    let fewer = history.dice.bits() & FEATURES;
    history.world.sites[site].features = if history.dice.once_in(3) { fewer } else { FEATURES };
    let after = history.world.sites[site].features;
    if before & !after != 0 {
        history.did("started with a version that knows less");
    } else if after != before {
        history.did("upgraded");
    }
}

/// Everybody runs the newest version from now on.
pub fn upgrade_all(history: &mut History) {
    for site in &mut history.world.sites {
        if site.features != FEATURES && site.is_up() {
            site.replica = None;
            site.features = FEATURES;
            site.start();
        }
    }
}

/// Starts a site that is down and may come back.
pub fn wake(history: &mut History, site: usize) {
    let it = &history.world.sites[site];
    if !it.is_up() && !it.is_gone() {
        change_version(history, site);
        history.world.restart(site);
        history.did("restart");
    }
}

pub fn restart(history: &mut History) {
    for site in 0..history.world.sites.len() {
        if history.dice.once_in(2) {
            wake(history, site);
        }
    }
    super::links::connect_some(history);
}

/// A site whose rows may be replaced. The first site's word on who is good is what the checkers go by: it stays.
fn some_victim(history: &mut History) -> Option<usize> {
    let site = 1 + history.dice.below(history.world.sites.len() - 1);
    (!history.world.sites[site].is_gone()).then_some(site)
}

/// Starts a site from these rows in place of its own.
fn begin_from(history: &mut History, site: usize, rows: Disk) -> Disk {
    history.world.crash(site);
    let before = std::mem::replace(&mut history.world.sites[site].disk, rows);
    history.world.sites[site].was_restored = true;
    history.graves.forget(site);
    history.world.restart(site);
    before
}

/// Makes a backup, or begins anew from the one that was made.
pub fn copy_or_restore(history: &mut History) {
    let Some(site) = some_victim(history) else { return };
    let Some(mut copy) = history.copies[site].take() else {
        history.copies[site] = Some(history.world.sites[site].disk.clone());
        return;
    };
    let lost = history.world.sites[site].disk != copy;
    if history.world.mutation != Mutation::SameIncarnation {
        copy.forget_incarnation();
    }
    begin_from(history, site, copy);
    if lost {
        history.did_to_a_node("set back to an old copy");
    }
}

/// A clone of a site's folder that knows that it is one; it and the original run by turns, never at once.
pub fn clone_or_swap(history: &mut History) {
    let Some(site) = some_victim(history).filter(|site| history.copied != Some(*site)) else { return };
    if let Some(clone) = history.clones[site].take() {
        let before = begin_from(history, site, clone);
        history.clones[site] = Some(before);
        history.did_to_a_node("a clone ran in place of the original");
    } else {
        let mut clone = history.world.sites[site].disk.clone();
        clone.forget_incarnation();
        history.clones[site] = Some(clone);
    }
}

/// A copy of a site's folder that doesn't know that it is one runs in place of the original: both write under the same
/// numbers.
pub fn copy_folder(history: &mut History) {
    let Some(site) = history.copied.filter(|site| !history.world.sites[*site].is_gone()) else { return };
    let copy = match history.clones[site].take() {
        Some(copy) => copy,
        None => history.world.sites[site].disk.clone(),
    };
    let is_old = copy != history.world.sites[site].disk;
    let before = begin_from(history, site, copy);
    history.clones[site] = Some(before);
    if is_old {
        history.did_to_a_node("a copied folder ran in place of the original");
    }
}

/// A site loses all of its rows and keeps its keys.
pub fn wipe(history: &mut History) {
    let Some(site) = some_victim(history) else { return };
    if history.world.sites[site].mind_or_none().is_none_or(|mind| mind.circle().is_none()) {
        return;
    }
    let mut empty = Disk::new();
    empty.has_blobs = history.world.sites[site].disk.has_blobs;
    begin_from(history, site, empty);
    history.did_to_a_node("wiped, keys kept");
}

/// A site goes and never comes back; nobody has its key.
pub fn lose(history: &mut History) {
    let Some(site) = some_victim(history) else { return };
    if history.fulls_left() < 4 || !history.dice.once_in(3) || history.edges.contains(&site) {
        return;
    }
    history.world.crash(site);
    history.world.sites[site].lost = true;
    history.did_to_a_node("lost for good");
}
