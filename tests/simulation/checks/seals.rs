//! What members in good standing applied of a revoked author is within the greatest of their seals.

use artimesh_core::trust::Role;

use super::Fault;
use super::agreement::good_sites;
use crate::world::World;

pub fn check(world: &World) -> Result<u64, Fault> {
    let mut sealed_logs = 0;
    for number in good_sites(world) {
        let site = &world.sites[number];
        let trust = site.mind().trust().expect("a member has a circle");
        let full = trust.good(&site.node()).is_some_and(|member| member.role() == Role::Full);
        if !full || site.node() == world.node(number) && trust.is_revoked(&site.node()) {
            continue;
        }
        for target in trust.sealed_nodes() {
            for (space, heads, _) in site.mind().spaces() {
                for (incarnation, head) in heads.0.iter().filter(|(i, _)| i.node == *target) {
                    sealed_logs += 1;
                    if head.sequence > trust.admitted(*space, incarnation) {
                        return Err(format!("{} applied {incarnation:?} beyond its seal", site.identity.name));
                    }
                }
            }
        }
    }
    Ok(sealed_logs)
}
