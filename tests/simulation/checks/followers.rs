//! Followers cannot write: no site ever applied an entry of a node that was never a full member, or of a stranger.

use artimesh_core::trust::Role;

use super::Fault;
use crate::world::World;

pub fn check(world: &World, edges: &[usize]) -> Result<(), Fault> {
    for site in world.sites.iter().filter(|site| site.is_up()) {
        for (space, heads, _) in site.mind().spaces() {
            for incarnation in heads.0.keys() {
                let author = world.number(&incarnation.node);
                let trust = site.mind().trust();
                let is_edge =
                    trust.and_then(|trust| trust.member(&incarnation.node)).map(|m| m.role()) == Some(Role::Edge);
                if author.is_none_or(|author| edges.contains(&author)) || is_edge {
                    return Err(format!("{} applied entries of {incarnation:?} in {space}", site.identity.name));
                }
            }
        }
    }
    Ok(())
}
