//! On trial: who took a state over from somebody holds it against what others sign, and is held to it.

use artimesh_core::replica::{Command, Event, Input};
use artimesh_core::trust::Role;

use super::reconciling::{all_agree, away, of, prune_soon, took_over};
use super::writing::federated;
use crate::disk::Disk;
use crate::liars::Lie;
use crate::world::{World, create, delete, put, repo, writer};

/// So many files that were and are no more: nothing that lives says that they are dead.
fn put_and_delete(world: &mut World, site: usize, count: usize) {
    for number in 0..count {
        world.ask(site, put("libs", &format!("gone/{number}"), "gone")).expect("put");
        world.ask(site, delete("libs", &format!("gone/{number}"))).expect("delete");
    }
}

#[test]
fn what_was_taken_over_is_held_against_what_others_said_meanwhile() {
    let mut world = away();
    put_and_delete(&mut world, 2, 20);
    world.settle();
    world.lies.insert(0, Lie::Exhume);
    world.restart(1);
    world.connect(0, 1);
    let member = Some(world.node(0));
    world.ask(1, Command::Sync { key: repo("libs"), member, dry_run: false }).expect("alice is there");
    world.connect(1, 2);
    // Carol says what her state is before there is anything here to hold it against, and then never again.
    world.handle(2, Input::Tick { dice: 0, round: false }, None);
    world.settle();
    let space = world.space(0, "libs");
    assert!(world.twisted["dead items offered"] > 0);
    assert_eq!(world.sites[1].mind().heads(&space), world.sites[2].mind().heads(&space));
    assert_ne!(world.digest(1, &space), world.digest(2, &space), "it believed some");
    for dice in 0..24 {
        world.round(dice);
    }
    assert!(!world.sites[1].mind().is_on_trial(&space));
    let is_alarm = |note: &Event| matches!(note, Event::Diverged { .. });
    assert!(!world.sites.iter().any(|site| site.notes.iter().any(is_alarm)), "who is on trial is no alarm yet");
    all_agree(&world);
}

#[test]
fn what_was_said_of_a_state_while_another_was_compared_counts_afterwards() {
    let mut world = away();
    put_and_delete(&mut world, 2, 20);
    world.settle();
    world.lies.insert(0, Lie::Exhume);
    world.restart(1);
    world.connect(0, 1);
    let member = Some(world.node(0));
    let sync = |dry_run| Command::Sync { key: repo("libs"), member, dry_run };
    world.ask(1, sync(false)).expect("alice is there");
    world.settle();
    let space = world.space(0, "libs");
    assert!(world.sites[1].mind().is_on_trial(&space));
    assert_ne!(world.digest(1, &space), world.digest(2, &space), "it believed some");
    // Carol says what she has, once, while he lists what differs from alice.
    world.ask(1, sync(true)).expect("alice is there");
    world.connect(1, 2);
    for _ in 0..4 {
        world.drain(1, 2);
        world.drain(2, 1);
        while world.go_on(1, None) || world.continues.contains(&1) {}
        world.handle(2, Input::Tick { dice: 0, round: false }, None);
        world.handle(1, Input::Tick { dice: 0, round: false }, None);
    }
    assert_eq!(world.sites[1].mind().agrees(&space, &world.node(2)), Some(false));
    assert!(world.sites[1].mind().is_on_trial(&space));
    world.settle();
    world.crash(0);
    for _ in 0..24 {
        world.handle(1, Input::Tick { dice: 0, round: false }, None);
        world.settle();
    }
    assert!(!world.sites[1].mind().is_on_trial(&space));
    assert_eq!(world.digest(1, &space), world.digest(2, &space));
}

#[test]
fn what_is_known_to_have_ended_stays_so_whoever_shows_it() {
    let mut world = federated();
    put_and_delete(&mut world, 0, 8);
    world.settle();
    // Alice has heard of something more, and bob hasn't. He has nothing live, so he asks for all.
    world.network.gossip_is_off = true;
    world.crash(3);
    world.disconnect(0, 1);
    world.disconnect(1, 2);
    world.ask(2, put("libs", "x", "one")).expect("put");
    world.round(0);
    world.settle();
    assert_eq!(world.versions(0, "libs", "x"), of("one"));
    world.lies.insert(0, Lie::Exhume);
    world.connect(0, 1);
    let member = Some(world.node(0));
    world.ask(1, Command::Sync { key: repo("libs"), member, dry_run: false }).expect("alice is there");
    for _ in 0..40 {
        if world.continues.contains(&1) {
            world.go_on(1, None);
        } else {
            // Before the log tells him the same.
            world.drain_sync(0, 1);
        }
    }
    assert_eq!(took_over(&world, 1), 1);
    assert!(world.twisted["dead items offered"] > 0);
    for number in 0..8 {
        assert!(world.versions(1, "libs", &format!("gone/{number}")).is_empty(), "what he deleted himself is back");
    }
    assert_eq!(world.versions(1, "libs", "x"), of("one"));
}

#[test]
fn what_a_live_version_replaced_is_dead_whoever_shows_it() {
    let mut world = away();
    world.lies.insert(0, Lie::Exhume);
    // Bob has lost all that he knew, and only alice is there to tell.
    world.sites[1].disk = Disk::new();
    world.restart(1);
    world.pair(0, 1, Role::Full, writer()).expect("it is who it was");
    for dice in 0..4 {
        world.connect(0, 1);
        world.settle();
        world.round(dice);
    }
    assert!(world.twisted["dead items offered"] > 0);
    assert_eq!(world.versions(1, "libs", "new/29"), of("newer"));
    assert_eq!(world.digest(1, &world.space(0, "libs")), world.digest(0, &world.space(0, "libs")));
}

/// Four members.
fn four() -> World {
    let mut world = World::circle(4, 0);
    let invite = [1, 2, 3].map(|site| world.node(site)).to_vec();
    world.ask(0, create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    world
}

/// All agree, nobody is on trial any more, and what was deleted stays so.
fn nothing_came_back(world: &World) {
    let space = world.space(0, "libs");
    all_agree(world);
    assert!(world.versions(0, "libs", "gone/19").is_empty());
    assert!((0..4).all(|site| !world.sites[site].mind().is_on_trial(&space)));
}

#[test]
fn two_who_believed_one_liar_dont_settle_it_while_somebody_else_on_trial_differs() {
    let mut world = four();
    (1..4).for_each(|site| world.crash(site));
    put_and_delete(&mut world, 0, 20);
    world.ask(0, put("libs", "x", "one")).expect("put");
    prune_soon(&mut world, 0);
    for dice in 0..30 {
        world.round(dice);
    }
    // Dave, whose name is the least of the three, is told the truth, bob and carol aren't; none of them has heard another.
    let (space, member) = (world.space(0, "libs"), Some(world.node(0)));
    for site in [3, 1, 2] {
        if site != 3 {
            world.lies.insert(0, Lie::Exhume);
        }
        world.restart(site);
        world.connect(0, site);
        world.ask(site, Command::Sync { key: repo("libs"), member, dry_run: false }).expect("alice is there");
        world.settle();
        assert!(world.sites[site].mind().is_on_trial(&space), "site {site}");
        world.crash(site);
    }
    world.crash(0);
    (1..4).for_each(|site| world.restart(site));
    assert_eq!(world.digest(1, &space), world.digest(2, &space));
    assert_ne!(world.digest(1, &space), world.digest(3, &space), "they believed some");
    for dice in 0..60 {
        world.connect_all();
        world.round(dice);
    }
    world.lies.clear();
    world.restart(0);
    for dice in 0..8 {
        world.connect_all();
        world.round(dice);
    }
    nothing_came_back(&world);
}

#[test]
fn two_who_believed_one_liar_dont_settle_it_while_a_third_is_away() {
    let mut world = four();
    [1, 3].into_iter().for_each(|site| world.crash(site));
    put_and_delete(&mut world, 0, 20);
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    world.crash(2);
    prune_soon(&mut world, 0);
    for dice in 0..30 {
        world.round(dice);
    }
    // Bob is told by alice, who lies, and dave by bob.
    let space = world.space(0, "libs");
    world.lies.insert(0, Lie::Exhume);
    world.restart(1);
    world.connect(0, 1);
    let member = Some(world.node(0));
    world.ask(1, Command::Sync { key: repo("libs"), member, dry_run: false }).expect("alice is there");
    world.settle();
    world.crash(0);
    world.restart(3);
    for dice in 0..40 {
        world.connect(1, 3);
        world.round(dice);
    }
    assert_eq!((took_over(&world, 1), took_over(&world, 3)), (1, 1));
    assert_eq!(world.digest(1, &space), world.digest(3, &space));
    // Carol knows better.
    world.lies.clear();
    world.restart(2);
    assert_eq!(world.sites[2].mind().heads(&space), world.sites[1].mind().heads(&space));
    assert_ne!(world.digest(1, &space), world.digest(2, &space), "they believed some");
    world.restart(0);
    for dice in 0..24 {
        world.connect_all();
        world.round(dice);
    }
    nothing_came_back(&world);
}

#[test]
fn who_knows_that_a_source_was_lied_to_believes_it_nothing() {
    let mut world = World::circle(3, 0);
    let invite = [1, 2].map(|site| world.node(site)).to_vec();
    world.ask(0, create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    world.network.gossip_is_off = true;
    world.crash(0);
    world.disconnect(1, 2);
    // What bob deleted carol hasn't heard of, and the other way round.
    for (site, gone) in [(1, "gone/bob's"), (2, "gone/carol's")] {
        world.ask(site, put("libs", gone, "gone")).expect("put");
        world.ask(site, delete("libs", gone)).expect("delete");
        world.ask(site, put("libs", "x", "one")).expect("put");
        prune_soon(&mut world, site);
        for dice in 0..4 {
            world.round(dice);
        }
    }
    let space = world.space(1, "libs");
    for dice in 0..4 {
        world.connect(1, 2);
        world.round(dice);
    }
    assert_eq!(world.sites[1].mind().heads(&space), world.sites[2].mind().heads(&space));
    // Alice is told by bob, who lies, and hers is the least name of three who are all on trial.
    world.crash(2);
    world.lies.insert(1, Lie::Exhume);
    world.restart(0);
    world.connect(0, 1);
    let member = Some(world.node(1));
    world.ask(0, Command::Sync { key: repo("libs"), member, dry_run: false }).expect("bob is there");
    world.settle();
    assert_eq!(world.versions(0, "libs", "gone/bob's"), of("gone"));
    assert_eq!(world.versions(0, "libs", "gone/carol's"), of("gone"));
    world.lies.clear();
    world.restart(2);
    assert!((0..3).all(|site| world.sites[site].mind().is_on_trial(&space)));
    for dice in 0..40 {
        world.connect_all();
        world.round(dice);
    }
    all_agree(&world);
    assert!(["gone/bob's", "gone/carol's"].iter().all(|gone| world.versions(0, "libs", gone).is_empty()));
    let is_alarm = |note: &Event| matches!(note, Event::Diverged { .. });
    assert!(!world.sites.iter().any(|site| site.notes.iter().any(is_alarm)));
}
