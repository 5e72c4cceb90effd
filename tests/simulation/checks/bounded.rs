//! The replica's memory stays bounded: what waits, and whom it remembers.

use super::Fault;
use crate::world::World;

pub fn check(world: &World) -> Result<(), Fault> {
    for site in world.sites.iter().filter(|site| site.is_up()) {
        let mind = site.mind();
        if mind.parked() > 4096 || mind.parked_bytes() > 8 * 1024 * 1024 {
            return Err(format!("{} has {} segments parked", site.identity.name, mind.parked()));
        }
        if mind.peers().len() > world.sites.len() {
            return Err(format!("{} remembers {} peers", site.identity.name, mind.peers().len()));
        }
    }
    Ok(())
}
