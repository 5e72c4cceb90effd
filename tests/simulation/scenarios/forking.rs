//! Lives lived twice: proved, told, fenced; and every member comes to the same state.

use artimesh_core::changelog::{Change, Claim, ForkProof};
use artimesh_core::model::{Digest, Incarnation};
use artimesh_core::replica::message::Message;
use artimesh_core::replica::{Command, Event, Input, Retention};

use super::curating::{delete_under, shown};
use super::refusing::{circle, forgery, lie};
use super::writing::federated;
use crate::forge::frame;
use crate::world::{World, create, delete, path, put, repo};

/// Sets one property of what is shown at a path.
pub(super) fn properties(at: &str, name: &str, value: &str) -> Command {
    let set = [(name.to_owned(), Some(vec![value.to_owned()]))].into();
    Command::SetProperties { key: repo("libs"), path: path(at), set, by: "tester".into() }
}

pub(super) fn rounds(world: &mut World) {
    for dice in 0..8 {
        world.connect_all();
        world.settle();
        world.round(dice);
    }
}

fn cut(world: &mut World, one: usize, other: usize) {
    world.network.cut(one, other);
    world.disconnect(one, other);
}

/// The second site's rows are copied; what it writes then reaches the first site alone, and what its copy writes reaches
/// the third alone. Then all meet. Returns the life that was lived twice.
fn forked(first: impl Fn(&mut World), second: impl Fn(&mut World)) -> (World, Incarnation) {
    forked_after(|_| {}, first, second)
}

/// The same, in a federation where something happened before.
pub(super) fn forked_after(
    before: impl Fn(&mut World),
    first: impl Fn(&mut World),
    second: impl Fn(&mut World),
) -> (World, Incarnation) {
    let mut world = federated();
    before(&mut world);
    world.network.gossip_is_off = true;
    let life = world.sites[1].mind().incarnation();
    let copy = world.sites[1].disk.clone();
    for (one, other) in [(1, 2), (1, 3), (0, 2), (0, 3)] {
        cut(&mut world, one, other);
    }
    first(&mut world);
    world.settle();
    world.round(1);
    world.crash(1);
    world.sites[1].disk = copy;
    world.restart(1);
    world.network.mend();
    for (one, other) in [(0, 1), (0, 2), (0, 3)] {
        cut(&mut world, one, other);
    }
    world.connect_all();
    second(&mut world);
    world.settle();
    world.round(2);
    world.network.mend();
    (world, life)
}

pub(super) fn agree(world: &World) {
    let space = world.space(0, "libs");
    let (heads, digest) = (world.sites[0].mind().heads(&space), world.digest(0, &space));
    for site in 1..4 {
        assert_eq!(world.sites[site].mind().heads(&space), heads, "heads at site {site}");
        assert_eq!(world.digest(site, &space), digest, "state at site {site}");
    }
}

fn is_forked(world: &World, life: Incarnation) {
    for site in &world.sites {
        let forks: Vec<_> = site.mind().forks().collect();
        let [(_, whose, _, repaired)] = forks[..] else { panic!("{} knows {forks:?}", site.identity.name) };
        assert_eq!(*whose, life);
        assert!(repaired, "the author said so in its new life");
        assert!(
            site.notes.iter().any(|note| matches!(note, Event::Forked { incarnation, .. } if *incarnation == life))
        );
    }
    assert_ne!(world.sites[1].mind().incarnation(), life);
}

#[test]
fn members_that_applied_different_branches_agree_in_the_end_whichever_wins() {
    let mut won = [0, 0];
    for what in ["a", "b", "c", "d", "e", "f"] {
        let (mut world, life) = forked(
            |world| drop(world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put")),
            |world| drop(world.ask(1, put("libs", "y", &format!("{what} two"))).expect("put")),
        );
        rounds(&mut world);
        agree(&world);
        is_forked(&world, life);
        // What the author still has it writes again; the other branch is set aside if it lost.
        assert_eq!(world.versions(2, "libs", "y"), vec![Digest::of(format!("{what} two").as_bytes())]);
        won[usize::from(world.versions(0, "libs", "x").is_empty())] += 1;
        world.ask(1, put("libs", "x", "in a new life")).expect("writes on");
        rounds(&mut world);
        agree(&world);
    }
    assert!(won[0] > 0 && won[1] > 0, "{won:?}");
}

/// The second site puts two things, and the first replaces one and deletes the other.
fn build_on_the_first(world: &mut World, what: &str) {
    world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put");
    world.ask(1, put("libs", "z", &format!("{what} z"))).expect("put");
    world.settle();
    world.round(5);
    world.ask(0, put("libs", "x", "built on it")).expect("put");
    world.ask(0, delete("libs", "z")).expect("delete");
}

/// The second site's copy puts one of them, and the third deletes that.
fn build_on_the_second(world: &mut World, what: &str) {
    world.ask(1, put("libs", "x", &format!("{what} two"))).expect("put");
    world.settle();
    world.round(5);
    world.ask(2, put("libs", "w", "built on that")).expect("put");
    world.ask(2, delete("libs", "x")).expect("delete");
}

fn stays_what_was_built(world: &World) {
    assert!(world.versions(1, "libs", "x").contains(&Digest::of(b"built on it")));
    assert_eq!(world.versions(0, "libs", "w"), vec![Digest::of(b"built on that")]);
}

#[test]
fn what_others_built_on_either_branch_stays() {
    for what in ["a", "b", "c", "d", "e", "f"] {
        let (mut world, life) =
            forked(|world| build_on_the_first(world, what), |world| build_on_the_second(world, what));
        rounds(&mut world);
        agree(&world);
        is_forked(&world, life);
        stays_what_was_built(&world);
    }
}

#[test]
fn what_was_replaced_on_one_branch_is_dead_on_the_other_though_that_had_seen_more() {
    for what in ["a", "b", "c", "d", "e", "f"] {
        let (mut world, life) = forked(
            |world| {
                world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put");
                world.settle();
                world.round(5);
                world.ask(0, put("libs", "x", "built on it")).expect("put");
            },
            |world| {
                for number in 0..9 {
                    world.ask(2, put("libs", "w", &number.to_string())).expect("put");
                }
                world.round(6);
                world.ask(1, put("libs", "x", &format!("{what} two"))).expect("put");
            },
        );
        rounds(&mut world);
        agree(&world);
        is_forked(&world, life);
    }
}

#[test]
fn a_delete_on_a_losing_branch_is_taken_back_with_it() {
    let path_or_folder = |what: &'static str| [(what, delete("libs", "x")), (what, delete_under("x", 9))];
    for (what, delete) in ["a", "b", "c", "d", "e", "f"].into_iter().flat_map(path_or_folder) {
        let (mut world, life) = forked(
            |world| {
                // A folder with one path in it is deleted by that.
                for at in ["x", "x too"] {
                    world.ask(0, put("libs", at, "kept")).expect("put");
                }
                world.round(3);
                world.ask(1, delete.clone()).expect("delete");
            },
            |world| drop(world.ask(1, put("libs", "y", what)).expect("put")),
        );
        rounds(&mut world);
        agree(&world);
        is_forked(&world, life);
        let compared = |note: &Event| matches!(note, Event::Diverged { .. } | Event::Reconciled { .. });
        for site in [0, 2, 3] {
            assert!(!world.sites[site].notes.iter().any(compared), "logs say all of it at site {site}");
        }
    }
}

#[test]
fn what_is_written_again_has_the_properties_that_it_was_given_since() {
    for what in ["a", "b", "c", "d", "e", "f"] {
        let (mut world, life) = forked(
            |world| {
                world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put");
                world.ask(1, properties("x", "arch", "arm")).expect("edit");
            },
            |world| {
                world.ask(1, put("libs", "y", &format!("{what} two"))).expect("put");
                world.ask(1, properties("y", "arch", "arm")).expect("edit");
            },
        );
        rounds(&mut world);
        agree(&world);
        is_forked(&world, life);
        // What of the first branch is lost its author's copy never had.
        let y = shown(&world, 0, "y").expect("written again, if it was of the branch that lost");
        assert_eq!(y.properties().as_map().get("arch"), Some(&vec!["arm".to_owned()]));
    }
}

#[test]
fn branches_that_part_long_ago_in_segments_of_different_sizes_are_found() {
    let (mut world, life) = forked(
        |world| {
            for number in 0..200 {
                world.ask(1, put("libs", &format!("x{number}"), "one")).expect("put");
            }
        },
        |world| {
            let commands = (0..200).map(|n| (90_000 + n, put("libs", &format!("y{n}"), "two"))).collect();
            world.handle(1, Input::Local(commands), None);
        },
    );
    rounds(&mut world);
    agree(&world);
    is_forked(&world, life);
}

#[test]
fn a_branch_that_ends_within_a_segment_of_the_other_is_found() {
    let (mut world, life) = forked(
        |world| {
            let commands = (0..2).map(|n| (90_000 + n, put("libs", &format!("x{n}"), "one"))).collect();
            world.handle(1, Input::Local(commands), None);
            world.ask(1, put("libs", "x", "one")).expect("put");
        },
        |world| drop(world.ask(1, put("libs", "y", "two")).expect("put")),
    );
    // The author never says which of the two it is: members find it out among themselves.
    for other in [0, 2, 3] {
        cut(&mut world, 1, other);
    }
    rounds(&mut world);
    let space = world.space(0, "libs");
    assert_eq!(world.sites[0].mind().heads(&space), world.sites[2].mind().heads(&space));
    assert_eq!(world.digest(0, &space), world.digest(2, &space));
    world.network.mend();
    rounds(&mut world);
    agree(&world);
    is_forked(&world, life);
}

#[test]
fn the_fence_lets_nothing_more_of_a_forked_life_in() {
    let (mut world, life) = forked(
        |world| drop(world.ask(1, put("libs", "x", "one")).expect("put")),
        |world| drop(world.ask(1, put("libs", "y", "two")).expect("put")),
    );
    rounds(&mut world);
    let space = world.space(0, "libs");
    let heads = world.sites[0].mind().heads(&space);
    let mut more = forgery(&world, 1, space);
    (more.incarnation, more.after) = (life, heads.of(&life));
    let more = more.says(&lie("x", Vec::new())).signed(&world.sites[1], &circle(&world));
    world.handle(0, Input::Frame(world.node(1), frame(space, &[more.bytes()])), None);
    assert_eq!(world.sites[0].mind().heads(&space), heads);
    rounds(&mut world);
    agree(&world);
    assert_eq!(world.sites[0].mind().heads(&space), heads);
}

#[test]
fn a_restart_remembers_proofs() {
    let (mut world, life) = forked(
        |world| drop(world.ask(1, put("libs", "x", "one")).expect("put")),
        |world| drop(world.ask(1, put("libs", "y", "two")).expect("put")),
    );
    rounds(&mut world);
    for site in 0..4 {
        world.crash(site);
        world.restart(site);
    }
    rounds(&mut world);
    agree(&world);
    is_forked(&world, life);
}

#[test]
fn what_proves_nothing_changes_nothing() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let one = forgery(&world, 1, space).says(&lie("x", Vec::new()));
    let two = forgery(&world, 1, space).says(&lie("y", Vec::new()));
    let signed = |world: &World, by: usize| {
        forgery(world, 1, space).says(&Change::Leave).signed(&world.sites[by], &circle(world))
    };
    let (one, two) = (one.signed(&world.sites[1], &circle(&world)), two.signed(&world.sites[1], &circle(&world)));
    let foreign = signed(&world, 2);
    let claims: [(Claim, Claim); 3] =
        [(one.claim(), one.claim()), (one.claim(), foreign.claim()), (foreign.claim(), two.claim())];
    for (winner, loser) in claims {
        let rows = world.sites[0].disk.clone();
        for proof in
            [ForkProof { winner: winner.clone(), loser: loser.clone() }, ForkProof { winner: loser, loser: winner }]
        {
            world.handle(0, Input::Frame(world.node(2), Message::Fork(proof).to_bytes()), None);
            assert!(rows == world.sites[0].disk, "rows were written");
        }
    }
    let proof = ForkProof::of(one.claim(), two.claim()).expect("two successors");
    world.handle(0, Input::Frame(world.node(2), Message::Fork(proof).to_bytes()), None);
    assert_eq!(world.sites[0].mind().forks().count(), 1, "this one is a proof, whoever brings it");
}

/// Something happened, and logs aren't whole any more: what else made of a path what it is can't be told from them.
pub(super) fn pruned(world: &mut World) {
    for number in 0..20 {
        world.ask(0, put("libs", "old", &number.to_string())).expect("put");
    }
    world.ask(2, put("libs", "kept", "kept")).expect("put");
    world.settle();
    world.ask(0, put("libs", "edited", "edited")).expect("put");
    world.settle();
    for site in 0..world.sites.len() {
        world.sites[site].retention = Retention { whole_ms: 1_000, deletes_ms: 1_000 };
        world.crash(site);
        world.restart(site);
    }
    world.connect_all();
    for dice in 0..30 {
        world.round(dice);
    }
    // From here on everything stays.
    for site in 0..world.sites.len() {
        world.sites[site].retention = Retention::default();
        world.crash(site);
        world.restart(site);
    }
    world.connect_all();
    world.settle();
}

/// All agree, though nobody could apply its log anew; and the branch that went is what some of them took over.
fn agree_by_state(world: &World, life: Incarnation) {
    agree(world);
    is_forked(world, life);
    let took_over = |note: &Event| matches!(note, Event::Reconciled { .. });
    assert!(world.sites.iter().any(|site| site.notes.iter().any(took_over)));
    for site in &world.sites {
        assert!(
            site.mind().followed_a_member() || site.notes.iter().all(|note| !matches!(note, Event::Diverged { .. }))
        );
    }
}

#[test]
fn where_logs_were_pruned_members_take_the_winning_branch_from_a_state() {
    let mut won = [0, 0];
    for what in ["a", "b", "c", "d", "e", "f"] {
        let (mut world, life) = forked_after(
            pruned,
            |world| drop(world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put")),
            |world| drop(world.ask(1, put("libs", "y", &format!("{what} two"))).expect("put")),
        );
        rounds(&mut world);
        agree_by_state(&world, life);
        assert_eq!(world.versions(2, "libs", "y"), vec![Digest::of(format!("{what} two").as_bytes())]);
        won[usize::from(world.versions(0, "libs", "x").is_empty())] += 1;
        world.ask(1, put("libs", "z", "in a new life")).expect("writes on");
        rounds(&mut world);
        agree(&world);
        for site in 0..4 {
            assert_eq!(world.versions(site, "libs", "z").len(), 1, "all else goes on at site {site}");
        }
    }
    assert!(won[0] > 0 && won[1] > 0, "{won:?}");
}

#[test]
fn where_logs_were_pruned_what_a_losing_branch_ended_comes_back() {
    let mut came_back = 0;
    for what in ["a", "b", "c", "d", "e", "f"] {
        let (mut world, life) = forked_after(
            pruned,
            |world| {
                world.ask(1, delete("libs", "kept")).expect("delete");
                world.ask(1, put("libs", "old", "replaced")).expect("put");
                world.ask(1, properties("edited", "arch", "arm")).expect("edit");
            },
            |world| drop(world.ask(1, put("libs", "y", what)).expect("put")),
        );
        rounds(&mut world);
        agree_by_state(&world, life);
        let is_back = !world.versions(0, "libs", "kept").is_empty();
        came_back += usize::from(is_back);
        let old = world.versions(0, "libs", "old");
        assert_eq!(old.contains(&Digest::of(b"19")), is_back, "{old:?}");
    }
    assert!(came_back > 0 && came_back < 6, "{came_back}");
}

#[test]
fn where_logs_were_pruned_what_others_built_on_either_branch_stays() {
    for what in ["a", "b", "c", "d", "e", "f"] {
        let (mut world, life) = forked_after(
            pruned,
            |world| {
                build_on_the_first(world, what);
                world.ask(0, delete("libs", "kept")).expect("delete");
            },
            |world| build_on_the_second(world, what),
        );
        rounds(&mut world);
        agree_by_state(&world, life);
        stays_what_was_built(&world);
        assert!(world.versions(3, "libs", "kept").is_empty(), "a delete that isn't of the branch counts");
    }
}

/// Delivers what there is; every site that is between two states loses its power there, so many times.
fn settle_with_crashes(world: &mut World, crashes: &mut usize) {
    let space = world.space(0, "libs");
    loop {
        let between = (0..4).find(|site| world.sites[*site].mind().is_merging(&space));
        if let (Some(site), true) = (between, *crashes > 0) {
            *crashes -= 1;
            world.crash(site);
            world.restart(site);
            assert!(world.sites[site].mind().is_merging(&space), "it goes on where it was");
            world.continues.insert(site);
        }
        if let Some(site) = world.continues.first().copied() {
            world.go_on(site, None);
        } else if let Some((from, to)) = world.network.busy().first().copied() {
            world.deliver(from, to, None);
        } else {
            return;
        }
    }
}

#[test]
fn a_crash_in_the_middle_of_leaving_a_branch_changes_nothing() {
    for what in ["a", "b", "c", "d"] {
        let (mut world, life) = forked_after(
            pruned,
            |world| {
                world.ask(1, delete("libs", "kept")).expect("delete");
                world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put");
            },
            |world| drop(world.ask(1, put("libs", "y", &format!("{what} two"))).expect("put")),
        );
        let mut crashes = 6;
        for dice in 0..10 {
            world.connect_all();
            settle_with_crashes(&mut world, &mut crashes);
            world.now += 15_000;
            for site in 0..4 {
                world.handle(site, Input::Tick { dice: dice + site as u64, round: true }, None);
            }
            settle_with_crashes(&mut world, &mut crashes);
        }
        rounds(&mut world);
        assert!(crashes < 6, "nobody was ever between two states");
        agree_by_state(&world, life);
    }
}

/// Alice ends what carol put, bob is lived twice, and dave knows of that and of one branch by alice's state alone.
fn known_by_a_state(what: &str) -> (World, Incarnation) {
    let mut world = World::circle(4, 0);
    let invite = [1, 2, 3].map(|site| world.node(site)).to_vec();
    world.ask(0, create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    world.ask(2, put("libs", "kept", "kept")).expect("put");
    world.settle();
    world.round(2);
    world.network.gossip_is_off = true;
    let (life, copy) = (world.sites[1].mind().incarnation(), world.sites[1].disk.clone());
    world.crash(2);
    world.crash(3);
    world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put");
    world.settle();
    world.round(3);
    world.ask(0, delete("libs", "kept")).expect("delete");
    world.crash(1);
    world.sites[0].retention = Retention { whole_ms: 1_000, deletes_ms: 1_000 };
    world.crash(0);
    world.restart(0);
    for dice in 0..30 {
        world.round(dice);
    }
    world.restart(3);
    for dice in 0..6 {
        world.connect(0, 3);
        world.round(dice);
    }
    assert!(world.versions(3, "libs", "kept").is_empty());
    world.crash(0);
    world.crash(3);
    world.sites[1].disk = copy;
    world.restart(1);
    world.restart(2);
    world.connect(1, 2);
    world.ask(1, put("libs", "y", &format!("{what} two"))).expect("put");
    world.settle();
    world.round(4);
    (world, life)
}

#[test]
fn who_leaves_a_branch_leaves_dead_what_another_may_have_ended() {
    let mut won = [0, 0];
    for what in ["a", "b", "c", "d", "e", "f"] {
        let (mut world, life) = known_by_a_state(what);
        world.restart(3);
        rounds(&mut world);
        for site in 1..4 {
            assert!(world.versions(site, "libs", "kept").is_empty(), "deleted, and back at site {site}");
        }
        won[usize::from(world.versions(3, "libs", "x").is_empty())] += 1;
        world.restart(0);
        rounds(&mut world);
        agree(&world);
        is_forked(&world, life);
        assert!(world.versions(0, "libs", "kept").is_empty());
    }
    assert!(won[0] > 0 && won[1] > 0, "{won:?}");
}

#[test]
fn a_proof_is_shown_once_while_a_connection_lasts() {
    let (mut world, life) = forked(
        |world| drop(world.ask(1, put("libs", "x", "one")).expect("put")),
        |world| drop(world.ask(1, put("libs", "x", "two")).expect("put")),
    );
    rounds(&mut world);
    is_forked(&world, life);
    world.disconnect(0, 2);
    world.connect(0, 2);
    let shown = std::cell::Cell::new(0);
    for round in 0..3 {
        world.settle_but(|from, message| {
            shown.set(shown.get() + u32::from(from == 0 && matches!(message, Message::Fork(_))));
            false
        });
        assert_eq!(shown.get(), 1, "round {round}");
        world.handle(0, Input::Tick { dice: round, round: true }, None);
        world.handle(2, Input::Tick { dice: round, round: true }, None);
    }
}
