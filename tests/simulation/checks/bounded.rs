//! The replica's memory stays bounded: what waits, and whom it remembers.

use super::Fault;
use crate::world::World;

/// Spaces that a site asks for without holding them.
const STRANGE_SPACES_MAX: usize = 64;

pub fn check(world: &World) -> Result<(), Fault> {
    for site in world.sites.iter().filter(|site| site.is_up()) {
        let mind = site.mind();
        if mind.parked() > 4096 || mind.parked_bytes() > 8 * 1024 * 1024 {
            return Err(format!("{} has {} segments parked", site.identity.name, mind.parked()));
        }
        if mind.peers().len() > world.sites.len() {
            return Err(format!("{} remembers {} peers", site.identity.name, mind.peers().len()));
        }
        // Beside Trust, which it asks for before it holds any of it.
        let held = mind.spaces().count();
        if mind.wishes() > held + STRANGE_SPACES_MAX {
            return Err(format!("{} waits for {} spaces and holds {held}", site.identity.name, mind.wishes()));
        }
        if let Some((peer, told)) = mind.peers().iter().find(|(_, told)| told.heads.len() > held + 1) {
            return Err(format!("{} remembers {} spaces of {}", site.identity.name, told.heads.len(), peer.short()));
        }
    }
    Ok(())
}
