//! Who leaves a branch of a pruned log for a member's state brings along what that member hasn't heard of, however this
//! node came to know it.

use artimesh_core::catalog::ConfigChange;
use artimesh_core::changelog::{ForkProof, Sealed};
use artimesh_core::model::{Dot, Space};
use artimesh_core::replica::message::Message;
use artimesh_core::replica::{Command, Input, conflicts};

use super::curating::delete_under;
use super::federated;
use super::forking::{agree, forked_after, properties, pruned, rounds};
use super::reconciling::{all_agree, prune_soon, took_over};
use crate::checks::{ledger, oracle};
use crate::forge::frame;
use crate::world::{World, create, delete, path, put, repo};

#[test]
fn edits_count_though_what_said_that_their_author_had_seen_the_version_is_pruned() {
    for what in ["a", "b", "c", "d", "e", "f"] {
        let (mut world, _) = forked_after(
            |world| {
                pruned(world);
                world.ask(2, put("libs", "shared", "shared")).expect("put");
                world.settle();
            },
            |world| {
                world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put");
                // The header of this one says what alice has seen, and goes with it.
                world.ask(0, put("libs", "gone", "gone")).expect("put");
                world.round(1);
                world.ask(0, delete("libs", "gone")).expect("delete");
                world.round(2);
                world.ask(0, properties("shared", "arch", "arm")).expect("edit");
                prune_soon(world, 0);
                (0..4).for_each(|dice| world.round(dice));
            },
            |world| drop(world.ask(1, put("libs", "y", &format!("{what} two"))).expect("put")),
        );
        rounds(&mut world);
        agree(&world);
        assert_eq!(oracle::check(&world).map(drop), Ok(()));
    }
}

/// Four members, of whom the last knows something alone and has pruned what it wrote before.
fn one_knows_more() -> World {
    let mut world = World::circle(4, 0);
    let invite = (1..4).map(|site| world.node(site)).collect();
    world.ask(0, create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    pruned(&mut world);
    world.network.gossip_is_off = true;
    (0..3).for_each(|site| world.crash(site));
    let set = ConfigChange { description: Some("what dave says".into()), ..ConfigChange::default() };
    world.ask(3, Command::Configure { key: repo("libs"), set, by: "tester".into() }).expect("a member");
    for number in 0..4 {
        world.ask(3, put("libs", "dave", &number.to_string())).expect("put");
        world.round(number);
    }
    prune_soon(&mut world, 3);
    (0..30).for_each(|dice| world.round(dice));
    world
}

#[test]
fn settings_that_were_taken_over_stay_with_who_leaves_a_branch() {
    for what in ["a", "b", "c", "d", "e", "f"] {
        let mut world = one_knows_more();
        world.restart(0);
        world.connect(0, 3);
        world.settle();
        (0..4).for_each(|dice| world.round(dice));
        assert_eq!(took_over(&world, 0), 1, "dave's log isn't whole");
        world.crash(3);
        // Bob lives twice: alice has what he wrote first, carol what he wrote then.
        let copy = world.sites[1].disk.clone();
        world.restart(1);
        world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put");
        world.connect(0, 1);
        world.settle();
        world.crash(0);
        world.crash(1);
        world.sites[1].disk = copy;
        world.restart(1);
        world.restart(2);
        world.ask(1, put("libs", "y", &format!("{what} two"))).expect("put");
        world.connect(1, 2);
        world.settle();
        world.restart(0);
        rounds(&mut world);
        world.restart(3);
        rounds(&mut world);
        all_agree(&world);
        assert_eq!(oracle::check(&world).map(drop), Ok(()));
    }
}

/// Alice ended what bob wrote in the branch that reached her, and has pruned that since; the edge has what bears the same
/// number in the other one, and takes alice's state over. Whether it has kept that.
fn keeps_the_other(what: &str) -> bool {
    let (mut world, life) = forked_after(
        |_| {},
        |world| {
            world.ask(1, put("libs", "x", &format!("{what} one"))).expect("put");
            world.settle();
            world.round(1);
            let commands = [put("libs", "z", "dead soon"), delete("libs", "x")];
            world.handle(0, Input::Local((90_000..).zip(commands).collect()), None);
            world.ask(0, put("libs", "z", "z")).expect("put");
        },
        |world| drop(world.ask(1, put("libs", "x", &format!("{what} two"))).expect("put")),
    );
    let space = world.space(0, "libs");
    let other = world.truth.segments.iter().rev().find(|segment| segment.header.incarnation == life);
    let other = other.expect("bob wrote it").bytes().to_vec();
    [1, 2].into_iter().for_each(|site| world.crash(site));
    world.handle(0, Input::Frame(world.node(2), frame(space, &[&other])), None);
    prune_soon(&mut world, 0);
    (0..8).for_each(|dice| world.round(dice));
    world.connect(0, 3);
    for dice in 0..8 {
        world.settle();
        world.round(dice);
    }
    assert_eq!(world.versions(3, "libs", "z").len(), 1);
    assert!(world.versions(0, "libs", "x").is_empty());
    assert_eq!(oracle::check(&world).map(drop), Ok(()));
    let is_kept = took_over(&world, 3) == 1 && !world.versions(3, "libs", "x").is_empty();
    [1, 2].into_iter().for_each(|site| world.restart(site));
    rounds(&mut world);
    agree(&world);
    assert_eq!(oracle::check(&world).map(drop), Ok(()));
    is_kept
}

#[test]
fn what_was_ended_by_number_in_one_branch_stays_in_the_other_until_both_have_the_same() {
    let kept = ["a", "b", "c", "d", "e", "f"].map(keeps_the_other);
    assert!(kept.contains(&true), "{kept:?}");
}

/// The segments in which a number was written, the first that was written first.
fn written(world: &World, space: Space, dot: Dot) -> Vec<&Sealed> {
    world.truth.bearers(&space, &dot).map(|entry| &world.truth.segments[entry.segment]).collect()
}

/// The proof, as it is sent, that a number was written twice, and whether what was written last won.
fn fork_at(world: &World, space: Space, dot: Dot) -> (Vec<u8>, bool) {
    let [first, last] = written(world, space, dot)[..] else { panic!("it was written twice") };
    let proof = ForkProof::of(first.claim(), last.claim()).expect("both follow the same segment");
    (Message::Fork(proof).to_bytes(), last.hash < first.hash)
}

/// Carol puts what she has seen bob delete, and alice deletes it unseen. Alice gets the put before bob's delete, for she
/// knows by then that his life was lived twice. Returns the put, both deletes, and whether that branch won.
fn put_before_the_delete_it_had_seen(world: &mut World, what: &str) -> (Dot, [Dot; 2], bool) {
    let space = world.space(0, "libs");
    world.ask(2, put("libs", "x", "first")).expect("put");
    world.settle();
    world.round(1);
    world.network.gossip_is_off = true;
    let copy = world.sites[1].disk.clone();
    for (site, other) in world.network.connections() {
        world.disconnect(site, other);
    }
    let other = world.ask(1, put("libs", "y", what)).expect("nobody hears of it").dot;
    world.crash(1);
    world.sites[1].disk = copy;
    world.restart(1);
    world.connect(1, 2);
    world.settle();
    let by_bob = world.ask(1, delete("libs", "x")).expect("delete").dot;
    assert_eq!(by_bob, other);
    world.round(2);
    let again = world.ask(2, put("libs", "x", "again")).expect("put").dot;
    let by_alice = world.ask(0, delete("libs", "x")).expect("delete").dot;
    let (proof, is_won) = fork_at(world, space, by_bob);
    let bytes = written(world, space, again)[0].bytes().to_vec();
    for told in [proof, frame(space, &[&bytes])] {
        world.handle(0, Input::Frame(world.node(2), told), None);
    }
    world.settle();
    world.connect(0, 2);
    world.settle();
    rounds(world);
    (again, [by_alice, by_bob], is_won)
}

#[test]
fn what_outlived_a_delete_is_flagged_though_a_delete_that_its_author_had_seen_comes_after_it() {
    for is_pruned in [false, true] {
        let mut won = 0;
        for what in ["a", "b", "c", "d", "e", "f"] {
            let mut world = federated();
            if is_pruned {
                pruned(&mut world);
            }
            let (again, [by_alice, by_bob], is_won) = put_before_the_delete_it_had_seen(&mut world, what);
            assert!(ledger::check(&world).is_ok());
            if is_won {
                let listed = conflicts(&world.sites[0].disk, &world.space(0, "libs"), None, 100).expect("readable");
                let flags: Vec<(Dot, Dot)> = listed.iter().flat_map(|c| c.survivors.clone()).collect();
                // Where the log is whole both are applied again, in their order.
                assert_eq!(flags, [(again, if is_pruned { by_bob } else { by_alice })]);
                assert!(is_pruned || by_bob > by_alice);
                won += 1;
            }
        }
        assert!(won > 0, "that branch never won");
    }
}

#[test]
fn who_stands_on_no_branch_goes_by_those_who_all_stand_on_one_that_lost() {
    let mut lost = 0;
    for what in ["a", "b", "c", "d", "e", "f"] {
        let mut world = federated();
        pruned(&mut world);
        let space = world.space(0, "libs");
        world.network.gossip_is_off = true;
        world.crash(0);
        for number in 0..4 {
            world.ask(2, put("libs", "common", &number.to_string())).expect("put");
            world.round(number);
        }
        (1..4).for_each(|site| prune_soon(&mut world, site));
        for dice in 0..30 {
            world.connect_all();
            world.round(dice);
        }
        // Nobody hears of the first branch, and all but alice take the second.
        let copy = world.sites[2].disk.clone();
        world.crash(2);
        world.restart(2);
        let dot = world.ask(2, put("libs", "x", &format!("{what} one"))).expect("put").dot;
        world.crash(2);
        world.sites[2].disk = copy;
        world.restart(2);
        world.ask(2, put("libs", "y", &format!("{what} two"))).expect("put");
        for dice in 0..8 {
            world.connect_all();
            world.round(dice);
        }
        let (proof, is_won) = fork_at(&world, space, dot);
        world.handle(1, Input::Frame(world.node(2), proof), None);
        world.settle();
        world.restart(0);
        (0..3).for_each(|_| rounds(&mut world));
        agree(&world);
        lost += usize::from(!is_won);
    }
    assert!(lost > 0, "the second branch always won");
}

/// What alice deletes as a folder, and prunes, is of the branch that reached her; the other one has something there, under a
/// number that she had seen, and that lives. Whether it does under that number.
fn outlives_a_folder(what: &str) -> bool {
    let (mut world, life) = forked_after(
        |_| {},
        |world| {
            world.ask(1, put("libs", "y", &format!("{what} one"))).expect("put");
            world.settle();
            world.round(1);
            for at in ["docs/y", "docs/z"] {
                world.ask(0, put("libs", at, "dead soon")).expect("put");
            }
            world.ask(0, delete_under("docs/", 2)).expect("a folder, not one by one");
            world.ask(0, put("libs", "z", "z")).expect("put");
            prune_soon(world, 0);
            (0..8).for_each(|dice| world.round(dice));
        },
        |world| drop(world.ask(1, put("libs", "docs/x", &format!("{what} two"))).expect("put")),
    );
    rounds(&mut world);
    agree(&world);
    assert_eq!(oracle::check(&world).map(drop), Ok(()));
    let live = oracle::catalog(&world.sites[0].disk, &world.space(0, "libs"));
    live[&path("docs/x")].iter().any(|version| version.dot.incarnation == life)
}

#[test]
fn a_pruned_delete_of_a_folder_ends_nothing_under_a_number_that_its_author_saw_elsewhere() {
    let lived = ["a", "b", "c", "d", "e", "f"].map(outlives_a_folder);
    assert!(lived.contains(&true) && lived.contains(&false), "{lived:?}");
}
