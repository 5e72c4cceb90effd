//! Equal heads mean equal states, always; and in the end all members in good standing have equal heads.

use std::collections::{BTreeMap, BTreeSet};

use artimesh_core::catalog::{Membership, Version};
use artimesh_core::changelog::Change;
use artimesh_core::model::{ArtifactPath, Digest, Dot, Heads, Incarnation, NodeId, Space};
use artimesh_core::replica::{Event, Replica};
use artimesh_core::trust::{Role, State as Trust};

use super::{Fault, Rigour, oracle};
use crate::site::Site;
use crate::truth::Entry;
use crate::world::World;

/// What is live at each path.
type Catalog = BTreeMap<ArtifactPath, Vec<Version>>;

/// Whether a state is just being taken over, or was shown by a liar who may still be found out.
pub fn may_change(world: &World, mind: &Replica, space: &Space) -> bool {
    let is_told = || mind.is_on_trial(space) || !mind.is_member(space) && are_members_on_trial(world, space);
    mind.is_merging(space) || was_deceived(world) && is_told()
}

/// Whether a liar offered what was dead as if it were live.
fn was_deceived(world: &World) -> bool {
    world.twisted.contains_key("dead items offered")
}

/// Whether no member that is up has a state of its own: who follows them can't know better than they do.
fn are_members_on_trial(world: &World, space: &Space) -> bool {
    let minds = world.sites.iter().filter_map(Site::mind_or_none);
    minds.filter(|mind| mind.is_member(space)).all(|mind| mind.is_on_trial(space))
}

/// At any time, between any two sites that are up.
pub fn check_digests(world: &World) -> Result<u64, Fault> {
    let up: Vec<usize> = (0..world.sites.len()).filter(|site| world.sites[*site].is_up()).collect();
    let mut compared = 0;
    for (index, a) in up.iter().enumerate() {
        for b in &up[index + 1..] {
            let (mine, theirs) = (world.sites[*a].mind(), world.sites[*b].mind());
            for (space, heads, _) in mine.spaces() {
                let is_between = may_change(world, mine, space) || may_change(world, theirs, space);
                let differs = heads.0.is_empty() || *heads != theirs.heads(space);
                if differs || is_between || parted_for_good(world, space) {
                    continue;
                }
                compared += 1;
                if world.digest(*a, space) != world.digest(*b, space) && !agree_on_who_is_in(world, space, [*a, *b]) {
                    return Err(format!("sites {a} and {b} have equal heads in {space} and different states"));
                }
            }
        }
    }
    Ok(compared)
}

/// Whether a log parted here in a way that members are known not to come together again: its author accepted an invitation in
/// both branches. Whoever applied what was built on the one that is taken back keeps it, and others refuse it, for its author
/// was no member then.
pub fn parted_for_good(world: &World, space: &Space) -> bool {
    let accepts = |(dot, entry): (&Dot, &Entry)| {
        world.truth.forked.contains(&(*space, dot.incarnation)) && matches!(entry.change, Some(Change::Accept(_)))
    };
    let accepted_twice =
        || world.truth.all(space).filter(|(dot, _)| dot.sequence == 1).filter(|e| accepts(*e)).count() > 1;
    !world.truth.forked.is_empty() && accepted_twice()
}

/// Whether a log parted here and nobody can prove it: the two segments that follow one are gone from the logs of all who are
/// up, which prune after seconds in a history, not after a month. Members agree all the same; but who takes over a state then
/// mixes the two branches, and what all entries of one of them make of a path isn't what they agree on.
pub fn parted_unproved(world: &World, space: &Space) -> bool {
    let minds = || world.sites.iter().filter_map(Site::mind_or_none);
    let is_proved =
        |life: &Incarnation| minds().any(|mind| mind.forks().any(|(of, whose, ..)| of == space && whose == life));
    world.truth.forked.iter().any(|(of, life)| of == space && !is_proved(life)) && has_pruned(world, space)
}

/// Whether any site has pruned its logs of a space.
pub fn has_pruned(world: &World, space: &Space) -> bool {
    let is_of = |note: &Event| matches!(note, Event::Pruned { space: of, .. } if of == space);
    world.sites.iter().any(|site| site.notes.iter().any(is_of))
}

/// The sites in good standing, as the founder (whom nobody outranks) sees it.
pub fn good_sites(world: &World) -> Vec<usize> {
    let trust = world.sites[0].mind().trust().expect("the founder has a circle");
    let good = |site: &usize| world.sites[*site].is_up() && trust.good(&world.node(*site)).is_some();
    (0..world.sites.len()).filter(good).collect()
}

/// After healing: says what still differs.
pub fn check_heads(world: &World, rigour: Rigour) -> Result<(), Fault> {
    let trust = world.sites[0].mind().trust().expect("the founder has a circle");
    let is_edge = |site: &usize| trust.good(&world.node(*site)).is_some_and(|member| member.role() == Role::Edge);
    let (edges, members): (Vec<usize>, Vec<usize>) = good_sites(world).into_iter().partition(is_edge);
    let spaces: Vec<Space> = world.truth.spaces().copied().collect();
    for space in spaces.into_iter().filter(|space| !parted_for_good(world, space)) {
        let mut first: Option<(usize, Heads, Digest)> = None;
        for site in members.iter().chain(&edges).copied().filter(|site| belongs(world, *site, &space)) {
            let (heads, digest) = (world.sites[site].mind().heads(&space), world.digest(site, &space));
            match &first {
                None => first = Some((site, heads, digest)),
                Some((other, theirs, _)) if *theirs != heads => {
                    if !edges.contains(&site) || !knows_only_more(world, trust, &space, &heads, theirs) {
                        return Err(format!(
                            "in {space} site {other} has {:?}, site {site} has {:?}",
                            theirs.0, heads.0
                        ));
                    }
                }
                Some((other, _, theirs)) if *theirs != digest => {
                    let catalogs = [*other, site].map(|site| oracle::catalog(&world.sites[site].disk, &space));
                    let sites = [*other, site];
                    let is_limit =
                        || keeps_the_dead(world, &space, sites, &catalogs) || agree_on_who_is_in(world, &space, sites);
                    if keeps_ended(world, &space, sites, &catalogs) || rigour == Rigour::WithinLimits && is_limit() {
                        continue;
                    }
                    let paths: BTreeSet<&ArtifactPath> = catalogs.iter().flat_map(|catalog| catalog.keys()).collect();
                    let differ = paths.into_iter().filter(|path| catalogs[0].get(path) != catalogs[1].get(path));
                    let dots = |path: &ArtifactPath, of: usize| {
                        let versions = catalogs[of].get(path).into_iter().flatten();
                        versions.map(|version| (version.dot, version.edits.iter().count())).collect::<Vec<_>>()
                    };
                    let seen: Vec<_> = differ.map(|path| (path, dots(path, 0), dots(path, 1))).collect();
                    let federations = [*other, site].map(|site| world.sites[site].mind().federation(&space));
                    let federations = if federations[0] == federations[1] { [None, None] } else { federations };
                    return Err(format!(
                        "in {space} sites {other} and {site} have different states: {seen:?} {federations:?}"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// Whether two sites differ in nothing but versions that a life lived twice had ended in one branch, and whoever lacks them
/// is on trial: where nobody can prove the fork any more, who knows of such an end from that branch keeps it, though the
/// state that it then took over has the other.
fn keeps_ended(world: &World, space: &Space, sites: [usize; 2], catalogs: &[Catalog; 2]) -> bool {
    let ended_in_a_branch = |path: &ArtifactPath, dot: &Dot| {
        let is_forked = |by: &Dot| world.truth.forked.contains(&(*space, by.incarnation));
        world.truth.all(space).any(|(by, entry)| is_forked(by) && entry.ends(path, dot))
    };
    let is_excused = |lacking: usize, having: usize| {
        lacked(&catalogs[lacking], &catalogs[having]).all(|(path, version)| {
            world.sites[sites[lacking]].mind().is_on_trial(space) && ended_in_a_branch(path, &version.dot)
        })
    };
    parted_unproved(world, space) && is_excused(0, 1) && is_excused(1, 0)
}

/// Whether two sites differ in nothing but what a liar showed one of them among what is live, and that one is still on trial:
/// who knows of the end doesn't believe it, and it believes nobody who is on trial, too, and has a greater name.
fn keeps_the_dead(world: &World, space: &Space, sites: [usize; 2], catalogs: &[Catalog; 2]) -> bool {
    let is_dead = |path: &ArtifactPath, dot: &Dot| world.truth.all(space).any(|(_, entry)| entry.ends(path, dot));
    let is_excused = |lacking: usize, having: usize| {
        lacked(&catalogs[lacking], &catalogs[having])
            .all(|(path, version)| world.sites[sites[having]].mind().is_on_trial(space) && is_dead(path, &version.dot))
    };
    was_deceived(world) && is_excused(0, 1) && is_excused(1, 0)
}

/// Whether two sites show the same, and know the same of a federation but for this: one heard an acceptance of a life lived twice after the
/// removal that ended it, for its author had taken it back in between, and doesn't count it as ended. Who is in is the same.
pub fn agree_on_who_is_in(world: &World, space: &Space, sites: [usize; 2]) -> bool {
    let is_forked = |dot: &Dot| world.truth.forked.contains(&(*space, dot.incarnation));
    let known = |site: usize| {
        let mut federation = world.sites[site].mind().federation(space)?.clone();
        let accepted = |membership: &Membership| membership.accepted().map(|(dot, _)| *dot);
        let in_force: Vec<Option<Dot>> = federation.members.values().map(accepted).collect();
        for membership in federation.members.values_mut() {
            membership.left.retain(|dot, _| !is_forked(dot));
        }
        Some((in_force, federation))
    };
    let [one, other] = sites.map(|site| oracle::catalog(&world.sites[site].disk, space));
    known(sites[0]) == known(sites[1]) && one == other
}

/// The versions that one has and the other hasn't.
fn lacked<'a>(lacking: &'a Catalog, having: &'a Catalog) -> impl Iterator<Item = (&'a ArtifactPath, &'a Version)> {
    let all = having.iter().flat_map(|(path, versions)| versions.iter().map(move |version| (path, version)));
    all.filter(|(path, version)| !lacking.get(*path).is_some_and(|there| there.contains(version)))
}

/// Whether an edge has all of a federation that members have, and beyond that only the last words of revoked authors,
/// which it alone heard and keeps until its state is replaced whole; and what authors built on those that are gone for
/// good or forgot it with their rows, before they stated what they had applied.
fn knows_only_more(world: &World, trust: &Trust, space: &Space, edge: &Heads, members: &Heads) -> bool {
    // Of a life that was lived twice members admit what one of them has, as of a revoked author's.
    let forked = good_sites(world).into_iter().flat_map(|site| world.sites[site].mind().forks());
    let forked = forked.map(|(_, life, ..)| life.node);
    let sealed: Vec<NodeId> = trust.sealed_nodes().copied().chain(forked).collect();
    let forgot = |site: &Site| !site.is_up() || site.was_restored;
    let is_lost = |node: &NodeId| world.number(node).is_some_and(|site| forgot(&world.sites[site]));
    let (mut last_words, mut built_on) = (false, false);
    for incarnation in edge.0.keys().chain(members.0.keys()) {
        let (more, less) = (edge.of(incarnation), members.of(incarnation));
        match more.sequence > less.sequence {
            true if sealed.contains(&incarnation.node) => last_words = true,
            true if is_lost(&incarnation.node) => built_on = true,
            false if more == less => {}
            _ => return false,
        }
    }
    // What they built on may be of Trust, too, which the edge has given up since.
    *space != Space::Trust && (last_words || !built_on || !sealed.is_empty())
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
        // It may know of its own leave what its log doesn't say.
        let is_member = if *other == site { mind.is_member(space) } else { is_member };
        mind.is_member(space)
            && (is_member || mind.trust().and_then(|t| t.good(&node)).is_some_and(|m| m.role() == Role::Edge))
    };
    good.iter().any(sees)
}
