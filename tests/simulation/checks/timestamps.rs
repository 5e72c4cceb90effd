//! A write that had seen another beats it, whatever the clocks showed: it is later, and the two never live side by side.

use std::collections::BTreeSet;

use artimesh_core::model::{Dot, NodeId};

use super::agreement::may_change;
use super::{Fault, oracle};
use crate::acts::OPERATOR;
use crate::site::Site;
use crate::truth::Entry;
use crate::world::World;

/// Looks at what each site has applied, and at what lives there. What a thief wrote keeps no rule but the log's; of
/// a life that was lived twice numbers may mean something else than what was seen, and what its author then writes again
/// stands where it stood.
pub fn check(world: &World) -> Result<(), Fault> {
    let is_stolen = |node: &NodeId| world.number(node).is_some_and(|number| world.sites[number].stolen);
    for site in world.sites.iter().filter(|site| site.is_up()) {
        for (space, heads, _) in site.mind().spaces().filter(|(_, _, federation)| federation.is_some()) {
            if may_change(world, site.mind(), space) {
                continue;
            }
            let known = world.truth.known(space, heads);
            let forked = world.truth.forked.iter().filter(|(other, _)| other == space);
            // Who left words of its own, which had seen what nobody has any more, writes them again, too.
            let left = world.sites.iter().flat_map(Site::left_own).map(|first| first.incarnation.node);
            let twice: BTreeSet<NodeId> = forked.map(|(_, life)| life.node).chain(left).collect();
            let is_once = |dot: &Dot| !twice.contains(&dot.incarnation.node);
            let is_plain = |dot: &Dot| is_once(dot) && !is_stolen(&dot.incarnation.node);
            // What a repository brings along into a federation stands beside what is there.
            let is_brought = |dot: &Dot| {
                let put = known.get(dot).and_then(|entry| entry.put());
                put.is_some_and(|put| put.modified_by == OPERATOR)
            };
            for (dot, entry) in known.iter().filter(|(dot, _)| is_plain(dot)) {
                let (Some(put), Some((_, kills))) = (entry.put(), entry.kills()) else { continue };
                let kills = kills.iter().filter(|killed| is_once(killed));
                for killed in kills.filter_map(|killed| known.get(killed)?.put()) {
                    if put.timestamp <= killed.timestamp && killed.timestamp.0 < u64::MAX {
                        return Err(format!("{dot:?} replaces {killed:?} and is not later"));
                    }
                }
            }
            for (path, versions) in oracle::catalog(&site.disk, space) {
                let pairs = versions.iter().flat_map(|a| versions.iter().map(move |b| (a.dot, b.dot)));
                for (later, earlier) in pairs.filter(|(a, b)| a != b && is_plain(a) && is_once(b) && !is_brought(a)) {
                    // What a branch had ended that was taken back lives again beside what was put in its place.
                    let ended_twice = |(dot, entry): (&Dot, &Entry)| !is_once(dot) && entry.ends(&path, &earlier);
                    if world.truth.all(space).any(ended_twice) {
                        continue;
                    }
                    if known.get(&later).is_some_and(|entry| entry.saw(&later, &earlier)) {
                        let name = &site.identity.name;
                        return Err(format!("{later:?} had seen {earlier:?}, and both live at {path} of {name}"));
                    }
                }
            }
        }
    }
    Ok(())
}
