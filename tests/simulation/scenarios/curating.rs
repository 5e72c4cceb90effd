//! Properties, moves, deletes of folders, settings: what is done to artifacts beside putting them.

use std::collections::BTreeMap;

use artimesh_core::catalog::{ConfigChange, EditProperties, Version};
use artimesh_core::changelog::Change;
use artimesh_core::model::{Digest, Dot, Properties};
use artimesh_core::replica::{Command, CommandError, Input, Receipt};

use super::refusing::{circle, forgery, lie};
use super::writing::federated;
use crate::checks::oracle;
use crate::forge::{Forgery, frame};
use crate::world::{World, content, delete, path, put, repo};

pub fn label(at: &str, name: &str, value: Option<&str>) -> Command {
    let set = BTreeMap::from([(name.to_owned(), value.map(|value| vec![value.to_owned()]))]);
    Command::SetProperties { key: repo("libs"), path: path(at), set, by: "tester".into() }
}

pub fn moving(from: &str, to: &str) -> Command {
    Command::Move { key: repo("libs"), from: path(from), to: path(to), by: "mover".into() }
}

pub fn delete_under(prefix: &str, most: usize) -> Command {
    Command::DeleteUnder { key: repo("libs"), prefix: prefix.to_owned(), most, by: "tester".into() }
}

pub fn shown(world: &World, site: usize, at: &str) -> Option<Version> {
    let space = world.space(site, "libs");
    oracle::catalog(&world.sites[site].disk, &space).remove(&path(at)).map(|versions| versions[0].clone())
}

fn labels(world: &World, site: usize, at: &str) -> Vec<String> {
    let properties = shown(world, site, at).map(|version| version.properties()).unwrap_or_default();
    properties.as_map().iter().map(|(name, values)| format!("{name}={}", values.join(","))).collect()
}

fn paths(world: &World, site: usize) -> Vec<String> {
    let space = world.space(site, "libs");
    oracle::catalog(&world.sites[site].disk, &space).keys().map(ToString::to_string).collect()
}

/// The second site says what its replica wouldn't, to the first and the third.
fn says(world: &mut World, changes: &[Change]) {
    let space = world.space(1, "libs");
    let forgery = changes.iter().fold(forgery(world, 1, space), Forgery::says);
    let segment = forgery.signed(&world.sites[1], &circle(world));
    for site in [0, 2] {
        world.sites[site].notes.clear();
        world.handle(site, Input::Frame(world.node(1), frame(space, &[segment.bytes()])), None);
    }
}

fn agree(world: &World) {
    let space = world.space(0, "libs");
    for site in 1..world.sites.len() {
        assert_eq!(world.digest(0, &space), world.digest(site, &space), "at site {site}");
    }
}

#[test]
fn labels_that_two_sites_set_at_once_are_both_kept_and_of_one_name_the_later_wins() {
    let mut world = federated();
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    world.network.gossip_is_off = true;
    world.ask(1, label("x", "arch", Some("arm"))).expect("label");
    world.ask(1, label("x", "stage", Some("test"))).expect("label");
    world.now += 5_000;
    world.ask(2, label("x", "stage", Some("live"))).expect("label");
    world.round(1);
    world.round(2);
    world.round(3);
    for site in 0..4 {
        assert_eq!(labels(&world, site, "x"), ["arch=arm", "stage=live"], "at site {site}");
    }
    world.ask(1, label("x", "stage", None)).expect("removes it");
    world.round(4);
    world.round(5);
    assert_eq!(labels(&world, 2, "x"), ["arch=arm"]);
    agree(&world);
}

#[test]
fn a_later_label_wins_whatever_its_sites_clock_says() {
    let mut world = federated();
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.ask(0, label("x", "stage", Some("test"))).expect("label");
    world.settle();
    world.sites[2].skew_ms = -3_600_000;
    world.ask(2, label("x", "stage", Some("live"))).expect("label by a slow clock");
    world.settle();
    assert_eq!(labels(&world, 0, "x"), ["stage=live"]);
}

#[test]
fn labels_die_with_their_version_and_keep_none_alive() {
    let mut world = federated();
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    world.network.gossip_is_off = true;
    world.ask(1, label("x", "stage", Some("live"))).expect("label");
    world.ask(2, put("libs", "x", "two")).expect("overwrite");
    for dice in 0..4 {
        world.round(dice);
    }
    for site in 0..4 {
        assert_eq!(world.versions(site, "libs", "x"), [Digest::of(b"two")], "at site {site}");
        assert_eq!(labels(&world, site, "x"), Vec::<String>::new(), "at site {site}");
    }
    world.ask(1, delete("libs", "x")).expect("delete");
    assert_eq!(world.ask(1, label("x", "a", Some("b"))), Err(CommandError::NoArtifact(path("x"))));
}

#[test]
fn a_label_of_a_version_at_another_path_changes_nothing() {
    let mut world = federated();
    let other = world.ask(1, put("libs", "x", "one")).expect("put").dot;
    world.ask(1, put("libs", "y", "two")).expect("put");
    let set = BTreeMap::from([("stage".to_owned(), Some(vec!["live".to_owned()]))]);
    let (timestamp, by) = (world.sites[1].wall(world.now), "tester".into());
    let edit = EditProperties { path: path("y"), version: other, set, timestamp, by };
    says(&mut world, &[Change::EditProperties(edit)]);
    for site in [0, 2] {
        assert!(labels(&world, site, "x").is_empty() && labels(&world, site, "y").is_empty(), "at site {site}");
    }
}

#[test]
fn a_move_takes_the_labels_along_and_is_one_change() {
    let mut world = federated();
    world.ask(0, put("libs", "in/x", "one")).expect("put");
    world.ask(0, label("in/x", "stage", Some("live"))).expect("label");
    world.settle();
    let before = world.truth.segments.len();
    let receipt = world.ask(1, moving("in/x", "out/x")).expect("move");
    assert_eq!(world.truth.segments.len(), before + 1, "both halves in one segment");
    assert_eq!((receipt.created_by.as_str(), receipt.replaced), ("tester", false));
    world.settle();
    for site in 0..4 {
        assert_eq!(paths(&world, site), ["out/x"], "at site {site}");
        assert_eq!(labels(&world, site, "out/x"), ["stage=live"]);
        assert_eq!(shown(&world, site, "out/x").and_then(|version| version.moved_from), Some(path("in/x")));
    }
    assert_eq!(world.ask(1, moving("in/x", "y")), Err(CommandError::NoArtifact(path("in/x"))));
    assert_eq!(world.ask(1, moving("out/x", "out/x")), Err(CommandError::OntoItself(path("out/x"))));
}

#[test]
fn a_folders_delete_ends_what_its_author_had_seen_there_and_nothing_else() {
    let mut world = federated();
    for at in ["a", "a/x", "a/y/z", "ab", "b"] {
        world.ask(0, put("libs", at, at)).expect("put");
    }
    world.settle();
    world.network.gossip_is_off = true;
    world.ask(1, put("libs", "a/new", "new")).expect("put that the deleter doesn't see");
    world.ask(1, put("libs", "a/x", "newer")).expect("overwrite that the deleter doesn't see");
    world.ask(2, put("libs", "a/own", "own")).expect("put");
    let receipt = world.ask(2, delete_under("a/", 100)).expect("delete");
    assert!(!receipt.more);
    assert_eq!(paths(&world, 2), ["a", "ab", "b"]);
    for dice in 0..4 {
        world.round(dice);
    }
    for site in 0..4 {
        assert_eq!(paths(&world, site), ["a", "a/new", "a/x", "ab", "b"], "at site {site}");
    }
    agree(&world);
    assert_eq!(world.ask(2, delete_under("q", 1)), Err(CommandError::NothingUnder("q".into())));
}

#[test]
fn a_large_folder_is_deleted_in_bounded_steps() {
    let mut world = federated();
    let puts = |n: usize| put("libs", &format!("f/{}/{n:03}", n / 25), &n.to_string());
    world.handle(0, Input::Local((0..100).map(|n| (1_000 + n as u64, puts(n))).collect()), None);
    world.ask(0, put("libs", "f", "a file of that name")).expect("put");
    world.settle();
    let mut left = 101;
    loop {
        let receipt: Receipt = world.ask(1, delete_under("f", 30)).expect("delete");
        left -= left.min(30);
        assert_eq!(paths(&world, 1).len(), left);
        assert_eq!(receipt.more, left > 0);
        if !receipt.more {
            break;
        }
    }
    world.settle();
    assert_eq!(paths(&world, 2), Vec::<String>::new());
    let prefixes = world.truth.spaces().flat_map(|space| world.truth.all(space));
    let prefixes = prefixes.filter(|(_, entry)| matches!(entry.change, Some(Change::DeletePrefix(_)))).count();
    assert!((4..30).contains(&prefixes), "{prefixes} prefix deletes");
    agree(&world);
}

#[test]
fn a_whole_repositorys_contents_are_deleted_and_what_nobody_had_seen_stays() {
    let mut world = federated();
    for at in ["a", "b/1", "b/2", "c/d/e"] {
        world.ask(0, put("libs", at, at)).expect("put");
    }
    world.settle();
    world.network.gossip_is_off = true;
    world.ask(2, put("libs", "b/3", "unseen")).expect("put");
    world.ask(0, delete_under("", 5_000)).expect("delete");
    assert_eq!(paths(&world, 0), Vec::<String>::new());
    for dice in 0..4 {
        world.round(dice);
    }
    agree(&world);
    assert_eq!(paths(&world, 1), ["b/3"]);
    assert_eq!(world.ask(1, delete_under("", 1)).map(|receipt| receipt.more), Ok(false));
    assert_eq!(world.ask(1, delete_under("", 1)), Err(CommandError::NothingUnder(String::new())));
}

#[test]
fn a_delete_of_one_version_spares_the_one_that_replaced_it() {
    let mut world = federated();
    let first = world.ask(0, put("libs", "a", "first")).expect("put").dot;
    world.settle();
    let only =
        |version: Dot| Command::Delete { key: repo("libs"), path: path("a"), only: Some(version), by: "x".into() };
    let second = world.ask(1, put("libs", "a", "second")).expect("put").dot;
    assert_eq!(world.ask(1, only(first)), Err(CommandError::Replaced(path("a"))));
    world.ask(1, only(second)).expect("delete");
    world.settle();
    agree(&world);
    assert!(paths(&world, 0).is_empty());
}

#[test]
fn a_prefix_delete_in_the_middle_of_a_segment_is_refused() {
    let mut world = federated();
    world.ask(0, put("libs", "x", "one")).expect("put");
    world.settle();
    let timestamp = world.sites[1].wall(world.now);
    let prefix = artimesh_core::catalog::DeletePrefix { prefix: String::new(), timestamp, by: "tester".into() };
    says(&mut world, &[lie("y", Vec::new()), Change::DeletePrefix(prefix)]);
    assert_eq!(world.versions(0, "libs", "x").len(), 1);
    assert!(!world.refusals(0).is_empty());
}

#[test]
fn settings_that_two_sites_change_at_once_are_both_kept() {
    let mut world = federated();
    world.network.gossip_is_off = true;
    let configure = |set| Command::Configure { key: repo("libs"), set, by: "tester".into() };
    let package_type = Some("maven".to_owned());
    world.ask(1, configure(ConfigChange { package_type, ..ConfigChange::default() })).expect("configure");
    let description = Some("libraries".to_owned());
    world.ask(2, configure(ConfigChange { description, ..ConfigChange::default() })).expect("configure");
    for dice in 0..4 {
        world.round(dice);
    }
    let space = world.space(0, "libs");
    for site in 0..4 {
        let config = world.sites[site].mind().federation(&space).expect("held").configuration.config();
        assert_eq!((config.package_type.as_str(), config.description.as_str()), ("maven", "libraries"));
    }
    agree(&world);
    let nothing = world.ask(1, configure(ConfigChange::default()));
    assert!(matches!(nothing, Err(CommandError::Entry(_))), "{nothing:?}");
}

#[test]
fn labels_out_of_bounds_are_refused_and_change_nothing() {
    let mut world = federated();
    let mut full = content("one");
    let names = (0..128).map(|n| (format!("n{n}"), vec!["v".to_owned()]));
    full.properties = Properties::try_from(names.collect::<BTreeMap<_, _>>()).expect("within the bounds");
    let put = Command::Put { key: repo("libs"), path: path("x"), content: full, by: "tester".into() };
    world.ask(0, put).expect("put");
    let rows = world.sites[0].disk.clone();
    for (name, value) in [("one more", "v"), ("n1", &*"v".repeat(2_500)), ("a=b", "v"), ("", "v")] {
        let refused = world.ask(0, label("x", name, Some(value)));
        assert!(matches!(refused, Err(CommandError::Entry(_))), "{name}: {refused:?}");
    }
    assert_eq!(rows, world.sites[0].disk);
    let unseen = Dot { sequence: 99, ..world.ask(0, label("x", "n1", Some("w"))).expect("in place of another").dot };
    let set = BTreeMap::from([("stage".to_owned(), None)]);
    let (timestamp, by) = (world.sites[0].wall(world.now), "tester".into());
    let edit = EditProperties { path: path("x"), version: unseen, set, timestamp, by };
    world.settle();
    says(&mut world, &[Change::EditProperties(edit)]);
    assert!(!world.refusals(2).is_empty(), "an edit of what its author can't have seen");
}
