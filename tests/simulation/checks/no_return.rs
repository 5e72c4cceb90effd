//! Nothing that was deleted comes back: at one site, in one life of its rows, a version that was live and isn't stays dead.

use std::collections::{BTreeMap, BTreeSet};

use artimesh_core::model::{Dot, Space};
use artimesh_core::replica::{Table, rows};

use super::{Fault, oracle};
use crate::world::World;

/// What each site had live when last looked at, and what had died there by then.
#[derive(Clone, Debug, Default)]
pub struct Graves {
    live: BTreeMap<(usize, Space), BTreeSet<Dot>>,
    dead: BTreeMap<(usize, Space), BTreeSet<Dot>>,
    /// How often each site took a branch of a forked log back, with all that it had killed.
    taken_back: BTreeMap<usize, usize>,
}

impl Graves {
    /// A site's rows were replaced by an old copy: what died since may be live again until it hears of it.
    pub fn forget(&mut self, site: usize) {
        self.live.retain(|(other, _), _| *other != site);
        self.dead.retain(|(other, _), _| *other != site);
    }

    pub fn check(&mut self, world: &World) -> Result<(), Fault> {
        for (number, site) in world.sites.iter().enumerate().filter(|(_, site)| site.is_up()) {
            if site.mind().followed_a_member() {
                // Its state was replaced by that of members, who hadn't heard of every death.
                self.forget(number);
                continue;
            }
            // By its rows, for a crash may swallow the note.
            let taken_back = site.disk.table(Table::Log).filter(|(key, _)| key.starts_with(rows::TAKEN_BACK)).count();
            if self.taken_back.insert(number, taken_back).unwrap_or_default() < taken_back {
                self.forget(number);
            }
            for (space, _, federation) in site.mind().spaces() {
                if federation.is_none() {
                    continue;
                }
                let catalog = oracle::catalog(&site.disk, space);
                let all = catalog.values().flatten().map(|version| version.dot);
                // A number that was borne twice may die in one branch and live in the other.
                let is_once = |dot: &Dot| !world.truth.forked.contains(&(*space, dot.incarnation));
                let live: BTreeSet<Dot> = all.filter(is_once).collect();
                let slot = (number, *space);
                let dead = self.dead.entry(slot).or_default();
                dead.extend(self.live.entry(slot).or_default().difference(&live));
                if let Some(dot) = live.intersection(dead).next() {
                    return Err(format!("{dot:?} was dead at {} and is back", site.identity.name));
                }
                self.live.insert(slot, live);
            }
        }
        Ok(())
    }
}
