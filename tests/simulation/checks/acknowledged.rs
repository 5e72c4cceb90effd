//! Nothing that was acknowledged is lost: every such put is shown, a sibling, or was killed by an entry whose author had
//! seen it.

use std::collections::BTreeSet;

use artimesh_core::catalog::{EditProperties, Put};
use artimesh_core::changelog::Change;
use artimesh_core::model::{ArtifactPath, Dot, Properties, Space};

use super::agreement::{good_sites, has_pruned, parted_for_good, parted_unproved};
use super::{Fault, Rigour, oracle};
use crate::truth::Entry;
use crate::world::World;

/// A put that a site said is done.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    pub site: usize,
    pub space: Space,
    pub dot: Dot,
}

/// The author itself has it, if it is up and was never set back to an old copy.
pub fn check_here(world: &World, acks: &[Ack]) -> Result<(), Fault> {
    for ack in acks {
        let site = &world.sites[ack.site];
        let is_missing = site.is_up() && !site.was_restored && !site.mind().heads(&ack.space).cover(&ack.dot);
        if is_missing && !(has_taken_back(world, ack) && is_written_again(world, ack, Rigour::WithinLimits)) {
            return Err(format!("{} acknowledged {:?} and has forgotten it", site.identity.name, ack.dot));
        }
    }
    Ok(())
}

/// After healing, every member has it, where members can come to the same.
pub fn check_everywhere(world: &World, acks: &[Ack], rigour: Rigour) -> Result<(), Fault> {
    let good = good_sites(world);
    let counts = |ack: &&Ack| {
        good.contains(&ack.site) && !world.sites[ack.site].was_restored && !parted_for_good(world, &ack.space)
    };
    for ack in acks.iter().filter(counts) {
        let author = world.node(ack.site);
        for site in &good {
            let mind = world.sites[*site].mind();
            let is_missing = mind.is_member(&ack.space) && !mind.heads(&ack.space).cover(&ack.dot);
            if is_missing && !(has_taken_back(world, ack) && is_written_again(world, ack, rigour)) {
                return Err(format!("site {site} never got {:?} of {}", ack.dot, author.short()));
            }
        }
    }
    Ok(())
}

/// Whether its author left what it had written there: it had seen what nobody else will ever have.
fn has_taken_back(world: &World, ack: &Ack) -> bool {
    let is_before = |first: Dot| first.incarnation == ack.dot.incarnation && first.sequence <= ack.dot.sequence;
    world.sites[ack.site].left_own().any(is_before)
}

/// Whether its author wrote the same in another life, or had seen it ended; of a delete, whether what it ended is gone, as
/// what the other branch alone had is.
fn is_written_again(world: &World, ack: &Ack, rigour: Rigour) -> bool {
    let mut bearers = world.truth.all(&ack.space).filter(|(dot, entry)| **dot == ack.dot && entry.is_witnessed);
    let is_put = |put: &Put| is_put_again(world, ack, &ack.dot, put, |_| true);
    bearers.any(|(_, written)| match (written.put(), written.edit()) {
        (Some(put), _) => is_put(put),
        (None, Some(edit)) => is_edited_again(world, ack, edit),
        (None, None) if is_not_repeated(written, rigour) => true,
        (None, None) => written.kills().is_some() && is_gone(world, ack, written),
    })
}

/// Whether what was taken back isn't written again in another life: the core's docs say so of settings, of a leave, and of
/// what was deleted by a prefix.
fn is_not_repeated(written: &Entry, rigour: Rigour) -> bool {
    match written.change {
        Some(Change::Configure(_)) => true,
        Some(Change::Leave | Change::DeletePrefix(_)) => rigour == Rigour::WithinLimits,
        _ => false,
    }
}

/// Whether whoever left its life put these bytes there in another, with properties that will do; or had seen them ended.
fn is_put_again(world: &World, ack: &Ack, of: &Dot, put: &Put, will_do: impl Fn(&Properties) -> bool) -> bool {
    let life = ack.dot.incarnation;
    let is_again = |other: &Put| {
        other.path == put.path && other.content.digest == put.content.digest && will_do(&other.content.properties)
    };
    world.truth.all(&ack.space).any(|(dot, entry)| {
        let by_author = dot.incarnation.node == life.node;
        by_author && dot.incarnation != life && entry.put().is_some_and(is_again)
            || by_author && entry.ends(&put.path, of) && entry.saw(dot, of)
    })
}

/// Whether what was edited was put again as the edit, or another of the same names, left it.
fn is_edited_again(world: &World, ack: &Ack, edit: &EditProperties) -> bool {
    let later = |entry: &Entry| {
        entry.edit().is_some_and(|other| other.version == edit.version && other.timestamp > edit.timestamp)
    };
    let is_superseded = || world.truth.all(&ack.space).any(|(_, entry)| later(entry));
    let will_do = |properties: &Properties| {
        is_superseded() || edit.set.iter().all(|(name, values)| properties.as_map().get(name) == values.as_ref())
    };
    let mut edited = world.truth.bearers(&ack.space, &edit.version).filter_map(Entry::put);
    edited.any(|put| is_put_again(world, ack, &edit.version, put, will_do))
}

fn is_gone(world: &World, ack: &Ack, delete: &Entry) -> bool {
    let catalog = oracle::catalog(&world.sites[ack.site].disk, &ack.space);
    let is_live = |(path, ended): (&ArtifactPath, &[Dot])| {
        catalog.get(path).is_some_and(|versions| versions.iter().any(|version| ended.contains(&version.dot)))
    };
    !delete.kills().is_some_and(is_live)
}

/// Whoever has applied it shows it, or a sibling, or has applied what killed it. Says how many were dead somewhere.
pub fn check_fate(world: &World, acks: &[Ack]) -> Result<u64, Fault> {
    let mut dead = 0;
    for site in world.sites.iter().filter(|site| site.is_up()) {
        for (space, heads, _) in site.mind().spaces().filter(|(_, _, federation)| federation.is_some()) {
            // Who was shut out in the middle of taking over a state stays there.
            let is_between = site.mind().is_merging(space);
            if is_between || parted_for_good(world, space) || parted_unproved(world, space) {
                continue;
            }
            let catalog = oracle::catalog(&site.disk, space);
            let live: BTreeSet<Dot> = catalog.values().flatten().map(|version| version.dot).collect();
            let known = world.truth.known(space, heads);
            let mine = acks.iter().filter(|ack| ack.space == *space && heads.cover(&ack.dot));
            for ack in mine.filter(|ack| !live.contains(&ack.dot)) {
                let Some(put) = known.get(&ack.dot).and_then(|entry| entry.put()) else { continue };
                let fell = |(by, entry): (&Dot, &&Entry)| entry.ends(&put.path, &ack.dot) && entry.saw(by, &ack.dot);
                let by_lost =
                    || has_pruned(world, space) && world.truth.touched_by_lost(space, heads).contains(&ack.dot);
                if !known.iter().any(fell) && !by_lost() {
                    return Err(format!("{} lost {:?}, and nobody killed it", site.identity.name, ack.dot));
                }
                dead += 1;
            }
        }
    }
    Ok(dead)
}

/// No entry that was applied anywhere kills what its author hadn't seen.
pub fn check_kills(world: &World) -> Result<(), Fault> {
    for site in world.sites.iter().filter(|site| site.is_up()) {
        for (space, heads, _) in site.mind().spaces() {
            for (dot, entry) in world.truth.known(space, heads) {
                let unseen = entry.kills().and_then(|(_, kills)| kills.iter().find(|killed| !entry.saw(&dot, killed)));
                if let Some(unseen) = unseen {
                    return Err(format!("{dot:?} was applied, and kills {unseen:?}, which its author had not seen"));
                }
            }
        }
    }
    Ok(())
}
