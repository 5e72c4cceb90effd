//! Who leaves a branch of a pruned log for a member's state brings along what that member hasn't heard of, however this
//! node came to know it.

use artimesh_core::catalog::ConfigChange;
use artimesh_core::replica::{Command, Input};

use super::forking::{agree, forked_after, properties, pruned, rounds};
use super::reconciling::{all_agree, prune_soon, took_over};
use crate::checks::oracle;
use crate::forge::frame;
use crate::world::{World, create, delete, put, repo};

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
