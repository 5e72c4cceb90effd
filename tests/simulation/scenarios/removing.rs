//! Taking a member out of one federation.

use artimesh_core::model::NodeId;
use artimesh_core::replica::{Command, CommandError, Event};

use super::writing::federated;
use crate::world::{World, put, repo};

fn remove(node: NodeId) -> Command {
    Command::Remove { key: repo("libs"), node, by: "tester".into() }
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
