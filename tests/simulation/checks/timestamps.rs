//! A write that had seen another beats it, whatever the clocks showed: it is later, and the two never live side by side.

use artimesh_core::model::{Dot, NodeId};

use super::{Fault, oracle};
use crate::world::World;

/// Looks at what was written, and at what lives where. What a thief wrote keeps no rule but the log's.
pub fn check(world: &World) -> Result<(), Fault> {
    let is_stolen = |node: &NodeId| world.number(node).is_some_and(|number| world.sites[number].stolen);
    let is_honest = |dot: &Dot| !is_stolen(&dot.incarnation.node);
    for entries in world.truth.entries.values() {
        for (dot, entry) in entries.iter().filter(|(dot, _)| is_honest(dot)) {
            let (Some(put), Some((_, kills))) = (entry.put(), entry.kills()) else { continue };
            for killed in kills.iter().filter_map(|killed| entries.get(killed)?.put()) {
                if put.timestamp <= killed.timestamp && killed.timestamp.0 < u64::MAX {
                    return Err(format!("{dot:?} replaces {killed:?} and is not later"));
                }
            }
        }
    }
    for site in world.sites.iter().filter(|site| site.is_up()) {
        for (space, _, _) in site.mind().spaces().filter(|(_, _, federation)| federation.is_some()) {
            let entries = &world.truth.entries[space];
            for (path, versions) in oracle::catalog(&site.disk, space) {
                let pairs = versions.iter().flat_map(|a| versions.iter().map(move |b| (a.dot, b.dot)));
                for (later, earlier) in pairs.filter(|(later, earlier)| later != earlier && is_honest(later)) {
                    if entries.get(&later).is_some_and(|entry| entry.saw(&later, &earlier)) {
                        let name = &site.identity.name;
                        return Err(format!("{later:?} had seen {earlier:?}, and both live at {path} of {name}"));
                    }
                }
            }
        }
    }
    Ok(())
}
