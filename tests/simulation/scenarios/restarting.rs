//! Waking up from the rows: the same mind as before.

use artimesh_core::model::Space;
use artimesh_core::replica::Event;
use artimesh_core::trust::{Capabilities, Role};

use super::writing::federated;
use crate::world::{World, put, writer};

#[test]
fn a_restart_gives_the_same_heads_trust_federations_digest_and_incarnation() {
    let mut world = federated();
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    for site in 0..4 {
        let before = world.sites[site].mind().clone();
        let space = world.space(site, "libs");
        let digests = (world.digest(site, &space), world.digest(site, &Space::Trust));
        world.crash(site);
        world.restart(site);
        let after = world.sites[site].mind();
        assert_eq!(before.incarnation(), after.incarnation());
        assert_eq!(before.repositories(), after.repositories());
        assert_eq!(before.admitted_peers(), after.admitted_peers());
        let of = |mind: &artimesh_core::replica::Replica| {
            mind.spaces().map(|(space, heads, f)| (*space, heads.clone(), f.cloned())).collect::<Vec<_>>()
        };
        assert_eq!(of(&before), of(after));
        assert_eq!(digests, (world.digest(site, &space), world.digest(site, &Space::Trust)));
        world.connect_all();
        world.settle();
    }
    world.ask(1, put("libs", "x", "two")).expect("writes on in the same log");
    world.settle();
    assert_eq!(world.versions(0, "libs", "x"), world.versions(1, "libs", "x"));
}

#[test]
fn a_site_set_back_to_an_old_copy_gets_back_what_peers_have_and_writes_on() {
    let mut world = federated();
    let copy = world.sites[1].disk.clone();
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    world.crash(1);
    world.sites[1].disk = copy;
    world.sites[1].disk.forget_incarnation();
    world.restart(1);
    world.connect_all();
    world.settle();
    world.round(1);
    assert_eq!(world.versions(1, "libs", "x").len(), 1);
    world.ask(1, put("libs", "x", "two")).expect("put in a new life");
    world.settle();
    for site in 0..4 {
        assert_eq!(world.versions(site, "libs", "x"), world.versions(1, "libs", "x"));
    }
}

#[test]
fn a_site_set_back_to_before_it_was_a_member_gets_its_repository_back() {
    let mut world = World::circle(2, 0);
    let copy = world.sites[1].disk.clone();
    let invite = vec![world.node(1)];
    world.ask(0, crate::world::create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    world.crash(1);
    world.sites[1].disk = copy;
    world.sites[1].disk.forget_incarnation();
    world.restart(1);
    world.connect_all();
    world.settle();
    world.round(1);
    world.ask(1, put("libs", "x", "one")).expect("a member still");
    world.settle();
    assert_eq!(world.versions(0, "libs", "x").len(), 1);
}

#[test]
fn a_segment_that_comes_before_what_it_depends_on_waits_and_is_applied() {
    let mut world = federated();
    world.disconnect(0, 2);
    world.disconnect(1, 2);
    world.disconnect(3, 2);
    world.ask(0, put("libs", "x", "one")).expect("put");
    let first = world.network.gossip.clone();
    world.settle();
    world.ask(1, put("libs", "x", "two")).expect("overwrite");
    let second = world.network.gossip.clone();
    world.network.gossip.clear();
    let copy = world.sites[2].disk.clone();
    world.crash(2);
    world.sites[2].disk = copy;
    world.restart(2);
    let to_carol = |all: &[crate::network::Gossip]| all.iter().find(|gossip| gossip.to == 2).cloned().expect("one");
    // Its own heads go back too: the copy was taken before gossip reached it.
    let mut world = replay(world);
    world.deliver_gossip(&to_carol(&second), None);
    assert_eq!(world.sites[2].mind().parked(), 1);
    assert!(world.sites[2].notes.iter().any(|note| matches!(note, Event::Parked { .. })));
    world.deliver_gossip(&to_carol(&first), None);
    assert_eq!(world.sites[2].mind().parked(), 0);
    assert_eq!(world.versions(2, "libs", "x"), world.versions(1, "libs", "x"));
}

/// The same world, in which the third site is as it was before anything was put.
fn replay(mut world: World) -> World {
    let fresh = federated();
    world.sites[2].disk = fresh.sites[2].disk.clone();
    world.restart(2);
    world
}

#[test]
fn a_federation_entry_waits_for_the_grant_of_its_author() {
    let mut world = World::circle(2, 0);
    // Alice admits carol, who founds; bob hears of the federation by an invitation before he hears of the grant.
    let mut big = World::new(3);
    std::mem::swap(&mut world, &mut big);
    world.pair(0, 1, Role::Full, Capabilities::all()).expect("fresh");
    world.settle();
    world.pair(0, 2, Role::Full, writer()).expect("fresh");
    world.disconnect(0, 1);
    world.settle();
    let invite = vec![world.node(0), world.node(1)];
    // Carol knows bob from the log; bob doesn't know carol yet.
    world.ask(2, crate::world::create("libs", invite)).expect("may found");
    world.settle();
    world.connect_all();
    world.settle();
    for dice in 0..6 {
        world.connect_all();
        world.round(dice);
    }
    assert!(world.repository(1, "libs").is_some());
}

#[test]
fn a_site_set_back_without_being_told_notices_by_its_own_words_and_begins_a_new_life() {
    let mut world = federated();
    let copy = world.sites[1].disk.clone();
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    let old = world.sites[1].mind().incarnation();
    world.crash(1);
    world.sites[1].disk = copy;
    world.restart(1);
    assert_eq!(world.sites[1].mind().incarnation(), old);
    world.connect_all();
    world.settle();
    let new = world.sites[1].mind().incarnation();
    assert_ne!(new, old);
    assert!(world.sites[1].notes.contains(&Event::RolledBack { old, new }));
    world.ask(1, put("libs", "x", "two")).expect("put in a new life");
    world.settle();
    for site in 0..4 {
        assert_eq!(world.versions(site, "libs", "x"), world.versions(1, "libs", "x"));
    }
    assert!(world.truth.forked.is_empty());
    world.crash(1);
    world.restart(1);
    assert_eq!(world.sites[1].mind().incarnation(), new);
}

#[test]
fn a_peer_that_only_claims_to_have_more_of_our_log_changes_nothing() {
    use artimesh_core::model::{Digest, Head, Heads};
    use artimesh_core::replica::Input;
    use artimesh_core::replica::message::{HeadsMessage, Message, SpaceHeads};
    let mut world = federated();
    let mine = world.sites[0].mind().incarnation();
    let heads = Heads([(mine, Head { sequence: 999, chain: Digest::ZERO })].into());
    let spaces = vec![SpaceHeads { space: Space::Trust, heads }];
    let message = Message::Heads(HeadsMessage { spaces, statements: Digest::ZERO, reply: false });
    let from = world.node(1);
    world.handle(0, Input::Frame(from, message.to_bytes()), None);
    world.settle();
    assert_eq!(world.sites[0].mind().incarnation(), mine);
    // It is asked once, not for ever.
    let wants = world.truth.segments.len();
    world.round(1);
    assert_eq!(world.truth.segments.len(), wants);
}
