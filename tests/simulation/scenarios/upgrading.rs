//! Mixed versions: what one doesn't know it keeps and passes on, and nobody writes what a member can't read.

use artimesh_core::changelog::Sealed;
use artimesh_core::model::{Envelope, Head, Space};
use artimesh_core::replica::message::{FEATURES, Message};
use artimesh_core::replica::{Command, CommandError, Event, Input, Refusal, Table, rows};
use artimesh_core::trust::Role;

use super::refusing::{circle, forgery, lie};
use super::writing::federated;
use crate::forge::frame;
use crate::world::{World, create, delete, put, repo};

/// A segment of the second site with an entry of the future in it.
fn future(world: &World, space: Space, kind: u16) -> Sealed {
    let mut future = forgery(world, 1, space).says(&lie("x", Vec::new()));
    future.entries.push(Envelope { kind, body: vec![1, 2, 3] });
    future.signed(&world.sites[1], &circle(world))
}

#[test]
fn an_unknown_kind_is_kept_and_not_applied_and_the_authors_other_spaces_go_on() {
    let mut world = federated();
    let members = vec![world.node(0), world.node(2)];
    world.ask(1, create("other", members)).expect("a second federation");
    world.settle();
    world.round(1);
    let space = world.space(0, "libs");
    let heads = world.sites[0].mind().heads(&space);
    let future = future(&world, space, 9_999);
    let dot = future.header.dot(1);
    world.handle(0, Input::Frame(world.node(1), frame(space, &[future.bytes()])), None);
    assert!(world.sites[0].notes.contains(&Event::Kept { space, dot, kind: 9_999 }));
    assert_eq!(world.sites[0].mind().heads(&space), heads, "not counted");
    assert!(world.versions(0, "libs", "x").is_empty());
    assert_eq!(world.sites[0].mind().kept().count(), 1);
    world.ask(1, put("other", "y", "two")).expect("put elsewhere");
    world.settle();
    assert_eq!(world.versions(0, "other", "y").len(), 1);
    // It is kept once, and a restart finds it again.
    let rows = world.sites[0].disk.clone();
    world.handle(0, Input::Frame(world.node(1), frame(space, &[future.bytes()])), None);
    assert!(rows == world.sites[0].disk);
    world.crash(0);
    world.restart(0);
    assert_eq!(world.sites[0].mind().kept().count(), 1);
    world.round(2);
    assert_eq!(world.sites[0].mind().heads(&space), heads, "and still doesn't know it");
}

#[test]
fn what_is_kept_reaches_those_who_have_no_other_way_to_its_author() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let future = future(&world, space, 9_999);
    world.disconnect(1, 2);
    world.network.cut(1, 2);
    world.disconnect(1, 3);
    world.network.cut(1, 3);
    world.handle(0, Input::Frame(world.node(1), frame(space, &[future.bytes()])), None);
    for dice in 0..4 {
        world.round(dice);
    }
    for site in [2, 3] {
        assert_eq!(world.sites[site].mind().kept().count(), 1, "at site {site}");
        assert!(world.refusals(site).is_empty());
    }
}

#[test]
fn what_is_kept_is_told_to_all_who_share_its_space_at_the_next_tick() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let future = future(&world, space, 9_999);
    world.handle(0, Input::Frame(world.node(1), frame(space, &[future.bytes()])), None);
    world.handle(0, Input::Tick { dice: 0, round: false }, None);
    world.settle();
    for site in 1..4 {
        assert_eq!(world.sites[site].mind().kept().count(), 1, "at site {site}");
    }
}

#[test]
fn a_fork_of_what_is_kept_is_noticed() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let (one, other) = (future(&world, space, 9_999), future(&world, space, 9_998));
    world.handle(0, Input::Frame(world.node(1), frame(space, &[one.bytes(), other.bytes()])), None);
    assert!(matches!(world.refusals(0)[..], [Refusal::Fork(..)]));
}

#[test]
fn what_follows_neither_what_is_applied_nor_what_is_kept_is_dropped() {
    let mut world = federated();
    let space = world.space(0, "libs");
    let (one, other) = (future(&world, space, 9_999), future(&world, space, 9_998));
    let mut stray = forgery(&world, 1, space).says(&lie("y", Vec::new()));
    stray.after = Head { sequence: other.header.last_sequence(), chain: other.hash };
    let stray = stray.signed(&world.sites[1], &circle(&world));
    world.handle(0, Input::Frame(world.node(1), frame(space, &[stray.bytes()])), None);
    assert_eq!(world.sites[0].mind().parked(), 1, "it waits for what it follows");
    // In its place comes what is kept: from here on it looks as if it could follow, and never can.
    world.handle(0, Input::Frame(world.node(1), frame(space, &[one.bytes()])), None);
    assert_eq!(world.sites[0].mind().parked(), 0);
    assert_eq!(world.sites[0].mind().kept().map(|(_, heads)| heads.0.len()).collect::<Vec<_>>(), [1]);
    assert!(world.refusals(0).is_empty(), "who sent it may have been right");
}

fn remove(node: artimesh_core::model::NodeId) -> Command {
    Command::Remove { key: repo("libs"), node, by: "tester".into() }
}

#[test]
fn an_upgrade_applies_what_was_kept_and_what_was_built_on_it() {
    let mut world = federated();
    world.crash(2);
    world.sites[2].features = 0;
    world.restart(2);
    // Written before the others hear of the downgrade.
    let dave = world.node(3);
    let invited = world.join_outside();
    world.pair(0, invited, Role::Full, crate::world::writer()).expect("fresh");
    world.settle();
    let erin = world.node(invited);
    world.ask(0, Command::Invite(repo("libs"), erin)).expect("free");
    world.settle();
    world.round(1);
    world.ask(0, remove(erin)).expect("all have announced what they know");
    world.settle();
    world.ask(1, put("libs", "x", "built on it")).expect("put");
    world.ask(0, put("libs", "y", "after it")).expect("put");
    world.connect_all();
    world.settle();
    world.round(2);
    let space = world.space(0, "libs");
    assert!(world.versions(2, "libs", "x").is_empty() && world.versions(2, "libs", "y").is_empty());
    assert_eq!(world.sites[2].mind().kept().next().map(|(_, heads)| heads.0.len()), Some(2));
    world.crash(2);
    world.sites[2].features = FEATURES;
    world.restart(2);
    world.handle(2, Input::Tick { dice: 1, round: false }, None);
    assert_eq!(world.sites[2].mind().heads(&space), world.sites[0].mind().heads(&space), "with nobody's help");
    assert_eq!(world.digest(2, &space), world.digest(0, &space));
    assert_eq!(world.sites[2].mind().kept().count(), 0);
    let kept = world.sites[2].disk.table(Table::Log).filter(|(key, _)| key.starts_with(rows::KEPT));
    assert_eq!(kept.count(), 0);
    assert_ne!(dave, erin);
}

#[test]
fn nobody_writes_what_a_member_can_not_read() {
    let mut world = federated();
    world.crash(2);
    world.sites[2].features = 0;
    world.restart(2);
    world.connect_all();
    world.settle();
    let (bob, carol) = (world.node(1), world.node(2));
    let Err(CommandError::NeedsUpgrade { node, name, .. }) = world.ask(0, remove(bob)) else { panic!("refused") };
    assert_eq!((node, name.as_str()), (carol, "carol"));
    // It is remembered, and spreads through others.
    world.crash(0);
    world.restart(0);
    assert!(matches!(world.ask(0, remove(bob)), Err(CommandError::NeedsUpgrade { .. })));
    world.crash(2);
    world.sites[2].features = FEATURES;
    world.restart(2);
    world.network.cut(0, 2);
    world.connect_all();
    world.settle();
    world.round(1);
    world.ask(0, remove(bob)).expect("upgraded, as the second site told");
}

#[test]
fn who_can_not_read_what_its_source_did_meanwhile_says_nothing_of_its_state() {
    let mut world = federated();
    let invited = world.join_outside();
    world.pair(0, invited, Role::Full, crate::world::writer()).expect("fresh");
    let erin = world.node(invited);
    world.ask(0, Command::Invite(repo("libs"), erin)).expect("free");
    world.ask(0, put("libs", "old", "one")).expect("put");
    world.connect_all();
    world.round(1);
    world.crash(1);
    world.sites[1].features = 0;
    world.ask(0, put("libs", "news", "one")).expect("put");
    world.settle();
    world.restart(1);
    world.connect(0, 1);
    let (space, member) = (world.space(1, "libs"), Some(world.node(0)));
    world.ask(1, Command::Sync { key: repo("libs"), member, dry_run: false }).expect("alice is there");
    world.go_on(1, None);
    // Only the comparison gets through, and the log that it asks for.
    let lost = |_, message: &Message| {
        matches!(message, Message::Heads(_) | Message::Statements(_) | Message::Clock(_) | Message::State(_))
    };
    world.drain_but(1, 0, &lost);
    // What follows on the removal can't be applied before the upgrade; the comparison shows its work all the same.
    world.ask(0, remove(erin)).expect("nobody has heard of the downgrade");
    world.ask(0, delete("libs", "news")).expect("delete");
    for dice in 0..4 {
        world.settle_but(lost);
        world.now += 1_000;
        world.handle(1, Input::Tick { dice, round: false }, None);
    }
    let alice = world.sites[0].mind().incarnation();
    let heads = [0, 1].map(|site| world.sites[site].mind().heads(&space).of(&alice).sequence);
    assert_eq!(
        (heads[0] - heads[1], world.versions(1, "libs", "news").len()),
        (2, 0),
        "its heads don't say that it is dead"
    );
    assert!(world.sites[1].mind().is_merging(&space));
    assert_eq!(world.sites[1].mind().digest(&space), None);
    world.crash(1);
    world.sites[1].features = FEATURES;
    world.restart(1);
    // One step after the other, with nobody's help and before any tick.
    for _ in 0..100 {
        world.handle(1, Input::Continue, None);
    }
    assert_eq!(world.sites[1].mind().heads(&space).of(&alice).sequence, heads[0]);
    for dice in 0..4 {
        world.connect_all();
        world.round(dice);
    }
    assert!(!world.sites[1].mind().is_merging(&space));
    for site in 1..4 {
        assert_eq!(world.sites[site].mind().heads(&space), world.sites[0].mind().heads(&space), "site {site}");
        assert_eq!(world.digest(site, &space), world.digest(0, &space), "site {site}");
    }
}
