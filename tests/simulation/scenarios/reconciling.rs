//! Comparing states: after a long absence, when logs are pruned; joiners; full sync.

use artimesh_core::changelog::SegmentError;
use artimesh_core::model::Digest;
use artimesh_core::replica::{Command, CommandError, DifferenceKind, Event, Input, Refusal, Retention, Table, rows};

use super::writing::federated;
use crate::liars::Lie;
use crate::world::{World, create, delete, path, put, repo, writer};

/// Everything older than a second that is dead goes at the next tick.
pub(super) fn prune_soon(world: &mut World, site: usize) {
    world.sites[site].retention = Retention { whole_ms: 1_000, deletes_ms: 1_000 };
    world.crash(site);
    world.restart(site);
}

pub(super) fn of(what: &str) -> Vec<Digest> {
    vec![Digest::of(what.as_bytes())]
}

pub(super) fn took_over(world: &World, site: usize) -> usize {
    world.sites[site].notes.iter().filter(|note| matches!(note, Event::Reconciled { .. })).count()
}

pub(super) fn all_agree(world: &World) {
    let space = world.space(0, "libs");
    for site in 1..world.sites.len() {
        assert_eq!(world.sites[site].mind().heads(&space), world.sites[0].mind().heads(&space), "site {site}");
        assert_eq!(world.digest(site, &space), world.digest(0, &space), "site {site}");
    }
}

/// Three members; bob is away while alice and carol write, delete and prune.
pub fn away() -> World {
    let mut world = federated();
    for number in 0..40 {
        world.ask(0, put("libs", &format!("old/{number}"), &format!("{number}"))).expect("put");
    }
    world.settle();
    world.crash(1);
    for number in 0..30 {
        world.ask(0, delete("libs", &format!("old/{number}"))).expect("delete");
        world.ask(2, put("libs", &format!("new/{number}"), "new")).expect("put");
        world.ask(2, put("libs", &format!("new/{number}"), "newer")).expect("put");
    }
    world.settle();
    for site in [0, 2, 3] {
        prune_soon(&mut world, site);
    }
    world.connect_all();
    for dice in 0..30 {
        world.round(dice);
    }
    world
}

#[test]
fn after_a_long_absence_states_are_compared_and_deletes_stay_deleted() {
    let mut world = away();
    world.restart(1);
    // Its own news, before it hears of anything.
    world.ask(1, put("libs", "mine", "bob's")).expect("put");
    world.connect_all();
    world.settle();
    for dice in 0..6 {
        world.round(dice);
    }
    assert_eq!(took_over(&world, 1), 1);
    for site in 0..4 {
        assert!(world.versions(site, "libs", "old/3").is_empty(), "a deleted artifact is back at site {site}");
        assert_eq!(world.versions(site, "libs", "old/35"), of("35"), "at site {site}");
        assert_eq!(world.versions(site, "libs", "new/7"), of("newer"), "at site {site}");
        assert_eq!(world.versions(site, "libs", "mine"), of("bob's"), "at site {site}");
    }
    all_agree(&world);
}

#[test]
fn a_full_sync_lists_differences_both_ways_before_it_repairs_them() {
    let mut world = away();
    world.restart(1);
    world.ask(1, put("libs", "mine", "bob's")).expect("put");
    world.ask(1, delete("libs", "old/36")).expect("delete");
    world.connect(0, 1);
    // Before the heads that were exchanged lead to anything.
    let sync = |dry_run| Command::Sync { key: repo("libs"), member: None, dry_run };
    let before = world.digest(1, &world.space(1, "libs"));
    world.ask(1, sync(true)).expect("alice is there");
    while world.sites[1].mind().merge_progress(&world.space(1, "libs")).is_none_or(|progress| !progress.is_done) {
        let space = world.space(1, "libs");
        assert_eq!(world.digest(1, &space), before, "a dry run changes nothing");
        if world.continues.contains(&1) {
            world.go_on(1, None);
        } else {
            // Only what the dry run asks and is told.
            world.drain_sync(0, 1);
        }
    }
    let space = world.space(1, "libs");
    let progress = world.sites[1].mind().merge_progress(&space).expect("it is done").clone();
    assert_eq!((progress.take, progress.drop, progress.give, progress.deleted_here), (30, 30, 1, 1));
    let listed = |kind, at: &str| progress.listed.iter().any(|d| d.kind == kind && d.path == path(at));
    assert!(listed(DifferenceKind::Take, "new/3") && listed(DifferenceKind::Drop, "old/3"));
    assert!(listed(DifferenceKind::Give, "mine") && listed(DifferenceKind::DeletedHere, "old/36"));
    world.connect_all();
    world.settle();
    for dice in 0..6 {
        world.round(dice);
    }
    world.ask(1, sync(false)).expect("alice is there");
    world.settle();
    let progress = world.sites[1].mind().merge_progress(&space).expect("it is done").clone();
    assert_eq!((progress.take, progress.drop, progress.give, progress.deleted_here), (0, 0, 0, 0), "nothing differs");
    all_agree(&world);
}

#[test]
fn a_full_sync_with_anybody_asks_who_has_shown_what_it_has() {
    let mut world = federated();
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    for silent in [0, 2] {
        world.crash(1);
        world.restart(1);
        world.connect(0, 1);
        world.connect(1, 2);
        world.settle_but(|from, _| from == silent);
        world.ask(1, Command::Sync { key: repo("libs"), member: None, dry_run: true }).expect("both are there");
        world.settle_but(|from, _| from == silent);
        let space = world.space(1, "libs");
        let progress = world.sites[1].mind().merge_progress(&space).expect("asked for");
        assert!(progress.is_done, "it asked site {silent}");
    }
}

#[test]
fn more_is_dropped_than_one_step_of_a_commit_takes() {
    let count = 1_100;
    let mut world = federated();
    let puts = (0..count).map(|n| (10_000 + n, put("libs", &format!("old/{n:04}"), "one"))).collect();
    world.handle(0, Input::Local(puts), None);
    world.settle();
    world.crash(1);
    // An hour later: what an author ends of what it has just put is a burst that others hold.
    world.now += 3_600_000;
    let deletes = (0..count).map(|n| (20_000 + n, delete("libs", &format!("old/{n:04}")))).collect();
    world.handle(0, Input::Local(deletes), None);
    world.ask(0, put("libs", "new", "new")).expect("put");
    world.crash(2);
    world.crash(3);
    prune_soon(&mut world, 0);
    (0..30).for_each(|dice| world.round(dice));
    world.restart(1);
    world.connect(0, 1);
    world.settle();
    let space = world.space(1, "libs");
    assert_eq!((took_over(&world, 1), world.versions(1, "libs", "new")), (1, of("new")));
    assert_eq!(world.sites[1].mind().merge_progress(&space).map(|progress| progress.drop), Some(count));
    assert_eq!(crate::checks::oracle::catalog(&world.sites[1].disk, &space).len(), 1);
    assert_eq!(world.digest(1, &space), world.digest(0, &space));
}

#[test]
fn a_full_sync_asks_anew_for_blobs_that_are_lacking() {
    let mut world = federated();
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    world.sites[1].disk.has_blobs = false;
    world.ask(1, Command::Sync { key: repo("libs"), member: None, dry_run: false }).expect("alice is there");
    world.settle();
    let wants = world.sites[1].disk.table(Table::Meta).filter(|(key, _)| key.starts_with(rows::WANTS)).count();
    assert_eq!(wants, 1);
}

#[test]
fn nobody_takes_over_what_an_edge_says() {
    let mut world = away();
    world.restart(1);
    world.connect(1, 3);
    world.settle();
    for dice in 0..4 {
        world.round(dice);
    }
    assert_eq!(took_over(&world, 1), 0);
    assert_eq!(world.versions(1, "libs", "old/3"), of("3"), "an absence at a follower deletes nothing");
    let space = world.space(1, "libs");
    assert_eq!(
        world.ask(1, Command::Sync { key: repo("libs"), member: None, dry_run: false }).err(),
        Some(CommandError::NoSource(repo("libs"))),
        "{space}"
    );
}

#[test]
fn a_commit_goes_on_after_a_crash_at_any_step() {
    for crash_after in 0..12 {
        let mut world = away();
        world.restart(1);
        world.connect_all();
        let mut steps = 0;
        for _ in 0..100_000 {
            if let Some(site) = world.continues.first().copied() {
                world.go_on(site, None);
                steps += usize::from(site == 1);
                if site == 1 && steps == crash_after {
                    break;
                }
            } else if let Some((from, to)) = world.network.busy().first().copied() {
                world.deliver(from, to, None);
            } else {
                break;
            }
        }
        world.crash(1);
        world.restart(1);
        world.connect_all();
        world.settle();
        for dice in 0..8 {
            world.round(dice);
        }
        all_agree(&world);
    }
}

#[test]
fn a_newcomer_takes_over_the_state_and_writes_once_others_confirm_it() {
    let mut world = away();
    world.restart(1);
    world.connect_all();
    for dice in 0..6 {
        world.round(dice);
    }
    let newcomer = world.join_outside();
    world.pair(0, newcomer, artimesh_core::trust::Role::Full, writer()).expect("pairing in fair weather");
    world.settle();
    world.connect_all();
    let node = world.node(newcomer);
    world.ask(0, artimesh_core::replica::Command::Invite(crate::world::repo("libs"), node)).expect("may invite");
    world.settle();
    for dice in 0..6 {
        world.round(dice);
    }
    assert_eq!(took_over(&world, newcomer), 1, "the log was pruned");
    assert_eq!(world.versions(newcomer, "libs", "new/7"), of("newer"));
    let space = world.space(0, "libs");
    assert!(!world.sites[newcomer].mind().is_unconfirmed(&space), "two members confirmed it");
    world.ask(newcomer, put("libs", "hello", "world")).expect("it writes now");
    world.settle();
    all_agree(&world);
}

#[test]
fn heads_are_adopted_only_with_what_their_authors_signed() {
    let mut world = away();
    world.lies.insert(0, Lie::Doctor);
    world.restart(1);
    let space = world.space(1, "libs");
    let before = world.sites[1].mind().heads(&space);
    world.connect(1, 0);
    world.settle();
    assert!(world.twisted["state shown with a false log end"] > 0);
    assert!(world.refusals(1).contains(&Refusal::Segment(SegmentError::Signature)));
    assert_eq!(world.sites[1].mind().heads(&space), before);
    // Others show it as it is.
    for dice in 0..6 {
        world.connect_all();
        world.settle();
        world.round(dice);
    }
    assert_eq!(took_over(&world, 1), 1);
    all_agree(&world);
}

#[test]
fn what_a_follower_lacks_was_not_deleted() {
    let mut world = away();
    world.restart(1);
    let space = world.space(1, "libs");
    let before = world.sites[1].mind().heads(&space);
    world.connect(1, 3);
    for dice in 0..6 {
        world.round(dice);
        for other in [0, 2] {
            world.disconnect(1, other);
        }
    }
    assert_eq!(took_over(&world, 1), 0, "an edge's state proves nothing");
    assert_eq!(world.sites[1].mind().heads(&space), before);
    assert_eq!(world.versions(1, "libs", "old/3"), of("3"));
    for dice in 0..6 {
        world.connect_all();
        world.settle();
        world.round(dice);
    }
    assert!(world.versions(1, "libs", "old/3").is_empty());
    all_agree(&world);
}

#[test]
fn what_is_dead_goes_from_the_end_of_a_log_too() {
    let mut world = federated();
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    world.ask(1, delete("libs", "x")).expect("delete");
    world.settle();
    prune_soon(&mut world, 2);
    world.connect_all();
    for dice in 0..3 {
        world.round(dice);
    }
    let pruned = |note: &Event| if let Event::Pruned { entries, .. } = note { *entries } else { 0 };
    assert_eq!(world.sites[2].notes.iter().map(pruned).sum::<u64>(), 2, "the put and the delete");
    all_agree(&world);
}

#[test]
fn logs_are_pruned_again_and_again() {
    let mut world = federated();
    prune_soon(&mut world, 0);
    world.connect_all();
    world.settle();
    let pruned =
        |world: &World| world.sites[0].notes.iter().filter(|note| matches!(note, Event::Pruned { .. })).count();
    for pass in 1..4 {
        for what in ["one", "two"] {
            world.ask(0, put("libs", "x", what)).expect("put");
            world.settle();
        }
        let before = pruned(&world);
        (0..6).for_each(|dice| world.round(dice));
        assert!(pruned(&world) > before, "pass {pass}");
    }
}

#[test]
fn an_edge_forgets_a_log_of_which_no_member_is_left_that_has_any() {
    let mut world = World::circle(3, 1);
    let (bob, carol) = (vec![world.node(1)], world.node(2));
    world.ask(0, create("libs", bob)).expect("a free key");
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    world.round(1);
    world.network.gossip_is_off = true;
    world.crash(2);
    world.ask(0, Command::Invite(repo("libs"), carol)).expect("invited");
    world.round(2);
    // Carol accepts and writes while alice and the edge are away.
    world.crash(0);
    world.crash(3);
    world.restart(2);
    world.connect(1, 2);
    world.round(3);
    for what in ["one", "two", "three"] {
        world.ask(2, put("libs", "carol's", what)).expect("a member");
        world.round(4);
    }
    prune_soon(&mut world, 1);
    for dice in 0..4 {
        world.round(dice);
    }
    world.restart(3);
    world.connect(1, 3);
    world.round(5);
    assert_eq!((took_over(&world, 3), world.versions(3, "libs", "carol's")), (1, of("three")));
    world.ask(2, delete("libs", "x")).expect("a member");
    world.connect(1, 2);
    world.round(6);
    assert!(world.versions(3, "libs", "x").is_empty());
    // Bob and carol are lost, and with them what they had told alice nothing of.
    world.crash(1);
    world.crash(2);
    world.restart(0);
    world.connect(0, 3);
    for dice in 0..4 {
        world.round(dice);
    }
    let space = world.space(0, "libs");
    assert_eq!(world.sites[3].mind().heads(&space), world.sites[0].mind().heads(&space));
    assert_eq!(world.digest(3, &space), world.digest(0, &space));
    assert_eq!((took_over(&world, 3), world.versions(3, "libs", "x")), (2, of("one")), "once is enough");
}
