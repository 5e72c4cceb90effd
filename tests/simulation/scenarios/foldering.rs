//! Folders that are made as such: they stay when nothing is in them, and follow the rules of files.

use artimesh_core::catalog::{Content, EntryFault, Put};
use artimesh_core::changelog::{Change, kind};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::Properties;
use artimesh_core::replica::message::FEATURES;
use artimesh_core::replica::{Command, CommandError, Input, Refusal, Table, rows};

use super::curating::{delete_under, label, moving, shown};
use super::refusing::{circle, forgery};
use super::writing::federated;
use crate::checks::oracle;
use crate::forge::frame;
use crate::world::{World, content, create, delete, folder, path, put, repo};

fn paths(world: &World, site: usize) -> Vec<String> {
    let space = world.space(site, "libs");
    oracle::catalog(&world.sites[site].disk, &space).keys().map(ToString::to_string).collect()
}

fn everywhere(world: &World, expected: &[&str]) {
    for site in 0..world.sites.len() {
        assert_eq!(paths(world, site), expected, "at site {site}");
    }
    let space = world.space(0, "libs");
    assert!((1..4).all(|site| world.digest(site, &space) == world.digest(0, &space)));
}

fn rounds(world: &mut World) {
    for dice in 0..6 {
        world.round(dice);
    }
}

#[test]
fn a_folder_stays_when_its_last_file_goes_and_goes_with_all_that_is_in_it() {
    let mut world = federated();
    world.ask(0, folder("libs", "a/")).expect("a folder");
    world.ask(1, put("libs", "a/x", "x")).expect("put");
    world.settle();
    everywhere(&world, &["a/", "a/x"]);
    world.ask(2, delete("libs", "a/x")).expect("delete");
    world.settle();
    everywhere(&world, &["a/"]);
    world.ask(1, put("libs", "a/y", "y")).expect("put");
    world.ask(1, put("libs", "ab", "ab")).expect("put");
    world.settle();
    world.ask(0, delete_under("a/", 10)).expect("delete");
    world.settle();
    everywhere(&world, &["ab"]);
    // Nobody wants bytes of a folder.
    for site in 0..4 {
        let wants = world.sites[site].disk.table(Table::Meta).filter(|(key, _)| key.starts_with(rows::WANTS));
        assert_eq!(wants.count(), 0, "at site {site}");
    }
}

#[test]
fn a_folder_that_its_deleter_had_not_seen_survives_and_is_flagged() {
    let mut world = federated();
    world.ask(0, folder("libs", "a/")).expect("a folder");
    world.settle();
    world.network.gossip_is_off = true;
    world.ask(0, delete_under("a/", 10)).expect("delete");
    let again = world.ask(1, folder("libs", "a/")).expect("made again meanwhile").dot;
    let twin = world.ask(2, folder("libs", "a/")).expect("and once more").dot;
    rounds(&mut world);
    everywhere(&world, &["a/"]);
    let space = world.space(0, "libs");
    let found = artimesh_core::replica::conflict(&world.sites[0].disk, &space, &path("a/")).expect("readable");
    let found = found.expect("it outlived a delete");
    assert!(found.survivors.contains_key(&again) && found.survivors.contains_key(&twin));
    assert!(!found.live.is_conflict(), "two folders are one folder");
}

#[test]
fn a_folder_is_moved_with_its_labels_and_never_becomes_a_file() {
    let mut world = federated();
    world.ask(0, folder("libs", "a/")).expect("a folder");
    world.ask(0, label("a/", "team", Some("red"))).expect("a label");
    world.settle();
    let bounds = EntryFault::Bounds("the path to move to");
    assert_eq!(world.ask(1, moving("a/", "b")), Err(CommandError::Entry(bounds)));
    world.ask(1, moving("a/", "b/c/")).expect("move");
    world.settle();
    everywhere(&world, &["b/c/"]);
    let moved = shown(&world, 2, "b/c/").expect("it is there");
    assert_eq!(moved.properties().as_map()["team"], ["red"]);
    let bytes = Command::Put { key: repo("libs"), path: path("d/"), content: content("x"), by: "tester".into() };
    let bounds = EntryFault::Bounds("the content of a folder");
    assert_eq!(world.ask(1, bytes), Err(CommandError::Entry(bounds)));
}

#[test]
fn a_folder_with_bytes_or_of_another_kind_is_refused() {
    let mut world = federated();
    let space = world.space(1, "libs");
    let by = "eve".to_owned();
    let lie = |at: &str, content: Content| {
        Change::Put(Put {
            path: path(at),
            content,
            timestamp: Timestamp(5),
            kills: Vec::new(),
            created: Timestamp(5),
            created_by: by.clone(),
            modified_by: by.clone(),
            moved_from: None,
        })
    };
    let empty = || Content::folder(Properties::default());
    let mut moved = lie("a/", empty());
    if let Change::Put(put) = &mut moved {
        put.moved_from = Some(path("a"));
    }
    for change in [lie("a/", content("bytes")), moved] {
        let segment = forgery(&world, 1, space).says(&change).signed(&world.sites[1], &circle(&world));
        world.sites[0].notes.clear();
        world.handle(0, Input::Frame(world.node(1), frame(space, &[segment.bytes()])), None);
        assert!(matches!(world.refusals(0).as_slice(), [Refusal::Entry(_, EntryFault::Bounds(_))]), "{change:?}");
    }
    for (change, other) in [(lie("a", empty()), kind::FOLDER), (lie("a/", empty()), kind::PUT)] {
        let mut envelope = change.to_envelope();
        envelope.kind = other;
        assert!(Change::read(&envelope).is_err());
    }
}

#[test]
fn a_folder_is_only_made_where_all_members_know_folders_and_kept_for_those_that_join() {
    let mut world = federated();
    world.sites[2].features = FEATURES & !(1 << 5);
    world.crash(2);
    world.restart(2);
    world.connect_all();
    world.settle();
    rounds(&mut world);
    let refused = world.ask(0, folder("libs", "a/"));
    assert!(matches!(refused, Err(CommandError::NeedsUpgrade { .. })), "{refused:?}");
    world.ask(0, put("libs", "a/x", "x")).expect("files go on");
    // Where that one isn't a member they are made; it becomes one.
    let invite = vec![world.node(1)];
    world.ask(0, create("docs", invite)).expect("a free key");
    world.settle();
    world.ask(0, folder("docs", "a/")).expect("a folder");
    world.ask(0, delete("docs", "a/")).expect("delete");
    world.ask(0, folder("docs", "b/")).expect("a folder");
    let node = world.node(2);
    world.ask(0, Command::Invite(repo("docs"), node)).expect("an invitation");
    world.settle();
    rounds(&mut world);
    world.sites[2].features = FEATURES;
    world.crash(2);
    world.restart(2);
    world.connect_all();
    world.settle();
    rounds(&mut world);
    let space = world.space(0, "docs");
    assert_eq!(world.repository(2, "docs"), Some(space));
    assert_eq!(world.digest(2, &space), world.digest(0, &space));
    world.ask(2, folder("libs", "a/")).expect("now all know them");
}
