//! Every acknowledged put is shown, a sibling, or was killed by an entry whose author had seen it.

use artimesh_core::model::{Dot, Space};

use super::Fault;
use super::agreement::good_sites;
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

/// After healing, every member has it: that it is then live or rightly dead is the oracle's business.
pub fn check_everywhere(world: &World, acks: &[Ack]) -> Result<(), Fault> {
    let good = good_sites(world);
    for ack in acks.iter().filter(|ack| good.contains(&ack.site) && !world.sites[ack.site].was_restored) {
        let author = world.node(ack.site);
        for site in &good {
            let mind = world.sites[*site].mind();
            let member = mind.federation(&ack.space).is_some_and(|f| f.is_member(&world.node(*site)));
            if member && !mind.heads(&ack.space).cover(&ack.dot) {
                return Err(format!("site {site} never got {:?} of {}", ack.dot, author.short()));
            }
        }
    }
    Ok(())
}
