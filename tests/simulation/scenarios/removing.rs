//! Taking a member out of one federation.

use artimesh_core::changelog::{Accept, Change, Sealed};
use artimesh_core::model::{Incarnation, NodeId, Space};
use artimesh_core::replica::{Command, CommandError, Event, Input, Refusal};

use super::refusing::{circle, forgery, refused};
use super::writing::federated;
use crate::forge::{Forgery, frame};
use crate::world::{World, create, put, repo};

fn remove(node: NodeId) -> Command {
    Command::Remove { key: repo("libs"), node, by: "tester".into() }
}

fn acceptance() -> Change {
    Change::Accept(Accept { repo_key: repo("libs") })
}

/// An acceptance by a site that admits to knowing all that the first site knows.
fn forged_acceptance(world: &World, liar: usize) -> Sealed {
    forgery(world, liar, world.space(0, "libs")).says(&acceptance()).signed(&world.sites[liar], &circle(world))
}

/// Sends such an acceptance to the first site, which refuses it because all that invited its author has ended.
fn cannot_go_in(world: &mut World, liar: usize) {
    let (space, segment) = (world.space(0, "libs"), forged_acceptance(world, liar));
    let refusals = refused(world, liar, segment.bytes(), space);
    let why = "its author left or was removed, and was not invited again";
    let is_clear = matches!(&refusals[..], [Refusal::Misplaced(dot, note)] if dot.incarnation.node == world.node(liar) && note == why);
    assert!(is_clear, "{refusals:?}");
    assert!(!is_member(world, liar));
}

fn is_member(world: &World, site: usize) -> bool {
    let federation = world.sites[0].mind().federation(&world.space(0, "libs")).expect("the first site is a member");
    federation.is_member(&world.node(site))
}

fn isolate(world: &mut World, site: usize) {
    for other in (0..world.sites.len()).filter(|other| *other != site) {
        world.network.cut(site, other);
        world.disconnect(site, other);
    }
}

fn rounds(world: &mut World) {
    for dice in 0..6 {
        world.connect_all();
        world.settle();
        world.round(dice);
    }
}

#[test]
fn a_removed_member_shows_the_repository_no_more_and_the_others_go_on() {
    let mut world = federated();
    // Whoever was a member knows the key of the gossip; streams are what is told to members only.
    world.network.gossip_is_off = true;
    let (space, bob) = (world.space(0, "libs"), world.node(1));
    world.ask(0, remove(bob)).expect("the founder may");
    rounds(&mut world);
    assert!(world.repository(1, "libs").is_none());
    assert!(world.sites[1].notes.contains(&Event::Removed { space, by: world.node(0) }));
    assert_eq!(world.ask(1, put("libs", "x", "one")), Err(CommandError::NoRepository(repo("libs"))));
    world.ask(2, put("libs", "x", "two")).expect("a member still");
    rounds(&mut world);
    assert_eq!(world.versions(0, "libs", "x").len(), 1);
    let carol = world.sites[2].mind().incarnation();
    let has = |site: usize| world.sites[site].mind().heads(&space).of(&carol).sequence;
    assert!(has(1) < has(0), "it is told no more");
}

#[test]
fn a_member_removed_while_it_was_away_hears_of_it_and_what_it_wrote_meanwhile_counts() {
    let mut world = federated();
    let bob = world.node(1);
    for other in [0, 2, 3] {
        world.network.cut(1, other);
        world.disconnect(1, other);
    }
    world.ask(0, remove(bob)).expect("the founder may");
    world.settle();
    world.ask(1, put("libs", "x", "meanwhile")).expect("it doesn't know");
    world.network.mend();
    rounds(&mut world);
    assert!(world.repository(1, "libs").is_none());
    let space = world.space(0, "libs");
    for site in [0, 2, 3] {
        assert_eq!(world.versions(site, "libs", "x").len(), 1, "at site {site}");
        assert_eq!(world.digest(site, &space), world.digest(0, &space));
    }
}

#[test]
fn a_removed_member_may_be_invited_again() {
    let mut world = federated();
    let bob = world.node(1);
    world.ask(0, remove(bob)).expect("the founder may");
    rounds(&mut world);
    world.ask(0, Command::Invite(repo("libs"), bob)).expect("no member now");
    rounds(&mut world);
    world.ask(1, put("libs", "x", "again")).expect("a member again");
    rounds(&mut world);
    let space = world.space(0, "libs");
    for site in 0..4 {
        assert_eq!(world.versions(site, "libs", "x").len(), 1, "at site {site}");
        assert_eq!(world.digest(site, &space), world.digest(0, &space));
    }
}

#[test]
fn a_member_without_the_right_removes_nobody() {
    let mut world = federated();
    let carol = world.node(2);
    assert!(matches!(world.ask(1, remove(carol)), Err(CommandError::Trust(_))));
    let bob = world.node(1);
    assert_eq!(world.ask(1, remove(bob)), Err(CommandError::Oneself));
}

#[test]
fn a_removed_member_does_not_let_itself_in_again() {
    let mut world = federated();
    let bob = world.node(1);
    world.ask(0, remove(bob)).expect("the founder may");
    rounds(&mut world);
    cannot_go_in(&mut world, 1);
    // Nor by an acceptance in another life, which has a log of its own.
    let other = Incarnation { number: 7, ..world.sites[1].mind().incarnation() };
    let (space, trust) = (world.space(0, "libs"), world.sites[0].mind().heads(&Space::Trust));
    let forgery = Forgery::of(&world.sites[1], other, space, &world.sites[0].mind().heads(&space), &trust);
    let segment = forgery.says(&acceptance()).signed(&world.sites[1], &circle(&world));
    assert!(matches!(&refused(&mut world, 1, segment.bytes(), space)[..], [Refusal::Misplaced(..)]));
    assert!(!is_member(&world, 1));
}

#[test]
fn who_left_does_not_let_itself_in_again() {
    let mut world = federated();
    world.ask(1, Command::DeleteRepository(repo("libs"))).expect("it may leave");
    rounds(&mut world);
    assert!(!is_member(&world, 1));
    cannot_go_in(&mut world, 1);
}

#[test]
fn an_invitation_that_was_withdrawn_is_not_accepted_by_whoever_saw_that() {
    let mut world = World::circle(3, 1);
    let invite = vec![world.node(1)];
    world.ask(0, create("libs", invite)).expect("a free key");
    rounds(&mut world);
    isolate(&mut world, 2);
    let carol = world.node(2);
    world.ask(0, Command::Invite(repo("libs"), carol)).expect("no member yet");
    world.ask(0, remove(carol)).expect("it was invited");
    world.settle();
    cannot_go_in(&mut world, 2);
}

#[test]
fn an_invitation_after_the_removal_is_accepted_and_spent_by_the_next_removal() {
    let mut world = federated();
    let (space, bob) = (world.space(0, "libs"), world.node(1));
    world.ask(0, remove(bob)).expect("the founder may");
    rounds(&mut world);
    isolate(&mut world, 1);
    world.ask(0, Command::Invite(repo("libs"), bob)).expect("no member now");
    world.settle();
    let segment = forged_acceptance(&world, 1);
    world.handle(0, Input::Frame(bob, frame(space, &[segment.bytes()])), None);
    assert!(is_member(&world, 1), "{:?}", world.refusals(0));
    world.ask(0, remove(bob)).expect("the founder may");
    world.settle();
    cannot_go_in(&mut world, 1);
}
