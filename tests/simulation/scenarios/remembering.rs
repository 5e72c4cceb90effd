//! What ended is kept for a time, and what contradicts itself is listed: restored, dismissed, rolled back.

use artimesh_core::catalog::{Conflict, End, Historic};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Digest, Dot};
use artimesh_core::replica::{
    Command, CommandError, Event, Input, Limits, RollbackAction, RollbackFilter, conflicts, history, rollback_step,
};

use super::curating::{delete_under, label, moving, shown};
use super::forking::{agree, forked_after, rounds as long_rounds};
use super::writing::federated;
use crate::forge::frame;
use crate::world::{World, delete, path, put, repo};

fn past(world: &World, site: usize, at: &str) -> Vec<Historic> {
    history(&world.sites[site].disk, &world.space(site, "libs"), &path(at), 100).expect("rows can be read")
}

fn listed(world: &World, site: usize) -> Vec<Conflict> {
    conflicts(&world.sites[site].disk, &world.space(site, "libs"), None, 100).expect("rows can be read")
}

fn restore(at: &str, version: Dot) -> Command {
    Command::Restore { key: repo("libs"), path: path(at), version, by: "restorer".into() }
}

fn dismiss(at: &str, versions: Vec<Dot>) -> Command {
    Command::Dismiss { key: repo("libs"), path: path(at), versions, by: "curator".into() }
}

fn rounds(world: &mut World) {
    for dice in 0..4 {
        world.round(dice);
    }
}

/// Two sites put at `x` without hearing of each other; the dots, the shown one first.
fn contradict(world: &mut World) -> (Dot, Dot) {
    world.network.gossip_is_off = true;
    let lesser = world.ask(1, put("libs", "x", "one")).expect("put").dot;
    world.now += 5_000;
    let greater = world.ask(2, put("libs", "x", "two")).expect("put").dot;
    rounds(world);
    (greater, lesser)
}

#[test]
fn every_way_to_end_is_in_the_history_with_who_and_by_what() {
    let mut world = federated();
    let first = world.ask(0, put("libs", "d/x", "one")).expect("put").dot;
    world.settle();
    let second = world.ask(1, put("libs", "d/x", "two")).expect("overwrite").dot;
    world.settle();
    let moved = world.ask(2, moving("d/x", "d/y")).expect("move").dot;
    world.settle();
    let swept = world.ask(0, delete_under("d/", 10)).expect("delete").dot;
    world.settle();
    for site in 0..4 {
        let at_x = past(&world, site, "d/x");
        let ends: Vec<(Dot, &End, &str)> =
            at_x.iter().map(|h| (h.version.dot, &h.ended.how, h.ended.by.as_str())).collect();
        assert!(ends.contains(&(first, &End::Replaced, "tester")), "{ends:?}");
        assert!(ends.contains(&(second, &End::Moved(path("d/y")), "mover")), "{ends:?}");
        let at_y = past(&world, site, "d/y");
        assert_eq!((at_y[0].version.dot, at_y[0].ended.dot, &at_y[0].ended.how), (moved, Some(swept), &End::Deleted));
        assert!(at_y[0].version.moved_from.is_some() && at_x.iter().chain(&at_y).all(|historic| !historic.lost));
    }
}

#[test]
fn a_deleted_version_is_restored_with_its_labels_at_all_sites() {
    let mut world = federated();
    world.ask(0, put("libs", "x", "one")).expect("put");
    let version = shown(&world, 0, "x").expect("live").dot;
    world.ask(0, label("x", "stage", Some("live"))).expect("label");
    world.settle();
    world.ask(1, delete("libs", "x")).expect("delete");
    world.settle();
    let receipt = world.ask(2, restore("x", version)).expect("restore");
    assert!(receipt.dot != version && !receipt.replaced);
    world.settle();
    for site in 0..4 {
        let restored = shown(&world, site, "x").expect("live again");
        assert_eq!(restored.content.digest, Digest::of(b"one"));
        assert_eq!(restored.properties().as_map()["stage"], ["live"]);
        assert_eq!((restored.created_by.as_str(), restored.modified_by.as_str()), ("tester", "restorer"));
    }
    let nobodys = Dot { sequence: 77, ..version };
    assert_eq!(world.ask(2, restore("x", nobodys)), Err(CommandError::NoVersion(path("x"), nobodys)));
}

#[test]
fn bytes_that_only_the_history_names_are_not_wanted_until_they_are_restored() {
    let mut world = federated();
    world.sites[2].disk.has_blobs = false;
    let version = world.ask(0, put("libs", "x", "one")).expect("put").dot;
    world.ask(0, delete("libs", "x")).expect("delete");
    world.settle();
    assert_eq!(crate::checks::wants::check(&world), Ok(0));
    world.ask(2, restore("x", version)).expect("restore");
    assert_eq!(crate::checks::wants::check(&world), Ok(1));
}

#[test]
fn what_lost_to_a_concurrent_version_is_listed_until_it_is_restored_or_dismissed() {
    let mut world = federated();
    let (greater, lesser) = contradict(&mut world);
    for site in 0..4 {
        let conflict = &listed(&world, site)[0];
        assert_eq!(conflict.live.dots(), [greater, lesser]);
        assert!(conflict.lost.is_empty() && conflict.survivors.is_empty());
    }
    world.ask(0, put("libs", "x", "three")).expect("overwrites both");
    rounds(&mut world);
    for site in 0..4 {
        let lost: Vec<Dot> = listed(&world, site)[0].lost.iter().map(|historic| historic.version.dot).collect();
        assert_eq!(lost, [lesser], "the shown one was replaced by who had seen it: site {site}");
    }
    world.ask(1, dismiss("x", vec![lesser])).expect("strikes it off the list");
    assert!(listed(&world, 1).is_empty());
    world.ask(2, restore("x", lesser)).expect("restore");
    rounds(&mut world);
    for site in 0..4 {
        assert!(listed(&world, site).is_empty(), "what was lost is live again: site {site}");
        assert_eq!(world.versions(site, "libs", "x"), [Digest::of(b"one")]);
    }
}

#[test]
fn a_dismissed_sibling_goes_everywhere_and_the_shown_one_stays() {
    let mut world = federated();
    let (greater, lesser) = contradict(&mut world);
    assert_eq!(world.ask(0, dismiss("x", vec![lesser, greater])), Err(CommandError::OneMustStay(path("x"))));
    world.ask(0, dismiss("x", Vec::new())).expect("dismiss");
    rounds(&mut world);
    for site in 0..4 {
        assert_eq!(shown(&world, site, "x").expect("live").dot, greater);
        assert!(listed(&world, site).is_empty(), "at site {site}");
        assert_eq!(past(&world, site, "x")[0].ended.how, End::Dismissed);
    }
    assert_eq!(world.ask(0, dismiss("x", Vec::new())), Err(CommandError::NoConflict(path("x"))));
}

#[test]
fn equal_content_is_no_conflict() {
    let mut world = federated();
    world.network.gossip_is_off = true;
    world.ask(1, put("libs", "x", "same")).expect("put");
    world.ask(2, put("libs", "x", "same")).expect("put");
    rounds(&mut world);
    assert_eq!(world.versions(0, "libs", "x").len(), 2);
    assert!(listed(&world, 0).is_empty());
    world.ask(0, put("libs", "x", "three")).expect("overwrites both");
    assert!(listed(&world, 0).is_empty(), "nothing was lost");
}

#[test]
fn a_put_that_outlived_a_delete_is_flagged_whichever_came_first() {
    for prefix in [false, true] {
        let mut world = federated();
        world.ask(1, put("libs", "d/x", "one")).expect("put");
        world.settle();
        world.network.gossip_is_off = true;
        let survivor = world.ask(1, put("libs", "d/x", "two")).expect("overwrite").dot;
        let command = if prefix { delete_under("d", 10) } else { delete("libs", "d/x") };
        let delete = world.ask(2, command).expect("deletes the first only").dot;
        rounds(&mut world);
        for site in 0..4 {
            let flags: Vec<(Dot, Dot)> = listed(&world, site).iter().flat_map(|c| c.survivors.clone()).collect();
            assert_eq!(flags, [(survivor, delete)], "at site {site}");
        }
        world.ask(2, dismiss("d/x", vec![survivor])).expect("that is fine");
        assert!(listed(&world, 2).is_empty() && shown(&world, 2, "d/x").is_some());
        world.ask(0, put("libs", "d/x", "three")).expect("overwrite");
        rounds(&mut world);
        assert!(listed(&world, 0).is_empty(), "what outlived it is gone");
    }
}

#[test]
fn the_history_is_bounded_in_time_and_goes_in_steps() {
    let mut world = federated();
    world.sites[0].limits = Limits { history_ms: 3_600_000, ..Limits::default() };
    world.crash(0);
    world.restart(0);
    world.connect_all();
    world.round(1);
    let puts = (0..400).map(|n| (1_000 + n, put("libs", "x", &n.to_string()))).collect();
    world.handle(0, Input::Local(puts), None);
    assert_eq!(past(&world, 0, "x").len(), 100);
    // A clock that was a day behind and is set right takes a day at most, and one that goes on, an hour a time.
    world.now += 3_000_000;
    world.round(2);
    assert_eq!(past(&world, 0, "x").len(), 100);
    world.now += 3_000_000;
    world.round(3);
    world.round(4);
    assert_eq!(past(&world, 0, "x").len(), 0);
    assert_eq!(past(&world, 1, "x").len(), 100, "another site keeps it for its own time");
}

#[test]
fn a_clock_that_was_a_year_behind_does_not_take_the_history_with_it() {
    let mut world = federated();
    let year_ms = 365 * 24 * 3_600_000;
    world.sites[0].skew_ms = -year_ms;
    world.round(1);
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.ask(0, put("libs", "x", "two")).expect("overwrite");
    world.sites[0].skew_ms = 0;
    world.round(2);
    world.round(3);
    assert_eq!(past(&world, 0, "x").len(), 1);
}

fn perform(world: &mut World, site: usize, filter: &RollbackFilter) -> Vec<RollbackAction> {
    let (space, mut after, mut all) = (world.space(site, "libs"), None, Vec::new());
    loop {
        let step = rollback_step(&world.sites[site].disk, &space, filter, after.as_ref(), 2);
        let (actions, next) = step.expect("rows can be read");
        for action in &actions {
            let by = "operator".to_owned();
            match action.clone() {
                RollbackAction::Restore { path, version } => {
                    world.ask(site, Command::Restore { key: repo("libs"), path, version, by }).expect("restore");
                }
                RollbackAction::Delete { path } => {
                    world.ask(site, Command::Delete { key: repo("libs"), path, only: None, by }).expect("delete");
                }
                RollbackAction::Dismiss { path, versions } => {
                    world.ask(site, Command::Dismiss { key: repo("libs"), path, versions, by }).expect("dismiss");
                }
                RollbackAction::Leave { .. } => {}
            }
        }
        all.extend(actions);
        after = next;
        if after.is_none() {
            return all;
        }
    }
}

#[test]
fn a_rollback_undoes_one_authors_doings_and_leaves_what_others_wrote_since() {
    let mut world = federated();
    for at in ["changed", "deleted", "moved", "rescued", "untouched"] {
        world.ask(1, put("libs", at, at)).expect("put");
    }
    world.settle();
    world.now += 60_000;
    let since: Timestamp = world.sites[2].wall(world.now);
    world.ask(2, put("libs", "changed", "damage")).expect("overwrite");
    world.ask(2, put("libs", "changed", "more damage")).expect("overwrite");
    world.ask(2, put("libs", "added", "rubbish")).expect("put");
    world.ask(2, delete("libs", "deleted")).expect("delete");
    world.ask(2, moving("moved", "elsewhere")).expect("move");
    world.ask(2, put("libs", "rescued", "damage")).expect("overwrite");
    world.settle();
    world.ask(1, put("libs", "rescued", "anew")).expect("overwrite");
    world.settle();
    let filter = RollbackFilter { author: Some(world.node(2)), user: None, since };
    let actions = perform(&mut world, 0, &filter);
    let left: Vec<&RollbackAction> =
        actions.iter().filter(|action| matches!(action, RollbackAction::Leave { .. })).collect();
    assert!(matches!(&left[..], [RollbackAction::Leave { path: at, author, .. }]
        if *at == path("rescued") && *author == Some(world.node(1))));
    world.settle();
    for site in 0..4 {
        for at in ["changed", "deleted", "moved", "untouched"] {
            assert_eq!(world.versions(site, "libs", at), [Digest::of(at.as_bytes())], "{at} at site {site}");
        }
        assert_eq!(world.versions(site, "libs", "rescued"), [Digest::of(b"anew")]);
        assert!(
            world.versions(site, "libs", "added").is_empty() && world.versions(site, "libs", "elsewhere").is_empty()
        );
    }
    assert_eq!(perform(&mut world, 0, &filter).len(), 1, "done twice, it does nothing more");
}

#[test]
fn a_rollback_of_a_user_leaves_other_users_of_the_same_node_alone() {
    let mut world = federated();
    let put_by = |what: &str, by: &str| match put("libs", "x", what) {
        Command::Put { key, path, content, .. } => Command::Put { key, path, content, by: by.into() },
        other => other,
    };
    world.ask(1, put_by("good", "alice")).expect("put");
    world.now += 1_000;
    let since = world.sites[1].wall(world.now);
    world.ask(1, put_by("bad", "mallory")).expect("overwrite");
    world.settle();
    let of = |user: &str| RollbackFilter { author: None, user: Some(user.into()), since };
    assert!(perform(&mut world, 0, &of("alice")).is_empty());
    perform(&mut world, 0, &of("mallory"));
    assert_eq!(world.versions(0, "libs", "x"), [Digest::of(b"good")]);
}

#[test]
fn an_end_that_was_taken_back_is_forgotten_for_the_one_that_counts_though_the_clock_was_set_back() {
    let mut taken_back = 0;
    for what in ["a", "b", "c", "d", "e", "f"] {
        let (mut world, _) = forked_after(
            |world| {
                world.ask(2, put("libs", "x", "x")).expect("put");
                rounds(world);
            },
            |world| drop(world.ask(1, delete("libs", "x")).expect("delete")),
            |world| {
                world.ask(2, delete("libs", "x")).expect("delete");
                world.ask(1, put("libs", "y", what)).expect("put");
            },
        );
        let carol = world.node(2);
        let hers = world.truth.segments.iter().rev().find(|segment| segment.header.incarnation.node == carol);
        let hers = hers.expect("she deleted it, too").bytes().to_vec();
        world.handle(0, Input::Frame(carol, frame(world.space(0, "libs"), &[&hers])), None);
        world.sites[0].skew_ms = -60_000;
        long_rounds(&mut world);
        agree(&world);
        let ends: Vec<_> = past(&world, 0, "x").iter().filter_map(|historic| historic.ended.dot).collect();
        assert_eq!(ends.len(), 1);
        if world.sites[0].notes.iter().any(|note| matches!(note, Event::TakenBack { .. })) {
            assert_eq!(ends[0].incarnation.node, carol);
            taken_back += 1;
        }
    }
    assert!(taken_back > 0);
}
