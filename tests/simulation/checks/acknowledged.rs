//! Nothing that was acknowledged is lost: every such put is shown, a sibling, or was killed by an entry whose author had
//! seen it.

use std::collections::BTreeSet;

use artimesh_core::model::{Dot, Space};

use super::agreement::{good_sites, has_pruned, parted_for_good, parted_unproved};
use super::{Fault, oracle};
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
        if site.is_up() && !site.was_restored && !site.mind().heads(&ack.space).cover(&ack.dot) {
            return Err(format!("{} acknowledged {:?} and has forgotten it", site.identity.name, ack.dot));
        }
    }
    Ok(())
}

/// After healing, every member has it.
pub fn check_everywhere(world: &World, acks: &[Ack]) -> Result<(), Fault> {
    let good = good_sites(world);
    for ack in acks.iter().filter(|ack| good.contains(&ack.site) && !world.sites[ack.site].was_restored) {
        let author = world.node(ack.site);
        for site in &good {
            let mind = world.sites[*site].mind();
            if mind.is_member(&ack.space) && !mind.heads(&ack.space).cover(&ack.dot) {
                return Err(format!("site {site} never got {:?} of {}", ack.dot, author.short()));
            }
        }
    }
    Ok(())
}

/// Whoever has applied it shows it, or a sibling, or has applied what killed it. Says how many were dead somewhere.
pub fn check_fate(world: &World, acks: &[Ack]) -> Result<u64, Fault> {
    let mut dead = 0;
    for site in world.sites.iter().filter(|site| site.is_up()) {
        for (space, heads, _) in site.mind().spaces().filter(|(_, _, federation)| federation.is_some()) {
            if parted_for_good(world, space) || parted_unproved(world, space) {
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
