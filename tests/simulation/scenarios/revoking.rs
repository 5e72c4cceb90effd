//! Revocation: cut off, sealed, up to the greatest seal admitted, above never.

use artimesh_core::model::Space;
use artimesh_core::replica::{Command, CommandError, Event, Input, Refusal};
use artimesh_core::trust::{Capabilities, PairingReason, Role, TrustRefusal};

use super::writing::federated;
use crate::forge::frame;
use crate::world::{World, create, follower, put, writer};

fn revoke(world: &mut World, by: usize, target: usize) {
    let node = world.node(target);
    world.ask(by, Command::Revoke(node, "left the company".into())).expect("may revoke");
}

#[test]
fn a_revoked_node_is_cut_off_and_told() {
    let mut world = federated();
    revoke(&mut world, 0, 2);
    world.settle();
    world.round(1);
    for site in [0, 1, 3] {
        assert!(!world.network.is_open(site, 2), "site {site} still talks to it");
        assert!(!world.admits(site, 2));
    }
    assert!(world.sites[2].notes.contains(&Event::SelfRevoked));
    assert_eq!(world.ask(2, put("libs", "x", "one")), Err(CommandError::SelfRevoked));
    assert_eq!(world.ask(2, create("more", Vec::new())), Err(CommandError::SelfRevoked));
}

#[test]
fn what_any_member_had_applied_is_admitted_everywhere_and_what_none_had_never() {
    let mut world = federated();
    world.network.gossip_is_off = true;
    for other in [0, 1, 3] {
        world.disconnect(2, other);
    }
    let mut own = Vec::new();
    for what in ["one", "two", "three"] {
        world.ask(2, put("libs", what, what)).expect("alone");
        own.push(world.truth.segments.last().expect("just written").clone());
    }
    let space = world.space(0, "libs");
    let from = world.node(2);
    // Bob hears the first two directly; alice, who revokes, none.
    world.handle(1, Input::Frame(from, frame(space, &[own[0].bytes(), own[1].bytes()])), None);
    revoke(&mut world, 0, 2);
    for dice in 0..4 {
        world.round(dice);
    }
    for site in [0, 1, 3] {
        assert_eq!(world.versions(site, "libs", "one").len(), 1, "site {site}");
        assert_eq!(world.versions(site, "libs", "two").len(), 1, "site {site}");
    }
    assert_eq!(world.digest(0, &space), world.digest(1, &space));
    let peer = world.node(1);
    world.sites[0].notes.clear();
    world.handle(0, Input::Frame(peer, frame(space, &[own[2].bytes()])), None);
    assert_eq!(world.refusals(0), vec![Refusal::Trust(TrustRefusal::Sealed(from))]);
    assert!(world.versions(0, "libs", "three").is_empty());
    assert!(world.sites[0].mind().trust().expect("trust").admitted(space, &own[0].header.incarnation) >= 2);
}

#[test]
fn nothing_more_is_accepted_from_the_revoked_one_itself() {
    let mut world = federated();
    revoke(&mut world, 0, 2);
    let space = world.space(0, "libs");
    world.sites[0].notes.clear();
    world.handle(0, Input::Frame(world.node(2), frame(space, &[])), None);
    assert_eq!(world.refusals(0), vec![Refusal::NotShared(Space::Trust)]);
}

#[test]
fn nobody_revokes_upwards_or_itself() {
    let mut world = World::new(3);
    world.pair(0, 1, Role::Full, Capabilities::all()).expect("fresh");
    world.settle();
    world.pair(1, 2, Role::Full, Capabilities::all()).expect("fresh");
    world.settle();
    world.connect_all();
    world.settle();
    let (alice, bob, carol) = (world.node(0), world.node(1), world.node(2));
    let outranked = |node| Err(CommandError::Trust(TrustRefusal::Outranked(node)));
    assert_eq!(world.ask(1, Command::Revoke(alice, String::new())), outranked(bob));
    assert_eq!(world.ask(2, Command::Revoke(bob, String::new())), outranked(carol));
    assert_eq!(world.ask(1, Command::Revoke(bob, String::new())), Err(CommandError::Oneself));
    assert!(world.ask(1, Command::Revoke(carol, String::new())).is_ok());
}

#[test]
fn a_node_admitted_again_goes_on_where_it_was() {
    let mut world = federated();
    world.ask(2, put("libs", "x", "one")).expect("put");
    world.settle();
    revoke(&mut world, 0, 2);
    world.settle();
    world.round(1);
    let stale = world.token(0, Role::Full, writer());
    assert_eq!(world.present(0, 2, &stale), Err(PairingReason::Revoked), "not by a token that wasn't made for it");
    let line = world.token_for(0, Role::Full, writer(), Some(2));
    assert_eq!(world.present(0, 3, &line), Err(PairingReason::NotYours));
    world.present(0, 2, &line).expect("a grant that lifts the revocation");
    for dice in 0..5 {
        world.connect_all();
        world.round(dice);
    }
    world.ask(2, put("libs", "x", "two")).expect("a member again");
    world.settle();
    world.round(9);
    for site in 0..4 {
        assert_eq!(world.versions(site, "libs", "x"), world.versions(2, "libs", "x"), "site {site}");
    }
}

#[test]
fn a_full_member_admitted_again_as_an_edge_authors_no_more() {
    let mut world = federated();
    revoke(&mut world, 0, 2);
    world.settle();
    let line = world.token_for(0, Role::Edge, follower(), Some(2));
    world.present(0, 2, &line).expect("as an edge");
    for dice in 0..5 {
        world.connect_all();
        world.round(dice);
    }
    assert_eq!(world.ask(2, put("libs", "x", "one")), Err(CommandError::Follower));
    let space = world.space(0, "libs");
    let (heads, trust) = (world.sites[0].mind().heads(&space), world.sites[0].mind().heads(&Space::Trust));
    let incarnation = world.sites[2].mind().incarnation();
    let forged = crate::forge::Forgery::of(&world.sites[2], incarnation, space, &heads, &trust);
    let circle = world.sites[0].mind().circle().expect("a circle");
    let forged = forged.says(&super::refusing::lie("x", Vec::new())).signed(&world.sites[2], &circle);
    world.sites[0].notes.clear();
    world.handle(0, Input::Frame(world.node(2), frame(space, &[forged.bytes()])), None);
    let node = world.node(2);
    assert_eq!(world.refusals(0), vec![Refusal::Trust(TrustRefusal::Sealed(node))]);
}

#[test]
fn a_revocation_reaches_who_was_away_before_anything_else_of_the_revoked_does() {
    let mut world = federated();
    for other in [0, 2, 3] {
        world.disconnect(1, other);
    }
    revoke(&mut world, 0, 2);
    world.settle();
    assert!(world.admits(1, 2), "bob hasn't heard yet");
    world.connect(0, 1);
    world.settle();
    assert!(!world.admits(1, 2));
}

#[test]
fn what_the_revoked_wrote_of_a_member_counts_though_only_that_member_had_heard_it() {
    let mut world = World::new(3);
    world.pair(0, 1, Role::Full, Capabilities::all()).expect("fresh");
    world.settle();
    world.pair(1, 2, Role::Full, writer()).expect("fresh");
    world.settle();
    world.connect_all();
    world.settle();
    // Bob revokes carol, who alone hears it; alice revokes bob.
    world.disconnect(0, 1);
    world.disconnect(0, 2);
    revoke(&mut world, 1, 2);
    world.settle();
    assert!(world.sites[2].notes.contains(&Event::SelfRevoked));
    revoke(&mut world, 0, 1);
    world.connect(0, 2);
    for dice in 0..3 {
        world.round(dice);
    }
    let carol = world.node(2);
    assert!(world.sites[0].mind().trust().expect("in a circle").is_revoked(&carol), "both know the same");
}
