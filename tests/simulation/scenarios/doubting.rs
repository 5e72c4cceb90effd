//! Rows that may be older than what their node told others.

use artimesh_core::model::{Digest, Head, Heads, Space};
use artimesh_core::replica::message::{HeadsMessage, Message, SpaceHeads};
use artimesh_core::replica::{CommandError, Event, Input};
use artimesh_core::trust::Role;

use super::refusing::{circle, forgery, lie};
use super::writing::federated;
use crate::disk::Disk;
use crate::forge::frame;
use crate::world::{World, put, writer};

/// What a peer says when it claims to have `more` entries of the second site's present life than that has itself.
pub(super) fn claim(world: &World, space: Space, more: u64) -> Vec<u8> {
    let mine = world.sites[1].mind().incarnation();
    let has = world.sites[1].mind().heads(&space).of(&mine).sequence;
    let heads = Heads([(mine, Head { sequence: has + more, chain: Digest::of(b"who knows") })].into());
    let spaces = vec![SpaceHeads { space, heads }];
    Message::Heads(HeadsMessage { spaces, statements: Digest::ZERO, reply: false }).to_bytes()
}

#[test]
fn a_site_set_back_writes_nothing_between_the_first_hint_and_the_proof() {
    let mut world = federated();
    let copy = world.sites[1].disk.clone();
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    world.crash(1);
    world.sites[1].disk = copy;
    world.restart(1);
    let old = world.sites[1].mind().incarnation();
    // It hears heads before it gets segments.
    let hint = claim(&world, world.space(1, "libs"), 1);
    world.handle(1, Input::Frame(world.node(0), hint), None);
    assert_eq!(world.ask(1, put("libs", "x", "two")), Err(CommandError::Reconciling));
    // Who gave the hint is gone without an answer; another brings the proof.
    world.now += 10_000;
    world.connect_all();
    world.settle();
    world.round(1);
    let new = world.sites[1].mind().incarnation();
    assert!(world.sites[1].notes.contains(&Event::RolledBack { old, new }));
    world.ask(1, put("libs", "x", "two")).expect("at once, in a new life");
    world.settle();
    assert!(world.truth.forked.is_empty());
    for site in 0..4 {
        assert_eq!(world.versions(site, "libs", "x"), world.versions(1, "libs", "x"));
    }
}

#[test]
fn a_liar_stops_a_site_for_a_short_time_only_and_not_soon_again() {
    let mut world = federated();
    let from = world.node(2);
    world.handle(1, Input::Frame(from, claim(&world, world.space(1, "libs"), 5)), None);
    assert_eq!(world.ask(1, put("libs", "x", "one")), Err(CommandError::Reconciling));
    world.now += 15_000;
    world.ask(1, put("libs", "x", "one")).expect("no proof came");
    world.handle(1, Input::Frame(from, claim(&world, world.space(1, "libs"), 5)), None);
    world.ask(1, put("libs", "x", "two")).expect("disbelieved");
    // Ten minutes after the first claim.
    world.now += 585_000;
    world.handle(1, Input::Frame(from, claim(&world, world.space(1, "libs"), 5)), None);
    assert_eq!(world.ask(1, put("libs", "x", "three")), Err(CommandError::Reconciling));
}

#[test]
fn a_site_that_asks_first_writes_where_others_are_members_once_one_was_heard() {
    let mut world = federated();
    world.ask(1, crate::world::create("alone", Vec::new())).expect("a free key");
    world.crash(1);
    world.sites[1].asks_first = true;
    world.restart(1);
    let space = world.space(1, "libs");
    assert_eq!(world.ask(1, put("libs", "x", "one")), Err(CommandError::AsksFirst(space)));
    world.ask(1, put("alone", "x", "one")).expect("nobody to ask");
    world.connect(1, 3);
    world.settle();
    assert_eq!(world.ask(1, put("libs", "x", "one")), Err(CommandError::AsksFirst(space)), "an edge isn't asked");
    world.connect(1, 2);
    world.settle();
    world.ask(1, put("libs", "x", "one")).expect("heard");
}

#[test]
fn a_wiped_site_with_its_old_keys_gets_everything_back_in_a_new_life() {
    let mut world = federated();
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    let (old, trust) = (world.sites[1].mind().incarnation(), world.digest(0, &Space::Trust));
    world.crash(1);
    world.sites[1].disk = Disk::new();
    world.restart(1);
    assert!(world.sites[1].mind().circle().is_none());
    world.pair(0, 1, Role::Full, writer()).expect("it is who it was");
    for dice in 0..4 {
        world.connect_all();
        world.settle();
        world.round(dice);
    }
    assert_ne!(world.sites[1].mind().incarnation(), old);
    assert_ne!(world.digest(0, &Space::Trust), trust, "it has another grant");
    assert_eq!(world.versions(1, "libs", "x").len(), 1);
    world.ask(1, put("libs", "x", "two")).expect("a member still");
    world.settle();
    let space = world.space(0, "libs");
    for site in 0..4 {
        assert_eq!(world.versions(site, "libs", "x"), vec![Digest::of(b"two")]);
        assert_eq!(world.digest(site, &space), world.digest(0, &space));
    }
    assert!(world.truth.forked.is_empty());
}

#[test]
fn a_claim_stops_a_site_whose_clock_jumps_no_longer_than_any_other() {
    for skew_ms in [-3_600_000, 15_000] {
        let mut world = federated();
        let hint = claim(&world, world.space(1, "libs"), 5);
        world.handle(1, Input::Frame(world.node(2), hint), None);
        assert_eq!(world.ask(1, put("libs", "x", "one")), Err(CommandError::Reconciling));
        world.sites[1].skew_ms += skew_ms;
        world.ask(1, put("libs", "x", "one")).expect("the time is over, or can't be told any more");
    }
}

#[test]
fn nobody_else_ends_a_sites_life() {
    let mut world = federated();
    let (space, life) = (world.space(1, "libs"), world.sites[1].mind().incarnation());
    let mut stolen = forgery(&world, 2, space).says(&lie("x", Vec::new()));
    stolen.incarnation = life;
    stolen.after = world.sites[1].mind().heads(&space).of(&life);
    stolen.context.0.remove(&life);
    let stolen = stolen.signed(&world.sites[2], &circle(&world));
    world.handle(1, Input::Frame(world.node(2), frame(space, &[stolen.bytes()])), None);
    assert_eq!(world.refusals(1).len(), 1);
    assert_eq!(world.sites[1].mind().incarnation(), life, "it isn't signed by its own key");
    world.ask(1, put("libs", "x", "one")).expect("put");
    assert_eq!(world.versions(1, "libs", "x"), [Digest::of(b"one")]);
}
