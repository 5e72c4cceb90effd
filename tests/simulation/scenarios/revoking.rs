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

/// Four full members, the second of which may revoke, and an edge. Bob revokes dave, which of `hearers` alone hear; then
/// alice revokes bob.
fn a_revocation_by_the_revoked(hearers: &[usize]) -> World {
    let rights = |site| if site == 1 { Capabilities::all() } else { writer() };
    let mut world = World::circle_where(4, 1, rights);
    let invite = (1..4).map(|site| world.node(site)).collect();
    world.ask(0, create("libs", invite)).expect("a free key");
    world.settle();
    world.round(1);
    world.network.gossip_is_off = true;
    for (a, b) in world.network.connections() {
        world.disconnect(a, b);
    }
    hearers.iter().for_each(|site| assert!(world.connect(1, *site)));
    revoke(&mut world, 1, 3);
    world.settle();
    let dave = world.node(3);
    for site in hearers {
        assert!(world.sites[*site].mind().trust().expect("in a circle").is_revoked(&dave), "site {site}");
        world.disconnect(1, *site);
    }
    revoke(&mut world, 0, 1);
    world
}

fn is_revoked(world: &World, at: usize, target: usize) -> bool {
    world.sites[at].mind().trust().expect("in a circle").is_revoked(&world.node(target))
}

#[test]
fn an_edge_that_alone_heard_the_revoked_revoke_others_goes_by_that_no_more() {
    let mut world = a_revocation_by_the_revoked(&[4]);
    world.connect(0, 4);
    for dice in 0..4 {
        world.round(dice);
        world.connect_all();
    }
    assert!(!is_revoked(&world, 4, 3) && is_revoked(&world, 4, 1));
    world.ask(3, put("libs", "x", "one")).expect("a member like any other");
    for dice in 0..3 {
        world.round(dice);
    }
    assert_eq!(world.versions(4, "libs", "x").len(), 1, "the edge stands still");
    assert_eq!(world.digest(4, &Space::Trust), world.digest(0, &Space::Trust));
    // It is so at rest too.
    world.crash(4);
    world.restart(4);
    assert!(!is_revoked(&world, 4, 3) && is_revoked(&world, 4, 1));
    assert_eq!(world.digest(4, &Space::Trust), world.digest(0, &Space::Trust));
}

#[test]
fn what_an_edge_took_back_and_members_admit_after_all_it_learns_again() {
    let mut world = a_revocation_by_the_revoked(&[2, 4]);
    world.connect(0, 4);
    for dice in 0..2 {
        world.round(dice);
    }
    assert!(!is_revoked(&world, 4, 3), "of those it hears nobody had applied that");
    world.connect(0, 2);
    for dice in 0..4 {
        world.round(dice);
    }
    for site in [0, 2, 4] {
        assert!(is_revoked(&world, site, 3), "site {site}");
        assert_eq!(world.digest(site, &Space::Trust), world.digest(0, &Space::Trust));
    }
}

#[test]
fn a_member_that_became_an_edge_gives_up_what_it_revoked_unheard_and_its_life_with_it() {
    let mut world = a_revocation_by_the_revoked(&[]);
    let before = world.sites[1].mind().incarnation();
    // Alice readmits bob, who had revoked dave, as an edge.
    let line = world.token_for(0, Role::Edge, follower(), Some(1));
    world.present(0, 1, &line).expect("as an edge");
    world.connect(0, 1);
    for dice in 0..4 {
        world.round(dice);
        world.connect_all();
    }
    world.ask(3, put("libs", "x", "one")).expect("a member like any other");
    for dice in 0..3 {
        world.round(dice);
    }
    assert!(!is_revoked(&world, 1, 3));
    assert_eq!(world.digest(1, &Space::Trust), world.digest(0, &Space::Trust));
    assert_eq!(world.versions(1, "libs", "x").len(), 1);
    assert_ne!(world.sites[1].mind().incarnation(), before, "what it gave up is never said otherwise");
}

#[test]
fn a_reason_has_a_length() {
    let mut world = federated();
    let carol = world.node(2);
    let refused = world.ask(0, Command::Revoke(carol, "x".repeat(1025)));
    assert!(matches!(refused, Err(CommandError::Trust(TrustRefusal::Malformed(_)))), "{refused:?}");
    world.ask(0, Command::Revoke(carol, "x".repeat(1024))).expect("as long as it may be");
}
