//! Equal heads mean equal states, always; and in the end all members in good standing have equal heads.

use artimesh_core::model::{Incarnation, NodeId, Space};
use artimesh_core::trust::Role;

use super::Fault;
use crate::world::World;

/// At any time, between any two sites that are up.
pub fn check_digests(world: &World) -> Result<u64, Fault> {
    let up: Vec<usize> = (0..world.sites.len()).filter(|site| world.sites[*site].is_up()).collect();
    let mut compared = 0;
    for (index, a) in up.iter().enumerate() {
        for b in &up[index + 1..] {
            let (mine, theirs) = (world.sites[*a].mind(), world.sites[*b].mind());
            for (space, heads, _) in mine.spaces() {
                if heads.0.is_empty() || *heads != theirs.heads(space) {
                    continue;
                }
                compared += 1;
                if world.digest(*a, space) != world.digest(*b, space) {
                    return Err(format!("sites {a} and {b} have equal heads in {space} and different states"));
                }
            }
        }
    }
    Ok(compared)
}

/// The sites in good standing, as the founder (whom nobody outranks) sees it.
pub fn good_sites(world: &World) -> Vec<usize> {
    let trust = world.sites[0].mind().trust().expect("the founder has a circle");
    let good = |site: &usize| world.sites[*site].is_up() && trust.good(&world.node(*site)).is_some();
    (0..world.sites.len()).filter(good).collect()
}

/// After healing: says what still differs.
pub fn check_heads(world: &World) -> Result<(), Fault> {
    let good = good_sites(world);
    let trust = world.sites[0].mind().trust().expect("the founder has a circle");
    let spaces: Vec<Space> = world.truth.entries.keys().copied().collect();
    // An edge that alone heard the last words of a revoked author keeps them until its state is replaced whole.
    let sealed: Vec<NodeId> = trust.sealed_nodes().copied().collect();
    for space in spaces {
        let mut first: Option<(usize, Vec<(Incarnation, artimesh_core::model::Head)>, _)> = None;
        for site in good.iter().copied().filter(|site| belongs(world, *site, &space)) {
            let heads = world.sites[site].mind().heads(&space);
            let is_edge = trust.good(&world.node(site)).is_some_and(|member| member.role() == Role::Edge);
            let differs_by_right = is_edge && heads.0.keys().any(|i| sealed.contains(&i.node));
            if differs_by_right {
                continue;
            }
            let found = (site, heads.0.into_iter().collect::<Vec<_>>(), world.digest(site, &space));
            match &first {
                None => first = Some(found),
                Some((other, heads, _)) if *heads != found.1 => {
                    return Err(format!("in {space} site {other} has {heads:?}, site {site} has {:?}", found.1));
                }
                Some((other, _, digest)) if *digest != found.2 => {
                    let seen =
                        [*other, site].map(|site| world.sites[site].mind().federation(&space).map(|f| &f.members));
                    return Err(format!("in {space} sites {other} and {site} have different states; members {seen:?}"));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// Whether a site takes part in a space in the eyes of any member in good standing: as a member, or following.
fn belongs(world: &World, site: usize, space: &Space) -> bool {
    if *space == Space::Trust {
        return true;
    }
    let node = world.node(site);
    let good = good_sites(world);
    let sees = |other: &usize| {
        let mind = world.sites[*other].mind();
        let is_member = mind.federation(space).is_some_and(|federation| federation.is_member(&node));
        let holder_is_member = mind.federation(space).is_some_and(|f| f.is_member(&world.node(*other)));
        holder_is_member
            && (is_member || mind.trust().and_then(|t| t.good(&node)).is_some_and(|m| m.role() == Role::Edge))
    };
    good.iter().any(sees)
}
