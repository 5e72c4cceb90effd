//! Putting, overwriting, deleting: what readers see where.

use std::collections::BTreeMap;

use artimesh_core::model::{Digest, Properties};
use artimesh_core::replica::{Command, CommandError};

use crate::world::{World, content, create, delete, path, put, repo};

fn of(what: &str) -> Vec<Digest> {
    vec![Digest::of(what.as_bytes())]
}

/// Three full members and an edge that share `libs`.
pub fn federated() -> World {
    let mut world = World::circle(3, 1);
    let invite = vec![world.node(1), world.node(2)];
    world.ask(0, create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    for site in 0..4 {
        assert!(world.repository(site, "libs").is_some(), "site {site} has no repository");
    }
    world
}

fn everywhere(world: &World, at: &str, expected: &[Digest]) {
    for site in 0..world.sites.len() {
        assert_eq!(world.versions(site, "libs", at), expected, "at site {site}");
    }
}

#[test]
fn a_put_an_overwrite_and_a_delete_spread_to_members_and_edges() {
    let mut world = federated();
    world.ask(1, put("libs", "a/b.jar", "one")).expect("put");
    world.settle();
    everywhere(&world, "a/b.jar", &of("one"));
    let receipt = world.ask(2, put("libs", "a/b.jar", "two")).expect("overwrite");
    assert!(receipt.replaced);
    world.settle();
    everywhere(&world, "a/b.jar", &of("two"));
    world.ask(0, delete("libs", "a/b.jar")).expect("delete");
    world.settle();
    everywhere(&world, "a/b.jar", &[]);
    assert_eq!(world.ask(1, delete("libs", "a/b.jar")), Err(CommandError::NoArtifact(path("a/b.jar"))));
}

#[test]
fn it_converges_without_gossip_too() {
    let mut world = federated();
    world.network.gossip_is_off = true;
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.round(3);
    everywhere(&world, "x", &of("one"));
}

#[test]
fn concurrent_puts_become_siblings_and_the_greater_is_shown() {
    let mut world = federated();
    world.network.gossip_is_off = true;
    let first = world.ask(1, put("libs", "x", "one")).expect("put");
    world.now += 5;
    let second = world.ask(2, put("libs", "x", "two")).expect("put");
    assert!((second.timestamp, second.dot) > (first.timestamp, first.dot));
    world.round(3);
    everywhere(&world, "x", &[of("two"), of("one")].concat());
    world.ask(0, put("libs", "x", "three")).expect("resolves");
    world.round(4);
    everywhere(&world, "x", &of("three"));
}

#[test]
fn a_write_beats_what_its_site_had_seen_whatever_its_clock_says() {
    let mut world = federated();
    world.sites[2].skew_ms = -3_600_000;
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    world.ask(2, put("libs", "x", "two")).expect("put by a slow clock");
    world.settle();
    everywhere(&world, "x", &of("two"));
}

#[test]
fn a_put_that_the_deleter_had_not_seen_survives_the_delete() {
    let mut world = federated();
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    world.network.gossip_is_off = true;
    world.ask(1, put("libs", "x", "two")).expect("overwrite");
    world.now += 1_000;
    world.ask(2, delete("libs", "x")).expect("deletes the first only");
    world.round(5);
    everywhere(&world, "x", &of("two"));
}

#[test]
fn commands_of_one_input_share_a_segment_and_see_each_other() {
    use artimesh_core::replica::Input;
    let mut world = federated();
    let before = world.truth.segments.len();
    let commands = vec![(900, put("libs", "x", "one")), (901, put("libs", "x", "two")), (902, delete("libs", "x"))];
    world.handle(1, Input::Local(commands), None);
    assert_eq!(world.truth.segments.len(), before + 1);
    world.settle();
    everywhere(&world, "x", &[]);
}

#[test]
fn a_site_without_the_repository_refuses_to_write_in_it() {
    let mut world = federated();
    assert_eq!(world.ask(1, put("other", "x", "one")), Err(CommandError::NoRepository(repo("other"))));
    assert_eq!(world.ask(3, put("libs", "x", "one")), Err(CommandError::Follower));
}

#[test]
fn what_is_out_of_bounds_is_refused_and_changes_nothing() {
    let mut world = federated();
    let rows = world.sites[0].disk.clone();
    let mut loud = content("one");
    loud.media_type = "x".repeat(3_000_000);
    let long_type = Command::Put { key: repo("libs"), path: path("x"), content: loud, by: "tester".into() };
    assert!(matches!(world.ask(0, long_type), Err(CommandError::Entry(_))));
    let by = "x".repeat(3_000_000);
    let long_user = Command::Put { key: repo("libs"), path: path("x"), content: content("one"), by };
    assert!(matches!(world.ask(0, long_user), Err(CommandError::Entry(_))));
    let target = world.node(1);
    let long_reason = Command::Revoke(target, "x".repeat(3_000_000));
    assert!(matches!(world.ask(0, long_reason), Err(CommandError::Trust(_))));
    let mut long_description = create("new", Vec::new());
    if let Command::CreateRepository { config, .. } = &mut long_description {
        config.description = "x".repeat(3_000_000);
    }
    assert!(matches!(world.ask(0, long_description), Err(CommandError::Entry(_))));
    assert_eq!(rows, world.sites[0].disk);
}

#[test]
fn the_greatest_puts_fit_segments_and_frames() {
    use artimesh_core::replica::Input;
    let mut world = federated();
    let mut great = content("great");
    let many = (0..128).map(|n| (format!("{n:0100}"), vec![String::new(); 64]));
    great.properties = Properties::try_from(BTreeMap::from_iter(many)).expect("within the bounds");
    great.media_type = "m".repeat(255);
    let at = vec!["p".repeat(255); 4].join("/");
    let put =
        |_| Command::Put { key: repo("libs"), path: path(&at[..1020]), content: great.clone(), by: "u".repeat(255) };
    world.handle(0, Input::Local((0..60).map(|n| (5_000 + n, put(n))).collect()), None);
    world.network.gossip.clear();
    for dice in 0..4 {
        world.round(dice);
    }
    assert_eq!(world.versions(2, "libs", &at[..1020]).len(), 1);
    let space = world.space(0, "libs");
    assert_eq!(world.digest(0, &space), world.digest(2, &space));
}

#[test]
fn a_path_with_more_siblings_than_an_entry_names_is_still_replaced() {
    let mut world = federated();
    world.network.gossip_is_off = true;
    // Siblings come from lives that never saw each other: the same site, set back again and again, heard by gossip only.
    let copy = world.sites[1].disk.clone();
    for n in 0..300 {
        world.crash(1);
        world.sites[1].disk = copy.clone();
        world.sites[1].disk.forget_incarnation();
        world.restart(1);
        world.ask(1, put("libs", "x", &format!("v{n}"))).expect("put");
        let segment = world.truth.segments.last().expect("just written").bytes().to_vec();
        let space = world.space(1, "libs");
        let gossip = artimesh_core::replica::message::Announcement::Segment(segment).to_bytes();
        world.handle(0, artimesh_core::replica::Input::Gossip(space, gossip), None);
    }
    assert_eq!(world.versions(0, "libs", "x").len(), 300);
    world.ask(0, put("libs", "x", "final")).expect("replaces them all");
    assert_eq!(world.versions(0, "libs", "x"), of("final"));
}
